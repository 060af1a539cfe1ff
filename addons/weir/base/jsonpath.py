"""JSONPath for policies: jsonpath-ng parses it at load, our own closures evaluate it.

Supported, with the meaning of RFC 9535: ``$``, ``.name``, ``['name']``, ``['a','b']``, ``[0]``,
``[-1]``, ``[1:3]``, ``[*]``, ``.*``, ``..`` and filters like ``[?@.type == 'email' && @.verified]``. Everything else
that jsonpath-ng accepts (arithmetic, sorting, regular expressions) is refused at load with the reason, because it
differs from the RFC, runs slowly or fails to update. jsonpath-ng's own ``update`` is never called.
"""

import operator
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import jsonpath_rfc9535
from jsonpath_ng import jsonpath as tree
from jsonpath_ng.exceptions import JSONPathError
from jsonpath_ng.ext import filter as filters
from jsonpath_ng.ext.parser import ExtendedJsonPathParser

#: A parsed JSON value.
Json = Any
#: One place in a document: its container, and the key or index within it.
Slot = tuple[Any, Any]

_Select = Callable[[list[Json]], list[Json]]
_Keys = Callable[[Json], Iterable[Any]]


class _Step(NamedTuple):
    """One selector: the keys that it selects in a node (for writing), and the values in many nodes at once (fast).

    *name* is its normalised spelling: two steps with the same name select the same values.
    """

    name: str
    keys: _Keys
    values: _Select
    member: str | None = None  # the member name, if it selects a single member


_WHOLE_SLICE = re.compile(r"\[\s*:\s*:?\s*\]")
_parser = ExtendedJsonPathParser()


class PathError(ValueError):
    """An expression that is not JSONPath, or that this gateway does not evaluate."""


class Path:
    """A compiled expression.

    `find` returns the selected values, `slots` their places (for writing); both in document order. Selecting in a value
    of another type returns nothing and does not raise.
    """

    __slots__ = ("_among", "_inner", "_last", "names", "steps", "text")

    def __init__(
        self,
        text: str,
        inner: _Select,
        last: _Step | None,
        names: tuple[str, ...] | None = None,
        among: _Select | None = None,
        steps: tuple[tuple[bool, _Step], ...] = (),
    ) -> None:
        self.text = text
        self.steps = steps  # each with True if it selects from all descendants
        self._among = among  # for a path that begins with a descent: the remaining steps, applied to all nodes
        self.names = names  # for a path that consists of member names only
        self._inner = inner
        self._last = last

    def __repr__(self) -> str:
        return f"Path({self.text!r})"

    def slots(self, document: Json) -> list[Slot]:
        """Return every (container, key) that the expression selects; none for ``$`` alone."""
        if self._last is None:
            return []
        keys = self._last.keys
        return [(node, key) for node in self._inner([document]) for key in keys(node)]

    def find(self, document: Json, nodes: list[Json] | None = None) -> list[Json]:
        """Return every selected value. Pass *nodes*, the document's `descendants`, if they are known."""
        if nodes is not None and self._among is not None:
            return self._among(nodes)
        inner = self._inner([document])
        return inner if self._last is None else self._last.values(inner)

    @property
    def first_member(self) -> str | None:
        """The member of the document in which all selected values are; None if it is not a single one."""
        descend, step = self.steps[0] if self.steps else (True, None)
        return None if descend or step is None else step.member

    @property
    def last_member(self) -> str | None:
        """The name of the member that the last step selects; None if it is not a single one."""
        return self.steps[-1][1].member if self.steps else None

    @property
    def descends(self) -> bool:
        """True if it begins with ``..``, so that it can share a walk with other paths."""
        return self._among is not None

    def first(self, document: Json, default: Json = None) -> Json:
        """Return the first selected value, or *default*."""
        if self.names is not None:
            for name in self.names:
                if type(document) is not dict or name not in document:
                    return default
                document = document[name]
            return document
        return next(iter(self.find(document)), default)

    @property
    def selects_document(self) -> bool:
        """True for ``$``, which has no container to write into."""
        return self._last is None


