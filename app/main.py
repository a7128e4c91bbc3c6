"""The composition root of the HTTP application: here, and in ``cli``, the rooms meet.

``uvicorn app.main:app`` serves with the engine in the same process, for development; ``python -m app serve`` is the
production placement.
"""

from __future__ import annotations

import asyncio
import logging
import math
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import uvicorn
from fastapi import FastAPI

from app import logs, metrics, sampling, tracing
from app.assembly import Opened, classifier_of, explanations_of, further_version, open_model, shared_cache
from app.engine.admission import QueueLimits
from app.engine.client import RemoteEngine
from app.engine.interface import Engine, ServedModel
from app.errors import SentimentError
from app.feedback.folder import FeedbackFolder
from app.http.admin import ModelSwitch
from app.http.application import build_application
from app.http.server.connection_limits import ConnectionLimits
from app.http.server.protocol import ServiceProtocol
from app.http.server.server import LINGER_SECONDS, DrainingServer
from app.model_info import set_model_info
from app.process.child import DRAIN_SIGNAL, RETIRE_SIGNAL
from app.process.control import CONTROL_SOCKET, ControlClient
from app.process.priority import gently, wake_first
from app.process.pulse import beat, collect_seldom, end_with_parent, say_retired
from app.process.succession import HAND_OVER_SECONDS
from app.serving.classifier import Classifier
from app.serving.explainer_link import RemoteExplainer
from app.serving.explanations import Explainer, Explanations
from app.serving.following import Follower
from app.serving.versions import FurtherVersions, StoredLabels
from app.settings import Settings, load_settings
from app.store import StoredModel

if TYPE_CHECKING:
    from app.http.auth.rate_counters import RateCounters

logger = logging.getLogger(__name__)

_OTHER_FILES = 256
"""Open files of a worker beside its connections and those that it refuses."""
_SWITCH_SECONDS = 0.0005
"""How long a thread may keep the interpreter from the event loop: one that loads a vocabulary or writes metrics would
make a request wait for Python's usual 5 ms, several times."""
_FOLLOW_SECONDS = 30.0
"""How long is waited for what is to be loaded beside the model."""


def __getattr__(name: str) -> Any:
    # ``app.main:app`` is made when asked for: importing this module must not read the environment.
    if name == "app":
        return create_app(load_settings())
    raise AttributeError(name)


def create_app(
    settings: Settings,
    engine: Engine | None = None,
    explainer: Explainer | None = None,
    pulse: int | None = None,
    rate_file: Path | None = None,
    opened: Opened | None = None,
    switch: ModelSwitch | None = None,
    follower: Follower | None = None,
    *,
    succeeds: bool = False,
) -> FastAPI:
    """The HTTP application.

    Args:
        settings: all settings.
        engine: where texts are computed; None makes one in this process.
        explainer: where explanations are computed; None makes one in this process.
        pulse: where a supervisor looks for signs of life, which then also sends ``DRAIN_SIGNAL`` before the end.
        rate_file: where HTTP workers count together against rate limits; None where this is the only one.
        opened: the model and its tokenizer; None opens what the settings name.
        switch: who can have another model served; None: nobody here.
        follower: loads what is to be loaded beside the model; None: nothing.
        succeeds: whether others serve, until this process gives its first sign of life: nothing is accepted, and none
            given, before the engine is there.

    Raises (when the application starts):
        CheckpointError: the model is missing, damaged or inconsistent.
    """
    holder: list[Classifier] = []
    explanations: list[Explanations] = []
    counters = _rate_counters(settings, rate_file)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        logs.configure(settings.log_level, settings.log_format)
        tracing.configure()
        model, tokenizer = opened or open_model(settings)
        logs.context["model"] = model.reference
        metrics.serve(model, app.state.inference_routes)
        actual = engine or _engine(model, settings)
        shared = shared_cache(settings, len(model.config.labels))
        holder.append(classifier_of(model, tokenizer, actual, shared, settings))
        explanations.append(explanations_of(model, explainer, settings))
        starting = asyncio.create_task(_start(actual, model))
        background = [starting, asyncio.create_task(sampling.sample(_probes(settings)))]
        if succeeds:
            await starting
            background += await _follow(follower, holder[0], settings)
        # Before anything else is waited for: a process that has given no sign of life may be silent for very long.
        if pulse is not None:
            background.append(asyncio.create_task(beat(pulse)))
            asyncio.get_running_loop().add_signal_handler(DRAIN_SIGNAL, holder[0].drain)
        if not succeeds:
            background += await _follow(follower, holder[0], settings)
        collect_seldom()
        try:
            yield
        finally:
            for task in background:
                task.cancel()
            await asyncio.gather(*background, return_exceptions=True)
            await actual.close()
            if follower is not None:
                await follower.close()
            await explanations.pop().close()
            if shared is not None:
                await shared.close()
            if counters is not None:
                await counters.close()
            holder.clear()
            await asyncio.to_thread(tracing.shut_down)

    return build_application(
        settings,
        lifespan,
        lambda: holder[0] if holder else None,
        lambda: explanations[0] if explanations else None,
        counters=counters,
        switch=switch,
        further=None if follower is None else follower.versions,
    )


