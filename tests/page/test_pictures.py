"""The command that takes the pictures of the page."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Browser

from tests.pictures import IMAGES, PICTURES, REPORT, digest_of, served, take

pytestmark = pytest.mark.extra


def test_all_pictures_are_taken(browser: Browser, tmp_path: Path) -> None:
    """As wide as those in docs/images, and stamped with what they show."""
    take(browser, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*PICTURES, REPORT}
    for name in (*PICTURES, REPORT):
        with Image.open(tmp_path / name) as new, Image.open(IMAGES / name) as old:
            assert new.width == old.width
            assert new.info["Shows"] == served()
            assert new.info["Made from"] == digest_of(name)
