"""``POST /feedback``: somebody knows the right label of a text. Kept only where the operator names a folder for it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Self

import orjson
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app import metrics
from app.errors import (
    BlankTextError,
    CheckpointError,
    EngineUnavailableError,
    FeedbackError,
    FeedbackFullError,
    SentimentError,
    TextTooLongError,
)
from app.feedback.folder import FeedbackEntry, FeedbackFolder
from app.http.auth.meter import KEY_NAME, KEY_SCOPES
from app.http.body import ClientGoneError, read_json_body, refuse
from app.http.json_body import parse_document
from app.http.problems import Problem, invalid
from app.http.schemas import WHOLE, not_null
from app.keys import FEEDBACK
from app.serving.classifier import Classifier
from app.serving.versions import FurtherVersions
from app.settings import Settings
from app.store import CONFIG_FILE, read_config

FEEDBACK_PATH = "/feedback"
MAX_COMMENT = 1_000
_MOST_WAITING = 256
"""Requests of one worker that wait for the disk; one more is refused at once."""
_PATIENCE = 10.0
_SILENCE = 60.0
"""Seconds without a refusal, after which the next one is said even if its reason is the last one's."""

OFF = Problem(501, "feedback_off", "this service keeps no feedback; its operator can name a folder for it")
FULL = Problem(
    507, "feedback_full", "no more feedback is kept; the operator has to delete some, raise the limit or free the disk"
)
BUSY = Problem(503, "feedback_unavailable", "feedback cannot be kept just now", headers={"Retry-After": "5"})

logger = logging.getLogger(__name__)


