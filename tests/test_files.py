"""Files through the whole service in its real processes: answers, disconnections, an engine that dies on the way."""

from __future__ import annotations

import itertools
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.checkpoints import WORDS
from tests.service import Service, serving

ROWS = 3000
PARAMETERS = {"format": "csv", "text_column": "review"}


def table(rows: int) -> bytes:
    words = itertools.cycle(WORDS[:17])
    return b"id,review\n" + b"".join(b"%d,%s film %d\n" % (row, next(words).encode(), row) for row in range(rows))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


@pytest.fixture(scope="module")
def service(tiny_store: Path, folder: Path) -> Iterator[Service]:
    """One worker that takes one file at a time."""
    with serving(tiny_store, workers="1", max_transfers="1", file_folder=str(folder), max_queue="400") as running:
        yield running
        output = running.output.read_text()
        assert "Traceback" not in output


def check(rows: list[str], expected: int = ROWS) -> None:
    found = [json.loads(row) for row in rows]
    assert [row["id"] for row in found] == [str(number) for number in range(expected)]
    assert all(row["label"] in ("negative", "positive") and row["error"] is None for row in found)


def test_a_file_beside_requests(service: Service, folder: Path) -> None:
    """An upload of unknown length comes back whole and in order while others are answered; nothing stays on disk."""
    data = table(ROWS)
    pieces = (data[start : start + 10_000] for start in range(0, len(data), 10_000))
    rows = []
    with (
        httpx.Client(base_url=service.url, timeout=30) as client,
        client.stream("POST", "/files", params=PARAMETERS, content=pieces) as response,
    ):
        assert response.headers["x-rows"] == str(ROWS)
        for row in response.iter_lines():
            rows.append(row)
            if len(rows) % 1000 == 0:
                answered = httpx.post(f"{service.url}/classify", json={"text": f"a good film {len(rows)}"}, timeout=30)
                assert answered.status_code == 200
    check(rows)
    assert not list(folder.iterdir())
    assert service.metrics()["sentiment_file_rows_total"] >= ROWS


def test_the_same_scores_as_one_by_one(service: Service) -> None:
    """A file is another way to ask, not another answer."""
    response = httpx.post(f"{service.url}/files", params={"format": "csv"}, content=b"text\na good film\n", timeout=30)
    [row] = response.text.splitlines()
    single = httpx.post(f"{service.url}/classify", json={"text": "a good film"}, timeout=30).json()
    assert json.loads(row)["score"] == pytest.approx(single["score"], abs=1e-6)


def test_a_client_that_leaves_makes_room(service: Service) -> None:
    """For the only file that may be there at once."""
    with httpx.stream("POST", f"{service.url}/files", params=PARAMETERS, content=table(50_000), timeout=60) as response:
        rows = response.iter_lines()
        next(rows)
        refused = httpx.post(f"{service.url}/files", params=PARAMETERS, content=table(1), timeout=30)
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) >= 1
    deadline = time.monotonic() + 30
    while httpx.post(f"{service.url}/files", params=PARAMETERS, content=table(1), timeout=30).status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    # The place is given back before the outcome is counted.
    while not service.metrics().get('sentiment_files_total{outcome="abandoned"}'):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_an_engine_that_dies_costs_no_row(service: Service) -> None:
    """Its successor is waited for."""
    rows = []
    with httpx.stream("POST", f"{service.url}/files", params=PARAMETERS, content=table(ROWS), timeout=60) as response:
        for row in response.iter_lines():
            rows.append(row)
            if len(rows) == 100:
                os.kill(service.children("engine")[0], signal.SIGKILL)
    check(rows)
