"""Explain an outcome in text: which rules ran, which matched, and why the others did not."""

from collections.abc import Iterator

from weir.path.exchange import Arrived, Matched, Read, Rehearsed, Routed
from weir.policy.conditions import Clause, Group
from weir.policy.rules import Judged, trace
from weir.policy.trace import outcome_word, saw
from weir.profiles.model import UNKNOWN
from weir.rehearsal.places import Places
from weir.rehearsal.rehearse import Outcome

#: Maximum number of texts and places that are listed for one clause.
_MOST = 5
_VERBS = {"deny": "deny", "require_approval": "ask for approval"}


def explain(outcome: Outcome) -> Iterator[str]:
    """Yield the lines of the explanation. The first line is the outcome of the request."""
    exchange, problem, connection = outcome.exchange, outcome.problem, outcome.connection
    principal, matched = exchange[Rehearsed].principal, exchange.get(Matched)
    asked = any(True for _ in outcome.judged)
    refused = "refused, although the rules allow it" if asked else "refused before any rule was asked"
    verdict = {"allow": "allowed", "refuse": refused}.get(outcome.effect, outcome.effect)
    by = f" by {outcome.rule}" if outcome.rule else ""
    where = (
        f" ({exchange.decision.file}:{exchange.decision.line})" if exchange.decision and exchange.decision.line else ""
    )
    yield f"{verdict}{by}{where}"
    if problem is not None:
        yield f"  the caller sees {problem.status} {problem.kind.slug}: {problem.detail}"
    groups = ", ".join(sorted(principal.groups)) or "no groups"
    yield f"  caller {principal.sub} ({groups}) on {connection.name}, profile {connection.profile.name}"
    if matched is not None and matched.operation is not None:
        facts = _facts(outcome)
        method, path = exchange[Arrived].method, exchange[Routed].path
        yield f"  {method} {path} is {matched.operation.name}{': ' + facts if facts else ''}"
    places = Places(outcome)
    for phase, rules in outcome.judged:
        yield f"{phase} rules:" if rules.rules else f"{phase} rules: there are none"
        for rule in rules.rules:
            judged = list(trace((rule,), outcome.facts))
            hit = judged[0].outcome is True
            shadow = ", in shadow: not enforced" if rule.shadow else ""
            became = "matched" if hit else "did not match"
            yield f"  {rule.name} ({rule.file}:{rule.line}) {became}; it would {_VERBS[rule.effect]}{shadow}"
            for entry in judged:
                yield f"    {'  ' * entry.depth}{_line(entry, outcome)}"
                for line in _texts(entry, places):
                    yield f"    {'  ' * entry.depth}           {line}"
    if connection.limits and outcome.effect != "refuse":
        yield f"limits: {len(connection.limits)}, counted from zero here"
    for name, value in exchange.own_headers.items():
        if name == "RateLimit":
            yield f"  {value}"
        elif not name.startswith("RateLimit"):
            yield f"the answer has the header {name}: {value}"


def _texts(entry: Judged, places: Places) -> Iterator[str]:
    """Yield the places at which a text clause matched, or else the places that it searched."""
    if not isinstance(entry.node, Clause) or not entry.node.looks:
        return
    found = places.found(entry.node) if entry.outcome is True else []
    for one in found[:_MOST]:
        yield f"in {one.place}{f' ({one.read})' if one.read else ''}: {one.text}"
    if len(found) > _MOST:
        yield f"and in {len(found) - _MOST} more places"
    if not found and (read := places.read(entry.node)):
        more = f", and {len(read) - _MOST} more" if len(read) > _MOST else ""
        yield f"looked in {', '.join(read[:_MOST])}{more}"


def _facts(outcome: Outcome) -> str:
    read = outcome.exchange.get(Read)
    call = read.call if read is not None else UNKNOWN
    facts = {
        "query": f"{len(call.query)} texts" if len(call.query) > 1 else None,
        "documents": None if call.documents is None else len(call.documents),
        "top_n": call.top_n,
        "model": call.model,
        "index": ", ".join(call.indexes[:5]) or None,
    }
    return ", ".join(f"{name} {value}" for name, value in facts.items() if value is not None)


def _line(entry: Judged, outcome: Outcome) -> str:
    node, word = entry.node, outcome_word(entry.outcome)
    if isinstance(node, Group):
        return f"{word:<10} {node.word} of"
    assert isinstance(node, Clause)
    reason = f" ({entry.outcome})" if isinstance(entry.outcome, str) else ""
    return f"{word:<10} {node}   saw {saw(node, outcome.facts)[:200]}{reason}"
