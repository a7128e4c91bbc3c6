"""The commands of the service's own processes, which the supervisor starts; nothing for people to type, and so not
listed for them either."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app import logs
from app.errors import SentimentError
from app.version import PACKAGE

if TYPE_CHECKING:
    from app.settings import Settings

logger = logging.getLogger(__name__)

_PACKAGES = {"sklearn": "scikit-learn"}


def add_service_commands(commands: Any) -> None:
    """Add the commands of what the supervisor starts."""
    worker = commands.add_parser("_worker")
    worker.add_argument("--listener", type=int, required=True)
    worker.add_argument("--engine", type=Path, action="append", required=True)
    worker.add_argument("--group", type=int, required=True)
    worker.add_argument("--spare", type=Path)
    worker.add_argument("--explainer", type=Path, required=True)
    worker.add_argument("--pulse", type=int)
    worker.add_argument("--succeeds", action="store_true")
    worker.set_defaults(run=_child(_worker))
    engine = commands.add_parser("_engine")
    engine.add_argument("--socket", type=Path, required=True)
    engine.add_argument("--packed", type=int, required=True)
    engine.add_argument("--pulse", type=int)
    engine.set_defaults(run=_child(_engine))
    explainer = commands.add_parser("_explainer")
    explainer.add_argument("--listener", type=int, required=True)
    explainer.set_defaults(run=_child(_explainer))
    for child in (worker, engine):
        child.add_argument("--vocabulary", type=Path, required=True)
        child.add_argument("--gently", action="store_true")
    for child in (worker, engine, explainer):
        child.add_argument("--digest", required=True)


def missing_package(error: ModuleNotFoundError) -> str:
    """What to do about a library that is not installed; a module of our own that is missing is a defect."""
    ours = PACKAGE.partition(".")[0]
    name = (error.name or ours).partition(".")[0]
    if name == ours:
        raise error
    return f"the package {name} is not installed; `pip install {_PACKAGES.get(name, name)}` in the same environment"


def _child(run: Callable[[Settings, argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    """A process of the service as a command. What it fails of on purpose is the same at every start: one line, and a
    status that says so to the supervisor."""

    def run_child(options: argparse.Namespace) -> int:
        try:
            from app.settings import load_settings

            settings = load_settings()
            logs.configure(settings.log_level, settings.log_format)
            return run(settings, options)
        except SentimentError as error:
            fault = str(error)
        except ModuleNotFoundError as error:
            fault = missing_package(error)
        from app.process.child import CANNOT_SERVE

        logger.critical("cannot serve: %s", fault)
        _leave_fault(options, fault)
        return CANNOT_SERVE

    return run_child


def _leave_fault(options: argparse.Namespace, fault: str) -> None:
    """Tell the supervisor why this process cannot serve, beside the engine's socket."""
    from app.process.sockets import fault_file

    for engine in [options.socket] if "socket" in options else getattr(options, "engine", []):
        with suppress(OSError):
            fault_file(engine).write_text(fault, encoding="utf-8")


def _worker(settings: Settings, options: argparse.Namespace) -> int:
    from app.main import run_worker

    sockets = (options.listener, options.engine, options.spare, options.explainer)
    return run_worker(
        settings,
        options.digest,
        *sockets,
        options.vocabulary,
        options.pulse,
        options.group,
        succeeds=options.succeeds,
        starts_gently=options.gently,
    )


def _engine(settings: Settings, options: argparse.Namespace) -> int:
    from app.engine_process import run_engine

    return run_engine(
        settings,
        options.digest,
        options.socket,
        options.packed,
        options.vocabulary,
        options.pulse,
        starts_gently=options.gently,
    )


def _explainer(settings: Settings, options: argparse.Namespace) -> int:
    from app.explainer_process import run_explainer

    return run_explainer(settings, options.digest, options.listener)
