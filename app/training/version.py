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

from app.modeling.checkpoint import load_network, save_checkpoint
from app.modeling.networks import SentimentNetwork
from app.modeling.predictor import TorchPredictor
from app.store import CARD_FILE, CONFIG_FILE, METRICS_FILE, ModelConfig, ModelStore, StoredModel, write_config
from app.text.tokenizer import Tokenizer, load_tokenizer
from app.training.calibration import fit_temperature, logits_of, negative_log_likelihood
from app.training.card import model_card
from app.training.evaluation import Evaluation, calibration_error, judge, measure
from app.training.labelled import Splits
from app.training.phenomena import Phenomenon, judge_phenomena, phenomena_as_dict
from app.training.pretraining import Pass
from app.training.progress import Epoch
from app.training.recipe import Recipe
from app.training.report import plot_outcome, plot_training


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
        validation, test, split = measure(outcome), None, "validation"
        if splits.test is not None:
            outcome = judge(predictor, tokenizer, config.labels, splits.test)
            test, split = measure(outcome), "test"
        metrics = _metrics(network, splits, record, calibration, validation, test)
        metrics["phenomena"] = _phenomena(store, name, predictor, tokenizer, config.labels)
        (folder / METRICS_FILE).write_text(json.dumps(metrics, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        card = model_card(name, config, metrics, test or validation, split)
        (folder / CARD_FILE).write_text(card, encoding="utf-8")
        plot_training(record.history, record.best_epoch, folder)
        plot_outcome(outcome, folder)
    return WrittenVersion(store.open(name), validation, test)


def _phenomena(
    store: ModelStore, name: str, predictor: TorchPredictor, tokenizer: Tokenizer, labels: tuple[str, ...]
) -> dict[str, list[dict[str, Any]]]:
    """Right answers by phenomenon: of the newest stored version and of the one being written."""
    columns: dict[str, list[Phenomenon]] = {}
    versions = store.versions(name)
    if versions:
        before = store.open(f"{name}/{versions[-1]}")
        old = TorchPredictor(load_network(before.path, before.config), predictor.device)
        columns[before.reference] = judge_phenomena(old, load_tokenizer(before), before.config.labels)
    columns["this version"] = judge_phenomena(predictor, tokenizer, labels)
    return {column: phenomena_as_dict(found) for column, found in columns.items() if found}


def _calibrate(
    folder: Path, config: ModelConfig, tokenizer: Tokenizer, splits: Splits, device: str
) -> tuple[ModelConfig, dict[str, Any]]:
    """Fit the temperature to the stored weights on the validation split and write it into the configuration."""
    predictor = TorchPredictor(load_network(folder, config), device)
    labels = np.asarray(splits.validation.labels)
    logits = logits_of(predictor, [tokenizer.encode(text).ids for text in splits.validation.texts])
    config = config.model_copy(update={"temperature": fit_temperature(logits, labels)})
    write_config(config, folder / CONFIG_FILE)
    figures: dict[str, Any] = {"temperature": config.temperature, "split": "validation"}
    for when, temperature in (("before", 1.0), ("after", config.temperature)):
        figures.update(calibration_figures(logits, labels, temperature, when))
    return config, figures


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
