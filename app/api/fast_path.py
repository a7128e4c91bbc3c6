"""The fast path of ``POST /classify``: a plain request with one text, answered without an ASGI call or a task.

Creating a task, waiting in it and taking apart ASGI messages would cost as much as tokenizing the text. So the protocol
offers every plain request to ``FastPath`` first. What is not the common case in any way (several texts, an error to
describe) is left alone, before anything was counted or started, for the application to answer.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from app import metrics, tracing
from app.api.classify import CLASSIFY_PATH, single_answer
from app.api.load_shedding import LoadShedder
from app.api.middleware import SECURITY_HEADERS, RequestRecorder
from app.api.problems import Problem, internal_error, problem_of
from app.api.raw import raw_problem
from app.api.schemas import parse_request
from app.errors import ServiceError, TextError
from app.sentiment import Prediction
from app.serving.classifier import Classifier
from app.serving.pending import PendingText
from app.settings import Settings

logger = logging.getLogger(__name__)

URL = CLASSIFY_PATH.encode()
MAX_BODY = 65_536
"""Longest body, in bytes; beyond it uvicorn's flow control has to be at work."""

_LIST, _START = b'"texts"', 32
"""What a list of texts is known by without parsing it for nothing, and in how many bytes from the start."""
_SPECIAL = frozenset({b"transfer-encoding", b"content-encoding", b"expect", b"x-timeout-seconds"})
"""Headers that make a request anything but plain."""

Headers = Sequence[tuple[bytes, bytes]]


class Connection(Protocol):
    """What a request needs of the connection it came on."""

    def respond(self, head: bytes, body: bytes) -> None:
        """Write a response, whose head lacks ``Connection``, the server's own headers, and the empty line."""
        ...


