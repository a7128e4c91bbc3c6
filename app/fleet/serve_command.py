"""``python -m app ray-serve``: the service on a Ray cluster, which goes on running there when the command is done."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from app.errors import OptionError, ServiceError
from app.files.job import say
from app.fleet.cluster import add_address_argument, joined
from app.settings import Settings, load_settings
from app.store import ModelStore

if TYPE_CHECKING:
    from ray.serve import Application

    from app.fleet.deployments import Pool

APPLICATION = "sentiment"
_ENGINES = "sentiment-engine-"
"""Beginning of the names of the applications that engines are; the model's digest is behind it."""
_POOLS = (("engine", "processes that compute", 16), ("front", "processes that answer HTTP", 32))
_PROXIES = {"every-node": "EveryNode", "head-only": "HeadOnly"}
_LARGEST = 1_000
_POLL_SECONDS = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``ray-serve``."""
    parser.description = (
        "Serve a model on a Ray cluster, or replace what is served there without a gap. Settings are those of `serve`."
    )
    add_address_argument(parser)
    parser.add_argument(
        "--proxies", choices=tuple(_PROXIES), default="every-node", help="who listens for HTTP (default: %(default)s)"
    )
    parser.add_argument(
        "--wait", type=float, metavar="SECONDS", default=600.0, help="for it to run, at most (default: %(default)s)"
    )
    for name, what, ongoing in _POOLS:
        pool = parser.add_argument_group(what)
        pool.add_argument(
            f"--{name}s", metavar="FEWEST:MOST", default="1:4", help="how many there may be (default: %(default)s)"
        )
        help_of_ongoing = "calls under way for each that autoscaling aims at (default: %(default)s)"
        pool.add_argument(f"--{name}-ongoing", type=float, metavar="N", default=ongoing, help=help_of_ongoing)
        for kind, default in (("cpus", 1.0), ("gpus", 0.0)) if name == "engine" else (("cpus", 1.0),):
            said = f"{kind.upper()[:-1]}s for each, or a part of one (default: %(default)s)"
            pool.add_argument(f"--{name}-{kind}", type=float, metavar="N", default=default, help=said)


def run(args: argparse.Namespace) -> int:
    """Run ``ray-serve`` as parsed; the exit status.

    Raises:
        SentimentError: an option, a setting or the model is not as it should be, or it does not run in time.
    """
    settings = load_settings()
    with joined(args.address, {"RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": _proxy_callback()}):
        from ray import serve
        from ray.serve.config import HTTPOptions

        http = HTTPOptions(host=settings.host, port=settings.port, request_timeout_s=None)
        serve.start(proxy_location=_PROXIES[args.proxies], http_options=http)
        _deploy(settings, _pool(args, "engine"), _pool(args, "front"), args.wait)
    return 0


def _proxy_callback() -> str:
    """Name of what Ray's proxies import; this package has another one where it is installed."""
    from app.fleet.deployments import proxy_middleware

    return f"{proxy_middleware.__module__}.{proxy_middleware.__name__}"


def _pool(args: argparse.Namespace, name: str) -> Pool:
    from app.fleet.deployments import Pool

    given = getattr(args, f"{name}s")
    fewest, colon, most = given.partition(":")
    try:
        numbers = int(fewest), int(most if colon else fewest)
    except ValueError:
        numbers = 0, 0
    if not 1 <= numbers[0] <= numbers[1] <= _LARGEST:
        raise OptionError(f"{name}s", f"must be FEWEST:MOST with 1 <= FEWEST <= MOST <= {_LARGEST} (got {given!r})")
    ongoing, cpus = getattr(args, f"{name}_ongoing"), getattr(args, f"{name}_cpus")
    gpus = getattr(args, f"{name}_gpus", 0.0)
    if ongoing <= 0:
        raise OptionError(f"{name}_ongoing", f"must be more than 0 (got {ongoing})")
    for kind, amount in (("cpus", cpus), ("gpus", gpus)):
        if amount < 0:
            raise OptionError(f"{name}_{kind}", f"must not be less than 0 (got {amount})")
    return Pool(*numbers, ongoing, cpus, gpus)


def _deploy(settings: Settings, engines: Pool, fronts: Pool, seconds: float) -> None:
    """Have a model served, in the place of what is served now.

    Engines of another model are another application, which goes when no front needs it any more: token ids of one
    model are worth nothing to the engine of another, and a rolling update has both for a while.
    """
    from ray import serve

    from app.fleet.deployments import engine_application, front_application

    until = time.monotonic() + seconds
    model = ModelStore(settings.model_store).open(settings.model)
    chosen = settings.model_copy(update={"model": model.reference})
    name = f"{_ENGINES}{model.digest[:12]}"
    say(f"starting engines of {model.reference}")
    _start(engine_application(chosen, model.digest, engines), name, None, until)
    say("starting what answers HTTP")
    _start(front_application(chosen, model.digest, name, fronts), APPLICATION, settings.root_path or "/", until)
    for old in serve.status().applications:
        if old.startswith(_ENGINES) and old != name:
            say(f"ending {old}")
            serve.delete(old)
    say(f"{model.reference} is served on port {settings.port}")


def _start(application: Application, name: str, route: str | None, until: float) -> None:
    """Start or update an application, and wait for it."""
    from ray import serve

    target = serve.RunTarget(application, name, route)
    serve.run_many([target], wait_for_ingress_deployment_creation=False, wait_for_applications_running=False)
    while True:
        state = serve.status().applications[name]
        if state.status == "RUNNING":
            return
        messages = [state.message, *(deployment.message for deployment in state.deployments.values())]
        reason = " ".join(filter(None, messages))
        if state.status in ("DEPLOY_FAILED", "UNHEALTHY"):
            raise ServiceError(f"{name} does not start: {reason}")
        if time.monotonic() > until:
            raise ServiceError(f"{name} does not run yet ({state.status}), and is left to start: {reason}")
        time.sleep(_POLL_SECONDS)
