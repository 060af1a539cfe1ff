"""What would become of a request: judged by the same rooms as a real one, with nothing sent, stored or counted.

Used by ``weir explain``, ``weir test`` and whoever wants to know beforehand. Who asks is said, not proven.
"""

import asyncio
import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from weir.approvals.lifecycle import who
from weir.base.mistakes import SettingError
from weir.base.principal import Principal
from weir.base.problems import Kind, Problem, Refusal
from weir.path.exchange import Exchange
from weir.path.steps.reading import Profiles, read_request
from weir.path.steps.rules import Policy
from weir.policy.rules import Judged, Rules, trace
from weir.policyset.connection import Connection
from weir.policyset.model import PolicySet
from weir.routing.head import HeadError, check_head
from weir.state.model import Snapshot


@dataclass(frozen=True, slots=True)
class Given:
    """A request, who sends it, and, where response rules are to be judged, what the service answers.

    ``path`` is below the connection's prefix. ``groups`` are written as policies write them; None stands for
    those that the connection lets in.
    """

    connection: str
    path: str
    method: str = "POST"
    query: str = ""
    body: bytes = b""
    content_type: str = "application/json"
    user: str = "someone"
    issuer: str = ""
    groups: tuple[str, ...] | None = None
    client_ip: str = "127.0.0.1"
    at: float | None = None  # Unix time, seconds
    status: int | None = None  # of the response
    response: bytes = b""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What would become of it: allowed, or refused with ``problem``."""

    exchange: Exchange
    problem: Problem | None = None

    @property
    def effect(self) -> str:
        """``allow``, ``deny``, ``limit`` or ``require_approval``; ``refuse`` where it did not get as far as policy."""
        if self.exchange.decision is None or (self.problem is not None and self.exchange.decision.effect == "allow"):
            return "refuse" if self.problem else "allow"
        return self.exchange.decision.effect

    @property
    def rule(self) -> str:
        """The rule that decided."""
        return self.exchange.decision.rule if self.exchange.decision and self.effect != "refuse" else ""

    @property
    def status(self) -> int:
        """The HTTP status that the caller would see, as far as the gateway decides it."""
        return self.problem.status if self.problem else self.exchange.upstream_status or 200

    @property
    def judged(self) -> Iterator[tuple[str, Rules]]:
        """The rules that were asked, by phase."""
        connection = self.exchange.connection
        assert connection is not None
        if self.exchange.facts:
            yield "request", connection.rules
        if "status" in self.exchange.facts:
            yield "response", connection.response_rules

    def clauses(self) -> Iterator[Judged]:
        """Every clause of the rules that were asked, with its outcome."""
        for _, rules in self.judged:
            yield from trace(rules.rules, self.exchange.facts)


class _NoState:
    """Nothing is stopped or revoked, and nobody has been given anything."""

    def snapshot(self) -> Snapshot:
        return Snapshot()


def find_connection(policies: PolicySet, name: str) -> Connection:
    """The connection called *name*. Raises `SettingError`."""
    for connection in policies.connections:
        if connection.name == name:
            return connection
    known = ", ".join(c.name for c in policies.connections)
    raise SettingError(f"there is no connection {name!r}; there are {known}")


def rehearse(policies: PolicySet, given: Given) -> Outcome:
    """Judge *given* by *policies*. Raises `SettingError` where its connection, issuer or groups are not known."""
    connection = find_connection(policies, given.connection)
    exchange = Exchange("rehearsal", time.time() if given.at is None else given.at, time.perf_counter())
    exchange.policies, exchange.connection = policies, connection
    exchange.principal = _principal(policies, connection, given)
    exchange.method, exchange.path, exchange.query = given.method, given.path, given.query
    exchange.client_ip = given.client_ip
    exchange.head = {b"host": b"gateway"}
    if given.body:
        exchange.head[b"content-type"] = given.content_type.encode("ascii", "replace")
    return asyncio.run(_judge(exchange, connection, given))


async def _judge(exchange: Exchange, connection: Connection, given: Given) -> Outcome:
    policy = Policy(_NoState())
    try:
        target = f"{given.path}?{given.query}" if given.query else given.path
        try:
            check_head(given.method.encode(), target.encode(), b"", exchange.head.items())
        except HeadError as error:
            raise Refusal(Kind.AMBIGUOUS_REQUEST, f"Refused because {error}.") from None
        policy.requestheaders(exchange)
        read_request(exchange, given.body)
        await policy.request(exchange)
        _refuse_demanded(exchange)
        if given.status is not None or given.response:
            exchange.upstream_status = given.status or 200
            exchange.received_bytes = len(given.response)
            profiles = Profiles()
            document = profiles.read(given.response, "application/json")
            ranking = profiles.response(exchange, given.response, "application/json", document)
            await policy.response(exchange, ranking, document)
            _refuse_demanded(exchange)
    except Refusal as refusal:
        return Outcome(exchange, refusal.problem)
    return Outcome(exchange)


def _refuse_demanded(exchange: Exchange) -> None:
    """Nobody is asked in a rehearsal."""
    if exchange.demanded:
        rule = exchange.demanded[0]
        asked = "; ".join(f"{r.name} needs {r.terms.count} of {who(r.terms.reviewers)}" for r in exchange.demanded)
        message = rule.message or f"The rule {rule.name} asks for approval."
        raise Refusal(Kind.APPROVAL_REQUIRED, f"{message} ({asked})", rule=rule.name)


def _principal(policies: PolicySet, connection: Connection, given: Given) -> Principal:
    names = dict(policies.namespaces.by_name)
    issuer = given.issuer or next(iter(names), "keys")
    if given.issuer and given.issuer not in names:
        raise SettingError(f"no issuer is named {given.issuer!r}; there are {', '.join(names) or 'none'}", "issuer")
    groups = connection.access
    if given.groups is not None:
        groups = frozenset(policies.namespaces.resolve(group) for group in given.groups)
    return Principal(issuer, names.get(issuer, "urn:weir:keys"), given.user, groups, expires=float("inf"))


def documents_path(connection: Connection, method: str, path: str) -> tuple[str, ...]:
    """The members at which the documents of an operation stand. Raises `SettingError`."""
    found = connection.profile.paths.find(method, path)
    names = found.operation.documents.path.names if found and found.operation.documents else None
    if not names:
        raise SettingError(f"the profile {connection.profile.name!r} says of {method} {path} nothing about documents")
    return names


def put(body: Any, names: tuple[str, ...], value: Any) -> dict[str, Any]:
    """A copy of *body* with *value* at *names*, and objects on the way there."""
    filled = copy.deepcopy(body) if isinstance(body, dict) else {}
    node = filled
    for name in names[:-1]:
        node = node.setdefault(name, {})
    node[names[-1]] = value
    return filled
