"""What a caller may send of frames that say little: thousands of them are handled in one step."""

import time


class Crumbs:
    """There may be `MOST` at once and `RATE` a second; more where something was done to earn them."""

    MOST, RATE = 1000.0, 100.0

    def __init__(self) -> None:
        self._left, self._at = self.MOST, time.monotonic()

    def earns(self, count: float) -> None:
        """So many more may come."""
        self._left = min(self._left + count, 10 * self.MOST)

    def takes(self, count: int) -> bool:
        """Whether *count* more may have come."""
        now = time.monotonic()
        if self._left < self.MOST:
            self._left = min(self.MOST, self._left + (now - self._at) * self.RATE)
        self._at = now
        self._left -= count
        return self._left >= 0
