"""What several workers share, as values: keys, revocations, stops, windows, and the snapshot of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from weir.auth.model import Principal

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
class AccessWindow:
    """Access of one principal to one connection, given by a reviewer, from ``since`` until ``until`` (Unix time)."""

    iss: str
    sub: str
    connection: str
    since: float
    until: float
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
    windows: Mapping[tuple[str, str, str], tuple[AccessWindow, ...]] = field(default_factory=dict)

    def stopped(self, principal: Principal, session_id: str, connection: str) -> Stop | None:
        """The stop that this is under, if any."""
        for stop in self.stops:
            if (
                stop.scope == "all"
                or (stop.scope == "connection" and stop.value == connection)
                or (stop.scope == "user" and (stop.iss, stop.value) == principal.key)
                or (stop.scope == "session" and stop.value in (session_id, principal.sid))
            ):
                return stop
        return None

    def window(self, principal: Principal, connection: str, now: float, at_most: float) -> AccessWindow | None:
        """The access window of *principal* to *connection* at Unix time *now*; one that is too long ends early."""
        for window in self.windows.get((*principal.key, connection), ()):
            if window.since <= now < min(window.until, window.since + at_most):
                return window
        return None

    def revoked(self, principal: Principal, session_id: str) -> bool:
        """Whether *principal*'s token, or the session *session_id*, is revoked."""
        if principal.iss == KEYS_ISSUER and principal.token_id not in self.key_ids:
            return True
        if self.tokens and principal.token_id and (principal.iss, principal.token_id) in self.tokens:
            return True
        if self.sessions and (session_id in self.sessions or (principal.sid and principal.sid in self.sessions)):
            return True
        return bool(self.subjects) and principal.issued <= self.subjects.get(principal.key, -1.0)
