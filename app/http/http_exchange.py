"""One ``POST /classify`` and its response: its id and deadline, what it waits for, and how it is counted. What it is
answered with is ``handler``'s to say."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from app import metrics, tracing
from app.errors import ServiceError, TextError
from app.http.auth.meter import Caller
from app.http.middleware import SECURITY_HEADERS, RequestRecorder
from app.http.problems import Problem, internal_error, problem_of
from app.http.server.raw import raw_problem
from app.logs import request_id
from app.serving.classifier import Classifier
from app.serving.pending import PendingText

logger = logging.getLogger(__name__)

CLASSIFY_PATH = "/classify"
Headers = Sequence[tuple[bytes, bytes]]
Work = Callable[[], Coroutine[Any, Any, bytes | None]]
"""What has to be waited for, begun by a call; it gives the answer."""


class Connection(Protocol):
    """What an exchange needs of the connection that its request came on."""

    def respond(self, head: bytes, body: bytes) -> None:
        """Write a response, whose head lacks ``Connection``, the server's own headers, and the empty line."""
        ...


@dataclass(slots=True)
class Head:
    """What the head of a request says.

    Attributes:
        headers: the headers.
        timeout: seconds after which the answer is of no use.
        lines: of the response's head, for the page that asks.
        caller: who asks; None where there are no keys, and where the key is refused.
        problem: why the request is refused, whatever its body says.
    """

    headers: Headers
    timeout: float = math.inf
    lines: bytes = b""
    caller: Caller | None = None
    problem: Problem | None = None

    @property
    def free(self) -> bool:
        """Whether this request may be made, and is not counted against a limit."""
        return self.problem is None and (self.caller is None or self.caller.meter is None)


class Deadlines:
    """Completes exchanges whose time is over.

    Args:
        patience: seconds for requests that name no deadline.
    """

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._waiting: dict[Exchange, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, exchange: Exchange, seconds: float) -> asyncio.TimerHandle | None:
        """Complete an exchange when so many seconds have passed; the timer, where it has one of its own.

        All that name no deadline have the same patience, so that the first of them is the next, and one timer does.
        """
        loop = asyncio.get_running_loop()
        if seconds < self._patience:
            return loop.call_later(seconds, exchange.complete)
        self._waiting[exchange] = loop.time() + self._patience
        if self._timer is None:
            self._timer = loop.call_later(self._patience, self._expire)
        return None

    def unwatch(self, exchange: Exchange) -> None:
        """The exchange is over."""
        self._waiting.pop(exchange, None)

    def _expire(self) -> None:
        loop = asyncio.get_running_loop()
        now, self._timer = loop.time(), None
        for exchange, deadline in list(self._waiting.items()):
            if deadline > now:
                self._timer = loop.call_at(deadline, self._expire)
                break
            exchange.complete()