class FeedbackRequest(BaseModel):
    """A text, its right label and, as far as they are known, what was answered by what."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        json_schema_extra={"dependentRequired": {"model": ["version"], "version": ["model"]}},
    )

    text: Annotated[str, Field(description="The text.", min_length=1)]
    label: Annotated[str, Field(description="Its right label, one of the model's.", examples=["negative"])]
    answered: Annotated[
        str | None, Field(description="The label that was answered.", examples=["positive"], json_schema_extra=not_null)
    ] = None
    model: Annotated[
        str | None,
        Field(
            description="What answered, with its version; without both, what is served now is assumed.",
            pattern="^[a-z0-9][a-z0-9_-]{0,63}$",
            json_schema_extra=not_null,
        ),
    ] = None
    version: Annotated[Annotated[int, Field(ge=1, le=999_999_999), WHOLE] | None, Field(json_schema_extra=not_null)] = (
        None
    )
    request_id: Annotated[
        str | None,
        Field(description="X-Request-ID of the answer.", pattern="^[A-Za-z0-9._-]{1,128}$", json_schema_extra=not_null),
    ] = None
    comment: Annotated[
        str | None, Field(description="For people.", max_length=MAX_COMMENT, json_schema_extra=not_null)
    ] = None

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for name in self.model_fields_set:
            if getattr(self, name) is None:
                raise ValueError(f"{name} must not be null; leave it out")
        if (self.model is None) != (self.version is None):
            raise ValueError("model and version must be given together, or neither")
        return self


class FeedbackKept(BaseModel):
    """What was kept, without the text."""

    model: str
    version: int
    label: str
    right: Annotated[bool | None, Field(description="Whether the answer was right; null where it was not said.")]


class FeedbackEndpoint:
    """Answers ``POST /feedback``.

    Args:
        classifier: gives the classifier, or None while there is none.
        settings: the folder and the limits.
        further: what is loaded beside what the classifier classifies with.
    """

    def __init__(
        self, classifier: Callable[[], Classifier | None], settings: Settings, further: FurtherVersions
    ) -> None:
        self._classifier = classifier
        self._further = further
        self._settings = settings
        path = settings.feedback_folder
        self._folder = None if path is None else FeedbackFolder(path, settings.feedback_bytes)
        # One at a time, so that waiting for the disk takes one thread of this process.
        self._writing = asyncio.Lock()
        self._waiting = 0
        self._refused: tuple[str, float] = ("", 0.0)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            entry = await self._entry(scope, receive)
            await self._keep(entry)
            metrics.FEEDBACK.labels(entry.model, str(entry.version), _ANSWERS[entry.right]).inc()
            kept = FeedbackKept(model=entry.model, version=entry.version, label=entry.label, right=entry.right)
            response = Response(orjson.dumps(kept.model_dump()), 201, media_type="application/json")
        except (Problem, SentimentError) as error:
            await refuse(error, scope, receive, send)
            return
        except ClientGoneError as gone:
            response = gone.response()
        await response(scope, receive, send)

    async def _entry(self, scope: Scope, receive: Receive) -> FeedbackEntry:
        limits = self._settings
        body = await read_json_body(scope, receive, limits.max_body, compressed=limits.compressed_bodies)
        if self._folder is None:
            raise OFF
        request = parse_document(FeedbackRequest, body)
        if request.text.isspace():
            raise BlankTextError
        if len(request.text) > limits.max_characters:
            raise TextTooLongError(len(request.text), limits.max_characters)
        model, version, labels = await self._version_of(request)
        for name in ("label", "answered"):
            given = getattr(request, name)
            if given is not None and given not in labels:
                raise invalid(
                    "invalid_request", name, f"must be one of {', '.join(labels)}, the labels of {model}/{version}"
                )
        said = request.model_dump(exclude={"model", "version"})
        by = scope.get(KEY_NAME)
        return FeedbackEntry(time=datetime.now(UTC), model=model, version=version, by=by, **said)

    async def _version_of(self, request: FeedbackRequest) -> tuple[str, int, tuple[str, ...]]:
        """What answered, and its labels. Only what is loaded or in the store, so that nobody can make up series of
        metrics."""
        classifier = self._classifier()
        if classifier is None:
            raise EngineUnavailableError("the service is starting", retry_after=1.0)
        served = classifier.model
        name, version = request.model or served.name, request.version or served.version
        # What is loaded answers also while the store is away.
        for model in (served, *(it.classifier.model for it in self._further.loaded.values())):
            if (name, version) == (model.name, model.version):
                return name, version, model.config.labels
        try:
            labels = await asyncio.to_thread(_labels_of, self._settings.model_store, name, version)
        except CheckpointError:
            message = f"there is no {name}/{version} in the model store; GET /models lists what there is"
            raise invalid("invalid_request", "version", message) from None
        return name, version, labels

    async def _keep(self, entry: FeedbackEntry) -> None:
        folder = self._folder
        if folder is None:
            raise OFF
        if self._waiting >= _MOST_WAITING:
            raise BUSY
        self._waiting += 1
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._writing.acquire()
            try:
                await asyncio.to_thread(folder.append, entry)
            finally:
                self._writing.release()
        except TimeoutError:
            raise BUSY from None
        except FeedbackFullError as error:
            self._say(logging.WARNING, str(error))
            raise FULL from None
        except FeedbackError as error:
            self._say(logging.ERROR, str(error))
            raise BUSY from None
        finally:
            self._waiting -= 1

    def _say(self, level: int, reason: str) -> None:
        """Log why feedback is refused: once, until it is another reason or was none for a while."""
        (said, at), now = self._refused, time.monotonic()
        self._refused = (reason, now)
        if reason != said or now - at > _SILENCE:
            logger.log(level, "feedback is refused, which is said once: %s", reason)


def takes_feedback(settings: Settings, scope: Scope) -> bool:
    """Whether who sends this request may send feedback: there is a folder, and the key, if any, has the scope."""
    return settings.feedback_folder is not None and FEEDBACK in scope.get(KEY_SCOPES, (FEEDBACK,))


_ANSWERS = {True: "right", False: "wrong", None: "unknown"}


@lru_cache(maxsize=256)
def _labels_of(store: Path, name: str, version: int) -> tuple[str, ...]:
    # Versions never change once written, so what was read once stays true.
    return read_config(store / name / str(version) / CONFIG_FILE).labels
