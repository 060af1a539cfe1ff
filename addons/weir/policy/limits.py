"""Limits: GCRA (ATM Forum TM 4.1; "leaky bucket as a meter") with a cost per request; and concurrency.

`Limit` and `Concurrency` describe limits. A store's `take` charges all limits of a request at once, or none; `settle`
charges costs that are known only afterwards; `headers` reports to the caller. The retry time of a refusal is exact: at
that moment the request would pass.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from weir.base.mistakes import SettingError

Count = Literal["requests", "documents", "results", "bytes", "tokens"]

_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
_RATE = re.compile(r"([1-9][0-9]{0,11})/(second|minute|hour|day)")
#: Seconds after which a request no longer counts as in progress if its end was missed (Redis).
LEASE = 900.0


@dataclass(frozen=True, slots=True)
class Limit:
    """``quota`` per ``window`` seconds, with at most ``burst`` at once, for each ``per``."""

    name: str
    quota: int
    window: int
    burst: int
    per: str
    count: Count
    line: int = 0

    @property
    def id(self) -> str:
        """The key for counting. Another rate is another limit, and starts from zero."""
        return f"{self.name} {self.quota}/{self.window}/{self.burst}"

    @property
    def interval(self) -> float:
        """Seconds until one unit of cost has drained."""
        return self.window / self.quota

    @property
    def capacity(self) -> float:
        """The maximum level of the bucket, in seconds."""
        return self.burst * self.interval

    @property
    def afterwards(self) -> bool:
        """True if the cost, or part of it, is known only from the response."""
        return self.count in ("results", "bytes", "tokens")


@dataclass(frozen=True, slots=True)
class Concurrency:
    """At most ``most`` requests in progress for each ``per``."""

    name: str
    most: int
    per: str
    line: int = 0

    @property
    def id(self) -> str:
        """The key for counting."""
        return self.name


@dataclass(frozen=True, slots=True)
class Charge:
    """A charge to one limit: the key to count for, the cost now, and the minimum room that must be left."""

    limit: Limit
    key: tuple[str, ...]
    cost: int
    least: int = 0


@dataclass(frozen=True, slots=True)
class Lease:
    """One place among the requests in progress; ``id`` is the request's."""

    limit: Concurrency
    key: tuple[str, ...]
    id: str


@dataclass(frozen=True, slots=True)
class Standing:
    """The state of a limit after a charge: units left, and seconds until it is full again.

    ``retry_after`` is 0 for a charge that passed, and infinite for one that could never pass. For concurrency the time
    is unknown, so a refusal gives 1 second.
    """

    limit: Limit | Concurrency
    remaining: int
    reset: float
    retry_after: float


class LimitsUnavailable(Exception):
    """The store does not answer, so requests are refused."""


class Store(Protocol):
    """Counts limits."""

    async def take(self, charges: Sequence[Charge], leases: Sequence[Lease]) -> tuple[bool, list[Standing]]:
        """Take all costs and leases if all have room, else none. Return (taken, the state of each limit)."""

    async def settle(self, charges: Sequence[Charge], leases: Sequence[Lease]) -> None:
        """Add the costs, even beyond the limits, and release the leases."""

    async def close(self) -> None:
        """Release the store's resources."""


def compile_limit(name: str, rate: str, per: str, count: Count, burst: int | None, line: int = 0) -> Limit:
    """Compile a `Limit`. Raises `SettingError`."""
    match = _RATE.fullmatch(rate)
    if match is None:
        raise SettingError(f"{rate!r} is not a rate; write e.g. 60/minute (second, minute, hour or day)", "rate")
    quota = int(match[1])
    return Limit(name, quota, _SECONDS[match[2]], burst or quota, per, count, line)


def room(charge: Charge, level: float) -> float:
    """Return the seconds until *charge* fits into a bucket at *level* seconds (0: now; infinite: never)."""
    limit = charge.limit
    wanted = max(charge.cost, charge.least)
    over = level + wanted * limit.interval - limit.capacity
    if over <= 1e-9 * limit.capacity:  # a rounding error must not refuse the last unit
        return 0.0
    return math.inf if wanted > limit.burst else over


