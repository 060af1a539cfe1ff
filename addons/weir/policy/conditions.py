"""``when``: facts and matchers, compiled at load to closures. Pure, three-valued.

A condition is True, False or None (unknown, because a fact is absent); ``not`` of None is None, and
only True makes a rule count. A value that is there but of a type that the matcher cannot compare
raises `UnreadableFact`: an upstream that reads ``"1000"`` as a number must not get past ``gt``.
"""

import operator
from collections.abc import Callable
from typing import Any

import re2

from weir.config.load import did_you_mean
from weir.config.problems import SettingError
from weir.jsonpath import PathError, compile_path
from weir.policy.model import ABSENT, Facts

Condition = Callable[[Facts], bool | None]
_Matcher = Callable[[Any], bool | None]

#: Every fact of a request, and the type of its value.
FACTS: dict[str, type] = {
    "user": str, "groups": list, "issuer": str, "connection": str, "client_ip": str,
    "method": str, "path": str, "operation": str, "index": list, "model": str, "query": str,
    "documents": int, "top_n": int, "bytes": int,
}  # fmt: skip

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
}
#: What other languages call ours.
_ELSEWHERE = {"gte": "ge", "lte": "le", "regex": "matches", "re": "matches", "prefix": "starts_with", "nin": "not_in"}
_TEXT_OPS = ("matches", "starts_with", "contains")
_OPS = (*_COMPARISONS, "in", "not_in", *_TEXT_OPS, "exists", "length")


class UnreadableFact(ValueError):
    """A fact is there but is not of the type that a rule compares; the text is safe to show."""


def compile_when(when: dict[str, Any]) -> Condition:
    """The condition that *when* describes. Raises `SettingError` placed within it."""
    if not when:
        raise SettingError("an empty condition matches nothing; name a fact")
    return _all([_entry(name, value) for name, value in when.items()])


def _entry(name: str, value: Any) -> Condition:
    if name in ("any", "all"):
        if not isinstance(value, list) or not value:
            raise SettingError("must be a list of conditions", name)
        parts = [_nested(part, name, i) for i, part in enumerate(value)]
        return _any(parts) if name == "any" else _all(parts)
    if name == "not":
        return _not(_nested(value, name))
    if name == "body":
        if not isinstance(value, dict) or not value:
            raise SettingError("must map JSONPaths to matchers", name)
        return _all([_body(path, matcher) for path, matcher in value.items()])
    if name not in FACTS:
        raise SettingError(
            f"there is no fact {name!r}{did_you_mean(name, [*FACTS, 'body', 'any', 'all', 'not'])}", name
        )
    matcher = _located(value, name, kind=FACTS[name], location=(name,))
    return lambda facts: matcher(facts[name])


def _nested(part: Any, *location: str | int) -> Condition:
    if not isinstance(part, dict):
        raise SettingError("must be a condition: a mapping of facts to matchers", *location)
    try:
        return compile_when(part)
    except SettingError as error:
        raise SettingError(error.message, *location, *error.location) from None


def _body(text: str, value: Any) -> Condition:
    try:
        path = compile_path(text)
    except PathError as error:
        raise SettingError(str(error), "body", text) from None
    matcher = _located(value, text, kind=None, location=("body", text))

    def condition(facts: Facts) -> bool | None:
        body = facts["body"]
        found = path.find(body) if body is not ABSENT else []
        if not found:
            return matcher(ABSENT)
        return _or([matcher(value) for value in found])

    return condition


def _located(value: Any, name: str, *, kind: type | None, location: tuple[str, ...]) -> _Matcher:
    try:
        return _matcher(value, name, kind)
    except SettingError as error:
        raise SettingError(error.message, *location, *error.location) from None


def _matcher(value: Any, name: str, kind: type | None) -> _Matcher:
    """The matcher that *value* describes, for a fact of type *kind* (None: any JSON)."""
    if kind is list:  # holds where it holds for any member; only `exists` and `length` ask for the whole
        return _list_matcher(value, name)
    if not isinstance(value, dict):
        return _one_of(value if isinstance(value, list) else [value], kind, name)
    if not value:
        raise SettingError(f"an empty matcher; use one of {', '.join(_OPS)}")
    return _both([_operation(op, operand, name, kind) for op, operand in value.items()])


def _list_matcher(value: Any, name: str) -> _Matcher:
    if isinstance(value, dict) and set(value) & {"exists", "length"}:
        if len(value) > 1:
            raise SettingError("`exists` and `length` of a list stand alone")
        ((op, operand),) = value.items()
        return _operation(op, operand, name, list)
    member = _matcher(value, name, str)

    def matcher(found: Any) -> bool | None:
        return None if found is ABSENT else _or([member(item) for item in found])

    return matcher


