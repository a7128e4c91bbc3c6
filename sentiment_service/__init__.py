"""Sentiment of review texts, in this process or by a running service:

    from sentiment_service import Sentiment

    Sentiment().classify(["A wonderful little film."])
    Sentiment("http://127.0.0.1:8000").classify(["A wonderful little film."])

Importing this loads nothing that computes; the first ``Sentiment()`` does.
"""

from __future__ import annotations

from app.errors import (
    CheckpointError,
    DeadlineError,
    ExplainerUnavailableError,
    InferenceError,
    MissingPackageError,
    OptionError,
    OverloadedError,
    RefusedError,
    SentimentError,
    ServiceError,
    SettingsError,
    TextError,
    UnreachableError,
)
from app.sentiment import ExplanationKind, Judgement
from app.version import VERSION
from sentiment_service.asynchronous import AsyncSentiment
from sentiment_service.explanation import Aspect, Explanation, Mention, Point, Sentence, Token
from sentiment_service.feedback import Feedback
from sentiment_service.result import Outcome, Result, Unclassified, columns
from sentiment_service.synchronous import Sentiment

__version__ = VERSION

__all__ = [
    "Aspect",
    "AsyncSentiment",
    "CheckpointError",
    "DeadlineError",
    "ExplainerUnavailableError",
    "Explanation",
    "ExplanationKind",
    "Feedback",
    "InferenceError",
    "Judgement",
    "Mention",
    "MissingPackageError",
    "OptionError",
    "Outcome",
    "OverloadedError",
    "Point",
    "RefusedError",
    "Result",
    "Sentence",
    "Sentiment",
    "SentimentError",
    "ServiceError",
    "SettingsError",
    "TextError",
    "Token",
    "Unclassified",
    "UnreachableError",
    "__version__",
    "columns",
]
