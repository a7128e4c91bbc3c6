"""Files: how near ``python -m app classify`` comes to the bare work, and what a file over HTTP costs everybody else.

    python -m benchmarks.files speed CORPUS [--rows 50000] [--rounds 3]
    python -m benchmarks.files http CORPUS [--rows 100000] [--connections 4 32] [--seconds 10] [--rounds 3]

CORPUS is the review corpus, an archive or a folder (default: SENTIMENT_CORPUS). Both print Markdown.

``speed`` scores a CSV file, and in turn tokenizes and classifies the same texts in one process on the same cores, all
texts in memory and sorted by length: tokenizing first, then the forward pass on all cores. It kills a run in the middle
too, lets it go on, and compares the result byte for byte. CPU time is that of the whole process for ``classify``,
start-up included, and that of the work alone for the other.

``http`` starts the service, and measures ``POST /classify`` with wrk, cache off, in turn without and with a file on
its way; then it sends a file alone and samples the memory of all processes of the service.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Self

import httpx

from app.process.cores import usable_cores
from app.settings import CORPUS_VARIABLE
from app.store import ModelStore
from app.training.corpus import load_corpus
from benchmarks import load
from benchmarks.inprocess import bare_work
from benchmarks.machine import machine, versions
from benchmarks.processes import free_port

_SAMPLE_SECONDS = 0.5
_READY_SECONDS = 60
_WARM_ROWS = 200
_LARGEST_NUMBER = sys.maxsize
_MIB = 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("speed", "http", "reference"))
    parser.add_argument("corpus", type=Path, nargs="?", default=os.environ.get(CORPUS_VARIABLE))
    parser.add_argument("--rows", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, nargs="+", default=[4, 32])
    parser.add_argument("--seconds", type=float, default=10.0)
    options = parser.parse_args()
    if options.corpus is None:
        parser.error(f"CORPUS, or {CORPUS_VARIABLE}, must name the review corpus")
    if options.what == "reference":
        print(json.dumps(reference(options.corpus)))
        return
    print(f"- {machine()}\n- {versions(['torch', 'numpy', 'pyarrow', 'uvicorn'])}\n")
    with tempfile.TemporaryDirectory() as folder:
        rows = options.rows or (50_000 if options.what == "speed" else 100_000)
        file = write_table(Path(folder) / "reviews.csv", options.corpus, rows)
        if options.what == "speed":
            speed(file, rows, options.rounds)
        else:
            http(file, rows, options)


def write_table(path: Path, corpus: Path, rows: int) -> Path:
    """A CSV file of reviews of the corpus, mixed; they come again where more rows are wanted than there are."""
    loaded = load_corpus(corpus)
    reviews = [*loaded.train, *loaded.validation, *loaded.test]
    csv.field_size_limit(_LARGEST_NUMBER)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "review", "truth"])
        # A step that shares no factor with the number of reviews visits each once before any comes again.
        for row in range(rows):
            review = reviews[row * 7919 % len(reviews)]
            writer.writerow([row, review.text, review.label])
    return path


def read_texts(path: Path) -> list[str]:
    """The texts of such a file."""
    with path.open(newline="", encoding="utf-8") as file:
        return [row["review"] for row in csv.DictReader(file)]


def reference(path: Path) -> dict[str, float]:
    """Seconds, of the clock and of the processor, to tokenize and classify all texts of a file."""
    model = ModelStore(Path("model_store")).open("imdb-gru")
    texts = read_texts(path)
    with bare_work(model, usable_cores()) as work:
        wall, cpu = time.perf_counter(), time.process_time()
        work(texts)
        return {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}


def speed(file: Path, rows: int, rounds: int) -> None:
    """Print the comparison, and whether a killed run comes to the same."""
    out = file.with_name("scored.csv")
    print("| round | classify: rows/s | the work alone: rows/s | ratio | CPU s | CPU s of the work | peak MB |")
    print("|---|---|---|---|---|---|---|")
    ratios = []
    for number in range(1, rounds + 1):
        out.unlink(missing_ok=True)
        ours = classify(file, out)
        command = [sys.executable, "-m", "benchmarks.files", "reference", str(file)]
        theirs = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        rate = rows / theirs["wall"]
        ratios.append(ours["rate"] / rate)
        cells = [str(number), f"{ours['rate']:,.0f}", f"{rate:,.0f}", f"{ratios[-1]:.2f}", f"{ours['cpu']:.1f}"]
        print("|", " | ".join([*cells, f"{theirs['cpu']:.1f}", f"{ours['peak'] / _MIB:.0f}"]), "|", flush=True)
    print(f"\nmedian ratio {statistics.median(ratios):.2f}")
    whole = out.read_bytes()
    out.unlink()
    resumed = killed_and_resumed(file, out, ours["seconds"])
    print(f"killed after {resumed:,} of {rows:,} rows and resumed: identical {out.read_bytes() == whole}")


def classify(file: Path, out: Path) -> dict[str, float]:
    """One run of the command: rows/s by its own summary, seconds, CPU seconds and peak memory of its process."""
    process = _command(file, out)
    started = time.perf_counter()
    assert process.stderr is not None
    said = process.stderr.read().decode()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    found = re.search(r"\(([\d,]+)/s\)", said)
    if process.returncode or found is None:
        raise RuntimeError(said)
    return {
        "rate": float(found[1].replace(",", "")),
        "seconds": time.perf_counter() - started,
        "cpu": used.ru_utime + used.ru_stime,
        "peak": used.ru_maxrss * 1024.0,
    }


def killed_and_resumed(file: Path, out: Path, seconds: float) -> int:
    """Kill a run in the middle, then run it to its end; the rows the first had done."""
    process = _command(file, out)
    time.sleep(seconds / 2)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    said = _command(file, out).communicate()[1].decode()
    found = re.search(r"([\d,]+) rows were done before", said)
    return int(found[1].replace(",", "")) if found else 0


def _command(file: Path, out: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "app", "classify", str(file), "--text-column", "review", "--out", str(out)]
    return subprocess.Popen(command, stderr=subprocess.PIPE)


def http(file: Path, rows: int, options: argparse.Namespace) -> None:
    """Print what a file costs others, and what it costs in memory."""
    bodies = file.with_name("bodies.jsonl")
    with bodies.open("w", encoding="utf-8") as lines:
        lines.writelines(json.dumps({"text": text}) + "\n" for text in read_texts(file)[:20_000])
    port = free_port()
    environment = {**os.environ, "SENTIMENT_PORT": str(port), "SENTIMENT_CACHE": "off", "SENTIMENT_LOG_LEVEL": "error"}
    service = subprocess.Popen([sys.executable, "-m", "app", "serve"], env=environment, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_until_ready(url)
        print(
            "| connections | p50 ms | beside a file | p99 ms | beside a file | ratio of p99 | req/s | beside a file |"
        )
        print("|---|---|---|---|---|---|---|---|")
        for connections in options.connections:
            print(_row(url, file, bodies, connections, options), flush=True)
        seconds, memory = whole_file(url, file, service.pid, rows)
        first, last = memory[len(memory) // 4], memory[-1]
        print(
            f"\n{rows:,} rows alone in {seconds:.1f} s ({rows / seconds:,.0f}/s); memory of all processes, MB: ", end=""
        )
        print(f"{memory[0]:.0f} before, {first:.0f} after a quarter, {last:.0f} at the end, {max(memory):.0f} at most")
    finally:
        service.terminate()
        service.wait(60)


def _row(url: str, file: Path, bodies: Path, connections: int, options: argparse.Namespace) -> str:
    alone, beside = [], []
    for number in range(options.rounds):
        alone.append(load.run(f"{url}/classify", bodies, connections, options.seconds, number * 6000))
        with Upload(url, file):
            beside.append(load.run(f"{url}/classify", bodies, connections, options.seconds, number * 6000 + 3000))

    def median(loads: list[load.Load], name: str) -> float:
        return float(statistics.median(getattr(one, name) for one in loads))

    p99 = median(alone, "p99"), median(beside, "p99")
    cells = [f"{1000 * median(loads, 'p50'):.1f}" for loads in (alone, beside)] + [
        f"{1000 * value:.1f}" for value in p99
    ]
    rates = [f"{median(loads, 'rate'):,.0f}" for loads in (alone, beside)]
    return f"| {connections} | {' | '.join(cells)} | {p99[1] / p99[0]:.2f} | {' | '.join(rates)} |"


class Upload:
    """Sends a file and reads its results, in a thread, until the block ends; entered when results come."""

    def __init__(self, url: str, file: Path) -> None:
        self._url = url
        self._file = file
        self._coming = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.rows = 0

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._coming.wait(_READY_SECONDS):
            raise RuntimeError("no results of the file came")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._coming.is_set() and not self.rows:
            raise RuntimeError("no results of the file came")

    def _run(self) -> None:
        parameters = {"format": "csv", "text_column": "review"}
        with self._file.open("rb") as file, httpx.Client(timeout=_READY_SECONDS) as client:
            content: Any = iter(lambda: file.read(_MIB), b"")
            with client.stream("POST", f"{self._url}/files", params=parameters, content=content) as response:
                response.raise_for_status()
                for line in response.iter_bytes():
                    self.rows += line.count(b"\n")
                    if self.rows >= _WARM_ROWS:
                        self._coming.set()
                    if self._stop.is_set():
                        return
        raise RuntimeError(f"the file ended after {self.rows} rows, while it was measured")


def whole_file(url: str, file: Path, pid: int, rows: int) -> tuple[float, list[float]]:
    """Send a file to its end: seconds, and the resident megabytes of the service's processes meanwhile."""
    memory, done = [_resident(pid)], threading.Event()

    def sample() -> None:
        while not done.wait(_SAMPLE_SECONDS):
            memory.append(_resident(pid))

    sampler = threading.Thread(target=sample)
    sampler.start()
    started, answered = time.perf_counter(), 0
    parameters = {"format": "csv", "text_column": "review"}
    try:
        with file.open("rb") as body, httpx.Client(timeout=_READY_SECONDS) as client:
            content: Any = iter(lambda: body.read(_MIB), b"")
            with client.stream("POST", f"{url}/files", params=parameters, content=content) as response:
                response.raise_for_status()
                for piece in response.iter_bytes():
                    answered += piece.count(b"\n")
    finally:
        done.set()
        sampler.join()
    if answered != rows:
        raise RuntimeError(f"{answered} rows came back, not {rows}")
    return time.perf_counter() - started, memory


def _resident(pid: int) -> float:
    """Proportional set size of a process and its children, in MB."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    total = 0
    for process in [str(pid), *children]:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii").splitlines()
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def _wait_until_ready(url: str) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}/health/ready").status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise RuntimeError("the service did not become ready")


if __name__ == "__main__":
    main()
