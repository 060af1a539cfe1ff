"""Compile a connection's rules, limits and circuit breaker from its settings. All mistakes are collected."""

import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from weir.approvals.model import Terms
from weir.approvals.terms import compile_terms
from weir.base.duration import seconds
from weir.base.mistakes import SettingError, at, placed
from weir.config.load import Document
from weir.config.model import CategorySettings, ConnectionSettings, LimitSettings, RuleSettings, TripSettings
from weir.policy.breaker import Trip
from weir.policy.conditions import Compiler, Node, Phase
from weir.policy.facts import REQUEST_FACTS, RESPONSE_FACTS, RESULT_TEXT
from weir.policy.limits import Concurrency, Limit, compile_limit
from weir.policy.rules import Rule, Rules, clauses
from weir.policy.text_filter import compile_pattern, term_pattern
from weir.profiles.model import WRITES
from weir.profiles.profile import Profile

Document_ = Document[ConnectionSettings]
#: Adds the issuer's name to a group as written in a policy. Raises `SettingError`.
ResolveGroup = Callable[[str], str]

#: Keys that a limit may be counted by, besides facts.
_OWNERS = ("user", "group", "connection")
_COUNTABLE = [name for name, kind in REQUEST_FACTS.items() if kind != "texts" and name not in (*_OWNERS, "groups")]
_MOST_TERM_BYTES = 4 << 20
_NOBODY = "no reviewers; add `reviewers` under `approval`, in the rule or in the connection"
#: The name of the rule that ``writes:`` creates.
WRITES_RULE = "writes"
#: Rule names in decisions that no rule has made.
_RESERVED = frozenset((WRITES_RULE, "access", "stop", "trip"))


def compile_rules(
    document: Document_,
    profile: Profile | None,
    resolve: ResolveGroup,
    categories: Mapping[str, str],
    schedules: Collection[str],
    errors: list[SettingError],
) -> tuple[Rules, Rules]:
    """Compile the rules on requests and on responses; add mistakes to *errors*."""
    settings = document.settings
    expressions = profile is None or profile.index_expressions
    compilers: dict[Phase, Compiler] = {
        "request": Compiler("request", categories, expressions=expressions),
        "response": Compiler("response", categories, expressions=expressions),
    }
    found: dict[Phase, list[Rule]] = {"request": [], "response": []}
    common = Terms()  # the connection's approval settings are checked once, at their own place
    with at(errors, "approval"):
        common = compile_terms(settings.approval, None, resolve, schedules, (), REQUEST_FACTS)
    seen: set[str] = set()
    for i, rule in enumerate(settings.rules):
        with at(errors, "rules", i):
            if rule.name in _RESERVED:
                raise SettingError(
                    f"{rule.name!r} is reserved for decisions of the gateway itself; choose another", "name"
                )
            if rule.name in seen:
                raise SettingError(f"{rule.name!r} is already the name of a rule above", "name")
            seen.add(rule.name)
            found[rule.on].append(
                _rule(rule, compilers[rule.on], resolve, categories, schedules, document, document.line("rules", i))
            )
    if settings.writes != "allow" and profile is not None and profile.writes:
        when = {"operation": sorted(WRITES)}
        if settings.writes == "require_approval" and "writes" in settings.model_fields_set and not common.somebody:
            errors.append(SettingError(_NOBODY, "writes"))
        found["request"].append(
            Rule(
                terms=common,
                digest=_digest(settings, {"writes": settings.writes}, common),
                name=WRITES_RULE,
                condition=compilers["request"].compile(when),
                effect=settings.writes,
                message="Requests that change data are not allowed here."
                if settings.writes == "deny"
                else "Requests that change data need a reviewer's approval here.",
                shadow=False,
                file=document.file,
                line=document.line("writes" if "writes" in settings.model_fields_set else "profile"),
            )
        )
    for compiler in compilers.values():
        compiler.close()
    return (
        Rules(tuple(found["request"]), frozenset(compilers["request"].needs)),
        Rules(tuple(found["response"]), frozenset(compilers["response"].needs)),
    )


def _rule(
    rule: RuleSettings,
    compiler: Compiler,
    resolve: ResolveGroup,
    categories: Mapping[str, str],
    schedules: Collection[str],
    document: Document_,
    line: int,
) -> Rule:
    with placed("when"):
        condition = compiler.compile(_resolve_groups(rule.when, resolve))
    if rule.on == "response" and rule.effect == "require_approval":
        for clause in clauses(condition):
            if clause.fact == "operation" and not WRITES.isdisjoint(_values(clause.matcher)):
                raise SettingError("a write is done before its response can be approved; use `on: request`", "on")
    terms = Terms()
    if rule.effect == "require_approval":
        common = document.settings.approval
        known = REQUEST_FACTS if rule.on == "request" else RESPONSE_FACTS
        with placed("approval"):
            terms = compile_terms(rule.approval, common, resolve, schedules, _named(condition), known)
        if not terms.somebody and not rule.shadow:
            raise SettingError(_NOBODY, "approval" if rule.approval else "effect")
        compiler.needs.update(name for name in terms.same if name in known)
    elif rule.approval is not None:
        raise SettingError("only rules with the effect require_approval have approval settings", "approval")
    says = rule.model_dump(mode="json", by_alias=True, exclude={"approval", "shadow"})
    lists = {name: categories[name] for name in _categories(condition)}
    digest = _digest(document.settings, [says, lists], terms)
    return Rule(rule.name, condition, rule.effect, rule.message, rule.shadow, document.file, line, terms, digest)


