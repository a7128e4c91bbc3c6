"""Explanations of stored models: offsets, members of each kind, agreement with plain answers."""

from __future__ import annotations

import csv
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from app.http.explain import EXAMPLE
from app.model.attribution import integrated_gradients
from app.model.explainer import NetworkExplainer
from app.model.runtimes import load_predictor
from app.settings import Settings
from app.store import ModelStore, StoredModel
from app.text.preprocessing import words
from app.text.tokenizer import load_tokenizer
from tests.checkpoints import add_checkpoint
from tests.reviews import written_reviews

SHIPPED = ModelStore(Path(__file__).parent.parent.parent / "model_store")
REVIEWS = written_reviews(200)


def probabilities(model: StoredModel, texts: list[str]) -> list[tuple[float, ...]]:
    tokenizer = load_tokenizer(model)
    predictor = load_predictor(model, "cpu", "torch", "float32")
    return [predictor.predict([tokenizer.encode(text).ids])[0].probabilities for text in texts]


@pytest.fixture(scope="module")
def explainer() -> NetworkExplainer:
    return NetworkExplainer(SHIPPED.open("imdb-gru"))


@pytest.mark.parametrize("text", REVIEWS[::20])
def test_offsets_are_exact(explainer: NetworkExplainer, text: str) -> None:
    """``text[start:end]`` is the token, whatever stands around it; sentences hold all of them, in order."""
    tokens = explainer.explain(text, "tokens", 1)["tokens"]
    assert [word for entry in tokens for word in words(text[entry["start"] : entry["end"]])] == words(text)
    assert [words(text[entry["start"] : entry["end"]]) for entry in tokens] == [[word] for word in words(text)]
    curve = explainer.explain(text, "curve", 1)["curve"]
    assert [(point["start"], point["end"]) for point in curve] == [(entry["start"], entry["end"]) for entry in tokens]
    sentences = explainer.explain(text, "sentences", 1)["sentences"]
    assert [word for entry in sentences for word in words(text[entry["start"] : entry["end"]])] == words(text)


def test_shipped_attributions_add_up(explainer: NetworkExplainer) -> None:
    """To the log-odds of the score, at which the curve ends too."""
    model = SHIPPED.open("imdb-gru")
    texts = REVIEWS[:20]
    for text, scores in zip(texts, probabilities(model, texts), strict=True):
        target = scores.index(max(scores))
        found = explainer.explain(text, "tokens", target)
        ends = found["log_odds"]
        difference = ends["text"] - ends["baseline"]
        total = sum(entry["attribution"] for entry in found["tokens"])
        assert abs(total - difference) <= 0.01 * max(1.0, abs(difference))
        assert 1 / (1 + math.exp(-ends["text"])) == pytest.approx(scores[target], abs=1e-4)
        assert explainer.explain(text, "curve", target)["curve"][-1]["score"] == pytest.approx(scores[target], abs=1e-4)