async def _follow(follower: Follower | None, served: Classifier, settings: Settings) -> list[asyncio.Task[None]]:
    """Have loaded what is to be loaded beside what is served, and kept so by the task that is returned."""
    if follower is None:
        if settings.further_models is not None:
            logger.warning("further models are not loaded: this process serves alone; `serve` loads them")
        return []
    follower.versions.served = served
    task = asyncio.create_task(follower.follow())
    # A worker that others have made way for, or that was started again, is to know at once what they knew.
    with suppress(TimeoutError):
        await asyncio.wait_for(follower.begun.wait(), _FOLLOW_SECONDS)
    return [task]


def _rate_counters(settings: Settings, file: Path | None) -> RateCounters | None:
    if settings.rate_limit is None:
        return None
    from app.http.auth.rate_counters import RateCounters  # takes a while to import

    return RateCounters(settings, file)


def _probes(settings: Settings) -> list[sampling.Probe]:
    probes = [sampling.process_probe()]
    if settings.feedback_folder is not None:
        folder = FeedbackFolder(settings.feedback_folder, settings.feedback_bytes)
        probes.append(sampling.feedback_probe(folder.size, folder.limit))
    return probes


def _engine(model: StoredModel, settings: Settings) -> Engine:
    # An engine of its own, whose code a worker of the service never needs.
    from app.engine_process import make_batcher

    return make_batcher(model, settings)


async def _start(engine: Engine, model: StoredModel) -> None:
    try:
        await engine.start()
    except SentimentError as error:
        logger.critical("cannot serve %s: %s", model.reference, error)
        signal.raise_signal(signal.SIGTERM)
        return
    except Exception:
        logger.exception("cannot serve %s", model.reference)
        signal.raise_signal(signal.SIGTERM)
        return
    info = engine.info
    set_model_info(model, info.runtime, info.precision, info.device)
    logger.info("serving %s (%s, %s, %s)", model.reference, info.runtime, info.precision, info.device)


