"""``when``: facts and matchers, compiled at load to closures. Pure, three-valued.

A condition is True, False or None (unknown, because a fact is absent). ``not`` of None is None, and only True makes a
rule apply. A value of a type that the matcher cannot compare raises `UnreadableFact`: for example, an upstream that
reads ``"1000"`` as a number must not get past ``gt``.
"""

import math
import operator
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import Any, Literal

import msgspec

from weir.base.jsonpath import Path, PathError, compile_path, descendants
from weir.base.mistakes import SettingError, did_you_mean, placed
from weir.config.profile_settings import OperationName
from weir.policy import indexes
from weir.policy.facts import (
    ABSENT,
    ANSWER_TEXTS,
    INSTEAD,
    LOOKED_THROUGH,
    NODES,
    REQUEST_FACTS,
    RESPONSE_FACTS,
    TEXTS,
    WEEKDAYS,
    Facts,
    Kind,
)
from weir.policy.text_filter import TextFilter, compile_pattern
from weir.profiles.model import WEBSOCKET
from weir.profiles.texts import Unreadable
from weir.routing.head import METHODS

Condition = Callable[[Facts], bool | None]
#: Returns the (start, end) of a match in one text; None if the clause does not match.
Finds = Callable[[str], tuple[int, int] | None]
Phase = Literal["request", "response"]

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}
#: Names of other languages for our matchers.
_ELSEWHERE = {
    "gte": "ge", "lte": "le", "regex": "matches", "re": "matches", "prefix": "starts_with", "nin": "not_in",
    "eq": "in", "equals": "in", "includes": "contains", "len": "length", "min": "ge", "max": "le",
}  # fmt: skip
_OTHER_FACTS = {
    "document": "document_text", "texts": "text", "prompt": "text", "or": "any", "and": "all",
    "unless": "not", "none": "not", "ip": "client_ip", "group": "groups", "indexes": "index", "indices": "index",
    "result": "result_text", "score": "top_score", "size": "bytes", "day": "weekday", "time": "hour",
}  # fmt: skip
#: Facts with a closed set of values.
_CLOSED: dict[str, tuple[str, ...]] = {
    "weekday": WEEKDAYS,
    "method": tuple(sorted(m.decode() for m in METHODS)),
    "operation": (*typing.get_args(OperationName), "unknown", WEBSOCKET),
}
_TEXT_OPS = ("matches", "starts_with", "contains")
#: Functions for services with index expressions, and for services with plain index names.
_INDEX_OPS = {
    "touches": (indexes.touches, indexes.names_one_of),
    "outside": (indexes.outside, indexes.names_none_of),
}
OPS = (*_COMPARISONS, "in", "not_in", *_TEXT_OPS, "exists", "length", *_INDEX_OPS)


class UnreadableFact(ValueError):
    """A fact has a type that a rule cannot compare. The message is safe to show."""


@dataclass(frozen=True, slots=True)
class Clause:
    """One fact and its matcher, as written. ``path`` is the path of a ``body`` clause."""

    fact: str
    matcher: Any
    test: Condition
    path: Path | None = None
    looks: tuple[str, ...] = ()  # for a clause that searches texts: where, as named in `facts.LOOKED_THROUGH`
    finds: "Finds | None" = None

    def __str__(self) -> str:
        return f"{self.path.text if self.path else self.fact}: {written(self.matcher)}"


@dataclass(frozen=True, slots=True)
class Group:
    """Conditions joined by ``any``, ``all`` or ``not`` (which has one part)."""

    word: Literal["any", "all", "not"]
    parts: tuple["Clause | Group", ...]
    test: Condition

    def __str__(self) -> str:
        if self.word == "not":
            return f"not {{{self.parts[0]}}}"
        inner = ", ".join(map(str, self.parts))
        return inner if self.word == "all" else f"any [{inner}]"


type Node = Clause | Group