def standing(charge: Charge, level: float, retry_after: float) -> Standing:
    """Return the state of *charge*'s limit at *level* (seconds)."""
    limit = charge.limit
    remaining = max(0, int((limit.capacity - level) / limit.interval + 1e-9))
    return Standing(limit, remaining, level, retry_after)


class MemoryStore:
    """Counts limits in this process. *clock* returns seconds and never goes back."""

    _FEW = 10_000

    def __init__(self, clock: "Clock") -> None:
        self._clock = clock
        self._full_at: dict[tuple[str, ...], float] = {}  # GCRA's theoretical arrival time
        self._under_way: dict[tuple[str, ...], set[str]] = {}
        self._sweep_at = self._FEW

    async def take(self, charges: Sequence[Charge], leases: Sequence[Lease]) -> tuple[bool, list[Standing]]:
        """See `Store`. Does not wait."""
        now = self._clock()
        if len(self._full_at) > self._sweep_at:  # at every doubling, so that the average cost of sweeping is constant
            self._full_at = {key: at for key, at in self._full_at.items() if at > now}
            self._sweep_at = max(self._FEW, 2 * len(self._full_at))
        levels = [max(self._full_at.get(charge.key, now) - now, 0.0) for charge in charges]
        retries = [room(charge, level) for charge, level in zip(charges, levels, strict=True)]
        free = [lease.limit.most - len(self._under_way.get(lease.key, ())) for lease in leases]
        passed = not any(retries) and all(places > 0 for places in free)
        standings = []
        for charge, before, retry in zip(charges, levels, retries, strict=True):
            level = before
            if passed and charge.cost:
                level += charge.cost * charge.limit.interval
                self._full_at[charge.key] = now + level
            standings.append(standing(charge, level, retry))
        for lease, places in zip(leases, free, strict=True):
            if passed:
                self._under_way.setdefault(lease.key, set()).add(lease.id)
            standings.append(Standing(lease.limit, max(0, places - passed), 0, 0.0 if places > 0 else 1.0))
        return passed, standings

    async def settle(self, charges: Sequence[Charge], leases: Sequence[Lease]) -> None:
        """See `Store`. Does not wait."""
        now = self._clock()
        for charge in charges:
            begun = max(self._full_at.get(charge.key, now), now)
            self._full_at[charge.key] = begun + charge.cost * charge.limit.interval
        self.release(leases)

    def release(self, leases: Sequence[Lease]) -> None:
        """Release *leases*; releasing a lease again has no effect."""
        for lease in leases:
            under_way = self._under_way.get(lease.key)
            if under_way is not None:
                under_way.discard(lease.id)
                if not under_way:
                    del self._under_way[lease.key]

    async def close(self) -> None:
        """Do nothing."""


class Clock(Protocol):
    """A clock in seconds, with any start."""

    def __call__(self) -> float:
        """Return the time."""


def headers(standings: Sequence[Standing]) -> tuple[tuple[str, str], ...]:
    """Return RateLimit and RateLimit-Policy (draft-ietf-httpapi-ratelimit-headers-10), and Retry-After if refused.

    If a limit is counted for several keys at once (groups, indexes), the one with the least left is reported.
    """
    least: dict[str, Standing] = {}
    for standing in standings:
        known = least.setdefault(standing.limit.name, standing)
        if (standing.retry_after, -standing.remaining) > (known.retry_after, -known.remaining):
            least[standing.limit.name] = standing
    fields = [
        ("RateLimit-Policy", ", ".join(map(_policy_item, least.values()))),
        ("RateLimit", ", ".join(map(_limit_item, least.values()))),
    ]
    retry = max(s.retry_after for s in standings)
    if 0 < retry < math.inf:
        fields.append(("Retry-After", str(max(1, math.ceil(retry)))))
    return tuple(fields)


def _policy_item(standing: Standing) -> str:
    limit = standing.limit
    if isinstance(limit, Concurrency):
        return f'"{limit.name}";q={limit.most};qu="concurrent-requests"'
    unit = ';qu="content-bytes"' if limit.count == "bytes" else ""
    return f'"{limit.name}";q={limit.quota};w={limit.window}{unit}'


def _limit_item(standing: Standing) -> str:
    reset = "" if isinstance(standing.limit, Concurrency) else f";t={math.ceil(standing.reset)}"
    return f'"{standing.limit.name}";r={standing.remaining}{reset}'
