"""Policy: stops, access, rules and limits, in this order of power: a deny, a limit, an approval.

What asks for approval is left in the exchange's ``demanded``: `admit` is for what has it, or needs none.
"""

import asyncio
import hashlib
import math
import time
import weakref
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol

from weir.approvals.model import Approval
from weir.approvals.windows import open_window
from weir.base.alarms import alarm, counters
from weir.base.content import ContentError
from weir.base.identifiers import Uuid7
from weir.base.principal import Principal
from weir.base.problems import Kind, Problem, Refusal
from weir.path.exchange import Exchange
from weir.path.observed import readable, request_facts, response_facts
from weir.policy import trace
from weir.policy.breaker import Breaker
from weir.policy.conditions import UnreadableFact
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
from weir.policy.model import Decision, Effect
from weir.policy.rules import STRENGTH, Rule, Rules, Verdict, judge
from weir.policyset.connection import Connection
from weir.policyset.model import PolicySet
from weir.profiles.model import WRITES, Ranking
from weir.state.model import Snapshot, Stop

#: Seconds for which limits that are counted elsewhere now can still be settled.
LEAVING = 60.0
#: Characters of one part of a limit's key.
_LONGEST_KEY = 64
#: Bytes that a token is taken to be, where a response does not say how many were used.
_BYTES_A_TOKEN = 4


class State(Protocol):
    """What is stopped, and who was given access for a while."""

    def snapshot(self) -> Snapshot:
        """All of it now. Raises `StateUnavailable`."""


