"""``python -m tests.pictures``: the pictures of the page in docs/images. Needs Chromium.

Runs the shipped model on this machine, opens the page, scores a review and a file, and takes the pictures. Each says in
itself what it shows, so that a test can tell when it has become old.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from playwright.sync_api import Browser, Page, expect

from app.settings import Settings
from app.store import ModelStore
from tests.page.chromium import SLOW, launched
from tests.service import serving

ROOT = Path(__file__).parent.parent
IMAGES = ROOT / "docs" / "images"
STORE = ROOT / "model_store"
MODEL: str = Settings.model_fields["model"].default
"""The model that is served unless somebody chooses another."""
REVIEW = "I liked the first half. The second half was dull, far too long, and the ending is simply awful!"
ROWS = [
    "A joy from start to end, and the cast is wonderful.",
    "Dull, loud and far too long.",
    "I laughed, I cried, I would see it again tomorrow.",
    "The plot makes no sense and nobody seems to care.",
    "The best thing I have seen on a screen in ten years.",
    "Two hours of my life that I will not get back.",
]


def stamp(picture: bytes, **says: str) -> bytes:
    """The same PNG in 256 colours, which says in itself what it shows."""
    info = PngInfo()
    for name, value in says.items():
        info.add_text(name, value)
    out = io.BytesIO()
    small = Image.open(io.BytesIO(picture)).convert("RGB").quantize(256)
    small.save(out, "PNG", optimize=True, pnginfo=info)
    return out.getvalue()


def served() -> str:
    """NAME/VERSION of what is served by default."""
    return ModelStore(STORE).open(MODEL).reference


def digest_of_page() -> str:
    """Changes with whatever the page is made of."""
    folder = ROOT / "app" / "http" / "page"
    files = sorted(path for path in folder.iterdir() if path.suffix in {".html", ".css", ".js"})
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]


def show_review(page: Page) -> None:
    """A review with its answer and its explanation."""
    page.locator("#text").fill(REVIEW)
    expect(page.locator("#words mark").first).to_be_visible(timeout=SLOW)
    page.locator("#text").blur()


def show_file(page: Page) -> None:
    """A file with its rows."""
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "reviews.csv"
        table.write_text("id,review\n" + "".join(f'{number},"{row}"\n' for number, row in enumerate(ROWS, 1)))
        page.locator("#file").set_input_files(table)
        page.locator("#start").click()
        expect(page.locator("#file-summary")).to_contain_text(f"{len(ROWS)} rows")


Scheme = Literal["light", "dark"]
PICTURES: dict[str, tuple[int, Scheme, Callable[[Page], None], str]] = {
    "page.png": (1100, "light", show_review, ""),
    "page-phone.png": (390, "dark", show_review, ""),
    "page-file.png": (1100, "light", show_file, "section[aria-labelledby=file-title]"),
}
"""By file: the window's width, the colours, what is done, and what of the page is taken: all, or an element."""


def take(browser: Browser, out: Path) -> None:
    """Put all pictures of the page into a folder."""
    out.mkdir(parents=True, exist_ok=True)
    says = {"Shows": served(), "Made from": digest_of_page()}
    with serving(STORE, MODEL, workers="1", timeout="60") as service:
        for name, (width, scheme, act, part) in PICTURES.items():
            page = browser.new_page(viewport={"width": width, "height": 600}, color_scheme=scheme)
            page.goto(service.url)
            expect(page.locator("#model option").first).to_be_attached()
            act(page)
            whole = page.screenshot(full_page=True) if not part else page.locator(part).screenshot()
            (out / name).write_bytes(stamp(whole, **says))
            page.close()


def main() -> None:
    """Take all pictures of the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=IMAGES, help="folder of the pictures (default: docs/images)")
    options = parser.parse_args()
    with launched() as browser:
        take(browser, options.out)


if __name__ == "__main__":
    main()
