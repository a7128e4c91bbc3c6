"""Load shedding: refuses requests before they are read, while requests of their size are refused.

Three times more than the engine computes arrives, and two thirds of it are refused: reading and parsing those would
take the processor from the texts that were admitted. So what is refused is remembered, by the size of its body, and a
request of the same size is refused by its head, as long as the engine has no room for the one before. While a service
is not full nothing of this happens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.errors import ServiceError
from app.serving.classifier import Classifier
from app.settings import Settings

MIN_BODY = 4_096
"""Shortest body, in bytes, that is worth not being read."""

_SPECIAL = frozenset({b"transfer-encoding", b"content-encoding", b"expect"})
"""Headers of requests whose body may be longer than they say, or not come at all."""
_WORTH_READING = 0.05
"""Requests are read although there is no room for them where more than this share is answered all the same."""
_READ_EVERY = 16
"""So many are refused for one that is read to learn that share."""
_PROMISE_SECONDS = 0.01
"""How long a request that was let in counts as waiting, which it does by itself once it is read. Those that arrive
together would otherwise all find the room of one."""
_MEMORY = 0.1
"""Weight of the newest request in it."""


@dataclass(slots=True)
class _Size:
    """Requests of one size that were refused.

    Attributes:
        texts: how many the last one had.
        tokens: bound of the tokens in them.
        answered: share of those that could be answered while there was no room, out of caches and with others' texts.
        turn: counts those that were refused unread.
    """

    texts: int
    tokens: int
    answered: float
    turn: int = 0


class LoadShedder:
    """What an operation refuses unread.

    Args:
        path: of the operation, a POST.
        classifier: gives the classifier, or None while there is none.
        settings: limits.
    """

    def __init__(self, path: str, classifier: Callable[[], Classifier | None], settings: Settings) -> None:
        self._url = path.encode()
        self._classifier = classifier
        self._max_body = settings.max_body
        # Of a refusal without the headers for its origin a browser would tell its page nothing.
        self._closed = settings.cors_origins is not None
        self._answered_at_first = 1.0 if settings.cache else 0.0
        # By the binary order of magnitude of the body's size, so there are a few dozen at most.
        self._sizes: dict[int, _Size] = {}
        self._promised_texts = self._promised_tokens = 0

    def refusal(self, method: bytes, url: bytes, headers: Sequence[tuple[bytes, bytes]]) -> ServiceError | None:
        """Why a request with this head is refused; None where it has to be read to say."""
        if not self._sizes or url != self._url or method != b"POST" or self._closed:
            return None
        length = 0
        for name, value in headers:
            if name in _SPECIAL:
                return None
            if name == b"content-length" and value.isdigit() and len(value) < 18:
                length = int(value)
        if not MIN_BODY <= length <= self._max_body:
            return None
        size = self._sizes.get(length.bit_length())
        if size is None:
            return None
        error = self._no_room(size.texts + self._promised_texts, size.tokens + self._promised_tokens)
        if error is None:
            self._promise(size)
            return None
        size.turn += 1
        read = size.answered > _WORTH_READING or (self._answered_at_first and size.turn % _READ_EVERY == 0)
        return None if read else error

    def full(self, length: int) -> bool:
        """Whether there is no room for a request with a body of so many bytes, as far as is known."""
        size = self._sizes.get(length.bit_length()) if self._sizes else None
        return size is not None and self._no_room(size.texts, size.tokens) is not None

    def answered(self, length: int) -> None:
        """Learn that a request was answered although the service was ``full``."""
        size = self._sizes[length.bit_length()]
        size.answered += _MEMORY * (1.0 - size.answered)

    def refused(self, length: int, texts: Sequence[str], classifier: Classifier) -> None:
        """Learn that a request was refused for want of room."""
        longest, size = classifier.model.config.max_tokens, self._sizes.get(length.bit_length())
        if size is None:
            size = self._sizes[length.bit_length()] = _Size(0, 0, self._answered_at_first)
        size.texts, size.tokens = len(texts), sum(min(len(text), longest) for text in texts)
        size.answered -= _MEMORY * size.answered

    def _promise(self, size: _Size) -> None:
        if not self._promised_texts:
            asyncio.get_running_loop().call_later(_PROMISE_SECONDS, self._keep_promises)
        self._promised_texts += size.texts
        self._promised_tokens += size.tokens

    def _keep_promises(self) -> None:
        self._promised_texts = self._promised_tokens = 0

    def _no_room(self, texts: int, tokens: int) -> ServiceError | None:
        classifier = self._classifier()
        if classifier is None:
            return None
        try:
            classifier.admit(texts, tokens)
        except ServiceError as error:
            return error
        return None
