"""What several workers share, as values: keys, revocations, stops, windows, and the snapshot of them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Literal

from msgspec.structs import replace

from weir.approvals.model import Approval, Vote
from weir.base.principal import Principal

#: The ``iss`` and the name of API keys, as if they were an issuer's.
KEYS_ISSUER = "urn:weir:keys"
KEYS_NAME = "keys"

RevocationKind = Literal["jti", "subject", "session"]
StopScope = Literal["all", "connection", "user", "session"]


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key without its secret. Times are Unix seconds; ``groups`` are namespaced."""

    id: str
    name: str
    groups: tuple[str, ...]
    created: float
    created_by: str
    expires: float | None
    revoked: float | None = None
    last_used: float | None = None


@dataclass(frozen=True, slots=True)
class Revocation:
    """Tokens that are refused: one by ``jti``, or a subject's, or a session's.

    ``iss`` is the issuer's exact identifier; empty for a session, which is named by the provider's ``sid`` or
    by the ``session_id`` of the recordings. A subject's revocation is of what was issued until then, or,
    with ``block``, of whatever comes.
    """

    id: int
    kind: RevocationKind
    iss: str
    value: str
    block: bool
    at: float
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Stop:
    """An emergency stop: nothing of this passes until it is taken back.

    ``value`` is a connection's name, a subject, or a session; ``iss`` is a subject's issuer, and else empty.
    """

    id: int
    scope: StopScope
    iss: str
    value: str
    at: float
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All of it at one moment, for looking up in."""

    keys: Mapping[bytes, ApiKey] = field(default_factory=dict)  # by digest, without revoked ones
    key_ids: frozenset[str] = frozenset()
    tokens: frozenset[tuple[str, str]] = frozenset()
    subjects: Mapping[tuple[str, str], float] = field(default_factory=dict)  # issued until then are revoked
    sessions: frozenset[str] = frozenset()
    stops: tuple[Stop, ...] = ()
    windows: Mapping[tuple[str, str, str], tuple[Approval, ...]] = field(default_factory=dict)
    groups: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)  # of reviewers' newest tokens
    reuses: Mapping[str, Approval] = field(default_factory=dict)  # by what they cover

    def stopped(self, principal: Principal, session_id: str, connection: str) -> Stop | None:
        """The stop that this is under, if any."""
        for stop in self.stops:
            if stop.scope == "all" or (stop.scope == "connection" and stop.value == connection):
                return stop
        return self.personally_stopped(principal.key, (session_id, principal.sid))

    def personally_stopped(self, key: tuple[str, str], sessions: tuple[str, ...]) -> Stop | None:
        """The stop of this subject, (iss, sub), or of one of these sessions."""
        for stop in self.stops:
            if (stop.scope == "user" and (stop.iss, stop.value) == key) or (
                stop.scope == "session" and stop.value in sessions
            ):
                return stop
        return None

    def window(
        self, principal: Principal, connection: str, now: float, at_most: float, stands: Callable[[Approval], bool]
    ) -> Approval | None:
        """What gives *principal* access to *connection* at Unix time *now*; one that is too long ends early."""
        for window in self.windows.get((*principal.key, connection), ()):
            if window.since <= now < min(window.until, window.since + at_most) and stands(window):
                return window
        return None

    def reuse(self, covers: str, now: float) -> Approval | None:
        """The approval that covers this again at Unix time *now*."""
        approval = self.reuses.get(covers)
        return approval if approval is not None and approval.since <= now < approval.until else None

    def current(self, vote: Vote) -> Vote | None:
        """*vote* with the groups that its reviewer still has; None where they were revoked or stopped since."""
        by = vote.by
        if (by.iss, by.token_id) in self.tokens or (by.sid and by.sid in self.sessions):
            return None
        if by.issued <= self.subjects.get(by.key, -inf):
            return None
        if self.personally_stopped(by.key, (by.sid,)) is not None:
            return None
        return replace(vote, by=by.keeping(self.groups.get(by.key)))

    def revoked(self, principal: Principal, session_id: str) -> bool:
        """Whether *principal*'s token, or the session *session_id*, is revoked."""
        if principal.iss == KEYS_ISSUER and principal.token_id not in self.key_ids:
            return True
        if self.tokens and principal.token_id and (principal.iss, principal.token_id) in self.tokens:
            return True
        if self.sessions and (session_id in self.sessions or (principal.sid and principal.sid in self.sessions)):
            return True
        return bool(self.subjects) and principal.issued <= self.subjects.get(principal.key, -inf)


@dataclass(frozen=True, slots=True)
class Letter:
    """One thing to tell one who is to be told. ``id`` is the same for the same thing, so that it is told once."""

    id: str
    hook: str
    event: str
    approval: str
    attempts: int = 0
    error: str = ""
    dead: bool = False
    due: float = 0.0


def snapshot_of(
    keys: Mapping[bytes, ApiKey],
    revocations: Iterable[Revocation],
    stops: Iterable[Stop],
    standing: Iterable[Approval],
    groups: Mapping[tuple[str, str], tuple[str, ...]],
) -> Snapshot:
    """The snapshot of what a store holds; *standing* are approvals that give something for a while."""
    revocations = list(revocations)
    subjects: dict[tuple[str, str], float] = {}
    for r in revocations:
        if r.kind == "subject":
            until = inf if r.block else r.at
            subjects[r.iss, r.value] = max(until, subjects.get((r.iss, r.value), 0.0))
    windows: dict[tuple[str, str, str], tuple[Approval, ...]] = {}
    reuses: dict[str, Approval] = {}
    for approval in sorted(standing, key=lambda a: a.until):
        if approval.kind == "access":
            key = (*approval.requester.key, approval.connection)
            windows[key] = (*windows.get(key, ()), approval)
        else:
            reuses.update((demand.covers, approval) for demand in approval.demands if demand.covers)
    return Snapshot(
        keys=keys,
        key_ids=frozenset(key.id for key in keys.values()),
        tokens=frozenset((r.iss, r.value) for r in revocations if r.kind == "jti"),
        subjects=subjects,
        sessions=frozenset(r.value for r in revocations if r.kind == "session"),
        stops=tuple(stops),
        windows=windows,
        groups=groups,
        reuses=reuses,
    )
