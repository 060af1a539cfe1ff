"""Decisions and traces, as values."""

from dataclasses import dataclass
from typing import Literal

import msgspec

Effect = Literal["allow", "deny", "limit", "require_approval"]


class TraceLine(msgspec.Struct, frozen=True):
    """One clause of a rule and the value that it saw, masked like the record.

    ``outcome`` is ``true``, ``false``, ``absent`` (the request does not have the fact) or ``unreadable``.
    """

    rule: str
    clause: str
    outcome: str
    saw: str
    shadow: bool = False


@dataclass(frozen=True, slots=True)
class Decision:
    """The policy's decision on one request, its reason, and the place in the policy files that it comes from.

    ``effect`` is the enforced effect; ``shadow_effect`` the effect if the shadow rules, named in ``shadow``, were
    enforced too. ``file`` and ``line`` locate the rule.
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