def test_the_example_is_true() -> None:
    """What /openapi.json and docs/explanations.md show is what the default model says."""
    explainer = NetworkExplainer(SHIPPED.open(Settings().model))
    page = (Path(__file__).parent.parent.parent / "docs" / "explanations.md").read_text()
    shown, *_ = re.findall(r"^```json\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert json.loads(shown)["explanation"] == EXAMPLE
    found: dict[str, Any] = {}
    for kind in ("sentences", "tokens", "curve"):
        found |= explainer.explain("Dull plot. Nice end.", kind, 0)
    assert json.loads(json.dumps(found), parse_float=lambda digits: round(float(digits), 3)) == EXAMPLE


def test_the_example_of_aspects_is_true() -> None:
    """Likewise."""
    explainer = NetworkExplainer(SHIPPED.open(Settings().model))
    page = (Path(__file__).parent.parent.parent / "docs" / "explanations.md").read_text()
    shown = next(it for it in re.findall(r"^```json\n(.*?)^```", page, re.MULTILINE | re.DOTALL) if '"aspects"' in it)
    found = json.dumps(explainer.explain("The food was wonderful, but the service was slow.", "aspects", 0))
    assert json.loads(found, parse_float=lambda digits: round(float(digits), 3)) == json.loads(shown)["explanation"]


@pytest.mark.parametrize(("given", "floor"), [(True, 0.90), (False, 0.87)], ids=["given", "found"])
def test_aspects_of_different_sentiment(given: bool, floor: float) -> None:
    """Sentences that praise one thing and blame another: the share of right labels, a little below what it was."""
    explainer = NetworkExplainer(SHIPPED.open(Settings().model))
    right, number = 0, 0
    with (Path(__file__).parent.parent / "text" / "aspects.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["part"] != "measured":
                continue
            wanted = {row["praised"]: "positive", row["blamed"]: "negative"}
            found = explainer.explain(row["text"], "aspects", 0, aspects=list(wanted) if given else ())["aspects"]
            for aspect, label in wanted.items():
                number += 1
                # ``garlic prawns``, where the prawns are asked for, is the same.
                named = [it for it in found if aspect == it["aspect"] or (not given and aspect in it["aspect"])]
                right += bool(named) and named[0]["label"] == label
    assert number == 200
    assert right / number >= floor


def test_an_aspect_has_the_mean_of_what_is_said(tmp_path: Path) -> None:
    """Of all its mentions, each scored like a text; what is not mentioned is left out."""
    model = add_checkpoint(tmp_path)
    text = "A good film, but the story is dull. I love the story."
    found = NetworkExplainer(model).explain(text, "aspects", 0, aspects=["story", "music"])["aspects"]
    [story] = found
    said = [text[it["said"]["start"] : it["said"]["end"]] for it in story["mentions"]]
    assert said == ["the story is dull.", "I love the story."]
    one, other = probabilities(model, said)
    means = [(first + second) / 2 for first, second in zip(one, other, strict=True)]
    assert list(story["scores"].values()) == pytest.approx(means, abs=1e-4)
    assert (story["aspect"], story["label"]) == ("story", model.config.labels[means.index(max(means))])


@pytest.mark.parametrize("reference", [f"{name}/{n}" for name, found in SHIPPED.models().items() for n in found])
def test_every_model_in_the_store_can_be_explained(reference: str) -> None:
    """All kinds, with numbers that are numbers."""
    explainer = NetworkExplainer(SHIPPED.open(reference))
    for kind in ("sentences", "tokens", "curve"):
        for entry in explainer.explain(min(REVIEWS, key=len), kind, 0)[kind]:
            assert all(math.isfinite(value) for value in entry.values() if isinstance(value, float))
            assert entry.get("score", 0.5) <= 1


@pytest.mark.parametrize(
    "changes", [{}, {"labels": ("bad", "fair", "good"), "bidirectional": True}, {"output": "sigmoid"}]
)
def test_sentences_score_like_texts(tmp_path: Path, changes: dict[str, Any]) -> None:
    """The label and scores that each sentence gets when it is sent alone; those without a word are left out."""
    model = add_checkpoint(tmp_path, **changes)
    text = "A lovely film! ... But the ending was awful, awful.\n\U0001f600\n" + "never again " * 40
    found = NetworkExplainer(model).explain(text, "sentences", 0)["sentences"]
    assert [text[entry["start"] : entry["end"]] for entry in found] == [
        "A lovely film!",
        "But the ending was awful, awful.",
        ("never again " * 40).strip(),
    ]
    plain = probabilities(model, [text[entry["start"] : entry["end"]] for entry in found])
    for entry, scores in zip(found, plain, strict=True):
        assert list(entry["scores"].values()) == pytest.approx(list(scores), abs=1e-5)
        assert entry["score"] == max(entry["scores"].values()) == entry["scores"][entry["label"]]


@pytest.mark.parametrize("changes", [{}, {"bidirectional": True}], ids=["forwards", "both ways"])
@pytest.mark.parametrize("max_tokens", [32, 7])
def test_a_word_in_pieces_is_one_entry(tmp_path: Path, changes: dict[str, Any], max_tokens: int) -> None:
    """With what all its pieces did; the curve has its points at ends of words, and all kinds the same offsets."""
    model = add_checkpoint(tmp_path, preprocessing=2, max_tokens=max_tokens, head_tokens=3, **changes)
    text = "An unwatchable film, not unfilmable &amp; I don't loove it"
    tokenizer, explainer = load_tokenizer(model), NetworkExplainer(model)
    encoding, spans = tokenizer.encode(text), tokenizer.spans(text)
    shown = ["An", "unwatchable", "film", "not", "unfilmable", "I", "do", "n't", "loove", "it"]
    if max_tokens == 7:
        shown = [*shown[:2], *shown[5:][-4:]]
    assert len({(span.start, span.end) for span in spans}) == len(shown) < len(encoding.ids)
    tokens, curve = explainer.explain(text, "tokens", 0), explainer.explain(text, "curve", 0)["curve"]
    for entries in (tokens["tokens"], curve):
        assert [text[entry["start"] : entry["end"]] for entry in entries] == shown
    plain = integrated_gradients(explainer._network, encoding.ids, 0).tokens
    for entry in tokens["tokens"]:
        place = entry["start"], entry["end"]
        own = [value for value, span in zip(plain, spans, strict=True) if (span.start, span.end) == place]
        assert entry["attribution"] == pytest.approx(sum(own), abs=1e-6)
    difference = tokens["log_odds"]["text"] - tokens["log_odds"]["baseline"]
    total = sum(entry["attribution"] for entry in tokens["tokens"])
    assert abs(total - difference) <= 0.01 * max(1.0, abs(difference))
    predictor = load_predictor(model, "cpu", "torch", "float32")
    for point in curve:
        read = sum(span.start <= point["start"] for span in spans)
        [scores] = predictor.predict([encoding.ids[:read]])
        assert point["score"] == pytest.approx(scores.probabilities[0], abs=1e-5)


def test_long_texts_are_explained_where_they_were_read(tmp_path: Path) -> None:
    """Head and tail have their tokens and points, the middle has none."""
    model = add_checkpoint(tmp_path, max_tokens=6, head_tokens=2)
    text = "good bad film story cast plot \u00e9nding never again"
    explainer = NetworkExplainer(model)
    for kind in ("tokens", "curve"):
        read = [text[entry["start"] : entry["end"]] for entry in explainer.explain(text, kind, 0)[kind]]
        assert read == ["good", "bad", "plot", "\u00e9nding", "never", "again"]