def compile_path(text: str) -> Path:
    """Compile *text*. Raises `PathError` with the reason if it cannot have the meaning of RFC 9535."""
    if not isinstance(text, str) or not text.startswith("$"):
        raise PathError(f"{text!r} is not a JSONPath: it must start with '$'")
    for forbidden, why in (
        ("\\", "libraries read escapes in names differently"),
        ("'*'", "a member named '*' cannot be distinguished from the wildcard"),
        ('"*"', "a member named '*' cannot be distinguished from the wildcard"),
    ):
        if forbidden in text:
            raise PathError(f"{text!r}: {why}")
    if _WHOLE_SLICE.search(text):
        raise PathError(f"{text!r}: a slice of everything cannot be distinguished from the wildcard; write [*]")
    hint = "write a name with characters other than letters, digits and _ as ['name']"
    try:
        jsonpath_rfc9535.compile(text)
    except jsonpath_rfc9535.JSONPathError as error:
        raise PathError(f"{text!r} is not a JSONPath of RFC 9535 ({str(error).splitlines()[0]}); {hint}") from None
    try:
        parsed = _parser.parse(text)
    except (JSONPathError, ValueError, AttributeError, TypeError) as error:
        raise PathError(f"{text!r} is not a JSONPath ({str(error).splitlines()[0]}); {hint}") from None
    steps = _steps(text, parsed)
    if not steps:
        return Path(text, lambda nodes: nodes, None, ())
    select: _Select = lambda nodes: nodes  # noqa: E731
    for descend, step in steps[:-1]:
        select = _then(step.values, _descending(select) if descend else select)
    descend, step = steps[-1]
    among = None
    if steps[0][0]:
        among = steps[0][1].values
        for descend_again, later in steps[1:]:
            among = _then(later.values, _descending(among) if descend_again else among)
    return Path(text, _descending(select) if descend else select, step, _names(parsed), among, tuple(steps))


class Paths:
    """Evaluates many expressions in one walk. Their common prefixes are walked once."""

    __slots__ = ("_roots",)

    def __init__(self, paths: Iterable[tuple[Path, int]]) -> None:
        """*paths*: each path, with the number that `slots` returns for it."""
        self._roots: list[_Branch] = []
        for path, number in paths:
            branches = self._roots
            for position, (descend, step) in enumerate(path.steps):
                branch = next((b for b in branches if (b.descend, b.step.name) == (descend, step.name)), None)
                if branch is None:
                    branch = _Branch(descend, step)
                    branches.append(branch)
                if position == len(path.steps) - 1:
                    branch.ends.append(number)
                branches = branch.branches

    def slots(self, document: Json) -> list[tuple[int, Any, Any]]:
        """Return every (number of the path, container, key): the results of `Path.slots` of all paths, in any order."""
        found: list[tuple[int, Any, Any]] = []
        self._walk(self._roots, [document], found)
        return found

    def _walk(self, branches: "list[_Branch]", at: list[Json], found: list[tuple[int, Any, Any]]) -> None:
        below: list[Json] | None = None
        for branch in branches:
            nodes = at
            if branch.descend:
                if below is None:
                    below = _containers(at)
                nodes = below
            if branch.ends:
                name = branch.step.member
                if name is not None:
                    holders = [node for node in nodes if type(node) is dict and name in node]
                    found += [(number, node, name) for node in holders for number in branch.ends]
                else:
                    keys = branch.step.keys
                    found += [(number, node, key) for node in nodes for key in keys(node) for number in branch.ends]
            if branch.branches:
                values = branch.step.values(nodes)
                if values:
                    self._walk(branch.branches, values, found)


class _Branch:
    """One step that several paths share, together with all steps before it."""

    __slots__ = ("branches", "descend", "ends", "step")

    def __init__(self, descend: bool, step: _Step) -> None:
        self.descend = descend
        self.step = step
        self.ends: list[int] = []  # the numbers of the paths that end here
        self.branches: list[_Branch] = []


def _containers(nodes: list[Json]) -> list[Json]:
    """Return every object and list at or below *nodes*, level by level, which is faster than document order."""
    found: list[Json] = []
    level = [node for node in nodes if type(node) is dict or type(node) is list]
    while level:
        found += level
        values: list[Json] = []
        for node in level:
            values += node.values() if type(node) is dict else node
        level = [value for value in values if type(value) is dict or type(value) is list]
    return found


def descendants(document: Json) -> list[Json]:
    """Return every object and list of *document*, including itself, in document order."""
    return _descending(lambda nodes: nodes)([document])


