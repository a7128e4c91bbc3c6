"""The image: small, without anything that only building needs, and content with next to no rights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.containers.engine import BASE, container, docker, inspect, python_in, wait_healthy

pytestmark = [pytest.mark.extra, pytest.mark.containers]

MEGABYTE = 1_000_000
NOT_OURS = ("COPY /opt/venv /opt/venv", "COPY model_store ")
"""Layers of torch and of the models."""

CLASSIFY = """
import http.client, sys
service = http.client.HTTPConnection("127.0.0.1", 8000, timeout=30)
service.request(*sys.argv[1:3], *sys.argv[3:], headers={"Content-Type": "application/json"})
answer = service.getresponse()
assert answer.status == 200, answer.status
print(answer.read().decode())
"""
FILES = """
import csv, http.client, io, json, sys
import pyarrow as pa, pyarrow.parquet as pq
import pynvml
texts = ["A lovely film.", "Dull and far too long."]
parquet = io.BytesIO()
pq.write_table(pa.table({"text": texts}), parquet)
rows = "\\n".join(["text", *texts]) + "\\n"
bodies = {"csv": rows, "tsv": rows, "jsonl": "\\n".join(json.dumps({"text": text}) for text in texts),
          "parquet": parquet.getvalue()}
for format, body in bodies.items():
    service = http.client.HTTPConnection("127.0.0.1", 8000, timeout=60)
    service.request("POST", f"/files?format={format}", body)
    answer = service.getresponse()
    print(answer.status, *(json.loads(line).get("label") for line in answer.read().splitlines()))
"""
LEFT_OVERS = """
import importlib.util, pathlib, shutil, sys
from app import compiler
site = pathlib.Path(next(path for path in sys.path if path.endswith("site-packages")))
modules = ("pytest", "mypy", "ruff", "hypothesis", "ziglang", "sklearn", "matplotlib", "pip")
print([
    *filter(shutil.which, ("cc", "gcc", "clang", "zig", "make")),
    *filter(importlib.util.find_spec, modules),
    *map(str, site.rglob("tests")),
    *map(str, pathlib.Path("/srv").rglob(".build-*")),
    *(str(path) for path in (pathlib.Path("~root/.cache").expanduser(), pathlib.Path("/build")) if path.exists()),
    *(f"not compiled: {path}" for path in pathlib.Path("/srv/app").rglob("*.py")
      if not pathlib.Path(importlib.util.cache_from_source(path)).exists()),
    *(f"not built: {library.path}" for library in (compiler.KERNEL, compiler.WORDS) if not library.is_current()),
])
"""


def ask(name: str, method: str, path: str, *body: str) -> dict[str, object]:
    """An answer of a service that only its own container can reach."""
    answer: dict[str, object] = json.loads(python_in(name, CLASSIFY, method, path, *body))
    return answer


def test_it_is_small(image: str) -> None:
    """Below 1.5 GB; below 320 MB beside the base image, torch and the models, half of that pyarrow."""
    total = inspect(image, "{{.Size}}")
    history = docker("history", "--human=false", "--no-trunc", "--format", "{{.Size}} {{.CreatedBy}}", image)
    layers = [line.partition(" ")[::2] for line in history.splitlines()]
    others = [int(size) for size, command in layers if command.startswith(NOT_OURS)]
    assert len(others) == len(NOT_OURS)
    own = total - inspect(BASE, "{{.Size}}") - sum(others)
    print(f"image {total / MEGABYTE:.0f} MB, own layers {own / MEGABYTE:.0f} MB")
    assert total < 1_500 * MEGABYTE
    assert 0 < own < 320 * MEGABYTE


def test_only_what_serving_needs(image: str) -> None:
    """No compiler, no test tools, no caches; what is written in C is built, what is written in Python compiled."""
    with container("--network", "none", "--user", "0", "--entrypoint", "sleep", command=["60"]) as name:
        assert python_in(name, LEFT_OVERS) == "[]"


def test_next_to_no_rights_and_no_network(image: str) -> None:
    """Read-only, without capabilities, not root, without a network: it serves from the compiled kernel, and drains."""
    options = ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--user", "10001", "--network", "none"]
    assert inspect(image, "{{json .Config.User}}") == "10001"
    with container(*options, "--security-opt", "no-new-privileges") as name:
        print(f"healthy after {wait_healthy(name):.1f} s")
        assert ask(name, "POST", "/classify", '{"text": "A lovely film."}')["label"] == "positive"
        models = ask(name, "GET", "/models")["models"]
        assert isinstance(models, list)
        assert [model["runtime"] for model in models if model["served"]] == ["native"]
        docker("stop", name)
        assert inspect(name, "{{.State.ExitCode}}") == 0


def test_files_of_every_format(image: str) -> None:
    """Whatever docs/files.md names; NVML can be imported too, so that a GPU has figures."""
    with container("--network", "none") as name:
        wait_healthy(name)
        assert python_in(name, FILES).splitlines() == ["200 positive negative"] * 4


def test_a_volume_overrides_the_models(image: str, tiny_store: Path, tmp_path: Path) -> None:
    """Another model store takes the place of the one in the image, read-only."""
    store = shutil.copytree(tiny_store, tmp_path / "store")
    store.chmod(0o755)  # folders of tests are private, and the service is another user
    options = ["--volume", f"{store}:/srv/model_store:ro", "--env", "SENTIMENT_MODEL=tiny/1", "--network", "none"]
    with container(*options) as name:
        wait_healthy(name)
        answer = ask(name, "POST", "/classify", '{"text": "A lovely film."}')
        assert (answer["model"], answer["version"]) == ("tiny", 1)
