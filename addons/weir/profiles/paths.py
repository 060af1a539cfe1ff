"""Find the operation of a method and a path, with a tree of path segments that is built once. Pure.

``{name}`` matches one segment, ``{name}:rank`` one segment with that end, ``{name...}`` all following segments. A
literal segment precedes a variable one. ``{index}`` does not match a segment that begins with ``_`` (except ``_all``),
because such segments are names of operations. ``{model...}`` does not match a path with an empty segment: a service
could ignore it, so that one model had several names.
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple
from urllib.parse import quote, unquote

from weir.base.mistakes import SettingError

_VARIABLE = re.compile(r"\{([a-z_]+)(\.\.\.)?\}([^{}]*)")


class Found[O](NamedTuple):
    """The operation, and the path's variables, decoded."""

    operation: O
    variables: dict[str, str]


class _Node[O]:
    __slots__ = ("ends", "literals", "rests", "variables")

    def __init__(self) -> None:
        self.literals: dict[str, _Node[O]] = {}
        self.variables: list[tuple[str, str, _Node[O]]] = []
        self.rests: list[tuple[str, _Node[O]]] = []
        self.ends: dict[str, O] = {}


class Paths[O]:
    """Operations by method and path template."""

    def __init__(self) -> None:
        self._exact: dict[tuple[str, str], Found[O]] = {}
        self._root: _Node[O] = _Node()
        self._lowered: _Node[O] = _Node()

    def add(self, method: str, template: str, operation: O) -> None:
        """Add *operation* for *method* on *template*, unless it already has one. Raises `SettingError`."""
        if not template.startswith("/"):
            raise SettingError(f"{template!r} must start with '/'")
        if "{" not in template:
            self._exact.setdefault((method, template), Found(operation, {}))
        _insert(self._root, template, method, operation)
        _insert(self._lowered, template.lower().rstrip("/"), method, operation)

    def find(self, method: str, path: str) -> Found[O] | None:
        """Return the operation of a request with *method* to *path*, as sent; None if it is unknown."""
        if (exact := self._exact.get((method, path))) is not None:
            return exact
        for ends, variables in self._ends(path):
            if method in ends:
                return Found(ends[method], {name: unquote(value) for name, value in variables.items()})
        return None

    def keeps_slashes(self, path: str) -> bool:
        """True if each escaped slash of *path* is in a variable of one segment, and the unescaped path is unknown.

        Then a server that unescapes the path before it divides it finds no other operation.
        """
        escaped = path.lower().count("%2f")
        unescaped = re.sub("%2f", "/", path, flags=re.IGNORECASE)
        _, variables = next(self._ends(path), ({}, {}))
        within = sum(value.lower().count("%2f") for value in variables.values() if "/" not in value)
        return within == escaped and not any(ends for ends, _ in self._ends(unescaped))

    def methods(self, path: str) -> list[str]:
        """Return the methods of the operations at *path*."""
        return sorted({method for ends, _ in self._ends(path) for method in ends})

    def is_distinct(self, path: str) -> bool:
        """True if *path* is known with any method, or if a service cannot take it for a known path.

        It could, if *path* matches a known one in lower case and without its last slash.
        """
        return bool(self.methods(path)) or not any(
            ends for ends, _ in _walk(self._lowered, path.rstrip("/").lower()[1:].split("/"), 0, {})
        )

    def _ends(self, path: str) -> Iterator[tuple[dict[str, O], dict[str, str]]]:
        return _walk(self._root, path[1:].split("/"), 0, {})


def fill(template: str, variables: Mapping[str, str]) -> str:
    """Fill *template* with variables, escaped. Raises KeyError for an unknown one."""
    return _VARIABLE.sub(lambda match: quote(variables[match[1]], safe="") + match[3], template)


def _insert[O](root: _Node[O], template: str, method: str, operation: O) -> None:
    node = root
    segments = template[1:].split("/")
    for i, segment in enumerate(segments):
        match = _VARIABLE.fullmatch(segment)
        if match is None:
            if "{" in segment or "}" in segment:
                raise SettingError(f"{template!r}: {segment!r} is not {{name}}, {{name}}suffix or {{name...}}")
            node = node.literals.setdefault(segment, _Node())
        elif match[2]:
            if i + 1 < len(segments) or match[3]:
                raise SettingError(f"{template!r}: {segment!r} must be at the end")
            known = [n for name, n in node.rests if name == match[1]]
            child: _Node[O] = known[0] if known else _Node()
            if not known:
                node.rests.append((match[1], child))
            node = child
        else:
            known = [n for name, end, n in node.variables if (name, end) == (match[1], match[3])]
            child = known[0] if known else _Node()
            if not known:
                node.variables.append((match[1], match[3], child))
                node.variables.sort(key=lambda v: -len(v[1]))  # the longest suffix first
            node = child
    node.ends.setdefault(method, operation)


def _walk[O](
    node: _Node[O], segments: list[str], at: int, variables: dict[str, str]
) -> Iterator[tuple[dict[str, O], dict[str, str]]]:
    if at == len(segments):
        if node.ends:
            yield node.ends, variables
        return
    segment = segments[at]
    if (child := node.literals.get(segment)) is not None:
        yield from _walk(child, segments, at + 1, variables)
    for name, suffix, child in node.variables:
        if not segment.endswith(suffix) or len(segment) == len(suffix):
            continue
        value = segment[: len(segment) - len(suffix)]
        if name == "index" and value.startswith("_") and value != "_all":
            continue
        yield from _walk(child, segments, at + 1, {**variables, name: value})
    for name, child in node.rests:
        if name == "model" and "" in segments[at:]:
            continue
        yield child.ends, {**variables, name: "/".join(segments[at:])}
