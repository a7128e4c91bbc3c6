"""The doors for contributors lead where they say: steps, forms, hooks and continuous integration."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.version import VERSION
from tests.test_architecture import PACKAGES, ROOMS
from tests.test_documentation import FAMILIES, ROOT, VARIABLES

GUIDE = (ROOT / "CONTRIBUTING.md").read_text()
CHANGES = (ROOT / "CHANGELOG.md").read_text()
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
SUFFIXES = (".py", ".md", ".toml", ".yml", ".yaml", ".json", ".js", ".html", ".tsv", ".csv", ".txt", "/")


def spans(text: str) -> list[str]:
    """What stands in single backticks, outside of blocks of code."""
    prose = re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
    return re.findall(r"`([^`\n]+)`", prose)


def document(path: Path) -> Any:
    """A file of YAML."""
    return yaml.safe_load(path.read_text())


@pytest.mark.parametrize("reference", sorted({span for span in spans(GUIDE) if re.fullmatch(r"[\w./-]+::\w+", span)}))
def test_names_are_in_their_files(reference: str) -> None:
    """``path::name``: a step that names what has moved would send people away."""
    path, _, name = reference.partition("::")
    defined = rf"^ *(?:(?:async def|def|class|const) {name}\b|{name}(?:: .+)? = )"
    assert re.search(defined, (ROOT / path).read_text(), re.MULTILINE)


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "SECURITY.md", ".github/pull_request_template.md"])
def test_paths_exist(page: str) -> None:
    """Every path of the repository that is named."""
    named = [span for span in spans((ROOT / page).read_text()) if "/" in span and span.endswith(SUFFIXES)]
    paths = [path for path in named if re.fullmatch(r"[\w./-]+", path) and not path.startswith("/")]
    assert page == "SECURITY.md" or paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_rooms_are_those_of_the_house() -> None:
    """The table of rooms is what the architecture's test allows."""
    rows = re.findall(r"^\| `(\w+)` \|[^|]+\| (.+) \|$", GUIDE, re.MULTILINE)
    assert {room: set(re.findall(r"`(\w+)`", allowed)) for room, allowed in rows} == {
        room: ROOMS[room] for room in PACKAGES
    }


def test_single_tests_are_there() -> None:
    """What is shown to be run exists."""
    shown = re.findall(r"^\.venv/bin/python -m pytest (\S+)", GUIDE, re.MULTILINE)
    assert shown
    for target in shown:
        path, _, name = target.partition("::")
        assert (ROOT / path).exists()
        assert not name or f"def {name}(" in (ROOT / path).read_text()


def test_the_version_has_an_entry() -> None:
    """Each version once, the newest first, with what is not released above."""
    titles = re.findall(r"^## (.+)$", CHANGES, re.MULTILINE)
    assert titles[0] == "Unreleased"
    assert VERSION in titles
    assert len(set(titles)) == len(titles)
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall(r"^### (.+)$", CHANGES, re.MULTILINE)) <= kinds


def section(title: str) -> str:
    """A part of what is not released."""
    unreleased = CHANGES.partition("## Unreleased\n")[2].partition("\n## ")[0]
    return unreleased.partition(f"\n### {title}\n")[2].partition("\n### ")[0]


def settings_and_metrics(text: str) -> set[str]:
    """Names of settings and metrics in a text."""
    names = {span.partition("=")[0] for span in spans(text)}
    found = {name for name in names if re.fullmatch(r"SENTIMENT_\w+|sentiment_\w+", name)}
    return found - {"sentiment_service"}  # the package


@pytest.mark.parametrize("title", ["Added", "Changed"])
def test_what_is_new_is_there(title: str) -> None:
    """No setting or metric is announced that is not there."""
    named = settings_and_metrics(section(title))
    assert named
    assert named - FAMILIES.keys() - VARIABLES == set()


def test_what_is_removed_is_gone() -> None:
    """And said to break."""
    named = settings_and_metrics(section("Removed"))
    assert named
    assert named & (FAMILIES.keys() | VARIABLES) == set()
    for entry in re.findall(r"^- .*(?:\n  .*)*", section("Removed"), re.MULTILINE):
        assert entry.startswith("- **Breaking:**")


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_forms_ask(path: Path) -> None:
    """Each has a name, says what it is for, and asks something that must be answered; of an answer, what judges it."""
    form = document(path)
    assert form["name"]
    assert form["description"]
    fields = [field for field in form["body"] if field["type"] != "markdown"]
    assert all(field["type"] in ("textarea", "input", "dropdown") for field in fields)
    assert all(field["attributes"]["label"] for field in fields)
    names = [field["id"] for field in fields]
    assert len(set(names)) == len(names)
    required = {field["id"] for field in fields if field.get("validations", {}).get("required")}
    assert required
    if path.stem == "wrong-answer":
        assert required == {"text", "expected", "answer", "model"}


def test_there_is_a_form_for_each() -> None:
    """Of what the guide says."""
    assert {path.stem for path in FORMS} == {"bug", "idea", "wrong-answer"}


def test_continuous_integration_runs_the_one_script() -> None:
    """On each version of Python that the package takes, with actions of a fixed major version."""
    path = ROOT / ".github" / "workflows" / "ci.yml"
    jobs = document(path)["jobs"]
    versions = [entry["python"] for entry in jobs["tests"]["strategy"]["matrix"]["include"]]
    assert {"run": ".ci/run"} in jobs["tests"]["steps"]
    named = re.search(r"With Python (.+?) and make", (ROOT / "README.md").read_text())
    assert named
    assert versions == re.findall(r"3\.\d+", named[1])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == f">={versions[0]}"
    used = re.findall(r"uses: (\S+)", path.read_text())
    assert used
    assert all(re.fullmatch(r"actions/[a-z-]+@v\d+", action) for action in used)


def test_hooks_are_what_lint_runs() -> None:
    """The same tools, of the same environment, and nothing from elsewhere."""
    [repository] = document(ROOT / ".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    makefile = (ROOT / "Makefile").read_text()
    entries = [hook["entry"].removesuffix(" --force-exclude") for hook in repository["hooks"]]
    assert entries == [".venv/bin/ruff check", ".venv/bin/ruff format", ".venv/bin/mypy"]
    for entry in entries:
        assert f"\t{entry.replace('.venv/bin', '$(BIN)')}" in makefile
    assert all(hook["language"] == "system" for hook in repository["hooks"])