class Compiler:
    """Compiles the conditions of all rules of one phase; their text patterns share one `TextFilter` per fact."""

    def __init__(self, phase: Phase, categories: Mapping[str, str] | None = None, *, expressions: bool = True) -> None:
        self._facts = REQUEST_FACTS if phase == "request" else RESPONSE_FACTS
        self._phase = phase
        self._categories = categories or {}
        self._expressions = expressions  # the service supports index expressions
        self._filters: dict[str, TextFilter] = {}
        self._negated = False
        self.needs: set[str] = set()

    def compile(self, when: Any) -> Node:
        """Compile *when*. Raises `SettingError` with the place inside *when*."""
        if not isinstance(when, dict):
            raise SettingError("must be a condition: a mapping of facts to matchers")
        if not when:
            raise SettingError("an empty condition matches nothing; name a fact")
        return _group("all", [self._entry(name, value) for name, value in when.items()])

    def close(self) -> None:
        """Compile the text filters after the last rule."""
        for text_filter in self._filters.values():
            text_filter.close()

    def _entry(self, name: str, value: Any) -> Node:
        if name in ("any", "all"):
            if not isinstance(value, list) or not value:
                raise SettingError("must be a list of conditions", name)
            return _group(name, [self._nested(part, name, i) for i, part in enumerate(value)])  # type: ignore[arg-type]
        if name == "not":
            self._negated = not self._negated
            try:
                return _group("not", [self._nested(value, name)])
            finally:
                self._negated = not self._negated
        if name == "body":
            if not isinstance(value, dict) or not value:
                raise SettingError("must map JSONPaths to matchers", name)
            self.needs.add(name)
            return _group("all", [_body(path, matcher) for path, matcher in value.items()])
        if name == "category":
            return self._category(value)
        if name not in self._facts:
            if name in RESPONSE_FACTS:
                raise SettingError(f"{name!r} is a fact of responses; add `on: response` to the rule", name)
            known = [*self._facts, "body", "category", "any", "all", "not"]
            meant = _OTHER_FACTS.get(name)
            hint = f". Did you mean {meant!r}?" if meant else did_you_mean(name, known)
            if not isinstance(name, str):
                hint = "; a number is written without commas, a text in quotes"
            raise SettingError(f"there is no fact {name!r}{hint}", name)
        kind = self._facts[name]
        if kind == "texts" and _looks_for_text(value) and not self._negated:
            return self._anywhere(name, value)
        self.needs.add(name)
        if kind == "texts" and isinstance(value, dict) and set(value) == {"matches"}:
            return Clause(name, value, self._filtered(name, value["matches"], name, "matches"))
        with placed(name):
            matcher = _addresses(value) if name == "client_ip" else None
            if name == "index":
                matcher = _indexes(value, expressions=self._expressions)
            matcher = matcher or _matcher(value, name, kind)
        return Clause(name, value, _of_fact(name, matcher.one))

    def _anywhere(self, name: str, value: Any) -> Clause:
        """Compile a condition that is true if a text is found. It also searches texts that the profile does not know.

        Under ``not`` it does not: there, a caller could disable the rule with a text in an unknown member.
        """
        looks = LOOKED_THROUGH[name]
        self.needs.add(ANSWER_TEXTS if name == "result_text" else TEXTS)
        if isinstance(value, dict) and set(value) == {"matches"}:
            pattern = value["matches"]
            tests = [self._filtered(fact, pattern, name, "matches") for fact in looks]
            return Clause(name, value, _any_of(tests), looks=looks, finds=_searches(pattern))
        with placed(name):
            member = _matcher(value, name, "text")
        tests = [_of_texts(fact, member) for fact in looks]
        wanted = value.get("contains", "") if isinstance(value, dict) else ""

        def finds(text: str) -> tuple[int, int] | None:
            begin = text.find(wanted)
            return (begin, begin + len(wanted)) if member.one(text) is True else None

        return Clause(name, value, _any_of(tests), looks=looks, finds=finds)

    def _nested(self, part: Any, *location: str | int) -> Node:
        with placed(*location):
            return self.compile(part)

    def _filtered(self, fact: str, pattern: Any, *location: str) -> Condition:
        if not isinstance(pattern, str):
            raise SettingError(f"{pattern!r} is not a text", *location)
        if fact in self._facts:
            self.needs.add(fact)
        text_filter = self._filters.setdefault(fact, TextFilter())
        with placed(*location):
            number = text_filter.add(pattern)
        key = f"{fact} in filter {id(text_filter)}"  # rules on responses have another filter, with other numbers

        def condition(facts: Facts) -> bool | None:
            texts = _texts(facts, fact)
            if texts is ABSENT:
                return None
            found = facts.get(key)
            if found is None:
                found = facts[key] = text_filter.hits(texts)
            return number in found

        return condition

    def _category(self, value: Any) -> Node:
        if isinstance(value, dict) and set(value) == {"in"}:
            value = value["in"]
        named = value if isinstance(value, list) else [value]
        conditions = []
        for name in named:
            if name not in self._categories:
                known = ", ".join(sorted(self._categories)) or "none; define it under `categories` in gateway.yaml"
                hint = did_you_mean(str(name), self._categories)
                raise SettingError(f"there is no category {name!r}{hint}; there are {known}", "category")
            conditions += [self._filtered(fact, self._categories[name], "category") for fact in self._category_looks()]
        looks = self._category_looks()
        if self._negated:
            return Clause("category", value, _any_of(conditions))
        self.needs.update((TEXTS, ANSWER_TEXTS) if self._phase == "response" else (TEXTS,))
        searches = [_searches(self._categories[name]) for name in named]

        def finds(text: str) -> tuple[int, int] | None:
            return next((span for search in searches if (span := search(text)) is not None), None)

        return Clause("category", value, _any_of(conditions), looks=looks, finds=finds)

    def _category_looks(self) -> tuple[str, ...]:
        """Return where a category is searched: all texts; under ``not``, only texts that the profile names."""
        answers = self._phase == "response"
        if self._negated:
            return ("query", "document_text", *(("result_text",) if answers else ()))
        return (*LOOKED_THROUGH["text"], *(LOOKED_THROUGH["category"] if answers else ()))


