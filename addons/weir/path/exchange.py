"""One HTTP request on its way through the gateway, and what each phase finds out about it.

It lives in memory, keyed by mitmproxy's flow object, and is the only authority: nothing that is stored in a flow (and
could come from a file) is believed.
"""

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
from weir.base.problems import Problem
from weir.base.secret import Secret
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


# Requests, in the order in which the states are added.


@dataclass(slots=True, eq=False)
class Arrived(State):
    """A head has arrived; nothing of it is checked."""

    policies: PolicySet
    arrival: Arrival
    client_ip: str
    method: str  # "?" for one that no service has
    target: str  # as the caller sent it
    chunked: bool  # the caller can read chunked bodies: false for HTTP/1.0

    @property
    def proxied(self) -> bool:
        """Whether the caller uses the gateway as a proxy, outside of any tunnel."""
        return self.arrival.listener.mode == "explicit" and not self.arrival.hosts


@dataclass(slots=True, eq=False)
class Head(State):
    """The head can be read in one way only."""

    fields: Mapping[bytes, bytes]  # the caller's, by lower-case name
    scheme: str  # that the caller speaks: http or https
    host: str
    port: int | None  # as the Host header names it
    path: str
    query: str
    origin: Origin | None = None  # the service that the caller of a proxy means; None if the gateway itself is meant
    handshake: Handshake | None = None  # the caller asks for a WebSocket
    client_request_id: str = ""


@dataclass(slots=True, eq=False)
class Routed(State):
    """The request is for a connection."""

    connection: Connection
    path: str  # below the connection's prefix, without query
    query: str  # masks may change it


@dataclass(slots=True, eq=False)
class OwnPath(State):
    """The request is for a document of the gateway's own."""

    path: str
    described: Connection | None  # the connection that the document is about


@dataclass(slots=True, eq=False)
class Claimed(State):
    """The caller has presented a credential; it is not verified."""

    presented: Presented
    token: Secret | None
    certificates: tuple[Certificate, ...]  # of the client, its own first; the handshake proves only that it has the key
    proof: Proof | None = None  # of the key to which the token is bound


@dataclass(slots=True, eq=False)
class Identified(State):
    """The caller is known."""

    principal: Principal
    session_id: str


@dataclass(slots=True, eq=False)
class Matched(State):
    """The operation of the connection's profile that the request asks for."""

    operation: Operation | None  # None for an unknown one that the connection allows, and for a WebSocket
    variables: Mapping[str, str]  # of the path
    parameters: Parameters  # of the query, if the profile reads any


@dataclass(slots=True, eq=False)
class Body(State):
    """The request's body."""

    survives: ClassVar[bool] = True
    raw: bytes  # as the caller sent it
    decoded: bytes


@dataclass(slots=True, eq=False)
class Read(State):
    """The body is parsed, and read as the operation says."""

    document: Any  # parsed; masks change it once policy has judged it
    parsed: bool
    sent: bytes  # the body as the service receives it, decoded
    call: Call = UNKNOWN


@dataclass(slots=True, eq=False)
class Judged(State):
    """The rules have judged the request."""

    facts: Facts
    clauses: tuple[JudgedClause, ...] = ()  # shown in the record
    demanded: tuple[Rule, ...] = ()  # the rules that ask for approval


@dataclass(slots=True, eq=False)
class Charged(State):
    """The request has its place in the limits."""

    survives: ClassVar[bool] = True
    store: Store
    settles: tuple[Charge, ...] = ()  # charged once the response is known
    leases: tuple[Lease, ...] = ()


@dataclass(slots=True, eq=False)
class Hold(State):
    """What approvals the request asks for, waits for and has."""

    survives: ClassVar[bool] = True
    binding: str = ""  # the digest of this exact request
    demands: list[Demand] = field(default_factory=list)  # what no earlier approval covers
    until: float = 0.0  # the end of the wait, monotonic seconds; 0 before it begins
    approval: Approval | None = None  # that is waited for
    tried: list[str] = field(default_factory=list)  # approvals that it may have used up, if the store's answer was lost
    granted: tuple[Approval, ...] = ()  # used up by this request
    approved_by: tuple[Approval, ...] = ()  # those, and reusable ones that cover it
    kept: Kept | None = None  # an earlier answer to the same request, which waited for approval
    waited: bool = False  # it goes on under the policies of now: see the step `resume`


@dataclass(slots=True, eq=False)
class Entered(State):
    """The connection's circuit breaker waits for the answer."""

    entry: Entry


