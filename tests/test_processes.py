"""The processes of one service as one: the same model, what each says of itself, pauses, and how they are ended."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.chaos.program import BREAK_VARIABLE
from tests.checkpoints import add_checkpoint
from tests.service import Service, serving
from tests.waiting import wait_until

REVIEW = {"text": "a very good film"}


def replaced(service: Service, role: str) -> None:
    """Kill a process, and wait until another one has taken its place and the service is ready."""
    [victim] = service.children(role)
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: service.children(role) not in ([], [victim]), "never replaced")
    service.wait_ready()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("processes")
    add_checkpoint(root, seed=1)
    return root


@pytest.fixture(scope="module")
def service(store: Path) -> Iterator[Service]:
    """One worker, no cache, and an explainer that soon has nothing to do; the model is named without its version."""
    with serving(store, workers="1", cache="off", explain_idle="1", precision="float32") as running:
        yield running


def test_a_version_stored_meanwhile_is_for_the_next_start(service: Service, store: Path) -> None:
    """Whichever process is started again, or for the first time, serves what the supervisor resolved."""

    def ask(**more: object) -> dict[str, object]:
        answer = httpx.post(f"{service.url}/classify", json={**REVIEW, **more}, timeout=60)
        assert answer.status_code == 200
        document: dict[str, object] = answer.json()
        return document

    before = ask()
    add_checkpoint(store, seed=2)
    replaced(service, "engine")
    assert ask() == before
    replaced(service, "worker")
    assert ask() == before
    explained = ask(explain=["tokens"])["explanation"]
    assert isinstance(explained, dict)
    [positive] = [before["scores"]["positive"]]  # type: ignore[index]
    target = before["score"] if before["label"] != "positive" else positive
    odds = explained["log_odds"]["text"]
    assert 1 / (1 + 2.718281828459045**-odds) == pytest.approx(target, abs=1e-3)
    found = service.metrics()
    [served] = [name for name in found if name.startswith("sentiment_model_info")]
    assert 'version="1"' in served
    assert [value for name, value in found.items() if "model_mismatches" in name] == [0, 0]


def test_what_a_killed_process_counted_as_present_is_gone(service: Service) -> None:
    """A file that its worker was at is not in progress any more, and an explainer that ended holds no memory."""
    memory, numbers = 'sentiment_process_resident_bytes{role="explainer"}', itertools.count()

    def sampled() -> bool:
        # It ends by itself a second after the last question.
        document = {"text": f"a very good film {next(numbers)}", "explain": ["tokens"]}
        httpx.post(f"{service.url}/classify", json=document)
        return service.metrics().get(memory, 0) > 1e7

    wait_until(sampled, "never sampled")
    stop = threading.Event()

    def rows() -> Iterator[bytes]:
        yield b"text\n"
        while not stop.wait(0.05):
            yield b"good film\n"

    def send() -> None:
        with pytest.raises(httpx.TransportError):
            httpx.post(f"{service.url}/files?format=csv&text_column=text", content=rows(), timeout=60)

    sender = threading.Thread(target=send)
    sender.start()
    wait_until(lambda: service.metrics()["sentiment_files_in_progress"] == 1, "never begun")
    replaced(service, "worker")
    stop.set()
    sender.join(60)
    assert service.metrics()["sentiment_files_in_progress"] == 0
    wait_until(lambda: not service.children("explainer"), "never ended")
    wait_until(lambda: memory not in service.metrics(), "remembered for ever")
    assert 'sentiment_process_cpu_seconds_total{role="explainer"}' in service.metrics(), "counters stay"


def test_a_fork_server_that_is_gone_is_replaced_when_it_is_needed(service: Service) -> None:
    """It is no part of serving: its end is noticed when the next child is wanted."""
    [killed] = service.children("fork-server")
    os.kill(killed, signal.SIGKILL)
    assert httpx.post(f"{service.url}/classify", json=REVIEW, timeout=60).status_code == 200
    for role in ("engine", "worker"):
        replaced(service, role)
    [other] = service.children("fork-server")
    assert other != killed
    assert httpx.post(f"{service.url}/classify", json=REVIEW, timeout=60).status_code == 200


def test_a_pause_of_all_processes_kills_nobody_and_a_hangup_drains(
    request: pytest.FixtureRequest, tiny_store: Path
) -> None:
    """What stood still together (a paused container, a stopped group) goes on together. SIGHUP is like SIGTERM."""
    # Where the tests themselves run under nohup, the service would inherit that SIGHUP is ignored, and mean it.
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    request.addfinalizer(lambda: signal.signal(signal.SIGHUP, before))
    with serving(tiny_store, workers="1", engine_timeout="3") as service:
        # Only who gave a sign of life is measured by the limit.
        wait_until(lambda: '"serving tiny/1' in service.output.read_text(), "never serving")
        time.sleep(0.5)
        children = [*service.children("engine"), *service.children("worker")]
        everybody = [service.process.pid, *children]
        for pid in everybody:
            os.kill(pid, signal.SIGSTOP)
        time.sleep(4)
        for pid in everybody:
            os.kill(pid, signal.SIGCONT)
        wait_until(lambda: "stood still" in service.output.read_text(), "never noticed")
        service.wait_ready()
        assert httpx.post(f"{service.url}/classify", json=REVIEW).status_code == 200
        assert [*service.children("engine"), *service.children("worker")] == children
        assert "no sign of life" not in service.output.read_text()
        # A terminal that closes may send it twice; that is no second wish.
        for _ in range(2):
            service.process.send_signal(signal.SIGHUP)
        assert service.process.wait(60) == 0


def test_an_engine_whose_predictor_is_dead_is_replaced(
    tiny_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every forward pass fails from some moment on: the process ends, and the next one answers what was asked."""
    order = tmp_path / "break"
    monkeypatch.setenv(BREAK_VARIABLE, str(order))
    with serving(tiny_store, program=("-m", "tests.chaos.program"), workers="1", cache="off") as service:
        [engine] = service.children("engine")
        order.touch()
        answer = httpx.post(f"{service.url}/classify", json=REVIEW, timeout=60)
        assert answer.status_code == 200
        assert service.children("engine") != [engine]
        found = service.metrics()
        assert found['sentiment_inference_errors_total{reason="dead"}'] == 1
        assert found['sentiment_process_restarts_total{engine="0",role="engine"}'] == 1
        assert "the predictor is given up" in service.output.read_text()


