"""Rules: check emergency stops and access, and judge requests and answers by the connection's rules.

A deny is stronger than a limit (`limits.py`), and a limit is stronger than an approval (`approval.py`). Without a
matching rule, ``access`` decides; without ``access``, every request is refused.
"""

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

from weir.approvals.model import Approval
from weir.approvals.windows import open_window
from weir.base.alarms import counters
from weir.base.content import ContentError
from weir.base.identifiers import Uuid7
from weir.base.problems import Kind, Problem, Refusal
from weir.path.exchange import (
    Admitted,
    Answered,
    Arrived,
    Exchange,
    Identified,
    Judged,
    JudgedAnswer,
    Ranked,
    Read,
    Routed,
)
from weir.path.observed import readable, request_facts, response_facts
from weir.policy import trace
from weir.policy.conditions import UnreadableFact
from weir.policy.facts import Facts
from weir.policy.model import Decision, Effect
from weir.policy.rules import STRENGTH, Rule, Rules, Verdict, judge
from weir.profiles.model import WRITES
from weir.state.model import Snapshot, Stop

_new_id = Uuid7()
_ADMITTED = Admitted()


class State(Protocol):
    """The shared state: emergency stops, revocations, and access given for a limited time."""

    def snapshot(self) -> Snapshot:
        """Return the current state. Raises `StateUnavailable`."""


class Nothing:
    """The state of a rehearsal: no stop, no revocation and no approval."""

    def snapshot(self) -> Snapshot:
        """Return an empty snapshot."""
        return Snapshot()


def decide(
    exchange: Exchange,
    effect: Effect,
    rule: str,
    message: str,
    file: str,
    line: int,
    verdict: Verdict | None = None,
) -> Decision:
    """Set the exchange's decision. Keep the shadow rules of an earlier decision (for an answer, the request's)."""
    before = exchange.decision
    names = (*(before.shadow if before else ()), *(r.name for r in (verdict.shadow if verdict else ())))
    known = (effect, *((verdict.shadow_effect,) if verdict else ()), *((before.shadow_effect,) if before else ()))
    exchange.decision = Decision(
        _new_id(),
        effect,
        rule,
        message,
        exchange[Arrived].policies.version,
        file,
        line,
        tuple(dict.fromkeys(names)),
        max(known, key=lambda e: STRENGTH[e]),
    )
    return exchange.decision


class Access:
    """Refuse a caller who may not use the connection. Runs before the body is read, and again after a wait."""

    name = "access"

    def __init__(self, state: State) -> None:
        self._state = state

    def __call__(
        self, exchange: Exchange, arrived: Arrived, routed: Routed | None, identified: Identified | None
    ) -> Admitted | None:
        if routed is None or identified is None:
            return None  # a document of the gateway, or a caller to identify later (`authenticate`)
        connection, principal = routed.connection, identified.principal
        self.refuse_stopped(exchange)
        if not connection.access.isdisjoint(principal.groups) or self.window(exchange):
            return _ADMITTED
        message = f"None of your groups may use {connection.name}. Ask its owner to add one of your groups to `access`."
        if principal.groups_unknown:
            message = f"Your groups are unknown, so you may not use {connection.name}: {principal.groups_unknown}."
        elif connection.on_request is not None:
            message = (
                f"You may use {connection.name} only for a limited time, after its reviewers give you access: "
                f"weir access request --connection {connection.name} --for 1h --reason …"
            )
        decide(exchange, "deny", "access", message, connection.file, connection.access_line)
        raise Refusal(Kind.ACCESS_DENIED, message, rule="access")

    def stopped(self, exchange: Exchange) -> Problem | None:
        """Return the refusal of an emergency stop; None if there is no stop. Raises `StateUnavailable`."""
        identified, routed = exchange.get(Identified), exchange.get(Routed)
        if identified is None or routed is None:
            return None
        snapshot = self._state.snapshot()
        stop = snapshot.stopped(identified.principal, identified.session_id, routed.connection.name)
        return None if stop is None else Problem(Kind.STOPPED, _stop_message(stop), rule="stop")

    def refuse_stopped(self, exchange: Exchange) -> None:
        """Raise `Refusal` if the exchange is `stopped`."""
        problem = self.stopped(exchange)
        if problem is not None:
            decide(exchange, "deny", "stop", problem.detail, "", 0)
            raise Refusal(problem.kind, problem.detail, rule="stop")

    def window(self, exchange: Exchange) -> Approval | None:
        """Return the approval that gives the caller access for a limited time; None if they need none or have none."""
        routed, principal = exchange[Routed], exchange[Identified].principal
        connection = routed.connection
        if connection.on_request is None or not connection.access.isdisjoint(principal.groups):
            return None
        people = exchange[Arrived].policies.directory
        return open_window(
            people, self._state.snapshot(), principal, connection.name, connection.on_request, time.time()
        )


