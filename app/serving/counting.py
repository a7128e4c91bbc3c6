"""What is counted of texts, by the version that answers them."""

from __future__ import annotations

from app import metrics


class TextMetrics:
    """What is counted of the texts of one version.

    Args:
        names: the model's name and version; None: those of what is served, which are added where metrics are read.
    """

    def __init__(self, names: tuple[str, str] | None = None) -> None:
        self.outcomes = metrics.labelled(metrics.TEXTS, names)
        self.predictions = metrics.labelled(metrics.PREDICTIONS, names)
        self.judged = metrics.labelled(metrics.TEXTS_JUDGED, names)
        self.confidence = metrics.labelled(metrics.CONFIDENCE, names)()
        self.tokenize_seconds = metrics.labelled(metrics.TOKENIZE_SECONDS, names)()
        self.tokens = metrics.labelled(metrics.TEXT_TOKENS, names)()
        self.unknown_ratio = metrics.labelled(metrics.UNKNOWN_RATIO, names)()
        self.truncated = metrics.labelled(metrics.TRUNCATED, names)()