def _looks_for_text(value: Any) -> bool:
    """True if the matcher is true when a text is found, so that more texts can only make it true more often."""
    if not isinstance(value, dict):
        return True
    if "exists" in value:
        return False
    long = set(value) == {"length"} and isinstance(value["length"], dict) and set(value["length"]) <= {"gt", "ge"}
    return long or bool(set(value) & {"in", *_TEXT_OPS})


def _searches(pattern: Any) -> Finds:
    search = compile_pattern(pattern).search
    return lambda text: None if (match := search(text)) is None else match.span()


def _texts(facts: Facts, name: str) -> Any:
    """Return the texts for *name*. Raises `UnreadableFact` if they cannot be read."""
    found = facts.get(name)
    if found is None:
        return facts[INSTEAD[name]] if name in INSTEAD else facts[name] if name in RESPONSE_FACTS else ABSENT
    if type(found) is Unreadable:
        raise UnreadableFact(found.reason)
    return found


def _of_texts(fact: str, member: "_Matcher") -> Condition:
    def condition(facts: Facts) -> bool | None:
        texts = _texts(facts, fact)
        return None if texts is ABSENT else member.many(texts)

    return condition


def _any_of(conditions: Sequence[Condition]) -> Condition:
    """Return a condition that is True if any of *conditions* is, and None if all are."""

    def condition(facts: Facts) -> bool | None:
        values = [test(facts) for test in conditions]
        return True if True in values else None if all(v is None for v in values) else False

    return condition


def compile_when(when: Any, phase: Phase = "request", categories: Mapping[str, str] | None = None) -> Node:
    """Compile *when* alone. Raises `SettingError` with the place inside *when*."""
    compiler = Compiler(phase, categories)
    node = compiler.compile(when)
    compiler.close()
    return node