def _names(node: tree.JSONPath) -> tuple[str, ...] | None:
    """Return the member names of a path that has only such steps, like ``$.a.b``. It is the common case, made fast."""
    if isinstance(node, tree.Root):
        return ()
    if isinstance(node, tree.Child) and isinstance(node.right, tree.Fields) and len(node.right.fields) == 1:
        left = _names(node.left)
        return None if left is None else (*left, node.right.fields[0])
    return None


def _steps(text: str, node: tree.JSONPath) -> list[tuple[bool, _Step]]:
    """Convert the path to steps: (True if from all descendants, selector)."""
    if isinstance(node, tree.Root):
        return []
    if isinstance(node, tree.Child):
        return _steps(text, node.left) + _last(text, node.right, descend=False)
    if isinstance(node, tree.Descendants):
        return _steps(text, node.left) + _last(text, node.right, descend=True)
    raise PathError(f"{text!r}: {type(node).__name__} is not supported; name members, indexes or wildcards")


def _last(text: str, node: tree.JSONPath, *, descend: bool) -> list[tuple[bool, _Step]]:
    if isinstance(node, tree.Child):  # `$..a.b` nests to the right
        return _last(text, node.left, descend=descend) + _last(text, node.right, descend=False)
    if isinstance(node, tree.Descendants):
        return _last(text, node.left, descend=descend) + _last(text, node.right, descend=True)
    if isinstance(node, tree.Fields):
        names = tuple(node.fields)
        if names == ("*",):
            return [(descend, _EVERY)]
        return [(descend, _member(names[0]) if len(names) == 1 else _each(f"{names!r}", _members(names)))]
    if isinstance(node, tree.Index):
        indices = tuple(node.indices)
        return [(descend, _each(f"{indices!r}", _indices(indices)))]
    if isinstance(node, filters.Filter):
        conditions = [_condition(text, expression) for expression in node.expressions]
        return [(descend, _each(f"{node!r}", _filtered(_all_of(conditions))))]
    if isinstance(node, tree.Wildcard):
        return [(descend, _EVERY)]
    if isinstance(node, tree.Slice):
        if node.start is None and node.end is None and node.step is None:
            return [(descend, _EVERY)]
        if node.step == 0:
            raise PathError(f"{text!r}: a step of 0 selects nothing")
        part = slice(node.start, node.end, node.step)
        return [(descend, _each(f"{part!r}", _slice(part)))]
    raise PathError(f"{text!r}: {type(node).__name__} is not supported; name members, indexes or wildcards")


def _then(values: _Select, source: _Select) -> _Select:
    return lambda nodes: values(source(nodes))


def _descending(select: _Select) -> _Select:
    def all_nodes(nodes: list[Json]) -> list[Json]:
        found: list[Json] = []
        stack = select(nodes)[::-1]
        while stack:
            node = stack.pop()
            if type(node) is dict:
                found.append(node)
                stack.extend(v for v in reversed(node.values()) if type(v) is dict or type(v) is list)
            elif type(node) is list:
                found.append(node)
                stack.extend(v for v in reversed(node) if type(v) is dict or type(v) is list)
        return found

    return all_nodes


def _each(name: str, keys: _Keys) -> _Step:
    return _Step(name, keys, lambda nodes: [node[key] for node in nodes for key in keys(node)])


def _member(name: str) -> _Step:
    def values(nodes: list[Json]) -> list[Json]:
        try:
            return [node[name] for node in nodes]  # most often each is an object that has it
        except (KeyError, TypeError):
            pass
        return [node[name] for node in nodes if type(node) is dict and name in node]

    return _Step(repr((name,)), _members((name,)), values, name)


def _members(names: tuple[str, ...]) -> _Keys:
    def keys(node: Json) -> Iterator[Any]:
        return (name for name in names if name in node) if type(node) is dict else iter(())

    return keys


def _every_key(node: Json) -> Iterator[Any]:
    if type(node) is dict:
        return iter(list(node))
    return iter(range(len(node))) if type(node) is list else iter(())


def _every_value(nodes: list[Json]) -> list[Json]:
    found: list[Json] = []
    for node in nodes:
        if type(node) is list:
            found += node
        elif type(node) is dict:
            found += node.values()
    return found


_EVERY = _Step("*", _every_key, _every_value)


def _indices(indices: tuple[int, ...]) -> _Keys:
    def keys(node: Json) -> Iterator[Any]:
        if type(node) is not list:
            return iter(())
        return (i % len(node) for i in indices if -len(node) <= i < len(node))

    return keys


