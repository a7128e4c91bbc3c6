"""What is said to a running service and what its answers mean, apart from who carries it.

Everything here that asks is a generator: it yields a ``Request`` to send or a ``Pause`` to make, is sent the response
(or the error of the connection; of a pause, None), and returns what came of it. So threads and asyncio share one way of
asking: ``remote`` carries it with the one, ``AsyncSentiment`` with the other.
"""

from __future__ import annotations

import random
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from app.errors import (
    DeadlineError,
    ExplainerUnavailableError,
    MissingPackageError,
    OptionError,
    OverloadedError,
    RefusedError,
    ServiceError,
    TextError,
    UnreachableError,
)
from app.files.scorer import refusal

try:
    import httpx as httpx  # also for those who carry: without it they are of no use
except ImportError as error:
    raise MissingPackageError("a service is asked by httpx", "http") from error

T = TypeVar("T")

REQUEST_TEXTS = 64
REQUEST_CHARACTERS = 262_144
"""A request ends after so many texts or characters, whichever comes first."""
PATIENCE = 120.0
"""Seconds that a request is tried again before it is given up."""
_CONTACT = 5.0
"""Likewise, while nobody has answered yet at all, who then probably never will; also of one attempt to connect."""
_TIMEOUT = 60.0
_LONGEST_WAIT = 15.0
_LATER = frozenset({429, 502, 503, 504})
_FULL = frozenset({429, 503})
_DONE = frozenset({200, 201})
_TOO_MUCH = frozenset({413, 422})
_SHOWN = 300
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_OF_THE_ANSWER = frozenset({"answered", "model", "version"})
"""Fields of feedback that say what was answered."""

Entry = dict[str, Any]
"""What a service says of one text: a prediction with ``model`` and ``version``, or an ``error``."""


@dataclass(frozen=True, slots=True)
class Request:
    """What to send next.

    Attributes:
        method: of HTTP.
        path: below the service's address.
        document: the body, as JSON; None for none.
        headers: beside those of every request.
        timeout: seconds that it may take.
        connect: seconds of these that the connection may take.
    """

    method: str
    path: str
    document: Any
    headers: dict[str, str]
    timeout: float
    connect: float


@dataclass(frozen=True, slots=True)
class Pause:
    """How long to wait before the next request.

    Attributes:
        seconds: so long.
        problem: why, for people.
        since: ``time.monotonic()`` when the request was sent first.
    """

    seconds: float
    problem: str
    since: float


Flow = Generator[Request | Pause, Any, T]


