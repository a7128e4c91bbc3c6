"""The composition root of the explainer: in this process, or served on the socket that the supervisor holds."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import time

import uvloop

from app import metrics, sampling
from app.errors import SentimentError
from app.serving.explainer_link import ExplainerServer
from app.serving.explanations import Computer, LocalExplainer
from app.serving.supervisor import end_with_parent
from app.settings import Settings
from app.store import ModelStore, StoredModel

logger = logging.getLogger(__name__)

_NICENESS = 19
_IDLE_CHECK_SECONDS = 1.0


def make_explainer(model: StoredModel, settings: Settings, *, alone: bool = False) -> LocalExplainer:
    """An explainer in this process, which loads the network with the first text.

    Args:
        model: an opened version.
        settings: all settings.
        alone: whether nothing else computes in this process, so that its threads may be limited.
    """

    def load() -> Computer:
        # HTTP workers import this module through ``main`` and must never import torch.
        from app.modeling.explainer import NetworkExplainer, use_one_thread
        from app.modeling.runtimes import resolve_device

        if alone:
            use_one_thread()
        return NetworkExplainer(model, resolve_device(settings.explain_device, "SENTIMENT_EXPLAIN_DEVICE"))

    return LocalExplainer(load, settings.explain_max_queue)


def run_explainer(settings: Settings, listener: int) -> int:
    """Serve until SIGTERM, or until nobody has asked for a while.

    Args:
        settings: all settings.
        listener: file descriptor of the listening Unix socket.

    Returns:
        Exit status.
    """
    end_with_parent()
    metrics.begin_process()
    # It has no say in whether texts are answered, and gauges of all processes are put together.
    metrics.ENGINE_READY.set(1)
    _give_way()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(settings, socket.socket(fileno=listener)))
    except SentimentError as error:
        logger.critical("cannot explain: %s", error)
        return 1
    return 0


def _give_way() -> None:
    """Let plain answers come first.

    Niceness alone decides on shares of a core; a thread that wakes up would still wait for the rest of this process's
    turn, milliseconds. An idle-class process is put aside at once (sched(7)).
    """
    os.nice(_NICENESS)
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


async def _serve(settings: Settings, listener: socket.socket) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    model = ModelStore(settings.model_store).open(settings.model)
    started = time.monotonic()
    explainer = make_explainer(model, settings, alone=True)
    await explainer.start()
    server = ExplainerServer(explainer)
    await server.serve(listener)
    sampler = asyncio.create_task(sampling.sample([sampling.process_probe()]))
    logger.info("explainer of %s ready after %.1f s", model.reference, time.monotonic() - started)
    while not stop.is_set():
        if not server.busy and time.monotonic() - server.last_used > settings.explain_idle:
            logger.info("nobody asked for an explanation for %.0f s, ending", settings.explain_idle)
            break
        try:
            await asyncio.wait_for(stop.wait(), _IDLE_CHECK_SECONDS)
        except TimeoutError:
            continue
    await server.close()
    sampler.cancel()
    metrics.MEMORY_BYTES.labels(metrics.ROLE).set(0)
