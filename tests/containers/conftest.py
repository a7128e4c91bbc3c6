"""The engine and the image, which all container tests need."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess

import pytest

from tests.containers.engine import IMAGE, docker


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


@pytest.fixture(scope="session")
def image(engine: None) -> str:
    """The image of this checkout. ``CONTAINER_BUILD_OPTIONS`` is for machines that find packages elsewhere."""
    docker("build", "--tag", IMAGE, *shlex.split(os.environ.get("CONTAINER_BUILD_OPTIONS", "")), ".", limit=1800)
    return IMAGE
