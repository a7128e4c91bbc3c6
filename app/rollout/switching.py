"""Which model is served, and how another one comes to be: resolved, checked, prepared beside it, and put in its place.

Runs in the supervisor's process, in threads beside its loop. Nothing that is wrong with a model touches the one that is
served: it is opened here, and then loaded and tried by processes that nobody has met yet (see ``process.succession``).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.errors import CheckpointError
from app.labels import LABELS_FILE, parse_reference
from app.process.control import LONGEST_LOAD
from app.process.cores import free_memory, resident_memory
from app.process.succession import Generation, Succession
from app.rollout.orders import Orders, RefusedError, check_alike, describe, now, opened, wait_until_live
from app.store import ModelStore, StoredModel

logger = logging.getLogger(__name__)

FOLLOW_SECONDS = 2.0
"""Between two looks at the labels."""
LABEL = "label"
"""Who asks for a model where a label was moved on disk."""


@dataclass
class Served:
    """What is served."""

    model: StoredModel
    label: str | None
    """By which it was asked for."""
    since: str

    def document(self) -> dict[str, Any]:
        """For people and programs."""
        return describe(self.model, self.label, self.since)


class Switching:
    """Puts another model in the place of the one that is served.

    Args:
        store: where models are.
        succession: of the processes.
        generation_of: makes the processes of a model, not yet started.
        served: what is served first.
        orders: one at a time, these and others.
        taken_over: told the version that has come to be served, within the order that made it so.
    """

    def __init__(
        self,
        store: ModelStore,
        succession: Succession,
        generation_of: Callable[[StoredModel], Generation],
        served: Served,
        orders: Orders,
        taken_over: Callable[[StoredModel], None] = lambda _: None,
    ) -> None:
        self._store = store
        self._succession = succession
        self._generation_of = generation_of
        self._served = served
        self._orders = orders
        self._taken_over = taken_over

    @property
    def served(self) -> StoredModel:
        """The version that is served."""
        return self._served.model

    def document(self) -> dict[str, Any]:
        """What is served."""
        return {"served": self._served.document()}

    def load(self, reference: str, who: str) -> None:
        """Serve another model. Returns when no process of the one before takes new connections.

        Args:
            reference: which.
            who: asks for it, for the audit log.

        Raises:
            RefusedError: it does not come to be; what was served still is.
        """
        with self._orders.one("model switch", reference, who, "served", lambda: self.served.reference) as attempt:
            before = self._served
            model = opened(self._store, reference)
            attempt["version"] = model.reference
            since = before.since
            if (model.reference, model.digest) != (before.model.reference, before.model.digest):
                self._check(model)
                self._change(model)
                since = now()
            self._served = Served(model, parse_reference(reference).label, since)
            if model.reference != before.model.reference:
                self._taken_over(model)

    def follow(self, reference: str, stop: threading.Event) -> None:
        """Serve what a label names, whenever that changes, until told to stop."""
        path = self._store.root / parse_reference(reference).name / LABELS_FILE
        seen = None
        while not stop.wait(FOLLOW_SECONDS):
            if (stamp := _stamp(path)) == seen:
                continue
            seen = stamp
            try:
                if "{}/{}".format(*self._store.resolve(reference)) != self._served.model.reference:
                    self.load(reference, LABEL)
            except RefusedError as error:
                if error.code == "load_under_way":
                    seen = None  # looked at again
            except CheckpointError as error:
                logger.error("the labels cannot be followed: %s", error)

    def _check(self, model: StoredModel) -> None:
        """Whether clients of the one could be clients of the other, and both fit into memory for a while."""
        present = self._served.model
        check_alike(model, present)
        children = self._succession.serving.children
        held = resident_memory(child.process.pid for child in children if child.process and child.wake is None)
        needed, free = held + max(0, model.size - present.size), free_memory()
        if needed > free:
            raise RefusedError(
                "model_refused",
                f"{model.reference} beside {present.reference} needs about {needed / 1e6:.0f} MB, and "
                f"{free / 1e6:.0f} MB are free; raise the memory limit, or start the service with it instead",
            )

    def _change(self, model: StoredModel) -> None:
        generation = self._generation_of(model)
        self._succession.take_over(generation)
        wait_until_live(generation, LONGEST_LOAD, self._store, model)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns
