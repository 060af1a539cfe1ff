"""The exchange: one HTTP request on its way through the gateway, and the states that each phase adds to it.

An exchange lives in memory, keyed by mitmproxy's flow object. It is the only authority: data in a flow may come from a
file, so the gateway never trusts it.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from cryptography.x509 import Certificate
from mitmproxy import http

from weir.approvals.model import Approval, Demand
from weir.approvals.shelf import Kept
from weir.auth.dpop import Proof
from weir.auth.presented import Presented
from weir.base.principal import Principal
from weir.base.problems import Kind, Problem
from weir.base.secret import Scrubber, Secret
from weir.masking.masks import MaskedField
from weir.masking.response import ResponseStream
from weir.mitm.arrival import Arrival
from weir.path.step import Journey, State
from weir.policy.breaker import Entry
from weir.policy.facts import Facts
from weir.policy.limits import Charge, Lease, Store
from weir.policy.model import Decision, TraceLine
from weir.policy.rules import Judged as JudgedClause
from weir.policy.rules import Rule
from weir.policyset.connection import Connection
from weir.policyset.model import PolicySet
from weir.profiles.model import UNKNOWN, Call, Ranking
from weir.profiles.profile import Operation
from weir.profiles.readers import Parameters
from weir.recorder.copies import RequestRecord, ResponseRecord
from weir.routing.handshake import Handshake
from weir.routing.model import Origin
from weir.routing.proxy import Via

_Fields = list[tuple[bytes, bytes]]
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")


# States of requests, in the order in which steps add them.


@dataclass(slots=True, eq=False)
class Arrived(State):
    """The request's head has arrived and is not checked yet."""

    policies: PolicySet
    arrival: Arrival
    client_ip: str
    method: str  # "?" if it is not one of `weir.routing.head.METHODS`
    target: str  # as the caller sent it
    chunked: bool  # whether the caller can read chunked bodies: false for HTTP/1.0

    @property
    def proxied(self) -> bool:
        """True if the caller uses the gateway as a proxy, outside any tunnel."""
        return self.arrival.listener.mode == "explicit" and not self.arrival.hosts


@dataclass(slots=True, eq=False)
class Head(State):
    """The head is checked: it has only one possible reading."""

    fields: Mapping[bytes, bytes]  # the caller's header fields, by lower-case name
    scheme: str  # the caller's scheme: http or https
    host: str
    port: int | None  # from the Host header
    path: str
    query: str
    origin: Origin | None = None  # the service that a proxy's caller addresses; None if the gateway
    handshake: Handshake | None = None  # set if the caller asks for a WebSocket
    client_request_id: str = ""


@dataclass(slots=True, eq=False)
class Routed(State):
    """The connection of the request is found."""

    connection: Connection
    path: str  # below the connection's prefix, without query
    query: str  # without "?"; masks may change it


@dataclass(slots=True, eq=False)
class OwnPath(State):
    """The request asks for one of the gateway's own documents."""

    path: str
    described: Connection | None  # the connection that the document describes


@dataclass(slots=True, eq=False)
class Preflight(State):
    """A browser asks whether a page may send its request, and the connection allows the page's origin."""

    fields: list[tuple[str, str]]  # of the gateway's answer


@dataclass(slots=True, eq=False)
class Claimed(State):
    """The caller has presented a credential, which is not verified yet."""

    presented: Presented
    token: Secret | None
    certificates: tuple[Certificate, ...]  # the client's chain, leaf first; TLS proves only possession of the key
    proof: Proof | None = None  # proves possession of the token's bound key


@dataclass(slots=True, eq=False)
class Identified(State):
    """The caller is authenticated."""

    principal: Principal
    session_id: str


@dataclass(slots=True, eq=False)
class Admitted(State):
    """The caller may use the connection."""


@dataclass(slots=True, eq=False)
class Matched(State):
    """The request is matched with an operation of the connection's profile."""

    operation: Operation | None  # None for WebSockets, and for an unknown operation if allowed
    variables: Mapping[str, str]  # the path's variables
    parameters: Parameters  # the query's parameters, if the profile reads any


@dataclass(slots=True, eq=False)
class Body(State):
    """The request's body has arrived and is decoded."""

    survives: ClassVar[bool] = True
    raw: bytes  # as the caller sent it
    decoded: bytes
    asks_usage: bool = False  # the gateway set the option in `decoded` that asks for the stream's usage

    @property
    def bound(self) -> bytes:
        """The bytes that an approval is bound to. They determine the bytes that are sent."""
        return self.decoded if self.asks_usage else self.raw


