"""How often a process that serves looks for garbage in cycles."""

from __future__ import annotations

import gc

_NEW_OBJECTS = 10_000


def collect_rarely() -> None:
    """Leave out of collections what start-up made, which lives as long as the process, and make them rare.

    Requests leave hardly any cycles behind; but each text that waits is a handful of objects, and every time some more
    of them wait, collections would go through all. With thousands of texts in the queue that takes a tenth of a core,
    just when there is too much to do.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, 10, 10)
