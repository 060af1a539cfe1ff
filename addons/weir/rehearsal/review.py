"""Warnings about policies that are valid but probably mistaken, each with its line. Pure.

They report rules that never decide (a stronger rule matches first, or the condition contradicts itself), rules on facts
that the profile does not have, and operations that write but are named in no rule.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

from weir.base.jsonpath import Path
from weir.config.model import GatewaySettings
from weir.masking.masks import Mask
from weir.policy.compile import WRITES_RULE
from weir.policy.conditions import Clause, Group, Node
from weir.policy.facts import OF_CALL, OF_RESPONSE, RESPONSE_FACTS
from weir.policy.rules import STRENGTH, Rule, clauses
from weir.policyset.connection import Connection
from weir.profiles.model import WEBSOCKET, WRITES
from weir.profiles.profile import Operation
from weir.rehearsal.rehearse import put
from weir.routing.forwarding import states_identity
from weir.routing.model import is_loopback

_INFINITE = (-math.inf, math.inf)


class Oddity(str):
    """A warning of one sentence, with the line that it is about."""

    line: int

    def __new__(cls, text: str, line: int) -> "Oddity":
        """Create the warning *text* about *line*."""
        warning = super().__new__(cls, text)
        warning.line = line
        return warning


def review(connection: Connection, line_of: Callable[..., int], *, says_writes: bool) -> Iterator[Oddity]:
    """Yield warnings about settings of *connection* that are valid but probably mistaken.

    *line_of* returns the line of a setting by its location. *says_writes* is True if the file sets ``writes``.
    """
    for mask, fact in _masked_facts(connection):
        yield Oddity(
            f"{mask.rule} hides the fact {fact!r} from the service: policy judges what is sent, so each request that "
            "has it is refused (mask-changes-fact); hide it from the record only (hide_from: [record])",
            line_of("masks", connection.masks.number(mask)),
        )
    yield from _stated_identities(connection, line_of)
    for rules in (connection.rules.rules, connection.response_rules.rules):
        for i, rule in enumerate(rules):
            if rule.name != WRITES_RULE:
                yield from _never(connection, rule)
                if not rule.shadow:
                    yield from _overruled(rule, rules, i)
    yield from _multiplied(connection)
    for rule in connection.response_rules.rules:
        if rule.effect == "require_approval" and _reaches_writes(connection, rule):
            yield Oddity(
                f"the rule {rule.name!r} does not hold answers to writes: the write happens before its answer can be "
                "approved; require approval of the request, or name the operations that the rule is for",
                rule.line,
            )
    if not connection.profile.writes or says_writes:
        return
    named = (c for r in connection.rules.rules if r.name != WRITES_RULE for c in clauses(r.condition))
    if not any(c.fact == "operation" and not WRITES.isdisjoint(_values(c.matcher) or set()) for c in named):
        yield Oddity(
            f"the profile {connection.profile.name!r} has operations that write, and no rule names them: they need "
            "approval; set `writes: require_approval`, or choose `deny` or `allow`",
            1,
        )


def _multiplied(connection: Connection) -> Iterator[Oddity]:
    """Yield a warning for each rule with a maximum of `max_tokens`, if no rule limits the number of completions."""
    tested = [(rule, clause) for rule in connection.rules.rules for clause in clauses(rule.condition)]
    if any(clause.fact in ("completions", "max_output_tokens") for _, clause in tested):
        return
    if all(operation.completions is None for operation in connection.profile.operations):
        return
    for rule, clause in tested:
        if clause.fact == "max_tokens" and isinstance(clause.matcher, dict) and clause.matcher.keys() & {"gt", "ge"}:
            yield Oddity(
                f"the rule {rule.name!r} limits the tokens of one completion, but a request may ask for several (n, "
                "best_of, a list of prompts); use max_output_tokens, the limit of all together",
                rule.line,
            )


def _stated_identities(connection: Connection, line_of: Callable[..., int]) -> Iterator[Oddity]:
    """Yield a warning for each header of callers that passes and in which services may see an identity."""
    named: list[tuple[str, tuple[str | int, ...]]] = [
        *((name, ("forward", i)) for i, name in enumerate(connection.settings.forward)),
        *((name.decode(), ("profile",)) for name in sorted(connection.profile.headers)),
    ]
    for name, location in named:
        if states_identity(name):
            yield Oddity(
                f"{location[0]}: services may take the caller's identity or rights from {name!r}, and callers choose "
                "its value; remove it, unless this service does not trust it",
                line_of(*location),
            )


def review_listeners(settings: GatewaySettings, line_of: Callable[..., int]) -> Iterator[Oddity]:
    """Yield a warning for each listener on which tokens travel unencrypted beyond this machine."""
    listeners = [(("listen", i), entry, settings.public_url) for i, entry in enumerate(settings.listen)]
    for location, entry, public in (*listeners, (("admin", "listen"), settings.admin.listen, settings.admin.url)):
        url, mode = (entry, "reverse") if isinstance(entry, str) else (entry.url, entry.mode)
        parts = urlsplit(url)
        if parts.scheme != "http" or mode == "transparent" or is_loopback(parts.hostname or ""):
            continue
        if mode == "reverse" and public is not None and public.startswith("https://"):
            continue  # TLS ends before it
        setting = "admin: {url: https://…}" if location[0] == "admin" else "public_url: https://…"
        otherwise = f", or, if TLS ends before it, set `{setting}`" if mode == "reverse" else ""
        yield Oddity(
            f"{url}: tokens travel unencrypted to this listener; give it `tls` and an https:// URL, listen on "
            f"127.0.0.1{otherwise}",
            line_of(*location),
        )


def _masked_facts(connection: Connection) -> Iterator[tuple[Mask, str]]:
    """Yield each mask that replaces a fact in the service's request, and this fact."""
    operations = connection.profile.operations
    for mask in connection.masks.upstream().masks:
        if mask.kinds:
            continue  # this mask replaces only values that a detector finds
        facts = (
            name for operation in operations for name, path in _fact_paths(operation) if _replaces(mask, name, path)
        )
        if (fact := next(facts, None)) is not None:
            yield mask, fact


