"""Puts together what scores texts in this process, for ``classify`` and for Python programs alike."""

from __future__ import annotations

from app.files.scorer import LocalScorer
from app.model.runtimes import load_predictors
from app.process.cores import usable_cores
from app.store import StoredModel
from app.text.tokenizer import load_tokenizer


def load_scorer(
    model: StoredModel, device: str = "auto", runtime: str = "auto", precision: str = "auto", threads: int = 0
) -> LocalScorer:
    """A scorer that is ready. See ``load_predictors``; no threads are as many as there are usable cores."""
    predictors = load_predictors(model, device, runtime, precision, threads or usable_cores())
    first, config = predictors[0], model.config
    identity = f"{model.reference}, {first.runtime} {first.precision} on {first.device}"
    return LocalScorer(identity, config.labels, config.rating, load_tokenizer(model), config.thresholds, predictors)