@dataclass(slots=True, eq=False)
class Prepared(State):
    """The flow holds the request as the service will receive it, without its credential."""

    via: Via | None  # the proxy to go through


@dataclass(slots=True, eq=False)
class Keyed(State):
    """The request has its replay key."""

    key: str
    only: bool  # if server replay has no answer, the request is refused


# Responses.


@dataclass(slots=True, eq=False)
class Streams(State):
    """The answer is delivered while it arrives."""

    stream: ResponseStream


@dataclass(slots=True, eq=False)
class Answered(State):
    """The service's answer has arrived, and can be read in one way only."""

    status: int
    reason: bytes
    fields: _Fields  # those that may be delivered
    content_type: str
    body: bytes  # decoded; empty while it streams
    document: Any  # the body as JSON, None if it is not
    keep: Kept  # the answer as it arrived


@dataclass(slots=True, eq=False)
class Ranked(State):
    """The answer is read as the profile says."""

    ranking: Ranking


@dataclass(slots=True, eq=False)
class JudgedAnswer(State):
    """The response rules have judged the answer."""

    facts: Facts  # of the request and of the answer
    clauses: tuple[JudgedClause, ...] = ()
    demanded: tuple[Rule, ...] = ()


@dataclass(slots=True, eq=False)
class Masked(State):
    """The answer's two copies."""

    caller: bytes
    record: bytes
    caller_fields: _Fields
    record_fields: _Fields


# Rehearsals.


@dataclass(slots=True, eq=False)
class Rehearsed(State):
    """What a rehearsal takes as given instead of asking for it."""

    policies: PolicySet
    connection: Connection
    principal: Principal
    path: str
    client_ip: str


# The record's view, and the whole.


@dataclass(slots=True, eq=False)
class Copies:
    """What the record will hold: masked at least as much as the service's and the caller's copies."""

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
    """An answer of the gateway's own that is no refusal: JSON about itself."""

    body: bytes
    headers: tuple[tuple[str, str], ...]

    def response(self, request_id: str, decision_id: str = "") -> http.Response:
        """The answer as mitmproxy sends it."""
        fields = [("Content-Type", "application/json"), *self.headers, ("X-Request-Id", request_id)]
        return http.Response.make(200, self.body, http.Headers([(n.encode(), v.encode()) for n, v in fields]))


@dataclass(slots=True, eq=False, weakref_slot=True)
class Exchange(Journey):
    """One request and its answer: its outcome so far, and, by type, the states that the steps have added."""

    request_id: str
    received: float  # Unix time, seconds
    started: float  # perf_counter, seconds
    states: dict[type[State], Any] = field(default_factory=dict)
    at: str = ""
    replay: str = ""  # "request" for client replay, "response" once server replay has answered
    left: str = ""  # how the caller has left or reset the request; set at once, in any phase
    # The outcome.
    decision: Decision | None = None
    limit_headers: tuple[tuple[str, str], ...] = ()
    problem: Problem | None = None
    document: Document | None = None
    answer: http.Response | None = None  # the problem or document as it was put into the flow
    error: str = ""
    sent: float = 0.0  # perf_counter when the request was released to its service, 0 if it was not
    upstream_status: int = 0
    received_bytes: int = 0  # of the response's body, decoded
    tokens: int | None = None  # as the response reports them
    stream: ResponseStream | None = None  # delivers the answer while it arrives
    copies: Copies = field(default_factory=Copies)
    # Authority, read by Gate.
    judged: bool = False
    recorded: bool = False
    intended: bool = False  # the record says that the request is about to be sent, or its answer to stream

    @property
    def principal(self) -> Principal | None:
        """The caller, None before they are known."""
        identified = self.get(Identified)
        return identified.principal if identified is not None else None

    @property
    def connection(self) -> Connection | None:
        """The connection, None before it is known."""
        routed = self.get(Routed)
        return routed.connection if routed is not None else None

    @property
    def decision_id(self) -> str:
        """The decision's id; empty before there is one."""
        return self.decision.decision_id if self.decision else ""

    @property
    def settled(self) -> bool:
        """Whether the gateway answers by itself: nothing is sent, and no other answer is delivered."""
        return self.problem is not None or self.document is not None

    def own_answer(self) -> http.Response:
        """The answer that the exchange's problem, or else its document, gives. Raises RuntimeError without one."""
        own = self.problem or self.document
        if own is None:
            raise RuntimeError("the gateway has no answer of its own")
        return own.response(self.request_id, self.decision_id)
