"""Images that others publish are named by digest: outright, or in the file that an operator starts from."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from tests.deploy.chart import ROOT

BY_DIGEST = re.compile(r"[a-z0-9][a-z0-9./_-]*:[A-Za-z0-9._-]+@sha256:[0-9a-f]{64}")
VARIABLE = re.compile(r"\$\{([A-Z_]+):-([^}]+)\}")
OURS = {"APP_IMAGE", "PROXY_IMAGE"}
EXAMPLE = dict(
    line.split("=", 1) for line in (ROOT / ".env.example").read_text().splitlines() if line and not line.startswith("#")
)
"""What an operator's ``.env`` begins with. The files themselves have tags there, as an engine that reaches no registry
has images of its own under these."""


def services() -> dict[str, Any]:
    """Everything that a compose file starts."""
    found: dict[str, Any] = {}
    for path in sorted(ROOT.glob("docker-compose*.yml")):
        document = yaml.safe_load(path.read_text().replace("!reset", ""))
        found |= {f"{path.name}: {name}": service for name, service in document["services"].items()}
    return found


def named() -> dict[str, str]:
    """Images by where they are named."""
    images = {place: service["image"] for place, service in services().items() if "image" in service}
    for place, service in services().items():
        if isinstance(build := service.get("build"), dict) and "BASE" in build["args"]:
            images[f"{place}, base"] = build["args"]["BASE"]
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    for entry in workflow["jobs"]["tests"]["strategy"]["matrix"]["include"]:
        images[f"ci, Python {entry['python']}"] = entry["image"]
    return images


def test_there_are_images() -> None:
    """Of all kinds."""
    assert len(named()) >= 12
    assert {place for place in named() if place.endswith(", base")} == {
        "docker-compose.yml: app, base",
        "docker-compose.proxy.yml: proxy, base",
    }


@pytest.mark.parametrize("place", named())
def test_an_image_has_a_digest(place: str) -> None:
    """Where a variable names it, in ``.env.example``, for the same repository."""
    image = named()[place]
    if variable := VARIABLE.fullmatch(image):
        name, default = variable.groups()
        if name in OURS:
            return
        image = EXAMPLE[name]
        assert image.partition(":")[0] == default.partition(":")[0]
    assert BY_DIGEST.fullmatch(image), image


@pytest.mark.parametrize("path", ["Dockerfile", "deploy/proxy/Dockerfile"])
def test_a_dockerfile_names_one_image(path: str) -> None:
    """The base, which compose and ``--build-arg BASE`` set; all others are stages of it."""
    text = (ROOT / path).read_text()
    stages = {"${BASE}", *re.findall(r"^FROM \S+ AS (\S+)$", text, re.MULTILINE)}
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) <= stages
    [default] = re.findall(r"^ARG BASE=(\S+)$", text, re.MULTILINE)
    assert EXAMPLE["BASE_IMAGE"].startswith(f"{default}@sha256:")