class AccessAgain:
    """Check the access of a caller who was unknown when the head arrived."""

    name = "access_again"

    def __init__(self, access: Access) -> None:
        self._access = access

    def __call__(
        self, exchange: Exchange, arrived: Arrived, routed: Routed, identified: Identified, admitted: Admitted | None
    ) -> Admitted | None:
        return admitted or self._access(exchange, arrived, routed, identified)


class JudgeRequest:
    """Judge the request by the connection's rules."""

    name = "judge_request"

    def __init__(self, access: Access) -> None:
        self._access = access

    def __call__(self, exchange: Exchange, routed: Routed, identified: Identified, read: Read) -> Judged:
        connection = routed.connection
        self._access.refuse_stopped(exchange)  # a stop may have begun since the head was read
        exchange.decision = None
        judged = judged_facts(exchange)
        exchange.put(judged)  # set first: the record needs it if a rule refuses
        verdict = _verdict(connection.rules, judged.facts, Kind.UNREADABLE_BODY, "request")
        if verdict.matched:
            judged.clauses = trace.outcomes(connection.rules.rules, judged.facts)
        if verdict.deny is not None:
            _refuse(exchange, verdict.deny, verdict)
        judged.demanded = verdict.approvals
        if verdict.approvals:
            demand(exchange, verdict)
        else:
            window = self._access.window(exchange)
            by = f"access given by {window.decided_by()} until {_utc(window.until)}" if window else ""
            decide(exchange, "allow", "access", by, connection.file, connection.access_line, verdict)
        return judged


def judged_facts(exchange: Exchange) -> Judged:
    """Return the request's facts before rules judge them. Raises `Refusal` if they cannot be read."""
    connection = exchange[Routed].connection
    try:
        return Judged(request_facts(exchange, connection.rules.needs | connection.response_rules.needs))
    except ContentError as error:
        raise Refusal(Kind.UNREADABLE_BODY, f"The request was refused because {error}.") from None


class JudgeAnswer:
    """Judge the answer by the connection's response rules."""

    name = "judge_answer"

    def __call__(
        self, exchange: Exchange, routed: Routed, judged: Judged, read: Read, answered: Answered, ranked: Ranked
    ) -> JudgedAnswer | None:
        rules = routed.connection.response_rules
        if not rules.rules:
            return None
        if not readable(exchange, rules, ranked.ranking, answered):
            raise Refusal(
                Kind.UPSTREAM_UNREADABLE,
                "The service's answer does not have the shape that the rules for it need, so it is not shown.",
            )
        facts = judged.facts | response_facts(exchange, rules, ranked.ranking, answered)
        found = JudgedAnswer(facts)
        exchange.put(found)  # set first: the record needs it if a rule refuses
        verdict = _verdict(rules, facts, Kind.UPSTREAM_UNREADABLE, "answer")
        if verdict.matched:
            found.clauses = trace.outcomes(rules.rules, facts)
        if verdict.deny is not None:
            _refuse(exchange, verdict.deny, verdict)
        found.demanded = verdict.approvals if read.call.operation not in WRITES else ()
        if found.demanded:
            demand(exchange, verdict)
        elif verdict.shadow and exchange.decision is not None:
            before = exchange.decision
            names = tuple(dict.fromkeys((*before.shadow, *(rule.name for rule in verdict.shadow))))
            would = max(before.shadow_effect, verdict.shadow_effect, key=lambda effect: STRENGTH[effect])
            exchange.decision = replace(before, shadow=names, shadow_effect=would)
        return found


def demand(exchange: Exchange, verdict: Verdict) -> None:
    """Set the decision require_approval."""
    rule = verdict.approvals[0]
    message = rule.message or f"The rule {rule.name} asks for approval."
    decide(exchange, "require_approval", rule.name, message, rule.file, rule.line, verdict)


def _verdict(rules: Rules, facts: Facts, unreadable: Kind, what: str) -> Verdict:
    try:
        verdict = judge(rules, facts)
    except UnreadableFact as error:
        raise Refusal(unreadable, f"The {what} was refused because {error}.") from None
    for rule in verdict.shadow:
        counters[f"shadow:{rule.name}"] += 1
    return verdict


def _refuse(exchange: Exchange, rule: Rule, verdict: Verdict) -> None:
    message = rule.message or f"The rule {rule.name} does not let this pass."
    decide(exchange, "deny", rule.name, message, rule.file, rule.line, verdict)
    raise Refusal(Kind.DENIED_BY_RULE, message, rule=rule.name)


def _stop_message(stop: Stop) -> str:
    what = {"all": "Everything here", "connection": f"The connection {stop.value}"}.get(stop.scope, "Your access")
    return f"{what} was stopped by an operator: {stop.reason}"


def _utc(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%H:%M UTC")
