"""How much each token did to a score: integrated gradients over the embeddings.

Sundararajan, Taly and Yan 2017, "Axiomatic attribution for deep networks". The attribution of token t is the integral,
over a straight path from the baseline (every embedding zero) to the text, of the gradient with respect to the
embedding of t, times that embedding. Attributions add up to F(text) - F(baseline), which the paper calls completeness;
how far a numerical integral misses that is its error, known without knowing the integral. So the path is cut where
the error sits until what is left is small: saturated networks change within a short stretch of it, and max pooling
makes the gradient jump.

A network that latches, as a plain RNN of many tokens does, tips over at one point of the path, within less than any
stretch that can be integrated. Such a jump is located by its values alone. Inside it the gradient stands upright on the
surface where the network tips over and is large against everything else, so its direction there divides the jump among
the tokens.

F is the log-odds of one class, log(p / (1 - p)) of its calibrated probability p: the logit itself for two classes.
All of it in float64: float32 cannot tell apart the points around a jump.

Shape legend: T tokens, E embedding, A points of the path, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from app.model.double_network import DoubleNetwork, Doubles
from app.sentiment import TokenIds

TOLERANCE = 0.005
"""Largest sum of the errors of all intervals, as a share of the larger of 1 and the difference to explain."""

_PIECES = 4
_MOST_ROUNDS = 6
"""So often an interval is cut into pieces before what is in it counts as a jump: the narrowest is 1/16,384."""
_MOST_POINTS = 1_000
"""Gradients after which no more intervals are cut."""
_SECTIONS = 16
_MOST_SECTIONINGS = 10
"""Rounds of locating a jump: to the last bit of a float64."""
_POINTS_TOKENS = 8_192
"""Points times tokens of one pass: some tens of megabytes."""
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(4)


class Attribution(NamedTuple):
    """What the tokens of one text did to the log-odds of a class."""

    tokens: list[float]
    """One value per token; they add up to ``text - baseline``, within ``TOLERANCE``."""
    baseline: float
    """Log-odds where every embedding is zero."""
    text: float
    """Log-odds of the text."""
    jumps: int
    """Intervals that were too steep to be integrated."""


class _Interval(NamedTuple):
    start: float
    end: float
    tokens: Doubles
    """(T,) integral over this stretch of the path."""
    missing: float
    """What completeness says it lacks."""


def integrated_gradients(
    network: DoubleNetwork, ids: TokenIds[int], target: int, check: Callable[[], None] = lambda: None
) -> Attribution:
    """Attributions of one text's tokens to the log-odds of class ``target``.

    Args:
        network: what is explained.
        ids: token ids, at least one.
        target: index of the class.
        check: called before each pass; stops the work by raising.
    """
    path = _Path(network, network.embed(ids), target, check)
    intervals = path.integrate(_cut(0.0, 1.0))
    baseline, text = path.value(0.0), path.value(1.0)
    allowed = TOLERANCE * max(1.0, abs(text - baseline))
    for _ in range(_MOST_ROUNDS):
        fine, coarse = _split(intervals, allowed)
        if not coarse or path.points > _MOST_POINTS:
            break
        intervals = fine + path.integrate([piece for interval in coarse for piece in _cut(*interval[:2])])
    fine, jumps = _split(intervals, allowed)
    if jumps:
        fine += path.divide(jumps)
    return Attribution(np.sum([interval.tokens for interval in fine], axis=0).tolist(), baseline, text, len(jumps))


def _cut(start: float, end: float) -> list[tuple[float, float]]:
    edges = [start + (end - start) * number / _PIECES for number in range(_PIECES)] + [end]
    return list(pairwise(edges))


def _split(intervals: list[_Interval], allowed: float) -> tuple[list[_Interval], list[_Interval]]:
    """Intervals that are good enough, and those that lack more than their share."""
    if sum(abs(interval.missing) for interval in intervals) <= allowed:
        return intervals, []
    share = allowed / len(intervals)
    return (
        [interval for interval in intervals if abs(interval.missing) <= share],
        [interval for interval in intervals if abs(interval.missing) > share],
    )


class _Path:
    """The straight line from the baseline to a text, with the values of F that are known on it."""

    def __init__(self, network: DoubleNetwork, vectors: Doubles, target: int, check: Callable[[], None]) -> None:
        self._network = network
        self._vectors = vectors
        self._target = target
        self._check = check
        self._values: dict[float, float] = {}
        self.points = 0

    def value(self, position: float) -> float:
        """F at a position that bounds an integrated interval."""
        return self._values[position]

    def integrate(self, bounds: Sequence[tuple[float, float]]) -> list[_Interval]:
        """Integrals over the given stretches, by a Gauss-Legendre rule on each."""
        ends = [end for end in dict.fromkeys(end for pair in bounds for end in pair) if end not in self._values]
        self._values.update(zip(ends, self._evaluate(ends), strict=True))
        nodes = [start + (end - start) * (node + 1) / 2 for start, end in bounds for node in _NODES]
        slopes = self._differentiate(nodes).reshape(len(bounds), len(_NODES), -1)
        intervals = []
        for (start, end), rows in zip(bounds, slopes, strict=True):
            tokens = _WEIGHTS @ rows * ((end - start) / 2)
            missing = self._values[end] - self._values[start] - float(tokens.sum())
            intervals.append(_Interval(start, end, tokens, missing))
        return intervals

    def divide(self, jumps: Sequence[_Interval]) -> list[_Interval]:
        """Give what each interval lacks to its tokens, in proportion to their slopes inside the jump."""
        slopes = self._differentiate(self._locate(jumps))
        intervals = []
        for interval, row in zip(jumps, slopes, strict=True):
            total, size = float(row.sum()), float(np.abs(row).sum())
            if total * interval.missing <= 0 or abs(total) < 0.01 * size:
                # No jump in this direction was found; at least nothing is blown up.
                row, total = np.abs(row), size  # noqa: PLW2901
            shares = row / total if total else np.full_like(row, 1 / len(row))
            intervals.append(interval._replace(tokens=interval.tokens + shares * interval.missing, missing=0.0))
        return intervals

    def _locate(self, jumps: Sequence[_Interval]) -> list[float]:
        """A position within each jump: where F passes the middle between its values on both sides."""
        middles = [(self._values[jump.start] + self._values[jump.end]) / 2 for jump in jumps]
        brackets = np.array([(jump.start, jump.end) for jump in jumps])
        for _ in range(_MOST_SECTIONINGS):
            grid = np.linspace(brackets[:, 0], brackets[:, 1], _SECTIONS + 1, axis=1)
            values = np.array(self._evaluate(grid.ravel().tolist())).reshape(grid.shape)
            for row, (middle, known) in enumerate(zip(middles, values, strict=True)):
                above = known > middle
                [crossings] = np.nonzero(above[1:] != above[:-1])
                if len(crossings):
                    first = int(crossings[0])
                    brackets[row] = grid[row, first : first + 2]
        return [float(position) for position in brackets.mean(axis=1)]

    def _evaluate(self, positions: Sequence[float]) -> list[float]:
        """F at positions of the path."""
        values: list[float] = []
        for points in self._batches(positions):
            values += self._network.log_odds(points, self._target).tolist()
        return values

    def _differentiate(self, positions: Sequence[float]) -> Doubles:
        """Derivative of F along the path, split by token: (A, T)."""
        self.points += len(positions)
        slopes = []
        for points in self._batches(positions):
            gradient = self._network.slopes(points, self._target)
            slopes.append((gradient * self._vectors[:, None]).sum(axis=-1).T)
        return np.concatenate(slopes)

    def _batches(self, positions: Sequence[float]) -> Iterator[Doubles]:
        """Embeddings (T, A, E) at positions of the path, so many at once as memory allows."""
        rows = max(1, _POINTS_TOKENS // len(self._vectors))
        for first in range(0, len(positions), rows):
            self._check()
            scale = np.array(positions[first : first + rows])
            yield self._vectors[:, None] * scale[:, None]
