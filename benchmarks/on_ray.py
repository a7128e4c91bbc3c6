"""The service and bulk work on a Ray cluster of two nodes on this machine, beside the same without Ray.

``python -m benchmarks.on_ray serve`` [--rounds 5] [--seconds 5]: requests/s of one text each, no text twice, over 32
connections, of `ray-serve` and of plain `serve`; both run all the time and take turns in every round. Needs wrk.

``python -m benchmarks.on_ray bulk`` [--rows 1000000]: so many rows in 20 files by `ray-classify`, a node killed with
SIGKILL when a third of them is done, then by `classify`; the results must be the same to the byte.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import load
from benchmarks.deployed import serving
from benchmarks.processes import free_port
from benchmarks.ray_cluster import ROOT, RayCluster, environment, ray_cluster

FILES = 20
CONNECTIONS = 32
_CORES = 2
_BODIES = 200_000
_WARM_UP_SECONDS = 2.0
_WORDS = (
    *(
        "good",
        "bad",
        "plot",
        "film",
        "acting",
        "dull",
        "lovely",
        "story",
        "awful",
        "great",
        "never",
        "the",
        "it",
        "was",
    ),
    *("and", "music", "end", "loved", "boring", "of", "to", "this", "in", "that", "watch", "time", "best", "worst"),
    *("not", "very", "just", "with", "some", "have", "scene", "director", "waste", "really", "characters", "again"),
)


def made_up(chance: random.Random, fewest: int, most: int) -> str:
    """A text of so many words."""
    return " ".join(chance.choices(_WORDS, k=chance.randint(fewest, most)))


@contextmanager
def on_cluster(cluster: RayCluster, variables: dict[str, str]) -> Iterator[str]:
    """Address of the service on both nodes."""
    port = free_port()
    pools = ["--proxies", "head-only", "--engines", "2", "--fronts", "2", "--engine-cpus", "1.5", "--front-cpus", "0.5"]
    subprocess.run(
        [sys.executable, "-m", "app", "ray-serve", "--address", cluster.address, *pools],
        cwd=ROOT,
        env={**environment(), **variables, "SENTIMENT_PORT": str(port)},
        check=True,
        timeout=600,
    )
    yield f"http://127.0.0.1:{port}"


def compare(rounds: int, seconds: float) -> None:
    """Print requests/s of both."""
    chance = random.Random(1)
    variables = {"SENTIMENT_CACHE": "off"}
    found: dict[str, list[load.Load]] = {"serve": [], "ray-serve": []}
    with tempfile.TemporaryDirectory() as folder, ray_cluster(_CORES) as cluster:
        bodies = Path(folder) / "bodies.jsonl"
        with bodies.open("w") as file:
            file.writelines(json.dumps({"text": made_up(chance, 100, 200)}) + "\n" for _ in range(_BODIES))
        with serving(ROOT, {**variables, "SENTIMENT_PORT": "0"}) as plain, on_cluster(cluster, variables) as ray:
            skip = 0
            for number in range(-1, rounds):
                for name, url in (("serve", plain), ("ray-serve", ray))[:: 1 if number % 2 else -1]:
                    interval = seconds if number >= 0 else _WARM_UP_SECONDS
                    one = load.run(f"{url}/classify", bodies, CONNECTIONS, interval, skip)
                    skip += one.requests
                    if number >= 0:
                        found[name].append(one)
                        print(f"round {number + 1}: {name}: {one.rate:,.0f}/s, {one.errors} errors", file=sys.stderr)
    print("| | requests/s | p50 | p99 | of serve |\n|---|---|---|---|---|")
    base = statistics.median(one.rate for one in found["serve"])
    for name, loads in found.items():
        rates = [one.rate for one in loads]
        p50, p99 = (statistics.median(getattr(one, part) for one in loads) * 1000 for part in ("p50", "p99"))
        middle = statistics.median(rates)
        spread = f"{middle:,.0f} ({min(rates):,.0f} to {max(rates):,.0f})"
        print(f"| `{name}` | {spread} | {p50:.1f} ms | {p99:.1f} ms | {middle / base:.2f} |")


def bulk(rows: int) -> None:
    """Score files with a node that dies, and compare."""
    chance = random.Random(1)
    with tempfile.TemporaryDirectory() as place, ray_cluster(_CORES) as cluster:
        folder = Path(place)
        (folder / "in").mkdir()
        for number in range(FILES):
            with (folder / "in" / f"{number:02}.csv").open("w", newline="") as file:
                table = csv.writer(file)
                table.writerow(("id", "review"))
                first, end = number * rows // FILES, (number + 1) * rows // FILES
                table.writerows((row, made_up(chance, 3, 12)) for row in range(first, end))
        seconds = _on_ray(cluster, folder)
        started = time.monotonic()
        _finish(_command("classify", folder, "local"))
        local = time.monotonic() - started
        out = {path.name: path.read_bytes() for path in (folder / "out").iterdir()}
        same = out == {path.name: path.read_bytes() for path in (folder / "local").iterdir()}
        counted = sum(data.count(b"\n") - 1 for data in out.values())
    print(f"{counted:,} rows in {len(out)} files, a node killed: {seconds:.0f} s; classify alone {local:.0f} s")
    print("the results are the same to the byte" if same else "THE RESULTS DIFFER")
    if not same or counted != rows:
        raise SystemExit(1)


def _command(command: str, folder: Path, out: str, *options: str) -> subprocess.Popen[str]:
    inputs = [str(folder / "in" / "*.csv"), "--out", f"{folder / out}/", *options]
    arguments = [sys.executable, "-m", "app", command, *inputs]
    return subprocess.Popen(arguments, cwd=ROOT, env=environment(), stderr=subprocess.PIPE, text=True)


def _finish(process: subprocess.Popen[str]) -> None:
    said = process.communicate()[1]
    if process.returncode:
        raise RuntimeError(said)


def _on_ray(cluster: RayCluster, folder: Path) -> float:
    """Seconds until all files are scored; a node is killed when a third of them is."""
    started = time.monotonic()
    process = _command("ray-classify", folder, "out", "--address", cluster.address)
    assert process.stderr is not None
    done = 0
    for line in process.stderr:
        sys.stderr.write(f"{time.monotonic() - started:6.1f} s  {line}")
        done += "written to" in line
        if done == FILES // 3 and "written to" in line:
            cut = [path.name for path in (folder / "out").glob("*.partial")]
            cluster.kill_second()
            sys.stderr.write(f"a node is killed; under way: {', '.join(sorted(cut))}\n")
    _finish(process)
    return time.monotonic() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("serve", "bulk"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rows", type=int, default=1_000_000)
    options = parser.parse_args()
    if options.what == "serve":
        compare(options.rounds, options.seconds)
    else:
        bulk(options.rows)


if __name__ == "__main__":
    main()
