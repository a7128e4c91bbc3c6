"""What a process says of the model that it serves: its name, what computes it, and what was measured of it once, which
traffic is held against: figures of its ``metrics.json``, and histograms."""

from __future__ import annotations

import logging
from typing import Annotated

from prometheus_client.utils import floatToGoString
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app import metrics
from app.errors import CheckpointError
from app.histograms import read_bins
from app.store import StoredModel

_DIGEST_CHARACTERS = 12
logger = logging.getLogger(__name__)

Ratio = Annotated[float, Field(ge=0, le=1)]


class Reference(BaseModel):
    """Means over the held-out texts, in the terms of training's ``Evaluation``; None or empty where unknown."""

    model_config = ConfigDict(frozen=True)

    labels: tuple[str, ...] = ()
    confusion: tuple[tuple[Annotated[int, Field(ge=0)], ...], ...] = ()
    accuracy: Ratio | None = None
    confidence: Ratio | None = None
    tokens: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    unknown: Ratio | None = None
    truncated: Ratio | None = None

    @property
    def expected_confidence(self) -> float | None:
        """Mean confidence; without that figure the accuracy, which a calibrated model's confidence comes to."""
        return self.accuracy if self.confidence is None else self.confidence

    @property
    def label_shares(self) -> dict[str, float]:
        """Share of each label among the predictions."""
        predicted = [sum(column) for column in zip(*self.confusion, strict=True)]
        total = sum(predicted)
        return {label: count / total for label, count in zip(self.labels, predicted, strict=True)} if total else {}


def read_reference(model: StoredModel) -> Reference:
    """The figures on the split that is most like traffic: of many sources, where there are such, else the test split.

    A model of several sources is tested on one of them alone, while its validation split is of all. The figures are for
    information: whatever is missing or malformed costs the figure, never the start.
    """
    try:
        document = model.metrics
        splits = ("validation", "test") if document.get("sources") else ("test", "validation")
        reference = Reference.model_validate(next((document[split] for split in splits if document.get(split)), {}))
        # Fails here where the confusion matrix and the labels do not fit each other.
        missing = [] if reference.label_shares else ["confusion"]
    except (CheckpointError, ValueError, ValidationError) as error:
        logger.warning("%s: metrics.json is not as training writes it: %s", model.reference, error)
        return Reference()
    missing += [name for name in ("confidence", "tokens", "unknown", "truncated") if getattr(reference, name) is None]
    if missing:
        logger.info("%s: metrics.json has no %s to hold the traffic against", model.reference, ", ".join(missing))
    return reference


def set_model_info(model: StoredModel, runtime: str, precision: str, device: str) -> None:
    """Say what is served, and what it said about the texts it was tested on."""
    names = (model.name, str(model.version), model.digest[:_DIGEST_CHARACTERS], model.config.architecture)
    metrics.MODEL_INFO.labels(*names, runtime, precision, device).set(1)
    reference, served = read_reference(model), (model.name, str(model.version))
    for gauge, figure in (
        (metrics.REFERENCE_TOKENS, reference.tokens),
        (metrics.REFERENCE_UNKNOWN, reference.unknown),
        (metrics.REFERENCE_TRUNCATED, reference.truncated),
        (metrics.REFERENCE_CONFIDENCE, reference.expected_confidence),
    ):
        if figure is not None:
            gauge.labels(*served).set(figure)
    for label, share in reference.label_shares.items():
        metrics.REFERENCE_LABEL.labels(*served, label).set(share)
    for name, bins in read_bins(model).items():
        for found in bins:
            # Bounds as the library writes those of the histograms that are counted.
            bounds = (floatToGoString(found.above), floatToGoString(found.bound))  # type: ignore[no-untyped-call]
            metrics.REFERENCE_BIN.labels(*served, name, *bounds).set(found.share)
