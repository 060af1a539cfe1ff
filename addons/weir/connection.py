"""A connection: one service behind the gateway, with everything that its policy file says, compiled."""

from dataclasses import dataclass

from weir.credentials.credential import Credential
from weir.masking.masks import Masks
from weir.policy.limits import Limit
from weir.policy.rules import Rule
from weir.profiles.profile import Profile
from weir.routing.model import Match, Upstream


@dataclass(frozen=True, slots=True)
class Connection:
    """Immutable; replaced whole when the policies are."""

    name: str
    profile: Profile
    token_in: frozenset[str]  # where a token may stand besides Authorization: Bearer
    upstream: Upstream
    match: Match
    credential: Credential | None
    access: frozenset[str]  # namespaced groups
    allow_unknown: bool
    limits: tuple[Limit, ...]
    rules: tuple[Rule, ...]
    masks: Masks
    file: str
    access_line: int
    limit_lines: tuple[int, ...]
