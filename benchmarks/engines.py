"""How a machine's cores are used best: one engine, several, or processes that each do all; and how far engines scale.

``python -m benchmarks.engines layouts --corpus CORPUS [--rounds 5] [--seconds 5]`` measures, on the cores there are,
one engine with its HTTP workers, two engines with workers of their own, and as many equal processes as there are
cores, each with HTTP and engine in one, all of them on one listening socket (that layout is only here). Each figure is
of a service started for it, warmed up, loaded by wrk with different film reviews, and ended; layouts take turns in
every round. Needs wrk.

``python -m benchmarks.engines simulated [--cores 16 64]`` measures an engine with as many threads as it would have
there, whose forward pass is replaced by a sleep of its measured time, and computes from that what 1, 2, 4 and 8 of them
come to. Nothing of it is a measurement of a machine with so many cores.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import uvloop

from app.engine.admission import QueueLimits
from app.engine.batcher import MicroBatcher
from app.engine.client import RemoteEngine
from app.engine.engine_server import EngineServer
from app.engine.interface import ServedModel
from app.engine.queue import BatchLimits
from app.engine_process import make_batcher
from app.main import create_app, run_server
from app.model.runtimes import load_predictor
from app.process import sockets
from app.process.cores import usable_cores
from app.sentiment import TOKEN_TYPECODE, Scores, TextBatch, TokenIds
from app.settings import load_settings
from app.store import ModelStore
from app.training.corpus import load_corpus
from benchmarks import load
from benchmarks.deployed import serving
from benchmarks.machine import machine

_INLINE_SECONDS = 0.008
_WARM_UP_SECONDS = 1.0
_SET_TIMER_SLACK = 29
_MODEL = ServedModel("simulated/1", "0" * 32)
_LIMITS = QueueLimits(10**6, 10**9, 1e6)
_TOKENS = 222
"""Of a film review, on average."""
_IN_FLIGHT = 1024
"""Texts that are asked of a simulated engine at a time."""
_ENGINES = (1, 2, 4, 8)


@dataclass(frozen=True)
class Layout:
    """One way to use the cores.

    Attributes:
        name: in the table.
        program: arguments of the interpreter.
        environment: settings.
    """

    name: str
    program: tuple[str, ...]
    environment: dict[str, str]


def layouts(cores: int) -> list[Layout]:
    """Those that are compared, on so many cores."""
    serve = ("-m", "app", "serve")
    fewer, all_of_them = str(max(1, cores - 1)), str(max(2, cores))
    return [
        Layout(f"one engine, {fewer} HTTP workers", serve, {"SENTIMENT_ENGINES": "1", "SENTIMENT_WORKERS": fewer}),
        Layout(
            f"one engine, {all_of_them} HTTP workers",
            serve,
            {"SENTIMENT_ENGINES": "1", "SENTIMENT_WORKERS": all_of_them},
        ),
        Layout(
            f"two engines, {all_of_them} HTTP workers",
            serve,
            {"SENTIMENT_ENGINES": "2", "SENTIMENT_WORKERS": all_of_them},
        ),
        Layout(f"{all_of_them} equal processes", ("-m", "benchmarks.engines", "equal", all_of_them), {}),
    ]


def compare(options: argparse.Namespace) -> None:
    """Measure and print the table of the layouts."""
    if not load.available():
        raise SystemExit("wrk is needed")
    compared = layouts(usable_cores())
    found: dict[tuple[str, int], list[load.Load]] = {}
    with tempfile.TemporaryDirectory() as folder:
        bodies = Path(folder) / "bodies.jsonl"
        corpus = load_corpus(options.corpus)
        texts = [review.text for review in (*corpus.test, *corpus.train, *corpus.unsup)]
        bodies.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
        for number in range(options.rounds):
            for layout in compared[:: 1 if number % 2 == 0 else -1]:
                common = {"SENTIMENT_MODEL": options.model, "SENTIMENT_PORT": "0", "SENTIMENT_SHUTDOWN_GRACE": "0"}
                environment = {**common, "SENTIMENT_CACHE": "false", **layout.environment}
                with serving(Path.cwd(), environment, layout.program) as url:
                    target = f"{url}/classify"
                    skip = load.run(target, bodies, max(options.connections), _WARM_UP_SECONDS, 0).requests
                    for connections in options.connections:
                        measured = load.run(target, bodies, connections, options.seconds, skip)
                        if measured.errors:
                            raise RuntimeError(f"{layout.name}: {measured.errors} requests failed")
                        skip += measured.requests
                        found.setdefault((layout.name, connections), []).append(measured)
                        said = f"round {number + 1}: {layout.name}, {connections}: {measured.rate:,.0f}/s"
                        print(f"{said}, p99 {1000 * measured.p99:.1f} ms", file=sys.stderr, flush=True)
    print(f"{machine()}, load generator included; {options.model}; medians of {options.rounds} rounds (range)\n")
    print("| layout | connections | requests/s | p50, ms | p99, ms |\n|---|---|---|---|---|")
    for (name, connections), runs in found.items():
        cells = [
            _spread([run.rate for run in runs], "{:,.0f}"),
            _spread([1000 * run.p50 for run in runs], "{:.1f}"),
            _spread([1000 * run.p99 for run in runs], "{:.1f}"),
        ]
        print(f"| {name} | {connections} | {' | '.join(cells)} |")


def _spread(values: Sequence[float], form: str) -> str:
    middle, low, high = (form.format(value) for value in (statistics.median(values), min(values), max(values)))
    return f"{middle} ({low} to {high})"


def run_equal(options: argparse.Namespace) -> None:
    """Equal processes on one listening socket, until SIGTERM."""
    settings = load_settings()
    listener = sockets.bind(settings.host, settings.port)
    print(f"http://{settings.host}:{listener.getsockname()[1]}", flush=True)
    threads = max(1, usable_cores() // options.processes)
    command = [sys.executable, "-m", "benchmarks.engines", "_equal", str(listener.fileno())]
    environment = {**os.environ, "SENTIMENT_THREADS": str(settings.threads or threads)}
    children = [
        subprocess.Popen(command, pass_fds=[listener.fileno()], env=environment) for _ in range(options.processes)
    ]

    def end(*_: object) -> None:
        for child in children:
            child.terminate()

    signal.signal(signal.SIGTERM, end)
    for child in children:
        child.wait()


def run_one_of_equals(options: argparse.Namespace) -> None:
    """HTTP and engine in one process."""
    settings = load_settings()
    model = ModelStore(settings.model_store).open(settings.model)
    run_server(create_app(settings, make_batcher(model, settings, _INLINE_SECONDS)), settings, options.listener)


class Sleeping:
    """A predictor that takes its time and computes nothing.

    Args:
        seconds: for each text.
    """

    runtime, precision, device, pads = "simulated", "float32", "cpu", False

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def predict(self, batch: Sequence[TokenIds[int]]) -> list[Scores]:
        time.sleep(len(batch) * self._seconds)
        return [Scores((0.5, 0.5))] * len(batch)


def _sleep_exactly() -> None:
    """Timers of this thread and of those that it starts are late by nothing, instead of by 50 us."""
    ctypes.CDLL(None).prctl(_SET_TIMER_SLACK, 1, 0, 0, 0)


def _engine(path: Path, threads: int, seconds: float, told: Connection) -> None:
    """A simulated engine's process; says when it is ready, and at the end what it used of a core."""

    async def serve() -> None:
        batcher = MicroBatcher(lambda: [Sleeping(seconds)] * threads, BatchLimits(64, 16_384, 0.1, _LIMITS))
        await batcher.start()
        # What a sleep costs of a core is not what a forward pass does, and decides how many threads take texts at once.
        share = batcher._share  # noqa: SLF001
        observe = share.observe
        share.observe = lambda texts, _: observe(texts, texts * seconds)  # type: ignore[method-assign,assignment]
        server = EngineServer(batcher, _MODEL)
        await server.serve(path)
        told.send("ready")
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(ThreadPoolExecutor(1), told.recv)
        used = resource.getrusage(resource.RUSAGE_SELF)
        told.send(used.ru_utime + used.ru_stime)
        await server.close()

    _sleep_exactly()
    uvloop.run(serve())


