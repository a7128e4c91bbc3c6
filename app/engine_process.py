"""The composition root of the engine: predictors and micro-batcher, in this process or served on a socket."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import uvloop

from app import logs, metrics, sampling, tracing
from app.engine.admission import QueueLimits
from app.engine.batcher import MicroBatcher
from app.engine.engine_server import EngineServer
from app.engine.interface import ServedModel
from app.engine.queue import BatchLimits
from app.model_info import set_model_info
from app.process.cores import usable_cores
from app.process.priority import gently, wake_first
from app.process.pulse import beat, collect_seldom, end_with_parent
from app.sentiment import Predictor
from app.settings import Settings
from app.store import WEIGHTS_FILE, ModelStore, StoredModel
from app.text.tokenizer import share_vocabulary

logger = logging.getLogger(__name__)

_INLINE_SECONDS = 0.008
"""How long the event loop may compute: it has nothing else to do here than to take texts and give answers."""


def make_batcher(
    model: StoredModel,
    settings: Settings,
    inline_seconds: float = 0.0,
    file: int | None = None,
    *,
    loads_gently: bool = False,
) -> MicroBatcher:
    """An engine in this process, not yet started. See ``MicroBatcher``, and ``load_predictors`` for the file."""

    def load() -> Sequence[Predictor]:
        # HTTP workers import this module through ``main`` and must never import torch.
        from app.model.runtimes import load_predictors

        threads = settings.threads or usable_cores()
        return load_predictors(model, settings.device, settings.runtime, settings.precision, threads, file)

    queue = QueueLimits(settings.max_queue, settings.max_queue_tokens, settings.max_queue_seconds)
    limits = BatchLimits(settings.max_batch_size, settings.max_batch_tokens, settings.max_batch_age, queue)
    made = partial(gently, load) if loads_gently else load
    return MicroBatcher(made, limits, timed=tracing.asked_for(), inline_seconds=inline_seconds)


def run_engine(
    settings: Settings,
    digest: str,
    path: Path,
    packed: int,
    vocabulary: Path,
    pulse: int | None,
    *,
    starts_gently: bool = False,
) -> int:
    """Serve until SIGTERM.

    Args:
        settings: all settings.
        digest: of the model that the supervisor resolved.
        path: Unix socket to listen on.
        packed: file descriptor of what holds the packed model for all its engines, see ``PackedModel.shared``.
        vocabulary: where HTTP workers find the vocabulary, which is there before they can find the engine: those that
            serve are not to be held up by making it.
        pulse: file descriptor to write signs of life to.
        starts_gently: whether others answer meanwhile, who need the cores more.

    Returns:
        Exit status.

    Raises:
        SentimentError: another start would not help.
    """
    sharing = _share(settings, digest, vocabulary, starts_gently=starts_gently)
    end_with_parent()
    wake_first()
    metrics.begin_process()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_serve(settings, digest, path, packed, sharing, pulse, starts_gently=starts_gently))


async def _serve(
    settings: Settings,
    digest: str,
    path: Path,
    packed: int,
    sharing: int | None,
    pulse: int | None,
    *,
    starts_gently: bool,
) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    started = time.monotonic()
    background = []
    # Where another engine has packed the weights, this one does not read them.
    opened = partial(ModelStore(settings.model_store).open, settings.model, digest, unread=(WEIGHTS_FILE,))
    model = gently(opened) if starts_gently else opened()
    logs.context["model"] = model.reference
    batcher = make_batcher(model, settings, _INLINE_SECONDS, packed, loads_gently=starts_gently)
    if pulse is not None:
        background.append(asyncio.create_task(beat(pulse, lambda: not batcher.hung)))
    await batcher.start()
    if sharing is not None:
        await asyncio.to_thread(os.waitpid, sharing, 0)
    server = EngineServer(batcher, ServedModel(model.reference, digest))
    await server.serve(path)
    info = batcher.info
    metrics.QUEUE_LIMIT_SECONDS.set(settings.max_queue_seconds)
    set_model_info(model, info.runtime, info.precision, info.device)
    background.append(asyncio.create_task(sampling.sample(_probes(batcher))))
    logger.info(
        "engine serves %s (%s, %s, %s), ready after %.1f s",
        model.reference,
        info.runtime,
        info.precision,
        info.device,
        time.monotonic() - started,
    )
    collect_seldom()
    ends = [asyncio.create_task(stop.wait()), asyncio.create_task(batcher.crashed())]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    if not stop.is_set():
        logger.critical("a predictor's task ended, and with it this process")
    await server.close()
    for task in (*background, *ends):
        task.cancel()
    return 0 if stop.is_set() else 1


def _share(settings: Settings, digest: str, vocabulary: Path, *, starts_gently: bool) -> int | None:
    """Have a copy of this process, which has no threads yet, write the vocabulary and end, unless that is there; its
    process id.

    In this one, what it takes to read the words would stay. Where it fails, an HTTP worker says why.
    """
    if vocabulary.exists():
        return None
    pid = os.fork()
    if pid:
        return pid
    with suppress(BaseException):
        model = ModelStore(settings.model_store).open(settings.model, digest, unread=(WEIGHTS_FILE,))
        work = partial(share_vocabulary, model, vocabulary)
        if starts_gently:
            gently(work)
        else:
            work()
    os._exit(0)


def _probes(batcher: MicroBatcher) -> list[sampling.Probe]:
    from app.model.gpu import gpu_reader
    from app.model.runtimes import device_bytes

    device = batcher.info.device
    return [
        sampling.process_probe(),
        sampling.queue_probe(batcher),
        sampling.throttle_probe(),
        sampling.device_probe(device, device_bytes(device), gpu_reader(device)),
    ]
