"""Rules over facts. Pure: facts in, verdict out; no I/O, no clock. `path.steps.approval` decides who must wait.

A deny beats a require_approval, in any order. If several rules deny, the first in the file is named. If several rules
require approval, each needs its own. A shadow rule is judged like any other rule, but changes nothing.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from weir.approvals.model import NO_TERMS, Terms
from weir.policy.conditions import Clause, Condition, Group, Node, UnreadableFact
from weir.policy.facts import Facts
from weir.policy.model import Effect

#: Effects of rules, the strongest first.
RuleEffect = Literal["deny", "require_approval"]
STRENGTH: dict[Effect, int] = {"deny": 3, "limit": 2, "require_approval": 1, "allow": 0}


@dataclass(frozen=True, slots=True)
class Rule:
    """One compiled rule, and its place in the policy files."""

    name: str
    condition: Node
    effect: RuleEffect
    message: str
    shadow: bool
    file: str
    line: int
    terms: Terms = NO_TERMS  # terms of approval
    digest: str = ""  # of the rule's text, and of the connection's settings that its approval uses


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of one phase, in order, and the names of the facts that they need."""

    rules: tuple[Rule, ...] = ()
    needs: frozenset[str] = frozenset()
    tests: tuple[tuple[Condition, Rule], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "tests", tuple((rule.condition.test, rule) for rule in self.rules))


@dataclass(frozen=True, slots=True)
class Verdict:
    """The deciding rule of each effect, and the shadow rules that matched."""

    deny: Rule | None = None
    approvals: tuple[Rule, ...] = ()  # every rule that requires one; each needs its own
    shadow: tuple[Rule, ...] = ()

    @property
    def matched(self) -> bool:
        """True if any rule matched."""
        return bool(self.deny or self.approvals or self.shadow)

    @property
    def shadow_effect(self) -> Effect:
        """The effect if shadow rules were enforced."""
        rules = (*self.shadow, self.deny, *self.approvals)
        found: list[Effect] = [rule.effect for rule in rules if rule is not None]
        return max(found, key=lambda effect: STRENGTH[effect], default="allow")


def judge(rules: Rules, facts: Facts) -> Verdict:
    """Apply *rules* to *facts*. Raises `UnreadableFact`, unless only a shadow rule needs the fact."""
    deny = None
    approvals: tuple[Rule, ...] = ()
    shadow: tuple[Rule, ...] = ()
    for test, rule in rules.tests:
        try:
            if test(facts) is not True:
                continue
        except UnreadableFact:
            if not rule.shadow:  # a shadow rule that would refuse
                raise
        if rule.shadow:
            shadow += (rule,)
        elif rule.effect == "deny":
            deny = deny or rule
        else:
            approvals += (rule,)
    return Verdict(deny, approvals, shadow)


@dataclass(frozen=True, slots=True)
class Judged:
    """One part of a rule's condition and its outcome: True, False, None (absent), or why it cannot be read."""

    rule: Rule
    node: Node
    depth: int
    outcome: bool | str | None


def trace(rules: Sequence[Rule], facts: Facts) -> Iterator[Judged]:
    """Yield every part of the conditions of *rules*, with its outcome, in the written order."""
    for rule in rules:
        yield from _trace(rule, rule.condition, 0, facts)


def _trace(rule: Rule, node: Node, depth: int, facts: Facts) -> Iterator[Judged]:
    try:
        outcome: bool | str | None = node.test(facts)
    except UnreadableFact as error:
        outcome = str(error)
    yield Judged(rule, node, depth, outcome)
    if isinstance(node, Group):
        for part in node.parts:
            yield from _trace(rule, part, depth + 1, facts)


def clauses(node: Node) -> Iterator[Clause]:
    """Yield every clause of *node*."""
    if isinstance(node, Clause):
        yield node
    else:
        for part in node.parts:
            yield from clauses(part)
