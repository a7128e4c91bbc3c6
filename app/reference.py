"""What a model said of the texts it was tested on: figures of its ``metrics.json`` that traffic is held against."""

from __future__ import annotations

import logging
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app.errors import CheckpointError
from app.store import StoredModel

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
