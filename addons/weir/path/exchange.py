"""One request's journey through the gateway: the typed state that the rooms hand on.

It lives in memory, keyed by mitmproxy's flow object, and is the only authority there is: nothing that
is stored in a flow (and could come back from a file) is believed.
"""

from dataclasses import dataclass, field
from typing import Any

from cryptography.x509 import Certificate
from mitmproxy import http

from weir.approvals.model import Approval, Demand
from weir.auth.dpop import Proof
from weir.auth.presented import Presented
from weir.base.principal import Principal
from weir.base.problems import Problem
from weir.base.secret import Secret
from weir.masking.masks import MaskedField
from weir.masking.response import ResponseStream
from weir.mitm.arrival import Arrival
from weir.policy.breaker import Entry
from weir.policy.facts import Facts
from weir.policy.limits import Charge, Lease, Store
from weir.policy.model import Decision, TraceLine
from weir.policy.rules import Judged, Rule
from weir.policyset.connection import Connection
from weir.policyset.model import PolicySet
from weir.profiles.model import UNKNOWN, Call, Ranking
from weir.profiles.profile import Operation
from weir.profiles.readers import Parameters
from weir.recorder.copies import RequestRecord, ResponseRecord
from weir.routing.handshake import Handshake
from weir.routing.model import Origin
from weir.routing.proxy import Via


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
class Exchange:
    """Filled in data-path order; what a later room needs and finds empty means refusal."""

    request_id: str
    received: float  # Unix time, seconds
    started: float  # perf_counter, seconds
    policies: PolicySet | None = None
    replay: str = ""  # "request" for -C, "response" once -S has answered
    replay_key: str = ""
    replay_only: bool = False  # what -S does not answer is not sent either
    # routing
    arrival: Arrival | None = None
    origin: Origin | None = None  # that the caller means; none in reverse mode, where it is the gateway
    scheme: str = "http"  # that the caller speaks
    via: Via | None = None  # the proxy through which it goes on
    client_ip: str = ""
    head: dict[bytes, bytes] = field(default_factory=dict)  # the caller's, by lower-case name
    method: str = ""
    caller_target: str = ""
    path: str = ""  # below the connection's prefix, without query
    query: str = ""
    connection: Connection | None = None
    own_path: str = ""  # one of the gateway's own documents was asked for
    described: Connection | None = None  # by that document
    client_request_id: str = ""
    handshake: Handshake | None = None  # the caller asks for a WebSocket
    chunked: bool = True  # the caller reads chunked bodies: not so HTTP/1.0
    left: str = ""  # how the caller has left or reset the request; set at once, in any phase
    # auth
    presented: Presented | None = None
    certificates: tuple[Certificate, ...] = ()  # the caller's own first; of which only possession of the key is known
    token: Secret | None = None
    proof: Proof | None = None  # of the key that the token is bound to
    principal: Principal | None = None
    session_id: str = ""
    # profiles
    raw_body: bytes = b""  # as the caller sent it
    caller_body: bytes = b""  # the same, decoded
    sent_body: bytes = b""  # decoded, as the upstream receives it
    body: Any = None  # parsed; masks change it in place once policy has judged it
    parsed: bool = False
    operation: Operation | None = None
    parameters: Parameters = field(default_factory=dict)  # of the query, where the profile reads any
    variables: dict[str, str] = field(default_factory=dict)  # of the path
    call: Call = UNKNOWN
    # policy
    facts: Facts = field(default_factory=dict)
    judged_request: tuple[Judged, ...] = ()  # of which the record keeps a trace
    judged_response: tuple[Judged, ...] = ()
    trace: tuple[TraceLine, ...] = ()
    decision: Decision | None = None
    limit_headers: tuple[tuple[str, str], ...] = ()
    store: Store | None = None  # of the limits that were taken
    settles: tuple[Charge, ...] = ()  # charged there once the response is known
    leases: tuple[Lease, ...] = ()
    entry: Entry | None = None  # the connection's circuit breaker waits for its answer
    # approvals
    demanded: tuple[Rule, ...] = ()  # the rules that ask for one
    demands: list[Demand] = field(default_factory=list)  # what of it no earlier approval covers
    binding: str = ""  # what an approval of this request is bound to
    hold_until: float = 0.0  # monotonic seconds
    approval: Approval | None = None  # that is waited for
    tried: list[str] = field(default_factory=list)  # approvals that it may have used up without hearing of it
    granted: tuple[Approval, ...] = ()  # those that it has
    approved_by: tuple[Approval, ...] = ()  # those, and the ones that cover it again
    kept: bool = False  # its response waited here
    # what comes out
    problem: Problem | None = None
    document: Document | None = None
    error: str = ""
    masked: list[MaskedField] = field(default_factory=list)
    masked_request: bool = False
    masked_target: bool = False
    recorded_model: str | None = None  # as the record may hold it
    recorded_indexes: tuple[str, ...] = ()  # the same
    request_record: RequestRecord | None = None
    response_record: ResponseRecord | None = None
    ranking: Ranking = field(default_factory=Ranking)
    upstream_status: int = 0
    tokens: int | None = None  # that the response says were used
    received_bytes: int = 0  # of the response's body, decoded
    sent: float = 0.0  # perf_counter when the request was let go
    stream: ResponseStream | None = None  # of a response that is let through while it comes
    answer: http.Response | None = None  # the problem or document as it was put into the flow
    # authority, read by Gate
    judged: bool = False
    recorded: bool = False
    intended: bool = False  # the record says that it is about to be sent, or answered

    def drop_body(self) -> None:
        """Keep of the request's body only its bytes: it waits, and is read again when it goes on."""
        self.body, self.parsed, self.call, self.facts = None, False, UNKNOWN, {}

    @property
    def decision_id(self) -> str:
        """The decision's id; empty before there is one."""
        return self.decision.decision_id if self.decision else ""

    @property
    def settled(self) -> bool:
        """Whether the gateway answers by itself: nothing goes upstream, and no other answer is delivered."""
        return self.problem is not None or self.document is not None

    @property
    def proxied(self) -> bool:
        """Whether the caller speaks to the gateway as to a proxy, here and now: not from within a tunnel."""
        arrival = self.arrival
        return arrival is not None and arrival.listener.mode == "explicit" and not arrival.hosts

    def own_answer(self) -> http.Response:
        """The answer that the exchange's problem, or else its document, gives. There must be one."""
        own = self.problem or self.document
        assert own is not None
        return own.response(self.request_id, self.decision_id)
