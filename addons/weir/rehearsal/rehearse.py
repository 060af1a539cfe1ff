"""Rehearsals: the outcome that a request would have. Nothing is sent, stored or counted.

``weir explain`` and ``weir test`` use rehearsals. They walk the gateway's lists of steps (`weir.path.paths`), and
replace steps that perform I/O by their stand-ins. The caller is named, not authenticated.
"""

import asyncio
import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from mitmproxy import http
from mitmproxy.connection import Client, Server

from weir.base import bounds
from weir.base.alarms import place
from weir.base.mistakes import SettingError
from weir.base.principal import Principal
from weir.base.problems import Kind, Problem, Refusal, gateway_error
from weir.mitm.arrival import Arrival
from weir.path.endings import REQUEST_TOO_LARGE, RESPONSE_TOO_LARGE
from weir.path.exchange import Document, Exchange, Judged, JudgedAnswer, Rehearsed
from weir.path.paths import Gateway, paths, permit
from weir.path.rooms import Rooms
from weir.path.step import Answer, Bound, Paths, Stream, bind, walk, walk_now
from weir.policy.facts import Facts
from weir.policy.rules import Judged as JudgedClause
from weir.policy.rules import Rules, trace
from weir.policyset.connection import Connection
from weir.policyset.model import PolicySet


@dataclass(frozen=True, slots=True)
class Given:
    """A request, its caller and, to judge response rules, the service's answer.

    ``path`` is the path below the connection's prefix. ``groups`` are written as in policies. None stands for the
    groups that the connection admits.
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
    status: int | None = None  # HTTP status of the answer; None if there is no answer
    response: bytes = b""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a rehearsal: allowed, or refused with ``problem``."""

    exchange: Exchange
    connection: Connection
    problem: Problem | None = None

    @property
    def effect(self) -> str:
        """``allow``, ``deny``, ``limit`` or ``require_approval``; ``refuse`` if something other than a rule refused."""
        decision = self.exchange.decision
        if decision is None or (self.problem is not None and decision.effect == "allow"):
            return "refuse" if self.problem else "allow"
        return decision.effect

    @property
    def rule(self) -> str:
        """The name of the deciding rule; empty if there is none."""
        return self.exchange.decision.rule if self.exchange.decision and self.effect != "refuse" else ""

    @property
    def status(self) -> int:
        """The HTTP status that the caller would see: the refusal's, the given answer's, or else 200."""
        return self.problem.status if self.problem else self.exchange.upstream_status or 200

    @property
    def facts(self) -> Facts:
        """The facts of the request and, if response rules ran, of the answer; empty if no facts were read."""
        request, answer = self.exchange.get(Judged), self.exchange.get(JudgedAnswer)
        return answer.facts if answer is not None else request.facts if request is not None else {}

    @property
    def judged(self) -> Iterator[tuple[str, Rules]]:
        """The rules that ran, by phase."""
        if self.exchange.get(Judged) is not None:
            yield "request", self.connection.rules
        if self.exchange.get(JudgedAnswer) is not None:
            yield "response", self.connection.response_rules

    def clauses(self) -> Iterator[JudgedClause]:
        """All clauses of the rules that ran, with their outcomes."""
        for _, rules in self.judged:
            yield from trace(rules.rules, self.facts)


def find_connection(policies: PolicySet, name: str) -> Connection:
    """Return the connection called *name*. Raises `SettingError`."""
    for connection in policies.connections:
        if connection.name == name:
            return connection
    known = ", ".join(c.name for c in policies.connections)
    raise SettingError(f"there is no connection {name!r}; there are {known}")


def _check_route(policies: PolicySet, connection: Connection, path: str) -> None:
    match = connection.match
    found = policies.table.route(match.host or "", match.port or 0, (match.path or "") + path)
    if found is not None and found.connection is not connection:
        raise SettingError(
            f"requests for {match.path or ''}{path} go to the connection {found.connection.name!r}, whose `match` is "
            "more specific; name it, with the path below its prefix",
            "path",
        )


def rehearsal_paths() -> Paths:
    """Return the gateway's lists of steps, with stand-ins for steps that perform I/O. Limits count from zero."""
    rooms, found = _made()
    rooms.limits.start_over()
    return found


