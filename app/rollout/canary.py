"""The canary: a version beside the one that is served that answers a share of the requests which name none.

Runs in the supervisor's process; HTTP workers divide the requests (see ``serving.versions``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from app.process.succession import HAND_OVER_SECONDS
from app.rollout.beside import Beside
from app.rollout.orders import NOBODY, Orders, RefusedError, check_alike, resolved
from app.rollout.roster import Roster, Share
from app.store import ModelStore, StoredModel


class Canary:
    """Changes the share.

    Args:
        store: where models are.
        beside: what is loaded.
        roster: tells workers.
        orders: one at a time, these and others.
        served: tells the version that is served.
    """

    def __init__(
        self,
        store: ModelStore,
        beside: Beside,
        roster: Roster,
        orders: Orders,
        served: Callable[[], StoredModel],
    ) -> None:
        self._store = store
        self._beside = beside
        self._roster = roster
        self._orders = orders
        self._served = served

    def document(self) -> dict[str, Any]:
        """What answers which share; None: nothing."""
        share = self._roster.canary
        return {"canary": share and {"model": share.model, "percent": share.percent}}

    def divide(self, reference: str, percent: float, who: str) -> None:
        """Have a version answer a share. Returns when every worker divides requests so.

        Args:
            reference: which; loaded beside the one that is served.
            percent: of the requests that name none; 0 ends it.
            who: asks for it, for the audit log.

        Raises:
            RefusedError: it is not loaded, or answers otherwise than what is served; the share stays what it was.
        """
        with self._orders.one("canary", f"{reference} {percent:g} %", who, "set", self._state) as attempt:
            attempt["version"] = name = resolved(self._store, reference)
            model = self._beside.model(name)
            if model is None:
                raise RefusedError("model_not_found", f"{name} is not loaded beside what is served; load it first")
            check_alike(model, self._served())
            self._set(Share(name, percent) if percent else None)

    def take_back(self, reason: str, who: str, *, dry_run: bool) -> None:
        """End it, for a reason.

        Args:
            reason: for the audit log.
            who: ends it.
            dry_run: whether that is only said.

        Raises:
            RefusedError: another order is under way.
        """
        done = "would be taken back" if dry_run else "taken back"
        with self._orders.one("canary", "0 %", who, done, self._state) as attempt:
            attempt["reason"] = reason
            if not dry_run:
                self._set(None)
                self._roster.count_taken_back()

    def _set(self, share: Share | None) -> None:
        number = self._roster.divide(share)
        self._roster.wait(number, self._beside.workers, HAND_OVER_SECONDS)

    def _state(self) -> str:
        return str(self._roster.canary or NOBODY)