def written(value: Any) -> str:
    """Return *value* as it is written in a rule."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {written(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(written, value)) + "]"
    if isinstance(value, str):
        plain = value.replace("-", "").replace("_", "").replace(".", "").isalnum()
        return value if plain else "'" + value.replace("'", "''") + "'"
    return msgspec.json.encode(value).decode()


# Groups.


def _group(word: Literal["any", "all", "not"], parts: list[Node]) -> Node:
    if word != "not" and len(parts) == 1:
        return parts[0]
    tests = [part.test for part in parts]
    test = _any(tests) if word == "any" else _all(tests) if word == "all" else _not(tests[0])
    return Group(word, tuple(parts), test)


def _all(tests: Sequence[Condition]) -> Condition:
    def condition(facts: Facts) -> bool | None:
        unknown = False
        for test in tests:
            value = test(facts)
            if value is False:
                return False
            unknown = unknown or value is None
        return None if unknown else True

    return condition


def _any(tests: Sequence[Condition]) -> Condition:
    return lambda facts: _or([test(facts) for test in tests])


def _not(test: Condition) -> Condition:
    def negated(facts: Facts) -> bool | None:
        value = test(facts)
        return None if value is None else not value

    return negated


def _or(values: list[bool | None]) -> bool | None:
    if True in values:
        return True
    return None if None in values else False


def _of_fact(name: str, test: Callable[[Any], bool | None]) -> Condition:
    return lambda facts: test(facts[name])


def _body(text: str, value: Any) -> Clause:
    try:
        path = compile_path(text)
    except PathError as error:
        raise SettingError(str(error), "body", text) from None
    with placed("body", text):
        matcher = _matcher(value, text, None)

    def condition(facts: Facts) -> bool | None:
        body = facts["body"]
        nodes = None
        if path.descends and body is not ABSENT:  # all such paths share one walk
            nodes = facts.get(NODES)
            if nodes is None:
                nodes = facts[NODES] = descendants(body)
        found = path.find(body, nodes) if body is not ABSENT else []
        if not found:
            return matcher.one(ABSENT)
        return matcher.one(found[0]) if len(found) == 1 else matcher.many(found)

    return Clause("body", value, condition, path)


# Matchers.


class _Matcher:
    """``one`` judges one value; ``many`` returns whether any of several values matches, faster if possible."""

    __slots__ = ("many", "one")

    def __init__(
        self, one: Callable[[Any], bool | None], many: Callable[[list[Any]], bool | None] | None = None
    ) -> None:
        self.one = one
        self.many = many or (lambda values: _or([one(value) for value in values]))


def _matcher(value: Any, name: str, kind: Kind | None) -> _Matcher:
    """Compile the matcher *value* for a fact of *kind* (None: any JSON)."""
    if kind in ("list", "texts"):  # true if it is true for any member
        return _list_matcher(value, name, kind)
    if not isinstance(value, dict):
        return _one_of(value if isinstance(value, list) else [value], kind, name)
    if not value:
        raise SettingError(f"an empty matcher; use one of {', '.join(OPS)}")
    return _both([_operation(op, operand, name, kind) for op, operand in value.items()])


def _list_matcher(value: Any, name: str, kind: Kind) -> _Matcher:
    whole = {"exists"} | ({"length"} if kind == "list" else set())
    if isinstance(value, dict) and set(value) & whole:
        if len(value) > 1:
            raise SettingError("`exists` and `length` of a list stand alone; write two conditions under `all`")
        ((op, operand),) = value.items()
        return _operation(op, operand, name, "list")
    member = _matcher(value, name, "text")
    return _Matcher(lambda found: None if found is ABSENT else member.many(found))


def _operation(op: str, operand: Any, name: str, kind: Kind | None) -> _Matcher:
    if op == "exists":
        if not isinstance(operand, bool):
            raise SettingError("must be true or false", op)
        return _Matcher(lambda found: (found is not ABSENT) is operand)
    if op in ("in", "not_in"):
        if not isinstance(operand, list) or not operand:
            raise SettingError("must be a list of values", op)
        inner = _one_of(operand, kind, name, op)
        if op == "in":
            return inner
        one = inner.one

        def none_of(found: Any) -> bool | None:
            equal = one(found)
            return None if equal is None else not equal

        return _Matcher(none_of)
    if op in _COMPARISONS:
        if type(operand) not in (int, float) or not math.isfinite(operand):
            raise SettingError(f"{operand!r} is not a number", op)
        if kind not in ("number", None):
            raise SettingError(f"{name!r} is not a number; use matches, starts_with, contains or length", op)
        return _number(op, operand, name)
    if op in _TEXT_OPS:
        if not isinstance(operand, str):
            raise SettingError(f"{operand!r} is not a text", op)
        if kind not in ("text", None):
            raise SettingError(f"{name!r} is not a text; use gt, ge, lt or le", op)
        return _text(op, operand, name)
    if op == "length":
        if kind in ("number", "boolean"):
            raise SettingError(f"{name!r} is a {kind} and has no length", op)
        with placed(op):
            return _length(_matcher(operand, f"length of {name}", "number"), name)
    if op in _INDEX_OPS:
        if name != "index":
            raise SettingError(f"{op!r} is for the fact 'index' only", op)
        raise SettingError("stands alone; write two conditions under `all`", op)
    meant = _ELSEWHERE.get(op)
    hint = f". Did you mean {meant!r}?" if meant else did_you_mean(op, OPS)
    if not isinstance(op, str):
        hint = "; a number is written without commas, as 1000"
    raise SettingError(f"there is no matcher {op!r}{hint}", op)


_NUMBERS, _TEXTS, _LONG = frozenset((int, float)), frozenset((str,)), frozenset((str, list, dict))
_TYPES: dict[str, frozenset[type]] = {"number": _NUMBERS, "text": _TEXTS, "boolean": frozenset((bool,))}
_WANTED = {"number": "a number", "text": "a text", "boolean": "true or false"}


def _one_of(values: list[Any], kind: Kind | None, name: str, *location: str) -> _Matcher:
    """Match values equal to one of *values*. Refuse values of another type, because the service may convert them."""
    for i, value in enumerate(values):
        if kind in _WANTED and type(value) not in _TYPES[kind]:
            message = f"{name!r} is {_WANTED[kind]}, {value!r} is not"
            raise SettingError(message, *location, *([i] if len(values) > 1 else []))
        if isinstance(value, dict | list):
            raise SettingError("must be a text, a number, true, false or null", *location)
        if name in _CLOSED and value not in _CLOSED[name]:
            hint = did_you_mean(str(value).lower(), _CLOSED[name]) or did_you_mean(str(value).upper(), _CLOSED[name])
            raise SettingError(f"{value!r} is no {name}{hint or '; there are ' + ', '.join(_CLOSED[name])}", *location)
        if name == "path" and not str(value).startswith("/"):
            raise SettingError(
                f"{value!r} is not a path: it must start with '/', relative to the connection's path", *location
            )
    allowed = {(_type_of(value), value) for value in values}
    types = {kind for kind, _ in allowed}
    (only,) = types if len(types) == 1 else ("",)
    plain = {value for _, value in allowed} if only else set()
    quick = _TYPES.get(only, frozenset())

    def one(found: Any) -> bool | None:
        if type(found) in quick:
            return found in plain
        if found is ABSENT:
            return None
        kind = _type_of(found)
        if kind not in types and kind != "null":
            raise UnreadableFact(f"{name!r} is a {kind}, but a rule compares it with a {' or '.join(sorted(types))}")
        return (kind, found) in allowed

    def many(found: list[Any]) -> bool | None:
        if quick.issuperset(map(type, found)):
            return not plain.isdisjoint(found)
        return _or([one(value) for value in found])

    return _Matcher(one, many)


def _type_of(value: Any) -> str:
    """Return the JSON type. Here true is not 1, although a service may treat them alike."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "text" if isinstance(value, str) else "list" if isinstance(value, list) else "object"