class Exchange:
    """Asks one service.

    Args:
        url: its address.
        patience: see ``PATIENCE``.
        model: what is to answer, of what is loaded there: NAME, NAME/VERSION or NAME@LABEL; None: what is served.

    Attributes:
        answered: whether anybody has answered there yet.
    """

    def __init__(self, url: str, patience: float = PATIENCE, model: str | None = None) -> None:
        self.url = url
        self.answered = False
        self._patience = patience
        self._model: dict[str, str] = {} if model is None else {"model": model}

    def settled(self) -> Flow[dict[str, Any]]:
        """The version that answers, as ``GET /models`` has it. From here on one that is named is no other: its name
        may come to mean another version meanwhile.

        Raises:
            ServiceError: the service is not there, does not say, or has not loaded what is named.
        """
        named = None
        if self._model:
            # What a name or a label means only an answer tells.
            answer = self._document((yield from self._send("POST", "/classify", {"text": "good", **self._model})))
            named = (answer.get("model"), answer.get("version"))
            self._model = {"model": "{}/{}".format(*named)}
        response = yield from self._send("GET", "/models")
        try:
            models = response.json()["models"]
            return dict(
                next(it for it in models if (it["served"] if named is None else (it["model"], it["version"]) == named))
            )
        except (LookupError, TypeError, ValueError, StopIteration) as error:
            raise ServiceError(f"{self.url}: does not say which model it serves") from error

    def classify(self, texts: Sequence[object], deadline: float | None = None) -> Flow[list[Entry | TextError]]:
        """What the service says of the texts of one request, in order; those that cannot be one are not sent.

        Args:
            texts: at most as many as ``cut`` puts together.
            deadline: ``time.monotonic()`` after which nobody wants the answer.

        Raises:
            ServiceError: it could not answer for too long, or answered what nobody expects.
        """
        found: list[Entry | TextError | None] = [refusal(text) for text in texts]
        wanted = [index for index, refused in enumerate(found) if refused is None]
        if wanted:
            entries = yield from self._entries([str(texts[index]) for index in wanted], deadline)
            for index, entry in zip(wanted, entries, strict=True):
                found[index] = entry
        return [entry for entry in found if entry is not None]

    def explain(
        self, text: str, kinds: Sequence[str], aspects: Sequence[str] = (), deadline: float | None = None
    ) -> Flow[Entry]:
        """What the service says of one text, with its ``explanation``.

        Raises:
            TextError: the text cannot be classified, or is too long to be explained.
            ServiceError: see ``classify``.
        """
        named = {"aspects": list(aspects)} if aspects else {}
        document = {"text": text, "explain": list(kinds), **named, **self._model}
        response = yield from self._send("POST", "/classify", document, deadline)
        document = self._document(response)
        if response.status_code != 200:
            raise error_of(document)
        if "explanation" not in document:
            raise self._unlike(response)
        return document

    def feedback(self, document: dict[str, Any], deadline: float | None = None) -> Flow[dict[str, Any]]:
        """What the service has kept of feedback. Sent again only while nothing of it can have been kept.

        Args:
            document: the fields of ``POST /feedback``.

        Raises:
            OptionError: an argument is not as it should be.
            TextError: such a text cannot be kept.
            ServiceError: see ``classify``; or no feedback is kept there, or no more.
        """
        if self._model and "model" not in document:
            raise OptionError("answer", "must be the result that this is about, where a model is named")
        response = yield from self._send("POST", "/feedback", document, deadline, once=True)
        found = self._document(response)
        if response.status_code == 201:
            return found
        if found.get("code") != "invalid_request":
            raise error_of(found)
        field, message = _first_error(found)
        raise OptionError("answer" if field in _OF_THE_ANSWER else field, message)

    def _entries(self, texts: list[str], deadline: float | None) -> Flow[list[Entry]]:
        """Of at least one text; those the service had no time for are asked for again."""
        response = yield from self._send("POST", "/classify", {"texts": texts, **self._model}, deadline)
        if response.status_code != 200:
            if len(texts) == 1:
                return [{"error": self._document(response)}]
            middle = len(texts) // 2
            first = yield from self._entries(texts[:middle], deadline)
            return first + (yield from self._entries(texts[middle:], deadline))
        document = self._document(response)
        if len(document.get("results", ())) != len(texts):
            raise self._unlike(response)
        served = {"model": document["model"], "version": document["version"]}
        entries: list[Entry] = [entry if "error" in entry else entry | served for entry in document["results"]]
        again = [index for index, entry in enumerate(entries) if _is_late(entry)]
        if again and len(again) < len(texts):
            found = yield from self._entries([texts[index] for index in again], deadline)
            for index, entry in zip(again, found, strict=True):
                entries[index] = entry
        return entries

    def _document(self, response: httpx.Response) -> dict[str, Any]:
        """The object that an answer is.

        Raises:
            ServiceError: it is none, so that somebody else must have answered.
        """
        try:
            document = response.json()
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise self._unlike(response)
        return document

    def _unlike(self, response: httpx.Response) -> ServiceError:
        return RefusedError(f"{self.url}: does not answer as this service does", response.status_code)

    def _send(
        self, method: str, path: str, document: Any = None, deadline: float | None = None, *, once: bool = False
    ) -> Flow[httpx.Response]:
        """The answer to a request, sent again while the service cannot take it.

        Args:
            once: it must not be done twice, so it is sent again only where it cannot have been done.
        """
        since, attempt = time.monotonic(), 0
        while True:
            answer = yield self._request(method, path, document, deadline)
            if isinstance(answer, httpx.Response):
                self.answered = True
                if answer.status_code in _DONE or (document is not None and _is_about_texts(answer)):
                    return answer
                if answer.status_code not in (_FULL if once else _LATER) or _cannot_explain(answer):
                    raise self._refused(path, answer)
            elif once and not isinstance(answer, _NOT_SENT):
                raise UnreachableError(f"{self.url}{path}: no answer ({type(answer).__name__}); it may have been kept")
            fault = self._fault(path, answer)
            asked = fault.retry_after
            wait = min(_LONGEST_WAIT, 0.25 * 2**attempt if asked is None else asked)
            # Those who were refused together should not come back together.
            wait *= random.uniform(1.0, 1.5)
            attempt += 1
            then = time.monotonic() + wait
            if deadline is not None and then > deadline:
                raise DeadlineError(f"the deadline passed: {fault}") from None
            if then > since + (self._patience if self.answered else min(_CONTACT, self._patience)):
                fault.args = (f"{fault}, tried {attempt} times",)
                raise fault
            yield Pause(wait, str(fault), since)

    def _request(self, method: str, path: str, document: Any, deadline: float | None) -> Request:
        if deadline is None:
            return Request(method, path, document, {}, _TIMEOUT, _CONTACT)
        left = deadline - time.monotonic()
        if left <= 0:
            raise DeadlineError("the deadline passed before all texts were answered")
        headers = {"X-Timeout-Seconds": f"{left:.3f}"}
        return Request(method, path, document, headers, min(_TIMEOUT, left), min(_CONTACT, left))

    def _fault(self, path: str, answer: httpx.Response | httpx.TransportError) -> ServiceError:
        """Why there is no answer yet."""
        where = f"{self.url}{path}"
        if isinstance(answer, httpx.TransportError):
            return UnreachableError(f"{where} cannot be reached ({type(answer).__name__})")
        asked = answer.headers.get("Retry-After", "")
        kind = OverloadedError if answer.status_code in _FULL else ServiceError
        return kind(f"{where} answered {answer.status_code}", float(asked) if asked.isdigit() else None)

    def _refused(self, path: str, answer: httpx.Response) -> ServiceError:
        """Of an answer that another attempt would not change."""
        if _cannot_explain(answer):
            return ExplainerUnavailableError(str(answer.json().get("detail", "nothing can be explained now")))
        message = f"{self.url}{path} answered {answer.status_code}: {_said(answer)[:_SHOWN]}"
        return RefusedError(message, answer.status_code)


def error_of(document: dict[str, Any]) -> TextError:
    """The error of one text, by the service's own word for it."""
    error = TextError(str(document.get("detail", "")))
    error.code = str(document.get("code", error.code))  # type: ignore[misc]
    return error


def _first_error(document: dict[str, Any]) -> tuple[str, str]:
    """The field that is not as it should be, and why."""
    try:
        first = document["errors"][0]
        return str(first["field"]), str(first["message"])
    except (LookupError, TypeError):
        return "text", str(document.get("detail", ""))


def _said(response: httpx.Response) -> str:
    """What an answer says for people."""
    try:
        return str(response.json()["detail"])
    except (LookupError, TypeError, ValueError):
        return response.text


def _is_about_texts(response: httpx.Response) -> bool:
    """Whether fewer texts, or others, may get another answer."""
    if response.status_code == 500:
        return b'"inference_failed"' in response.content
    return response.status_code in _TOO_MUCH


def _cannot_explain(response: httpx.Response) -> bool:
    """Whether an explanation fails for what only an operator can change."""
    return response.status_code == 503 and b'"explainer_unavailable"' in response.content


def _is_late(entry: Entry) -> bool:
    return "error" in entry and entry["error"]["status"] in _LATER
