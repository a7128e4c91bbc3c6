"""One request on the fast path: what it waits for, its deadline, and its response. See ``fast_path``."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from app import metrics
from app.errors import ServiceError, TextError
from app.http.auth.meter import Caller
from app.http.handler import CLASSIFY_PATH, single_answer
from app.http.middleware import SECURITY_HEADERS, RequestRecorder
from app.http.problems import Problem, internal_error, problem_of
from app.http.server.raw import raw_problem
from app.sentiment import Outcome, Prediction
from app.serving.classifier import Classifier
from app.serving.pending import PendingText

logger = logging.getLogger(__name__)

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


class Deadlines:
    """Completes requests whose time is over.

    Args:
        patience: seconds for requests that name no deadline.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._waiting: dict[FastRequest, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, request: FastRequest, seconds: float) -> asyncio.TimerHandle | None:
        """Complete a request when so many seconds have passed; the timer, where it has one of its own.

        All that name no deadline have the same patience, so that the first of them is the next, and one timer does.
        """
        loop = asyncio.get_running_loop()
        if seconds < self._patience:
            return loop.call_later(seconds, request.complete)
        self._waiting[request] = loop.time() + self._patience
        if self._timer is None:
            self._timer = loop.call_later(self._patience, self._expire)
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
        "_deadlines",
        "_head",
        "_id",
        "_pending",
        "_recorder",
        "_started",
        "_task",
        "_timer",
        "disconnected",
        "keep_alive",
        "response_complete",
    )

    def __init__(
        self,
        recorder: RequestRecorder,
        deadlines: Deadlines,
        classifier: Classifier,
        connection: Connection,
        head: Head,
    ) -> None:
        self._recorder = recorder
        self._deadlines = deadlines
        self._classifier = classifier
        self._connection = connection
        self._id = recorder.request_id(head.headers)
        self._head = head  # which learns what is left of the rate limit
        self._started = time.perf_counter()
        self._pending: PendingText | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[Outcome] | None = None
        self.response_complete = self.disconnected = False
        self.keep_alive = True
        metrics.buffered.count(metrics.REQUESTS_IN_FLIGHT)

    @property
    def message_event(self) -> FastRequest:
        """Where uvicorn says that something happened: this very object, and not kept in it, which would be a cycle."""
        return self

    def wait(self, pending: PendingText, seconds: float) -> None:
        """Answer when the text is computed, or failed, or so many seconds have passed."""
        self._pending = pending
        self._timer = self._deadlines.watch(self, seconds)
        pending.batch.ticket.add_done_callback(self.complete)

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
            pending.batch.ticket.remove_done_callback(self.complete)
            self._classifier.leave(pending)
        self._over(499)

    def _give_up(self) -> PendingText | None:
        """Wait no more; for what was waited, where that was so."""
        pending, self._pending = self._pending, None
        self._deadlines.unwatch(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return pending

    def answer(self, body: bytes) -> None:
        """Respond 200."""
        self._over(200)
        head = b"%b%bx-request-id: %b\r\ncontent-length: %d\r\n" % (_OK, self._head.lines, self._id.encode(), len(body))
        self._connection.respond(head, body)

    def _refuse(self, problem: Problem) -> None:
        self._over(problem.status)
        head, body = raw_problem(problem, self._id)
        self._connection.respond(head + self._head.lines, body)

    def _over(self, status: int) -> None:
        self.response_complete = True
        metrics.buffered.count(metrics.REQUESTS_IN_FLIGHT, -1)
        seconds = time.perf_counter() - self._started
        names = self._classifier.named
        self._recorder.record(CLASSIFY_PATH, "POST", status, seconds, self._id, kind="text", together=True, names=names)


_OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n" + b"".join(
    name + b": " + value + b"\r\n" for name, value in SECURITY_HEADERS
)
