"""Limits counted in Redis, for all workers on all machines. One Lua call takes all charges of a request, or none.

The time is Redis's own. If Redis does not answer within a second, requests are refused. Needs the extra ``redis``.
"""

import asyncio
import math
from collections.abc import Sequence
from typing import Any

from weir.policy.limits import LEASE, Charge, Lease, LimitsUnavailable, Standing, standing

#: Seconds to wait for Redis.
TIMEOUT = 1.0
#: One hash tag, because all keys of a request must be on one node of a cluster.
_PREFIX = "{weir}:limit:"

# KEYS: buckets, then sets of leases. ARGV: the number of buckets, 1 to add without a check; then for each bucket its
# interval, capacity, cost and least room; then for each set its size; then the request's id and seconds to keep it.
# Answer: passed; then for each bucket its level and seconds to wait (-1: never), and for each set its free places.
_TAKE = """
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
local buckets, force = tonumber(ARGV[1]), ARGV[2] == '1'
local answer, passed, levels = {1}, true, {}
for i = 1, buckets do
  local at = 2 + (i - 1) * 4
  local interval, capacity = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
  local wanted = math.max(tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4]))
  local full = tonumber(redis.call('GET', KEYS[i]) or now)
  local level = math.max(full - now, 0)
  local over, wait = level + wanted * interval - capacity, 0
  if over > 1e-9 * capacity + 2e-6 then
    passed = false
    wait = over
    if wanted * interval > capacity * (1 + 1e-9) then wait = -1 end
  end
  levels[i] = level
  answer[#answer + 1], answer[#answer + 2] = level, wait
end
local at = 2 + buckets * 4
for i = buckets + 1, #KEYS do
  redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', now)
  local free = tonumber(ARGV[at + 1]) - redis.call('ZCARD', KEYS[i])
  if free <= 0 then passed = false end
  answer[#answer + 1] = free
  at = at + 1
end
if passed or force then
  for i = 1, buckets do
    local from = 2 + (i - 1) * 4
    local cost = tonumber(ARGV[from + 3])
    if cost > 0 then
      local level = levels[i] + cost * tonumber(ARGV[from + 1])
      redis.call('SET', KEYS[i], string.format('%.6f', now + level), 'PX', math.ceil(level * 1000) + 1000)
      answer[2 + (i - 1) * 2] = level
    end
  end
  if not force then
    for i = buckets + 1, #KEYS do
      redis.call('ZADD', KEYS[i], now + tonumber(ARGV[at + 2]), ARGV[at + 1])
      redis.call('PEXPIRE', KEYS[i], math.ceil(tonumber(ARGV[at + 2]) * 1000))
    end
  end
end
if not passed then answer[1] = 0 end
for i = 2, #answer do answer[i] = string.format('%.6f', answer[i]) end
return answer
"""


def check_url(url: str) -> None:
    """Raise ValueError unless *url* is a valid Redis URL. No connection is made."""
    from redis.asyncio import ConnectionPool  # noqa: PLC0415  # an extra

    ConnectionPool.from_url(url)


class RedisStore:
    """Implements `limits.Store`. Raises `LimitsUnavailable` if Redis does not answer."""

    def __init__(self, url: str) -> None:
        from redis.asyncio import Redis  # noqa: PLC0415  # an extra
        from redis.asyncio.retry import Retry  # noqa: PLC0415
        from redis.backoff import NoBackoff  # noqa: PLC0415
        from redis.exceptions import ConnectionError as Disconnected  # noqa: PLC0415

        # Retry if a connection is stale, but not if an answer is late, because the request may have been counted.
        once_more: Any = Retry(NoBackoff(), 1, supported_errors=(Disconnected,))
        self._redis = Redis.from_url(url, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, retry=once_more)
        self._script = self._redis.register_script(_TAKE)

    async def take(self, charges: Sequence[Charge], leases: Sequence[Lease]) -> tuple[bool, list[Standing]]:
        """See `Store`."""
        answer = await self._call(charges, leases, force=False)
        passed = int(answer[0]) == 1
        numbers = [float(text) for text in answer[1:]]
        standings = []
        for charge, level, wait in zip(charges, numbers[::2], numbers[1::2], strict=False):
            standings.append(standing(charge, level, math.inf if wait < 0 else wait))
        for lease, places in zip(leases, numbers[2 * len(charges) :], strict=True):
            free = int(places)
            standings.append(Standing(lease.limit, max(0, free - passed), 0, 0.0 if free > 0 else 1.0))
        return passed, standings

    async def settle(self, charges: Sequence[Charge], leases: Sequence[Lease]) -> None:
        """See `Store`."""
        if charges:
            await self._call(charges, (), force=True)
        for lease in leases:
            await self._guarded(self._redis.zrem(_key(lease.key), lease.id))

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def _call(self, charges: Sequence[Charge], leases: Sequence[Lease], *, force: bool) -> list[Any]:
        keys = [_key(charge.key) for charge in charges] + [_key(lease.key) for lease in leases]
        arguments: list[Any] = [len(charges), int(force)]
        for charge in charges:
            arguments += [repr(charge.limit.interval), repr(charge.limit.capacity), charge.cost, charge.least]
        arguments += [lease.limit.most for lease in leases]
        arguments += [leases[0].id, LEASE] if leases else []
        found: list[Any] = await self._guarded(self._script(keys=keys, args=arguments))
        return found

    async def _guarded(self, call: Any) -> Any:
        from redis.exceptions import RedisError  # noqa: PLC0415

        try:
            async with asyncio.timeout(TIMEOUT * 1.5):
                return await call
        except (RedisError, OSError, TimeoutError) as error:
            raise LimitsUnavailable(type(error).__name__) from None


def _key(parts: tuple[str, ...]) -> str:
    """Join *parts*, each with its length, so that different keys have different texts."""
    return _PREFIX + "".join(f"{len(part)}:{part}," for part in parts)
