"""Rate limits: GCRA (ATM Forum TM 4.1; "leaky bucket as a meter"), with a cost per request.

Three verbs: `Limit` describes, `MemoryStore.charge` takes if there is room in all limits at once, and
`headers` tells the caller. Exact: the answer to a refusal is the moment at which it would pass.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from weir.config.problems import SettingError

_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
_RATE = re.compile(r"([1-9][0-9]{0,8})/(second|minute|hour|day)")


@dataclass(frozen=True, slots=True)
class Limit:
    """``quota`` per ``window`` seconds, of which ``burst`` may come at once, for each ``per``."""

    name: str
    quota: int
    window: int
    burst: int
    per: Literal["user", "group", "connection"]
    count: Literal["requests", "documents"]

    @property
    def interval(self) -> float:
        """Seconds that one unit of cost takes to flow away."""
        return self.window / self.quota


@dataclass(frozen=True, slots=True)
class Charge:
    """One limit, who it is counted for, and what the request costs."""

    limit: Limit
    key: tuple[str, ...]
    cost: int


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a limit stands after a charge: what is left, and seconds until it is full again.

    ``retry_after`` is 0 for a charge that passed, and infinite for one that could never pass.
    """

    limit: Limit
    remaining: int
    reset: float
    retry_after: float


def compile_limit(name: str, rate: str, per: str, count: str, burst: int | None) -> Limit:
    """A checked `Limit`. Raises `SettingError`."""
    match = _RATE.fullmatch(rate)
    if match is None:
        raise SettingError(f"{rate!r} is not a rate; write e.g. 60/minute (second, minute, hour or day)", "rate")
    quota = int(match[1])
    return Limit(name, quota, _SECONDS[match[2]], burst or quota, per, count)  # type: ignore[arg-type]


class MemoryStore:
    """Limits counted in this process. ``now`` is any clock in seconds that does not go back."""

    _FEW = 10_000

    def __init__(self) -> None:
        self._full_at: dict[tuple[str, ...], float] = {}  # GCRA's theoretical arrival time
        self._sweep_at = self._FEW

    def charge(self, charges: Sequence[Charge], now: float) -> tuple[bool, list[Standing]]:
        """Take the cost of every charge if all have room, of none otherwise; and where each then stands."""
        if len(self._full_at) > self._sweep_at:  # at every doubling, so that sweeping costs nothing on average
            self._full_at = {key: at for key, at in self._full_at.items() if at > now}
            self._sweep_at = max(self._FEW, 2 * len(self._full_at))
        rooms = [(charge, *self._room(charge, now)) for charge in charges]
        passed = all(retry == 0 for _, _, retry in rooms)
        standings = []
        for charge, before, retry in rooms:
            limit = charge.limit
            level = before + charge.cost * limit.interval if passed else before
            if passed:
                self._full_at[charge.key] = now + level
            remaining = max(0, int((limit.burst * limit.interval - level) / limit.interval + 1e-9))
            standings.append(Standing(limit, remaining, level, retry))
        return passed, standings

    def _room(self, charge: Charge, now: float) -> tuple[float, float]:
        """How full the bucket is (seconds), and how long until the charge would fit (0: now)."""
        limit = charge.limit
        capacity = limit.burst * limit.interval
        level = max(self._full_at.get(charge.key, now) - now, 0.0)
        over = level + charge.cost * limit.interval - capacity
        if over <= 1e-9 * capacity:  # a rounding error must not refuse the last unit
            return level, 0.0
        return level, math.inf if charge.cost > limit.burst else over


def headers(standings: Sequence[Standing]) -> tuple[tuple[str, str], ...]:
    """``RateLimit`` and ``RateLimit-Policy`` (draft-ietf-httpapi-ratelimit-headers), and Retry-After if refused."""
    fields = [
        ("RateLimit-Policy", ", ".join(f'"{s.limit.name}";q={s.limit.quota};w={s.limit.window}' for s in standings)),
        ("RateLimit", ", ".join(f'"{s.limit.name}";r={s.remaining};t={math.ceil(s.reset)}' for s in standings)),
    ]
    retry = max(s.retry_after for s in standings)
    if 0 < retry < math.inf:
        fields.append(("Retry-After", str(max(1, math.ceil(retry)))))
    return tuple(fields)
