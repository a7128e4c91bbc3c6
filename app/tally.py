"""Counts and observations of one turn of the event loop, written together at its end.

A request makes a dozen of them. In prometheus_client's multiprocess mode each goes through a lock into a mapped file,
which takes a microsecond; requests that arrive together share that here.
"""

from __future__ import annotations

import asyncio

from prometheus_client import Counter, Gauge

from app.metrics import BatchHistogram


class Tally:
    """What was counted and observed since it was last written. Belongs to the thread of a running event loop."""

    def __init__(self) -> None:
        self._counts: dict[Counter | Gauge, float] = {}
        self._amounts: dict[BatchHistogram, list[float]] = {}
        self._flushed_by: asyncio.AbstractEventLoop | None = None

    def count(self, metric: Counter | Gauge, amount: float = 1) -> None:
        """Add to a counter, or to a gauge."""
        self._flush_soon()
        self._counts[metric] = self._counts.get(metric, 0) + amount

    def observe(self, histogram: BatchHistogram, amount: float) -> None:
        """Observe an amount."""
        self._flush_soon()
        amounts = self._amounts.get(histogram)
        if amounts is None:
            self._amounts[histogram] = [amount]
        else:
            amounts.append(amount)

    def _flush_soon(self) -> None:
        loop = asyncio.get_running_loop()
        if loop is not self._flushed_by:
            self._flushed_by = loop
            loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushed_by = None
        for metric, amount in self._counts.items():
            if amount:
                metric.inc(amount)
        for histogram, amounts in self._amounts.items():
            histogram.observe_all(amounts)
        self._counts.clear()
        self._amounts.clear()


_tally = Tally()
count = _tally.count
observe = _tally.observe
