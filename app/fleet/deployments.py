"""What runs on the nodes of a Ray cluster: engines with their micro-batches, and the HTTP application in front of them.

Ray has its own words: a deployment is a class of which it keeps so many replicas, each a process on some node; a handle
calls one of them; an application is a set of deployments that comes and goes together.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.serve.config import AutoscalingConfig
from ray.serve.schema import LoggingConfig
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.assembly import open_model
from app.engine.admission import QueueLimits
from app.engine.interface import EngineInfo
from app.engine.ticket import Ticket
from app.engine_process import make_batcher
from app.errors import EngineUnavailableError, ServiceError
from app.fleet.ray_engine import Answer, RayEngine
from app.http.problems import problem_of
from app.main import create_app
from app.sentiment import BatchScores, TextBatch
from app.settings import Settings
from app.store import ModelStore

_MOST_CALLS = 1_024
"""Calls that a replica takes at once; bounds of texts come long before."""
_SCALE_UP_SECONDS = 10.0
_SCALE_DOWN_SECONDS = 300.0
_HEALTH_SECONDS = 1.0
"""Between two looks at a replica, which is replaced after three bad answers."""
_HEALTH_TIMEOUT_SECONDS = 10.0
"""How long an answer may take; that a replica has died is known without it."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Replicas of one deployment.

    Attributes:
        fewest, most: how many there may be.
        ongoing: calls under way for each, waiting ones included, that autoscaling aims at.
        cpus, gpus: of the node, for each; parts of one are fine.
    """

    fewest: int
    most: int
    ongoing: float
    cpus: float
    gpus: float = 0.0

    def of(self, deployment: serve.Deployment, drain_seconds: float) -> serve.Deployment:
        """The deployment with so many replicas."""
        return deployment.options(
            max_ongoing_requests=_MOST_CALLS,
            autoscaling_config=AutoscalingConfig(
                min_replicas=self.fewest,
                max_replicas=self.most,
                target_ongoing_requests=self.ongoing,
                upscale_delay_s=_SCALE_UP_SECONDS,
                downscale_delay_s=_SCALE_DOWN_SECONDS,
            ),
            ray_actor_options={"num_cpus": self.cpus, "num_gpus": self.gpus},
            health_check_period_s=_HEALTH_SECONDS,
            health_check_timeout_s=_HEALTH_TIMEOUT_SECONDS,
            graceful_shutdown_timeout_s=drain_seconds,
            logging_config=LoggingConfig(enable_access_log=False),
        )


class RayEngineReplica:
    """A micro-batcher of one model, called by any number of HTTP applications.

    Args:
        settings: all settings.
        digest: of the model that they name.
    """

    async def __init__(self, settings: Settings, digest: str) -> None:  # type: ignore[misc]  # Ray waits for it
        self._batcher = make_batcher(ModelStore(settings.model_store).open(settings.model, digest), settings)
        await self._batcher.start()

    def check_health(self) -> None:
        """Asked by Ray, which replaces a replica that raises."""
        if not self._batcher.ready:
            raise EngineUnavailableError("the engine hangs or has crashed")

    async def describe(self) -> EngineInfo:
        """What computes here."""
        return self._batcher.info

    async def compute(self, batches: Sequence[TextBatch], seconds: float) -> Answer:
        """Scores, or the error, of each batch.

        Args:
            batches: what was submitted together.
            seconds: in which somebody wants the answer; clocks of machines differ, so this is no time of day.
        """
        deadline = time.monotonic() + seconds
        submitted = [self._submit(batch, deadline) for batch in batches]
        results = [await _outcome(each) if isinstance(each, Ticket) else each for each in submitted]
        return Answer(self._batcher.queued, self._batcher.texts_per_second, results)

    def _submit(self, batch: TextBatch, deadline: float) -> Ticket | ServiceError:
        try:
            self._batcher.admit(len(batch.lengths), len(batch.ids))
            return self._batcher.submit(batch, deadline)
        except ServiceError as error:
            return error


async def _outcome(ticket: Ticket) -> BatchScores | ServiceError:
    """What becomes of a batch: an error is a value here, so that those beside it keep their scores."""
    try:
        return await ticket
    except ServiceError as error:
        return error


@serve.ingress()
class Front:
    """The HTTP application of this project, on engines of the cluster.

    Args:
        settings: all settings.
        digest: of the model that they name.
        engines: name of the application that the engines of this model are.
    """

    def __init__(self, settings: Settings, digest: str, engines: str) -> None:
        self._settings = settings
        self._digest = digest
        self._engines = engines

    def __serve_build_asgi_app__(self) -> FastAPI:
        settings = self._settings
        limits = QueueLimits(settings.max_queue, settings.max_queue_tokens, settings.max_queue_seconds)
        engine = RayEngine(serve.get_app_handle(self._engines), limits)
        return create_app(settings, engine, opened=open_model(settings, self._digest))


class AnswersOfTheService:
    """Makes of what Ray's proxy says what the service says.

    Where the process that was to answer died on the request the proxy says nothing; that is a 503. And it repeats a
    header that the application has already.

    Args:
        app: Ray's proxy.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def forward(message: Message) -> None:
            nonlocal begun
            begun = True
            if message["type"] == "http.response.start":
                message["headers"] = list(dict.fromkeys((name, value) for name, value in message["headers"]))
            await send(message)

        await self._app(scope, receive, forward)
        if scope["type"] == "http" and not begun:
            error = EngineUnavailableError("the process that was to answer is gone", retry_after=1.0)
            await problem_of(error).response()(scope, receive, send)


def proxy_middleware() -> list[Middleware]:
    """What Ray puts around its proxies, which import it by its name."""
    return [Middleware(AnswersOfTheService)]


def engine_application(settings: Settings, digest: str, pool: Pool) -> serve.Application:
    """Engines of one model."""
    # Ray does not confine a process to the cores that it counts for it.
    chosen = settings.model_copy(update={"threads": settings.threads or max(1, int(pool.cpus))})
    deployment: Any = serve.deployment(RayEngineReplica, name="engine")
    return pool.of(deployment, settings.drain_timeout).bind(chosen, digest)


def front_application(settings: Settings, digest: str, engines: str, pool: Pool) -> serve.Application:
    """The HTTP application in front of the engines of that name."""
    deployment: Any = serve.deployment(Front, name="front")
    return pool.of(deployment, settings.drain_timeout).bind(settings, digest, engines)