def _fact_paths(operation: Operation) -> Iterator[tuple[str, Path]]:
    """Yield the facts of a request's body, with their paths."""
    found: list[tuple[str, Sequence[Path | None]]] = [
        ("model", operation.model.paths),
        ("documents", operation.documents.paths if operation.documents else ()),
        ("top_n", (operation.top_n.path if operation.top_n else None,)),
        ("breadth", operation.breadth),
        ("max_tokens", operation.max_tokens),
        ("completions", operation.completions.paths if operation.completions else ()),
        ("index", operation.index.paths),
        ("return_documents", (operation.return_documents.path if operation.return_documents else None,)),
        ("stream", (operation.stream,)),
    ]
    for name, paths in found:
        yield from ((name, path) for path in paths if path is not None)


def _replaces(mask: Mask, fact: str, path: Path) -> bool:
    if path.names is None:
        return False
    body = put({}, path.names, [] if fact == "documents" else "")
    return any(masked.find(body) for masked in mask.paths)


def _never(connection: Connection, rule: Rule) -> Iterator[Oddity]:
    """Yield a warning if *rule* can never match."""
    if (fact := _contradiction(rule.condition)) is not None:
        yield Oddity(f"the rule {rule.name!r} can never match: its conditions on {fact!r} conflict", rule.line)
    operations = connection.profile.operations
    for clause in _needed(rule.condition):
        names = _values(clause.matcher)
        if clause.fact == "operation" and names is not None:
            known = {o.name for o in operations} | ({"unknown"} if connection.allow_unknown else set())
            known |= {WEBSOCKET} if connection.websocket else set()
            if names.isdisjoint(known):
                yield Oddity(
                    f"the rule {rule.name!r} can never match: the profile {connection.profile.name!r} has no operation "
                    f"{' or '.join(sorted(names))}; it has {', '.join(sorted(known))}",
                    rule.line,
                )
        elif (
            (clause.fact in OF_CALL or clause.fact in OF_RESPONSE)
            and clause.matcher != {"exists": False}
            and not any(clause.fact in yields(o) for o in operations)
        ):
            yield Oddity(
                f"the rule {rule.name!r} can never match: no operation of the profile {connection.profile.name!r} "
                f"has the fact {clause.fact!r}",
                rule.line,
            )


def _reaches_writes(connection: Connection, rule: Rule) -> bool:
    """True if the answer to a write could match *rule*."""
    writes = [operation for operation in connection.profile.operations if operation.writes]
    denied = any(r.name == WRITES_RULE and r.effect == "deny" for r in connection.rules.rules)
    if not writes or denied:
        return False
    for clause in _needed(rule.condition):
        names = _values(clause.matcher)
        if clause.fact == "operation" and names is not None and names.isdisjoint(WRITES):
            return False
        if clause.fact in OF_RESPONSE and not any(clause.fact in yields(operation) for operation in writes):
            return False
    return True


