"""The shadow: a version beside the one that is served that judges a share of the same texts, for comparison alone.

Runs in the supervisor's process; HTTP workers have the texts judged (see ``serving.shadow``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from app.agreement import comparison_of
from app.process.succession import HAND_OVER_SECONDS
from app.rollout.beside import Beside
from app.rollout.orders import NOBODY, Orders, RefusedError, resolved
from app.rollout.roster import Roster, Share
from app.store import ModelStore, StoredModel


class Shadowing:
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
        """What judges which share, and what of it is compared; None: nothing."""
        share = self._roster.shadow
        model = None if share is None else self._beside.model(share.model)
        comparison = None if model is None else comparison_of(self._served().config, model.config)
        if share is None or comparison is None:
            return {"shadow": None}
        return {"shadow": {"model": share.model, "percent": share.percent, "compares": comparison.how}}

    def cast(self, reference: str, percent: float, who: str) -> None:
        """Have a version judge a share of the texts. Returns when every worker has them judged so.

        Args:
            reference: which; loaded beside the one that is served.
            percent: of the texts that what is served computes; 0 ends it.
            who: asks for it, for the audit log.

        Raises:
            RefusedError: it is not loaded, or cannot be compared with what is served; the share stays what it was.
        """
        with self._orders.one("shadow", f"{reference} {percent:g} %", who, "set", self._state) as attempt:
            attempt["version"] = name = resolved(self._store, reference)
            model, served = self._beside.model(name), self._served()
            if model is None:
                raise RefusedError("model_not_found", f"{name} is not loaded beside what is served; load it first")
            if comparison_of(served.config, model.config) is None:
                raise RefusedError("model_refused", _apart(served, model))
            number = self._roster.cast_shadow(Share(name, percent) if percent else None)
            self._roster.wait(number, self._beside.workers, HAND_OVER_SECONDS)

    def _state(self) -> str:
        return str(self._roster.shadow or NOBODY)


def _apart(served: StoredModel, model: StoredModel) -> str:
    labels = (f"{it.reference} has {', '.join(it.config.labels)}" for it in (served, model))
    return (
        f"nothing that they say can be compared: {'; '.join(labels)}; two labels of the same name are needed, or of "
        "each the label positive or a rating"
    )
