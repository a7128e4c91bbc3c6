"""The shadow: a version beside the one that is served that judges a share of the same texts, for comparison alone.

Runs in the supervisor's process; HTTP workers have the texts judged (see ``serving.shadow``).
"""

from __future__ import annotations

from typing import Any

from app.agreement import comparison_of
from app.rollout.orders import RefusedError, loaded_name
from app.rollout.roster import Share
from app.rollout.sharing import Sharing
from app.store import StoredModel


class Shadowing(Sharing):
    """Changes what share of the texts is judged by another version too."""

    @property
    def share(self) -> Share | None:
        """Who judges which share."""
        return self._roster.shadow

    def document(self) -> dict[str, Any]:
        """What judges which share, and what of it is compared; None: nothing."""
        share = self.share
        model = None if share is None else self._beside.model(share.model)
        comparison = None if model is None else comparison_of(self._served().config, model.config)
        if share is None or comparison is None:
            return {"shadow": None}
        return {"shadow": {"model": share.model, "percent": share.percent, "compares": comparison.how}}

    def cast(self, reference: str, percent: float, who: str) -> None:
        """Have a version judge a share of the texts. Returns when every worker has them judged so.

        Args:
            reference: which; loaded beside the one that is served.
            percent: of the texts that what is served computes; 0 ends its own.
            who: asks for it, for the audit log.

        Raises:
            RefusedError: it is not loaded, or cannot be compared with what is served; the share stays what it was.
        """
        with self._orders.one("shadow", f"{reference} {percent:g} %", who, "set", self._state) as attempt:
            attempt["version"] = name = loaded_name(self._store, reference)
            model, served = self._loaded(name), self._served()
            if comparison_of(served.config, model.config) is None:
                raise RefusedError("model_refused", _apart(served, model))
            self._wait(self._roster.cast_shadow(self._changed(name, percent)))


def _apart(served: StoredModel, model: StoredModel) -> str:
    labels = (f"{it.reference} has {', '.join(it.config.labels)}" for it in (served, model))
    return (
        f"nothing that they say can be compared: {'; '.join(labels)}; two labels of the same name are needed, or of "
        "each the label positive or a rating"
    )
