"""Limits and circuit breakers: count a request before it is sent, and settle its costs after the answer."""

import asyncio
import hashlib
import math
import time
import weakref
from collections.abc import Awaitable, Sequence

from weir.base.alarms import alarm
from weir.base.principal import Principal
from weir.base.problems import Kind, Refusal
from weir.masking.metering import size
from weir.path.exchange import (
    Answered,
    Body,
    Charged,
    Entered,
    Exchange,
    Hold,
    Identified,
    Judged,
    Matched,
    Ranked,
    Read,
    Routed,
)
from weir.path.steps.reading import document_of, metered
from weir.path.steps.rules import decide
from weir.policy.breaker import Breaker
from weir.policy.facts import ABSENT
from weir.policy.limits import (
    Charge,
    Concurrency,
    Lease,
    Limit,
    LimitsUnavailable,
    MemoryStore,
    Standing,
    Store,
    headers,
)
from weir.policyset.connection import Connection
from weir.policyset.model import PolicySet

#: Seconds that a replaced store stays open, so that requests under way can settle their limits.
LEAVING = 60.0
#: Maximum length of one part of a limit's key, in characters.
_LONGEST_KEY = 64
#: Bytes of text per token, for responses that do not report their number of tokens.
_BYTES_A_TOKEN = 4


class Limits:
    """The limits' store and the circuit breakers, which the steps of this file share."""

    def __init__(self) -> None:
        self.memory = MemoryStore(time.monotonic)
        self.store: Store = self.memory
        self.breakers: dict[str, Breaker] = {}
        self._store_url = "memory"
        self._closing: list[asyncio.Task[None]] = []  # close the stores that were replaced

    def start_over(self) -> None:
        """Forget all counts: for the next rehearsal."""
        self.memory = self.store = MemoryStore(time.monotonic)

    async def use(self, policies: PolicySet) -> None:
        """Count limits in the store of *policies*. Requests under way are settled in the store where they began."""
        if policies.limits != self._store_url:
            store: Store = self.memory
            if policies.limits != "memory":
                from weir.policy.redis_store import RedisStore  # noqa: PLC0415  # installed by an extra

                store = RedisStore(policies.limits)
            self._closing = [task for task in self._closing if not task.done()]
            self._closing.append(asyncio.create_task(_close_later(self.store), name="limits"))
            self.store, self._store_url = store, policies.limits
        self.breakers = {
            c.name: known
            if (known := self.breakers.get(c.name)) and known.trip == c.trip
            else Breaker(c.trip, time.monotonic)
            for c in policies.connections
            if c.trip is not None
        }

    async def stop(self) -> None:
        """Close the stores' connections."""
        for task in self._closing:
            task.cancel()
        await asyncio.gather(*self._closing, return_exceptions=True)
        await self.store.close()

    async def settle(self, exchange: Exchange, results: int) -> None:
        """Charge the limits that depend on the answer. *results* is its number of results."""
        charged = exchange.get(Charged)
        if charged is None or not charged.settles:
            return
        settles, charged.settles = charged.settles, ()
        hold = exchange.get(Hold)
        if hold is not None and hold.kept is not None:
            return  # charged when the answer arrived
        charges = [Charge(c.limit, c.key, _used(exchange, c.limit, results)) for c in settles]
        await _settle(charged.store, charges, ())

    def answered(self, exchange: Exchange) -> None:
        """Report the request's result to the circuit breaker, once and early: the answer may wait long for approval."""
        entered, connection = exchange.get(Entered), exchange.connection
        if entered is None or connection is None:
            return
        exchange.drop(Entered)
        breaker = self.breakers.get(connection.name)
        if breaker is None:
            return
        trouble = exchange.upstream_status >= 500 or (
            exchange.problem is not None and exchange.problem.kind is Kind.UPSTREAM_UNREACHABLE
        )
        if not trouble and not exchange.upstream_status:
            breaker.left(entered.entry)
        elif breaker.answered(entered.entry, error=trouble):
            trip = breaker.trip
            alarm(
                "circuit_open",
                f"connection {connection.name} refuses requests for {trip.over} s: at least {trip.share:.0%} of its "
                "answers were errors",
            )

    async def end(self, exchange: Exchange) -> None:
        """Release the remaining limits of an exchange that has ended."""
        self.answered(exchange)
        if exchange.sent:  # if there was no readable answer
            await self.settle(exchange, 0)
        charged = exchange.get(Charged)
        if charged is not None and charged.leases:
            leases, charged.leases = charged.leases, ()
            await _settle(charged.store, (), leases)


