"""An approval, as a value: what is asked, by whom, what it would need, who said what, and what became of it.

These are stored and sent as JSON. Everything that a caller wrote stands in `Shown`, masked, inert and cut.
Times are Unix seconds, durations seconds.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import msgspec

from weir.base.principal import Principal

#: What is to be approved: a request before it is sent, a response before it is delivered, access for a while.
ApprovalKind = Literal["request", "response", "access"]
#: ``used``: what was approved has been sent or delivered. ``void``: the policy that asked for it is another now.
State = Literal["pending", "approved", "denied", "withdrawn", "expired", "void", "used", "revoked"]
#: Those that still may change.
OPEN: frozenset[State] = frozenset(("pending", "approved"))


class Person(msgspec.Struct, frozen=True):
    """A principal as kept with an approval: who, and what their token said at that moment."""

    issuer: str
    iss: str
    sub: str
    groups: tuple[str, ...] = ()
    issued: float = 0.0
    token_id: str = ""
    sid: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """What identifies them."""
        return (self.iss, self.sub)

    @property
    def name(self) -> str:
        """As policies name a user: the issuer's name and the subject."""
        return f"{self.issuer}/{self.sub}"

    def keeping(self, known: Collection[str] | None) -> "Person":
        """The same, with only those groups that are *known* of them still; with all, where nothing is known."""
        if known is None:
            return self
        return msgspec.structs.replace(self, groups=tuple(group for group in self.groups if group in known))

    @classmethod
    def of(cls, principal: Principal) -> "Person":
        """*principal* now."""
        return cls(
            principal.issuer,
            principal.iss,
            principal.sub,
            tuple(sorted(principal.groups)),
            principal.issued,
            principal.token_id,
            principal.sid,
        )


class Reviewers(msgspec.Struct, frozen=True):
    """Who may decide: members of groups, users (both as ``issuer/name``), and whoever is on call."""

    groups: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    on_call: str = ""

    def __bool__(self) -> bool:
        return bool(self.groups or self.users or self.on_call)


class Terms(msgspec.Struct, frozen=True):
    """What a rule asks of reviewers.

    ``count`` people of ``reviewers`` must say yes, and one of each group of ``all_of``, of whom no two are the same.
    ``hold`` is how long a request waits for that, ``expires`` how long reviewers have, and after them the caller.
    ``reuse`` is for how long a yes covers later requests, 0 for none.
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
        """Whether there is anybody who could say yes."""
        return bool(self.reviewers or self.all_of)


NO_TERMS = Terms()


class Demand(msgspec.Struct, frozen=True):
    """One rule that asks for approval: by its digest, so that another text of it is another rule."""

    rule: str
    digest: str
    message: str
    terms: Terms
    covers: str = ""  # keyed digest of requester, connection, rule and facts, where the terms have a reuse


class Vote(msgspec.Struct, frozen=True):
    """What one reviewer said."""

    by: Person
    yes: bool
    reason: str
    at: float
    break_glass: bool = False


class Ranked(msgspec.Struct, frozen=True):
    """One result of a held response: where it stands, where its document stood in the request, and its text."""

    rank: int
    index: int | None
    score: float | None
    text: str


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """What reviewers see of a request or response. ``cut`` names what is shown in part only, and how much there is."""

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

    ``binding`` is a keyed digest of the exact request as its caller sent it; ``content`` one of the held response.
    ``holder`` is the request that waits for it now, until ``held_until`` at the latest; without one, the same
    request sent again takes its place. ``expires`` ends what is pending, and then what is approved and not used.
    ``seconds`` is the length of an access window; ``until`` is when it, or the reuse of the approval, ends.
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
    keeper: str = ""  # the worker that keeps the response
    request_id: str = ""
    demands: tuple[Demand, ...]
    shown: Shown = Shown()
    reason: str = ""  # the requester's
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
    changed: int = 0  # a number that grows with every change of any approval; the store's

    @property
    def rules(self) -> tuple[str, ...]:
        """The rules that ask."""
        return tuple(demand.rule for demand in self.demands)

    @property
    def digests(self) -> frozenset[str]:
        """Those rules, as they were written."""
        return frozenset(demand.digest for demand in self.demands)

    @property
    def decisive(self) -> tuple[Vote, ...]:
        """The votes that decided: the yes that carried it, or the no."""
        return tuple(vote for vote in self.votes if vote.yes == (self.state != "denied"))

    @property
    def break_glass(self) -> bool:
        """Whether it was decided by breaking the glass."""
        return any(vote.break_glass for vote in self.votes)

    @property
    def standing(self) -> bool:
        """Whether it lets more pass than one request: an access window, or an approval that can be used again."""
        return self.kind == "access" or any(demand.terms.reuse for demand in self.demands)

    def decided_by(self) -> str:
        """The names of those who decided."""
        return " and ".join(vote.by.name for vote in self.decisive)

    def decided_why(self) -> str:
        """What they said."""
        return "; ".join(vote.reason for vote in self.decisive if vote.reason)


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(Approval)


def encode_approval(approval: Approval) -> bytes:
    """*approval* as it is stored."""
    return _encoder.encode(approval)


def decode_approval(data: bytes, changed: int) -> Approval:
    """The reverse, with the store's number of its latest change."""
    return msgspec.structs.replace(_decoder.decode(data), changed=changed)


@dataclass(frozen=True, slots=True)
class OnRequest:
    """Who may give others access for a while, and for how many seconds at most; other terms are another digest."""

    terms: Terms
    at_most: int
    digest: str
