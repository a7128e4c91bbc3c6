"""Who may call what, how often: API keys, scopes, and a rate limit per key. Not there where no keys are configured."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterable, Sequence

from limits import RateLimitItem, parse_many
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import metrics
from app.http.auth.meter import KEY_NAME, KEY_SCOPES, METER, Caller, RateLimitedError, meter_of
from app.http.auth.rate_counters import RateCounters
from app.http.auth.scopes import Policy, UnknownRouteError
from app.http.problems import Problem, invalid
from app.keys import CLASSIFY, Key, KeyFile
from app.settings import Settings


class Access:
    """Decides who may call, for the ``Guard`` and for ``POST /classify``.

    Args:
        settings: who may read metrics and documentation, and the rate limit.
        keys: who is known.
        counters: count the texts of each key; None where there is no rate limit.
    """

    def __init__(self, settings: Settings, keys: KeyFile, counters: RateCounters | None) -> None:
        self._policy = Policy(settings)
        self._keys = keys
        self._limits = parse_many(settings.rate_limit) if settings.rate_limit else []
        self._counters = counters

    def caller(self, path: str, method: str, headers: Iterable[tuple[bytes, bytes]]) -> Caller | None:
        """Who sends a request; None where no key is asked for.

        Raises:
            Problem: 401 or 403.
        """
        known = True
        try:
            needed = self._policy.scope_of(path, method)
        except UnknownRouteError:
            # Nobody can look for paths without a key; and the application's own idea of paths is not asked.
            needed, known = CLASSIFY, False
        if needed is None:
            return None
        key = self._authenticate(headers)
        if needed not in key.scopes:
            raise _refusal(403, "forbidden", f"this key lacks the scope {needed}", "insufficient_scope", needed)
        counters = self._counters
        meter = None if counters is None else KeyMeter(counters, self._limits, key.name)
        return Caller(key.name, key.scopes, meter, known=known)

    def _authenticate(self, headers: Iterable[tuple[bytes, bytes]]) -> Key:
        presented = _presented(headers)
        if presented is None:
            raise _refusal(401, "unauthorized", "an API key is needed: Authorization: Bearer KEY, or X-API-Key: KEY")
        key = self._keys.find(presented)
        if key is None:
            raise _refusal(401, "unauthorized", "this API key is not known", "invalid_token")
        return key


class Guard:
    """Lets a request through, or answers 401, 403 or 429. An ASGI layer, to be added where there are keys.

    Args:
        app: what is guarded.
        access: decides who may call.
    """

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":

            async def send_with_standing(message: Message) -> None:
                if message["type"] == "http.response.start":
                    message["headers"] = [*message.get("headers", ()), *await meter_of(scope).standing()]
                await send(message)

            try:
                await self._check(scope)
            except Problem as problem:
                metrics.REJECTED.labels(problem.code).inc()
                await problem.response()(scope, receive, send_with_standing)
            else:
                await self._app(scope, receive, send_with_standing)
            return
        await self._app(scope, receive, send)

    async def _check(self, scope: Scope) -> None:
        caller = self._access.caller(scope["path"], scope["method"], scope["headers"])
        if caller is None:
            return
        scope[KEY_NAME], scope[KEY_SCOPES] = caller.name, caller.scopes
        if caller.meter is not None:
            scope[METER] = caller.meter
            await caller.meter.count(1)
        if not caller.known:
            raise Problem(404, "not_found", "Not Found")


class KeyMeter:
    """Counts the texts of one request of one key. See ``Meter``.

    Args:
        counters: know what was counted.
        limits: all of them hold.
        name: of the key.
    """

    def __init__(self, counters: RateCounters, limits: Sequence[RateLimitItem], name: str) -> None:
        self._counters = counters
        self._limits = limits
        self._name = name

    @property
    def most(self) -> int:
        """See ``Meter.most``."""
        return min((limit.amount for limit in self._limits), default=sys.maxsize)

    @property
    def waits(self) -> bool:
        """See ``Meter.waits``."""
        return self._counters.shared

    async def request(self, texts: int) -> None:
        """See ``Meter.request``."""
        if texts > self.most:
            message = f"has {texts} texts; the rate limit lets {self.most} pass at once"
            raise invalid("too_many_texts", "texts", message)
        if texts > 1:
            await self.count(texts - 1)

    async def count(self, texts: int) -> None:
        """See ``Meter.count``."""
        for limit in self._limits if len(self._limits) > 1 else ():
            if not await self._counters.test(limit, self._name, texts):
                raise await self._over(limit, texts)
        for limit in self._limits:
            # Others may have counted since.
            if not await self._counters.hit(limit, self._name, texts):
                raise await self._over(limit, texts)

    async def standing(self) -> Sequence[tuple[bytes, bytes]]:
        """See ``Meter.standing``: as draft-ietf-httpapi-ratelimit-headers-10 has them, one item for each limit."""
        policies, left = [], []
        for limit in self._limits:
            reset, remaining = await self._counters.left(limit, self._name)
            policies.append(f'"{limit}";q={limit.amount};w={limit.get_expiry()}')
            left.append(f'"{limit}";r={remaining};t={max(0, math.ceil(reset - time.time()))}')
        return (b"ratelimit-policy", ", ".join(policies).encode()), (b"ratelimit", ", ".join(left).encode())

    def within(self, seconds: float) -> KeyMeter:
        """See ``Meter.within``."""
        return KeyMeter(self._counters, [it for it in self._limits if it.get_expiry() <= seconds], self._name)

    def beyond(self, seconds: float) -> KeyMeter:
        """See ``Meter.beyond``."""
        return KeyMeter(self._counters, [it for it in self._limits if it.get_expiry() > seconds], self._name)

    async def _over(self, limit: RateLimitItem, texts: int) -> RateLimitedError:
        reset, remaining = await self._counters.left(limit, self._name)
        # The library says when the first text will pass; texts pass at the rate of the limit.
        needed = (texts - remaining) * limit.get_expiry() / limit.amount
        detail = f"{texts} more texts exceed this service's limit of {limit} for this key"
        return RateLimitedError(detail, max(reset - time.time(), needed))


def _presented(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The key that a request brings; None where there is none, or more than one."""
    found = []
    for name, value in headers:
        if name == b"authorization":
            scheme, _, credentials = value.partition(b" ")
            found.append(credentials.strip() if scheme.lower() == b"bearer" else b"")
        elif name == b"x-api-key":
            found.append(value.strip())
    if len(found) != 1 or not found[0]:
        return None
    return str(found[0], "utf-8", "surrogateescape")


def _refusal(status: int, code: str, detail: str, error: str = "", needed: str = "") -> Problem:
    """401 or 403 with the challenge of RFC 6750, section 3."""
    challenge = 'Bearer realm="sentiment"'
    if error:
        challenge += f', error="{error}"'
    if needed:
        challenge += f', scope="{needed}"'
    return Problem(status, code, detail, headers={"WWW-Authenticate": challenge})
