"""A connection: one service behind the gateway, compiled with all settings of its policy file."""

from dataclasses import dataclass

from weir.approvals.model import OnRequest
from weir.config.model import ConnectionSettings
from weir.credentials.credential import Credential
from weir.masking.masks import Masks
from weir.policy.breaker import Trip
from weir.policy.limits import Concurrency, Limit
from weir.policy.rules import Rules
from weir.profiles.profile import Profile
from weir.recorder.settings import Recording
from weir.routing.cors import Cors
from weir.routing.dial import Dial
from weir.routing.forwarding import Forwarding
from weir.routing.model import Match, Upstream


@dataclass(frozen=True, slots=True)
class Connection:
    """Immutable; replaced as a whole when the policies change."""

    name: str
    profile: Profile
    token_in: frozenset[str]  # where a token may be, besides Authorization: Bearer
    upstream: Upstream
    dial: Dial  # how the upstream is reached
    match: Match
    credential: Credential | None
    forwarding: Forwarding  # which of the caller's headers the service receives
    cors: Cors | None
    access: frozenset[str]  # namespaced groups
    on_request: OnRequest | None
    allow_unknown: bool
    websocket: frozenset[str]  # paths that allow WebSockets
    trip: Trip | None
    limits: tuple[Limit | Concurrency, ...]
    rules: Rules
    response_rules: Rules
    masks: Masks
    record: Recording
    settings: ConnectionSettings  # as written: for steps whose options need no compiling
    file: str
    access_line: int

    @property
    def holds_responses(self) -> bool:
        """True if one of its rules requires approval of a response."""
        return any(rule.effect == "require_approval" and not rule.shadow for rule in self.response_rules.rules)