class Policy:
    """Where no rule speaks, ``access`` decides; without ``access``, nobody passes."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._memory = MemoryStore(time.monotonic)
        self._store: Store = self._memory
        self._store_url = "memory"
        self._left: list[asyncio.Task[None]] = []  # stores that are no longer used
        self._breakers: dict[str, Breaker] = {}
        self._new_id = Uuid7()

    async def use(self, policies: PolicySet) -> None:
        """Count limits where *policies* say. What is under way is settled where it was begun."""
        if policies.limits != self._store_url:
            store: Store = self._memory
            if policies.limits != "memory":
                from weir.policy.redis_store import RedisStore  # noqa: PLC0415  # an extra

                store = RedisStore(policies.limits)
            self._left = [task for task in self._left if not task.done()]
            self._left.append(asyncio.create_task(_close_later(self._store), name="limits"))
            self._store, self._store_url = store, policies.limits
        self._breakers = {
            c.name: known
            if (known := self._breakers.get(c.name)) and known.trip == c.trip
            else Breaker(c.trip, time.monotonic)
            for c in policies.connections
            if c.trip is not None
        }

    async def stop(self) -> None:
        """Give the stores' connections back."""
        for task in self._left:
            task.cancel()
        await asyncio.gather(*self._left, return_exceptions=True)
        await self._store.close()

    # Requests.

    def requestheaders(self, exchange: Exchange) -> None:
        """Refuse a caller who may not use the connection at all, before a body is read."""
        connection, principal = exchange.connection, exchange.principal
        assert connection is not None and principal is not None
        self._refuse_stopped(exchange)
        if not connection.access.isdisjoint(principal.groups) or self._window(exchange, connection, principal):
            return
        message = f"Nobody in your groups may use {connection.name}. Ask its owner to add one to `access`."
        if principal.groups_unknown:
            message = f"Your groups are not known, so you may not use {connection.name}: {principal.groups_unknown}."
        elif connection.on_request is not None:
            message = (
                f"You may use {connection.name} only for a while, once its reviewers have given you access: "
                f"weir access request --connection {connection.name} --for 1h --reason …"
            )
        exchange.decision = self._decide(exchange, "deny", "access", message, connection.file, connection.access_line)
        raise Refusal(Kind.ACCESS_DENIED, message, rule="access")

    async def request(self, exchange: Exchange, *, again: bool = False) -> None:
        """Decide. Raises `Refusal` for whatever is not allowed now. *again*: it has its place in the limits already."""
        connection, principal = exchange.connection, exchange.principal
        assert connection is not None and principal is not None
        self._refuse_stopped(exchange)  # since its head was read
        exchange.decision = None
        self.read_facts(exchange)
        verdict = self._judge(exchange, connection.rules, Kind.UNREADABLE_BODY, "request")
        if verdict.matched:
            exchange.judged_request = trace.outcomes(connection.rules.rules, exchange.facts)
        if verdict.deny is not None:
            self._refuse(exchange, verdict.deny, "deny", Kind.DENIED_BY_RULE, verdict)
        if connection.limits and not again:
            await self._take(exchange, connection, principal, verdict)
        exchange.demanded = verdict.approvals
        if verdict.approvals:
            self._demand(exchange, verdict)
            return
        window = self._window(exchange, connection, principal)
        by = f"access given by {window.decided_by()} until {_utc(window.until)}" if window else ""
        exchange.decision = self._decide(
            exchange, "allow", "access", by, connection.file, connection.access_line, verdict
        )

    def read_facts(self, exchange: Exchange) -> None:
        """Set the exchange's facts. Raises `Refusal` where they cannot be read."""
        connection = exchange.connection
        assert connection is not None
        try:
            exchange.facts = request_facts(exchange, connection.rules.needs | connection.response_rules.needs)
        except ContentError as error:
            raise Refusal(Kind.UNREADABLE_BODY, f"The request was refused because {error}.") from None

    def admit(self, exchange: Exchange) -> None:
        """Let the request go to its service, unless that is in trouble. Raises `Refusal`."""
        assert exchange.connection is not None
        self._try(exchange, exchange.connection)

    def _demand(self, exchange: Exchange, verdict: Verdict) -> None:
        rule = verdict.approvals[0]
        message = rule.message or f"The rule {rule.name} asks for approval."
        exchange.decision = self._decide(
            exchange, "require_approval", rule.name, message, rule.file, rule.line, verdict
        )

    # Responses.

    async def response(self, exchange: Exchange, ranking: Ranking, document: Any) -> None:
        """Judge what the service answered, and charge what only it could tell. Raises `Refusal`."""
        connection = exchange.connection
        assert connection is not None
        exchange.demanded = ()
        self._answered(exchange)
        await self._charge_afterwards(exchange, len(ranking.results))  # it was used, whatever is thought of it
        if connection.response_rules.rules:
            self._judge_response(exchange, connection, ranking, document)

    async def _charge_afterwards(self, exchange: Exchange, results: int) -> None:
        if not exchange.settles:
            return
        if exchange.kept:  # charged when it came
            exchange.settles = ()
            return
        settles, exchange.settles = exchange.settles, ()
        guess = math.ceil((len(exchange.caller_body) + exchange.received_bytes) / _BYTES_A_TOKEN)
        cost = {
            "results": results,
            "bytes": exchange.received_bytes,
            "tokens": guess if exchange.tokens is None else exchange.tokens,
        }
        await self._settle(exchange, [Charge(c.limit, c.key, cost[c.limit.count]) for c in settles], ())

    def _judge_response(self, exchange: Exchange, connection: Connection, ranking: Ranking, document: Any) -> None:
        rules = connection.response_rules
        if not readable(exchange, rules, ranking, document):
            raise Refusal(
                Kind.UPSTREAM_UNREADABLE,
                "The service's answer does not have the shape that the rules for it need, so it is not shown.",
            )
        exchange.facts = exchange.facts | response_facts(exchange, rules, ranking, document)
        verdict = self._judge(exchange, rules, Kind.UPSTREAM_UNREADABLE, "answer")
        if verdict.matched:
            exchange.judged_response = trace.outcomes(rules.rules, exchange.facts)
        if verdict.deny is not None:
            self._refuse(exchange, verdict.deny, "deny", Kind.DENIED_BY_RULE, verdict)
        exchange.demanded = verdict.approvals if exchange.call.operation not in WRITES else ()
        if exchange.demanded:
            self._demand(exchange, verdict)
        elif verdict.shadow:
            before = exchange.decision
            assert before is not None
            names = tuple(dict.fromkeys((*before.shadow, *(rule.name for rule in verdict.shadow))))
            would = max(before.shadow_effect, verdict.shadow_effect, key=lambda effect: STRENGTH[effect])
            exchange.decision = replace(before, shadow=names, shadow_effect=would)

    async def end(self, exchange: Exchange) -> None:
        """The exchange is over, however it ended."""
        self._answered(exchange)
        if exchange.sent:  # and never answered, or with something that could not be read
            await self._charge_afterwards(exchange, 0)
        if exchange.leases:
            leases, exchange.leases = exchange.leases, ()
            await self._settle(exchange, (), leases)

    def _answered(self, exchange: Exchange) -> None:
        """Tell the circuit breaker how its request went, once: it may be held for long after that."""
        entry, exchange.entry = exchange.entry, None
        if entry is not None and exchange.connection is not None:
            breaker = self._breakers.get(exchange.connection.name)
            trouble = exchange.upstream_status >= 500 or (
                exchange.problem is not None and exchange.problem.kind is Kind.UPSTREAM_UNREACHABLE
            )
            if breaker is not None and not trouble and not exchange.upstream_status:
                breaker.left(entry)
            elif breaker is not None and breaker.answered(entry, error=trouble):
                trip = breaker.trip
                alarm(
                    "circuit_open",
                    f"the connection {exchange.connection.name} is closed for {trip.over} s: at least "
                    f"{trip.share:.0%} of its answers were errors",
                )

    async def _settle(self, exchange: Exchange, charges: Sequence[Charge], leases: Sequence[Lease]) -> None:
        assert exchange.store is not None
        try:
            await exchange.store.settle(charges, leases)
        except LimitsUnavailable as error:
            alarm("limits_unavailable", f"what a request cost could not be counted in the limits' store ({error})")

    # What refuses.

    def stopped(self, exchange: Exchange) -> Problem | None:
        """The refusal that an emergency stop asks for, if there is one. Raises `StateUnavailable`."""
        if exchange.principal is None or exchange.connection is None:
            return None
        stop = self._state.snapshot().stopped(exchange.principal, exchange.session_id, exchange.connection.name)
        return None if stop is None else Problem(Kind.STOPPED, _stop_message(stop), rule="stop")

    def _refuse_stopped(self, exchange: Exchange) -> None:
        problem = self.stopped(exchange)
        if problem is not None:
            exchange.decision = self._decide(exchange, "deny", "stop", problem.detail, "", 0)
            raise Refusal(problem.kind, problem.detail, rule="stop")

    def _window(self, exchange: Exchange, connection: Connection, principal: Principal) -> Approval | None:
        if connection.on_request is None or not connection.access.isdisjoint(principal.groups):
            return None
        assert exchange.policies is not None
        return open_window(
            exchange.policies.directory,
            self._state.snapshot(),
            principal,
            connection.name,
            connection.on_request,
            time.time(),
        )

    def _judge(self, exchange: Exchange, rules: Rules, unreadable: Kind, what: str) -> Verdict:
        try:
            verdict = judge(rules, exchange.facts)
        except UnreadableFact as error:
            raise Refusal(unreadable, f"The {what} was refused because {error}.") from None
        for rule in verdict.shadow:
            counters[f"shadow:{rule.name}"] += 1
        return verdict

    def _refuse(self, exchange: Exchange, rule: Rule, effect: Effect, kind: Kind, verdict: Verdict) -> None:
        message = rule.message or f"The rule {rule.name} does not let this pass."
        exchange.decision = self._decide(exchange, effect, rule.name, message, rule.file, rule.line, verdict)
        raise Refusal(kind, message, rule=rule.name)

    async def _take(self, exchange: Exchange, connection: Connection, principal: Principal, verdict: Verdict) -> None:
        charges, leases = [], []
        for limit in connection.limits:
            for owner in _owners(limit.per, exchange, connection, principal):
                key = (connection.name, limit.id, *map(_short, owner))
                if isinstance(limit, Concurrency):
                    leases.append(Lease(limit, key, exchange.request_id))
                else:
                    cost, least = _cost(limit, exchange)
                    charges.append(Charge(limit, key, cost, least))
        store = exchange.store = self._store
        exchange.leases = tuple(leases)  # before it is known: what was taken and never told is given back, too
        try:
            passed, standings = await store.take(charges, leases)
        except LimitsUnavailable as error:
            alarm("limits_unavailable", f"the limits' store cannot be asked ({error}); requests are refused")
            message = "The gateway cannot count its limits now, and passes nothing uncounted. Try again later."
            raise Refusal(Kind.LIMITS_UNAVAILABLE, message, headers=(("Retry-After", "5"),)) from None
        exchange.limit_headers = headers(standings)
        if passed:
            exchange.settles = tuple(charge for charge in charges if charge.limit.afterwards)
            if leases and store is self._memory:  # whatever becomes of the exchange
                weakref.finalize(exchange, self._memory.release, tuple(leases)).atexit = False
            return
        exchange.leases = ()
        worst = max(standings, key=lambda s: s.retry_after)
        message = _limit_message(worst)
        exchange.decision = self._decide(
            exchange, "limit", worst.limit.name, message, connection.file, worst.limit.line, verdict
        )
        raise Refusal(Kind.RATE_LIMITED, message, rule=worst.limit.name)

    def _try(self, exchange: Exchange, connection: Connection) -> None:
        breaker = self._breakers.get(connection.name)
        if breaker is None:
            return
        entry = breaker.enter()
        if entry.wait:
            message = (
                f"Too many answers of {connection.name} were errors, so it is closed for a moment. Try again later."
            )
            line = breaker.trip.line
            exchange.decision = self._decide(exchange, "deny", "trip", message, connection.file, line)
            retry = (("Retry-After", str(math.ceil(entry.wait))),)
            raise Refusal(Kind.CIRCUIT_OPEN, message, rule="trip", headers=retry)
        exchange.entry = entry

    def _decide(
        self,
        exchange: Exchange,
        effect: Effect,
        rule: str,
        message: str,
        file: str,
        line: int,
        verdict: Verdict | None = None,
    ) -> Decision:
        assert exchange.policies is not None
        before = exchange.decision  # of the request, where its response is judged
        names = (*(before.shadow if before else ()), *(r.name for r in (verdict.shadow if verdict else ())))
        shadow = tuple(dict.fromkeys(names))
        known = (effect, *((verdict.shadow_effect,) if verdict else ()), *((before.shadow_effect,) if before else ()))
        would = max(known, key=lambda e: STRENGTH[e])
        return Decision(self._new_id(), effect, rule, message, exchange.policies.version, file, line, shadow, would)