def _number(op: str, operand: float, name: str) -> _Matcher:
    compare = _COMPARISONS[op]
    extreme: Callable[[list[Any]], Any] = max if op in ("gt", "ge") else min

    def one(found: Any) -> bool | None:
        if type(found) is int or type(found) is float:
            return compare(found, operand)
        if found is ABSENT:
            return None
        raise UnreadableFact(f"{name!r} is not a number, but a rule compares it as one")

    def many(found: list[Any]) -> bool | None:
        if found and _NUMBERS.issuperset(map(type, found)):
            return compare(extreme(found), operand)
        return _or([one(value) for value in found])

    return _Matcher(one, many)


def _text(op: str, operand: str, name: str) -> _Matcher:
    test: Callable[[str], bool]
    among: Callable[[list[str]], bool]
    if op == "matches":
        text_filter = TextFilter()
        with placed(op):
            text_filter.add(operand)
        text_filter.close()
        search = compile_pattern(operand).search
        test = lambda text: search(text) is not None  # noqa: E731
        among = lambda texts: bool(text_filter.hits(texts))  # noqa: E731
    elif op == "starts_with":
        test = lambda text: text.startswith(operand)  # noqa: E731
        among = lambda texts: any(map(test, texts))  # noqa: E731
    else:
        test = lambda text: operand in text  # noqa: E731
        among = lambda texts: operand in "\n".join(texts) and any(map(test, texts))  # noqa: E731

    def one(found: Any) -> bool | None:
        if type(found) is str:
            return test(found)
        if found is ABSENT:
            return None
        raise UnreadableFact(f"{name!r} is not a text, but a rule compares it as one")

    def many(found: list[Any]) -> bool | None:
        if _TEXTS.issuperset(map(type, found)):
            return among(found)
        return _or([one(value) for value in found])

    return _Matcher(one, many)


