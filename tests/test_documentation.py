"""What the documentation names exists, and what exists for users is named in it."""

from __future__ import annotations

import argparse
import ast
import inspect
import os
import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from PIL import Image
from prometheus_client.metrics import MetricWrapperBase

from app import cli, metrics
from app.settings import CORPUS_VARIABLE, PREFIX, ROLE_VARIABLE, Settings
from tests.pictures import IMAGES, PICTURES, REPORT, digest_of, served

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
LINK = re.compile(r"\[[^]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")


def linked_pages() -> list[Path]:
    """README.md, and the pages in docs/ that it leads to."""
    pages, waiting = [], [README]
    while waiting:
        page = waiting.pop()
        pages.append(page)
        targets = [(page.parent / target).resolve() for target in LINK.findall(page.read_text()) if "://" not in target]
        ours = [target for target in targets if target.parent == ROOT / "docs" and target.suffix == ".md"]
        waiting += [target for target in dict.fromkeys(ours) if target not in [*pages, *waiting]]
    return pages


PAGES = linked_pages()
DOORS = [ROOT / name for name in ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md")]
"""For contributors; the README leads to them, too."""
TEXT = "\n".join(page.read_text() for page in PAGES)
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in TEXT.splitlines() if line.startswith("| `")]
FAMILIES = {
    family.name + ("_total" if family.type == "counter" else ""): family
    for value in vars(metrics).values()
    if isinstance(value, MetricWrapperBase)
    for family in value.describe()
}
DRAIN_SECONDS: float = Settings.model_fields["drain_timeout"].default
VARIABLES = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields}


def rows_of(name: str) -> list[list[str]]:
    """Table rows whose first cell is just this name."""
    return [row for row in ROWS if row[0] == f"`{name}`"]


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_in_a_table(name: str) -> None:
    """With its default as it really is."""
    default = Settings.model_fields[name].default
    shown = {"None": "unset", "True": "on", "False": "off"}.get(str(default), str(default))
    rows = rows_of(f"{PREFIX}{name.upper()}")
    assert rows
    for row in rows:
        assert row[1].strip("`") == shown
        assert row[2]


def test_settings_are_said_as_in_the_code() -> None:
    """The table of all of them has the words that ``serve --help`` has, whose markup differs."""
    body = next(node for node in ast.parse(inspect.getsource(Settings)).body if isinstance(node, ast.ClassDef)).body
    said = {
        setting.target.id: words.value.value
        for setting, words in pairwise(body)
        if isinstance(setting, ast.AnnAssign) and isinstance(setting.target, ast.Name)
        if isinstance(words, ast.Expr) and isinstance(words.value, ast.Constant)
    }
    table = (ROOT / "docs" / "operations.md").read_text().replace("`", "")
    assert said.keys() == Settings.model_fields.keys()
    for name, words in said.items():
        assert f"| {str(words).replace('`', '')} |\n" in table, name


@pytest.mark.parametrize("name", FAMILIES)
def test_every_metric_is_in_a_table(name: str) -> None:
    """Under the name that is scraped, with its type."""
    rows = rows_of(name)
    assert rows
    for row in rows:
        assert row[1] == FAMILIES[name].type
        assert row[2]


def test_every_setting_that_is_named_exists() -> None:
    """No page tells anybody to set what nobody reads."""
    named = set(re.findall(rf"{PREFIX}[A-Z0-9_]*[A-Z0-9]", TEXT))
    assert named <= VARIABLES | {CORPUS_VARIABLE, ROLE_VARIABLE}


def test_every_metric_that_is_named_exists() -> None:
    """No page tells anybody to watch what is not there."""
    suffixes = ("", "_bucket", "_count", "_sum")
    known = {
        name + suffix for name, family in FAMILIES.items() for suffix in suffixes[: 4 if _summed(family.type) else 1]
    }
    assert set(re.findall(r"\bsentiment_[a-z0-9_]*[a-z0-9]", TEXT)) <= known | {"sentiment_service"}  # the package


def _summed(kind: str) -> bool:
    return kind == "histogram"


@pytest.mark.parametrize("page", [*PAGES, *DOORS], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every link to a file of this repository."""
    missing = [
        target
        for target in LINK.findall(page.read_text())
        if "://" not in target and not (page.parent / target).exists()
    ]
    assert not missing


def test_the_readme_leads_to_the_doors() -> None:
    """Whoever wants to help starts there."""
    assert {page.name for page in DOORS} <= set(LINK.findall(README.read_text()))


@pytest.mark.parametrize("path", sorted(IMAGES.iterdir()), ids=lambda path: path.name)
def test_pictures_are_not_old(path: Path) -> None:
    """Each is on some page and shows the model that is served; those of the page show the page as it is.

    ``python -m tests.pictures`` and ``python -m tests.monitoring.pictures`` make them anew.
    """
    assert f"images/{path.name})" in TEXT
    with Image.open(path) as picture:
        says = picture.info
    assert says["Shows"] == served()
    if path.name in (*PICTURES, REPORT):
        assert says["Made from"] == digest_of(path.name)


def test_make_targets_exist() -> None:
    """Every ``make`` command in the documentation."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    text = "\n".join([TEXT, *(page.read_text() for page in DOORS)])
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE))
    assert named
    assert named <= targets


def test_containers_are_given_time_to_end() -> None:
    """What is granted before a container is killed covers the slowest end: the grace time, and three stages."""
    stages = ("workers", "explainer", "engine")
    slowest = Settings.model_fields["shutdown_grace"].default + len(stages) * DRAIN_SECONDS
    granted = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["app"]["stop_grace_period"]
    assert slowest < int(granted.removesuffix("s"))
    assert f"That is {slowest:.0f} s at the longest" in TEXT
    assert set(re.findall(r"--stop-timeout (\d+)", TEXT)) == {granted.removesuffix("s")}


def commands() -> list[str]:
    """Every command line of ours in a block of code, continuation lines joined, up to where another program begins."""
    blocks = re.findall(r"^```[a-z]*\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    found = [re.search(r"(?:python -m app|^sentiment) +([^=>|][^>|]*)", line) for line in lines]
    return [match[1] for match in found if match]


@pytest.mark.parametrize("command", commands())
def test_commands_are_understood(command: str) -> None:
    """Command, flags and choices as they are shown can be typed."""
    arguments = shlex.split(command, comments=True)
    assert isinstance(cli._parser().parse_args(arguments), argparse.Namespace)


def test_pages_name_no_place_outside() -> None:
    """Paths are relative to the repository or made up, not those of somebody's machine."""
    for page in [*PAGES, *DOORS]:
        assert str(ROOT) + os.sep not in page.read_text()
        assert not re.search(r"/home/\w+|/Users/\w+", page.read_text())