def _overruled(rule: Rule, rules: Sequence[Rule], i: int) -> Iterator[Oddity]:
    """Yield a warning if another rule decides all matches of *rule*."""
    for k, other in enumerate(rules):
        if other is rule or other.shadow:
            continue
        stronger = STRENGTH[other.effect] > STRENGTH[rule.effect]
        first = other.effect == rule.effect == "deny" and k < i  # not for approvals: each of these rules has its own
        if (stronger or first) and covers(other.condition, rule.condition):
            which = f"{other.name!r} (line {other.line})"
            if stronger and str(other.condition) == str(rule.condition):
                why = f"contradicts {which}, which asks for {other.effect} under the same condition"
            else:
                why = f"never decides: {which} matches everything that it matches"
            yield Oddity(f"the rule {rule.name!r} {why}", rule.line)
            return


def yields(operation: Operation) -> set[str]:
    """Return the facts that requests and answers of *operation* can have."""
    answer, documents = operation.answer, operation.documents
    searched = operation.index.searches or any("{index}" in t for t in operation.templates)
    known = {
        "operation": True,
        "index": searched or operation.esql is not None,
        "model": bool(operation.model.paths) or any("{model}" in t for t in operation.templates),
        "query": operation.query is not None,
        "documents": documents is not None,
        "document_text": documents is not None,
        "text": True,
        "top_n": operation.top_n is not None or operation.esql is not None or documents is not None,
        "breadth": documents is not None or bool(operation.breadth or operation.top_n or operation.esql),
        "max_tokens": bool(operation.max_tokens),
        "completions": operation.completions is not None,
        "max_output_tokens": bool(operation.max_tokens),
        "return_documents": operation.return_documents is not None,
        "stream": operation.stream is not None,
        "status": True,
        "results": bool(answer.results),
        "top_score": answer.score is not None,
        "bottom_score": answer.score is not None,
        "rank_changes": answer.index is not None or answer.id is not None,
        "invalid_results": bool(answer.results),
        "unordered_results": answer.score is not None,
        "largest_share": answer.source is not None or answer.document_source is not None,
        "result_text": bool(answer.text),
        "tokens": bool(answer.tokens),
    }
    return {name for name, there in known.items() if there}


def covers(one: Node, other: Node) -> bool:
    """True if *one* is provably true in all cases in which *other* is true. Compares only how they are written."""
    if str(one) == str(other):
        return True
    if isinstance(one, Group) and one.word == "any":
        return any(covers(part, other) for part in one.parts)
    needed = list(_needed(other))
    parts = one.parts if isinstance(one, Group) and one.word == "all" else (one,)
    return all(isinstance(part, Clause) and any(_implies(clause, part) for clause in needed) for part in parts)


def _implies(given: Clause, wanted: Clause) -> bool:
    if given.fact != wanted.fact or (given.path and given.path.text) != (wanted.path and wanted.path.text):
        return False
    if given.matcher == wanted.matcher:
        return True
    mine, theirs = _values(given.matcher), _values(wanted.matcher)
    if mine is not None and theirs is not None:
        return mine <= theirs
    inner, outer = _range(given.matcher), _range(wanted.matcher)
    return inner is not None and outer is not None and outer[0] <= inner[0] and inner[1] <= outer[1]


def _contradiction(node: Node) -> str | None:
    """Return a fact on which the conditions of *node* conflict, or None."""
    several: dict[str, list[Clause]] = {}
    for clause in _needed(node):
        if clause.path is None and RESPONSE_FACTS.get(clause.fact) not in ("texts", "list"):
            several.setdefault(clause.fact, []).append(clause)
    for fact, found in several.items():
        ranges = [r for c in found if (r := _range(c.matcher)) is not None]
        if ranges and max(r[0] for r in ranges) >= min(r[1] for r in ranges):
            return fact
        values = [v for c in found if (v := _values(c.matcher)) is not None]
        if values and not set.intersection(*values):
            return fact
    return None


def _needed(node: Node) -> Iterator[Clause]:
    """Yield the clauses that must all be true if *node* is true."""
    if isinstance(node, Clause):
        yield node
    elif node.word == "all":
        for part in node.parts:
            yield from _needed(part)


def _values(matcher: Any) -> set[Any] | None:
    """Return the values that *matcher* accepts. None if it does not list them."""
    if isinstance(matcher, dict):
        if set(matcher) != {"in"}:
            return None
        matcher = matcher["in"]
    return set(matcher) if isinstance(matcher, list) else {matcher}


def _range(matcher: Any) -> tuple[float, float] | None:
    """Return the open interval of numbers that *matcher* accepts. None if it is not an interval."""
    if not isinstance(matcher, dict) or not matcher or not set(matcher) <= {"gt", "ge", "lt", "le"}:
        return None
    low, high = _INFINITE
    for op, number in matcher.items():
        if op in ("gt", "ge"):
            low = max(low, number if op == "gt" else math.nextafter(number, -math.inf))
        else:
            high = min(high, number if op == "lt" else math.nextafter(number, math.inf))
    return low, high