async def _settle(store: Store, charges: Sequence[Charge], leases: Sequence[Lease]) -> None:
    try:
        await store.settle(charges, leases)
    except LimitsUnavailable as error:
        alarm("limits_unavailable", f"the cost of a request could not be counted in the limits' store ({error})")


async def _close_later(store: Store) -> None:
    """Close *store* after `LEAVING` seconds, when no request needs it any more."""
    try:
        await asyncio.sleep(LEAVING)
    finally:
        await store.close()


class TakeLimits:
    """Take the request's share of the connection's limits, or refuse the request.

    A request that comes back after a wait for approval keeps its share, and is not counted again.
    """

    name = "take_limits"
    waits = True

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def __call__(
        self,
        exchange: Exchange,
        routed: Routed,
        identified: Identified,
        body: Body,
        read: Read,
        judged: Judged,
        charged: Charged | None,
    ) -> Awaitable[Charged] | None:
        if not routed.connection.limits or charged is not None:
            return None
        return self._take(exchange, routed.connection, identified, body, read, judged)

    async def _take(
        self,
        exchange: Exchange,
        connection: Connection,
        identified: Identified,
        body: Body,
        read: Read,
        judged: Judged,
    ) -> Charged:
        charges, leases = [], []
        for limit in connection.limits:
            for owner in _owners(limit.per, judged, connection, identified.principal):
                key = (connection.name, limit.id, *map(_short, owner))
                if isinstance(limit, Concurrency):
                    leases.append(Lease(limit, key, exchange.request_id))
                else:
                    cost, least = _cost(limit, body, read)
                    charges.append(Charge(limit, key, cost, least))
        store = self._limits.store
        # Added before the store answers: if the store's answer is lost, the lease may be taken and must be released.
        charged = Charged(store, leases=tuple(leases))
        exchange.put(charged)
        try:
            passed, standings = await store.take(charges, leases)
        except LimitsUnavailable as error:
            alarm("limits_unavailable", f"the limits' store does not answer ({error}); requests are refused")
            message = "The gateway cannot count its limits now, and passes no uncounted request. Try again later."
            raise Refusal(Kind.LIMITS_UNAVAILABLE, message, headers=(("Retry-After", "5"),)) from None
        for name, value in headers(standings):
            exchange.add_header(name, value)
        if passed:
            charged.settles = tuple(charge for charge in charges if charge.limit.afterwards)
            if leases and store is self._limits.memory:  # release them even if the exchange is lost
                weakref.finalize(exchange, self._limits.memory.release, tuple(leases)).atexit = False
            return charged
        charged.leases = ()
        worst = max(standings, key=lambda s: s.retry_after)
        message = _limit_message(worst)
        decide(exchange, "limit", worst.limit.name, message, connection.file, worst.limit.line)
        raise Refusal(Kind.RATE_LIMITED, message, rule=worst.limit.name)