@cache
def _made() -> tuple[Rooms, Paths]:
    """Make the lists, once: a policy test runs hundreds of rehearsals."""
    rooms = Rooms.rehearsed()
    gateway = Gateway(
        policies=lambda: None,
        until_ready=_nothing,
        arrival=lambda client, policies: Arrival(policies.listeners[0]),
        end_upstream=lambda flow: None,
        stream_failed=_stream_failed,
    )
    found = paths(rooms, gateway, permit(lambda: None, rooms))
    return rooms, {key: tuple(map(_rehearsed, steps)) for key, steps in found.items()}


def _rehearsed(step: Bound) -> Bound:
    return bind(step.stand_in) if step.stand_in is not None else step


async def _nothing() -> None:
    return None


def _stream_failed(flow: http.HTTPFlow, exchange: Exchange, error: Exception) -> None:
    exchange.problem = Problem(Kind.UPSTREAM_UNREADABLE, f"The service's answer cannot be masked: {error}.")


def rehearse(policies: PolicySet, given: Given) -> Outcome:
    """Judge *given* by *policies*.

    Raises `SettingError` if its connection, issuer or groups do not exist, or if its path leads to another connection.
    """
    connection = find_connection(policies, given.connection)
    _check_route(policies, connection, given.path)
    principal = _principal(policies, connection, given)
    exchange = Exchange("rehearsal", time.time() if given.at is None else given.at, time.perf_counter())
    exchange.put(Rehearsed(policies, connection, principal, given.path, given.client_ip))
    flow = _flow(given)
    before = bounds.current()
    bounds.use(policies.bounds)
    try:
        problem = asyncio.run(_walk(rehearsal_paths(), flow, exchange, given))
    finally:
        bounds.use(before)
    return Outcome(exchange, connection, problem)


async def _walk(lists: Paths, flow: http.HTTPFlow, exchange: Exchange, given: Given) -> Problem | None:
    try:
        walk_now(lists["request", "head"], flow, exchange)
        if len(given.body) > bounds.current().body:
            return REQUEST_TOO_LARGE
        ended = await walk(lists["request", "request"], flow, exchange)
        if isinstance(ended, Answer) and isinstance(ended.reply, Document):
            exchange.document = ended.reply
            return None
        if given.status is None and not given.response:
            return None
        if len(given.response) > bounds.current().answer:
            return RESPONSE_TOO_LARGE
        flow.response = _response(given)
        exchange.upstream_status = flow.response.status_code
        ended = await walk(lists["request", "response_head"], flow, exchange)
        if isinstance(ended, Stream):
            ended.transform(given.response)
            ended.transform(b"")
            if exchange.problem is not None:
                return exchange.problem
        phase = "stream_end" if isinstance(ended, Stream) else "response"
        await walk(lists["request", phase], flow, exchange)
    except Refusal as refusal:
        return refusal.problem
    except Exception as error:
        what = f"{type(error).__name__} at {place(error)}"
        return replace(gateway_error(), detail=f"The step {exchange.at!r} fails ({what}): the gateway refuses this.")
    return None


def _flow(given: Given) -> http.HTTPFlow:
    """Return the request as a mitmproxy flow."""
    target = f"{given.path}?{given.query}" if given.query else given.path
    fields = [(b"Host", b"gateway")]
    if given.body:
        fields.append((b"Content-Type", given.content_type.encode("ascii", "replace")))
    client = Client(peername=(given.client_ip, 0), sockname=("127.0.0.1", 0), timestamp_start=0.0)
    flow = http.HTTPFlow(client, Server(address=None))
    flow.request = http.Request(
        "gateway", 80, given.method.encode(), b"http", b"", target.encode("utf-8", "surrogatepass"), b"HTTP/1.1",
        http.Headers(fields), given.body, None, 0.0, 0.0,
    )  # fmt: skip
    return flow


def _response(given: Given) -> http.Response:
    fields = [(b"Content-Type", b"application/json")] if given.response else []
    return http.Response(b"HTTP/1.1", given.status or 200, b"", http.Headers(fields), given.response, None, 0.0, 0.0)


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
    """Return the member names that lead to an operation's documents. Raises `SettingError`."""
    found = connection.profile.paths.find(method, path)
    names = found.operation.documents.path.names if found and found.operation.documents else None
    if not names:
        raise SettingError(f"the profile {connection.profile.name!r} defines no documents for {method} {path}")
    return names


def put(body: Any, names: tuple[str, ...], value: Any) -> dict[str, Any]:
    """Return a copy of *body* with *value* at the path *names*. Missing objects on this path are created."""
    filled = copy.deepcopy(body) if isinstance(body, dict) else {}
    node = filled
    for name in names[:-1]:
        node = node.setdefault(name, {})
    node[names[-1]] = value
    return filled
