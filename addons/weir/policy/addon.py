"""Policy: access, rules and limits, in this order of power: a deny, a limit, an approval."""

import math
import time

from mitmproxy import http

from weir.alarms import counters
from weir.auth.model import Principal
from weir.connection import Connection
from weir.exchange import Exchange
from weir.identifiers import Uuid7
from weir.policy.conditions import UnreadableFact
from weir.policy.limits import Charge, MemoryStore, Standing, headers
from weir.policy.model import ABSENT, Decision, Effect, Facts
from weir.policy.rules import Rule, judge
from weir.problems import Kind, Refusal


class Policy:
    """Where no rule speaks, ``access`` decides; without ``access``, nobody passes."""

    def __init__(self) -> None:
        self._store = MemoryStore()
        self._new_id = Uuid7()

    def requestheaders(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        """Refuse a caller who may not use the connection at all, before a body is read."""
        connection, principal = exchange.connection, exchange.principal
        assert connection is not None and principal is not None
        if connection.access.isdisjoint(principal.groups):
            message = f"Nobody in your groups may use {connection.name}. Ask its owner to add one to `access`."
            if principal.groups_unknown:
                message = (
                    f"Your groups are not known, so you may not use {connection.name}: {principal.groups_unknown}."
                )
            exchange.decision = self._decide(
                exchange, "deny", "access", message, connection.file, connection.access_line
            )
            raise Refusal(Kind.ACCESS_DENIED, message, rule="access")

    def request(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        """Decide. Raises `Refusal` for whatever is not allowed now."""
        connection, principal = exchange.connection, exchange.principal
        assert connection is not None and principal is not None
        facts = _facts(exchange, connection, principal)
        try:
            verdict = judge(connection.rules, facts)
        except UnreadableFact as error:
            raise Refusal(Kind.UNREADABLE_BODY, f"The request was refused because {error}.") from None
        for name in verdict.shadow:
            counters[f"shadow:{name}"] += 1
        if verdict.deny is not None:
            self._refuse(exchange, verdict.deny, "deny", Kind.DENIED_BY_RULE, verdict.shadow)
        if connection.limits:
            self._charge(exchange, connection, principal, verdict.shadow)
        if verdict.require_approval is not None:
            self._refuse(exchange, verdict.require_approval, "require_approval", Kind.APPROVAL_REQUIRED, verdict.shadow)
        exchange.decision = self._decide(
            exchange, "allow", "access", "", connection.file, connection.access_line, verdict.shadow
        )

    def _refuse(self, exchange: Exchange, rule: Rule, effect: Effect, kind: Kind, shadow: tuple[str, ...]) -> None:
        message = rule.message or f"The rule {rule.name} does not let this request pass."
        if kind is Kind.APPROVAL_REQUIRED:
            message += " It needs a reviewer's approval, and this gateway cannot ask for one yet."
        exchange.decision = self._decide(exchange, effect, rule.name, message, rule.file, rule.line, shadow)
        raise Refusal(kind, message, rule=rule.name)

    def _charge(
        self, exchange: Exchange, connection: Connection, principal: Principal, shadow: tuple[str, ...]
    ) -> None:
        charges = []
        for limit in connection.limits:
            cost = len(exchange.call.documents or ()) if limit.count == "documents" else 1
            owners: list[tuple[str, ...]]
            if limit.per == "user":
                owners = [principal.key]
            elif limit.per == "connection":
                owners = [()]
            else:  # every group that lets the caller in
                owners = [(group,) for group in sorted(connection.access & principal.groups)]
            charges += [Charge(limit, (connection.name, limit.name, *owner), cost) for owner in owners]
        passed, standings = self._store.charge(charges, time.monotonic())
        exchange.limit_headers = headers(standings)
        if passed:
            return
        worst = max(standings, key=lambda s: s.retry_after)
        message = _limit_message(worst)
        line = connection.limit_lines[connection.limits.index(worst.limit)]
        exchange.decision = self._decide(exchange, "limit", worst.limit.name, message, connection.file, line, shadow)
        raise Refusal(Kind.RATE_LIMITED, message, rule=worst.limit.name)

    def _decide(
        self,
        exchange: Exchange,
        effect: Effect,
        rule: str,
        message: str,
        file: str,
        line: int,
        shadow: tuple[str, ...] = (),
    ) -> Decision:
        assert exchange.policies is not None
        return Decision(self._new_id(), effect, rule, message, exchange.policies.version, file, line, shadow)


def _limit_message(standing: Standing) -> str:
    limit = standing.limit
    what = f"at most {limit.quota} {limit.count} in {limit.window} seconds per {limit.per}"
    if math.isinf(standing.retry_after):
        return f"Too many: {what}, of which {limit.burst} at once. This request alone asks for more."
    return f"Too many: {what}. Try again in {max(1, math.ceil(standing.retry_after))} s."


def _facts(exchange: Exchange, connection: Connection, principal: Principal) -> Facts:
    call = exchange.call
    return {
        "user": principal.sub,
        "groups": sorted(principal.groups),
        "issuer": principal.issuer,
        "connection": connection.name,
        "client_ip": exchange.client_ip,
        "method": exchange.method,
        "path": exchange.path,
        "operation": call.operation,
        "index": list(call.indexes) or ABSENT,
        "model": ABSENT if call.model is None else call.model,
        "query": ABSENT if call.query is None else call.query,
        "documents": ABSENT if call.documents is None else len(call.documents),
        "top_n": ABSENT if call.top_n is None else call.top_n,
        "bytes": len(exchange.caller_body),
        "body": exchange.body if exchange.parsed else ABSENT,
    }