class EnterBreaker:
    """Refuse the request while the connection's circuit breaker is open."""

    name = "enter_breaker"

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def __call__(self, exchange: Exchange, routed: Routed, hold: Hold | None) -> Entered | None:
        connection = routed.connection
        breaker = self._limits.breakers.get(connection.name)
        if breaker is None or (hold is not None and hold.kept is not None):
            return None
        entry = breaker.enter()
        if entry.wait:
            message = (
                f"Too many answers of {connection.name} were errors, so it is closed for a moment. Try again later."
            )
            decide(exchange, "deny", "trip", message, connection.file, breaker.trip.line)
            retry = (("Retry-After", str(math.ceil(entry.wait))),)
            raise Refusal(Kind.CIRCUIT_OPEN, message, rule="trip", headers=retry)
        return Entered(entry)


class SettleLimits:
    """Charge the limits that only the answer can tell. Runs before `judge_answer`: a refused answer is charged, too."""

    name = "settle_limits"
    waits = True

    def __init__(self, limits: Limits) -> None:
        self._limits = limits

    def __call__(self, exchange: Exchange, charged: Charged | None, ranked: Ranked | None) -> Awaitable[None] | None:
        self._limits.answered(exchange)
        if charged is None or not charged.settles:
            return None
        return self._limits.settle(exchange, len(ranked.ranking.results) if ranked is not None else 0)


def _short(part: str) -> str:
    """Return *part*, or its digest if it is long. Callers choose the values of facts, so the length must be bounded."""
    return part if len(part) <= _LONGEST_KEY else hashlib.blake2b(part.encode(), digest_size=16).hexdigest()


def _owners(per: str, judged: Judged, connection: Connection, principal: Principal) -> list[tuple[str, ...]]:
    """Return the keys of a limit's owners: the limit is counted for each of them."""
    if per == "user":
        return [principal.key]
    if per == "connection":
        return [()]
    if per == "group":  # each group that gives access; callers with temporary access share one key
        return [(group,) for group in sorted(connection.access & principal.groups)] or [("",)]
    value = judged.facts[per]
    if value is ABSENT:
        return [("absent",)]
    return [("is", str(v)) for v in value] if isinstance(value, list) else [("is", str(value))]


def _cost(limit: Limit, body: Body, read: Read) -> tuple[int, int]:
    """Return the request's cost now, and the minimum that must remain in the limit."""
    if limit.count == "requests":
        return 1, 1
    if limit.count == "documents":
        return len(read.call.documents or ()), 0
    return (len(body.decoded), 1) if limit.count == "bytes" else (0, 1)


def _used(exchange: Exchange, limit: Limit, results: int) -> int:
    """Return what the limit counts of the answer."""
    if limit.count == "results":
        return results
    if limit.count == "bytes":
        return exchange.received_bytes
    return _guess(exchange) if exchange.tokens is None else exchange.tokens


def _guess(exchange: Exchange) -> int:
    """Return about how many tokens an exchange used that reports none: as many as its texts have, without framing.

    If the answer cannot be read, all bytes count.
    """
    answer, asked = _answer_size(exchange), exchange[Body].decoded
    if answer is None:
        return math.ceil((len(asked) + exchange.received_bytes) / _BYTES_A_TOKEN)
    return math.ceil((size(document_of(exchange[Matched].operation, asked)) + answer) / _BYTES_A_TOKEN)


def _answer_size(exchange: Exchange) -> int | None:
    """Return the bytes of the answer's texts; None if it cannot be read."""
    if exchange.stream is not None:
        return exchange.stream.meter.text
    answered = exchange.get(Answered)
    if answered is None:
        return None
    if answered.document is not None:
        return size(answered.document)
    return metered(answered, exchange[Matched].operation).text


def _limit_message(standing: Standing) -> str:
    limit = standing.limit
    if isinstance(limit, Concurrency):
        return (
            f"Too many at once: at most {limit.most} requests under way per {limit.per}. Try again when one has ended."
        )
    what = f"at most {limit.quota} {limit.count} in {limit.window} seconds per {limit.per}"
    if math.isinf(standing.retry_after):
        return f"Too many: {what}, and {limit.burst} at once. This request alone asks for more."
    return f"Too many: {what}. Try again in {max(1, math.ceil(standing.retry_after))} s."