def _slice(part: slice) -> _Keys:
    def keys(node: Json) -> Iterator[Any]:
        return iter(range(*part.indices(len(node)))) if type(node) is list else iter(())

    return keys


# Filters (RFC 9535, 2.3.5): a condition is true or false for one candidate.

_Condition = Callable[[Json], bool]
_NOTHING = object()
_ORDERED: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge
}  # fmt: skip


def _filtered(condition: _Condition) -> _Keys:
    def keys(node: Json) -> Iterator[Any]:
        if type(node) is dict:
            return iter([key for key, value in node.items() if condition(value)])
        return iter([i for i, value in enumerate(node) if condition(value)] if type(node) is list else ())

    return keys


def _all_of(conditions: list[_Condition]) -> _Condition:
    return conditions[0] if len(conditions) == 1 else lambda value: all(holds(value) for holds in conditions)


def _condition(text: str, node: Any) -> _Condition:
    """Compile one part of a filter. Raises `PathError` if jsonpath-ng and the RFC differ on its meaning."""
    if isinstance(node, filters.And):
        return _all_of([_condition(text, operand) for operand in node.operands])
    if isinstance(node, filters.Or):
        either = [_condition(text, operand) for operand in node.operands]
        return lambda value: any(holds(value) for holds in either)
    if not isinstance(node, filters.Expression):
        raise PathError(f"{text!r}: {type(node).__name__} is not supported in a filter")
    if node.op in (None, "!"):
        find, negated = _relative(text, node.target), node.op == "!"
        return lambda value: bool(find([value])) is not negated
    left = _singular(text, node.target)
    right = _singular(text, node.value) if isinstance(node.value, tree.JSONPath) else _literal(node.value)
    if node.op in ("==", "!="):
        wanted = node.op == "=="
        return lambda value: _equal(left(value), right(value)) is wanted
    if node.op not in _ORDERED:
        raise PathError(f"{text!r}: {node.op} is not supported in a filter")
    ordered, or_equal = _ORDERED[node.op], node.op in ("<=", ">=")

    def compare(value: Json) -> bool:
        a, b = left(value), right(value)
        if (_is_number(a) and _is_number(b)) or (type(a) is str and type(b) is str):
            return ordered(a, b)
        return or_equal and _equal(a, b)

    return compare


def _literal(value: Any) -> Callable[[Json], Any]:
    return lambda candidate: value


def _relative(text: str, node: tree.JSONPath) -> _Select:
    """Compile a query that starts at the candidate, ``@``."""
    left = node
    while isinstance(left, tree.Child | tree.Descendants):
        left = left.left
    if not isinstance(left, tree.This):
        raise PathError(f"{text!r}: in a filter, write the query with @ on the left, and no query with $")
    select: _Select = lambda nodes: nodes  # noqa: E731
    for descend, step in _relative_steps(text, node):
        select = _then(step.values, _descending(select) if descend else select)
    return select


def _relative_steps(text: str, node: tree.JSONPath) -> list[tuple[bool, _Step]]:
    if isinstance(node, tree.This):
        return []
    if isinstance(node, tree.Child | tree.Descendants):
        descend = isinstance(node, tree.Descendants)
        return _relative_steps(text, node.left) + _last(text, node.right, descend=descend)
    raise PathError(f"{text!r}: {type(node).__name__} is not supported in a filter")


def _singular(text: str, node: tree.JSONPath) -> Callable[[Json], Any]:
    """Compile a query that selects at most one value; `_NOTHING` if it selects none."""
    find = _relative(text, node)

    def value(candidate: Json) -> Any:
        found = find([candidate])
        return found[0] if found else _NOTHING

    return value


def _is_number(value: Any) -> bool:
    return type(value) is int or type(value) is float


def _equal(a: Any, b: Any) -> bool:
    """Compare JSON values: True is not 1, and `_NOTHING` equals only itself."""
    if _is_number(a) and _is_number(b):
        return bool(a == b)
    if type(a) is not type(b):
        return False
    if type(a) is list:
        return len(a) == len(b) and all(map(_equal, a, b))
    if type(a) is dict:
        return a.keys() == b.keys() and all(_equal(value, b[key]) for key, value in a.items())
    return bool(a == b)
