"""Explain decisions: the value that each clause of the rules saw, in words, masked like the record. Pure."""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any

from weir.base.text import inert
from weir.policy.conditions import Clause
from weir.policy.facts import ABSENT, Facts
from weir.policy.model import TraceLine
from weir.policy.rules import Judged, Rule, trace
from weir.profiles.texts import Unreadable

_LONGEST = 200
_READ = 2000
_MOST = 5
#: Maximum lines of one trace.
MOST_LINES = 200
_OUTCOMES = {True: "true", False: "false", None: "absent"}


def outcomes(rules: Sequence[Rule], facts: Facts) -> tuple[Judged, ...]:
    """Return the outcome of every clause that `TraceLine` shows, on the *facts* of the decision."""
    return tuple(islice((judged for judged in trace(rules, facts) if isinstance(judged.node, Clause)), MOST_LINES))


def lines(
    judged: Iterable[Judged], shown: Facts, scrub: Callable[[bytes], bytes] | None = None
) -> tuple[TraceLine, ...]:
    """Return trace lines for *judged*. Values come from *shown*: the facts, masked like the record."""
    found = []
    for entry in judged:
        clause = entry.node
        if not isinstance(clause, Clause):
            continue
        text = saw(clause, shown)
        if scrub is not None:  # before cutting, because half a secret is not recognised
            text = scrub(text.encode("utf-8", "replace")).decode("utf-8", "replace")
        found.append(
            TraceLine(entry.rule.name, str(clause)[:300], outcome_word(entry.outcome), _cut(text), entry.rule.shadow)
        )
        if len(found) == MOST_LINES:
            break
    return tuple(found)


def outcome_word(outcome: bool | str | None) -> str:
    """Return ``true``, ``false``, ``absent`` or ``unreadable``."""
    return "unreadable" if isinstance(outcome, str) else _OUTCOMES[outcome]


def saw(clause: Clause, shown: Facts) -> str:
    """Return the value that *clause* saw, taken from *shown*; at most a few thousand characters."""
    if clause.path is not None:
        body = shown.get("body", ABSENT)
        if isinstance(body, str):
            return body
        values = clause.path.find(body) if body is not ABSENT else []
        return _several(values) if values else "nothing there"
    if clause.fact == "category":
        return "every text" if clause.looks else "the texts of the query and the documents"
    value = shown.get(clause.fact, ABSENT)
    if value is ABSENT and clause.looks:  # no rule has read the fact alone
        value = shown.get(clause.looks[0], ABSENT)
    if isinstance(value, Unreadable):
        return value.reason
    if value is ABSENT:
        return "absent"
    return _several(value) if isinstance(value, list) else _one(value)


def _several(values: Sequence[Any]) -> str:
    if len(values) == 1:
        return _one(values[0])
    text = ", ".join(_one(value) for value in values[:_MOST])
    return f"{len(values)}: {text}{', …' if len(values) > _MOST else ''}"


def _one(value: Any) -> str:
    if isinstance(value, dict):
        return f"an object of {len(value)} members"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, str):
        return inert(value[:_READ]) + (f"… ({len(value)} characters)" if len(value) > _READ else "")
    return f"{value:.6g}" if isinstance(value, float) else str(value)[:_READ]


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
