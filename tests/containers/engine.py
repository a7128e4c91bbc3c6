"""Docker and compose as functions. Everything has a deadline, and what a command said is in the failure."""

from __future__ import annotations

import json
import os
import subprocess
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent.parent
BASE = "python:3.11-slim-bookworm"
IMAGE = "sentiment-service:test"
SLIM = "sentiment-service:test-slim"


_OPERATORS = ("APP_", "COMPOSE_", "GRAFANA_", "PROMETHEUS_", "PROXY_", "SENTIMENT_", "TORCH_")
"""Variables that the compose files, or compose, would read."""


def operators_environment(**given: str) -> dict[str, str]:
    """This process' variables, with what is given in place of whatever the operator of this machine has set."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_OPERATORS)}
    return {**inherited, "COMPOSE_DISABLE_ENV_FILE": "1", **given}


def docker(*arguments: str, limit: float = 60, **environment: str) -> str:
    """What ``docker`` prints, whatever the operator of this machine has set; fails with what it complains."""
    ended = subprocess.run(
        ["docker", *arguments],
        cwd=ROOT,
        env=operators_environment(**environment),
        capture_output=True,
        text=True,
        timeout=limit,
        check=False,
    )
    assert ended.returncode == 0, f"docker {' '.join(arguments)}:\n{ended.stdout}\n{ended.stderr}"
    return ended.stdout.strip()


def inspect(name: str, template: str = "{{json .}}") -> Any:
    """A container's or an image's properties, by a template that yields JSON."""
    return json.loads(docker("inspect", "--format", template, name))


def wait_healthy(name: str, limit: float = 180, restarts: int = 0) -> float:
    """Seconds until a container is healthy that was restarted so many times; fails with its log."""
    started = time.monotonic()
    while time.monotonic() - started < limit:
        if inspect(name, "[{{json .State.Health.Status}}, {{.RestartCount}}]") == ["healthy", restarts]:
            return time.monotonic() - started
        time.sleep(0.05)
    log = subprocess.run(
        ["docker", "logs", "--tail", "50", name], capture_output=True, text=True, timeout=60, check=False
    )
    checks = inspect(name, "{{json .State.Health.Log}}")
    raise AssertionError(f"{name} is not healthy:\n{log.stdout}\n{log.stderr}\n{checks}")


@contextmanager
def container(*options: str, command: Sequence[str] = (), image: str = IMAGE) -> Iterator[str]:
    """Name of a container of an image, which is removed at the end."""
    name = f"sentiment-test-{uuid.uuid4().hex[:8]}"
    try:
        docker("run", "--detach", "--name", name, *options, image, *command)
        yield name
    finally:
        docker("rm", "--force", "--volumes", name)


def python_in(name: str, code: str, *arguments: str) -> str:
    """What a program prints in a running container."""
    return docker("exec", name, "python", "-c", code, *arguments, limit=240)


_ASK = """
import http.client, json, sys
service = http.client.HTTPConnection("127.0.0.1", 8000, timeout=200)
service.request(*sys.argv[1:3], *sys.argv[3:], headers={"Content-Type": "application/json"})
answer = service.getresponse()
print(json.dumps([answer.status, json.loads(answer.read())]))
"""


def ask(name: str, method: str, path: str, document: object = None) -> tuple[int, dict[str, Any]]:
    """Status and document of a service that only its own container can reach."""
    body = [] if document is None else [json.dumps(document)]
    status, answer = json.loads(python_in(name, _ASK, method, path, *body))
    return status, answer


def classified(name: str, **more: object) -> dict[str, Any]:
    """The answer to a short text."""
    status, answer = ask(name, "POST", "/classify", {"text": "A lovely film.", **more})
    assert status == 200, answer
    return answer


def served(name: str) -> dict[str, Any]:
    """What a service says of the model it serves."""
    status, answer = ask(name, "GET", "/models")
    assert status == 200, answer
    [model] = [model for model in answer["models"] if model["served"]]
    return dict(model)
