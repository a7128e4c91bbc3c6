"""The file of the most different texts: what is in it, how much at most, and who may read it."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from app.serving.different_texts import MOST_CHARACTERS, MOST_FILES, MOST_TEXTS, DifferentTexts


def entry(text: str, difference: float) -> dict[str, Any]:
    return {"text": text, "difference": difference, "served": {"label": "positive"}}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_most_different_are_kept(tmp_path: Path) -> None:
    """So many, the most different one first; for the owner alone."""
    texts = DifferentTexts(tmp_path, "a-1.b-2.worker-0")
    for number in range(3 * MOST_TEXTS):
        texts.add(entry(f"text {number}", number * 7 % 300 / 300))
    assert texts.changed
    texts.write()
    assert not texts.changed
    found = lines(texts.path)
    differences = [one["difference"] for one in found]
    assert (len(found), differences) == (MOST_TEXTS, sorted(differences, reverse=True))
    assert min(differences) == pytest.approx(200 / 300)
    assert texts.path.name == "shadow.a-1.b-2.worker-0.jsonl"
    assert texts.path.stat().st_mode & 0o777 == 0o600
    texts.add(entry("text less", 0.1))
    assert not texts.changed


def test_a_text_is_kept_once_and_its_start_alone(tmp_path: Path) -> None:
    texts = DifferentTexts(tmp_path, "x")
    for _ in range(2):
        texts.add(entry("long" * MOST_CHARACTERS, 0.5))
    texts.write()
    [found] = lines(texts.path)
    assert found["text"] == ("long" * MOST_CHARACTERS)[:MOST_CHARACTERS]


def test_a_process_that_is_started_again_goes_on(tmp_path: Path) -> None:
    """Unless the file is no such file."""
    first = DifferentTexts(tmp_path, "x")
    first.add(entry("one", 0.9))
    first.write()
    second = DifferentTexts(tmp_path, "x")
    assert not second.changed
    second.add(entry("two", 0.95))
    second.write()
    assert [one["text"] for one in lines(second.path)] == ["two", "one"]
    for content in (b"{", b"[1]\n", b'{"text": 1}\n', b"\xff"):
        second.path.write_bytes(content)
        assert DifferentTexts(tmp_path, "x")._kept == []


def test_files_of_other_versions_go_by_age(tmp_path: Path) -> None:
    """And nothing else that is in the folder."""
    (tmp_path / "other.jsonl").write_text("")
    for number in range(MOST_FILES + 5):
        texts = DifferentTexts(tmp_path, str(number))
        texts.add(entry("a", 0.5))
        texts.write()
    assert len(list(tmp_path.glob("shadow.*"))) == MOST_FILES
    assert texts.path.exists()
    assert (tmp_path / "other.jsonl").exists()


def test_a_folder_that_is_gone_costs_the_file_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    texts = DifferentTexts(tmp_path / "gone", "x")
    texts.add(entry("a", 0.5))
    with caplog.at_level(logging.ERROR):
        texts.write()
    assert "cannot be written" in caplog.text
