"""What a process says of the model that it serves: its name, what computes it, and what was measured of it once."""

from __future__ import annotations

from prometheus_client.utils import floatToGoString

from app import metrics
from app.histograms import read_bins
from app.reference import read_reference
from app.store import StoredModel

_DIGEST_CHARACTERS = 12


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