@dataclass(slots=True, eq=False)
class Read(State):
    """The body is parsed and read as a call of the operation."""

    document: Any  # the parsed body; masks change it after policy has judged it
    parsed: bool
    sent: bytes  # the decoded body that the service receives
    call: Call = UNKNOWN


@dataclass(slots=True, eq=False)
class Judged(State):
    """The rules have judged the request."""

    facts: Facts
    clauses: tuple[JudgedClause, ...] = ()  # written to the record
    demanded: tuple[Rule, ...] = ()  # the rules that require approval


@dataclass(slots=True, eq=False)
class Charged(State):
    """The request is counted in the connection's limits."""

    survives: ClassVar[bool] = True
    store: Store
    settles: tuple[Charge, ...] = ()  # to charge after the response
    leases: tuple[Lease, ...] = ()

    @property
    def counts_tokens(self) -> bool:
        """True if a limit counts the tokens of the answer."""
        return any(charge.limit.count == "tokens" for charge in self.settles)


@dataclass(slots=True, eq=False)
class Hold(State):
    """The approvals that the request needs, waits for and has."""

    survives: ClassVar[bool] = True
    binding: str = ""  # the digest of this exact request
    demands: list[Demand] = field(default_factory=list)  # the demands that no earlier approval covers
    until: float = 0.0  # the end of the wait, monotonic seconds; 0 before it begins
    approval: Approval | None = None  # the approval that the request waits for
    tried: list[str] = field(default_factory=list)  # approvals that may be consumed: the store's answer was lost
    granted: tuple[Approval, ...] = ()  # approvals that this request has consumed
    approved_by: tuple[Approval, ...] = ()  # `granted`, and the reusable approvals that cover it
    kept: Kept | None = None  # an earlier answer to the same request, kept until it is approved
    waited: bool = False  # the step `resume` must continue it under the current policies


@dataclass(slots=True, eq=False)
class Entered(State):
    """The connection's circuit breaker has admitted the request and waits for its result."""

    entry: Entry


@dataclass(slots=True, eq=False)
class Prepared(State):
    """The flow holds the request as the service will receive it, without its credential."""

    via: Via | None  # the upstream proxy
    dropped: tuple[bytes, ...] = ()  # names of the caller's headers that the service does not receive, as sent


@dataclass(slots=True, eq=False)
class Keyed(State):
    """The request has its replay key."""

    key: str
    only: bool  # refuse the request if server replay has no answer


# States of responses.


@dataclass(slots=True, eq=False)
class Streams(State):
    """The answer is streamed: delivered while it arrives."""

    stream: ResponseStream


@dataclass(slots=True, eq=False)
class Answered(State):
    """The service's answer has arrived and is checked: it has only one possible reading."""

    status: int
    reason: bytes
    fields: _Fields  # the header fields that may be delivered
    content_type: str
    body: bytes  # decoded; empty for a stream
    document: Any  # the body parsed as JSON; None if it is not JSON


@dataclass(slots=True, eq=False)
class Ranked(State):
    """The answer's ranking is read by the profile."""

    ranking: Ranking


@dataclass(slots=True, eq=False)
class JudgedAnswer(State):
    """The response rules have judged the answer."""

    facts: Facts  # the facts of the request and of the answer
    clauses: tuple[JudgedClause, ...] = ()
    demanded: tuple[Rule, ...] = ()


@dataclass(slots=True, eq=False)
class Masked(State):
    """The answer is masked: one copy for the caller, one for the record."""

    caller: bytes
    record: bytes
    caller_fields: _Fields
    record_fields: _Fields


# State of rehearsals.


@dataclass(slots=True, eq=False)
class Rehearsed(State):
    """The inputs of a rehearsal, which the live steps would find out."""

    policies: PolicySet
    connection: Connection
    principal: Principal
    path: str
    client_ip: str


# The record's view, and the whole exchange.


@dataclass(slots=True, eq=False)
class Copies:
    """The record's copies: masked at least as much as the service's and the caller's copies."""

    request: RequestRecord | None = None
    response: ResponseRecord | None = None
    masked: list[MaskedField] = field(default_factory=list)
    request_masked: bool = False
    target_masked: bool = False
    model: str | None = None
    indexes: tuple[str, ...] = ()
    ranking: Ranking = field(default_factory=Ranking)
    trace: tuple[TraceLine, ...] = ()


