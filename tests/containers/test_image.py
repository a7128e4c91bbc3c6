"""The images: small, without anything that only building needs, and content with next to no rights."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.containers.engine import (
    BASE,
    IMAGE,
    SLIM,
    classified,
    container,
    docker,
    inspect,
    python_in,
    served,
    wait_healthy,
)

pytestmark = [pytest.mark.extra, pytest.mark.containers]

MEGABYTE = 1_000_000
NOT_OURS = ("COPY /opt/torch /opt/venv", "COPY model_store ", "COPY /opt/model_store ")
"""Layers of torch and of the models."""

LEFT_OVERS = """
import importlib.util, pathlib, shutil, sys
import sentiment_service
from sentiment_service._app.native import compiler
site = pathlib.Path(sentiment_service.__file__).parent.parent
modules = ("pytest", "mypy", "ruff", "hypothesis", "ziglang", "sklearn", "matplotlib", "pip", "setuptools")
print([
    *filter(shutil.which, ("cc", "gcc", "clang", "zig", "make")),
    *filter(importlib.util.find_spec, modules),
    *map(str, site.rglob("tests")),
    *map(str, site.rglob(".build-*")),
    *(str(path) for path in (pathlib.Path("~root/.cache").expanduser(), pathlib.Path("/build")) if path.exists()),
    *(f"not compiled: {path}" for path in (site / "sentiment_service").rglob("*.py")
      if not pathlib.Path(importlib.util.cache_from_source(path)).exists()),
    *(f"not built: {library.path}" for library in (compiler.KERNEL, compiler.WORDS) if not library.is_current()),
])
"""


def sizes(image: str) -> tuple[float, float]:
    """Megabytes of an image, and of its layers beside the base image, torch and the models."""
    total = inspect(image, "{{.Size}}")
    history = docker("history", "--human=false", "--no-trunc", "--format", "{{.Size}} {{.CreatedBy}}", image)
    layers = [line.partition(" ")[::2] for line in history.splitlines()]
    others = [int(size) for size, command in layers if command.startswith(NOT_OURS)]
    assert others
    own = total - inspect(BASE, "{{.Size}}") - sum(others)
    print(f"{image}: {total / MEGABYTE:.0f} MB, own layers {own / MEGABYTE:.0f} MB")
    return total / MEGABYTE, own / MEGABYTE


def test_it_is_small(image: str) -> None:
    """Below 1.5 GB; below 320 MB beside the base image, torch and the models, half of that pyarrow."""
    total, own = sizes(image)
    assert total < 1_500
    assert 0 < own < 320


def test_the_slim_one_is_smaller(slim: str) -> None:
    """Below 130 MB beside the base image and one model."""
    total, own = sizes(slim)
    assert total - inspect(BASE, "{{.Size}}") / MEGABYTE < 190
    assert 0 < own < 130


@pytest.mark.parametrize("name", [IMAGE, SLIM])
def test_only_what_serving_needs(image: str, slim: str, name: str) -> None:
    """No compiler, no test tools, no caches; what is written in C is built, what is written in Python compiled."""
    options = ["--network", "none", "--user", "0", "--entrypoint", "sleep"]
    with container(*options, command=["60"], image=name) as running:
        assert python_in(running, LEFT_OVERS) == "[]"


@pytest.mark.parametrize("name", [IMAGE, SLIM])
def test_next_to_no_rights_and_no_network(image: str, slim: str, name: str) -> None:
    """Read-only, without capabilities, not root, without a network: it serves from the compiled kernel, and drains."""
    options = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--user", "10001", "--network", "none"]
    assert inspect(name, "{{json .Config.User}}") == "10001"
    with container(*options, "--security-opt", "no-new-privileges", image=name) as running:
        print(f"healthy after {wait_healthy(running):.1f} s")
        assert classified(running)["label"] == "positive"
        assert served(running)["runtime"] == "native"
        docker("stop", running)
        assert inspect(running, "{{.State.ExitCode}}") == 0


def test_a_volume_overrides_the_models(image: str, tiny_store: Path, tmp_path: Path) -> None:
    """Another model store takes the place of the one in the image, read-only."""
    store = shutil.copytree(tiny_store, tmp_path / "store")
    store.chmod(0o755)  # folders of tests are private, and the service is another user
    options = ["--volume", f"{store}:/srv/model_store:ro", "--env", "SENTIMENT_MODEL=tiny/1", "--network", "none"]
    with container(*options) as name:
        wait_healthy(name)
        answer = classified(name)
        assert (answer["model"], answer["version"]) == ("tiny", 1)


LONG = f"/{'t' * 119}"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--read-only"], "error: TMPDIR: no temporary folder can be written .*--tmpfs /tmp` does"),
        (
            ["--tmpfs", f"{LONG}:mode=1777", "--env", f"TMPDIR={LONG}"],
            f"error: TMPDIR: {LONG} is too long, .*such as /tmp",
        ),
    ],
)
def test_without_a_place_for_sockets_one_line_says_what_to_do(slim: str, options: list[str], said: str) -> None:
    """A read-only root without a folder in memory, and one whose path no socket may have; scoring needs neither."""
    run = ["docker", "run", "--rm", "--network", "none", *options]
    ended = subprocess.run([*run, SLIM], capture_output=True, text=True, timeout=180, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert re.fullmatch(f"{said}\n", ended.stderr)
    verified = subprocess.run(
        [*run, SLIM, "models", "verify"], capture_output=True, text=True, timeout=180, check=False
    )
    assert (verified.returncode, verified.stderr) == (0, "")
