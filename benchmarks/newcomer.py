"""A newcomer's first minutes, on a fresh folder: install, three lines of Python, a file with its report, the image, a
question by HTTP; each with its time, what it printed, and what it takes of disk and memory.

``python -m benchmarks.newcomer [--write]``; ``--write`` puts the result into docs/first-minutes.md. Packages are
installed with the versions and hashes in requirements/serve.txt, without PyTorch. Without a Docker engine the image is
left out. ``CONTAINER_BUILD_OPTIONS`` are further options of ``docker build``, as for the tests.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "first-minutes.md"
IMAGE = "sentiment-service:first-minutes"
LINES = """from sentiment_service import Sentiment
sentiment = Sentiment()
print(sentiment.classify(["A lovely film.", "It broke after a day."]))
"""
ROWS = (
    "date,shop,review",
    "2026-01-05,north,A lovely film.",
    "2026-02-09,south,It broke after a day.",
    "2026-03-14,north,It is a chair.",
)
REVIEW = b'{"text": "A wonderful little film, I loved every minute."}'
_LIMIT = 1800.0
_WIDTH, _SHOWN = 110, 7


@dataclass(frozen=True)
class Step:
    """One thing that was typed.

    Attributes:
        title: what it is for.
        typed: the command, or the program.
        seconds: how long it took.
        said: what it printed.
        megabytes: the largest memory of its processes; 0 where that says nothing.
    """

    title: str
    typed: str
    seconds: float
    said: str
    megabytes: float = 0.0

    def markdown(self) -> str:
        """A section of the page."""
        memory = f", {self.megabytes:.0f} MB of memory" if self.megabytes else ""
        lines = [
            line if len(line) <= _WIDTH else f"{line[: _WIDTH - 4]} ..." for line in self.said.strip().splitlines()
        ]
        shown = [*lines[:_SHOWN], *(["..."] if len(lines) > _SHOWN else [])]
        return "\n".join(
            [
                f"## {self.title}",
                "",
                f"{self.seconds:.1f} s{memory}." if self.seconds >= 0.1 else "Less than 0.1 s.",
                "",
                "```",
                self.typed.strip(),
                "```",
                "",
                *(["```", *shown, "```", ""] if shown else []),
            ]
        )


def step(title: str, command: Sequence[str | Path], folder: Path, typed: str = "") -> Step:
    """Run a command as a newcomer would, and measure it; ends everything with what it complains where it fails."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SENTIMENT_", "PYTHON"))}
    started = time.monotonic()
    measured = [sys.executable, "-c", _MEASURED, *map(str, command)]
    ended = subprocess.run(
        measured, cwd=folder, env=environment, capture_output=True, text=True, timeout=_LIMIT, check=False
    )
    seconds = time.monotonic() - started
    if ended.returncode:
        raise SystemExit(f"{title} failed:\n{ended.stdout}\n{ended.stderr}")
    *said, memory = (ended.stdout + ended.stderr).rstrip().splitlines()
    found = Step(title, typed or shlex.join(map(str, command)), seconds, "\n".join(said), int(memory) / 1024)
    print(f"{found.seconds:7.1f} s  {found.megabytes:6.0f} MB  {title}", flush=True)
    return found


_MEASURED = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stderr=sys.stdout).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(code)
"""


def size(folder: Path) -> float:
    """Megabytes of the files in a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink()) / 1e6


def python_steps(folder: Path) -> Iterator[Step]:
    """The wheel, an environment with it, three lines, a file."""
    environment = folder / "environment"
    python, sentiment = environment / "bin" / "python", environment / "bin" / "sentiment"
    wheel = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(ROOT)]
    yield step("Build the wheel", wheel, folder, "pip wheel --no-deps .")
    [built] = folder.glob("*.whl")
    made = step(
        "A fresh environment", [sys.executable, "-m", "venv", environment], folder, "python -m venv environment"
    )
    yield made
    before = size(environment)
    pip: list[str | Path] = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    locked: list[str | Path] = [
        *pip,
        "--no-deps",
        "--require-hashes",
        "--requirement",
        str(ROOT / "requirements" / "serve.txt"),
    ]
    both = ["sh", "-c", f"{shlex.join(map(str, locked))} && {shlex.join(map(str, [*pip, '--no-deps', built]))}"]
    installed = step("Install, without PyTorch", both, folder, f"environment/bin/pip install {built.name}")
    said = f"wheel {built.stat().st_size / 1e6:.0f} MB; the environment grew by {size(environment) - before:.0f} MB"
    yield Step(installed.title, installed.typed, installed.seconds, said)
    (folder / "first.py").write_text(LINES, encoding="utf-8")
    yield step("Three lines of Python", [python, "first.py"], folder, LINES)
    (folder / "reviews.csv").write_text("\n".join((*ROWS, "")), encoding="utf-8")
    score: list[str | Path] = [sentiment, "classify", "reviews.csv", "--out", "scored.csv"]
    yield step("Score a file", score, folder, "sentiment classify reviews.csv --out scored.csv")
    yield step("And its report", [sentiment, "report", "scored.csv"], folder, "sentiment report scored.csv")


