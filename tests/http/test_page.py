"""The page's files: complete, small, and from nowhere else."""

from __future__ import annotations

import math
import re
from itertools import combinations
from operator import mul
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.http.page import routes
from app.keys import CLASSIFY, new_key
from tests.fakes import FakeExplainer, application, client_of

FOLDER = Path(routes.__file__).parent
FILES = sorted(path for path in FOLDER.iterdir() if path.suffix in {".html", ".js", ".css", ".svg"})


async def get(path: str, **headers: str) -> httpx.Response:
    transport = httpx.ASGITransport(app=application())
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.get(path, headers=headers)


@pytest.mark.parametrize("keys", [False, True])
async def test_who_opens_it_finds_explanations_ready(tmp_path: Path, keys: bool) -> None:
    """What it asks first starts what explains, neither a probe of ``/`` nor a program's question; where there are keys,
    whoever has none starts nothing."""
    settings: dict[str, Any] = {}
    key, kept = new_key("alice", [CLASSIFY])
    if keys:
        settings["api_keys"] = tmp_path / "keys"
        settings["api_keys"].write_text(kept.line + "\n")
    explainer = FakeExplainer()
    async with client_of(application(explainer=explainer, **settings)) as client:
        for path in ("/", "/page/page.js"):
            assert (await client.get(path)).status_code == 200
        opened = await client.get("/models", headers={"X-Page": "1"})
        assert (opened.status_code, explainer.warmed) == ((401, 0) if keys else (200, 1))
        authorized = {"Authorization": f"Bearer {key}"}
        assert (await client.get("/models", headers=authorized)).status_code == 200
        assert explainer.warmed == (0 if keys else 1)
        await client.get("/v1/models", headers={**authorized, "X-Page": "1"})
        assert explainer.warmed == (1 if keys else 2)


def test_it_is_small() -> None:
    """All files together are under 150 KB."""
    assert sum(path.stat().st_size for path in FILES) < 150_000


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_nothing_comes_from_elsewhere(path: Path) -> None:
    """No address outside the service but the name of SVG itself, no inline script or style, no HTML made of strings."""
    text = path.read_text()
    assert set(re.findall(r"https?://[^\s\"')]+", text)) <= {"http://www.w3.org/2000/svg"}
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|<script>|<style|\sstyle=", text
    )
    assert not re.search(r"\son[a-z]+=\"", text)


SEEN_BY = {
    "everybody": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": ((0.152, 1.053, -0.205), (0.115, 0.786, 0.099), (-0.004, -0.048, 1.052)),
    "deuteranopia": ((0.367, 0.861, -0.228), (0.280, 0.673, 0.047), (-0.012, 0.043, 0.969)),
    "tritanopia": ((1.256, -0.077, -0.179), (-0.078, 0.931, 0.148), (0.005, 0.691, 0.304)),
}
"""Linear RGB as it is seen (Machado, Oliveira and Fernandes 2009)."""


def lab(colour: tuple[int, ...], seen: tuple[tuple[float, ...], ...]) -> tuple[float, float, float]:
    """CIELAB of an sRGB colour, as somebody sees it."""
    linear = [((value / 255 + 0.055) / 1.055) ** 2.4 if value > 10 else value / 255 / 12.92 for value in colour]
    red, green, blue = (min(1, max(0, sum(map(mul, row, linear)))) for row in seen)
    x = (0.4124 * red + 0.3576 * green + 0.1805 * blue) / 0.9505
    y = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    z = (0.0193 * red + 0.1192 * green + 0.9505 * blue) / 1.0888
    fx, fy, fz = (value ** (1 / 3) if value > 0.008856 else 7.787 * value + 16 / 116 for value in (x, y, z))
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


@pytest.mark.parametrize("seen", SEEN_BY)
def test_labels_are_told_apart_by_everybody(seen: str) -> None:
    """Positive, negative, neutral and none differ by far more than the eye needs, in light and in dark."""
    style = (FOLDER / "page.css").read_text()
    found: dict[str, list[tuple[int, ...]]] = {}
    for name, values in re.findall(r"--(good|bad|neutral|none): (\d+ \d+ \d+);", style):
        found.setdefault(name, []).append(tuple(map(int, values.split())))
    assert found.keys() == {"good", "bad", "neutral", "none"}
    for scheme in (0, -1):
        colours = [lab(values[scheme], SEEN_BY[seen]) for values in found.values()]
        assert min(math.dist(one, two) for one, two in combinations(colours, 2)) > 25


async def test_every_reference_is_served() -> None:
    """The page, its scripts' imports and its style sheet are all there, with a type browsers accept."""
    page = await get("/")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    names = re.findall(r'(?:href|src)="page/([^"]+)"', page.text)
    names += [name for path in FILES for name in re.findall(r'from "\./([^"]+)"', path.read_text())]
    assert {"page.js", "page.css", "review.js", "file.js"} <= set(names)
    for name in set(names):
        part = await get(f"/page/{name}")
        assert part.status_code == 200
        assert part.content == (FOLDER / name).read_bytes()
        assert "charset=utf-8" in part.headers["content-type"]


async def test_the_policy_is_strict() -> None:
    """Scripts, styles and connections from the service itself only, and no framing."""
    policy = (await get("/")).headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


async def test_what_the_browser_has_is_not_sent_again() -> None:
    """A matching ETag is answered 304 without a body, also one among others, or one that a proxy has made weak."""
    tag = (await get("/page/page.css")).headers["etag"]
    for known in (tag, f"W/{tag}", f'"other", W/{tag}'):
        again = await get("/page/page.css", **{"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
    assert (await get("/page/page.css", **{"If-None-Match": 'W/"other"'})).status_code == 200


@pytest.mark.parametrize("name", ["routes.py", "..%2Froutes.py", "%2e%2e/routes.py", "index.html/..", "absent.js"])
async def test_nothing_else_is_served(name: str) -> None:
    """Only the page's own files, by their plain names."""
    assert (await get(f"/page/{name}")).status_code == 404
