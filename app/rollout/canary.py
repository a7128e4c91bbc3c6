"""The canary: a version beside the one that is served that answers a share of the requests which name none.

Runs in the supervisor's process; HTTP workers divide the requests (see ``serving.versions``).
"""

from __future__ import annotations

from typing import Any

from app.rollout.orders import RefusedError, check_alike, loaded_name
from app.rollout.roster import Share
from app.rollout.sharing import Sharing


class Canary(Sharing):
    """Changes what share of the requests is answered by another version."""

    @property
    def share(self) -> Share | None:
        """Who answers which share."""
        return self._roster.canary

    def document(self) -> dict[str, Any]:
        """What answers which share; None: nothing."""
        share = self.share
        return {"canary": share and {"model": share.model, "percent": share.percent}}

    def divide(self, reference: str, percent: float, who: str) -> None:
        """Have a version answer a share. Returns when every worker divides requests so.

        Args:
            reference: which; loaded beside the one that is served.
            percent: of the requests that name none; 0 ends its own.
            who: asks for it, for the audit log.

        Raises:
            RefusedError: it is not loaded, or answers otherwise than what is served; the share stays what it was.
        """
        with self._orders.one("canary", f"{reference} {percent:g} %", who, "set", self._state) as attempt:
            attempt["version"] = name = loaded_name(self._store, reference)
            check_alike(self._loaded(name), self._served())
            self._set(self._changed(name, percent))

    def take_back(self, share: Share, reason: str, who: str, *, dry_run: bool) -> None:
        """End a share, for a reason.

        Args:
            share: what is wrong with it is known; not with another that was set meanwhile.
            reason: for the audit log.
            who: ends it.
            dry_run: whether that is only said.

        Raises:
            RefusedError: another order is under way, or was carried out meanwhile.
        """
        done = "would be taken back" if dry_run else "taken back"
        with self._orders.one("canary", "0 %", who, done, self._state) as attempt:
            if self.share != share:
                raise RefusedError("model_has_share", f"the share is not {share} any more")
            attempt["reason"] = reason
            if not dry_run:
                self._set(None)
                self._roster.count_taken_back()

    def _set(self, share: Share | None) -> None:
        self._wait(self._roster.divide(share))
