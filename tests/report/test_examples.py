"""Rows that stand for others."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from app.report.examples import Example, Extremes, Sample, cut, typical, varied


def example(number: int, score: float = 0.5, text: str = "", label: str = "positive") -> Example:
    """A row; without a text, one whose text is its number."""
    return Example(0, number, text or f"text {number}", label, score, None)


@given(st.lists(st.integers(0, 20)), st.sampled_from([1, -1]))
def test_extremes_are_those_of_the_sorted_rows(scores: list[int], sign: int) -> None:
    """Of equal scores the first rows."""
    extremes = Extremes(4, sign)
    rows = [example(number, score / 20) for number, score in enumerate(scores)]
    for row in rows:
        extremes.add(row)
    assert extremes.rows() == sorted(rows, key=lambda row: (-sign * row.score, row.row))[:4]
    assert len(extremes._heap) <= 4
    assert len(extremes._texts) <= 4


def test_the_same_text_is_one_extreme() -> None:
    """However often it is there."""
    extremes = Extremes(3)
    for number in range(100):
        extremes.add(example(number, 0.9, "Great!"))
    extremes.add(example(100, 0.8, "Good."))
    assert [(row.row, row.text) for row in extremes.rows()] == [(0, "Great!"), (100, "Good.")]


def test_a_sample_is_bounded_and_the_same_each_time() -> None:
    """However many rows there are; labels share the room that there is."""

    def sampled() -> Sample:
        sample = Sample(in_all=30, each=20)
        for number in range(3000):
            sample.add(example(number, label="abcdef"[number % 3 if number < 1500 else number % 6]))
        return sample

    sample = sampled()
    assert [len(sample.rows(label)) for label in "abcdef"] == [5] * 6
    assert sample.rows("a") == sampled().rows("a")
    assert sample.rows("absent") == []


def test_every_row_is_as_likely_as_any_other() -> None:
    """Of the first and the second half of the rows about as many are taken, also where the room became less."""
    sample = Sample(in_all=2000, each=1500)
    for number in range(20_000):
        sample.add(example(number))
        if number == 10_000:
            sample.add(example(number, label="negative"))
    halves = Counter(row.row >= 10_000 for row in sample.rows("positive"))
    assert halves.total() == 1000
    # 500 are expected, with a standard deviation of 15.
    assert abs(halves[True] - 500) < 80


def test_texts_are_cut_between_words() -> None:
    """In one line, and no longer than asked for."""
    assert cut("a  short\n\ttext ", 20) == "a short text"
    assert cut("one two three four", 10) == "one two…"
    assert cut("x" * 100, 10) == "x" * 9 + "…"
    assert cut(" " * 10_000 + "far away", 10).strip() in ("", "…")
    assert all(len(cut("word " * 50, size)) <= size for size in range(2, 60))


def test_the_typical_row_has_the_words_of_the_others() -> None:
    """And is neither the longest nor the shortest."""
    texts = [f"the {thing} arrived late and broken" for thing in ("lamp", "chair", "kettle", "toaster", "bag")]
    odd = ["gorgeous sunsets over quiet harbours", "no", "word " * 3 + "salad of every kind that goes on for long " * 5]
    rows = [example(number, text=text) for number, text in enumerate(odd + texts)]
    assert {row.text for row in typical(rows)[:3]} <= set(texts)
    assert typical([]) == []
    assert [row.text for row in typical([example(1, text="...")])] == ["..."]


def test_rows_that_say_nearly_the_same() -> None:
    """Are shown once; rows without a word are told apart by their characters."""
    texts = ["the red lamp broke", "the blue lamp broke", "a fine chair", "👍", "???", "???", "never again, awful shop"]
    rows = [example(number, text=text) for number, text in enumerate(texts)]
    assert [row.row for row in varied(rows, 4)] == [0, 2, 3, 4]
