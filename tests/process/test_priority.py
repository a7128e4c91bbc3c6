"""Giving way: the process comes last, and the thread that computes gives its core away often."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import threading

import pytest

from app.process import priority
from app.process.priority import gently

PROGRAM = """
import json, os, signal, threading, time
from app.process.priority import give_way, short_turns

def blocked():
    return signal.SIGALRM in signal.pthread_sigmask(signal.SIG_BLOCK, [])

def busy():
    end = time.monotonic() + 0.1
    while time.monotonic() < end:
        sum(range(100_000))

def compute():
    found["blocked"] = [blocked()]
    busy()
    with short_turns():
        found["blocked"].append(blocked())
        found["timer"] = signal.getitimer(signal.ITIMER_REAL)[1]
        busy()
    found["blocked"].append(blocked())
    found["timer afterwards"] = signal.getitimer(signal.ITIMER_REAL)

give_way()
found = {"nice": os.nice(0), "idle": os.sched_getscheduler(0) == os.SCHED_IDLE}
thread = threading.Thread(target=compute)
thread.start()
thread.join()
found["main thread blocked"] = blocked()
print(json.dumps(found))
"""


def test_a_process_that_gives_way() -> None:
    """It is in the idle class; its timer ticks for the thread that computes, while it does, and disturbs no other."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=300, check=True)
    assert json.loads(done.stdout) == {
        "nice": 19,
        "idle": True,
        "blocked": [True, False, True],
        "timer": 0.0005,
        "timer afterwards": [0.0, 0.0],
        "main thread blocked": True,
    }


def test_turns_are_short() -> None:
    """Beside another busy process on the same core, turns end more often than by themselves."""
    program = """
import json, os, resource, time
from app.process.priority import short_turns

os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
other = os.fork()
if not other:
    end = time.monotonic() + 300
    while time.monotonic() < end:
        pass
    os._exit(0)

def turns():
    before = resource.getrusage(resource.RUSAGE_THREAD)
    end = time.thread_time() + 0.1
    while time.thread_time() < end:
        pass
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw - before.ru_nivcsw

plain = turns()
with short_turns():
    short = turns()
os.kill(other, 9)
os.waitpid(other, 0)
print(json.dumps([plain, short]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=True)
    plain, short = json.loads(done.stdout)
    assert short > plain


def test_gentle_work_has_a_low_priority_and_nobody_else() -> None:
    """What it gives, or raises, is given to whoever waits for it; whose own priority stays."""
    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    assert gently(niceness) == (10 if sys.platform == "linux" else before)
    assert niceness() == before
    with pytest.raises(ZeroDivisionError):
        gently(lambda: 1 // 0)


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no priority of their own")
def test_gentle_work_in_a_process_of_low_priority() -> None:
    """No thread may raise its priority, so it lowers that of its process further."""
    program = """
import os, threading
from app.process import priority
from app.process.priority import gently

os.nice(15)
print(gently(lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id())))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout == "19\n"


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no slices to ask for")
def test_slices() -> None:
    """An event loop's are the shortest where the system has that; those of a thread that computes are usual."""
    found: dict[str, int] = {}

    def slice_now() -> int:
        """0 where the system does not know of any."""
        attributes = priority._SchedulingAttributes()
        calls = priority._SLICE_CALLS[os.uname().machine]
        size = ctypes.sizeof(attributes)
        assert ctypes.CDLL(None).syscall(calls[1], 0, ctypes.byref(attributes), size, 0) == 0
        assert attributes.nice == os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        return int(attributes.runtime)

    def loop() -> None:
        found["usual"] = slice_now()
        priority.wake_first()
        found["loop"] = slice_now()
        thread = threading.Thread(target=compute)
        thread.start()
        thread.join()

    def compute() -> None:
        priority.yield_to_events()
        found["computing"] = slice_now()

    thread = threading.Thread(target=loop)
    thread.start()
    thread.join()
    assert found["computing"] == found["usual"]
    assert found["loop"] == (priority._SLICE_NANOSECONDS if found["usual"] else 0)


def test_a_system_without_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is asked for, and nothing fails."""
    monkeypatch.setattr(priority, "_SLICE_CALLS", {})
    priority.wake_first()
    monkeypatch.setattr(priority, "_SLICE_CALLS", {os.uname().machine: (1_000_000, 1_000_001)})
    priority.wake_first()
