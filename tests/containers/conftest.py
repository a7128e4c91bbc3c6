"""The engine and the images, which all container tests need."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess

import pytest

from tests.containers.engine import IMAGE, SLIM, docker


@pytest.fixture(scope="session")
def engine() -> None:
    """A Docker engine with compose."""
    for command in (["docker", "info"], ["docker", "compose", "version"]):
        if (
            shutil.which("docker")
            and not subprocess.run(command, capture_output=True, timeout=60, check=False).returncode
        ):
            continue
        message = f"needs a Docker engine: `{shlex.join(command)}` fails"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)


def build(name: str, *options: str, folder: str = ".") -> str:
    """Build an image of a folder of this checkout.

    ``CONTAINER_BUILD_OPTIONS`` is for machines that find packages elsewhere.
    """
    given = shlex.split(os.environ.get("CONTAINER_BUILD_OPTIONS", ""))
    docker("build", "--tag", name, *options, *given, folder, limit=1800)
    return name


@pytest.fixture(scope="session")
def image(engine: None) -> str:
    """The full image."""
    return build(IMAGE)


@pytest.fixture(scope="session")
def slim(engine: None) -> str:
    """The one without PyTorch, Parquet and traces."""
    return build(SLIM, "--target", "slim")
