"""A circuit breaker for one connection: opens when too large a share of answers are errors, and closes by itself.

Counted in this worker. Open, it refuses for as long as it looked back; then it lets one request try, and closes if
that one succeeds.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Trip:
    """Opens where ``share`` (0 to 1) of at least ``least`` answers within ``over`` seconds were errors."""

    share: float
    over: int
    least: int
    line: int = field(default=0, compare=False)  # of the file, where it is set


@dataclass(frozen=True, slots=True)
class Entry:
    """How a request came to the breaker: it must wait so many seconds, or passes, perhaps as the one that tries."""

    wait: float = 0.0
    tries: bool = False


class Breaker:
    """Whether requests may pass now. *clock* gives seconds and does not go back."""

    def __init__(self, trip: Trip, clock: Callable[[], float]) -> None:
        self.trip = trip
        self._clock = clock
        self._answers: deque[tuple[float, bool]] = deque()
        self._errors = 0
        self._open_until: float | None = None
        self._trying_since: float | None = None

    def enter(self) -> Entry:
        """Whether a request may pass. One that may must be `answered`, or have `left`."""
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
        """A request that was let pass has ended without an answer, and for no fault of the service's."""
        if entry.tries:
            self._trying_since = None

    def answered(self, entry: Entry, *, error: bool) -> bool:
        """The answer to a request; whether the breaker has opened by it."""
        now = self._clock()
        if self._open_until is not None:
            if not entry.tries:
                return False  # let through before it opened
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
