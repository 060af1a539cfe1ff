"""How the documents of a stream belong together: which texts come in pieces, and which documents stand alone. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from weir.jsonpath import Path

Mode = Literal["pieces", "records", "auto"]
#: A way to a text: the names of members, and None for every item of a list.
Way = tuple[str | None, ...]


class Place(NamedTuple):
    """A place at which a piece of a text stands, or could stand, in one document."""

    identity: tuple[Any, ...]  # which text it is, of those at these paths
    container: dict[str, Any] | list[Any] | None  # None: nothing stands there
    key: str | int
    text: str
    over: bool  # the text ends with this document


@dataclass(frozen=True, slots=True)
class Text:
    """A text that comes in pieces, at one of several ways.

    ``by`` are names of members, in the objects around a piece, whose values say which text the piece belongs to.
    ``until`` are names of members in those objects: one that has a value ends the text, or, where values are given, one
    that has such a value.
    """

    ways: tuple[Way, ...]
    by: tuple[str, ...]
    until: Mapping[str, frozenset[Any] | None]

    def places(self, document: Any) -> Iterator[Place]:
        """Where pieces stand in *document*, and where the objects stand that would have had one."""
        for way in self.ways:
            yield from self._below(document, way, 0, [])

    def _below(self, node: Any, way: Way, depth: int, around: list[dict[str, Any]]) -> Iterator[Place]:
        if depth == len(way):  # `$` itself is no place
            return
        step = way[depth]
        if step is None:
            if type(node) is list:
                for i, item in enumerate(node):
                    if depth + 1 == len(way):
                        if type(item) is str:
                            yield self._place(around, node, i, item)
                    else:
                        yield from self._below(item, way, depth + 1, around)
            return
        if type(node) is not dict:
            if around:
                yield self._place(around, None, "", "")
            return
        around = [*around, node]
        below = node.get(step)
        if depth + 1 < len(way) and (type(below) is dict or type(below) is list):
            yield from self._below(below, way, depth + 1, around)
        elif depth + 1 == len(way) and type(below) is str:
            yield self._place(around, node, step, below)
        else:
            yield self._place(around, None, "", "")

    def _place(
        self, around: list[dict[str, Any]], container: dict[str, Any] | list[Any] | None, key: str | int, text: str
    ) -> Place:
        identity = tuple(
            value if isinstance(value := node[name], str | int | None) else None
            for node in around
            for name in self.by
            if name in node
        )
        over = any(
            name in node
            and (node[name] in values if values is not None else node[name] not in (None, "", False, [], {}))
            for node in around
            for name, values in self.until.items()
            if values is None or isinstance(node.get(name), str | int | None)
        )
        return Place(identity, container, key, text, over)


@dataclass(frozen=True, slots=True)
class Framing:
    """How the documents of an operation's stream belong together.

    ``records``: each document stands alone; ``pieces``: any string may be a piece of a text that other documents go on
    with; ``auto``: the same, until the stream shows otherwise. *texts* and *records* are exact and come first.
    """

    mode: Mode = "auto"
    texts: tuple[Text, ...] = ()
    records: tuple[Path, ...] = ()


#: Of operations that no profile knows.
UNKNOWN_FRAMING = Framing()
