"""What becomes of the texts of a request, and how their places in it are told."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from app.errors import ServiceError, TextError
from app.sentiment import Prediction

Outcome = Prediction | TextError | ServiceError

Wanted = dict[bytes | int, list[int]]
"""Places of equal texts in a request by their cache key, or by the first of the places where there are no keys."""

Listener = Callable[[Sequence[tuple[int, Outcome]]], None]
"""Told places of texts in a request, and what became of them."""
