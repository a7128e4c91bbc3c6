"""What a timer looks at: it goes on, whatever one probe does, and each probe says what is so."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client import REGISTRY

from app import metrics, sampling
from app.model.gpu import gpu_reader
from tests.waiting import LIMIT

GPU = Path("/dev/nvidiactl")


def value(name: str, **labels: str) -> float:
    found = REGISTRY.get_sample_value(name, labels)
    assert found is not None
    return found


async def test_a_failing_probe_is_given_up_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A driver that breaks down costs its figures, never the engine; its traceback is logged once."""
    monkeypatch.setattr(sampling, "SAMPLE_SECONDS", 0.001)
    calls: list[str] = []

    def broken() -> None:
        calls.append("broken")
        raise RuntimeError("the driver is gone")

    task = asyncio.create_task(sampling.sample([broken, lambda: calls.append("good")]))
    deadline = time.monotonic() + LIMIT
    while calls.count("good") < 3:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.001)
    task.cancel()
    assert calls.count("broken") == 1
    assert [record.message for record in caplog.records if record.exc_info] == [
        "a probe failed and is given up; its metrics stand still"
    ]


def test_feedback_tells_how_much_there_is_and_may_be() -> None:
    """Looked at again each time: it grows and is deleted by others."""
    sizes = iter((7, 3))
    probe = sampling.feedback_probe(lambda: next(sizes), 100)
    for size in (7, 3):
        probe()
        assert value("sentiment_feedback_bytes") == size
    assert value("sentiment_feedback_limit_bytes") == 100


def test_a_process_tells_its_cpu_time_memory_and_sign_of_life() -> None:
    """CPU time is counted on from look to look; the sign of life is now."""
    probe = sampling.process_probe()
    probe()
    before = value("sentiment_process_cpu_seconds_total", role=metrics.process.role)
    used = time.process_time()
    while time.process_time() < used + 0.05:
        pass
    probe()
    assert value("sentiment_process_cpu_seconds_total", role=metrics.process.role) - before >= 0.05
    assert value("sentiment_process_resident_bytes", role=metrics.process.role) > 1e6
    assert abs(value("sentiment_process_seen_timestamp_seconds", process=metrics.process.name) - time.time()) < 60


def test_open_files_and_their_limit() -> None:
    """Each file that is open counts."""
    probe = sampling.process_probe()
    probe()
    before = value("sentiment_process_open_fds", role=metrics.process.role)
    with Path(__file__).open():
        probe()
        assert value("sentiment_process_open_fds", role=metrics.process.role) == before + 1
    assert value("sentiment_process_max_fds", role=metrics.process.role) >= before


def test_a_throttled_group(tmp_path: Path) -> None:
    """Counted from the first look on, in seconds; where the group has no such figures nothing is."""
    path = tmp_path / "cpu.stat"
    probe, before = sampling.throttle_probe(path), value("sentiment_cpu_throttled_seconds_total")
    probe()
    for throttled in (7_000_000, 7_500_000, 9_000_000):
        path.write_text(f"usage_usec 1\nnr_throttled 3\nthrottled_usec {throttled}\n")
        probe()
    assert value("sentiment_cpu_throttled_seconds_total") == before + 2
    path.write_text("usage_usec 1\n")
    probe()
    assert value("sentiment_cpu_throttled_seconds_total") == before + 2


@pytest.mark.parametrize(("queued", "rate", "expected"), [(0, 0.0, 0.0), (7, 0.0, 0.0), (300, 150.0, 2.0)])
def test_the_expected_wait(queued: int, rate: float, expected: float) -> None:
    """What waits over the measured rate; 0 while no rate is known."""
    sampling.queue_probe(SimpleNamespace(queued=queued, texts_per_second=rate))()
    assert value("sentiment_queue_expected_wait_seconds") == expected


def test_figures_of_a_gpu() -> None:
    """In base units, under the device's name; without a GPU only what the engine holds."""
    figures = SimpleNamespace(memory_used=2**30, memory=2**34, utilization=0.5, power=212.5)
    sampling.device_probe("cuda:7", lambda: 5, lambda: figures)()
    sampling.device_probe("cpu", lambda: 3, None)()
    assert value("sentiment_gpu_memory_used_bytes", device="cuda:7") == 2**30
    assert value("sentiment_gpu_memory_bytes", device="cuda:7") == 2**34
    assert value("sentiment_gpu_utilization_ratio", device="cuda:7") == 0.5
    assert value("sentiment_gpu_power_watts", device="cuda:7") == 212.5
    assert REGISTRY.get_sample_value("sentiment_gpu_power_watts", {"device": "cpu"}) is None
    assert value("sentiment_device_memory_bytes") == 3


@pytest.mark.skipif(GPU.exists(), reason="for machines without an NVIDIA GPU")
def test_without_a_gpu_nobody_reads_figures() -> None:
    """Neither on the CPU nor where CUDA is named and the driver is missing."""
    assert gpu_reader("cpu") is None
    assert gpu_reader("cuda") is None


@pytest.mark.skipif(not GPU.exists(), reason="needs an NVIDIA GPU")
def test_with_a_gpu_its_figures_are_plausible() -> None:
    """Read through the driver."""
    pytest.importorskip("pynvml")
    read = gpu_reader("cuda:0")
    assert read is not None
    figures = read()
    assert 0 < figures.memory_used <= figures.memory
    assert 0 <= figures.utilization <= 1
    assert 1 < figures.power < 2000