def _addresses(value: Any) -> _Matcher | None:
    """Match an address in one of the networks in *value*, such as ``10.0.0.0/8``; None if *value* has none."""
    matcher = value.get("in", value.get("not_in")) if isinstance(value, dict) and len(value) == 1 else value
    texts = matcher if isinstance(matcher, list) else [matcher]
    if not texts or not all(isinstance(text, str) for text in texts) or (matcher is value and isinstance(value, dict)):
        return None
    networks = []
    for text in map(str, texts):
        try:
            networks.append(ip_network(text))
        except ValueError as error:
            raise SettingError(f"{text!r} is not an address or network ({error})") from None
    wanted = not (isinstance(value, dict) and "not_in" in value)

    def one(found: Any) -> bool | None:
        try:
            address = ip_address(found)
        except ValueError:
            return None
        return any(address in network for network in networks) is wanted

    return _Matcher(one)


def _indexes(value: Any, *, expressions: bool) -> _Matcher | None:
    """Compile ``touches`` or ``outside``; None for other matchers."""
    if not isinstance(value, dict) or len(value) != 1 or not set(value) <= set(_INDEX_OPS):
        return None
    ((op, operand),) = value.items()
    patterns = tuple(operand) if isinstance(operand, list) else (operand,)
    if not patterns or not all(isinstance(p, str) and p for p in patterns):
        raise SettingError("must be an index name or pattern, or a list of them", op)
    judge = _INDEX_OPS[op][0 if expressions else 1]
    return _Matcher(lambda found: None if found is ABSENT else any(judge(name, patterns) for name in found))


def _length(inner: _Matcher, name: str) -> _Matcher:
    def one(found: Any) -> bool | None:
        if found is ABSENT:
            return None
        if not isinstance(found, str | list | dict):
            raise UnreadableFact(f"{name!r} has no length, but a rule compares its length")
        return inner.one(len(found))

    def many(found: list[Any]) -> bool | None:
        if _LONG.issuperset(map(type, found)):
            return inner.many(list(map(len, found)))
        return _or([one(value) for value in found])

    return _Matcher(one, many)


def _both(matchers: list[_Matcher]) -> _Matcher:
    if len(matchers) == 1:
        return matchers[0]

    def one(found: Any) -> bool | None:
        values = [m.one(found) for m in matchers]
        return False if False in values else None if None in values else True

    return _Matcher(one)
