"""The rooms of the house and who may enter: reads every import, lazy ones included."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted(path for path in (ROOT / "app").rglob("*.py"))
PACKAGES = (
    *("http", "serving", "engine", "process", "rollout", "feedback", "files", "report", "text", "model", "native"),
    *("training", "fleet"),
)
LONGEST_FILE = 350
ROLES = {"__init__", "assembly", "command", "routes"}
"""What several packages have one of, under the same name: a command, what a training is put together from, routes."""

ROOMS: dict[str, set[str]] = {
    "errors": set(),
    "sentiment": {"errors"},
    "logs": set(),
    "tracing": {"errors", "logs"},
    "atomic": set(),
    "memory_file": set(),
    "labels": {"atomic", "errors"},
    "checksums": {"atomic", "errors"},
    "store": {"atomic", "checksums", "errors", "labels", "sentiment"},
    "golden": {"errors", "labels", "sentiment", "store"},
    "version": set(),
    "terminal": set(),
    "redis_address": set(),
    "root_path": set(),
    "settings": {"errors", "redis_address", "root_path", "sentiment"},
    "flags": {"settings"},
    "histograms": {"atomic", "checksums", "store"},
    "metric_files": {"atomic", "memory_file", "settings"},
    "metric_types": {"metric_files"},
    "metrics": {"histograms", "metric_files", "metric_types", "settings", "store"},
    "agreement": {"sentiment", "store"},
    "model_info": {"errors", "histograms", "metrics", "store"},
    "keys": {"errors", "metrics", "settings"},
    "sampling": {"metrics"},
    "native": {"errors", "memory_file", "sentiment", "store"},
    "text": {"errors", "golden", "native", "sentiment", "store"},
    "model": {"errors", "golden", "native", "sentiment", "store", "text"},
    "process": {"errors", "settings", "version"},
    "engine": {"errors", "metrics", "process", "sentiment"},
    "serving": {
        *("agreement", "atomic", "engine", "errors", "labels", "metrics", "sentiment", "store", "text", "tracing"),
    },
    "files": {"errors", "sentiment", "text"},
    "feedback": {"atomic", "errors", "files", "settings"},
    "report": {"errors", "files", "text", "version"},
    "http": {
        *("errors", "feedback", "files", "keys", "logs", "metrics", "report", "sentiment", "serving", "settings"),
        *("store", "tracing", "version"),
    },
    "training": {
        *("errors", "files", "flags", "golden", "histograms", "labels", "model", "native", "process", "sentiment"),
        *("settings", "store", "text"),
    },
    "models": {"errors", "flags", "labels", "model", "settings", "store", "text"},
    "purge": {"errors", "serving", "settings"},
    # Composition roots, where the branches meet.
    "scoring": {"files", "model", "process", "store", "text"},
    "classify": {"errors", "files", "flags", "labels", "report", "scoring", "sentiment", "settings", "store"},
    "engine_process": {
        *("engine", "logs", "metrics", "model", "model_info", "process", "sampling", "sentiment", "settings", "store"),
        *("text", "tracing"),
    },
    "explainer_process": {
        *("engine", "metrics", "model", "process", "sampling", "sentiment", "serving", "settings", "store"),
    },
    "assembly": {"engine", "explainer_process", "serving", "settings", "store", "text"},
    "main": {
        *("assembly", "engine", "engine_process", "errors", "feedback", "http", "logs", "metrics", "model_info"),
        *("process", "sampling", "serving", "settings", "store", "tracing"),
    },
    "fleet": {
        *("assembly", "classify", "engine", "engine_process", "errors", "files", "flags", "http", "labels", "main"),
        *("metrics", "scoring", "sentiment", "settings", "store"),
    },
    "rollout": {"agreement", "errors", "labels", "metrics", "process", "store"},
    "supervisor_process": {"errors", "labels", "memory_file", "metrics", "process", "rollout", "settings", "store"},
    "service_commands": {
        "engine_process",
        "errors",
        "explainer_process",
        "logs",
        "main",
        "process",
        "settings",
        "version",
    },
    "cli": {
        *("classify", "errors", "feedback", "files", "fleet", "keys", "logs", "main", "models", "process", "purge"),
        *("report", "service_commands", "settings", "store", "supervisor_process", "terminal", "tracing", "training"),
        "version",
    },
    "__main__": {"cli"},
}
"""What each room may import of the others."""

LIBRARIES: dict[str, set[str]] = {
    "fastapi": {"app.http", "app.main", "app.fleet.deployments"},
    "starlette": {"app.http", "app.main", "app.fleet.deployments"},
    "uvicorn": {"app.main", "app.http.server"},
    "torch": {"app.model", "app.training"},
    "redis": {"app.purge", "app.serving.redis_cache", "app.serving.redis_link", "app.http.auth.rate_counters"},
    "prometheus_client": {"app.metric_files", "app.metric_types", "app.metrics", "app.model_info"},
    "limits": {"app.http.auth.guard", "app.http.auth.rate_counters", "app.settings"},
    "httpx": {"app.files.exchange"},
    "pyarrow": {"app.files.compression", "app.files.parquet"},
    "openpyxl": {"app.files.spreadsheet", "app.files.workbook"},
    "pydantic_settings": {"app.settings"},
    "opentelemetry": {"app.tracing"},
    "sklearn": {"app.training"},
    "matplotlib": {"app.training"},
    "nupunkt": {"app.text.sentences"},
    "shtab": {"app.terminal"},
    "ray": {"app.fleet"},
}
"""The only modules and packages that may import a library."""


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("path", FILES, ids=module_of)
def test_no_module_is_named_in_a_string(path: Path) -> None:
    """Installed, ``app`` has another name: imports are rewritten (see ``setup.py``), strings are not."""
    assert set(re.findall(r"[\"'](app\.[\w.]+)[\"']", path.read_text())) <= {"app.access", "app.audit"}  # loggers


@cache
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
    """http → serving → engine, and training → model → native; the branches meet in the composition roots only."""
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


def test_rooms_lead_back_to_nobody() -> None:
    """The table itself says so: every room comes after those that it may import."""
    known: set[str] = set()
    for room, allowed in ROOMS.items():
        assert allowed <= known, room
        known.add(room)


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Imports inside of functions and those for type checkers alone count like others."""
    modules = {module_of(path): path for path in FILES}
    left = {module: {name for name in _modules(path) if name in modules} for module, path in modules.items()}
    while free := [module for module, used in left.items() if not used & left.keys()]:
        for module in free:
            del left[module]
    assert not left


