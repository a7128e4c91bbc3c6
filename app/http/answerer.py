"""Who answers a ``POST /classify`` whose answer has to be waited for: what is served, a version that is named, or the
canary, which what is served makes good."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from app import metrics
from app.errors import OverloadedError, ServiceError
from app.http.answers import BatchAnswer, single_answer
from app.http.explain import check_bounds, classify_and_explain
from app.http.http_exchange import Exchange, Headers
from app.http.load_shedding import LoadShedder
from app.http.problems import Problem
from app.http.schemas import ClassifyRequest
from app.sentiment import Outcome
from app.serving.classifier import Classifier
from app.serving.explanations import Explanations
from app.serving.versions import FurtherVersions, Version
from app.settings import Settings

logger = logging.getLogger(__name__)

_LEAST_SECONDS = 0.001


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for.

    Attributes:
        exchange: the request.
        request: its body.
        texts: its texts.
        length: of its body, in bytes.
        served: what answers where no other version does.
    """

    exchange: Exchange
    request: ClassifyRequest
    texts: Sequence[str]
    length: int
    served: Classifier


class Answerer:
    """Has texts classified and explained.

    Args:
        settings: limits.
        load_shedder: is told what is refused.
        explanations: gives what explains, or None while there is none.
        further: what is loaded beside what is served.
    """

    def __init__(
        self,
        settings: Settings,
        load_shedder: LoadShedder,
        explanations: Callable[[], Explanations | None],
        further: FurtherVersions,
    ) -> None:
        self._settings = settings
        self._load_shedder = load_shedder
        self._explanations = explanations
        self._further = further

    def version(
        self, headers: Headers, request: ClassifyRequest, text: str, served: Classifier
    ) -> tuple[Version | None, bool]:
        """Which further version answers, and whether it does so as the canary; None: what is served.

        Raises:
            UnknownModelError: what is named is not loaded.
        """
        if request.model is not None:
            return self._further.find(request.model, served.model), False
        if self._further.canary is None:
            return None, False
        version = self._further.divided(headers, text)
        return version, version is not None

    async def count_and_answer(self, asked: Asked) -> bytes:
        """The answer, once all texts are counted.

        Raises:
            Problem, ServiceError: why there is none.
        """
        exchange = asked.exchange
        await count(exchange, len(asked.texts))
        version, canary = self.version(exchange.head.headers, asked.request, asked.texts[0], asked.served)
        return await self.answer(asked, version, canary=canary)

    async def answer(self, asked: Asked, version: Version | None, *, canary: bool) -> bytes:
        """The answer, by what ``version`` said. Raises as ``count_and_answer``."""
        timeout = asked.exchange.head.timeout
        if version is not None and canary:
            answer, timeout = await self._ask_canary(asked, version, timeout)
            if answer is not None:
                return answer
        elif version is not None:
            return await self._ask(asked, version, timeout)
        return await self._ask_served(asked, timeout)

    async def _ask_served(self, asked: Asked, timeout: float) -> bytes:
        asked.exchange.classifier = asked.served
        if asked.request.explain is not None:
            return await self._explain(asked, asked.served, self._explanations(), timeout)
        full = self._load_shedder.full(asked.length, asked.texts)
        try:
            answer = await _classify(asked, asked.served, timeout)
        except OverloadedError:
            self._load_shedder.refused(asked.length)
            raise
        if full:
            self._load_shedder.answered(asked.length)
        return answer

    async def _ask(self, asked: Asked, version: Version, timeout: float, *, canary: bool = False) -> bytes:
        """Have another version answer than the one that is served; of a canary every failure is one of the request."""
        asked.exchange.classifier = version.classifier
        with version:
            if asked.request.explain is not None:
                return await self._explain(asked, version.classifier, version.explanations, timeout, whole=canary)
            return await _classify(asked, version.classifier, timeout, whole=canary)

    async def _ask_canary(self, asked: Asked, version: Version, timeout: float) -> tuple[bytes | None, float]:
        """The canary's answer, where it has one in half of the time; else None, and the time left to what is served."""
        started = time.monotonic()
        try:
            answer = await version.unless_away(self._ask(asked, version, timeout / 2, canary=True))
        except Exception as error:
            if isinstance(error, Problem) and error.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                raise  # the text is at fault
            if not isinstance(error, Problem | ServiceError):
                logger.exception("the canary failed")
            metrics.CANARY_REQUESTS.labels("fallback").inc()
            return None, max(_LEAST_SECONDS, timeout - (time.monotonic() - started))
        metrics.CANARY_REQUESTS.labels("answered").inc()
        return answer, timeout

    async def _explain(
        self,
        asked: Asked,
        classifier: Classifier,
        explanations: Explanations | None,
        timeout: float,
        *,
        whole: bool = False,
    ) -> bytes:
        request, single = asked.request, asked.request.texts is None
        check_bounds(asked.texts, "text" if single else "texts", self._settings)
        kinds = list(dict.fromkeys(request.explain or ()))
        outcomes, found = await classify_and_explain(
            classifier, explanations, asked.texts, kinds, timeout, request.aspects or ()
        )
        if whole:
            _raise_fault(outcomes)
        if single:
            return single_answer(outcomes[0], classifier.model, found[0], foreign=request.foreign)
        return BatchAnswer(classifier.model, len(outcomes), foreign=request.foreign).render(outcomes, found)


async def count(exchange: Exchange, texts: int | None = None) -> None:
    """Count a request as one text against the rate limit of its key, or all further ones of its texts.

    Raises:
        Problem: the limit is reached.
    """
    caller = exchange.head.caller
    if caller is None or caller.meter is None:
        return
    try:
        await (caller.meter.count(1) if texts is None else caller.meter.request(texts))
    finally:
        exchange.standing = await caller.lines()


async def _classify(asked: Asked, classifier: Classifier, timeout: float, *, whole: bool = False) -> bytes:
    """The answer without explanations; as a ``whole`` it fails with any of its texts that the service is at fault for.

    Raises:
        Problem, ServiceError: why there is none.
    """
    request = asked.request
    answer = BatchAnswer(classifier.model, len(asked.texts), foreign=request.foreign)
    outcomes = await classifier.classify(asked.texts, timeout=timeout, early=answer.add)
    if whole:
        _raise_fault(outcomes)
    if request.texts is None:
        return single_answer(outcomes[0], classifier.model, foreign=request.foreign)
    return answer.render(outcomes)


def _raise_fault(outcomes: Sequence[Outcome]) -> None:
    """Raise the first error that the service is at fault for."""
    for outcome in outcomes:
        if isinstance(outcome, ServiceError):
            raise outcome
