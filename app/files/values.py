"""Values of any format as text."""

from __future__ import annotations

import base64
from typing import Any

import orjson


def plain_text(value: Any) -> str | None:
    """A value as text: text as it is, nothing for null, everything else as JSON has it."""
    if value is None or type(value) is str:
        return value
    return dumps(value).decode().strip('"')


def dumps(value: Any, option: int | None = None) -> bytes:
    """JSON of what any format may hold; what JSON has no type for becomes text."""
    return orjson.dumps(value, default=_as_json, option=option)


def _as_json(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return str(value)
