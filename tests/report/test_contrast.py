"""Words for and against."""

from __future__ import annotations

from collections import Counter

from app.report.contrast import SHOWN_WORDS, contrast, counted, counted_aspects


def test_words_count_once_a_row() -> None:
    """Without function words, numbers and what an apostrophe leaves; negated words are others."""
    counts = counted(["Good, good, GOOD lamp! I can't recommend it.", "No refund, 24 calls; it's never worked :)", ""])
    assert counts == Counter(
        {"good": 1, "lamp": 1, "!": 1, "not recommend": 1, "no refund": 1, "calls": 1, "never worked": 1, "<smile>": 1}
    )


def test_telling_words_stand_on_their_side() -> None:
    """The most telling first; words of both sides on none."""
    here = [f"broken {thing} and rude answer" for thing in ("lamp", "chair", "bag")] * 30
    there = [f"lovely {thing} thank you 😀" for thing in ("lamp", "chair", "bag")] * 20
    one, other = counted(here), counted(there)
    found = contrast("negative", len(here), one, len(there), other, one + other)
    assert {word.text for word in found.words} == {"broken", "rude", "answer"}
    assert [word.z for word in found.words] == sorted((word.z for word in found.words), reverse=True)
    assert all((word.here, word.there) == (90, 0) for word in found.words)
    back = contrast("positive", len(there), other, len(here), one, one + other)
    assert {word.text for word in back.words} == {"lovely", "thank", "😀"}


def test_things_stand_on_their_side() -> None:
    """Those that rows of one label name, and those of the other do not."""
    things = ("lamp", "chair", "bag")
    one = counted_aspects([f"The {thing} is broken and the refund is late." for thing in things] * 30)
    other = counted_aspects([f"The {thing} is nice. Lovely power cord!" for thing in things] * 30)
    assert {word.text for word in contrast("negative", 90, one, 90, other, one + other).words} == {"refund"}
    assert {word.text for word in contrast("positive", 90, other, 90, one, one + other).words} == {"power cord"}


def test_few_rows_tell_nothing() -> None:
    """A word in one row of three may be chance."""
    one, other = counted(["broken lamp", "late", "rude"]), counted(["fine lamp", "fast", "kind"])
    assert contrast("negative", 3, one, 3, other, one + other).words == []


def test_no_more_words_than_are_shown() -> None:
    """However many tell."""
    one = counted([" ".join(f"bad{number:02}x" for number in range(60))] * 50)
    other = counted([" ".join(f"good{number:02}x" for number in range(60))] * 50)
    assert len(contrast("negative", 50, one, 50, other, one + other).words) == SHOWN_WORDS
