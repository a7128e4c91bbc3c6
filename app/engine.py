"""The composition root of the engine: predictors and micro-batcher, in this process or served on a socket."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import uvloop

from app import logs, metrics, sampling, tracing
from app.errors import SentimentError
from app.sentiment import Predictor
from app.serving.batcher import BatchLimits, MicroBatcher
from app.serving.engine_server import EngineServer
from app.serving.supervisor import HEARTBEAT_SECONDS, end_with_parent, usable_cores
from app.settings import Settings
from app.store import ModelStore, StoredModel

logger = logging.getLogger(__name__)


def make_batcher(model: StoredModel, settings: Settings) -> MicroBatcher:
    """An engine in this process, not yet started."""

    def load() -> Sequence[Predictor]:
        # HTTP workers import this module through ``main`` and must never import torch.
        from app.modeling.runtimes import load_predictors

        threads = settings.threads or usable_cores()
        return load_predictors(model, settings.device, settings.runtime, settings.precision, threads)

    limits = BatchLimits(
        settings.max_batch_size,
        settings.max_batch_tokens,
        settings.max_batch_age,
        settings.max_queue,
        settings.max_queue_seconds,
    )
    return MicroBatcher(load, limits, timed=tracing.asked_for())


def run_engine(settings: Settings, path: Path, pulse: int | None) -> int:
    """Serve until SIGTERM.

    Args:
        settings: all settings.
        path: Unix socket to listen on.
        pulse: file descriptor to write signs of life to.

    Returns:
        Exit status.
    """
    end_with_parent()
    metrics.begin_process()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(_serve(settings, path, pulse))
    except SentimentError as error:
        logger.critical("cannot serve: %s", error)
        return 1
    return 0


async def _serve(settings: Settings, path: Path, pulse: int | None) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    started = time.monotonic()
    background = []
    with metrics.MODEL_LOAD_FAILURES.count_exceptions():
        model = ModelStore(settings.model_store).open(settings.model)
        logs.context["model"] = model.reference
        batcher = make_batcher(model, settings)
        if pulse is not None:
            background.append(asyncio.create_task(_beat(pulse)))
        await batcher.start()
    metrics.ENGINE_READY.set(1)
    server = EngineServer(batcher, coalesce=settings.cache)
    await server.serve(path)
    info = batcher.info
    metrics.QUEUE_LIMIT_SECONDS.set(settings.max_queue_seconds)
    metrics.set_model_info(model, info.runtime, info.precision, info.device)
    background.append(asyncio.create_task(sampling.sample(_probes(batcher))))
    logger.info(
        "engine serves %s (%s, %s, %s), ready after %.1f s",
        model.reference,
        info.runtime,
        info.precision,
        info.device,
        time.monotonic() - started,
    )
    gc.collect()
    gc.freeze()
    await stop.wait()
    await server.close()
    for task in background:
        task.cancel()


def _probes(batcher: MicroBatcher) -> list[sampling.Probe]:
    from app.modeling.gpu import gpu_reader
    from app.modeling.runtimes import device_bytes

    device = batcher.info.device
    return [
        sampling.process_probe(),
        sampling.queue_probe(batcher),
        sampling.device_probe(device, device_bytes(device), gpu_reader(device)),
    ]


async def _beat(pulse: int) -> None:
    os.set_blocking(pulse, False)
    while True:
        with suppress(BlockingIOError):
            os.write(pulse, b".")
        await asyncio.sleep(HEARTBEAT_SECONDS)
