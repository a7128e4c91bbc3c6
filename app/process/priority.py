"""Who gets a core first: event loops, then threads that compute or load, then a process whose work nobody may feel.

Niceness decides on shares of a core: a thread that wakes up would still wait for the rest of a nice process's turn. A
process of the idle class is put aside at once by whoever wakes up (sched(7)). It can still be chosen where a thread
that was itself put aside has had its share, and then keeps the core until the next tick of the clock: 4 ms at the usual
250 Hz, several times what a plain request takes. So the thread that computes also gives the core away by itself, often.

Others keep a core that they have got for a slice, about a millisecond, but not from a thread whose slices are shorter.
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
_SLICE_NANOSECONDS = 100_000
"""The shortest that there is."""
_SLICE_CALLS = {"x86_64": (314, 315), "aarch64": (274, 275)}
"""Numbers of the system calls sched_setattr and sched_getattr, for which the C library has no functions."""
_TURN_SECONDS = 0.0005
"""Half of what a plain request takes: shorter turns gain nothing, and each end costs a microsecond or two."""


class _SchedulingAttributes(ctypes.Structure):
    """``struct sched_attr`` of sched_setattr(2), whose ``runtime`` is the length of a slice."""

    _fields_ = (
        ("size", ctypes.c_uint32),
        ("policy", ctypes.c_uint32),
        ("flags", ctypes.c_uint64),
        ("nice", ctypes.c_int32),
        ("priority", ctypes.c_uint32),
        ("runtime", ctypes.c_uint64),
        ("deadline", ctypes.c_uint64),
        ("period", ctypes.c_uint64),
    )


def wake_first() -> None:
    """Let the event loop, which is to run in this thread, have a core as soon as there is something for it to do.

    Decision 16. Threads that this one starts are like it, until they call ``yield_to_events``.
    """
    _set_slice(_SLICE_NANOSECONDS)


def _set_slice(nanoseconds: int) -> None:
    """Length of this thread's slices, where the system has that (Linux 6.12 and later); 0 for what is usual."""
    calls = _SLICE_CALLS.get(os.uname().machine)
    if sys.platform != "linux" or calls is None:
        return
    libc, attributes = ctypes.CDLL(None), _SchedulingAttributes()
    set_attributes, get_attributes = calls
    at = ctypes.byref(attributes)
    # A system that does not know the call, or a container that may not make it, refuses: it goes without.
    if libc.syscall(get_attributes, 0, at, ctypes.sizeof(attributes), 0) == 0:
        attributes.runtime = nanoseconds
        libc.syscall(set_attributes, 0, at, 0)


def yield_to_events(niceness: int = _THREAD_NICENESS) -> None:
    """Lower the priority of a computing thread, where threads have their own (Linux).

    A batch that takes a little longer is noticed by nobody; an event loop that waits for a core delays everybody.

    Args:
        niceness: how much nicer than its process it is to be.
    """
    if sys.platform == "linux":
        priority = os.getpriority(os.PRIO_PROCESS, 0) + niceness
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), priority)
        _set_slice(0)


def gently(work: Callable[[], T]) -> T:
    """Do some work in a thread of low priority, where threads have their own (Linux), and wait for it.

    A process of the service imports and loads on a core that those which serve meanwhile need as well. It could not
    raise its own priority again, so a thread has the low one, and ends. Others that compute have usual slices and would
    wait for the end of its own, so it gives its core away often. Takes SIGALRM, see ``short_turns``.
    """
    done: Future[T] = Future()

    def run() -> None:
        try:
            yield_to_events(_GENTLE_NICENESS)
            with short_turns():
                done.set_result(work())
        except BaseException as error:  # raised where somebody waits for it
            done.set_exception(error)

    # A timer's signal goes to any thread that lets it in; this one has nothing to give away.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})
    threading.Thread(target=run, name="gently").start()
    try:
        return done.result()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


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
