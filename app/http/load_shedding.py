"""Load shedding: refuses requests before they are parsed, while requests of their size are refused.

Three times more than the engine computes arrives, and two thirds of it are refused: keeping and parsing those would
take the processor from the texts that were admitted. So it is remembered that requests of a size were refused, and
another one is judged by its head and the beginning of its body, which say about how many texts it has: it is refused
where there is no room for so many, and the rest is read past. While a service is not full nothing of this happens.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.errors import ServiceError
from app.serving.classifier import Classifier
from app.settings import Settings

MIN_BODY = 4_096
"""Shortest body, in bytes, that is worth not being read."""
MIN_BEGINNING = 1_024
"""Shortest beginning of a body, in bytes, that says how many texts there are in all of it."""

_LOOKED_AT = 16_384
"""Most bytes of it that are looked at."""
_WORTH_READING = 0.05
"""Requests are read although there is no room for them where more than this share is answered all the same."""
_READ_EVERY = 16
"""So many are refused for one that is read to learn that share."""
_PROMISE_SECONDS = 0.01
"""How long a request that was let in counts as waiting, which it does by itself once it is read. Those that arrive
together would otherwise all find the room of one."""
_MEMORY = 0.1
"""Weight of the newest request in it."""
_BETWEEN_TEXTS = re.compile(rb'",\s*"')


@dataclass(slots=True)
class _Size:
    """Requests of one size that were refused.

    Attributes:
        answered: share of those that could be answered while there was no room, out of caches and with others' texts.
        turn: counts those that were refused unread.
    """

    answered: float
    turn: int = 0


class LoadShedder:
    """What ``POST /classify`` refuses unread.

    Args:
        classifier: gives the classifier, or None while there is none.
        settings: limits.
    """

    def __init__(self, classifier: Callable[[], Classifier | None], settings: Settings) -> None:
        self._classifier = classifier
        self._max_body = settings.max_body
        self._answered_at_first = 1.0 if settings.cache else 0.0
        # By the binary order of magnitude of the body's size, so there are a few dozen at most.
        self._sizes: dict[int, _Size] = {}
        self._promised_texts = self._promised_tokens = 0

    def suspects(self, length: int) -> bool:
        """Whether bodies of about this length were refused, so that this one is to be judged by its beginning."""
        return length.bit_length() in self._sizes and MIN_BODY <= length <= self._max_body

    def refusal(self, length: int, beginning: bytes) -> ServiceError | None:
        """Why a request is refused; None where it has to be read to say.

        Args:
            length: of its body, which ``suspects`` suspects.
            beginning: of its body.
        """
        size, classifier = self._sizes.get(length.bit_length()), self._classifier()
        # While nothing is in flight there is room, whatever was promised to requests that came to nothing.
        if size is None or classifier is None or classifier.idle or len(beginning) < MIN_BEGINNING:
            return None
        texts, tokens = _estimate(length, beginning, classifier)
        error = self._no_room(texts + self._promised_texts, tokens + self._promised_tokens)
        if error is None:
            self._promise(texts, tokens)
            return None
        size.turn += 1
        read = size.answered > _WORTH_READING or (self._answered_at_first and size.turn % _READ_EVERY == 0)
        return None if read else error

    def full(self, length: int, texts: Sequence[str]) -> bool:
        """Whether there is no room for a request that is like some that were refused."""
        classifier = self._classifier() if length.bit_length() in self._sizes else None
        return classifier is not None and self._no_room(len(texts), _bound(texts, classifier)) is not None

    def answered(self, length: int) -> None:
        """Learn that a request was answered although the service was ``full``."""
        size = self._sizes[length.bit_length()]
        size.answered += _MEMORY * (1.0 - size.answered)

    def refused(self, length: int) -> None:
        """Learn that a request was refused for want of room."""
        size = self._sizes.setdefault(length.bit_length(), _Size(self._answered_at_first))
        size.answered -= _MEMORY * size.answered

    def _promise(self, texts: int, tokens: int) -> None:
        if not self._promised_texts:
            asyncio.get_running_loop().call_later(_PROMISE_SECONDS, self._keep_promises)
        self._promised_texts += texts
        self._promised_tokens += tokens

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


def _bound(texts: Sequence[str], classifier: Classifier) -> int:
    """Most tokens in texts."""
    longest = classifier.model.config.max_tokens
    return sum(min(len(text), longest) for text in texts)


def _estimate(length: int, beginning: bytes, classifier: Classifier) -> tuple[int, int]:
    """About how many texts a body has, by those in its beginning, and most tokens in so many; one text where the
    beginning shows no end of the first."""
    looked_at = beginning[:_LOOKED_AT]
    texts = max(1, len(_BETWEEN_TEXTS.findall(looked_at)) * length // len(looked_at))
    return texts, texts * min(length // texts, classifier.model.config.max_tokens)
