"""The documentation site: built without a warning, of all pages, in the README's order, with nothing from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_documentation import DOORS, PAGES, ROOT

pytestmark = pytest.mark.extra


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As ``make docs`` builds it."""
    folder = tmp_path_factory.mktemp("site")
    recipe = re.search(r"^docs:.*\n\t\$\(BIN\)/python (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe
    command = recipe[1].replace("build/site", str(folder)).split()
    ended = subprocess.run(
        [sys.executable, *command], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return folder


def test_every_page_is_in_it(site: Path) -> None:
    """Those that the README leads to, those for contributors, and the README itself as the home, section by section."""
    for page in [*PAGES, *DOORS]:
        assert (site / page.relative_to(ROOT).with_suffix(".html")).exists()
    home = (site / "index.html").read_text()
    assert home == (site / "README.html").read_text()
    sections = re.findall(r"^## (.+)$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert re.findall(r"<h2>(.+?)<a ", home) == sections


def test_nothing_comes_from_elsewhere(site: Path) -> None:
    """No page loads a script, a style, a font or a picture of another address; links may lead there."""
    pages = list(site.rglob("*.html"))
    assert len(pages) > len(PAGES)
    for page in pages:
        text = page.read_text()
        loaded = re.findall(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"([^\"]+)\"", text)
        loaded += re.findall(r"<link\b(?![^>]*rel=\"(?:index|search|next|prev)\")[^>]*\bhref=\"([^\"]+)\"", text)
        assert loaded
        assert [address for address in loaded if re.match(r"(?:\w+:)?//", address)] == []
    for style in site.rglob("*.css"):
        assert not re.search(r"url\([\"']?(?:\w+:)?//|@import", style.read_text()), style