def _operation(op: str, operand: Any, name: str, kind: type | None) -> _Matcher:
    if op == "exists":
        if not isinstance(operand, bool):
            raise SettingError("must be true or false", op)
        return lambda found: (found is not ABSENT) is operand
    if op in ("in", "not_in"):
        if not isinstance(operand, list) or not operand:
            raise SettingError("must be a list of values", op)
        inner = _one_of(operand, kind, name, op)
        if op == "in":
            return inner
        return lambda found: None if found is ABSENT else not inner(found)
    if op in _COMPARISONS:
        if type(operand) not in (int, float):
            raise SettingError(f"{operand!r} is not a number", op)
        if kind not in (int, None):
            raise SettingError(f"{name!r} is not a number; use matches, starts_with, contains or length", op)
        return _number(op, operand, name)
    if op in _TEXT_OPS:
        if not isinstance(operand, str):
            raise SettingError(f"{operand!r} is not a text", op)
        if kind not in (str, None):
            raise SettingError(f"{name!r} is not a text; use gt, ge, lt or le", op)
        return _text(op, operand, name)
    if op == "length":
        if kind is int:
            raise SettingError(f"{name!r} is a number and has no length", op)
        try:
            inner = _matcher(operand, f"length of {name}", int)
        except SettingError as error:
            raise SettingError(error.message, op, *error.location) from None
        return _length(inner, name)
    meant = _ELSEWHERE.get(op)
    hint = f". Did you mean {meant!r}?" if meant else did_you_mean(op, _OPS)
    raise SettingError(f"there is no matcher {op!r}{hint}", op)


def _one_of(values: list[Any], kind: type | None, name: str, *location: str) -> _Matcher:
    """Equal to one of *values*. A value of another type is refused: the service may coerce it to one of them."""
    for i, value in enumerate(values):
        if kind is not None and type(value) is not kind:
            wanted = {int: "a number", str: "a text"}[kind]
            raise SettingError(f"{name!r} is {wanted}, {value!r} is not", *location, *([i] if len(values) > 1 else []))
        if isinstance(value, dict | list):
            raise SettingError("must be a text, a number, true, false or null", *location)
    allowed = {(_type_of(value), value) for value in values}
    types = {kind for kind, _ in allowed}

    def matcher(found: Any) -> bool | None:
        if found is ABSENT:
            return None
        kind = _type_of(found)
        if kind not in types and kind != "null":
            raise UnreadableFact(f"{name!r} is a {kind}, and a rule compares it with a {' or '.join(sorted(types))}")
        return (kind, found) in allowed

    return matcher


def _type_of(value: Any) -> str:
    """The JSON type: true is not 1 here, for a service may take one for the other."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "text" if isinstance(value, str) else "list" if isinstance(value, list) else "object"


def _number(op: str, operand: float, name: str) -> _Matcher:
    compare = _COMPARISONS[op]

    def matcher(found: Any) -> bool | None:
        if found is ABSENT:
            return None
        if type(found) is not int and type(found) is not float:
            raise UnreadableFact(f"{name!r} is not a number, and a rule compares it as one")
        return compare(found, operand)

    return matcher


def _text(op: str, operand: str, name: str) -> _Matcher:
    test: Callable[[str], bool]
    if op == "matches":
        options = re2.Options()
        options.log_errors = False
        try:
            search = re2.compile(operand, options).search
        except re2.error as error:
            reason = error.args[0].decode() if isinstance(error.args[0], bytes) else error.args[0]
            raise SettingError(f"not an RE2 expression: {reason}", op) from None
        test = lambda text: search(text) is not None  # noqa: E731
    elif op == "starts_with":
        test = lambda text: text.startswith(operand)  # noqa: E731
    else:
        test = lambda text: operand in text  # noqa: E731

    def matcher(found: Any) -> bool | None:
        if found is ABSENT:
            return None
        if type(found) is not str:
            raise UnreadableFact(f"{name!r} is not a text, and a rule compares it as one")
        return test(found)

    return matcher


def _length(inner: _Matcher, name: str) -> _Matcher:
    def matcher(found: Any) -> bool | None:
        if found is ABSENT:
            return None
        if not isinstance(found, str | list | dict):
            raise UnreadableFact(f"{name!r} has no length, and a rule compares it")
        return inner(len(found))

    return matcher


def _or(values: list[bool | None]) -> bool | None:
    if True in values:
        return True
    return None if None in values else False


def _both(matchers: list[_Matcher]) -> _Matcher:
    if len(matchers) == 1:
        return matchers[0]

    def matcher(found: Any) -> bool | None:
        values = [m(found) for m in matchers]
        return False if False in values else None if None in values else True

    return matcher


def _all(conditions: list[Condition]) -> Condition:
    if len(conditions) == 1:
        return conditions[0]

    def condition(facts: Facts) -> bool | None:
        unknown = False
        for part in conditions:
            value = part(facts)
            if value is False:
                return False
            unknown = unknown or value is None
        return None if unknown else True

    return condition


def _any(conditions: list[Condition]) -> Condition:
    return lambda facts: _or([part(facts) for part in conditions])


def _not(condition: Condition) -> Condition:
    def negated(facts: Facts) -> bool | None:
        value = condition(facts)
        return None if value is None else not value

    return negated
