"""Histograms of a version's held-out texts: the bins of the service, and a file that can be written later."""

from __future__ import annotations

import asyncio
import json
import math
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import REGISTRY
from prometheus_client.utils import floatToGoString

from app import metrics
from app.histograms import BOUNDS, HISTOGRAMS_FILE, histograms_of, read_bins, replace_histograms, text_of
from app.model.runtimes import load_predictor
from app.model_info import set_model_info
from app.serving.classifier import Classifier, ClassifierLimits
from app.store import ModelStore, StoredModel
from app.text.tokenizer import load_tokenizer
from app.training.evaluation import judge, reference_histograms
from app.training.labelled import Examples
from tests.fakes import HandEngine
from tests.reviews import written_reviews
from tests.waiting import until

ROOT = Path(__file__).parent.parent
KEPT = histograms_of("three texts", [0.5, 0.50001, 1.0], [8, 9, 20_000], [0.0])
NAMES = {"score": metrics.CONFIDENCE, "tokens": metrics.TEXT_TOKENS, "unknown": metrics.UNKNOWN_RATIO}


@pytest.fixture
def model(tiny_store: Path, tmp_path: Path) -> StoredModel:
    """A version that may be written to."""
    shutil.copytree(tiny_store, tmp_path / "store")
    return ModelStore(tmp_path / "store").open("tiny")


def opened_again(model: StoredModel) -> StoredModel:
    """With all checksums compared."""
    return ModelStore(model.path.parents[1]).open(model.reference)


def shares(model: StoredModel) -> dict[str, list[float]]:
    return {name: [found.share for found in bins] for name, bins in read_bins(model).items()}


def test_a_bound_belongs_to_the_bin_below() -> None:
    """What is above the last is counted too."""
    assert KEPT.score.counts[:2] == (1, 1)
    assert KEPT.score.counts[-2:] == (1, 0)
    assert (KEPT.tokens.counts[0], KEPT.tokens.counts[1], KEPT.tokens.counts[-1]) == (1, 1, 1)
    assert KEPT.unknown.counts[0] == 1
    assert {len(getattr(KEPT, name).counts) - len(bounds) for name, bounds in BOUNDS.items()} == {1}


def test_they_are_written_to_a_version_that_is_stored(model: StoredModel) -> None:
    """And anew: it opens with them and has the same digest, so that nothing cached is lost."""
    assert read_bins(model) == {}
    for kept in (histograms_of("others", [0.7], [1], [1.0]), KEPT):
        replace_histograms(opened_again(model), kept)
        again = opened_again(model)
        assert HISTOGRAMS_FILE in again.sums
        assert again.digest == model.digest
    bins = read_bins(again)
    assert {name: sum(found.share for found in of) for name, of in bins.items()} == pytest.approx(
        dict.fromkeys(BOUNDS, 1)
    )
    assert tuple(bins["score"][0]) == pytest.approx((-math.inf, 0.5, 1 / 3))
    assert tuple(bins["tokens"][-1]) == pytest.approx((16384, math.inf, 1 / 3))


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        "{}",
        text_of(KEPT).replace('"counts"', '"count"'),
        text_of(KEPT).replace("16384.0", "16384.0, 17000.0"),
    ],
    ids=["cut short", "a list", "empty", "misspelt", "another bin"],
)
def test_a_malformed_file_costs_the_measure_only(
    model: StoredModel, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says so."""
    (model.path / HISTOGRAMS_FILE).write_text(text)
    assert read_bins(model) == {}
    assert HISTOGRAMS_FILE in caplog.text


def test_other_bins_cost_the_measure_of_that_alone(model: StoredModel, caplog: pytest.LogCaptureFixture) -> None:
    """As of a version that an older program wrote; so does a histogram of nothing."""
    document = json.loads(text_of(KEPT))
    document["tokens"]["bounds"][0] = 7
    document["unknown"]["counts"] = [0] * 13
    (model.path / HISTOGRAMS_FILE).write_text(json.dumps(document))
    assert list(read_bins(model)) == ["score"]
    assert "tokens is empty or of other bins" in caplog.text


def test_they_become_gauges_whose_bounds_are_those_of_what_is_counted(model: StoredModel) -> None:
    """Word for word, since the rules match them by these."""
    replace_histograms(model, KEPT)
    set_model_info(replace(model, name="binned", version=3), "torch", "float32", "cpu")
    for name, counted in NAMES.items():
        [family] = counted.collect()
        les = [sample.labels["le"] for sample in family.samples if sample.name.endswith("_bucket")]
        for above, le, share in zip(["-Inf", *les[:-1]], les, shares(model)[name], strict=True):
            labels = {"model": "binned", "version": "3", "of": name, "above": above, "le": le}
            assert REGISTRY.get_sample_value("sentiment_reference_bin_ratio", labels) == share


def counted(name: str, bounds: Iterable[float]) -> list[float]:
    """Texts in each bin, as the service has counted so far."""
    [family] = NAMES[name].describe()
    upto = [
        REGISTRY.get_sample_value(f"{family.name}_bucket", {"le": floatToGoString(bound)}) or 0.0  # type: ignore[no-untyped-call]
        for bound in (*bounds, math.inf)
    ]
    return [upper - lower for lower, upper in zip([0.0, *upto[:-1]], upto, strict=True)]


async def test_an_evaluation_counts_as_a_service_does(tiny_model: StoredModel) -> None:
    """The same texts are in the same bins, whoever counts: else there would be drift where there is none."""
    texts = [*written_reviews(60), "10 1 !", "zzz qqq", "a good film " * 50]
    tokenizer, predictor = load_tokenizer(tiny_model), load_predictor(tiny_model, "cpu", "native", "float32")
    examples = Examples(texts, [0] * len(texts), [None] * len(texts))
    reference = reference_histograms("texts", judge(predictor, tokenizer, tiny_model.config.labels, examples))

    engine = HandEngine()
    classifier = Classifier(tiny_model, tokenizer, engine, ClassifierLimits(10_000, 1_000, 30))
    before = {name: counted(name, bounds) for name, bounds in BOUNDS.items()}
    answers = asyncio.create_task(classifier.classify(texts))
    await until(lambda: len(engine.texts) == len(texts), "not all were submitted")
    for ticket, lengths in list(engine.waiting.items()):
        ids = engine.texts[: len(lengths)]
        del engine.texts[: len(lengths)]
        ticket.set_result(list(predictor.predict(ids)))
    await answers
    await until(lambda: sum(counted("unknown", BOUNDS["unknown"])) > sum(before["unknown"]), "nothing was counted")
    for name, bounds in BOUNDS.items():
        found = [now - then for now, then in zip(counted(name, bounds), before[name], strict=True)]
        assert found == list(getattr(reference, name).counts), name


def test_the_default_model_has_them() -> None:
    """Of its development texts."""
    model = ModelStore(ROOT / "model_store").open("reviews-gru")
    assert read_bins(model).keys() == BOUNDS.keys()
