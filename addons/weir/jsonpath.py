"""JSONPath as policies may use it: parsed by jsonpath-ng at load, walked by our own closures.

Supported, with the meaning of RFC 9535: ``$``, ``.name``, ``['name']``, ``['a','b']``, ``[0]``,
``[-1]``, ``[1:3]``, ``[*]``, ``.*`` and ``..``. Whatever else jsonpath-ng would accept (filters,
arithmetic, sorting, regular expressions) it reads otherwise than the RFC, or runs slowly, or fails to
update; it is refused at load with the reason. jsonpath-ng's own ``update`` is never called.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from jsonpath_ng import jsonpath as tree
from jsonpath_ng.exceptions import JSONPathError
from jsonpath_ng.parser import JsonPathParser

#: A parsed JSON value.
Json = Any
#: One place in a document: its container, and the key or index within it.
Slot = tuple[Any, Any]

_Select = Callable[[list[Json]], list[Json]]
_Keys = Callable[[Json], Iterator[Any]]


class _Step(NamedTuple):
    """One selector: the keys that it selects in a node (for writing), and the values in many nodes at once (fast)."""

    keys: _Keys
    values: _Select


_WHOLE_SLICE = re.compile(r"\[\s*:\s*:?\s*\]")
_parser = JsonPathParser()


class PathError(ValueError):
    """An expression that is not JSONPath, or that this gateway does not evaluate."""


class Path:
    """A compiled expression.

    `find` gives the values that it selects, `slots` the places they stand in (for writing); both in
    document order. Selecting in a value of another type selects nothing and raises nothing.
    """

    __slots__ = ("_among", "_inner", "_last", "names", "text")

    def __init__(
        self,
        text: str,
        inner: _Select,
        last: _Step | None,
        names: tuple[str, ...] | None = None,
        among: _Select | None = None,
    ) -> None:
        self.text = text
        self._among = among  # of a path that begins with a descent: the rest of it, from all nodes
        self.names = names  # of a path that is nothing but member names
        self._inner = inner
        self._last = last

    def __repr__(self) -> str:
        return f"Path({self.text!r})"

    def slots(self, document: Json) -> list[Slot]:
        """Every (container, key) that the expression selects; none for ``$`` alone."""
        if self._last is None:
            return []
        keys = self._last.keys
        return [(node, key) for node in self._inner([document]) for key in keys(node)]

    def find(self, document: Json, nodes: list[Json] | None = None) -> list[Json]:
        """Every value that the expression selects; *nodes* are the document's `descendants`, where they are known."""
        if nodes is not None and self._among is not None:
            return self._among(nodes)
        inner = self._inner([document])
        return inner if self._last is None else self._last.values(inner)

    @property
    def descends(self) -> bool:
        """Whether it begins with ``..``: then it can share a walk with others."""
        return self._among is not None

    def first(self, document: Json, default: Json = None) -> Json:
        """The first value that the expression selects, or *default*."""
        if self.names is not None:
            for name in self.names:
                if type(document) is not dict or name not in document:
                    return default
                document = document[name]
            return document
        return next(iter(self.find(document)), default)

    @property
    def selects_document(self) -> bool:
        """True for ``$``: there is no container to write into."""
        return self._last is None


def compile_path(text: str) -> Path:
    """Compile *text*. Raises `PathError` with the reason where it cannot mean what RFC 9535 says."""
    if not isinstance(text, str) or not text.startswith("$"):
        raise PathError(f"{text!r} is not a JSONPath: it must start with '$'")
    for forbidden, why in (
        ("\\", "escapes in names are read differently by different libraries"),
        ("'*'", "a member named '*' cannot be told from the wildcard"),
        ('"*"', "a member named '*' cannot be told from the wildcard"),
        ("?", "filters are not supported"),
        ("|", "unions of paths are not supported; write two paths"),
    ):
        if forbidden in text:
            raise PathError(f"{text!r}: {why}")
    if _WHOLE_SLICE.search(text):
        raise PathError(f"{text!r}: a slice of everything cannot be told from the wildcard; write [*]")
    try:
        parsed = _parser.parse(text)
    except (JSONPathError, ValueError, AttributeError, TypeError) as error:
        hint = "a name with other characters than letters, digits and _ is written ['name']"
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
    return Path(text, _descending(select) if descend else select, step, _names(parsed), among)


def descendants(document: Json) -> list[Json]:
    """Every object and list of *document*, itself too, in document order."""
    return _descending(lambda nodes: nodes)([document])


def _names(node: tree.JSONPath) -> tuple[str, ...] | None:
    """The member names of a path that is nothing but them, like ``$.a.b``: the common case, made fast."""
    if isinstance(node, tree.Root):
        return ()
    if isinstance(node, tree.Child) and isinstance(node.right, tree.Fields) and len(node.right.fields) == 1:
        left = _names(node.left)
        return None if left is None else (*left, node.right.fields[0])
    return None


def _steps(text: str, node: tree.JSONPath) -> list[tuple[bool, _Step]]:
    """The path as (from all descendants?, selector) steps."""
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
        return [(descend, _member(names[0]) if len(names) == 1 else _each(_members(names)))]
    if isinstance(node, tree.Index):
        return [(descend, _each(_indices(tuple(node.indices))))]
    if isinstance(node, tree.Wildcard):
        return [(descend, _EVERY)]
    if isinstance(node, tree.Slice):
        if node.start is None and node.end is None and node.step is None:
            return [(descend, _EVERY)]
        if node.step == 0:
            raise PathError(f"{text!r}: a step of 0 selects nothing")
        return [(descend, _each(_slice(slice(node.start, node.end, node.step))))]
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


def _each(keys: _Keys) -> _Step:
    return _Step(keys, lambda nodes: [node[key] for node in nodes for key in keys(node)])


def _member(name: str) -> _Step:
    def values(nodes: list[Json]) -> list[Json]:
        try:
            return [node[name] for node in nodes]  # most often each is an object that has it
        except (KeyError, TypeError):
            pass
        return [node[name] for node in nodes if type(node) is dict and name in node]

    return _Step(_members((name,)), values)


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


_EVERY = _Step(_every_key, _every_value)


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