async def _ask(path: Path, seconds: float) -> tuple[int, float]:
    """Keep an engine busy with single texts; how many were answered, and in which time."""
    remote = RemoteEngine([path], _LIMITS, _MODEL, tell=lambda *_: None)
    await remote.start()
    text = TextBatch(array(TOKEN_TYPECODE, [2]) * _TOKENS, [_TOKENS])
    answered, until = 0, time.monotonic() + seconds

    def again(_: object) -> None:
        nonlocal answered
        answered += 1
        if time.monotonic() < until:
            remote.submit(text, until + 60).add_done_callback(again)

    started = time.monotonic()
    for _ in range(_IN_FLIGHT):
        remote.submit(text, until + 60).add_done_callback(again)
    while remote._texts:  # noqa: ASYNC110, SLF001 - it has no event
        await asyncio.sleep(0.05)
    took = time.monotonic() - started
    await remote.close()
    return answered, took


def simulated(threads: int, forward: float, seconds: float) -> tuple[float, float]:
    """Texts per second of one engine with so many threads that sleep, and what a text costs it of a core.

    Args:
        threads: those that it has.
        forward: seconds of each text's forward pass.
        seconds: how long it is kept busy.
    """
    here, there = get_context("spawn").Pipe()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "engine.sock"
        process = get_context("spawn").Process(target=_engine, args=(path, threads, forward, there), daemon=True)
        process.start()
        here.recv()
        before = _cpu_seconds(process.pid or 0)
        answered, took = uvloop.run(_ask(path, seconds))
        here.send("end")
        used = here.recv() - before
        process.join()
    return answered / took, used / answered


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def forward_seconds(model: str, store: Path) -> float:
    """Seconds of a core that the forward pass of a text takes in batches of 16, the median of several."""
    predictor = load_predictor(ModelStore(store).open(model), "cpu")
    batch = [array(TOKEN_TYPECODE, range(2, 2 + _TOKENS))] * 16
    found = []
    for _ in range(50):
        started = time.thread_time()
        predictor.predict(batch)
        found.append((time.thread_time() - started) / len(batch))
    return statistics.median(found)


