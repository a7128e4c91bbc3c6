"""The guard: takes a canary's share back where it is worse than what is served.

Runs in the supervisor's process, in a thread beside its loop, and reads what HTTP workers count by version.
"""

from __future__ import annotations

import logging
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from app.metrics import samples
from app.rollout.canary import Canary
from app.rollout.orders import RefusedError
from app.rollout.roster import Share
from app.store import StoredModel

logger = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
FEWEST = 50
"""Requests, or texts, of each of both, below which nothing is said of them."""
_NOTICEABLE_SECONDS = 0.05
"""Shorter answers are never too slow: what is served may answer out of a cache."""
GUARD = "guard"
ROUTE = "/classify"
_KINDS = frozenset({"text", "texts"})


@dataclass
class Figures:
    """What was counted of one version, since the start or between two moments.

    Attributes:
        requests: that it answered.
        seconds: that these took together.
        failures: requests of its share that it failed to answer.
        judged: texts by how far to trust them.
        labels: texts by label.
        compared: texts that it judged as shadow of what is served.
        changed: those of them that it gave another label.
    """

    requests: float = 0.0
    seconds: float = 0.0
    failures: float = 0.0
    judged: dict[str, float] = field(default_factory=dict)
    labels: dict[str, float] = field(default_factory=dict)
    compared: float = 0.0
    changed: float = 0.0

    def since(self, before: Figures) -> Figures:
        """What came to these since they were others."""
        return Figures(
            self.requests - before.requests,
            self.seconds - before.seconds,
            self.failures - before.failures,
            _less(self.judged, before.judged),
            _less(self.labels, before.labels),
            self.compared - before.compared,
            self.changed - before.changed,
        )


def counted(folder: Path) -> dict[str, Figures]:
    """What all processes counted of requests to ``/classify``, by NAME/VERSION.

    Args:
        folder: of the folders of their metrics' files.
    """
    found: dict[str, Figures] = defaultdict(Figures)
    failures = 0.0
    for name, labels, value, *_ in samples(folder):
        figures = found["{}/{}".format(labels.get("model"), labels.get("version"))]
        plain = labels.get("route") == ROUTE and labels.get("kind") in _KINDS and labels.get("code") == "2xx"
        if name == "sentiment_request_duration_seconds_count" and plain:
            figures.requests += value
        elif name == "sentiment_request_duration_seconds_sum" and plain:
            figures.seconds += value
        elif name == "sentiment_texts_judged_total":
            figures.judged[labels["judgement"]] = value
        elif name == "sentiment_predictions_total":
            figures.labels[labels["label"]] = value
        elif name == "sentiment_shadow_texts_total" and labels["outcome"] == "compared":
            figures.compared += value
        elif name == "sentiment_shadow_changes_total":
            figures.changed += value
        elif name == "sentiment_canary_requests_total" and labels["outcome"] in ("fallback", "away"):
            failures += value
    for figures in found.values():
        figures.failures = failures  # there is one canary at a time, and of what is served nobody asks for them
    return found


class Rules(NamedTuple):
    """When a canary is worse. See the settings of the same names."""

    errors: float
    latency: float
    change: float
    disagreement: float

    def broken(self, canary: Figures, served: Figures) -> str | None:
        """Which of them is broken, for people; None: none is, as far as is known."""
        asked = canary.requests + canary.failures
        if asked >= FEWEST and canary.failures > self.errors * asked:
            return f"it failed to answer {canary.failures / asked:.0%} of its requests, more than {self.errors:.0%}"
        if min(canary.requests, served.requests) >= FEWEST:
            slow, usual = canary.seconds / canary.requests, served.seconds / served.requests
            if slow > max(_NOTICEABLE_SECONDS, self.latency * usual):
                return (
                    f"it takes {slow * 1e3:.0f} ms, more than {self.latency:g} times the {usual * 1e3:.0f} ms of others"
                )
        if canary.compared >= FEWEST and canary.changed > self.disagreement * canary.compared:
            return (
                f"as a shadow it gives {canary.changed / canary.compared:.0%} of the texts another label than what is "
                f"served, more than {self.disagreement:.0%}"
            )
        doubts = (_shares(it.judged, ("unsure", "unreadable")) for it in (canary, served))
        labels = (_shares(it.labels, it.labels) for it in (canary, served))
        for (found, usual_shares), why in ((doubts, "are {}"), (labels, "get the label {}")):
            for name, share in found.items():
                usual_share = usual_shares.get(name, 0.0) if usual_shares else share
                if share - usual_share > self.change:
                    return f"{share:.0%} of its texts {why.format(name)}, {usual_share:.0%} of others"
        return None


class Guard:
    """Watches.

    Args:
        canary: what is taken back.
        share: tells who has which share now.
        served: tells what is served.
        count: tells what was counted of each version, by NAME/VERSION; of what is served beside a canary too.
        rules: when it is taken back.
        window: seconds over which figures are compared.
        dry_run: whether it is only said.
    """

    def __init__(
        self,
        canary: Canary,
        share: Callable[[], Share | None],
        served: Callable[[], StoredModel],
        count: Callable[[], Mapping[str, Figures]],
        rules: Rules,
        window: float,
        *,
        dry_run: bool,
    ) -> None:
        self._canary = canary
        self._share = share
        self._served = served
        self._count = count
        self._rules = rules
        self._dry_run = dry_run
        self._seen: deque[Mapping[str, Figures]] = deque(maxlen=max(2, round(window / LOOK_SECONDS) + 1))
        self._watched: tuple[Share, str] | None = None
        self._said = False

    def watch(self, stop: threading.Event) -> None:
        """Look again and again, until told to stop."""
        while not stop.wait(LOOK_SECONDS):
            try:
                self.look()
            except Exception:
                logger.exception("the guard could not look at the canary")

    def look(self) -> None:
        """Look once."""
        share, served = self._share(), self._served().reference
        if share is None:
            self._watched = None
            return
        if (share, served) != self._watched:
            self._watched, self._said = (share, served), False
            self._seen.clear()
        self._seen.append(self._count())
        first, last = self._seen[0], self._seen[-1]
        canary, other = (last.get(name, Figures()).since(first.get(name, Figures())) for name in (share.model, served))
        broken = self._rules.broken(canary, other)
        if broken is None or self._said:
            return
        try:
            self._canary.take_back(share, broken, GUARD, dry_run=self._dry_run)
            self._said = True
        except RefusedError:  # another order is under way, or came before; the next look is soon
            logger.warning("the canary is to be taken back: %s", broken)


def _less(now: Mapping[str, float], before: Mapping[str, float]) -> dict[str, float]:
    return {name: value - before.get(name, 0.0) for name, value in now.items()}


def _shares(counts: Mapping[str, float], names: Mapping[str, float] | tuple[str, ...]) -> dict[str, float]:
    """Which part of all some have; nothing where there are too few."""
    total = sum(counts.values())
    return {name: counts.get(name, 0.0) / total for name in names} if total >= FEWEST else {}
