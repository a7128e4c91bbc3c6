"""The deadline header: the numbers of JSON and no others."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.http.headers import MOST_TIMEOUT, timeout_of
from app.http.problems import Problem


def timeout(*values: bytes) -> float | None:
    return timeout_of([(b"a", b"b"), *((b"x-timeout-seconds", value) for value in values)])


@pytest.mark.parametrize(
    ("value", "seconds"), [(b"5", 5), (b" 0.25\t", 0.25), (b"1e3", 1000), (b"2.5E-1", 0.25), (b"1000000000", 1e9)]
)
def test_numbers(value: bytes, seconds: float) -> None:
    """As JSON writes them, white space around them aside."""
    assert timeout(value) == seconds


def test_none_and_two() -> None:
    """Without the header there is no deadline; with two of them nobody knows which."""
    assert timeout() is None
    with pytest.raises(Problem):
        timeout(b"5", b"5")


@given(st.binary(max_size=12) | st.text("0123456789+-_.eExinfa ٣２", max_size=8).map(str.encode))
def test_anything(value: bytes) -> None:
    """What is accepted is a positive number of JSON within the limit; all else is a problem, never another error."""
    try:
        found = timeout(value)
    except Problem:
        return
    assert found is not None
    assert 0 < found <= MOST_TIMEOUT
    assert math.isclose(found, json.loads(value))