def run_worker(
    settings: Settings,
    digest: str,
    listener: int,
    engines: Sequence[Path],
    spare: Path | None,
    explainer: Path,
    vocabulary: Path,
    pulse: int | None,
    group: int,
    *,
    succeeds: bool,
    starts_gently: bool,
) -> int:
    """One HTTP worker process, until SIGTERM. Started by the supervisor.

    Args:
        settings: all settings.
        digest: of the model that the supervisor resolved.
        listener: file descriptor of the listening socket.
        engines: Unix sockets of the engines.
        spare: that of an engine that stands by for them; None: there is none.
        explainer: Unix socket of the explainer.
        vocabulary: see ``load_tokenizer``.
        pulse: file descriptor to write signs of life to.
        group: which of the engines has its cores together with this process.
        succeeds: see ``create_app``.
        starts_gently: whether others answer meanwhile, who need the cores more.

    Returns:
        Exit status.

    Raises:
        SentimentError: another start would not help: the model is not what it was for the supervisor, or Redis is of
            a kind that cannot be used.
    """
    end_with_parent()
    wake_first()
    sys.setswitchinterval(_SWITCH_SECONDS)
    restarted = metrics.begin_process()
    # Only at the start of the service: what becomes of Redis later must not end it.
    if not restarted and settings.cache and settings.redis_url is not None:
        from app.serving.redis_link import refuse_other_modes  # its client takes a while to import

        asyncio.run(refuse_other_modes(settings.redis_url))

    def prepare() -> FastAPI:
        opened = open_model(settings, digest, vocabulary)
        served = ServedModel(opened[0].reference, digest)
        remote = RemoteEngine(engines, _share(settings, len(engines)), served, group, spare)
        explaining = RemoteExplainer(explainer, settings.explain_max_queue, served)
        # In the folder that the processes of this service share, and that goes with it.
        rates, control = explainer.with_name("rates"), ControlClient(explainer.with_name(CONTROL_SOCKET))
        further = FurtherVersions(StoredLabels(settings.model_store), settings.canary_header.lower().encode())
        make = partial(further_version, settings, _share(settings, 1), further)
        patience = min(settings.drain_timeout, HAND_OVER_SECONDS)
        follower = Follower(control.roster, make, further, patience, settings.shadow_folder, settings.workers)
        return create_app(settings, remote, explaining, pulse, rates, opened, control, follower, succeeds=succeeds)

    metrics.WORKERS.set(settings.workers)
    application = gently(prepare) if starts_gently else prepare()
    return run_server(application, settings, listener, pulse)


def _share(settings: Settings, engines: int) -> QueueLimits:
    """One worker's part of what may wait for so many engines; the supervisor has said how many workers there are."""
    return QueueLimits(
        engines * settings.max_queue // settings.workers,
        engines * settings.max_queue_tokens // settings.workers,
        settings.max_queue_seconds,
    )


def _connection_limits(settings: Settings) -> ConnectionLimits:
    """Limits that the operating system's limit on open files allows, which is raised as far as it may be."""
    connections = settings.max_connections
    files = connections + connections // 8 + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < files:
        soft = files if hard < 0 else min(files, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if soft < files:
            connections = max(1, (soft - _OTHER_FILES) * 8 // 9)
            logger.warning("only %d connections: the limit on open files is %d", connections, soft)
    metrics.CONNECTIONS_LIMIT.set(connections)
    return ConnectionLimits(
        connections,
        settings.head_timeout,
        settings.body_timeout,
        settings.file_stall,
        settings.keep_alive_timeout,
    )


def run_server(app: FastAPI, settings: Settings, listener: int, pulse: int | None = None) -> int:
    """Serve an application on an inherited socket until SIGTERM or ``RETIRE_SIGNAL``, then drain."""
    protocol = partial(
        ServiceProtocol,
        handler=app.state.handler,
        limits=_connection_limits(settings),
        root_path=settings.root_path,
    )
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=cast("type[asyncio.Protocol]", protocol),
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=math.ceil(max(0, settings.drain_timeout - LINGER_SECONDS)),
        backlog=2048,
    )
    retired = (lambda: None) if pulse is None else partial(say_retired, pulse)
    server = DrainingServer(config, lambda: app.state.handler.draining, retired)
    signal.signal(RETIRE_SIGNAL, lambda *_: server.retire())
    # Not uvicorn's ``fd``, which takes every socket for a Unix one and so leaves Nagle's algorithm on.
    server.run(sockets=[socket.socket(fileno=listener)])
    return 0 if server.started else 1
