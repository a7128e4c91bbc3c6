"""The page's files: complete, small, and from nowhere else."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest

from app.api.page import routes
from tests.fakes import application

FOLDER = Path(routes.__file__).parent
FILES = sorted(path for path in FOLDER.iterdir() if path.suffix in {".html", ".js", ".css", ".svg"})


async def get(path: str, **headers: str) -> httpx.Response:
    transport = httpx.ASGITransport(app=application())
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return await client.get(path, headers=headers)


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
    """A matching ETag is answered 304 without a body."""
    first = await get("/page/page.css")
    again = await get("/page/page.css", **{"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("name", ["routes.py", "..%2Froutes.py", "%2e%2e/routes.py", "index.html/..", "absent.js"])
async def test_nothing_else_is_served(name: str) -> None:
    """Only the page's own files, by their plain names."""
    assert (await get(f"/page/{name}")).status_code == 404
