"""The examples of the documentation do what is shown: their commands are run in front of a real service."""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import openpyxl
import pytest
import yaml

from app.keys import SCOPES, new_key
from tests.pictures import MODEL, STORE, served
from tests.service import Service, serving
from tests.test_documentation import PAGES as ALL_PAGES
from tests.test_documentation import ROOT

pytestmark = pytest.mark.extra

PAGES = [page for page in ALL_PAGES if page.name != "first-minutes.md"]
"""But for what ``benchmarks.newcomer`` ran, and wrote down with what it printed."""
ADDRESS = "http://127.0.0.1:8000"
PATIENCE = "300"
"""Seconds; the process that explains starts slowly where others compute."""
FENCE = re.compile(r"^```([a-z]*)\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
ELSEWHERE = {
    "make": "test_documentation.py holds the targets to the Makefile, CI runs them",
    "docker": "tests/containers",
    "pip": "what CI installs is what pyproject.toml says",
    "openapi-python-client": "test_clients.py runs it",
    "app serve": "every test here has one",
    "ray start": "tests/fleet has a cluster",
    "app ray-serve": "tests/fleet",
    "app ray-classify": "tests/fleet",
    "app train --preset": "hours; test_documentation.py parses it",
    "app train-reviews": "hours, and files of one's own; tests/training/reviews runs a small one",
    "app train --data reviews.csv": "the same with other names is run below",
    "app train --data feedback/reviews-gru.jsonl": "one text is too little to train on",
    "app evaluate reviews-gru/3 --data reviews.csv more.csv": "changes the store; tests/training/test_training.py",
    "mkdir -m 700 feedback": "the folder of feedback is there, as a service here needs it",
    "app models label": "changes the store; test_labels.py and test_models.py, as the next three",
    "app models promote": "",
    "app models roll-back": "",
    "app models show": "",
    "curl -X POST -H": "needs two versions of a model; test_switch.py",
    "deploy/upgrade": "tests/containers",
}
"""Commands that are not run here, by how they begin, and where they are looked after."""


class Example(NamedTuple):
    """Commands, and what is shown behind them."""

    page: str
    commands: list[str]
    answer: str | None


def blocks(language: str) -> list[tuple[Path, re.Match[str]]]:
    """All blocks of code in one language."""
    found = [(page, block) for page in PAGES for block in FENCE.finditer(page.read_text())]
    return [(page, block) for page, block in found if block[1] == language]


def examples() -> list[Example]:
    """Blocks without a language are commands; JSON right behind one is what its last command prints."""
    answers = {(page, block.start()): block[2] for page, block in blocks("json")}
    found = []
    for page, block in blocks(""):
        commands = [line for line in block[2].replace("\\\n", " ").splitlines() if line.strip()]
        found.append(Example(page.name, commands, answers.get((page, block.end()))))
    return found


EXAMPLES = examples()


class Program(NamedTuple):
    """A program in Python, and what it prints."""

    page: str
    code: str
    output: str


def programs() -> list[Program]:
    """Blocks of Python with a block of text right behind them."""
    printed = {(page, block.start()): block[2] for page, block in blocks("text")}
    found = [(page, block, printed.get((page, block.end()))) for page, block in blocks("python")]
    return [
        Program(page.name, block[2], output)
        for page, block, output in found
        if output is not None and page.name in PROGRAM_PAGES
    ]


PROGRAM_PAGES = {"README.md", "python.md"}
PROGRAMS = programs()


def is_run(command: str) -> bool:
    """Whether a command is run here."""
    words = [word for word in shlex.split(command, comments=True) if not re.match(r"[A-Z_]+=", word)]
    plain = " ".join(words).removeprefix(".venv/bin/").removeprefix("python -m ")
    return not any(plain.startswith(f"{start} ") or plain == start for start in ELSEWHERE)


RUN = [example for example in EXAMPLES if any(map(is_run, example.commands))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands are run: a few reviews, the model store, and programs by the names that are shown."""
    place = tmp_path_factory.mktemp("examples")
    rows = [("id", "review"), ("1", "A joy, from start to end."), ("2", "Dull and far too long.")]
    with (place / "reviews.csv").open("w", newline="") as table:
        csv.writer(table).writerows(rows)
    packed = gzip.compress((place / "reviews.csv").read_bytes())
    (place / "reviews").mkdir()
    for name in ("reviews.csv.gz", "reviews/one.csv.gz", "reviews/two.csv.gz"):
        (place / name).write_bytes(packed)
    lines = [json.dumps({"id": number, "review": {"text": text}}) + "\n" for number, text in rows[1:]]
    (place / "reviews.jsonl").write_text("".join(lines))
    book = openpyxl.Workbook()
    sheet = book.create_sheet("answers", 0)
    for row in rows:
        sheet.append(row)
    book.save(place / "answers.xlsx")
    shutil.copytree(ROOT / "docs" / "examples", place / "docs" / "examples")
    # Of the models only what is served, so that what is trained here goes nowhere else.
    shutil.copytree(STORE / served(), place / "model_store" / served())
    for name in (".venv/bin/python", "bin/python"):
        program = place / name
        program.parent.mkdir(parents=True)
        write_program(program, "")
    write_program(place / "bin" / "sentiment", "-m app")
    (place / "feedback").mkdir(0o700)
    (place / "text.txt").write_text("It works.")
    (place / ".curlrc").write_text("silent\nshow-error\nfail-with-body\n")
    return place


def write_program(path: Path, arguments: str) -> None:
    """Another name of this Python."""
    path.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {arguments} "$@"\n')
    path.chmod(0o755)


@pytest.fixture(scope="module")
def key(folder: Path) -> str:
    """A key that is in keys.txt, to which the commands add others."""
    text, kept = new_key("tests", SCOPES)
    (folder / "keys.txt").write_text(f"{kept.line}\n")
    return text


@pytest.fixture(scope="module")
def services(folder: Path, key: str) -> Iterator[dict[bool, Service]]:
    """The default model, by whether a key is needed."""
    store = folder / "model_store"
    keys = {"api_keys": str(folder / "keys.txt"), "feedback_folder": str(folder / "feedback")}
    with (
        serving(store, MODEL, workers="1", timeout=PATIENCE) as open_service,
        serving(store, MODEL, workers="1", timeout=PATIENCE, **keys) as guarded,
    ):
        yield {False: open_service, True: guarded}


def need_curl() -> None:
    """Skip without curl, but fail in CI."""
    if shutil.which("curl") is None:
        if os.environ.get("CI"):
            pytest.fail("there is no curl")
        pytest.skip("THE EXAMPLES ARE NOT TESTED: there is no curl")


def run(command: str, folder: Path, key: str, service: Service) -> str:
    """What a command prints; it must succeed."""
    ended = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", command.replace(ADDRESS, service.url)],
        cwd=folder,
        env={
            **os.environ,
            "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "HOME": str(folder),
            "KEY": key,
            "SENTIMENT_FEEDBACK_FOLDER": "feedback",
        },
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ended.returncode == 0, f"{command}\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout


def shortened(answer: Any) -> Any:
    """The same with three digits behind the point, as pages may show it."""
    if isinstance(answer, float):
        return round(answer, 3)
    if isinstance(answer, dict):
        return {name: shortened(value) for name, value in answer.items()}
    return [shortened(value) for value in answer] if isinstance(answer, list) else answer


def hold(shown: Any, real: Any, where: str = "") -> None:
    """The same fields in the same order, the same words and whole numbers; other numbers to the second digit."""
    assert type(shown) is type(real), where
    if isinstance(shown, dict):
        assert list(shown) == list(real), where
        for name in shown:
            hold(shown[name], real[name], f"{where}.{name}")
    elif isinstance(shown, list):
        assert len(shown) == len(real), where
        for index, (one, two) in enumerate(zip(shown, real, strict=True)):
            hold(one, two, f"{where}.{index}")
    elif isinstance(shown, float):
        assert shown == pytest.approx(real, abs=0.01, rel=0.01), where
    else:
        assert shown == real, where


@pytest.mark.parametrize("example", RUN, ids=[f"{example.page}: {example.commands[0][:40]}" for example in RUN])
def test_commands_do_what_is_shown(example: Example, folder: Path, key: str, services: dict[bool, Service]) -> None:
    """Each succeeds, and the last prints what stands behind it."""
    need_curl()
    guarded = any("$KEY" in command for command in example.commands)
    for left in folder.glob("scored*"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    output = ""
    for command in filter(is_run, example.commands):
        output = run(command, folder, key, services[guarded])
    if example.answer is not None:
        real = json.loads(output)
        print("really:", json.dumps(shortened(real)))
        hold(json.loads(example.answer), real)


@pytest.mark.parametrize("program", PROGRAMS, ids=[f"{one.page} {number}" for number, one in enumerate(PROGRAMS)])
def test_programs_print_what_is_shown(program: Program, folder: Path, key: str, services: dict[bool, Service]) -> None:
    """Each alone, to the last character; with a key out of the environment, where it takes one there."""
    guarded = 'environ["KEY"]' in program.code
    ended = subprocess.run(
        [sys.executable, "-c", program.code.replace(ADDRESS, services[guarded].url)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "KEY": key},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout == program.output


def test_every_block_is_looked_after() -> None:
    """Whatever is shown as code is run, parsed or printed somewhere; every excuse is needed by some command."""
    languages = {block[1] for page in PAGES for block in FENCE.finditer(page.read_text())}
    assert languages <= {"", "json", "yaml", "python", "text"}
    # test_clients.py runs those of clients.md.
    assert {page.name for page, _ in blocks("python")} == {"clients.md", *PROGRAM_PAGES}
    assert len(PROGRAMS) == len([page for page, _ in blocks("python") if page.name in PROGRAM_PAGES])
    assert len(blocks("json")) == len([example for example in EXAMPLES if example.answer is not None])
    for _, block in blocks("yaml"):
        assert yaml.safe_load(block[2])
    skipped = [command for example in EXAMPLES for command in example.commands if not is_run(command)]
    for start in ELSEWHERE:
        assert any(start in command for command in skipped), start