@dataclass(frozen=True, slots=True)
class Document:
    """One of the gateway's own documents: an answer that is not a refusal. Its body is JSON or empty."""

    body: bytes
    headers: tuple[tuple[str, str], ...]
    status: int = 200

    def response(self, request_id: str, decision_id: str = "") -> http.Response:
        """Return the document as a mitmproxy response."""
        fields = [*self.headers, ("X-Request-Id", request_id)]
        if self.body:
            fields = [("Content-Type", "application/json"), *fields]
        made = http.Response.make(self.status, self.body, http.Headers([(n.encode(), v.encode()) for n, v in fields]))
        if not self.body:
            del made.headers["Content-Length"]  # RFC 9110, 8.6: not with 204
        return made


@dataclass(slots=True, eq=False, repr=False, weakref_slot=True)
class Exchange(Journey):
    """One request and its answer: the outcome so far, and the states that steps have added, by type."""

    request_id: str
    received: float  # Unix time, seconds
    started: float  # perf_counter, seconds
    at: str = ""
    replay: str = ""  # "request" for client replay, "response" once server replay has answered
    left: str = ""  # why the caller left or reset the request; set immediately, in any phase
    # The outcome.
    decision: Decision | None = None
    own_headers: dict[str, str] = field(default_factory=dict)  # set by `add_header`
    problem: Problem | None = None
    document: Document | None = None
    answer: http.Response | None = None  # the response made from `problem` or `document`, as set in the flow
    error: str = ""
    sent: float = 0.0  # perf_counter when the request was released to its service; 0 if it was not
    repeated: bool = False  # sent once more, because the service closed the first connection without an answer
    upstream_status: int = 0
    received_bytes: int = 0  # size of the decoded response body
    tokens: int | None = None  # as reported by the response
    stream: ResponseStream | None = None  # set if the answer is streamed
    copies: Copies = field(default_factory=Copies)
    scrubber: tuple[object, object, bool, Scrubber] | None = None  # kept by `steps.credential`, with what it is made of
    # Authority: Gate reads these.
    judged: bool = False
    recorded: bool = False
    recording: asyncio.Lock = field(default_factory=asyncio.Lock)  # held while the outcome is written
    intended: bool = False  # recorded: the request is about to be sent, or its answer to be streamed

    @property
    def principal(self) -> Principal | None:
        """The caller; None before authentication."""
        identified = self.get(Identified)
        return identified.principal if identified is not None else None

    @property
    def connection(self) -> Connection | None:
        """The connection; None before routing."""
        routed = self.get(Routed)
        return routed.connection if routed is not None else None

    @property
    def decision_id(self) -> str:
        """The decision's id; empty before a decision."""
        return self.decision.decision_id if self.decision else ""

    @property
    def settled(self) -> bool:
        """True if the gateway gives its own answer: no request is sent, and no other answer is delivered."""
        return self.problem is not None or self.document is not None

    def add_header(self, name: str, value: str) -> None:
        """Add a header to the answer, whatever it will be: whole, streamed or a refusal. A later value replaces it.

        A header of the same name that the service sends is removed. Raises ValueError for a value that no header may
        have (RFC 9110, 5.5).
        """
        if not _HEADER_VALUE.fullmatch(value):
            raise ValueError(f"the header {name} cannot have such a value")
        self.own_headers[name] = value

    def own_answer(self) -> http.Response:
        """Return the response made from the problem, or else from the document. Raises RuntimeError without both."""
        if self.problem is not None:
            self.problem = self.problem.with_headers(*_missing(self.own_headers, self.problem))
        own = self.problem or self.document
        if own is None:
            raise RuntimeError("the exchange has neither a problem nor a document")
        return own.response(self.request_id, self.decision_id)


def _missing(headers: Mapping[str, str], problem: Problem) -> list[tuple[str, str]]:
    """Return the *headers* that *problem* does not have itself.

    Retry-After stays only for a rate limit: a retry does not change other refusals.
    """
    own = {name for name, _ in problem.headers}
    return [
        (name, value)
        for name, value in headers.items()
        if name not in own and (name != "Retry-After" or problem.kind is Kind.RATE_LIMITED)
    ]
