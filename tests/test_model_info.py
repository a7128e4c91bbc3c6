"""The figures that traffic is held against, out of a version's ``metrics.json``."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from app.model_info import Reference, read_reference, set_model_info
from app.store import METRICS_FILE, ModelStore, StoredModel

ROOT = Path(__file__).parent.parent
FIGURES = {
    "labels": ["negative", "positive"],
    "confusion": [[30, 10], [5, 55]],
    "accuracy": 0.85,
    "confidence": 0.9,
    "tokens": 120.5,
    "unknown": 0.02,
    "truncated": 0.1,
}


def stored(model: StoredModel, folder: Path, document: object) -> StoredModel:
    (folder / METRICS_FILE).write_text(document if isinstance(document, str) else json.dumps(document))
    return replace(model, path=folder)


def test_figures_of_the_test_split(tiny_model: StoredModel, tmp_path: Path) -> None:
    """The test split where there is one, else the validation split; shares are of the predictions, not of the truth."""
    reference = read_reference(stored(tiny_model, tmp_path, {"validation": {"accuracy": 0.5}, "test": FIGURES}))
    assert reference.label_shares == {"negative": 0.35, "positive": 0.65}
    assert reference.expected_confidence == 0.9
    assert (reference.tokens, reference.unknown, reference.truncated) == (120.5, 0.02, 0.1)
    assert read_reference(stored(tiny_model, tmp_path, {"validation": FIGURES})) == reference


def test_without_a_mean_confidence_the_accuracy_stands_in(tiny_model: StoredModel, tmp_path: Path) -> None:
    """What a calibrated model's confidence comes to."""
    figures = {**FIGURES, "confidence": None}
    assert read_reference(stored(tiny_model, tmp_path, {"test": figures})).expected_confidence == 0.85


@pytest.mark.parametrize(
    "document",
    [
        "{",
        "[]",
        {"test": [1]},
        {"test": {**FIGURES, "accuracy": 2}},
        {"test": {**FIGURES, "labels": ["one"]}},
        {"test": {**FIGURES, "confusion": [[1], [2, 3]]}},
        {"test": {**FIGURES, "tokens": "many"}},
        {},
    ],
    ids=str,
)
def test_malformed_figures_cost_the_figures_only(tiny_model: StoredModel, tmp_path: Path, document: object) -> None:
    """Nothing that is in the file stops the service."""
    assert read_reference(stored(tiny_model, tmp_path, document)) == Reference()


def test_what_is_served_and_its_figures_become_gauges(tiny_model: StoredModel, tmp_path: Path) -> None:
    """Under model and version, so that each version is held against its own figures; what is missing has no series."""
    model = replace(stored(tiny_model, tmp_path, {"test": {**FIGURES, "unknown": None}}), name="gauged", version=7)
    set_model_info(model, "torch", "float32", "cpu")
    served = {"model": "gauged", "version": "7"}
    assert REGISTRY.get_sample_value("sentiment_reference_confidence", served) == 0.9
    assert REGISTRY.get_sample_value("sentiment_reference_text_tokens", served) == 120.5
    assert REGISTRY.get_sample_value("sentiment_reference_truncated_ratio", served) == 0.1
    assert REGISTRY.get_sample_value("sentiment_reference_unknown_token_ratio", served) is None
    positive = {**served, "label": "positive"}
    assert REGISTRY.get_sample_value("sentiment_reference_label_ratio", positive) == 0.65


def test_the_shipped_model_has_figures() -> None:
    """At least those that every version has had."""
    reference = read_reference(ModelStore(ROOT / "model_store").open("imdb-gru"))
    assert sum(reference.label_shares.values()) == pytest.approx(1)
    assert reference.truncated is not None
    assert reference.expected_confidence is not None


def test_a_model_of_several_sources_is_held_against_all_of_them() -> None:
    """Its test split is of one source, so what traffic should look like is the validation split."""
    model = ModelStore(ROOT / "model_store").open("reviews-gru")
    assert read_reference(model).confidence == model.metrics["validation"]["confidence"]
