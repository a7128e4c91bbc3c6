"""Texts as people have them: lists, generators, columns of data frames."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from app.errors import DeadlineError


def cells(texts: Iterable[Any]) -> Iterator[object]:
    """The texts, with None for what a column has in the place of a text that is missing.

    Raises:
        TypeError: that is no column and no list of texts.
    """
    if isinstance(texts, str):
        raise TypeError("texts must be several strings, such as a list or one column has; classify takes one text")
    if isinstance(texts, (Mapping, bytes, bytearray)) or len(getattr(texts, "shape", ("",))) != 1:
        raise TypeError(f"texts must be a string, or strings such as a list or one column has (got {_kind(texts)})")
    try:
        values = iter(texts)
    except TypeError:
        raise TypeError(f"texts must be a string, or several of them (got {_kind(texts)})") from None
    return (value if type(value) is str else _plain(value) for value in values)


def deadline_in(seconds: float | None) -> float | None:
    """``time.monotonic()`` so many seconds from now."""
    return None if seconds is None else time.monotonic() + seconds


def check(deadline: float | None) -> None:
    """Go on, where the deadline has not passed.

    Raises:
        DeadlineError: it has.
    """
    if deadline is not None and time.monotonic() > deadline:
        raise DeadlineError("the deadline passed before all texts were answered")


def _plain(value: Any) -> object:
    """A value of Arrow as Python has it; None for NaN and what else data frames have for nothing."""
    if hasattr(value, "as_py"):
        value = value.as_py()
    try:
        # What is missing differs from itself, or does not say whether it does.
        return None if value != value else value
    except TypeError:
        return None
    except ValueError:
        return value  # an array in a cell


def _kind(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
