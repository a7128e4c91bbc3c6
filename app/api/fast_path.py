"""The fast path of ``POST /classify``: a plain request with one text, answered without an ASGI call or a task.

Creating a task, waiting in it and taking apart ASGI messages would cost as much as tokenizing the text. So the protocol
offers every plain request to ``FastPath`` first. What is not the common case in any way (several texts, an error to
describe) is left alone, before anything was counted or started, for the application to answer.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from app import metrics, tracing
from app.api.classify import CLASSIFY_PATH, single_answer
from app.api.headers import timeout_of
from app.api.load_shedding import LoadShedder
from app.api.meter import Caller
from app.api.middleware import SECURITY_HEADERS, RequestRecorder
from app.api.origins import OriginHeaders
from app.api.problems import Problem, internal_error, problem_of
from app.api.raw import raw_problem
from app.api.schemas import parse_request
from app.api.waiting import at_once
from app.errors import ServiceError, TextError
from app.sentiment import Prediction
from app.serving.classifier import Classifier
from app.serving.outcomes import Outcome
from app.serving.pending import PendingText
from app.settings import Settings

if TYPE_CHECKING:
    from app.api.guard import Access

logger = logging.getLogger(__name__)

URL = CLASSIFY_PATH.encode()
MAX_BODY = 65_536
"""Longest body, in bytes; beyond it uvicorn's flow control has to be at work."""

_LIST, _START = b'"texts"', 32
"""What a list of texts is known by without parsing it for nothing, and in how many bytes from the start."""
_SPECIAL = frozenset({b"transfer-encoding", b"content-encoding", b"expect"})
"""Headers that make a request anything but plain."""
_TELLING = _SPECIAL | {b"content-length", b"content-type", b"origin", b"x-timeout-seconds"}
"""Headers that are looked at."""

Headers = Sequence[tuple[bytes, bytes]]


class Connection(Protocol):
    """What a request needs of the connection it came on."""

    def respond(self, head: bytes, body: bytes) -> None:
        """Write a response, whose head lacks ``Connection``, the server's own headers, and the empty line."""
        ...


@dataclass(slots=True)
class Head:
    """What the head of a plain request says.

    Attributes:
        headers: the headers.
        timeout: seconds after which the answer is of no use.
        lines: of the response's head, for the page that asks.
        caller: who asks; None where there are no keys.
    """

    headers: Headers
    timeout: float = math.inf
    lines: bytes = b""
    caller: Caller | None = None


class FastPath:
    """Answers plain requests of all connections of a process.

    Args:
        classifier: gives the classifier, or None while there is none.
        recorder: shared with the middleware.
        settings: limits.
        load_shedder: says what is refused unread.
        access: decides who may call; None for everybody.
        origins: know what is said to pages of other origins; None for nothing.
    """

    def __init__(
        self,
        classifier: Callable[[], Classifier | None],
        recorder: RequestRecorder,
        settings: Settings,
        load_shedder: LoadShedder | None = None,
        access: Access | None = None,
        origins: OriginHeaders | None = None,
    ) -> None:
        self.load_shedder = load_shedder or LoadShedder(CLASSIFY_PATH, classifier, settings)
        self._classifier = classifier
        self._timeout = settings.timeout
        self._access = access
        self._origins = origins
        self._max_body = min(MAX_BODY, settings.max_body)
        self.recorder = recorder
        self._waiting: dict[FastRequest, float] = {}
        self._timer: asyncio.TimerHandle | None = None

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
            if asked.text is None or asked.explain is not None:
                return None
            if head.caller is not None and head.caller.waits:
                request = FastRequest(self, classifier, connection, head)
                request.work(_count_and_classify(head.caller, classifier, asked.text, head.timeout))
                return request
            if head.caller is not None:
                at_once(head.caller.count())
        except Problem:
            return None
        try:
            started = classifier.begin(asked.text)
        except ServiceError as error:
            return self.refuse(connection, head, error)
        if started is None:
            return None
        request = FastRequest(self, classifier, connection, head)
        if isinstance(started, PendingText):
            request.wait(started, head.timeout)
        else:
            request.answer(single_answer(started, classifier))
        return request

    def refuse(self, connection: Connection, head: Head, error: ServiceError) -> FastRequest | None:
        """Answer a request with an error; see ``begin``."""
        classifier = self._classifier()
        if classifier is None:
            return None
        request = FastRequest(self, classifier, connection, head)
        request.refuse(error)
        return request

    @property
    def draining(self) -> bool:
        """Whether clients should be told to connect anew, because the end is near."""
        classifier = self._classifier()
        return classifier is not None and classifier.draining

    def watch(self, request: FastRequest, seconds: float) -> asyncio.TimerHandle | None:
        """Complete a request when so many seconds have passed; the timer, where it has one of its own.

        All that name no deadline have the same patience, so that the first of them is the next, and one timer does.
        """
        loop = asyncio.get_running_loop()
        if seconds < self._timeout:
            return loop.call_later(seconds, request.complete)
        self._waiting[request] = loop.time() + self._timeout
        if self._timer is None:
            self._timer = loop.call_later(self._timeout, self._expire)
        return None

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


