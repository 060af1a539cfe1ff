"""Limits: GCRA (ATM Forum TM 4.1; "leaky bucket as a meter"), with a cost per request; and concurrency.

`Limit` and `Concurrency` describe, a store's `take` takes if there is room in all of them at once, `settle` charges
what is known only afterwards, and `headers` tells the caller. Exact: the answer to a refusal is the moment at which
it would pass.
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
#: Seconds after which a request is no longer counted as under way, should its end be missed (Redis).
LEASE = 900.0


@dataclass(frozen=True, slots=True)
class Limit:
    """``quota`` per ``window`` seconds, of which ``burst`` may come at once, for each ``per``."""

    name: str
    quota: int
    window: int
    burst: int
    per: str
    count: Count
    line: int = 0

    @property
    def id(self) -> str:
        """What it is counted under: another rate is another limit, and begins anew."""
        return f"{self.name} {self.quota}/{self.window}/{self.burst}"

    @property
    def interval(self) -> float:
        """Seconds that one unit of cost takes to flow away."""
        return self.window / self.quota

    @property
    def capacity(self) -> float:
        """How full the bucket may be, in seconds."""
        return self.burst * self.interval

    @property
    def afterwards(self) -> bool:
        """Whether the cost, or a part of it, is known only from the response."""
        return self.count in ("results", "bytes", "tokens")


@dataclass(frozen=True, slots=True)
class Concurrency:
    """At most ``most`` requests under way for each ``per``."""

    name: str
    most: int
    per: str
    line: int = 0

    @property
    def id(self) -> str:
        """What it is counted under."""
        return self.name


@dataclass(frozen=True, slots=True)
class Charge:
    """One limit, who it is counted for, what the request costs now, and how much room there must be at least."""

    limit: Limit
    key: tuple[str, ...]
    cost: int
    least: int = 0


@dataclass(frozen=True, slots=True)
class Lease:
    """One place among those that may be under way; ``id`` is the request's."""

    limit: Concurrency
    key: tuple[str, ...]
    id: str


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a limit stands after a charge: what is left, and seconds until it is full again.

    ``retry_after`` is 0 for a charge that passed, and infinite for one that could never pass. Of concurrency nobody
    knows when a place will be free: 1 second, if refused.
    """

    limit: Limit | Concurrency
    remaining: int
    reset: float
    retry_after: float


class LimitsUnavailable(Exception):
    """The store cannot be asked: nobody can be let through."""


class Store(Protocol):
    """Where limits are counted."""

    async def take(self, charges: Sequence[Charge], leases: Sequence[Lease]) -> tuple[bool, list[Standing]]:
        """Take every charge's cost and every lease if all have room, nothing otherwise; and where each then stands."""

    async def settle(self, charges: Sequence[Charge], leases: Sequence[Lease]) -> None:
        """Add the charges' cost, room or not, and give the leases back."""

    async def close(self) -> None:
        """Stop using it."""


def compile_limit(name: str, rate: str, per: str, count: Count, burst: int | None, line: int = 0) -> Limit:
    """A checked `Limit`. Raises `SettingError`."""
    match = _RATE.fullmatch(rate)
    if match is None:
        raise SettingError(f"{rate!r} is not a rate; write e.g. 60/minute (second, minute, hour or day)", "rate")
    quota = int(match[1])
    return Limit(name, quota, _SECONDS[match[2]], burst or quota, per, count, line)


def room(charge: Charge, level: float) -> float:
    """Seconds until *charge* fits into a bucket that is *level* seconds full (0: now; infinite: never)."""
    limit = charge.limit
    wanted = max(charge.cost, charge.least)
    over = level + wanted * limit.interval - limit.capacity
    if over <= 1e-9 * limit.capacity:  # a rounding error must not refuse the last unit
        return 0.0
    return math.inf if wanted > limit.burst else over


def standing(charge: Charge, level: float, retry_after: float) -> Standing:
    """How *charge*'s limit stands at *level* (seconds)."""
    limit = charge.limit
    remaining = max(0, int((limit.capacity - level) / limit.interval + 1e-9))
    return Standing(limit, remaining, level, retry_after)


class MemoryStore:
    """Limits counted in this process. *clock* gives seconds and does not go back."""

    _FEW = 10_000

    def __init__(self, clock: "Clock") -> None:
        self._clock = clock
        self._full_at: dict[tuple[str, ...], float] = {}  # GCRA's theoretical arrival time
        self._under_way: dict[tuple[str, ...], set[str]] = {}
        self._sweep_at = self._FEW

    async def take(self, charges: Sequence[Charge], leases: Sequence[Lease]) -> tuple[bool, list[Standing]]:
        """As in `Store`. Does not wait."""
        now = self._clock()
        if len(self._full_at) > self._sweep_at:  # at every doubling, so that sweeping costs nothing on average
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
        """As in `Store`. Does not wait."""
        now = self._clock()
        for charge in charges:
            begun = max(self._full_at.get(charge.key, now), now)
            self._full_at[charge.key] = begun + charge.cost * charge.limit.interval
        self.release(leases)

    def release(self, leases: Sequence[Lease]) -> None:
        """Give *leases* back; those that were given back already change nothing."""
        for lease in leases:
            under_way = self._under_way.get(lease.key)
            if under_way is not None:
                under_way.discard(lease.id)
                if not under_way:
                    del self._under_way[lease.key]

    async def close(self) -> None:
        """Nothing to close."""


class Clock(Protocol):
    """Seconds since whenever."""

    def __call__(self) -> float:
        """Now."""


def headers(standings: Sequence[Standing]) -> tuple[tuple[str, str], ...]:
    """``RateLimit`` and ``RateLimit-Policy`` (draft-ietf-httpapi-ratelimit-headers-10), and Retry-After if refused.

    Of a limit that is counted for several at once (groups, indexes) the one with the least left is told.
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
