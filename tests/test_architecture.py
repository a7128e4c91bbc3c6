"""The rooms of the house and who may enter: reads every import, lazy ones included."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted(path for path in (ROOT / "app").rglob("*.py"))
PACKAGES = ("api", "serving", "files", "text", "modeling", "training")
LONGEST_FILE = 350

ROOMS: dict[str, set[str]] = {
    "sentiment": set(),
    "errors": set(),
    "logs": set(),
    "compiler": set(),
    "cores": set(),
    "priority": set(),
    "tracing": {"errors", "logs"},
    "store": {"errors", "sentiment"},
    "version": set(),
    "redis_address": set(),
    "settings": {"errors", "redis_address"},
    "keys": {"errors", "metrics", "settings"},
    "reference": {"errors", "store"},
    "metric_types": set(),
    "metrics": {"metric_types", "reference", "settings", "store"},
    "sampling": {"metrics"},
    "text": {"compiler", "errors", "sentiment", "store"},
    "serving": {
        *("cores", "errors", "logs", "metrics", "priority", "sentiment", "settings", "store", "text", "tracing"),
    },
    "files": {"errors", "sentiment", "text"},
    "api": {
        *("errors", "files", "keys", "logs", "metrics", "sentiment", "serving", "settings", "store", "text", "tracing"),
        "version",
    },
    "modeling": {"compiler", "errors", "sentiment", "store", "text"},
    "training": {
        *("compiler", "cores", "errors", "files", "logs", "modeling", "sentiment", "settings", "store", "text"),
    },
    "models": {"errors", "modeling", "settings", "store", "text"},
    "purge": {"errors", "serving", "settings"},
    # Composition roots, where the branches meet.
    "classify": {"cores", "errors", "files", "modeling", "settings", "store", "text"},
    "engine": {
        *(
            "cores",
            "errors",
            "logs",
            "metrics",
            "modeling",
            "sampling",
            "sentiment",
            "serving",
            "settings",
            "store",
            "tracing",
        ),
    },
    "explainer": {
        *("errors", "metrics", "modeling", "priority", "sampling", "sentiment", "serving", "settings", "store"),
    },
    "main": {
        *(
            "api",
            "engine",
            "errors",
            "explainer",
            "logs",
            "metrics",
            "sampling",
            "serving",
            "settings",
            "store",
            "text",
        ),
        "tracing",
    },
    "cli": {
        *(
            "classify",
            "engine",
            "errors",
            "explainer",
            "files",
            "keys",
            "logs",
            "main",
            "models",
            "purge",
            "serving",
            "settings",
            "store",
            "tracing",
        ),
        "training",
    },
    "__main__": {"cli"},
}
"""What each room may import of the others."""

LIBRARIES: dict[str, set[str]] = {
    "fastapi": {"app.api", "app.main"},
    "starlette": {"app.api", "app.main"},
    "uvicorn": {"app.main", "app.api"},
    "torch": {"app.modeling", "app.training"},
    "redis": {"app.purge", "app.serving.redis_cache", "app.serving.redis_link", "app.api.rate_counters"},
    "prometheus_client": {"app.metric_types", "app.metrics"},
    "limits": {"app.api.guard", "app.api.rate_counters", "app.settings"},
    "httpx": {"app.files.remote"},
    "pyarrow": {"app.files.parquet", "app.files.zstandard"},
    "openpyxl": {"app.files.spreadsheet"},
    "pydantic_settings": {"app.settings"},
    "opentelemetry": {"app.tracing"},
    "sklearn": {"app.training"},
    "matplotlib": {"app.training"},
    "nupunkt": {"app.text.sentences"},
}
"""The only modules and packages that may import a library."""


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@lru_cache
def imports(path: Path) -> frozenset[str]:
    """Full names of all modules that a file imports, wherever in the file."""
    return frozenset(_imports(ast.parse(path.read_text())))


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module
            names = [alias.name for alias in node.names]
            yield from (f"{node.module}.{name}" for name in names) if node.module == "app" else [node.module]


def within(name: str, packages: set[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def room_of(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_imports_go_in_the_allowed_directions(path: Path) -> None:
    """api → serving → text and training → modeling → text; the branches meet in the composition roots only."""
    room = room_of(module_of(path))
    if not room:
        return
    assert room in ROOMS, "a new room needs its place in the table"
    used = {room_of(name) for name in imports(path) if name.startswith("app.")} - {room}
    assert used <= ROOMS[room]


@pytest.mark.parametrize("library", LIBRARIES)
def test_libraries_stay_in_their_rooms(library: str) -> None:
    """What is bound to one library can be changed in one place."""
    users = {module_of(path) for path in FILES if any(within(name, {library}) for name in imports(path))}
    assert users, "nobody uses it: take it out of the table"
    assert {user for user in users if not within(user, LIBRARIES[library])} == set()


def test_leaves_know_nobody() -> None:
    """The table itself says so: nothing that all rooms share may lead back to one of them."""
    leaves = (
        *(
            "compiler",
            "cores",
            "errors",
            "keys",
            "logs",
            "metrics",
            "redis_address",
            "reference",
            "sampling",
            "sentiment",
            "settings",
            "store",
        ),
        *("tracing", "version"),
    )
    for leaf in leaves:
        assert not ROOMS[leaf] & set(PACKAGES)


def test_only_the_composition_roots_meet_both_branches() -> None:
    """No room but these may import serving and modeling, or api and training."""
    both = {
        room for room, allowed in ROOMS.items() if allowed & {"api", "serving"} and allowed & {"modeling", "training"}
    }
    assert both == {"engine", "explainer", "cli"}


def test_the_environment_is_read_in_few_places() -> None:
    """Settings, and what children of the supervisor are told; everybody else is handed values."""
    readers = {module_of(path) for path in FILES if re.search(r"os\.environ|getenv", path.read_text())}
    allowed = {
        "app.settings",
        "app.metrics",
        "app.serving.pulse",
        "app.serving.supervisor",
        "app.compiler",
        "app.tracing",
        "app.training.command",
    }
    assert {reader for reader in readers if not within(reader, allowed)} == set()


def run(code: str) -> None:
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


def test_http_workers_never_import_torch() -> None:
    """Nothing that a worker imports brings in torch or the libraries of training."""
    run(
        "import importlib, pkgutil, sys\n"
        "import app.api, app.cli, app.main, app.serving\n"
        "for package in (app.api, app.serving):\n"
        "    for module in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "        importlib.import_module(module.name)\n"
        "app.cli._parser()\n"
        "heavy = {'torch', 'sklearn', 'scipy', 'matplotlib', 'safetensors', 'pyarrow', 'httpx'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )


def test_the_supervisor_stays_small() -> None:
    """The command line and the supervisor import neither the web framework nor anything that computes."""
    run(
        "import sys\n"
        "import app.cli, app.serving.supervisor\n"
        "app.cli._parser()\n"
        "heavy = {'fastapi', 'starlette', 'uvicorn', 'torch', 'numpy', 'redis'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )


def test_importing_reads_no_environment() -> None:
    """A malformed setting is found by who loads settings, not by who imports."""
    run("import os\nos.environ['SENTIMENT_PORT'] = 'nonsense'\nimport app.main, app.cli, app.engine\n")


@pytest.mark.parametrize("path", [path for path in FILES if path.name == "__init__.py"], ids=module_of)
def test_packages_hold_a_docstring_only(path: Path) -> None:
    """What a package is; nothing happens on the way to a module."""
    [statement] = ast.parse(path.read_text()).body
    assert isinstance(statement, ast.Expr)
    assert isinstance(statement.value, ast.Constant)
    assert isinstance(statement.value.value, str)


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_files_stay_readable(path: Path) -> None:
    """Each says what it is, and is not too long to be one idea."""
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text)), "a module says in a docstring what it is"
    assert len(text.splitlines()) <= LONGEST_FILE
