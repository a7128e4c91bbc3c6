"""What a process of the service does beside its work: signs of life, ending with its supervisor, collecting garbage."""

from __future__ import annotations

import asyncio
import gc
import os
import selectors
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress

BEAT_SECONDS = 0.25
LIFELINE_VARIABLE = "LIFELINE_FD"
"""Set by the supervisor for its children: a file descriptor that reports end of file when the supervisor is gone."""

RETIRED = b"-"
"""A sign of life that also says that no new connections are taken any more."""

_LIFELINE_SECONDS = 5.0
_OBJECTS = 20_000
"""New objects after which it is looked for. A request of hundreds of texts makes thousands, and all end with it."""


async def beat(pulse: int, alive: Callable[[], bool] = lambda: True) -> None:
    """Write a sign of life every ``BEAT_SECONDS``, for ever.

    Args:
        pulse: file descriptor of a pipe to the supervisor.
        alive: whether there is one to give; a process whose event loop runs may be stuck all the same.
    """
    os.set_blocking(pulse, False)
    while True:
        if alive():
            with suppress(BlockingIOError):
                os.write(pulse, b".")
        await asyncio.sleep(BEAT_SECONDS)


def say_retired(pulse: int) -> None:
    """Tell the supervisor that this process takes no new connections any more."""
    with suppress(BlockingIOError):
        os.write(pulse, RETIRED)


def end_with_parent() -> None:
    """Leave this process' end to the supervisor, and end when that is gone. Does nothing without a supervisor."""
    descriptor = os.environ.pop(LIFELINE_VARIABLE, None)
    if descriptor is None:
        return
    signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def wait(fd: int) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(fd, selectors.EVENT_READ)
            selector.select()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_LIFELINE_SECONDS)
        os._exit(1)

    threading.Thread(target=wait, args=(int(descriptor),), daemon=True, name="lifeline").start()


def collect_seldom() -> None:
    """Look for garbage in cycles seldom, because requests leave hardly any.

    Call once, when everything is in place that lives as long as the process: it is not looked at again.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS, 10, 10)