def _modules(path: Path) -> Iterator[str]:
    """Full names of what is imported, and of what may be a module in what is imported."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
            yield str(node.module)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_a_file_name_is_one_role() -> None:
    """Who looks for a file by its name finds one."""
    names = Counter(path.stem for path in FILES)
    assert {name for name, count in names.items() if count > 1} == ROLES


def test_only_the_composition_roots_meet_both_branches() -> None:
    """No room but these may import what serves together with what computes."""
    both = {
        room
        for room, allowed in ROOMS.items()
        if allowed & {"http", "serving", "engine"} and allowed & {"model", "training"}
    }
    assert both == {"engine_process", "explainer_process"}


def test_the_environment_is_read_in_few_places() -> None:
    """Settings, and what children of the supervisor are told; everybody else is handed values."""
    readers = {module_of(path) for path in FILES if re.search(r"os\.environ|getenv", path.read_text())}
    allowed = {
        "app.settings",
        "app.metric_files",
        "app.metrics",
        "app.process.pulse",
        "app.process.child",
        "app.process.fork_server",
        "app.process.groups",
        "app.native.compiler",
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
        "import app.cli, app.engine, app.http, app.main, app.process, app.serving\n"
        "for package in (app.engine, app.http, app.process, app.serving):\n"
        "    for module in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "        importlib.import_module(module.name)\n"
        "app.cli._parser()\n"
        "heavy = {'torch', 'sklearn', 'scipy', 'matplotlib', 'safetensors', 'pyarrow', 'httpx'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )


def test_http_workers_know_the_engine_by_its_client_alone() -> None:
    """What forms batches and serves them is another process's, and what only some services need is not there yet."""
    run(
        "import sys\n"
        "import app.main\n"
        "assert not {'redis', 'limits'} & set(sys.modules)\n"
        "import app.http.auth.guard\n"
        "loaded = {name for name in sys.modules if name.startswith('app.engine')}\n"
        "others = loaded & {f'app.{name}' for name in ('engine.batcher', 'engine.engine_server', 'engine_process')}\n"
        "assert not others, others\n"
    )


def test_the_supervisor_stays_small() -> None:
    """The command line and the supervisor import neither the web framework nor anything that computes."""
    run(
        "import sys\n"
        "import app.cli, app.process.supervisor\n"
        "app.cli._parser()\n"
        "heavy = {'fastapi', 'starlette', 'uvicorn', 'torch', 'numpy', 'redis'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )


def test_importing_reads_no_environment() -> None:
    """A malformed setting is found by who loads settings, not by who imports."""
    run("import os\nos.environ['SENTIMENT_PORT'] = 'nonsense'\nimport app.main, app.cli, app.engine_process\n")


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