class FastPath:
    """Answers plain requests of all connections of a process.

    Args:
        classifier: gives the classifier, or None while there is none.
        recorder: shared with the middleware.
        settings: limits.
        load_shedder: says what is refused unread.
    """

    def __init__(
        self,
        classifier: Callable[[], Classifier | None],
        recorder: RequestRecorder,
        settings: Settings,
        load_shedder: LoadShedder | None = None,
    ) -> None:
        self.load_shedder = load_shedder or LoadShedder(CLASSIFY_PATH, classifier, settings)
        self._classifier = classifier
        self._timeout = settings.timeout
        # Keys and origins are looked at in layers of the application.
        self._closed = settings.api_keys is not None or settings.cors_origins is not None
        self._max_body = min(MAX_BODY, settings.max_body)
        self.recorder = recorder
        self._waiting: dict[FastRequest, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def takes(self, method: bytes, url: bytes, headers: Headers) -> bool:
        """Whether the head is that of a plain request with a body of known and moderate length."""
        if url != URL or method != b"POST" or self._closed or tracing.enabled():
            return False
        length = 0
        for name, value in headers:
            if name in _SPECIAL or (name == b"content-type" and value != b"application/json"):
                return False
            if name == b"content-length":
                length = int(value) if value.isdigit() and len(value) < 8 else 0
        return 0 < length <= self._max_body

    def begin(self, connection: Connection, headers: Headers, body: bytes) -> FastRequest | None:
        """Answer a request, or start it; None, and nothing has happened, where the application has to answer."""
        classifier = self._classifier()
        if classifier is None or _LIST in body[:_START]:
            return None
        try:
            asked = parse_request(body, 1)
        except Problem:
            return None
        if asked.text is None or asked.explain is not None:
            return None
        try:
            started = classifier.begin(asked.text)
        except ServiceError as error:
            return self.refuse(connection, headers, error)
        if started is None:
            return None
        request = FastRequest(self, classifier, connection, self.recorder.request_id(headers))
        if isinstance(started, PendingText):
            request.wait(started)
        else:
            request.answer(single_answer(started, classifier))
        return request

    def refuse(self, connection: Connection, headers: Headers, error: ServiceError) -> FastRequest | None:
        """Answer a request with an error; see ``begin``."""
        classifier = self._classifier()
        if classifier is None:
            return None
        request = FastRequest(self, classifier, connection, self.recorder.request_id(headers))
        request.refuse(error)
        return request

    @property
    def draining(self) -> bool:
        """Whether clients should be told to connect anew, because the end is near."""
        classifier = self._classifier()
        return classifier is not None and classifier.draining

    def watch(self, request: FastRequest) -> None:
        """Time a request out when its deadline has passed. All have the same patience, so the first is the next."""
        loop = asyncio.get_running_loop()
        self._waiting[request] = loop.time() + self._timeout
        if self._timer is None:
            self._timer = loop.call_later(self._timeout, self._expire)

    def unwatch(self, request: FastRequest) -> None:
        """The request is over."""
        self._waiting.pop(request, None)

    def _expire(self) -> None:
        loop = asyncio.get_running_loop()
        now, self._timer = loop.time(), None
        for request, deadline in list(self._waiting.items()):
            if deadline > now:
                self._timer = loop.call_at(deadline, self._expire)
                break
            request.complete()


class FastRequest:
    """One request on the fast path. To uvicorn's protocol it is the cycle at work on the connection.

    Attributes:
        response_complete: whether it is over.
        keep_alive: what uvicorn sets when the server stops; the protocol knows that already.
        disconnected: set true by uvicorn when the client is gone.
    """

    __slots__ = (
        "_classifier",
        "_connection",
        "_id",
        "_path",
        "_pending",
        "_started",
        "disconnected",
        "keep_alive",
        "response_complete",
    )

    def __init__(self, path: FastPath, classifier: Classifier, connection: Connection, number: str) -> None:
        self._path = path
        self._classifier = classifier
        self._connection = connection
        self._id = number
        self._started = time.perf_counter()
        self._pending: PendingText | None = None
        self.response_complete = self.disconnected = False
        self.keep_alive = True
        metrics.tally.count(metrics.REQUESTS_IN_FLIGHT)

    @property
    def message_event(self) -> FastRequest:
        """Where uvicorn says that something happened: this very object, and not kept in it, which would be a cycle."""
        return self

    def wait(self, pending: PendingText) -> None:
        """Answer when the text is computed, or failed."""
        self._pending = pending
        self._path.watch(self)
        pending.ticket.add_done_callback(self.complete)

    def complete(self, _: object = None) -> None:
        """Answer, whatever has become of the text."""
        pending, self._pending = self._pending, None
        if pending is None:
            return
        self._path.unwatch(self)
        try:
            outcome = self._classifier.finish(pending)
            if isinstance(outcome, Prediction):
                self.answer(single_answer(outcome, self._classifier))
            else:
                self.refuse(outcome)
        except Exception:
            # Whoever called goes on with other texts, and could not say which request it was.
            extras = {"method": "POST", "path": CLASSIFY_PATH, "request_id": self._id}
            logger.exception("unhandled error", extra=extras)
            self._refuse(internal_error())

    def refuse(self, error: ServiceError | TextError) -> None:
        """Respond with an error."""
        metrics.REJECTED.labels(error.code).inc()
        self._refuse(problem_of(error))

    def set(self) -> None:
        """Uvicorn's event: the client may be gone, and then nobody needs the answer."""
        pending = self._pending
        if not self.disconnected or pending is None:
            return
        self._pending = None
        self._path.unwatch(self)
        pending.ticket.remove_done_callback(self.complete)
        self._classifier.leave(pending)
        self._over(499)

    def answer(self, body: bytes) -> None:
        """Respond 200."""
        self._over(200)
        self._connection.respond(
            b"%bx-request-id: %b\r\ncontent-length: %d\r\n" % (_OK, self._id.encode(), len(body)), body
        )

    def _refuse(self, problem: Problem) -> None:
        self._over(problem.status)
        self._connection.respond(*raw_problem(problem, self._id))

    def _over(self, status: int) -> None:
        self.response_complete = True
        metrics.tally.count(metrics.REQUESTS_IN_FLIGHT, -1)
        seconds = time.perf_counter() - self._started
        self._path.recorder.record(CLASSIFY_PATH, "POST", status, seconds, self._id, kind="text", together=True)


_OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n" + b"".join(
    name + b": " + value + b"\r\n" for name, value in SECURITY_HEADERS
)
