"""The circuit breaker: leaves alone what fails, and tries it again now and then."""

from __future__ import annotations


class CircuitBreaker:
    """Leaves a failing dependency alone: open after some failures in a row, then one probe at a time.

    Args:
        failures: failures in a row that open it.
        shortest: seconds it stays open at first; doubles with every failed probe.
        longest: upper bound of that.
    """

    def __init__(self, failures: int = 3, shortest: float = 0.5, longest: float = 10.0) -> None:
        self._limit = failures
        self._shortest = shortest
        self._longest = longest
        self._failures = 0
        self._pause = shortest
        self._open_until = 0.0

    @property
    def is_open(self) -> bool:
        """Whether it is open, be it that a probe is due."""
        return self._failures >= self._limit

    def allows(self, now: float) -> bool:
        """Whether to try now. While open, one caller per pause is let through as a probe."""
        if not self.is_open:
            return True
        if now < self._open_until:
            return False
        self._open_until = now + self._pause
        return True

    def rests(self, now: float) -> bool:
        """Whether nobody may try now."""
        return self.is_open and now < self._open_until

    def succeeded(self) -> bool:
        """Close it; true where it was open."""
        was_open, self._failures, self._pause = self.is_open, 0, self._shortest
        return was_open

    def failed(self, now: float) -> bool:
        """Count a failure; true where this one opened it."""
        was_open = self.is_open
        self._failures += 1
        if not self.is_open:
            return False
        if was_open:
            self._pause = min(self._pause * 2, self._longest)
        self._open_until = now + self._pause
        return not was_open
