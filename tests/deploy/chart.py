"""The chart as helm renders it."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import yaml

from deploy.settings_schema import CHART
from tests.monitoring.stack import program

ROOT = Path(__file__).parent.parent.parent
NAME, NAMESPACE = "reviews-sentiment-service", "shop"

Values = dict[str, Any]
Document = dict[str, Any]


def tool(name: str) -> str:
    """helm or kubectl, out of `make helm` or from PATH."""
    fetched = ROOT / "build" / "helm" / name / name
    return str(fetched) if fetched.exists() else program(name)


def run_helm(values: Values, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command of helm on the chart with values of its own."""
    return subprocess.run(
        [tool("helm"), *command, str(CHART), "--values", "-"],
        input=yaml.safe_dump(values),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def rendered(values: Values) -> str:
    """What `helm template` prints for a release ``reviews`` in the namespace ``shop``."""
    ended = run_helm(values, "template", "reviews", "--namespace", NAMESPACE)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def documents(text: str) -> list[Document]:
    """The objects in it."""
    return [document for document in yaml.safe_load_all(text) if document]


def of_kind(kind: str, text: str) -> list[Document]:
    """Those of one kind."""
    return [document for document in documents(text) if document["kind"] == kind]


def pod(text: str) -> Document:
    """The specification of the pods."""
    [deployment] = of_kind("Deployment", text)
    return dict(deployment["spec"]["template"]["spec"])


def service_container(text: str) -> Document:
    """The one container of a pod."""
    [found] = pod(text)["containers"]
    return dict(found)


def environment(text: str) -> dict[str, str]:
    """Variables of the container, but those that come out of secrets."""
    return {entry["name"]: entry["value"] for entry in service_container(text)["env"] if "value" in entry}
