"""Every error this project raises on purpose. Knows no HTTP: ``http/problems.py`` maps these to responses.

SentimentError
├── TextError                a text that cannot be classified; says why, names the limit
│   ├── BlankTextError         empty or only white space
│   ├── EmptyCellError         a cell of a table that means nothing: empty, NA, null
│   ├── BadRowError            a row of a table that is not as it should be
│   ├── TextTooLongError       more characters than the limit
│   └── NoWordsError           nothing in it that is a word (only punctuation, only emoji)
├── ServiceError             the service cannot answer now
│   ├── OverloadedError        a bound is reached; carries ``retry_after`` seconds
│   ├── DeadlineError          the answer would come too late
│   ├── UnreachableError       nobody answers at the address of a service
│   ├── UnknownModelError      the request names a model that is not loaded; names those that are
│   ├── RefusedError           a service will not answer this, however often it is asked: a key, a right, an address
│   ├── EngineUnavailableError the engine is starting, restarting or gone
│   │   └── EngineClosedError      for good: its model was unloaded, or the service ends
│   ├── ExplainerUnavailableError what explains is gone; answers without explanations are still to be had
│   └── InferenceError         the forward pass failed for this text
├── FeedbackError            feedback cannot be kept now
│   └── FeedbackFullError      there is as much of it as may be kept
├── CheckpointError          a stored model is missing, damaged or inconsistent; names the file
├── MissingPackageError      an extra of this package is not installed; names it
├── DataError                a corpus or data file is not as it should be; names the file
│   └── BusyFileError          another process is writing that file; it may end
└── SettingsError            a setting is malformed; names it
    └── OptionError            an option of one command or request is; each interface spells its name its own way
"""

from __future__ import annotations

import copyreg
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar


class SentimentError(Exception):
    """Base of all errors raised on purpose. ``str(error)`` is always fit to be shown to the person who caused it."""

    def __reduce__(self) -> tuple[Any, ...]:
        """How it goes to another process: as it is, whatever ``__init__`` takes."""
        return copyreg.__newobj__, (type(self), *self.args), vars(self)  # type: ignore[attr-defined]


class TextError(SentimentError):
    """A text that cannot be classified.

    Attributes:
        code: stable machine-readable reason.
    """

    code: ClassVar[str] = "invalid_text"


class BlankTextError(TextError):
    """The text is empty or only white space."""

    code: ClassVar[str] = "blank_text"

    def __init__(self) -> None:
        super().__init__("text must contain at least 1 non-blank character")


class EmptyCellError(TextError):
    """A cell of a table that means nothing: empty, NA, NaN, None, null, N/A, -."""

    code: ClassVar[str] = "empty_cell"

    def __init__(self) -> None:
        super().__init__("there is no text in this row")


class BadRowError(TextError):
    """A row of a table that is not as it should be, and was to be marked as such."""

    code: ClassVar[str] = "bad_row"

    def __init__(self) -> None:
        super().__init__("this row is not as it should be")


class TextTooLongError(TextError):
    """The text has more characters than the limit."""

    code: ClassVar[str] = "text_too_long"

    def __init__(self, characters: int, limit: int) -> None:
        super().__init__(f"text has {characters} characters; the limit is {limit}")


class NoWordsError(TextError):
    """The text has characters, but no word and no number."""

    code: ClassVar[str] = "no_words"

    def __init__(self) -> None:
        super().__init__("text must contain at least 1 word or number")


class ServiceError(SentimentError):
    """The service cannot answer now; the same request may succeed later.

    Attributes:
        code: stable machine-readable reason.
        retry_after: seconds after which trying again makes sense, where known.
    """

    code: ClassVar[str] = "unavailable"

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class OverloadedError(ServiceError):
    """A queue or admission bound is reached."""

    code: ClassVar[str] = "overloaded"


class DeadlineError(ServiceError):
    """The deadline passed before the answer was there."""

    code: ClassVar[str] = "deadline_exceeded"


class UnreachableError(ServiceError):
    """Nobody answers at the address of a service."""

    code: ClassVar[str] = "unreachable"


class UnknownModelError(ServiceError):
    """The request names a model that is not loaded."""

    code: ClassVar[str] = "unknown_model"


class RefusedError(ServiceError):
    """A service will not answer this request, however often it is asked.

    Attributes:
        status: of its HTTP answer: 401 for a key that is missing or unknown, 403 for one without the right.
    """

    code: ClassVar[str] = "refused"

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class EngineUnavailableError(ServiceError):
    """The engine is starting, restarting or gone."""

    code: ClassVar[str] = "engine_unavailable"


class EngineClosedError(EngineUnavailableError):
    """The engine will not come back."""

    def __init__(self) -> None:
        super().__init__("the model was unloaded, or the service is ending")


class ExplainerUnavailableError(ServiceError):
    """What explains is gone; answers without explanations are still to be had."""

    code: ClassVar[str] = "explainer_unavailable"


class InferenceError(ServiceError):
    """The forward pass failed for this text."""

    code: ClassVar[str] = "inference_failed"


class FeedbackError(SentimentError):
    """Feedback cannot be kept now."""


class FeedbackFullError(FeedbackError):
    """There is as much feedback as may be kept, or the disk is full."""


class CheckpointError(SentimentError):
    """A stored model is missing, damaged or inconsistent. The message names the file."""


class MissingPackageError(SentimentError):
    """A package that one part of this software needs is not installed.

    Args:
        use: what needs which, as the beginning of a sentence.
        extra: of this package, with which it is installed.
    """

    def __init__(self, use: str, extra: str) -> None:
        super().__init__(f"{use}, which is not installed: install 'sentiment-service[{extra}]'")


class DataError(SentimentError):
    """A corpus or data file is not as it should be. The message names the file.

    Attributes:
        options: options of reading that may help, such as ``no_header``. The message does not name them, because every
            interface spells them its own way.
    """

    def __init__(self, message: str, *options: str) -> None:
        super().__init__(message)
        self.options = options


class BusyFileError(DataError):
    """Another process is writing that file. It may end: later the same may succeed."""


class SettingsError(SentimentError):
    """A setting is malformed. The message names it."""


class OptionError(SettingsError):
    """An option of one command or request is malformed.

    Attributes:
        option: its name, with underscores.
        message: what is wrong with it.
    """

    def __init__(self, option: str, message: str) -> None:
        super().__init__(f"{option}: {message}")
        self.option = option
        self.message = message


@contextmanager
def told_of(place: object, done: str = "read", kind: type[SentimentError] = DataError) -> Iterator[None]:
    """Say what the system refuses within the block as an error of this project.

    Args:
        place: the file or folder.
        done: what cannot be done with it.
        kind: the error.
    """
    try:
        yield
    except OSError as error:
        raise kind(f"{place}: cannot be {done} ({error.strerror or error})") from error
