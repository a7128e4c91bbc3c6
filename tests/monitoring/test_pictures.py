"""The command that draws the pictures of the dashboards."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.pictures import ROOT, served

pytestmark = pytest.mark.extra


def test_pictures_need_no_corpus(tmp_path: Path) -> None:
    """Half a minute of reviews put together by chance is enough to draw all dashboards."""
    command = [sys.executable, "-m", "tests.monitoring.pictures", "--minutes", "0.5", "--out", str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stderr
    drawn = {"dashboard-service.png", "dashboard-model.png", "dashboard-roll-out.png"}
    assert {path.name for path in tmp_path.iterdir()} == drawn
    for path in tmp_path.iterdir():
        with Image.open(path) as picture:
            assert picture.info["Shows"] == served()
