"""A token bucket for events that cost a caller little and the gateway more."""

import time


class Crumbs:
    """Allows *most* events at once and *rate* a second. Earned tokens are kept up to *saved*."""

    MOST, RATE = 1000.0, 100.0

    def __init__(self, most: float = MOST, rate: float = RATE, saved: float = 10 * MOST) -> None:
        self._most, self._rate, self._saved = most, rate, saved
        self._left, self._at = most, time.monotonic()

    def earns(self, count: float) -> None:
        """Add *count* tokens."""
        self._left = min(self._left + count, self._saved)

    def takes(self, count: int) -> bool:
        """Take *count* tokens. Return False if there were fewer."""
        now = time.monotonic()
        if self._left < self._most:
            self._left = min(self._most, self._left + (now - self._at) * self._rate)
        self._at = now
        self._left -= count
        return self._left >= 0