def _named(node: Node) -> Iterator[str]:
    """Yield the facts that a condition names, in the form of `Terms.same`; ``body:`` is before a path into the body."""
    for clause in clauses(node):
        if clause.path is not None:
            yield f"body:{clause.path.text}"
        elif clause.fact == "category":
            yield from ("query", "document_text")
        else:
            yield clause.fact
        if clause.looks:  # it searches more than its fact
            yield from ("text",) if RESULT_TEXT not in clause.looks else ("text", "result_text")


def _categories(node: Node) -> Iterator[str]:
    """Yield the categories that a condition names."""
    for clause in clauses(node):
        if clause.fact == "category":
            yield from _values(clause.matcher)


def _digest(settings: ConnectionSettings, says: Any, terms: Terms) -> str:
    """Return the digest that binds an approval, besides the request: the rule, its reviewers, and the upstream."""
    whole = [settings.connection, settings.upstream, says, repr(terms)]
    return hashlib.sha256(json.dumps(whole, sort_keys=True, default=str).encode()).hexdigest()


def _values(matcher: Any) -> set[str]:
    if isinstance(matcher, dict):
        matcher = matcher.get("in", [])
    return {value for value in (matcher if isinstance(matcher, list) else [matcher]) if isinstance(value, str)}


def _resolve_groups(when: Any, resolve: ResolveGroup) -> Any:
    """Return *when* with the issuer's name added to every plain value of the fact ``groups``."""
    if not isinstance(when, dict):
        return when  # reported when the condition is compiled
    resolved: dict[Any, Any] = {}
    for name, value in when.items():
        resolved[name] = value
        if name in ("any", "all") and isinstance(value, list):
            resolved[name] = parts = []
            for i, part in enumerate(value):
                with placed(name, i):
                    parts.append(_resolve_groups(part, resolve))
        elif name in ("not", "groups"):
            with placed(name):
                resolved[name] = (_resolve_groups if name == "not" else _resolve_values)(value, resolve)
    return resolved


def _resolve_values(value: Any, resolve: ResolveGroup) -> Any:
    if isinstance(value, str):
        return resolve(value)
    if isinstance(value, list):
        return [_resolve_values(v, resolve) for v in value]
    if isinstance(value, dict):
        return {op: _resolve_values(v, resolve) if op in ("in", "not_in") else v for op, v in value.items()}
    return value


def compile_limits(document: Document_, errors: list[SettingError]) -> tuple[Limit | Concurrency, ...]:
    """Compile the connection's limits; add mistakes to *errors*."""
    limits = []
    for i, limit in enumerate(document.settings.limits):
        with at(errors, "limits", i):
            limits.append(_limit(document.settings.connection, i, limit, document.line("limits", i)))
    return tuple(limits)


def _limit(connection: str, i: int, settings: LimitSettings, line: int) -> Limit | Concurrency:
    if settings.per not in _OWNERS and settings.per not in _COUNTABLE:
        known = ", ".join([*_OWNERS, *_COUNTABLE])
        raise SettingError(f"{settings.per!r} is not a key that a limit can count by; use one of {known}", "per")
    if (settings.rate is None) == (settings.concurrent is None):
        raise SettingError("write either a `rate`, e.g. 60/minute, or `concurrent`, a number of requests in progress")
    if settings.concurrent is not None:
        if settings.count != "requests" or settings.burst is not None:
            raise SettingError("`concurrent` counts requests, and takes no `count` or `burst`", "concurrent")
        return Concurrency(
            f"{connection}-concurrent-per-{settings.per}-{i + 1}", settings.concurrent, settings.per, line
        )
    assert settings.rate is not None
    name = f"{connection}-{settings.count}-per-{settings.per}-{i + 1}"
    return compile_limit(name, settings.rate, settings.per, settings.count, settings.burst, line)


def compile_trip(settings: TripSettings | None, line: int) -> Trip | None:
    """Compile the circuit breaker's settings, which are at *line*. Raises `SettingError`."""
    if settings is None:
        return None
    percent = settings.errors.removesuffix("%")
    if percent == settings.errors or not percent.isdecimal() or not 1 <= int(percent) <= 100:
        raise SettingError(f"{settings.errors!r} is not a share; write e.g. 50%", "errors")
    try:
        over = seconds(settings.over)
    except ValueError as error:
        raise SettingError(str(error), "over") from None
    return Trip(int(percent) / 100, over, settings.least, line)


def compile_category(settings: CategorySettings, folder: Path) -> str:
    """Compile a category's terms to an RE2 pattern. Raises `SettingError`."""
    terms = list(settings.terms)
    if settings.file is not None:
        try:
            data = (folder / settings.file).read_bytes()
            lines = data.decode().splitlines()
        except OSError as error:
            raise SettingError(f"{settings.file} cannot be read ({error.strerror}); check the path", "file") from None
        except UnicodeDecodeError:
            raise SettingError(f"{settings.file} is not UTF-8", "file") from None
        terms += [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    terms = [term for term in dict.fromkeys(" ".join(t.split()) for t in terms) if term]
    if not terms:
        raise SettingError("has no terms; list them under `terms`, or in a `file` with one term per line")
    pattern = term_pattern(terms)
    if len(pattern) > _MOST_TERM_BYTES:
        raise SettingError(f"has too many terms ({len(terms)}); split it into several categories")
    compile_pattern(pattern)
    return pattern