async def _count_and_classify(caller: Caller, classifier: Classifier, text: str, timeout: float) -> Outcome:
    await caller.count()
    [outcome] = await classifier.classify([text], timeout=timeout)
    return outcome


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
        "_lines",
        "_path",
        "_pending",
        "_started",
        "_task",
        "_timer",
        "disconnected",
        "keep_alive",
        "response_complete",
    )

    def __init__(self, path: FastPath, classifier: Classifier, connection: Connection, head: Head) -> None:
        self._path = path
        self._classifier = classifier
        self._connection = connection
        self._id = path.recorder.request_id(head.headers)
        self._lines = head.lines
        self._started = time.perf_counter()
        self._pending: PendingText | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[Outcome] | None = None
        self.response_complete = self.disconnected = False
        self.keep_alive = True
        metrics.tally.count(metrics.REQUESTS_IN_FLIGHT)

    @property
    def message_event(self) -> FastRequest:
        """Where uvicorn says that something happened: this very object, and not kept in it, which would be a cycle."""
        return self

    def wait(self, pending: PendingText, seconds: float) -> None:
        """Answer when the text is computed, or failed, or so many seconds have passed."""
        self._pending = pending
        self._timer = self._path.watch(self, seconds)
        pending.ticket.add_done_callback(self.complete)

    def complete(self, _: object = None) -> None:
        """Answer, whatever has become of the text."""
        pending = self._give_up()
        if pending is None:
            return
        self._end(lambda: self._classifier.finish(pending))

    def work(self, work: Coroutine[Any, Any, Outcome]) -> None:
        """Answer with what comes of this, which is given up when the client leaves."""
        self._task = asyncio.get_running_loop().create_task(work)
        self._task.add_done_callback(self._worked)

    def _worked(self, task: asyncio.Task[Outcome]) -> None:
        if not task.cancelled():
            self._end(task.result)

    def _end(self, result: Callable[[], Outcome]) -> None:
        try:
            outcome = result()
            if isinstance(outcome, Prediction):
                self.answer(single_answer(outcome, self._classifier))
            else:
                self.refuse(outcome)
        except Problem as problem:
            metrics.REJECTED.labels(problem.code).inc()
            self._refuse(problem)
        except ServiceError as error:
            self.refuse(error)
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
        if not self.disconnected or self.response_complete:
            return
        if self._task is not None:
            self._task.cancel()
        if (pending := self._give_up()) is not None:
            pending.ticket.remove_done_callback(self.complete)
            self._classifier.leave(pending)
        self._over(499)

    def _give_up(self) -> PendingText | None:
        """Wait no more; for what was waited, where that was so."""
        pending, self._pending = self._pending, None
        self._path.unwatch(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return pending

    def answer(self, body: bytes) -> None:
        """Respond 200."""
        self._over(200)
        head = b"%b%bx-request-id: %b\r\ncontent-length: %d\r\n" % (_OK, self._lines, self._id.encode(), len(body))
        self._connection.respond(head, body)

    def _refuse(self, problem: Problem) -> None:
        self._over(problem.status)
        head, body = raw_problem(problem, self._id)
        self._connection.respond(head + self._lines, body)

    def _over(self, status: int) -> None:
        self.response_complete = True
        metrics.tally.count(metrics.REQUESTS_IN_FLIGHT, -1)
        seconds = time.perf_counter() - self._started
        self._path.recorder.record(CLASSIFY_PATH, "POST", status, seconds, self._id, kind="text", together=True)


_OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n" + b"".join(
    name + b": " + value + b"\r\n" for name, value in SECURITY_HEADERS
)
