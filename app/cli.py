"""The commands: serve, classify, report, train, train-reviews, evaluate, models, keys, cache, feedback, openapi and
completion.

Of ``python -m app`` or, where it is installed, ``sentiment``.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any

from app import logs
from app.errors import SentimentError, SettingsError
from app.service_commands import add_service_commands, missing_package
from app.terminal import SHELLS, Parser, completion
from app.version import PACKAGE, VERSION

_FLAGS = ("host", "port", "workers", "model_store", "model", "device", "runtime", "precision", "cache", "redis_url")
_TOOLS = {
    "classify": ("classify", "label the texts of a file"),
    "ray-classify": ("fleet.classify_command", "label the texts of many files on a Ray cluster"),
    "ray-serve": ("fleet.serve_command", "serve a model on a Ray cluster"),
    "report": ("report.command", "a page about files that were labelled"),
    "train": ("training.command", "train a network and store it as a new version"),
    "train-reviews": ("training.reviews.command", "train the model for reviews of any kind"),
    "evaluate": ("training.evaluate_command", "score a stored model on labelled texts"),
    "models": ("models", "list, show, verify and import models"),
    "keys": ("keys", "make, list, check and revoke API keys"),
    "cache": ("purge", "delete what is kept in Redis"),
    "feedback": ("feedback.command", "list, export and delete feedback"),
}
_SCRIPTS = ("sentiment", "sentiment-service")
"""What an installed package is called by."""
_ALL_INTERFACES = "0.0.0.0"  # noqa: S104 - compared with, not bound to
_READY_SECONDS = 10.0
_READY_PAUSE = 0.2
"""Seconds that one question whether the service is ready may take, and between two."""
_CURL = """curl -s http://{address}/v1/classify -H 'Content-Type: application/json' \\
     -d '{{"text": "A wonderful little film, I loved every minute."}}'"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; errors made on purpose become one line.

    Returns:
        Exit status: 2 where a flag or a setting cannot be, which is also the parser's; 1 after every other error.
    """
    logs.open_standard_streams()
    given = sys.argv[1:] if arguments is None else arguments
    options = _parser(given[0] if given else "").parse_args(given)
    try:
        status = int(options.run(options) or 0)
        sys.stdout.flush()
    except SentimentError as error:
        print(f"error: {_explained(error, options)}", file=sys.stderr)
        return 2 if isinstance(error, SettingsError) else 1
    except ModuleNotFoundError as error:
        print(f"error: {missing_package(error)}", file=sys.stderr)
        return 1
    except OSError as error:
        if given[0].startswith("_"):
            raise  # a process of the service: its log is for those who mend it
        return _failed_by_the_system(error)
    except KeyboardInterrupt:
        return 130
    return status


def _failed_by_the_system(error: OSError) -> int:
    """Say what the system refused, such as a full disk; the exit status. Whoever closes a pipe has enough, and is told
    nothing."""
    if not isinstance(error, BrokenPipeError):
        place = "" if error.filename is None else f"{error.filename}: "
        print(f"error: {place}{error.strerror or error}", file=sys.stderr)
    try:
        sys.stdout.flush()
    except OSError:
        # The interpreter would complain once more when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def _explained(error: SentimentError, options: argparse.Namespace) -> str:
    """An error's message with the flags of this command, in the place of settings that they stand for."""
    from app.files.arguments import explained, flag_of

    message = explained(error)
    if isinstance(error, SettingsError) and options.run is not _serve:
        for name in vars(options):
            message = message.replace(f"SENTIMENT_{name.upper()}", flag_of(name))
    return message


