"""A connection: one service behind the gateway, with everything that its policy file says, compiled."""

from dataclasses import dataclass

from weir.approvals.model import OnRequest
from weir.credentials.credential import Credential
from weir.masking.masks import Masks
from weir.policy.breaker import Trip
from weir.policy.limits import Concurrency, Limit
from weir.policy.rules import Rules
from weir.profiles.profile import Profile
from weir.recorder.settings import Recording
from weir.routing.dial import Dial
from weir.routing.model import Match, Upstream


@dataclass(frozen=True, slots=True)
class Connection:
    """Immutable; replaced whole when the policies are."""

    name: str
    profile: Profile
    token_in: frozenset[str]  # where a token may stand besides Authorization: Bearer
    upstream: Upstream
    dial: Dial  # how the upstream is reached
    match: Match
    credential: Credential | None
    access: frozenset[str]  # namespaced groups
    on_request: OnRequest | None
    allow_unknown: bool
    websocket: frozenset[str]  # paths on which one may be opened
    trip: Trip | None
    limits: tuple[Limit | Concurrency, ...]
    rules: Rules
    response_rules: Rules
    masks: Masks
    record: Recording
    file: str
    access_line: int

    @property
    def holds_responses(self) -> bool:
        """Whether any of its rules asks for approval of a response."""
        return any(rule.effect == "require_approval" and not rule.shadow for rule in self.response_rules.rules)
