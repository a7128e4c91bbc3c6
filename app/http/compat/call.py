"""The call behind every other server's protocol: bounds, deadline, metrics and classifier as for ``POST /classify``."""

from __future__ import annotations

import logging
import math
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import orjson
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.errors import EngineUnavailableError, SentimentError, ServiceError
from app.http.auth.meter import meter_of
from app.http.body import ClientGoneError, read_json_body, refuse, while_connected
from app.http.headers import timeout_of
from app.http.problems import Problem, internal_error, invalid, problem_of
from app.sentiment import Prediction
from app.serving.classifier import Classifier
from app.serving.versions import FurtherVersions, Version
from app.settings import Settings
from app.store import StoredModel

JUDGEMENT_HEADER = "X-Judgement"

logger = logging.getLogger(__name__)


class CompatEndpoint(ABC):
    """One operation of another server's protocol, as an ASGI application.

    Args:
        classifier: gives the classifier, or None while there is none.
        settings: limits.
        further: what is loaded beside what the classifier classifies with.
    """

    def __init__(
        self, classifier: Callable[[], Classifier | None], settings: Settings, further: FurtherVersions
    ) -> None:
        self._classifier = classifier
        self.settings = settings
        self.further = further

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            response = await self.respond(scope, receive)
        except (Problem, ServiceError) as error:
            await refuse(error, scope, receive, send, self.refuse)
            return
        except ClientGoneError as gone:
            response = gone.response()
        except Exception:
            logger.exception("unhandled error", extra={"method": scope["method"], "path": scope["path"][:200]})
            response = self.refuse(internal_error())
        await response(scope, receive, send)

    @abstractmethod
    async def respond(self, scope: Scope, receive: Receive) -> Response:
        """The answer.

        Raises:
            Problem, ServiceError: the request is refused, or fails.
            ClientGoneError: nobody waits any more.
        """

    @staticmethod
    @abstractmethod
    def refuse(problem: Problem) -> Response:
        """A problem in the shape that the protocol's clients understand."""

    def classifier(self) -> Classifier:
        """The classifier.

        Raises:
            EngineUnavailableError: there is none yet.
        """
        classifier = self._classifier()
        if classifier is None:
            raise EngineUnavailableError("the service is starting", retry_after=1.0)
        return classifier

    def version(self, scope: Scope) -> Version | None:
        """The version that the path names; None: the one that is served, as where it names none.

        Raises:
            UnknownModelError: it is not loaded.
            EngineUnavailableError: nothing is yet.
        """
        name, version = (scope["path_params"].get(part) for part in ("name", "version"))
        if name is None:
            return None
        return self.further.find(name if version is None else f"{name}/{version}", self.classifier().model)

    async def body(self, scope: Scope, receive: Receive, *, binary: bool = False) -> bytes:
        """The request's body, within the same bounds as for ``POST /classify``; see ``read_json_body``."""
        timeout_of(scope["headers"])  # what is wrong with it is said before the body is read
        compressed = self.settings.compressed_bodies
        return await read_json_body(scope, receive, self.settings.max_body, compressed=compressed, binary=binary)

    async def classify(
        self,
        texts: Sequence[str],
        scope: Scope,
        receive: Receive,
        field: str,
        patience: float = math.inf,
        version: Version | None = None,
    ) -> tuple[StoredModel, list[Prediction]]:
        """The model, and its prediction per text; these protocols have no place for the error of one text among others.

        Args:
            texts: any strings.
            scope: the request, which may say how long it waits, and be counted against a rate limit.
            receive: watched for the client's disconnection.
            field: the request's name for the texts.
            patience: seconds the client waits, where it says so elsewhere.
            version: what is to answer; None: what is served.

        Raises:
            Problem: of the first text without a prediction, naming it.
            ServiceError: the whole request is refused, before any work.
            ClientGoneError: the client disconnected.
        """
        classifier = self.classifier() if version is None else version.classifier
        scope["answered_by"] = classifier.named
        seconds = min(timeout_of(scope["headers"]) or math.inf, patience)
        scope["kind"] = "text" if len(texts) == 1 else "texts"
        await meter_of(scope).request(len(texts))
        timeout = seconds if math.isfinite(seconds) else None
        with version or nullcontext():
            outcomes = await while_connected(classifier.classify(texts, timeout=timeout), receive)
        predictions = []
        for index, outcome in enumerate(outcomes):
            if isinstance(outcome, SentimentError):
                found = problem_of(outcome)
                where = field if len(texts) == 1 else f"{field}.{index}"
                raise replace(invalid(found.code, where, found.detail, found.headers), status=found.status)
            predictions.append(outcome)
        return classifier.model, predictions


def ranked(prediction: Prediction, labels: Sequence[str], *, logarithms: bool = False) -> list[dict[str, Any]]:
    """Label and score of every class, the most probable first.

    Args:
        prediction: of one text.
        labels: names of the classes.
        logarithms: natural logarithms of the probabilities: the logits less a constant, so a softmax of them gives the
            probabilities again.
    """
    order = sorted(range(len(labels)), key=lambda index: -prediction.probabilities[index])
    scores = [prediction.probabilities[index] for index in order]
    if logarithms:
        # JSON has no infinity.
        scores = [math.log(max(score, sys.float_info.min)) for score in scores]
    return [{"label": labels[index], "score": score} for index, score in zip(order, scores, strict=True)]


def judgement_header(predictions: Sequence[Prediction]) -> dict[str, str]:
    """How far to trust the answer to a single text, for protocols whose documents have no place for it."""
    return {JUDGEMENT_HEADER: predictions[0].judgement} if len(predictions) == 1 else {}


def json_response(document: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON response."""
    return Response(orjson.dumps(document), status, headers, "application/json")
