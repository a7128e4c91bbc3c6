"""What the OpenAPI document cannot say: that a text must have a word in it, and that an answer takes its time.

Loaded by schemathesis."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import schemathesis

_DEADLINE = "X-Timeout-Seconds"


@schemathesis.hook
def map_body(_: Any, body: Any) -> Any:
    """A word more in a text that has any character and room for the word; nothing else of a body is touched."""
    if isinstance(body, dict) and isinstance(text := body.get("text"), str) and 0 < len(text) < 1000:
        return {**body, "text": f"{text}> film"}
    return body


@schemathesis.hook
def map_headers(_: Any, headers: Any) -> Any:
    """No deadline of less than 5 seconds, for which 504 would be the right answer; nothing else is touched."""
    with suppress(KeyError, TypeError, ValueError):
        if 0 < float(headers[_DEADLINE]) < 5:
            return {**headers, _DEADLINE: "5"}
    return headers