def simulate(options: argparse.Namespace) -> None:
    """Measure simulated engines and print what several come to."""
    forward = options.forward_us / 1e6 if options.forward_us else forward_seconds(options.model, options.store)
    shares = sorted({cores // engines for cores in options.cores for engines in _ENGINES})
    rates: dict[int, list[float]] = {}
    costs: dict[int, list[float]] = {}
    for number in range(options.rounds):
        for threads in shares[:: 1 if number % 2 == 0 else -1]:
            rate, cost = simulated(threads, forward, options.seconds)
            rates.setdefault(threads, []).append(rate)
            costs.setdefault(threads, []).append(1e6 * cost)
            print(f"round {number + 1}: {threads} threads: {rate:,.0f}/s", file=sys.stderr, flush=True)
    print(
        f"SIMULATED on {machine()}: each forward pass is a sleep of {1e6 * forward:.0f} us a text; single texts, "
        f"{_IN_FLIGHT} under way, medians of {options.rounds} rounds (range). Several engines are computed as so many "
        f"times one, and as no more than cores that need {options.cpu_seconds:g} s for 1,000 texts in all.\n"
    )
    print(
        "| cores | engines | threads of each | one engine, texts/s | its us of a core beside that | all engines "
        "| what the cores bring | texts/s |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for cores in options.cores:
        bound = 1000 * cores / options.cpu_seconds
        for engines in _ENGINES:
            one = rates[cores // engines]
            together = engines * statistics.median(one)
            print(
                f"| {cores} | {engines} | {cores // engines} | {_spread(one, '{:,.0f}')} "
                f"| {_spread(costs[cores // engines], '{:.0f}')} | {together:,.0f} "
                f"| {bound:,.0f} | {min(together, bound):,.0f} |"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    comparing = commands.add_parser("layouts", help="one engine, two, and equal processes on this machine")
    comparing.add_argument("--corpus", type=Path, required=True, help="archive or folder of the film reviews")
    comparing.add_argument("--connections", type=int, nargs="+", default=[1, 32, 128])
    comparing.set_defaults(run=compare)
    simulating = commands.add_parser("simulated", help="engines of larger machines, with sleeps for forward passes")
    simulating.add_argument("--cores", type=int, nargs="+", default=[16, 64])
    simulating.add_argument("--store", type=Path, default=Path("model_store"))
    simulating.add_argument("--forward-us", type=float, help="of a text; default: measured here, in batches of 16")
    simulating.add_argument("--cpu-seconds", type=float, default=0.2, help="of a core for 1,000 texts, all in all")
    simulating.set_defaults(run=simulate)
    for command in (comparing, simulating):
        command.add_argument("--model", default="imdb-gru/4", help="default: %(default)s")
        command.add_argument("--rounds", type=int, default=5)
        command.add_argument("--seconds", type=float, default=5)
    equal = commands.add_parser("equal")
    equal.add_argument("processes", type=int)
    equal.set_defaults(run=run_equal)
    one = commands.add_parser("_equal")
    one.add_argument("listener", type=int)
    one.set_defaults(run=run_one_of_equals)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
