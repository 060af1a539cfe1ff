"""How the documents of a stream belong together: texts that come in pieces, and separate documents. Pure."""

import fnmatch
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from weir.base.jsonpath import Path, PathError, compile_path
from weir.base.mistakes import SettingError, placed
from weir.config.model import as_list
from weir.config.profile_settings import FramingMode, StreamSettings, TextSettings

#: The way to a text: member names, and None for every item of a list.
Way = tuple[str | None, ...]


#: Identifies one of several texts at the same paths: member names and values, from the outermost object.
Identity = tuple[tuple[str, Any], ...]


class Place(NamedTuple):
    """A place of a piece of a text in one document, or a place where a piece is missing."""

    identity: Identity  # identifies the text among those at these paths
    container: dict[str, Any] | list[Any] | None  # None: there is no piece
    key: str | int
    text: str
    over: bool  # the text ends with this document


@dataclass(frozen=True, slots=True)
class Text:
    """A text that comes in pieces, at one of several ways.

    ``by``: names of members in the objects around a piece. Their values identify the text.
    ``until``: names of members in those objects. Any value ends the text; with a pattern, only a matching value does.
    """

    ways: tuple[Way, ...]
    by: tuple[str, ...]
    until: Mapping[str, re.Pattern[str] | None]

    def ends(self, document: Identity, text: Identity) -> bool:
        """True if a document with the end of a text, and the identity *document*, ends *text*: no part differs.

        Members in ``until`` are ignored, because they do not identify a text.
        """
        here, there = ([part for part in identity if part[0] not in self.until] for identity in (document, text))
        return all(a == b for a, b in zip(here, there, strict=False))

    def places(self, document: Any) -> Iterator[Place]:
        """Yield the pieces in *document*, and the objects around missing pieces."""
        for way in self.ways:
            yield from self._below(document, way, 0, [])

    def _below(self, node: Any, way: Way, depth: int, around: list[dict[str, Any]]) -> Iterator[Place]:
        if depth == len(way):  # `$` itself is not a place
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
            (name, value if isinstance(value := node[name], str | int) else None)
            for node in around
            for name in self.by
            if name in node
        )
        over = any(self._ends(name, node[name]) for node in around for name in self.until if name in node)
        return Place(identity, container, key, text, over)

    def _ends(self, name: str, value: Any) -> bool:
        pattern = self.until[name]
        if pattern is None:
            return value not in (None, "", False, [], {})
        return isinstance(value, str) and pattern.fullmatch(value) is not None


@dataclass(frozen=True, slots=True)
class Framing:
    """How the documents of an operation's stream belong together.

    ``records``: each document is separate. ``pieces``: any string may be a piece of a text that continues in other
    documents. ``auto``: like ``pieces``, until the stream shows otherwise. *texts* and *records* are exact and take
    precedence.
    """

    mode: FramingMode = "auto"
    texts: tuple[Text, ...] = ()
    records: tuple[Path, ...] = ()


#: The framing of operations that no profile knows.
UNKNOWN_FRAMING = Framing()


def compile_framing(settings: StreamSettings, mode: FramingMode | None) -> Framing:
    """Compile the framing of a stream; *mode* is the default. Raises `SettingError` with the place in *settings*."""
    texts = []
    for i, text in enumerate(settings.texts):
        with placed("texts", i):
            texts.append(_text(text))
    records = []
    for i, path in enumerate(settings.records):
        with placed("records", i):
            records.append(_path(path))
    return Framing(settings.framing or mode or "auto", tuple(texts), tuple(records))


def _text(settings: TextSettings) -> Text:
    ways = []
    for i, text in enumerate(settings.path):
        with placed("path", i):
            steps = _path(text).steps
            way = tuple(None if step.name == "*" else step.member for _, step in steps)
            if not way or any(
                descends or (member is None and step.name != "*")
                for (descends, step), member in zip(steps, way, strict=True)
            ):
                raise SettingError(
                    f"{text!r} is not a plain path; the path of a text may contain only names of members and [*]"
                )
            ways.append(way)
    until = {
        name: None if values is None else re.compile("|".join(map(fnmatch.translate, as_list(values))))
        for name, values in settings.until.items()
    }
    return Text(tuple(ways), tuple(settings.by), until)


def _path(text: str) -> Path:
    try:
        return compile_path(text)
    except PathError as error:
        raise SettingError(str(error)) from None
