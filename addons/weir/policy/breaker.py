"""A circuit breaker for one connection: it opens when too many responses are errors, and closes again later.

Responses are counted in this worker. An open breaker refuses requests for as long as the window that it counts over.
Then one trial request is sent; if it succeeds, the breaker closes.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Trip:
    """Opens if ``share`` (0 to 1) of at least ``least`` responses within ``over`` seconds were errors."""

    share: float
    over: int
    least: int
    line: int = field(default=0, compare=False)  # line of the setting in its file


@dataclass(frozen=True, slots=True)
class Entry:
    """The breaker's answer to a request: wait so many seconds, or pass, possibly as the trial request."""

    wait: float = 0.0
    tries: bool = False


class Breaker:
    """Decides whether requests may pass now. *clock* returns seconds and never goes back."""

    def __init__(self, trip: Trip, clock: Callable[[], float]) -> None:
        self.trip = trip
        self._clock = clock
        self._answers: deque[tuple[float, bool]] = deque()
        self._errors = 0
        self._open_until: float | None = None
        self._trying_since: float | None = None

    def enter(self) -> Entry:
        """Decide whether a request may pass. A request that passes must end with `answered` or `left`."""
        if self._open_until is None:
            return Entry()
        now = self._clock()
        if now < self._open_until:
            return Entry(self._open_until - now)
        if self._trying_since is not None and now - self._trying_since < self.trip.over:
            return Entry(1.0)
        self._trying_since = now
        return Entry(tries=True)

    def left(self, entry: Entry) -> None:
        """Note that a request has ended without a response, and not by a fault of the service."""
        if entry.tries:
            self._trying_since = None

    def answered(self, entry: Entry, *, error: bool) -> bool:
        """Note the response to a request. Return True if it opens the breaker."""
        now = self._clock()
        if self._open_until is not None:
            if not entry.tries:
                return False  # sent before the breaker opened
            self._trying_since = None
            self._answers.clear()
            self._errors = 0
            self._open_until = now + self.trip.over if error else None
            return error
        self._answers.append((now, error))
        self._errors += error
        while self._answers[0][0] < now - self.trip.over:
            self._errors -= self._answers.popleft()[1]
        if error and len(self._answers) >= self.trip.least and self._errors >= self.trip.share * len(self._answers):
            self._open_until = now + self.trip.over
            return True
        return False
