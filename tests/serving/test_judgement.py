"""How far to trust an answer, on every way that a text takes through a classifier."""

from __future__ import annotations

import asyncio
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from app.files.scorer import LocalScorer
from app.model.runtimes import load_predictors
from app.sentiment import Judgement, Outcome, Prediction
from app.serving.cache import MemoryCache
from app.serving.classifier import Classifier, ClassifierLimits
from app.serving.pending import PendingText
from app.store import StoredModel
from app.text.tokenizer import load_tokenizer
from tests.checkpoints import add_checkpoint
from tests.fakes import HandEngine
from tests.http.shapes import sample

JUDGED: dict[str, tuple[float, Judgement]] = {
    "The film was good, I loved this movie!": (0.0, "ok"),
    "An unwatchable film, and awful": (0.2, "ok"),  # in pieces
    "zxqv wrtk plmk qqq film": (0.8, "unreadable"),
    "Der Film ist schlecht und dull": (0.0, "unreadable"),  # words of another language
    "\u041e\u0447\u0435\u043d\u044c \u043f\u043b\u043e\u0445\u043e\u0439 \u0444\u0438\u043b\u044c\u043c": (
        1.0,
        "unreadable",
    ),
    "\u7535\u5f71\u5f88\u597d": (1.0, "unreadable"),
    "film good": (0.0, "unsure"),  # HandEngine: a half, of two tokens
    "zxqv good": (0.5, "unsure"),
    "!!": (0.0, "unsure"),
}
"""Share of unknown words, and judgement."""
TEXTS = list(JUDGED)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> StoredModel:
    return add_checkpoint(tmp_path_factory.mktemp("model_store"), preprocessing=2)


def classifier_of(model: StoredModel, *, cache: bool = True) -> Classifier:
    engine = HandEngine()
    engine.automatic = True
    limits = ClassifierLimits(max_characters=1000, max_texts_in_flight=100, timeout=5.0)
    return Classifier(model, load_tokenizer(model), engine, limits, MemoryCache(100) if cache else None)


def judged(outcomes: list[Outcome]) -> list[tuple[float, Judgement]]:
    predictions = [outcome for outcome in outcomes if isinstance(outcome, Prediction)]
    assert len(predictions) == len(outcomes)
    return [(round(prediction.unknown, 6), prediction.judgement) for prediction in predictions]


async def test_every_way_judges_alike(model: StoredModel) -> None:
    """Many texts, a short request, a text alone, and each of them out of the memory cache."""
    expected = list(JUDGED.values())
    classifier = classifier_of(model)
    for cached in (False, True):
        outcomes = await classifier.classify(TEXTS)
        assert judged(outcomes) == expected
        assert {outcome.cached for outcome in outcomes if isinstance(outcome, Prediction)} == {cached}
    for start in range(0, len(TEXTS), 2):
        assert judged(await classifier_of(model).classify(TEXTS[start : start + 2])) == expected[start : start + 2]
    alone = classifier_of(model)
    for text, wanted in JUDGED.items():
        pending = alone.start(text)
        assert isinstance(pending, PendingText)
        assert judged([alone.finish(pending)]) == [wanted]
        await asyncio.sleep(0)
        found = alone.start(text)
        assert isinstance(found, Prediction)
        assert found.cached
        assert judged([found]) == [wanted]


async def test_judgements_are_counted(model: StoredModel) -> None:
    """Once for each prediction, of a request with several texts and of a text alone."""
    classifier = classifier_of(model, cache=False)
    before = {name: sample("sentiment_texts_judged_total", judgement=name) for name in ("ok", "unsure", "unreadable")}
    await classifier.classify(TEXTS)
    pending = classifier.start(TEXTS[2])
    assert isinstance(pending, PendingText)
    classifier.finish(pending)
    await asyncio.sleep(0)
    counted = {name: sample("sentiment_texts_judged_total", judgement=name) - before[name] for name in before}
    assert counted == {"ok": 2, "unsure": 3, "unreadable": 5}


@pytest.mark.parametrize(
    ("changes", "judgement"),
    [
        ({"unsure_below": 0.0, "unreadable_above": 1.0}, "ok"),
        ({"unsure_below": 1.0, "unreadable_above": 1.0}, "unsure"),
        ({"unsure_below": 1.0, "unreadable_above": 0.1}, "unreadable"),
    ],
)
async def test_the_thresholds_are_the_models(tmp_path: Path, changes: dict[str, Any], judgement: Judgement) -> None:
    """Those in its ``config.json``, for services and for files."""
    model = add_checkpoint(tmp_path, preprocessing=2, **changes)
    text = "zxqv and a good film"
    assert judged(await classifier_of(model).classify([text])) == [(0.2, judgement)]
    predictors = load_predictors(model, "cpu", "torch", "float32", 1)
    config = model.config
    scorer = LocalScorer("tiny", config.labels, False, load_tokenizer(model), config.thresholds, predictors)
    with closing(scorer):
        assert judged(scorer.start([text])()) == [(0.2, judgement)]
