"""The programs in examples/ do what they are there for: each is run as it stands, in front of a real service."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.monitoring.stack import program
from tests.pictures import MODEL, STORE
from tests.service import Service, serving
from tests.test_documentation import ROOT
from tests.test_examples import folder as folder

pytestmark = pytest.mark.extra

EXAMPLES = ROOT / "examples"
RUN = {
    "in_process.py": (
        *("positive ok Great", "negative ok Broke", "neutral .* It arrived", "- blank_text"),
        *("positive The room", "negative The breakfast"),
    ),
    "data_frame.py": (
        *("north positive", "north positive", "south negative", "- - empty_cell"),
        "'north': True, 'south': False",
    ),
    "over_http.py": ("positive", "negative", "positive", "negative"),
    "classify.sh": (
        *('"label":"positive"', '"label":"negative"', '"code":"blank_text"'),
        *("review,label", "value!,positive", "days.,negative"),
    ),
    "classify.mjs": ("positive ok", "negative ok", "blank_text"),
}
"""What each prints, as patterns in this order; spaces are any."""


@pytest.fixture(scope="module")
def service() -> Iterator[Service]:
    """The default model."""
    with serving(STORE, MODEL, workers="1", timeout="300") as running:
        yield running


def command(name: str) -> list[str]:
    """What runs a program."""
    interpreters = {".py": sys.executable, ".sh": "sh", ".mjs": "node"}
    if name == "classify.sh":
        program("curl")
    interpreter = interpreters[Path(name).suffix]
    return [interpreter if Path(interpreter).is_absolute() else program(interpreter), str(EXAMPLES / name)]


def run(name: str, *arguments: str, cwd: Path, **store: str) -> str:
    path = f"{cwd / 'bin'}{os.pathsep}{os.environ['PATH']}"
    ended = subprocess.run(
        [*command(name), *arguments],
        cwd=cwd,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), **store},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.mark.parametrize("name", RUN)
def test_programs(name: str, service: Service, tmp_path: Path) -> None:
    """What they print is what a reader expects of these texts."""
    said = run(name, service.url, cwd=tmp_path, SENTIMENT_MODEL_STORE=str(STORE))
    pattern = ".*".join(part.replace(" ", r"\s+") for part in RUN[name])
    assert re.search(pattern, said, re.DOTALL), said


def test_labels_of_ones_own(folder: Path) -> None:
    """A file becomes a model, which is then served."""
    assert re.search(r"^\w+ 0\.\d+ \(\w+\)$", run("own_labels.sh", cwd=folder), re.MULTILINE)
    with serving(folder / "model_store", "complaints", workers="1") as running:
        answer = httpx.post(f"{running.url}/classify", json={"text": "The parcel came two weeks late."}, timeout=60)
        assert (answer.json()["model"], answer.json()["version"]) == ("complaints", 1)


def test_every_example_is_run() -> None:
    """And listed; the notebook is run by test_notebook.py."""
    listed = (EXAMPLES / "README.md").read_text()
    files = {path.name for path in EXAMPLES.iterdir() if path.is_file()} - {"README.md"}
    assert files == {*RUN, "own_labels.sh", "reviews.ipynb"}
    assert all(f"]({name})" in listed for name in files)