@contextmanager
def container() -> Iterator[tuple[str, str]]:
    """A started image: its identifier and address."""
    run = [
        "docker",
        "run",
        "--detach",
        "--read-only",
        "--tmpfs",
        "/tmp",
        "--cap-drop",
        "ALL",
        "--publish",
        "127.0.0.1::8000",
        IMAGE,
    ]
    name = subprocess.run(run, capture_output=True, text=True, timeout=_LIMIT, check=True).stdout.strip()
    try:
        port = subprocess.run(["docker", "port", name, "8000"], capture_output=True, text=True, timeout=60, check=True)
        yield name, f"http://{port.stdout.split()[0]}"
    finally:
        subprocess.run(["docker", "rm", "--force", name], capture_output=True, timeout=60, check=False)


def image_steps() -> Iterator[Step]:
    """The smaller image, started, and asked."""
    given = shlex.split(os.environ.get("CONTAINER_BUILD_OPTIONS", ""))
    build = ["docker", "build", "--quiet", "--no-cache", "--target", "slim", "--tag", IMAGE, *given, str(ROOT)]
    built = step("Build the image", build, ROOT, "docker build --target slim --tag sentiment-service .")
    taken = subprocess.run(
        ["docker", "image", "inspect", "--format", "{{.Size}}", IMAGE],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    yield Step(built.title, built.typed, built.seconds, f"{int(taken.stdout) / 1e6:.0f} MB, its base image among them")
    started = time.monotonic()
    with container() as (name, url):
        while not _ready(url):
            if time.monotonic() - started > 300:
                raise SystemExit("the image does not become ready")
            time.sleep(0.05)
        seconds = time.monotonic() - started
        memory = subprocess.run(
            ["docker", "stats", "--no-stream", "--format", "{{.MemUsage}}", name],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        yield Step(
            "Start it",
            "docker run --read-only --tmpfs /tmp --cap-drop ALL --publish 8000:8000 sentiment-service",
            seconds,
            f"ready; memory {memory.stdout.split(' /')[0].strip()}",
        )
        asked = time.monotonic()
        request = urllib.request.Request(f"{url}/classify", REVIEW, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            said = json.dumps(json.load(answer), indent=1)
        yield Step(
            "Ask it",
            f"curl http://127.0.0.1:8000/classify -H 'Content-Type: application/json' \\\n     -d '{REVIEW.decode()}'",
            time.monotonic() - asked,
            said,
        )


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health/ready", timeout=5) as answer:
            return int(answer.status) == 200
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return False


def main() -> None:
    """Run it, and print or write the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        steps = list(python_steps(Path(folder)))
    engine = (
        shutil.which("docker")
        and not subprocess.run(["docker", "info"], capture_output=True, timeout=60, check=False).returncode
    )
    steps += list(image_steps()) if engine else []
    cores = {1: "one", 2: "two", 4: "four", 8: "eight"}.get(len(os.sched_getaffinity(0)), "many")
    text = "\n".join(
        [
            "# First minutes",
            "",
            "What a newcomer types, how long it takes, and what it prints: one run of",
            f"`python -m benchmarks.newcomer --write` on {cores} cores, with near packages and no build cache.",
            f"The machine had other work (load average {os.getloadavg()[2]:.0f}). Memory is of the largest process.",
            "" if engine else "There was no Docker engine.\n",
            *(found.markdown() for found in steps),
        ]
    )
    print(text)
    if arguments.write:
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