def _parser(chosen: str | None = None) -> argparse.ArgumentParser:
    """All commands, of which only the chosen one (None: each) is imported and knows its arguments: imports take longer
    than many a command."""
    script = Path(sys.argv[0]).name
    program = script if script in _SCRIPTS else "python -m app"
    parser = Parser(prog=program, description="A self-hosted sentiment service.")
    parser.add_argument("--version", action="version", version=f"sentiment-service {VERSION}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    serve = commands.add_parser("serve", help="serve a model over HTTP", description=_serve.__doc__)
    for name in _FLAGS if chosen in (None, "serve") else ():
        _add_flag(serve, name)
    serve.set_defaults(run=_serve)
    if chosen is None or chosen.startswith("_"):
        add_service_commands(commands)
        forks = commands.add_parser("_fork-server")
        forks.add_argument("--control", type=int, required=True)
        forks.add_argument("--import", dest="further", action="append", default=[])
        forks.add_argument("--room")
        forks.set_defaults(run=_fork_server)
    _add_tools(commands, chosen)
    document = commands.add_parser("openapi", help="write the OpenAPI document", description=_openapi.__doc__)
    document.add_argument("--out", type=Path, help="file to write instead of standard output")
    document.set_defaults(run=_openapi)
    completing = commands.add_parser(
        "completion", help="write what makes a shell complete these commands", description=_completion.__doc__
    )
    completing.add_argument("shell", choices=SHELLS, help="for which it is")
    completing.set_defaults(run=_completion)
    return parser


def _add_flag(parser: argparse.ArgumentParser, name: str) -> None:
    from app.settings import PREFIX, Settings

    documentation = Settings.model_json_schema()["properties"][name].get("description", "")
    flags = [*(["--store"] if name == "model_store" else []), "--" + name.replace("_", "-")]
    parser.add_argument(
        *flags, dest=name, default=argparse.SUPPRESS, metavar="VALUE", help=f"{documentation} [{PREFIX}{name.upper()}]"
    )


def _add_tools(commands: Any, chosen: str | None) -> None:
    for name, (place, text) in _TOOLS.items():
        parser = commands.add_parser(name, help=text)
        if chosen in (None, name):
            module = importlib.import_module(f"{PACKAGE}.{place}")
            module.add_arguments(parser)
            parser.set_defaults(run=module.run)


def _serve(options: argparse.Namespace) -> int:
    """Serve a model: engine processes, HTTP workers, and a supervisor that keeps them alive. Every setting is an
    environment variable SENTIMENT_*; the main ones are flags too."""
    from app import tracing
    from app.keys import read_keys
    from app.process import sockets
    from app.process.fork_server import ForkServer
    from app.settings import Settings, load_settings
    from app.store import ModelStore
    from app.supervisor_process import bound, check_further, run_supervisor

    given = {name: value for name, value in vars(options).items() if name in Settings.model_fields}
    settings = load_settings(given)
    logs.configure(settings.log_level, settings.log_format)
    further = []
    if settings.cache and settings.redis_url is not None:
        further.append(f"{PACKAGE}.serving.redis_cache")
    if settings.rate_limit is not None:
        further.append(f"{PACKAGE}.http.auth.rate_counters")
    # It imports while this process reads.
    with ForkServer(further) as forks, sockets.runtime_folder() as folder:
        # Fails early, with the file's name, and before anything is bound.
        model = ModelStore(settings.model_store).open(settings.model)
        check_further(settings)
        if settings.api_keys is not None:
            read_keys(settings.api_keys)
        tracing.check()
        listener = bound(settings)
        host, port = listener.getsockname()[:2]
        shown = f"[{host}]" if ":" in host else host
        address = f"{'127.0.0.1' if host == _ALL_INTERFACES else shown}:{port}"
        print(f"Starting {model.reference} on http://{address}", flush=True)
        ready = f"Serving {model.reference} on http://{address}\nTry:\n{_CURL.format(address=address)}"
        _say_when_ready(address, ready)
        return run_supervisor(settings, _as_environment(given), model, listener, folder, forks)


def _say_when_ready(address: str, message: str) -> None:
    """Print a message as soon as the service says that it is ready, in a thread that ends with the process."""
    import http.client
    import threading
    import time

    def wait() -> None:
        while True:
            try:
                with closing(http.client.HTTPConnection(address, timeout=_READY_SECONDS)) as service:
                    service.request("GET", "/health/ready")
                    if service.getresponse().status == HTTPStatus.OK:
                        break
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(_READY_PAUSE)
        print(message, flush=True)

    threading.Thread(target=wait, daemon=True).start()


def _fork_server(options: argparse.Namespace) -> int:
    from app.process.fork_server import run_and_end, serve_forks

    arguments = serve_forks(socket.socket(fileno=options.control), options.further)
    if arguments is not None:
        run_and_end(partial(main, arguments))
    return 0


def _openapi(options: argparse.Namespace) -> None:
    """Write the OpenAPI document of the HTTP interface, as it is kept in docs/openapi.json."""
    from app.main import create_app
    from app.settings import load_settings

    # Sorted, so that a change of the file is a change of the interface.
    text = json.dumps(create_app(load_settings()).openapi(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    if options.out is None:
        sys.stdout.write(text)
    else:
        options.out.write_text(text, encoding="utf-8")


def _completion(options: argparse.Namespace) -> None:
    """Write a script that makes a shell complete the commands and flags of `sentiment`."""
    parser = _parser()
    parser.prog = _SCRIPTS[0]
    sys.stdout.write(completion(parser, options.shell) + "\n")


def _as_environment(given: Mapping[str, Any]) -> dict[str, str]:
    """Flags as the environment variables that the child processes read."""
    from app.settings import PREFIX

    return {f"{PREFIX}{name.upper()}": str(value) for name, value in given.items()}
