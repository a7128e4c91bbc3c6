"""The comparison's own arithmetic: a wrong report would make every claim wrong."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmarks import bench, processes, report
from benchmarks.prepare import synthetic_texts, synthetic_words
from benchmarks.servers import all_servers

CONFIG = {
    "architecture": "gru",
    "embedding_size": 8,
    "hidden_size": 6,
    "layers": 1,
    "bidirectional": False,
    "vocabulary_size": 100,
    "max_tokens": 32,
}


def _load(server: str, number: int, rate: float, **changes: Any) -> dict[str, Any]:
    figures = {"p50": 0.002, "p90": 0.003, "p99": 0.004, "slowest": 0.005, "errors": 0, "memory": 100e6, "cpu": 1.0}
    counted = {"requests": int(rate), "seconds": 1.0, "rate": rate, "connections": 32}
    metrics = {"computed": int(rate), "hits": 0, "coalesced": 0, "batch_size": 8.0, "padding": 0.1}
    base = {"round": number, "server": server, "scenario": "unique", **figures, **counted, **metrics}
    return {**base, **changes}


@pytest.fixture
def document() -> dict[str, Any]:
    chosen = [server for server in all_servers() if server.key in ("ours", "mosec-torch-1", "mosec-torch-2")]
    roles = {server.key: "ours" if server.is_ours else "peer" for server in chosen}
    return {
        "date": "today",
        "command": "bench",
        "machine": "this",
        "versions": "these",
        "rounds": 3,
        "seconds": 1,
        "checkpoint": {"reference": "m/1", "config": CONFIG, "source": "synthetic", "texts": 9, "mean_tokens": 5},
        "connections": [32],
        "servers": [
            {"key": server.key, "title": server.title, "inside": server.inside, "role": roles[server.key]}
            for server in chosen
        ],
        "records": [
            *[_load("ours", number, rate) for number, rate in ((1, 800), (2, 1000), (3, 900))],
            *[_load("mosec-torch-1", number, 200) for number in (1, 2, 3)],
            *[_load("mosec-torch-2", number, 300, p99=0.016) for number in (1, 2, 3)],
        ],
        "failures": {},
    }


def test_medians_spread_and_ratio_to_the_best_peer(document: dict[str, Any]) -> None:
    text = report.render(document)
    assert "| **this service** | 900 (800 to 1000), 4.0 (4.0 to 4.0) | 1.11 (1.00 to 1.25) | 100 (100 to 100) |" in text
    assert "C=32: 3.00 times the requests/s of the best peer (mosec-torch-2), 0.25 of its p99" in text
    assert "CPU per text, C=32: 0.33 of the thriftiest peer's (mosec-torch-2)" in text


def test_a_cache_hit_or_a_missing_computation_is_not_proof(document: dict[str, Any]) -> None:
    assert "**no**" not in report.render(document)
    document["records"][0]["hits"] = 1
    document["records"][1]["computed"] -= 65
    assert report.render(document).count("**no**") == 2


def test_a_failed_server_is_named_and_left_out_of_the_table(document: dict[str, Any]) -> None:
    document["failures"] = {"mosec-torch-2": "not installed: no such version"}
    text = report.render(document)
    assert "- Mosec 0.9.8, 2 workers (mosec-torch-2): not installed: no such version" in text
    assert "best peer (mosec-torch-1)" in text


def test_write_replaces_only_the_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n", encoding="utf-8")
    monkeypatch.setattr(report, "README", readme)
    report.write("new\n")
    assert readme.read_text(encoding="utf-8") == f"before\n{report.BEGIN}\n\nnew\n\n{report.END}\nafter\n"


def test_the_readme_has_a_results_section() -> None:
    text = report.README.read_text(encoding="utf-8")
    assert text.index(report.BEGIN) < text.index(report.END)


def test_engine_figures_are_differences() -> None:
    before = {"sentiment_batch_size_sum": 10.0, "sentiment_batch_size_count": 5.0}
    after = {
        "sentiment_batch_size_sum": 40.0,
        "sentiment_batch_size_count": 10.0,
        "sentiment_computed_texts_total": 7.0,
        'sentiment_cache_lookups_total{result="hit",tier="memory"}': 3.0,
    }
    figures = bench.engine_figures(before, after)
    assert figures == {"computed": 7.0, "hits": 3.0, "coalesced": 0, "batch_size": 6.0, "padding": None}


def test_synthetic_texts_are_distinct_repeatable_and_follow_zipf() -> None:
    words = synthetic_words(1_000)
    assert len(set(words)) == 1_000
    texts = synthetic_texts(words, 200)
    assert texts == synthetic_texts(words, 200)
    assert len(set(texts)) == 200
    counts = Counter(" ".join(texts).lower().replace(".", "").split())
    assert counts[words[0]] > counts[words[20]] > counts[words[400]]


def test_a_process_tree_is_measured_and_ended_with_its_orphans() -> None:
    program = """
import subprocess, time
from benchmarks import processes
processes.adopt_orphans()
subprocess.Popen(["sh", "-c", "setsid sh -c 'while :; do :; done' & sleep 0.1"])
while sum(processes.cpu_seconds().values()) < 0.2 or len(processes.descendants()) > 1:
    time.sleep(0.05)
print(len(processes.descendants()), processes.memory_bytes() > 0)
processes.end_all(2)
print(len(processes.descendants()))
"""
    assert _run(program) == ["1", "True", "0"]


def test_processes_below_a_zombie_are_seen_and_ended() -> None:
    # The main thread ends, another goes on: a zombie that keeps its child, as servers are while they shut down.
    program = """
import subprocess, sys, time
from benchmarks import processes
processes.adopt_orphans()
child = (
    "import ctypes, subprocess, threading, time;"
    "threading.Thread(target=time.sleep, args=(60,), daemon=True).start();"
    "subprocess.Popen(['sleep', '60']);"
    "ctypes.CDLL(None).pthread_exit(None)"
)
zombie = subprocess.Popen([sys.executable, "-c", child], stderr=subprocess.DEVNULL)
while open(f"/proc/{zombie.pid}/stat").read().rpartition(")")[2].split()[0] != "Z":
    time.sleep(0.05)
print(len(processes.descendants()))
zombie.kill()
processes.end_all(2)
print(len(processes.descendants()))
"""
    assert _run(program) == ["1", "0"]


def test_no_figure_where_a_process_ended_meanwhile() -> None:
    assert processes.cpu_between({1: 5.0, 2: 1.0}, {1: 6.0, 2: 1.5}) == 1.5
    assert processes.cpu_between({1: 5.0, 2: 1.0}, {1: 6.0}) is None


def _run(program: str) -> list[str]:
    """Words a program prints in a process of its own: whoever adopts orphans keeps doing so."""
    finished = subprocess.run(
        [sys.executable, "-c", program],
        cwd=report.README.parent.parent,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return finished.stdout.split()


def test_a_free_port_can_be_listened_on() -> None:
    assert 1024 <= processes.free_port() <= 65535
