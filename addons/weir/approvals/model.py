"""An approval, as a value: the request, the requester, the required votes, the given votes, and the outcome.

Approvals are stored and sent as JSON. All text from a caller is in `Shown`: masked, inert and shortened. Times are Unix
seconds, durations are seconds.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import msgspec

from weir.base.principal import Principal

#: The object of an approval: a request before it is sent, a response before it is delivered, or temporary access.
ApprovalKind = Literal["request", "response", "access"]
#: ``used``: the approved request was sent, or the response delivered. ``void``: the policy has changed since.
State = Literal["pending", "approved", "denied", "withdrawn", "expired", "void", "used", "revoked"]
#: States that may still change.
OPEN: frozenset[State] = frozenset(("pending", "approved"))


class Person(msgspec.Struct, frozen=True):
    """A principal as stored with an approval: the identity, and the token's data at that time."""

    issuer: str
    iss: str
    sub: str
    groups: tuple[str, ...] = ()
    issued: float = 0.0
    token_id: str = ""
    sid: str = ""
    machine: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """The identity: (iss, sub)."""
        return (self.iss, self.sub)

    @property
    def name(self) -> str:
        """The name of the user in policies: the issuer's name and the subject."""
        return f"{self.issuer}/{self.sub}"

    def keeping(self, known: Collection[str] | None) -> "Person":
        """Return the person with only those groups that are still *known*; with all groups if *known* is None."""
        if known is None:
            return self
        return msgspec.structs.replace(self, groups=tuple(group for group in self.groups if group in known))

    @classmethod
    def of(cls, principal: Principal) -> "Person":
        """Return *principal* as a person."""
        return cls(
            principal.issuer,
            principal.iss,
            principal.sub,
            tuple(sorted(principal.groups)),
            principal.issued,
            principal.token_id,
            principal.sid,
            principal.machine,
        )


class Reviewers(msgspec.Struct, frozen=True):
    """The principals that may decide: members of groups, users (both as ``issuer/name``), and the person on call."""

    groups: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    on_call: str = ""

    def __bool__(self) -> bool:
        return bool(self.groups or self.users or self.on_call)


class Terms(msgspec.Struct, frozen=True):
    """The votes that a rule requires.

    ``count`` people of ``reviewers`` must say yes, and one person of each group in ``all_of``; all of them must be
    different people. ``hold`` is how long a request waits for the votes. ``expires`` is how long reviewers may decide,
    and then how long the caller may use the approval. ``reuse`` is how long a yes covers later requests; 0 for none.
    """

    reviewers: Reviewers = Reviewers()
    count: int = 1
    all_of: tuple[str, ...] = ()
    hold: int = 60
    expires: int = 3600
    escalate_after: int = 0
    escalate_to: Reviewers = Reviewers()
    break_glass: tuple[str, ...] = ()
    reuse: int = 0
    same: tuple[str, ...] = ()  # facts

    @property
    def somebody(self) -> bool:
        """True if there are people who could say yes."""
        return bool(self.reviewers or self.all_of)


NO_TERMS = Terms()


class Demand(msgspec.Struct, frozen=True):
    """One rule that requires approval. A change of the rule's text changes its digest, so it becomes another demand."""

    rule: str
    digest: str
    message: str
    terms: Terms
    covers: str = ""  # keyed digest of requester, connection, rule and facts, if the terms have a reuse


class Vote(msgspec.Struct, frozen=True):
    """The vote of one reviewer."""

    by: Person
    yes: bool
    reason: str
    at: float
    break_glass: bool = False


class Ranked(msgspec.Struct, frozen=True):
    """One result of a held response: its rank, its document's index in the request, and its text."""

    rank: int
    index: int | None
    score: float | None
    text: str


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """The view of a request or response for reviewers. ``cut`` lists the shortened parts, with their full size."""

    operation: str = ""
    method: str = ""
    path: str = ""
    parameters: str = ""  # of the URL
    query: tuple[str, ...] = ()
    documents: int | None = None
    first_documents: tuple[str, ...] = ()
    indexes: tuple[str, ...] = ()
    model: str | None = None
    top_n: int | None = None
    body: str = ""  # JSON, without the documents and texts that are shown above
    status: int | None = None
    ranking: tuple[Ranked, ...] = ()
    results: int | None = None
    response: str = ""  # of a response without a ranking
    cut: tuple[str, ...] = ()


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """One approval.

    ``binding`` is a keyed digest of the exact request as its caller sent it; ``content`` is one of the held response.
    ``holder`` is the request that waits for the approval, until ``held_until`` at the latest; without a holder, the
    same request can take its place when it is sent again. ``expires`` ends a pending approval, and then one that is
    approved but not used. ``seconds`` is the length of an access window; ``until`` is the end of the window or
    of the reuse.
    """

    id: str
    kind: ApprovalKind
    state: State = "pending"
    asked: float
    expires: float
    requester: Person
    connection: str
    binding: str = ""
    content: str = ""
    keeper: str = ""  # the worker that stores the response
    request_id: str = ""
    demands: tuple[Demand, ...]
    shown: Shown = Shown()
    reason: str = ""  # given by the requester
    holder: str = ""
    held_until: float = 0.0
    votes: tuple[Vote, ...] = ()
    decided: float = 0.0
    used_by: str = ""
    used: float = 0.0
    ended: float = 0.0
    seconds: int = 0
    since: float = 0.0
    until: float = 0.0
    changed: int = 0  # set by the store; it grows with every change of any approval

    @property
    def rules(self) -> tuple[str, ...]:
        """The names of the rules that require it."""
        return tuple(demand.rule for demand in self.demands)

    @property
    def digests(self) -> frozenset[str]:
        """The digests of these rules."""
        return frozenset(demand.digest for demand in self.demands)

    @property
    def decisive(self) -> tuple[Vote, ...]:
        """The votes that decided: the yes votes, or the no."""
        return tuple(vote for vote in self.votes if vote.yes == (self.state != "denied"))

    @property
    def break_glass(self) -> bool:
        """True if it was approved by break-glass."""
        return any(vote.break_glass for vote in self.votes)

    @property
    def standing(self) -> bool:
        """True if it covers more than one request: an access window, or an approval that can be reused."""
        return self.kind == "access" or any(demand.terms.reuse for demand in self.demands)

    def decided_by(self) -> str:
        """Return the names of the people who decided."""
        return " and ".join(vote.by.name for vote in self.decisive)

    def decided_why(self) -> str:
        """Return their reasons."""
        return "; ".join(vote.reason for vote in self.decisive if vote.reason)


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Approval)


def encode_approval(approval: Approval) -> bytes:
    """Encode *approval* for the store."""
    return _encoder.encode(approval)


def decode_approval(data: bytes, changed: int) -> Approval:
    """Decode an approval; *changed* is the store's number of its latest change."""
    return msgspec.structs.replace(_decoder.decode(data), changed=changed)


@dataclass(frozen=True, slots=True)
class OnRequest:
    """The reviewers of temporary access, and its maximum length in seconds. Other terms have another digest."""

    terms: Terms
    at_most: int
    digest: str
