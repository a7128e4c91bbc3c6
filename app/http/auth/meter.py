"""Counts texts against the rate limit of the key that a request came with. Knows no limiter, which takes a while to
import and which most services do not have."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Protocol

from starlette.types import Scope

from app.http.problems import Problem

METER = "sentiment.meter"
"""Where there is a rate limit, the scope has the request's ``Meter`` under this name."""

KEY_NAME = "sentiment.key"
"""Where there are keys, the scope has the name of the request's key under this name."""

KEY_SCOPES = "sentiment.scopes"
"""Likewise the scopes of that key."""


class RateLimitedError(Problem):
    """The limit is reached.

    Attributes:
        seconds: after which the same texts may pass.
    """

    def __init__(self, detail: str, seconds: float) -> None:
        headers = {"Retry-After": str(max(1, math.ceil(seconds)))}
        super().__init__(429, "rate_limited", detail, headers=headers)
        self.seconds = seconds


class Meter(Protocol):
    """Counts the texts of one request, which itself was counted as one when it came."""

    @property
    def most(self) -> int:
        """Most texts that can pass at once."""
        ...

    @property
    def waits(self) -> bool:
        """Whether counting has to be waited for."""
        ...

    async def request(self, texts: int) -> None:
        """Count all texts of the request: all of them pass, or none is counted.

        Raises:
            RateLimitedError: 429, the limit is reached.
            Problem: 422, no wait would be long enough.
        """
        ...

    async def count(self, texts: int) -> None:
        """Count some of the texts, at most ``most``.

        Raises:
            RateLimitedError: the limit is reached; none of them is counted.
        """
        ...

    async def standing(self) -> Sequence[tuple[bytes, bytes]]:
        """Headers of an answer that say what the limits are and what is left of them."""
        ...

    def within(self, seconds: float) -> Meter:
        """The same for limits over so many seconds or less."""
        ...

    def beyond(self, seconds: float) -> Meter:
        """The same for limits over more than so many seconds."""
        ...


class Caller:
    """Who sends a request.

    Attributes:
        name, scopes: of the key.
        meter: counts the request's texts; None where there is no rate limit.
        known: whether what is asked for is there.
    """

    __slots__ = ("known", "meter", "name", "scopes")

    def __init__(self, name: str, scopes: frozenset[str], meter: Meter | None, *, known: bool = True) -> None:
        self.name = name
        self.scopes = scopes
        self.meter = meter
        self.known = known

    @property
    def waits(self) -> bool:
        """Whether counting has to be waited for."""
        return self.meter is not None and self.meter.waits

    async def lines(self) -> bytes:
        """What ``Meter.standing`` says, as it goes over the wire."""
        return b"" if self.meter is None else b"".join(b"%b: %b\r\n" % header for header in await self.meter.standing())


class Unlimited:
    """The ``Meter`` where there is no limit."""

    most = sys.maxsize
    waits = False

    async def request(self, texts: int) -> None:
        """See ``Meter.request``."""

    async def count(self, texts: int) -> None:
        """See ``Meter.count``."""

    async def standing(self) -> Sequence[tuple[bytes, bytes]]:
        """See ``Meter.standing``."""
        return ()

    def within(self, seconds: float) -> Meter:
        """See ``Meter.within``."""
        return self

    def beyond(self, seconds: float) -> Meter:
        """See ``Meter.beyond``."""
        return self


_UNLIMITED = Unlimited()


def meter_of(scope: Scope) -> Meter:
    """The meter of a request."""
    meter: Meter = scope.get(METER, _UNLIMITED)
    return meter
