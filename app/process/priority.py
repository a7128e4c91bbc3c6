"""Lower priority for threads that compute or load, and the lowest for a process whose work nobody else may feel.

Niceness decides on shares of a core: a thread that wakes up would still wait for the rest of a nice process's turn. A
process of the idle class is put aside at once by whoever wakes up (sched(7)). It can still be chosen where a thread
that was itself put aside has had its share, and then keeps the core until the next tick of the clock: 4 ms at the usual
250 Hz, several times what a plain request takes. So the thread that computes also gives the core away by itself, often.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

_THREAD_NICENESS = 5
_PROCESS_NICENESS = 19
_GENTLE_NICENESS = 10
"""A tenth of a core where others want all of it: a second of work takes ten then, at most."""
_TURN_SECONDS = 0.0005
"""Half of what a plain request takes: shorter turns gain nothing, and each end costs a microsecond or two."""


def yield_to_events(niceness: int = _THREAD_NICENESS) -> None:
    """Lower the priority of a computing thread, where threads have their own (Linux).

    A batch that takes a little longer is noticed by nobody; an event loop that waits for a core delays everybody.

    Args:
        niceness: how much nicer than its process it is to be.
    """
    if sys.platform == "linux":
        priority = os.getpriority(os.PRIO_PROCESS, 0) + niceness
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), priority)


def gently(work: Callable[[], T]) -> T:
    """Do some work in a thread of low priority, where threads have their own (Linux), and wait for it.

    A process of the service imports and loads for a second on a core that those which serve meanwhile need as well. It
    could not raise its own priority again, so a thread has the low one, and ends.
    """
    done: Future[T] = Future()

    def run() -> None:
        try:
            yield_to_events(_GENTLE_NICENESS)
            done.set_result(work())
        except BaseException as error:  # raised where somebody waits for it
            done.set_exception(error)

    threading.Thread(target=run, name="gently").start()
    return done.result()


def give_way() -> None:
    """Put this process last. To be called before it has other threads: they take over what is set here."""
    os.nice(_PROCESS_NICENESS)
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    # A timer's signal goes to any thread that lets it in. Only the one that computes shall, see ``short_turns``.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})


@contextmanager
def short_turns() -> Iterator[None]:
    """Give the core to whoever waits for it, every half a millisecond while this thread is in the block.

    Takes SIGALRM and the timer ``ITIMER_REAL`` of the process, so one thread at a time may be in such a block.
    """
    # Python's own handlers run between two bytecodes, and a recurrent layer's forward pass is one. The C function that
    # gives the core away is safe in a handler (it only makes a system call), and calls that it breaks off are resumed.
    libc = ctypes.CDLL(None)
    libc.signal.argtypes, libc.signal.restype = [ctypes.c_int, ctypes.c_void_p], ctypes.c_void_p
    libc.signal(signal.SIGALRM, ctypes.cast(libc.sched_yield, ctypes.c_void_p))
    before = signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    signal.setitimer(signal.ITIMER_REAL, _TURN_SECONDS, _TURN_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
