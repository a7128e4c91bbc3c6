"""``python -m app`` with a forward pass that is slowed: for the chaos suite only, nothing a deployment could switch on.

The environment variable ``CHAOS_TEXTS_PER_SECOND`` says how much all predictors together may compute.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import Any

from app import cli
from app.modeling import runtimes
from app.sentiment import Predictor, Scores, TokenIds
from app.serving import supervisor

RATE_VARIABLE = "CHAOS_TEXTS_PER_SECOND"


class Slowed:
    """A predictor that takes its time.

    Args:
        predictor: what computes.
        seconds_per_text: least time for each text.
    """

    def __init__(self, predictor: Predictor, seconds_per_text: float) -> None:
        self.runtime, self.precision, self.device = predictor.runtime, predictor.precision, predictor.device
        self._predictor = predictor
        self._seconds = seconds_per_text

    def predict(self, batch: Sequence[TokenIds[int]]) -> list[Scores]:
        until = time.monotonic() + len(batch) * self._seconds
        scores = self._predictor.predict(batch)
        time.sleep(max(0.0, until - time.monotonic()))
        return scores


def slow_down(rate: float) -> None:
    """Make this process' engine compute at most ``rate`` texts per second."""
    load = runtimes.load_predictors

    def load_slowed(*arguments: Any) -> list[Predictor]:
        predictors = load(*arguments)
        return [Slowed(predictor, len(predictors) / rate) for predictor in predictors]

    runtimes.load_predictors = load_slowed  # type: ignore[assignment]


def main() -> int:
    """Run the command line; children of the supervisor run this program too."""
    if rate := os.environ.get(RATE_VARIABLE):
        slow_down(float(rate))
    supervisor.PROGRAM = ("-m", "tests.chaos.program")
    return cli.main()


if __name__ == "__main__":
    sys.exit(main())
