"""``POST /classify``, the operation that everything else is for. A plain ASGI application: nothing stands between the
server and the classifier but reading, checking and writing JSON."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app import metrics
from app.errors import EngineUnavailableError, OverloadedError, ServiceError
from app.http.auth.meter import meter_of
from app.http.body import BodyTooLargeError, ClientGoneError, read_json_body, respond_and_discard, while_connected
from app.http.explain import check_bounds, classify_and_explain, explained_answer
from app.http.headers import timeout_of
from app.http.json_body import parse_request
from app.http.load_shedding import LoadShedder
from app.http.problems import Problem, entry_of, problem_of
from app.http.schemas import ClassifyRequest
from app.sentiment import Outcome, Prediction
from app.serving.classifier import Classifier
from app.serving.explanations import Explanations
from app.serving.versions import FurtherVersions, Version
from app.settings import Settings
from app.store import StoredModel

logger = logging.getLogger(__name__)

CLASSIFY_PATH = "/classify"
_LEAST_SECONDS = 0.001


class ClassifyEndpoint:
    """Answers ``POST /classify``.

    Args:
        classifier: gives the classifier, or None while there is none.
        settings: limits.
        explanations: gives what explains, or None while there is none.
        load_shedder: is told what is refused; None makes one that nobody asks.
        further: what is loaded beside what the classifier classifies with; None: nothing.
    """

    def __init__(
        self,
        classifier: Callable[[], Classifier | None],
        settings: Settings,
        explanations: Callable[[], Explanations | None] = lambda: None,
        load_shedder: LoadShedder | None = None,
        further: FurtherVersions | None = None,
    ) -> None:
        self._classifier = classifier
        self._load_shedder = load_shedder or LoadShedder(CLASSIFY_PATH, classifier, settings)
        self._explanations = explanations
        self._further = further or FurtherVersions()
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            response = await self._respond(scope, receive)
        except Problem as problem:
            metrics.REJECTED.labels(problem.code).inc()
            response = problem.response()
            if isinstance(problem, BodyTooLargeError) and problem.unread:
                await respond_and_discard(response, scope, receive, send)
                return
        except ServiceError as error:
            metrics.REJECTED.labels(error.code).inc()
            response = problem_of(error).response()
        except ClientGoneError as gone:
            response = gone.response()
        await response(scope, receive, send)

    async def _respond(self, scope: Scope, receive: Receive) -> Response:
        timeout = timeout_of(scope["headers"])
        limits = self._settings
        body = await read_json_body(scope, receive, limits.max_body, compressed=limits.compressed_bodies)
        request = parse_request(body, self._settings.max_texts)
        classifier = self._classifier()
        if classifier is None:
            raise EngineUnavailableError("the service is starting", retry_after=1.0)
        texts = request.texts if request.texts is not None else [request.text or ""]
        scope["kind"] = "explanation" if request.explain is not None else "text" if request.texts is None else "texts"
        await meter_of(scope).request(len(texts))
        if request.model is not None:
            found = self._further.find(request.model, classifier.model)
            if found is not None:
                return await self._ask(found, request, texts, scope, timeout, receive)
        elif self._further.canary is not None:
            answered, timeout = await self._divide(request, texts, scope, timeout, receive)
            if answered is not None:
                return answered
        if request.explain is not None:
            return await self._explain(request, texts, classifier, self._explanations(), timeout, receive)
        full = self._load_shedder.full(len(body), texts)
        answer = _BatchAnswer(classifier.model, len(texts), foreign=request.foreign)
        try:
            work = classifier.classify(texts, timeout=timeout, early=answer.add)
            outcomes = await while_connected(work, receive)
        except OverloadedError:
            self._load_shedder.refused(len(body))
            raise
        if full:
            self._load_shedder.answered(len(body))
        return self._answered(request, outcomes, answer, classifier)

    async def _ask(
        self,
        version: Version,
        request: ClassifyRequest,
        texts: Sequence[str],
        scope: Scope,
        timeout: float | None,
        receive: Receive,
        *,
        canary: bool = False,
    ) -> Response:
        """Have another version answer than the one that is served; of a canary every failure is one of the request."""
        classifier = version.classifier
        scope["answered_by"] = classifier.named
        with version:
            if request.explain is not None:
                return await self._explain(request, texts, classifier, version.explanations, timeout, receive)
            answer = _BatchAnswer(classifier.model, len(texts), foreign=request.foreign)
            work = classifier.classify(texts, timeout=timeout, early=answer.add)
            outcomes = await while_connected(work, receive)
        return self._answered(request, outcomes, answer, classifier, canary=canary)

    async def _divide(
        self, request: ClassifyRequest, texts: Sequence[str], scope: Scope, timeout: float | None, receive: Receive
    ) -> tuple[Response | None, float | None]:
        """The canary's answer, where the request is of its share, and it has one in half of the time; else None, and
        how long what is served may take.
        """
        version = self._further.divided(scope["headers"], texts[0])
        if version is None:
            return None, timeout
        seconds, started = min(timeout or self._settings.timeout, self._settings.timeout), time.monotonic()
        try:
            asked = self._ask(version, request, texts, scope, seconds / 2, receive, canary=True)
            answered = await version.unless_away(asked)
        except ClientGoneError:
            raise
        except Exception as error:
            if isinstance(error, Problem) and error.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                raise  # the text is at fault
            if not isinstance(error, Problem | ServiceError):
                logger.exception("the canary failed")
            metrics.CANARY_REQUESTS.labels("fallback").inc()
            del scope["answered_by"]
            return None, max(_LEAST_SECONDS, seconds - (time.monotonic() - started))
        metrics.CANARY_REQUESTS.labels("answered").inc()
        return answered, None

    @staticmethod
    def _answered(
        request: ClassifyRequest,
        outcomes: Sequence[Outcome],
        answer: _BatchAnswer,
        classifier: Classifier,
        *,
        canary: bool = False,
    ) -> Response:
        if canary and (failed := next((it for it in outcomes if isinstance(it, ServiceError)), None)) is not None:
            raise failed
        if request.texts is None:
            single = single_answer(outcomes[0], classifier, foreign=request.foreign)
            return Response(single, media_type="application/json")
        first = outcomes[0]
        if isinstance(first, ServiceError) and all(type(outcome) is type(first) for outcome in outcomes):
            raise first
        return Response(answer.render(outcomes), media_type="application/json")

    async def _explain(
        self,
        request: ClassifyRequest,
        texts: Sequence[str],
        classifier: Classifier,
        explanations: Explanations | None,
        timeout: float | None,
        receive: Receive,
    ) -> Response:
        check_bounds(texts, "text" if request.texts is None else "texts", self._settings)
        seconds = min(timeout or self._settings.timeout, self._settings.timeout)
        kinds = list(dict.fromkeys(request.explain or ()))
        work = classify_and_explain(classifier, explanations, texts, kinds, seconds, request.aspects or ())
        outcomes, found = await while_connected(work, receive)
        entries = [_entry(outcome, classifier.model.config.labels, foreign=request.foreign) for outcome in outcomes]
        return explained_answer(classifier.model, outcomes, entries, found, single=request.texts is None)


class _BatchAnswer:
    """The answer to a request with several texts, written as they are done: the last is not to wait for the others.

    Args:
        model: what classifies them.
        texts: how many.
        foreign: see ``ClassifyRequest.foreign``.
    """

    def __init__(self, model: StoredModel, texts: int, *, foreign: bool) -> None:
        self._model = model
        self._foreign = foreign
        self._entries: list[orjson.Fragment | None] = [None] * texts

    def add(self, found: Sequence[tuple[int, Outcome]]) -> None:
        """Write the entries of some texts, whose places are given."""
        labels = self._model.config.labels
        for index, outcome in found:
            entry = _entry(outcome, labels, foreign=self._foreign)
            self._entries[index] = orjson.Fragment(orjson.dumps(entry))

    def render(self, outcomes: Sequence[Outcome]) -> bytes:
        """The JSON, with the entries of all texts."""
        self.add([(index, outcome) for index, outcome in enumerate(outcomes) if self._entries[index] is None])
        model = self._model
        return orjson.dumps({"model": model.name, "version": model.version, "results": self._entries})


def single_answer(outcome: Outcome, classifier: Classifier, *, foreign: bool = False) -> bytes:
    """The JSON that answers a request with one text.

    Raises:
        Problem: the text has no prediction.
    """
    if not isinstance(outcome, Prediction):
        raise problem_of(outcome)
    model = classifier.model
    entry = _entry(outcome, model.config.labels, foreign=foreign)
    entry["model"], entry["version"] = model.name, model.version
    return orjson.dumps(entry)


def _entry(outcome: Outcome, labels: Sequence[str], *, foreign: bool) -> dict[str, Any]:
    if not isinstance(outcome, Prediction):
        return entry_of(outcome)
    label, score = outcome.best(labels)
    entry: dict[str, Any] = {
        "label": label,
        "score": score,
        "scores": dict(zip(labels, outcome.probabilities, strict=True)),
        "tokens": outcome.tokens,
        "truncated": outcome.truncated,
        "cached": outcome.cached,
    }
    if outcome.rating is not None:
        entry["rating"] = outcome.rating
    entry["unknown"], entry["judgement"] = outcome.unknown, "unreadable" if foreign else outcome.judgement
    return entry
