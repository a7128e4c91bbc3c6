"""A running service as a ``Scorer``: a bounded number of requests at once, and patience while it is full."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from app.errors import DataError, ServiceError, TextError
from app.files.scorer import refusal
from app.sentiment import Outcome, Prediction

try:
    import httpx
except ImportError as error:
    raise DataError("--url needs httpx, which is not installed: install 'sentiment-service[files]'") from error

_REQUEST_TEXTS = 64
_REQUEST_CHARACTERS = 262_144
_TIMEOUT = 60.0
PATIENCE = 120.0
"""Seconds that a request is tried again before the run stops."""
_CONTACT = 5.0
"""Likewise, while nobody has answered yet at all, who then probably never will; also of one attempt to connect."""
_SILENCE = 5.0
"""Seconds of waiting after which it is said that, and why."""
_LONGEST_WAIT = 15.0
_LATER = frozenset({429, 502, 503, 504})
_TOO_MUCH = frozenset({413, 422})


class RemoteScorer:
    """Scores by ``POST /classify`` of a running service.

    Args:
        url: the service's address.
        concurrency: most requests at once.
        headers: sent with each request, for instance to say who asks.
        patience: see ``PATIENCE``.
        say: tells people what is waited for.

    Raises:
        ServiceError: the service is not there, or does not say what it serves.
    """

    def __init__(
        self,
        url: str,
        concurrency: int,
        headers: Mapping[str, str] | None = None,
        patience: float = PATIENCE,
        say: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._url = url
        self._patience = patience
        self._say = say
        self._answered = False
        self._said = 0.0
        limits = httpx.Limits(max_connections=concurrency)
        try:
            self._client = httpx.Client(
                base_url=url, timeout=httpx.Timeout(_TIMEOUT, connect=_CONTACT), limits=limits, headers=headers
            )
        except (httpx.InvalidURL, ValueError) as error:
            raise ServiceError(f"{url}: not an address ({error})") from error
        self._pool = ThreadPoolExecutor(concurrency, thread_name_prefix="request")
        self._closed = threading.Event()
        served = self._served()
        self._model = (served["model"], served["version"])
        self.identity = f"{served['model']}/{served['version']} at {url}"
        self.labels: Sequence[str] = served["labels"]
        self.rating = bool(served["rating"])

    def start(self, texts: Sequence[object]) -> Callable[[], list[Outcome]]:
        """See ``Scorer.start``."""
        outcomes: list[Outcome | None] = [refusal(text) for text in texts]
        wanted = [(index, str(text)) for index, text in enumerate(texts) if outcomes[index] is None]
        begun: list[tuple[list[int], Future[list[Outcome]]]] = [
            ([index for index, _ in piece], self._pool.submit(self._classify, [text for _, text in piece]))
            for piece in _pieces(wanted)
        ]

        def wait() -> list[Outcome]:
            for indices, future in begun:
                for index, outcome in zip(indices, future.result(), strict=True):
                    outcomes[index] = outcome
            return [outcome for outcome in outcomes if outcome is not None]

        return wait

    def close(self) -> None:
        """See ``Scorer.close``."""
        self._closed.set()
        self._pool.shutdown(cancel_futures=True)
        self._client.close()

    def _served(self) -> dict[str, Any]:
        try:
            models = self._send("GET", "/models").json()["models"]
            return next(entry for entry in models if entry["served"])
        except (LookupError, TypeError, ValueError, StopIteration) as error:
            raise ServiceError(f"{self._url}: does not say which model it serves") from error

    def _classify(self, texts: list[str]) -> list[Outcome]:
        """Outcomes of the texts of one request; those the service had no time for are asked for again."""
        response = self._send("POST", "/classify", {"texts": texts})
        if response.status_code != 200:
            if len(texts) == 1:
                return [_error(response.json())]
            middle = len(texts) // 2
            return self._classify(texts[:middle]) + self._classify(texts[middle:])
        document = response.json()
        if (document["model"], document["version"]) != self._model:
            raise ServiceError(f"{self._url}: went over to {document['model']}/{document['version']} meanwhile")
        outcomes = [self._outcome(entry) for entry in document["results"]]
        again = [index for index, entry in enumerate(document["results"]) if _is_late(entry)]
        if again and len(again) < len(texts):
            for index, outcome in zip(again, self._classify([texts[index] for index in again]), strict=True):
                outcomes[index] = outcome
        return outcomes

    def _outcome(self, entry: dict[str, Any]) -> Outcome:
        if "error" in entry:
            return _error(entry["error"])
        probabilities = tuple(entry["scores"][label] for label in self.labels)
        return Prediction(
            probabilities,
            entry["tokens"],
            entry["truncated"],
            rating=entry.get("rating"),
            unknown=entry["unknown"],
            judgement=entry["judgement"],
        )

    def _send(self, method: str, path: str, document: Any = None) -> httpx.Response:
        """The answer to a request, sent again while the service cannot take it.

        Raises:
            ServiceError: it could not for too long, or answered what nobody expects.
        """
        started, attempt = time.monotonic(), 0
        while True:
            try:
                response = self._client.request(method, path, json=document)
                self._answered = True
                problem, asked = f"answered {response.status_code}", response.headers.get("Retry-After", "")
                if response.status_code == 200 or (document is not None and _is_about_texts(response)):
                    return response
                if response.status_code not in _LATER:
                    raise ServiceError(f"{self._url}{path} {problem}: {response.text[:300]}")
            except httpx.TransportError as error:
                problem, asked = f"cannot be reached ({type(error).__name__})", ""
            wait = min(_LONGEST_WAIT, float(asked) if asked.isdigit() else 0.25 * 2**attempt)
            # Those who were refused together should not come back together.
            wait *= random.uniform(1.0, 1.5)
            patience = self._patience if self._answered else min(_CONTACT, self._patience)
            if time.monotonic() + wait > started + patience:
                raise ServiceError(f"{self._url}{path} {problem}, tried {attempt + 1} times")
            self._say_waiting(problem, started)
            attempt += 1
            if self._closed.wait(wait):
                raise ServiceError("stopped")

    def _say_waiting(self, problem: str, started: float) -> None:
        """Say what is waited for: of the first contact at once, later now and then where it takes long."""
        now = time.monotonic()
        if now - self._said > _SILENCE and (not self._answered or now - started > _SILENCE):
            self._said = now
            self._say(f"{self._url} {problem}; trying again")


def _pieces(texts: list[tuple[int, str]]) -> list[list[tuple[int, str]]]:
    pieces: list[list[tuple[int, str]]] = []
    characters = 0
    for index, text in texts:
        if not pieces or len(pieces[-1]) >= _REQUEST_TEXTS or characters + len(text) > _REQUEST_CHARACTERS:
            pieces.append([])
            characters = 0
        pieces[-1].append((index, text))
        characters += len(text)
    return pieces


def _is_about_texts(response: httpx.Response) -> bool:
    """Whether fewer texts, or others, may get another answer."""
    if response.status_code == 500:
        return b'"inference_failed"' in response.content
    return response.status_code in _TOO_MUCH


def _is_late(entry: dict[str, Any]) -> bool:
    return "error" in entry and entry["error"]["status"] in _LATER


def _error(document: dict[str, Any]) -> TextError:
    error = TextError(str(document.get("detail", "")))
    # The service's own word for it.
    error.code = str(document.get("code", error.code))  # type: ignore[misc]
    return error
