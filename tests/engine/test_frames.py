"""The frames between worker and engine: what goes in comes out, however the stream is cut, and rubbish is refused."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.engine import frames
from app.sentiment import Scores, TextBatch

BATCHES = st.lists(
    st.lists(st.integers(1, 20), min_size=1, max_size=8).map(
        lambda lengths: TextBatch(array("i", range(sum(lengths))), lengths)
    ),
    max_size=8,
)


@given(BATCHES, st.floats(0, 1e9), st.lists(st.integers(1, 50), max_size=30))
def test_submissions_survive_any_cut(batches: list[TextBatch], deadline: float, cuts: list[int]) -> None:
    """A submission followed by a cancellation is read back whatever pieces the stream arrives in."""
    ids = list(range(1, len(batches) + 1))
    stream = frames.submit(ids, batches, 2.5, deadline) + frames.cancel(ids)
    seen: list[tuple[int, object]] = []

    def handle(kind: int, body: memoryview) -> None:
        read = frames.read_submit if kind == frames.SUBMIT else frames.read_cancel
        seen.append((kind, read(body)))

    reader = frames.FrameReader(handle)
    at = 0
    for cut in [*cuts, len(stream)]:
        reader.feed(stream[at : at + cut])
        at += cut
    reader.feed(stream[at:])
    assert seen == [(frames.SUBMIT, (ids, batches, 2.5, deadline)), (frames.CANCEL, ids)]


def test_results_and_hello() -> None:
    """Scores, errors and the greeting are read back as written."""
    seen = []
    reader = frames.FrameReader(lambda kind, body: seen.append((kind, body)))
    reader.feed(
        frames.hello("tiny/1", "0ff", "torch", "float32", "cpu")
        + frames.results(3, 1.5, [[1, [Scores((0.25, 0.75)), None]], [2, "x"]])
    )
    fields = {"model": "tiny/1", "digest": "0ff", "runtime": "torch", "precision": "float32", "device": "cpu"}
    assert frames.read_hello(seen[0][1]) == fields
    assert frames.read_results(seen[1][1]) == (3, 1.5, ((1, (((0.25, 0.75), None, None), None)), (2, "x")))


@pytest.mark.parametrize("start", [b"\x00\x00\x00\x00\x01", b"\xff\xff\xff\xff\x01"])
def test_impossible_lengths_are_refused(start: bytes) -> None:
    """An empty frame and one beyond the bound are no frames."""
    with pytest.raises(frames.FrameError):
        frames.FrameReader(lambda *_: None).feed(start)


@given(BATCHES, st.data())
def test_lengths_that_do_not_add_up_are_refused(batches: list[TextBatch], data: st.DataObject) -> None:
    """A submission that is cut off anywhere, or longer than it says, is an error, not a shorter text."""
    body = memoryview(frames.submit(list(range(len(batches))), batches, 0.5, 1.0))[5:]
    for damaged in (body[: data.draw(st.integers(0, len(body) - 1))], memoryview(bytes(body) + b"1234")):
        with pytest.raises(frames.FrameError):
            frames.read_submit(damaged)