class Exchange:
    """One request and its response. To uvicorn's protocol it is the cycle at work on the connection.

    Args:
        recorder: numbers and counts it.
        deadlines: shared with all others.
        connection: where the response goes.
        head: of the request.

    Attributes:
        head: of the request.
        kind: what is asked for, once that is known; see ``RequestRecorder.record``.
        classifier: what answers; None until that is known.
        span: of its trace, where that is recorded.
        standing: lines of the response's head that say what is left of the rate limit.
        response_complete: whether it is over.
        keep_alive: what uvicorn sets when the server stops; the protocol knows that already.
        disconnected: set true when the client is gone.
    """

    __slots__ = (
        "_connection",
        "_deadlines",
        "_id",
        "_pending",
        "_recorder",
        "_render",
        "_started",
        "_task",
        "_timer",
        "classifier",
        "disconnected",
        "head",
        "keep_alive",
        "kind",
        "response_complete",
        "span",
        "standing",
    )

    def __init__(self, recorder: RequestRecorder, deadlines: Deadlines, connection: Connection, head: Head) -> None:
        self._recorder = recorder
        self._deadlines = deadlines
        self._connection = connection
        self._id = recorder.request_id(head.headers)
        self.head = head
        self.kind = "other"
        self.classifier: Classifier | None = None
        self.standing = b""
        self.span = tracing.start("POST", head.headers)
        self._started = time.perf_counter()
        self._pending: PendingText | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self.response_complete = self.disconnected = False
        self.keep_alive = True
        metrics.buffered.count(metrics.REQUESTS_IN_FLIGHT)

    @property
    def message_event(self) -> Exchange:
        """Where uvicorn says that something happened: this very object, and not kept in it, which would be a cycle."""
        return self

    def wait(self, pending: PendingText, render: Callable[[PendingText], bytes]) -> None:
        """Answer when the text is computed, or failed, or the deadline has passed.

        Args:
            pending: the text.
            render: makes the answer, or raises why there is none.
        """
        self._pending, self._render = pending, render
        self._timer = self._deadlines.watch(self, self.head.timeout)
        pending.batch.ticket.add_done_callback(self.complete)

    def complete(self, _: object = None) -> None:
        """Answer, whatever has become of the text."""
        if (pending := self._give_up()) is None:
            return
        try:
            answer = self._render(pending)
        except Exception as error:
            self.refuse(error)
        else:
            self.answer(answer)

    def run(self, work: Work) -> None:
        """Answer with what comes of this; None: it has called another of these methods. Cancelled when the client
        leaves."""
        self._task = asyncio.get_running_loop().create_task(self._run(work))

    async def _run(self, work: Work) -> None:
        request_id.set(self._id)
        with tracing.within(self.span):
            try:
                answer = await work()
            except Exception as error:
                self.refuse(error)
            else:
                if answer is not None:
                    self.answer(answer)

    def set(self) -> None:
        """Uvicorn's event: the client may be gone, and then nobody needs the answer."""
        if self.disconnected:
            self.leave()

    def leave(self) -> None:
        """Nobody waits for the response any more, if there is none yet."""
        if self.response_complete:
            return
        # Kept, a cancelled task would be garbage in a cycle: its error knows its frames, and these know the exchange.
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
        if (pending := self._give_up()) is not None:
            pending.batch.ticket.remove_done_callback(self.complete)
            assert self.classifier is not None  # noqa: S101 - it has the text
            self.classifier.leave(pending)
        self._over(499)

    def _give_up(self) -> PendingText | None:
        """Wait no more; for what was waited, where that was so."""
        pending, self._pending = self._pending, None
        if pending is not None:
            self._deadlines.unwatch(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return pending

    def answer(self, body: bytes) -> None:
        """Respond 200."""
        self._over(200)
        head = b"%b%b%bx-request-id: %b\r\ncontent-length: %d\r\n"
        own = self.head.lines
        self._connection.respond(head % (_OK, own, self.standing, self._id.encode(), len(body)), body)

    def refuse(self, error: Exception) -> None:
        """Respond with an error."""
        if isinstance(error, Problem | ServiceError | TextError):
            problem = error if isinstance(error, Problem) else problem_of(error)
            metrics.REJECTED.labels(problem.code).inc()
        else:
            # Whoever called goes on with other texts, and could not say which request it was.
            extras = {"method": "POST", "path": CLASSIFY_PATH, "request_id": self._id}
            logger.error("unhandled error", exc_info=error, extra=extras)
            problem = internal_error()
        self._over(problem.status)
        head, body = raw_problem(problem, self._id)
        self._connection.respond(head + self.head.lines + self.standing, body)

    def _over(self, status: int) -> None:
        self.response_complete = True
        metrics.buffered.count(metrics.REQUESTS_IN_FLIGHT, -1)
        if self.span is None:
            self._record(status)
            return
        with tracing.within(self.span):
            self._record(status)
        tracing.end(self.span, CLASSIFY_PATH, "POST", status)

    def _record(self, status: int) -> None:
        seconds = time.perf_counter() - self._started
        names = None if self.classifier is None else self.classifier.named
        self._recorder.record(
            CLASSIFY_PATH, "POST", status, seconds, self._id, kind=self.kind, together=True, names=names
        )


_OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n" + b"".join(
    name + b": " + value + b"\r\n" for name, value in SECURITY_HEADERS
)
