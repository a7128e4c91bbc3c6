"""The composition root of the explainer: in this process, or served on the socket that the supervisor holds."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

import uvloop

from app import metrics, sampling
from app.engine.interface import ServedModel
from app.process.priority import give_way, short_turns
from app.process.pulse import end_with_parent
from app.sentiment import ExplanationKind
from app.serving.explainer_link import ExplainerServer
from app.serving.explanations import Computer, LocalExplainer
from app.settings import Settings
from app.store import ModelStore, StoredModel

logger = logging.getLogger(__name__)

_IDLE_CHECK_SECONDS = 1.0


class _InShortTurns:
    """A computer that nobody else feels. See ``priority``."""

    def __init__(self, computer: Computer) -> None:
        self._computer = computer

    def explain(
        self, text: str, kind: ExplanationKind, target: int, check: Callable[[], None], aspects: Sequence[str]
    ) -> dict[str, Any]:
        with short_turns():
            return self._computer.explain(text, kind, target, check, aspects)


def make_explainer(model: StoredModel, settings: Settings, *, alone: bool = False) -> LocalExplainer:
    """An explainer in this process, which loads the network with the first text.

    Args:
        model: an opened version.
        settings: all settings.
        alone: whether nothing else computes in this process, so that its threads may be limited.
    """

    def load() -> Computer:
        # HTTP workers import this module through ``main`` and must never import what computes.
        from app.model.explainer import NetworkExplainer

        explainer = NetworkExplainer(model, settings.explain_device)
        return _InShortTurns(explainer) if alone else explainer

    return LocalExplainer(load, settings.explain_max_queue)


def run_explainer(settings: Settings, digest: str, listener: int) -> int:
    """Serve until SIGTERM, or until nobody has asked for a while.

    Args:
        settings: all settings.
        digest: of the model that the supervisor resolved.
        listener: file descriptor of the listening Unix socket.

    Returns:
        Exit status.

    Raises:
        SentimentError: another start would not help.
    """
    end_with_parent()
    metrics.begin_process()
    give_way()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(settings, digest, socket.socket(fileno=listener)))
    return 0


async def _serve(settings: Settings, digest: str, listener: socket.socket) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    model = ModelStore(settings.model_store).open(settings.model, digest)
    started = time.monotonic()
    explainer = make_explainer(model, settings, alone=True)
    await explainer.start()
    server = ExplainerServer(explainer, ServedModel(model.reference, digest))
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
