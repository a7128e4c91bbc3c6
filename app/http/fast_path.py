"""The fast path of ``POST /classify``: a plain request with one text, answered without an ASGI call or a task.

Creating a task, waiting in it and taking apart ASGI messages would cost as much as tokenizing the text. So the protocol
offers every plain request to ``FastPath`` first. What is not the common case in any way (several texts, an error to
describe) is left alone, before anything was counted or started, for the application to answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from app import tracing
from app.errors import ServiceError, UnknownModelError
from app.http.auth.meter import Caller
from app.http.fast_request import Connection, Deadlines, FastRequest, Head, Headers
from app.http.handler import CLASSIFY_PATH, single_answer
from app.http.headers import timeout_of
from app.http.json_body import parse_request
from app.http.load_shedding import LoadShedder
from app.http.middleware import RequestRecorder
from app.http.origins import OriginHeaders, at_once
from app.http.problems import Problem
from app.sentiment import Outcome
from app.serving.classifier import Classifier
from app.serving.pending import PendingText
from app.serving.versions import FurtherVersions
from app.settings import Settings

if TYPE_CHECKING:
    from app.http.auth.guard import Access

URL = CLASSIFY_PATH.encode()
MAX_BODY = 65_536
"""Longest body, in bytes; beyond it uvicorn's flow control has to be at work."""

_LIST, _START = b'"texts"', 32
"""What a list of texts is known by without parsing it for nothing, and in how many bytes from the start."""
_SPECIAL = frozenset({b"transfer-encoding", b"content-encoding", b"expect"})
"""Headers that make a request anything but plain."""
_TELLING = _SPECIAL | {b"content-length", b"content-type", b"origin", b"x-timeout-seconds"}
"""Headers that are looked at."""


class FastPath:
    """Answers plain requests of all connections of a process.

    Args:
        classifier: gives the classifier, or None while there is none.
        recorder: shared with the middleware.
        settings: limits.
        load_shedder: says what is refused unread.
        access: decides who may call; None for everybody.
        origins: know what is said to pages of other origins; None for nothing.
        further: what is loaded beside what the classifier classifies with; None for nothing.
    """

    def __init__(
        self,
        classifier: Callable[[], Classifier | None],
        recorder: RequestRecorder,
        settings: Settings,
        load_shedder: LoadShedder | None = None,
        access: Access | None = None,
        origins: OriginHeaders | None = None,
        further: FurtherVersions | None = None,
    ) -> None:
        self.load_shedder = load_shedder or LoadShedder(CLASSIFY_PATH, classifier, settings)
        self._classifier = classifier
        self._timeout = settings.timeout
        self._access = access
        self._origins = origins
        self._further = further or FurtherVersions()
        self._max_body = min(MAX_BODY, settings.max_body)
        self._recorder = recorder
        self._deadlines = Deadlines(settings.timeout)

    def takes(self, method: bytes, url: bytes, headers: Headers) -> Head | None:
        """The head of a plain request with a body of known and moderate length, by somebody who may call; else None."""
        if url != URL or method != b"POST" or tracing.enabled():
            return None
        length, timed = 0, False
        origin: bytes | None = None
        for name, value in headers:
            if name not in _TELLING:
                continue
            if name in _SPECIAL or (name == b"content-type" and value != b"application/json"):
                return None
            if name == b"content-length":
                length = int(value) if value.isdigit() and len(value) < 8 else 0
            elif name == b"origin":
                origin = value if origin is None else origin
            elif name == b"x-timeout-seconds":
                timed = True
        return self._head(headers, origin, timed=timed) if 0 < length <= self._max_body else None

    def _head(self, headers: Headers, origin: bytes | None, *, timed: bool) -> Head | None:
        caller, timeout = None, self._timeout
        try:
            if self._access is not None:
                caller = self._access.caller(CLASSIFY_PATH, "POST", headers)
            if timed:
                timeout = min(timeout_of(headers) or timeout, timeout)
        except Problem:
            return None
        return Head(headers, timeout, b"" if self._origins is None else self._origins.lines(origin), caller)

    def begin(self, connection: Connection, head: Head, body: bytes) -> FastRequest | None:
        """Answer a request, or start it; None where the application has to answer. Nothing has happened then but that
        the rate limit may have counted it, which ``Caller`` remembers."""
        classifier = self._classifier()
        if classifier is None or _LIST in body[:_START]:
            return None
        try:
            asked = parse_request(body, 1)
            if asked.text is None or asked.explain is not None or asked.foreign:
                return None
            if asked.model is not None or self._further.canary is not None:
                classifier = self._chosen(asked.model, head, asked.text, classifier)
            if head.caller is not None and head.caller.waits:
                request = FastRequest(self._recorder, self._deadlines, classifier, connection, head)
                request.work(_count_and_classify(head, head.caller, classifier, asked.text))
                return request
            if head.caller is not None and head.caller.meter is not None:
                at_once(head.caller.count())
                head.lines += at_once(head.caller.lines())
        except (Problem, UnknownModelError, _LeftAloneError):
            return None
        try:
            started = classifier.start(asked.text)
        except ServiceError as error:
            return self.refuse(connection, head, error)
        if started is None:
            return None
        request = FastRequest(self._recorder, self._deadlines, classifier, connection, head)
        if isinstance(started, PendingText):
            request.wait(started, head.timeout)
        else:
            request.answer(single_answer(started, classifier))
        return request

    def _chosen(self, name: str | None, head: Head, text: str, served: Classifier) -> Classifier:
        """What answers.

        Raises:
            UnknownModelError: what is named is not loaded.
            _LeftAloneError: the canary, whose failures the application makes good.
        """
        if name is None:
            if self._further.divided(head.headers, text) is not None:
                raise _LeftAloneError
            return served
        found = self._further.find(name, served.model)
        return served if found is None else found.classifier

    def refuse(self, connection: Connection, head: Head, error: ServiceError) -> FastRequest | None:
        """Answer a request with an error; see ``begin``."""
        classifier = self._classifier()
        if classifier is None:
            return None
        request = FastRequest(self._recorder, self._deadlines, classifier, connection, head)
        request.refuse(error)
        return request

    @property
    def draining(self) -> bool:
        """Whether clients should be told to connect anew, because the end is near."""
        classifier = self._classifier()
        return classifier is not None and classifier.draining


class _LeftAloneError(Exception):
    """The application has to answer."""


async def _count_and_classify(head: Head, caller: Caller, classifier: Classifier, text: str) -> Outcome:
    try:
        await caller.count()
    finally:
        head.lines += await caller.lines()
    [outcome] = await classifier.classify([text], timeout=head.timeout)
    return outcome
