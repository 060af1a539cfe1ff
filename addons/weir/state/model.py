"""Values of the shared state: keys, revocations, stops, access windows, and a snapshot of all of them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Literal

from msgspec.structs import replace

from weir.approvals.model import Approval, Vote
from weir.base.principal import Principal

#: The ``iss`` and the issuer name of principals with an API key.
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
    """A revocation of one token (``jti``), of a subject's tokens or of a session's tokens.

    ``iss`` is the issuer's exact identifier. It is empty for a session; its value is the provider's ``sid`` or the
    ``session_id`` of the recordings. A subject's revocation covers tokens issued until then or, with ``block``, all
    tokens.
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
    """An emergency stop: matching requests are refused until it is removed.

    ``value`` is a connection's name, a subject or a session. ``iss`` is the subject's issuer, and empty otherwise.
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
    """The shared state at one moment, indexed for lookups."""

    keys: Mapping[bytes, ApiKey] = field(default_factory=dict)  # by digest, without revoked ones
    key_ids: frozenset[str] = frozenset()
    tokens: frozenset[tuple[str, str]] = frozenset()
    subjects: Mapping[tuple[str, str], float] = field(default_factory=dict)  # tokens issued until then are revoked
    sessions: frozenset[str] = frozenset()
    stops: tuple[Stop, ...] = ()
    windows: Mapping[tuple[str, str, str], tuple[Approval, ...]] = field(default_factory=dict)
    groups: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)  # from reviewers' newest tokens
    reuses: Mapping[str, Approval] = field(default_factory=dict)  # by the `covers` of their demands

    def stopped(self, principal: Principal, session_id: str, connection: str) -> Stop | None:
        """Return the stop that applies to a request, or None."""
        for stop in self.stops:
            if stop.scope == "all" or (stop.scope == "connection" and stop.value == connection):
                return stop
        return self.personally_stopped(principal.key, (session_id, principal.sid))

    def personally_stopped(self, key: tuple[str, str], sessions: tuple[str, ...]) -> Stop | None:
        """Return the stop of this subject, (iss, sub), or of one of these sessions, or None."""
        for stop in self.stops:
            if (stop.scope == "user" and (stop.iss, stop.value) == key) or (
                stop.scope == "session" and stop.value in sessions
            ):
                return stop
        return None

    def window(
        self, principal: Principal, connection: str, now: float, at_most: float, stands: Callable[[Approval], bool]
    ) -> Approval | None:
        """Return the approval that gives *principal* access to *connection* at Unix time *now*, or None.

        A window ends after *at_most* seconds, even if it was granted for longer. *stands* returns True for an approval
        that still counts.
        """
        for window in self.windows.get((*principal.key, connection), ()):
            if window.since <= now < min(window.until, window.since + at_most) and stands(window):
                return window
        return None

    def reuse(self, covers: str, now: float) -> Approval | None:
        """Return the reusable approval with this *covers* value at Unix time *now*, or None."""
        approval = self.reuses.get(covers)
        return approval if approval is not None and approval.since <= now < approval.until else None

    def current(self, vote: Vote) -> Vote | None:
        """Return *vote* with its reviewer's current groups; None if its reviewer was revoked or stopped since."""
        by = vote.by
        if (by.iss, by.token_id) in self.tokens or (by.sid and by.sid in self.sessions):
            return None
        if by.issued <= self.subjects.get(by.key, -inf):
            return None
        if self.personally_stopped(by.key, (by.sid,)) is not None:
            return None
        return replace(vote, by=by.keeping(self.groups.get(by.key)))

    def revoked(self, principal: Principal, session_id: str) -> bool:
        """True if *principal*'s token or the session *session_id* is revoked."""
        if principal.iss == KEYS_ISSUER and principal.token_id not in self.key_ids:
            return True
        if self.tokens and principal.token_id and (principal.iss, principal.token_id) in self.tokens:
            return True
        if self.sessions and (session_id in self.sessions or (principal.sid and principal.sid in self.sessions)):
            return True
        return bool(self.subjects) and principal.issued <= self.subjects.get(principal.key, -inf)


@dataclass(frozen=True, slots=True)
class Letter:
    """One notification to send. A repeated notification has the same ``id``, so it is sent once."""

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
    """Build the snapshot of a store's content. *standing* are approvals that are valid for a period."""
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