def started(command: str, **variables: str) -> subprocess.Popen[str]:
    """The service started by a shell, with what it does to files and signals."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SENTIMENT_")}
    environment |= {"SENTIMENT_PORT": "0", "SENTIMENT_SHUTDOWN_GRACE": "0", "SENTIMENT_WORKERS": "1", **variables}
    shell = ["sh", "-c", command.replace("SERVE", f"exec {sys.executable} -m app serve")]
    return subprocess.Popen(shell, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_closed_standard_error_is_no_obstacle(tiny_store: Path) -> None:
    """``2>&-``: the service starts, answers and ends in order."""
    process = started("SERVE 2>&-", SENTIMENT_MODEL_STORE=str(tiny_store), SENTIMENT_MODEL="tiny")
    try:
        assert process.stdout is not None
        url = process.stdout.readline().split()[-1]

        def ready() -> bool:
            assert process.poll() is None, "ended"
            return httpx.get(f"{url}/health/ready", timeout=60).status_code == 200

        wait_until(ready, "never ready")
        assert httpx.post(f"{url}/classify", json=REVIEW, timeout=60).status_code == 200
        process.terminate()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("length", [120, 200])
def test_a_long_temporary_folder_is_named(tiny_store: Path, tmp_path: Path, length: int) -> None:
    """Sockets do not fit into it: one line says what to set, before anybody is promised an address."""
    folder = tmp_path / ("t" * (length - len(str(tmp_path)) - 1))
    folder.mkdir()
    variables = {"SENTIMENT_MODEL_STORE": str(tiny_store), "SENTIMENT_MODEL": "tiny", "TMPDIR": str(folder)}
    output, errors = started("SERVE", **variables).communicate(timeout=60)
    assert output == ""
    assert errors.startswith(f"error: TMPDIR: {folder} is too long")
    assert errors.count("\n") == 1
    assert list(folder.iterdir()) == []
