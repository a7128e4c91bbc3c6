"""Versions that are loaded beside the one that is served: each has an engine of its own, and all HTTP workers know it.

Runs in the supervisor's process, in threads beside its loop, as ``switching`` does. A version is opened here, then its
engine loads and tries it before any worker hears of it, and only when all workers have it, it is said to be loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from app.labels import parse_reference
from app.process.child import START_SECONDS
from app.process.cores import free_memory, resident_memory
from app.process.succession import HAND_OVER_SECONDS, Generation, Succession
from app.rollout.orders import Orders, RefusedError, describe, loaded_name, now, opened, told_without, wait_until_live
from app.rollout.roster import Entry, Roster
from app.store import TOKENIZER_FILE, ModelStore, StoredModel

_WORKER_SHARE = 20
"""What an HTTP worker needs for one more version, in sizes of its tokenizer on disk; measured."""


@dataclass
class _Loaded:
    """One version beside."""

    model: StoredModel
    label: str | None
    since: str
    generation: Generation
    entry: Entry

    @property
    def answers(self) -> bool:
        """Whether its engine runs."""
        return all(child.alive for child in self.generation.children if child.wake is None)

    def document(self) -> dict[str, Any]:
        """For people and programs."""
        return {**describe(self.model, self.label, self.since), "answers": self.answers}


class Beside:
    """Loads and unloads versions beside the one that is served.

    Args:
        store: where models are.
        succession: of the processes.
        generation_of: makes engine and explainer of a model, not yet started, and what workers need to know of them.
        roster: tells workers.
        orders: one at a time, these and others.
        served: tells the version that is served.
        most: versions that may be loaded, the one that is served among them.
        patience: seconds that requests under way have when their version is unloaded.
    """

    def __init__(
        self,
        store: ModelStore,
        succession: Succession,
        generation_of: Callable[[StoredModel], tuple[Generation, Entry]],
        roster: Roster,
        orders: Orders,
        served: Callable[[], StoredModel],
        most: int,
        patience: float,
    ) -> None:
        self._store = store
        self._succession = succession
        self._generation_of = generation_of
        self._roster = roster
        self._orders = orders
        self._served = served
        self._most = most
        self._patience = patience
        self._loaded: dict[str, _Loaded] = {}

    def document(self) -> dict[str, Any]:
        """What is loaded, and how many may be."""
        return {"beside": [it.document() for it in list(self._loaded.values())], "most": self._most}

    def model(self, name: str) -> StoredModel | None:
        """The version NAME/VERSION, if it is loaded beside."""
        found = self._loaded.get(name)
        return None if found is None else found.model

    def workers(self) -> set[int]:
        """Process ids of the HTTP workers that live."""
        return {it.process.pid for it in self._succession.children if it.drains and it.alive and it.process}

    def begin(self, references: Sequence[str], who: str) -> None:
        """Load what is to be there from the start; whatever is refused is told as every refusal, and left out."""
        for reference in references:
            try:
                self.load(reference, who, settled=False)
            except RefusedError:
                continue
        self._publish(settled=True)

    def load(self, reference: str, who: str, *, settled: bool = True) -> None:
        """Load a version. Returns when every worker answers requests that name it.

        Args:
            reference: which.
            who: asks for it, for the audit log.
            settled: see ``Roster.publish``.

        Raises:
            RefusedError: it does not come to be; all others are as they were.
        """
        with self._orders.one("model load", reference, who, "loaded", self._state) as attempt:
            model = opened(self._store, reference)
            attempt["version"] = model.reference
            if model.reference in (self._served().reference, *self._loaded):
                return
            self._check(model)
            generation, entry = self._started(model)
            label = parse_reference(reference).label
            self._loaded[model.reference] = _Loaded(model, label, now(), generation, entry)
            number = self._publish(settled=settled)
            faults = self._roster.wait(number, self.workers, HAND_OVER_SECONDS)
            fault = "not all HTTP workers have it after a while" if faults is None else faults.get(model.reference)
            if fault is not None:
                self._remove(model.reference, settled=settled)
                raise RefusedError("model_refused", f"{model.reference}: {told_without(self._store, fault)}")

    def unload(self, reference: str, who: str) -> None:
        """Unload a version. Returns when no worker takes requests for it, and those under way were answered.

        Raises:
            RefusedError: it is the one that is served, or not loaded.
        """
        with self._orders.one("model unload", reference, who, "unloaded", self._state) as attempt:
            attempt["version"] = name = loaded_name(self._store, reference)
            if name == self._served().reference:
                raise RefusedError("model_is_served", f"{name} is what is served; load another in its place first")
            if name not in self._loaded:
                raise RefusedError("model_not_found", f"{name} is not loaded; loaded are: {self._state()}")
            if shares := self._roster.shares(name):
                raise RefusedError(
                    "model_has_share", f"{shares[0]} are its own, as canary or as shadow; set that to 0 first"
                )
            self._remove(name)

    def forget(self, model: StoredModel) -> None:
        """A version has come to be served, and needs not be beside too. Within the order that made it so."""
        if self._roster.shares(model.reference):
            self._roster.end_shares(model.reference)
        if model.reference in self._loaded:
            self._remove(model.reference)

    def _state(self) -> str:
        return ", ".join((self._served().reference, *self._loaded))

    def _check(self, model: StoredModel) -> None:
        """Whether there may be one more, and there is memory for it: an engine, and the tokenizer in every worker."""
        if len(self._loaded) + 1 >= self._most:
            raise RefusedError(
                "too_many_models",
                f"{len(self._loaded) + 1} versions are loaded, and the limit is {self._most}; unload one first",
            )
        pids, served = self._engine_pids(), self._served()
        engine = resident_memory(pids) // max(1, len(pids))
        needed = max(model.size, engine - served.size + model.size)
        needed += len(self.workers()) * _WORKER_SHARE * (model.path / TOKENIZER_FILE).stat().st_size
        if needed > (free := free_memory()):
            raise RefusedError(
                "model_refused",
                f"{model.reference} needs about {needed / 1e6:.0f} MB, and {free / 1e6:.0f} MB are free; raise the "
                "memory limit, or unload another",
            )

    def _engine_pids(self) -> set[int]:
        children = self._succession.serving.children
        return {it.process.pid for it in children if it.process and it.wake is None and not it.drains}

    def _started(self, model: StoredModel) -> tuple[Generation, Entry]:
        generation, entry = self._generation_of(model)
        self._succession.stand_beside(generation)
        wait_until_live(generation, 2 * START_SECONDS, self._store, model)
        return generation, entry

    def _publish(self, *, settled: bool) -> int:
        return self._roster.publish([it.entry for it in self._loaded.values()], settled=settled)

    def _remove(self, name: str, *, settled: bool = True) -> None:
        gone = self._loaded.pop(name)
        self._roster.wait(self._publish(settled=settled), self.workers, self._patience + 1.0)
        self._succession.leave(gone.generation)
