"""What was decided, as values."""

from dataclasses import dataclass
from typing import Literal

import msgspec

Effect = Literal["allow", "deny", "limit", "require_approval"]


class TraceLine(msgspec.Struct, frozen=True):
    """One clause of a rule and what it saw, as the record may hold it.

    ``outcome`` is ``true``, ``false``, ``absent`` (the request does not have the fact) or ``unreadable``.
    """

    rule: str
    clause: str
    outcome: str
    saw: str
    shadow: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """What policy says of one request, why, and by which text of it.

    ``effect`` is what was enforced, ``shadow_effect`` what would have been if the rules in shadow, which ``shadow``
    names, were enforced too. ``file`` and ``line`` are where the rule stands.
    """

    decision_id: str
    effect: Effect
    rule: str
    message: str
    policy_version: str
    file: str = ""
    line: int = 0
    shadow: tuple[str, ...] = ()
    shadow_effect: Effect = "allow"
