"""``POST /classify``, the operation that everything else is for: from a request's head and body to its answer.

One text that is not in the cache costs no task: its exchange is told when it is computed. Whatever has to be waited for
longer is a task: several texts, explanations, a canary, a trace that is recorded, a rate limit that Redis counts.
Requests come from the protocol, past ASGI (``server.protocol``), and by ASGI where the server's flow control has to be
at work (``asgi``).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from app.errors import EngineUnavailableError
from app.http.answerer import Answerer, Asked, count
from app.http.answers import single_answer
from app.http.body import check_types
from app.http.headers import timeout_of
from app.http.http_exchange import CLASSIFY_PATH, Connection, Deadlines, Exchange, Head, Headers, Work
from app.http.json_body import parse_request
from app.http.load_shedding import LoadShedder
from app.http.middleware import RequestRecorder
from app.http.origins import OriginHeaders, at_once
from app.http.problems import Problem
from app.serving.classifier import Classifier
from app.serving.explanations import Explanations
from app.serving.pending import PendingText
from app.serving.versions import FurtherVersions
from app.settings import Settings

if TYPE_CHECKING:
    from app.http.auth.guard import Access

_URL = CLASSIFY_PATH.encode()
MAX_BODY = 65_536
"""Longest body, in bytes, that comes past ASGI; beyond it uvicorn's flow control has to be at work."""

_STREAMED = frozenset({b"transfer-encoding", b"content-encoding", b"expect"})
"""Headers of requests whose body may be longer than they say, or not come at all."""


def plain_length(method: bytes, url: bytes, headers: Headers) -> int | None:
    """Length of the body of a ``POST /classify`` that is sent plainly; None for every other request."""
    if url != _URL or method != b"POST":
        return None
    length = 0
    for name, value in headers:
        if name == b"content-length":
            length = int(value) if len(value) < 18 else sys.maxsize
        elif name in _STREAMED:
            return None
    return length


class ClassifyHandler:
    """Answers ``POST /classify`` on all connections of a process.

    Args:
        classifier: gives the classifier, or None while there is none.
        recorder: shared with the middleware.
        settings: limits.
        explanations: gives what explains, or None while there is none.
        access: decides who may call; None for everybody.
        origins: know what is said to pages of other origins; None for nothing.
        further: what is loaded beside what the classifier classifies with; None for nothing.

    Attributes:
        load_shedder: says what is refused unread.
        settings: limits.
        max_plain: longest body, in bytes, of what comes past ASGI.
    """

    def __init__(
        self,
        classifier: Callable[[], Classifier | None],
        recorder: RequestRecorder,
        settings: Settings,
        explanations: Callable[[], Explanations | None] = lambda: None,
        access: Access | None = None,
        origins: OriginHeaders | None = None,
        further: FurtherVersions | None = None,
    ) -> None:
        self.load_shedder = LoadShedder(classifier, settings)
        self.settings = settings
        self.max_plain = min(MAX_BODY, settings.max_body)
        self._classifier = classifier
        self._recorder = recorder
        self._access = access
        self._origins = origins
        self._answerer = Answerer(settings, self.load_shedder, explanations, further or FurtherVersions())
        self._deadlines = Deadlines(settings.timeout)

    @property
    def draining(self) -> bool:
        """Whether clients should be told to connect anew, because the end is near."""
        classifier = self._classifier()
        return classifier is not None and classifier.draining

    def head(self, headers: Headers) -> Head:
        """What the head of a request says, and whether the request is refused for it."""
        head = Head(headers, self.settings.timeout)
        if self._origins is not None:
            head.lines = self._origins.lines(next((value for name, value in headers if name == b"origin"), None))
        try:
            if self._access is not None:
                head.caller = self._access.caller(CLASSIFY_PATH, "POST", headers)
            head.timeout = min(timeout_of(headers) or head.timeout, head.timeout)
            check_types(headers)
        except Problem as problem:
            head.problem = problem
        return head

    def open(self, connection: Connection, head: Head) -> Exchange:
        """A request has come, which is to be handed to ``handle`` once."""
        return Exchange(self._recorder, self._deadlines, connection, head)

    def handle(self, exchange: Exchange, body: bytes) -> None:
        """Answer a request, or start it, when all of it is here."""
        caller = exchange.head.caller
        if caller is None or caller.meter is None:
            self._start_or_refuse(exchange, body, exchange.head.problem)
        elif caller.waits:
            exchange.run(partial(self._admit_and_start, exchange, body))
        else:
            self._start_or_refuse(exchange, body, at_once(self.admit(exchange)))

    async def admit(self, exchange: Exchange) -> Exception | None:
        """Count a request against the rate limit of its key; why it is refused, if it is."""
        try:
            await count(exchange)
        except Exception as error:
            return error
        return exchange.head.problem

    async def _admit_and_start(self, exchange: Exchange, body: bytes) -> None:
        self._start_or_refuse(exchange, body, await self.admit(exchange))

    def _start_or_refuse(self, exchange: Exchange, body: bytes, refused: Exception | None) -> None:
        if refused is None:
            self.start(exchange, body)
        else:
            exchange.refuse(refused)

    def start(self, exchange: Exchange, body: bytes) -> None:
        """Answer a request that is admitted, or start it."""
        try:
            work = self._start(exchange, body)
        except Exception as error:
            exchange.refuse(error)
        else:
            if work is not None:
                exchange.run(work)

    def _start(self, exchange: Exchange, body: bytes) -> Work | None:
        """Answer one text, or wait for it, where that needs no task; else what there is to do.

        Raises:
            Problem, ServiceError: why there is no answer.
        """
        request = parse_request(body, self.settings.max_texts)
        served = self._classifier()
        if served is None:
            raise EngineUnavailableError("the service is starting", retry_after=1.0)
        text = request.text
        exchange.kind = "explanation" if request.explain is not None else "texts" if text is None else "text"
        if text is None or request.explain is not None:
            texts = [text] if text is not None else request.texts or ()
            return partial(self._answerer.count_and_answer, Asked(exchange, request, texts, len(body), served))
        version, canary = self._answerer.version(exchange.head.headers, request, text, served)
        if not canary and exchange.span is None:
            classifier = exchange.classifier = served if version is None else version.classifier
            started = classifier.start(text)
            if isinstance(started, PendingText):
                exchange.wait(started, partial(_finish, classifier, request.foreign))
                return None
            if started is not None:
                exchange.answer(single_answer(started, classifier.model, foreign=request.foreign))
                return None
        asked = Asked(exchange, request, [text], len(body), served)
        return partial(self._answerer.answer, asked, version, canary=canary)


def _finish(classifier: Classifier, foreign: bool, pending: PendingText) -> bytes:
    return single_answer(classifier.finish(pending), classifier.model, foreign=foreign)
