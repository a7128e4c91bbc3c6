"""From a trained network to a version in the model store: rounding, calibration, evaluation, card and plots."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.special import softmax

from app.golden import write_golden
from app.histograms import HISTOGRAMS_FILE, text_of
from app.model.checkpoint import load_network, save_checkpoint
from app.model.networks import SentimentNetwork
from app.model.torch_predictor import TorchPredictor
from app.store import CARD_FILE, METRICS_FILE, ModelConfig, ModelStore, StoredModel
from app.text.tokenizer import Tokenizer, load_tokenizer
from app.training.behaviour import Capability, behaviour_as_dict, judge_behaviour
from app.training.calibration import (
    fit_scaling,
    fit_temperature,
    fit_unreadable,
    fit_unsure,
    logits_of,
    negative_log_likelihood,
)
from app.training.card import model_card
from app.training.evaluation import Evaluation, calibration_error, judge, measure, reference_histograms, source_figures
from app.training.labelled import Splits
from app.training.pretraining import Pass
from app.training.recipe import Recipe
from app.training.report import plot_outcome, plot_training
from app.training.steps import Epoch

FILM_MODEL = "imdb-gru"
"""What the first version of another model is compared with."""


@dataclass(frozen=True)
class TrainingRecord:
    """How a network came to be.

    Attributes:
        command: the command line that does it again.
        seconds: time of all epochs (validation not counted), of the teachers and of pretraining.
        teacher_seconds: the teachers' part of it.
        pretraining: passes as a language model.
    """

    recipe: Recipe
    seed: int
    command: str
    device: str
    threads: int
    seconds: float
    teacher_seconds: float
    best_epoch: int
    history: Sequence[Epoch]
    pretraining: Sequence[Pass] = ()


@dataclass(frozen=True)
class WrittenVersion:
    """A version just written, with its figures."""

    model: StoredModel
    validation: Evaluation
    test: Evaluation | None


def write_version(
    store: ModelStore,
    name: str,
    network: SentimentNetwork,
    tokenizer: Tokenizer,
    splits: Splits,
    record: TrainingRecord,
) -> WrittenVersion:
    """Round, calibrate, evaluate and store a trained network as the next version of ``name``.

    Everything is measured on the weights as they were read back from the version's folder, so that whoever evaluates
    the version gets the same figures. The version appears in the store only when all of it is written.
    """
    with store.new_version(name) as folder:
        save_checkpoint(folder, network, tokenizer)
        config, calibration = _calibrate(folder, network.config, tokenizer, splits, record.device)
        predictor = TorchPredictor(load_network(folder, config), record.device)
        outcome = judge(predictor, tokenizer, config.labels, splits.validation)
        write_golden(folder, predictor, lambda text: tokenizer.encode(text).ids)
        validation, test, split = measure(outcome), None, "validation"
        reference, read = outcome, "validation"
        if splits.test is not None:
            outcome = judge(predictor, tokenizer, config.labels, splits.test)
            test, split = measure(outcome), "test"
            if not splits.development:  # of several sources, which are most like traffic; see ``read_reference``
                reference, read = outcome, "test"
        histograms = reference_histograms(f"{splits.source}: {read} split", reference)
        (folder / HISTOGRAMS_FILE).write_text(text_of(histograms), encoding="utf-8")
        metrics = _metrics(network, splits, record, calibration, validation, test)
        metrics["behaviour"] = _behaviour(store, name, predictor, tokenizer, config.labels)
        metrics["sources"] = {
            source: source_figures(judged.probabilities, judged.labels, judged.names)
            for source, examples in splits.development.items()
            if (judged := judge(predictor, tokenizer, config.labels, examples))
        }
        (folder / METRICS_FILE).write_text(json.dumps(metrics, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        card = model_card(name, config, metrics, test or validation, split)
        (folder / CARD_FILE).write_text(card, encoding="utf-8")
        plot_training(record.history, record.best_epoch, folder)
        plot_outcome(outcome, folder)
    return WrittenVersion(store.open(name), validation, test)


def _behaviour(
    store: ModelStore, name: str, predictor: TorchPredictor, tokenizer: Tokenizer, labels: tuple[str, ...]
) -> dict[str, list[dict[str, Any]]]:
    """Right cases by capability: of the model to compare with and of the one being written."""
    columns: dict[str, list[Capability]] = {}
    before = _compared_with(store, name)
    if before is not None:
        old = TorchPredictor(load_network(before.path, before.config), predictor.device)
        columns[before.reference] = judge_behaviour(old, load_tokenizer(before), before.config.labels)
    columns["this version"] = judge_behaviour(predictor, tokenizer, labels)
    return {column: behaviour_as_dict(found) for column, found in columns.items() if found}


def _compared_with(store: ModelStore, name: str) -> StoredModel | None:
    """The newest stored version of a name, else the film model, where there is one."""
    for candidate in (name, FILM_MODEL):
        versions = store.versions(candidate)
        if versions:
            return store.open(f"{candidate}/{versions[-1]}")
    return None


def _calibrate(
    folder: Path, config: ModelConfig, tokenizer: Tokenizer, splits: Splits, device: str
) -> tuple[ModelConfig, dict[str, Any]]:
    """Fit calibration and thresholds to the stored weights on the validation split, and write them.

    A temperature goes into the configuration; factor and biases of more than two classes go into the output layer,
    where they cost nothing.
    """
    network = load_network(folder, config)
    labels = np.asarray(splits.validation.labels)
    encodings = [tokenizer.encode(text) for text in splits.validation.texts]
    logits = logits_of(TorchPredictor(network, device), [encoding.ids for encoding in encodings])
    figures: dict[str, Any] = {"split": "validation", **calibration_figures(logits, labels, 1.0, "before")}
    temperature = fit_temperature(logits, labels)
    figures |= {"temperature": temperature, **calibration_figures(logits, labels, temperature, "with_temperature")}
    if len(config.labels) == 2:
        config = config.model_copy(update={"temperature": temperature})
    else:
        factor, biases = fit_scaling(logits, labels)
        with torch.no_grad():
            network.output.weight.mul_(factor)
            network.output.bias.mul_(factor).add_(torch.from_numpy(biases))
        logits = factor * logits + biases
        figures |= {"factor": round(factor, 6), "biases": [round(bias, 6) for bias in biases.tolist()]}
    figures |= calibration_figures(logits, labels, config.temperature, "after")
    strange = [(of.unknown + of.foreign) / max(1, of.words) for of in encodings]
    thresholds = {
        "unsure_below": fit_unsure(softmax(logits / config.temperature, axis=-1), labels),
        "unreadable_above": fit_unreadable(np.asarray(strange)),
    }
    network.config = config.model_copy(update=thresholds)
    save_checkpoint(folder, network, tokenizer)
    return network.config, {**figures, **thresholds}


def calibration_figures(logits: np.ndarray, labels: np.ndarray, temperature: float, when: str) -> dict[str, float]:
    """Expected calibration error and negative log-likelihood at a temperature, to six digits."""
    probabilities = softmax(logits.astype(np.float64) / temperature, axis=-1)
    return {
        f"error_{when}": round(calibration_error(probabilities, labels), 6),
        f"nll_{when}": round(negative_log_likelihood(logits, labels, temperature), 6),
    }


def _metrics(
    network: SentimentNetwork,
    splits: Splits,
    record: TrainingRecord,
    calibration: dict[str, Any],
    validation: Evaluation,
    test: Evaluation | None,
) -> dict[str, Any]:
    document: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "command": record.command,
        "seed": record.seed,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "data": {"source": splits.source, "sizes": splits.sizes},
        "recipe": record.recipe.as_dict(),
        "training": {
            "seconds": round(record.seconds, 1),
            "teacher_seconds": round(record.teacher_seconds, 1),
            "device": record.device,
            "threads": record.threads,
            "best_epoch": record.best_epoch,
            "history": [asdict(epoch) for epoch in record.history],
            "pretraining": [asdict(done) for done in record.pretraining],
        },
        "calibration": calibration,
        "evaluation": {"runtime": "torch", "precision": "float32", "device": record.device},
        "validation": validation.as_dict(),
        "machine": {
            "cores": os.cpu_count(),
            "processor": platform.machine(),
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
    }
    if test is not None:
        document["test"] = test.as_dict()
    return document
