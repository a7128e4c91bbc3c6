"""When a serving process looks for garbage in cycles: seldom, because requests leave hardly any."""

from __future__ import annotations

import gc

_OBJECTS = 20_000
"""New objects after which it is looked for. A request of hundreds of texts makes thousands, and all end with it."""


def collect_seldom() -> None:
    """Call once, when everything is in place that lives as long as the process: it is not looked at again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(_OBJECTS, 10, 10)
