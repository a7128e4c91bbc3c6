"""What canary and shadow have in common: a version that is loaded beside the one that is served gets a share."""

from __future__ import annotations

from collections.abc import Callable

from app.process.succession import HAND_OVER_SECONDS
from app.rollout.beside import Beside
from app.rollout.orders import NOBODY, Orders, RefusedError
from app.rollout.roster import Roster, Share
from app.store import ModelStore, StoredModel


class Sharing:
    """Changes a share.

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

    @property
    def share(self) -> Share | None:
        """Who has which share; None: nobody."""
        raise NotImplementedError

    def _loaded(self, name: str) -> StoredModel:
        """A version that may get a share.

        Raises:
            RefusedError: it is not loaded.
        """
        model = self._beside.model(name)
        if model is None:
            raise RefusedError("model_not_found", f"{name} is not loaded beside what is served; load it first")
        return model

    def _changed(self, name: str, percent: float) -> Share | None:
        """Who is to have which share where a version gets one; 0 ends its own, and touches no other's."""
        if percent:
            return Share(name, percent)
        share = self.share
        return None if share is None or share.model == name else share

    def _wait(self, number: int) -> None:
        """Wait until every worker acts by this number of the roster."""
        self._roster.wait(number, self._beside.workers, HAND_OVER_SECONDS)

    def _state(self) -> str:
        return str(self.share or NOBODY)