async def _close_later(store: Store) -> None:
    """Close *store* once nobody asks it any more."""
    try:
        await asyncio.sleep(LEAVING)
    finally:
        await store.close()


def _short(part: str) -> str:
    """*part*, or, where it is long, its digest: callers choose what stands in facts."""
    return part if len(part) <= _LONGEST_KEY else hashlib.blake2b(part.encode(), digest_size=16).hexdigest()


def _owners(per: str, exchange: Exchange, connection: Connection, principal: Principal) -> list[tuple[str, ...]]:
    """Whom a limit is counted for: one key, or one for each of several."""
    if per == "user":
        return [principal.key]
    if per == "connection":
        return [()]
    if per == "group":  # every group that lets the caller in; who comes in by a window, is one of them all
        return [(group,) for group in sorted(connection.access & principal.groups)] or [("",)]
    value = exchange.facts[per]
    if value is ABSENT:
        return [("absent",)]
    return [("is", str(v)) for v in value] if isinstance(value, list) else [("is", str(value))]


def _cost(limit: Limit, exchange: Exchange) -> tuple[int, int]:
    """What the request costs now, and how much room there must be at least."""
    if limit.count == "requests":
        return 1, 1
    if limit.count == "documents":
        return len(exchange.call.documents or ()), 0
    return (len(exchange.caller_body), 1) if limit.count == "bytes" else (0, 1)


def _limit_message(standing: Standing) -> str:
    limit = standing.limit
    if isinstance(limit, Concurrency):
        return (
            f"Too many at once: at most {limit.most} requests under way per {limit.per}. Try again when one has ended."
        )
    what = f"at most {limit.quota} {limit.count} in {limit.window} seconds per {limit.per}"
    if math.isinf(standing.retry_after):
        return f"Too many: {what}, of which {limit.burst} at once. This request alone asks for more."
    return f"Too many: {what}. Try again in {max(1, math.ceil(standing.retry_after))} s."


def _stop_message(stop: Stop) -> str:
    what = {"all": "Everything here", "connection": f"The connection {stop.value}"}.get(
        stop.scope, "What you may do here"
    )
    return f"{what} was stopped by its operator: {stop.reason}"


def _utc(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%H:%M UTC")
