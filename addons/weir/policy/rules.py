"""Rules over facts. Pure: facts in, verdict out; no I/O, no clock.

A deny beats a require_approval wherever they stand; among equals the first in the file is named.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from weir.policy.conditions import Condition
from weir.policy.model import Facts


@dataclass(frozen=True, slots=True)
class Rule:
    """One compiled rule, and where it stands."""

    name: str
    condition: Condition
    effect: Literal["deny", "require_approval"]
    message: str
    shadow: bool
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """The rule that counts for each effect, and the names of matching rules that are only watched."""

    deny: Rule | None
    require_approval: Rule | None
    shadow: tuple[str, ...]


def judge(rules: Sequence[Rule], facts: Facts) -> Verdict:
    """What *rules* say of *facts*. Raises `UnreadableFact`."""
    deny = approval = None
    shadow: tuple[str, ...] = ()
    for rule in rules:
        if rule.condition(facts) is not True:
            continue
        if rule.shadow:
            shadow += (rule.name,)
        elif rule.effect == "deny":
            deny = deny or rule
        else:
            approval = approval or rule
    return Verdict(deny, approval, shadow)
