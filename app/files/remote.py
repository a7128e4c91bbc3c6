"""A running service, asked by threads: a bounded number of requests at once, and patience while it is full."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from app.errors import ServiceError, TextError
from app.files.exchange import (
    PATIENCE,
    REQUEST_CHARACTERS,
    REQUEST_TEXTS,
    Entry,
    Exchange,
    Flow,
    Pause,
    Request,
    T,
    error_of,
    httpx,
)
from app.files.scorer import cut
from app.sentiment import Outcome, Prediction

_SILENCE = 5.0
"""Seconds of waiting after which it is said that, and why."""


def client_options(url: str, concurrency: int, headers: Mapping[str, str] | None) -> dict[str, Any]:
    """Arguments of an httpx client, of either kind.

    Raises:
        ServiceError: that is no address.
    """
    try:
        address = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise ServiceError(f"{url}: not an address ({error})") from error
    if address.scheme not in ("http", "https") or not address.host:
        raise ServiceError(f"{url}: not an address (it begins with http:// or https://)")
    return {"base_url": address, "headers": headers, "limits": httpx.Limits(max_connections=concurrency)}


def arguments_of(request: Request) -> dict[str, Any]:
    """A request as an httpx client takes it."""
    return {
        "method": request.method,
        "url": request.path,
        "json": request.document,
        "headers": request.headers,
        "timeout": httpx.Timeout(request.timeout, connect=request.connect),
    }


class RemoteService:
    """A running service.

    Args:
        url: its address.
        concurrency: most requests at once.
        headers: sent with each request, for instance to say who asks.
        patience: seconds that a request is tried again before it is given up.
        say: tells people what is waited for.
        model: see ``Exchange``.

    Raises:
        ServiceError: that is no address.
    """

    def __init__(
        self,
        url: str,
        concurrency: int,
        headers: Mapping[str, str] | None = None,
        patience: float = PATIENCE,
        say: Callable[[str], object] = lambda _: None,
        model: str | None = None,
    ) -> None:
        self.exchange = Exchange(url, patience, model)
        self._say = say
        self._said = 0.0
        self._client = httpx.Client(**client_options(url, concurrency, headers))
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix="request")
        self._closed = threading.Event()

    def start(
        self, texts: Sequence[object], deadline: float | None = None, stopped: threading.Event | None = None
    ) -> Callable[[], list[Entry | TextError]]:
        """Begin with some texts; the call that is returned waits for what is said of each, in order.

        Args:
            texts: any number.
            deadline: see ``Exchange.classify``.
            stopped: when set, nothing more is asked of these texts.

        The call raises:
            ServiceError: see ``Exchange.classify``.
        """
        begun = [
            self._pool.submit(self.carry, self.exchange.classify(piece, deadline), stopped)
            for piece in cut(texts, REQUEST_TEXTS, REQUEST_CHARACTERS)
        ]
        return lambda: [entry for future in begun for entry in future.result()]

    def carry(self, flow: Flow[T], stopped: threading.Event | None = None) -> T:
        """What comes of asking."""
        answer: Any = None
        try:
            while True:
                if stopped is not None and stopped.is_set():
                    raise ServiceError("stopped")
                step = flow.send(answer)
                if isinstance(step, Pause):
                    answer = None
                    self._wait(step)
                    continue
                try:
                    answer = self._client.request(**arguments_of(step))
                except httpx.TransportError as error:
                    answer = error
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]  # of a ``Flow[T]`` it is a T

    def close(self) -> None:
        """Give up what is begun."""
        self._closed.set()
        self._pool.shutdown(cancel_futures=True)
        self._client.close()

    def _wait(self, pause: Pause) -> None:
        """Make a pause, and say what is waited for: of the first contact at once, later where it takes long."""
        now = time.monotonic()
        if now - self._said > _SILENCE and (not self.exchange.answered or now - pause.since > _SILENCE):
            self._said = now
            self._say(f"{pause.problem}; trying again")
        if self._closed.wait(pause.seconds):
            raise ServiceError("stopped")


class RemoteScorer:
    """A running service as a ``Scorer``; it must not go over to another model meanwhile.

    Args:
        service: is asked, and closed with this.

    Raises:
        ServiceError: it is not there, does not say what it serves, or has not loaded what is named.
    """

    def __init__(self, service: RemoteService) -> None:
        self._url = service.exchange.url
        self._service = service
        try:
            served = service.carry(service.exchange.settled())
        except ServiceError:
            service.close()
            raise
        self._model = (served["model"], served["version"])
        self.identity = f"{served['model']}/{served['version']} at {self._url}"
        self.labels: Sequence[str] = served["labels"]
        self.rating = bool(served["rating"])

    def start(self, texts: Sequence[object]) -> Callable[[], list[Outcome]]:
        """See ``Scorer.start``."""
        wait = self._service.start(texts)
        return lambda: [self._outcome(entry) for entry in wait()]

    def close(self) -> None:
        """See ``Scorer.close``."""
        self._service.close()

    def _outcome(self, entry: Entry | TextError) -> Outcome:
        if isinstance(entry, TextError):
            return entry
        if "error" in entry:
            return error_of(entry["error"])
        if (entry["model"], entry["version"]) != self._model:
            raise ServiceError(f"{self._url}: went over to {entry['model']}/{entry['version']} meanwhile")
        probabilities = tuple(entry["scores"][label] for label in self.labels)
        return Prediction(
            probabilities,
            entry["tokens"],
            entry["truncated"],
            rating=entry.get("rating"),
            unknown=entry["unknown"],
            judgement=entry["judgement"],
        )
