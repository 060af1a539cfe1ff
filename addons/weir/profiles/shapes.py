"""Shapes: the members of a body that belong to the API, and the values that are identifiers. Compiled once; pure.

Everything in a body is text, including object keys. A shape makes exceptions, each at an exact place: a member name
that the API defines there, and a value that must match a grammar or an enumeration there. Names that are not in the
shape, and values that do not match, are text.
"""

import copy
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from weir.base.mistakes import SettingError, did_you_mean

Grammar = Callable[[str], object]

#: An id made by the service or the client. It has no dots or slashes, so it cannot be a sentence.
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}").fullmatch
#: The name of a model or a field: `BAAI/bge-reranker-v2-m3`, `user.name^2`.
_NAME = re.compile(r"[A-Za-z0-9_@*][A-Za-z0-9_.:/@*^+-]{0,255}").fullmatch
#: Names and patterns of indexes, and variables of a path: `logs-*,-old,eu:books`, `<logs-{now/d}>`.
_INDEX = re.compile(r"[A-Za-z0-9_.,:*+<>{}/|@=~$!#-]{0,1000}").fullmatch
GRAMMARS: dict[str, Grammar] = {"id": _ID, "name": _NAME, "index": _INDEX}
#: The index grammar, for variables of a path.
IN_PATH: Grammar = _INDEX
#: Kinds of places. ``numbers``: a list of numbers that is not a prompt given as tokens.
_KINDS = ("text", "data", "numbers", *GRAMMARS)
_OTHERS, _ITSELF, _APART = "*", "", "[]"
_NAMED = re.compile(r"\{([a-z]+)\}")
_STEP = re.compile(r"\.\.|\.\*|\.([A-Za-z_@$][\w@$]*)|\[(\*|-?\d*(?::-?\d*){0,2})\]|\[('[^']*'(?:\s*,\s*'[^']*')*)\]")


class Shape:
    """The exceptions at one place of a body. Lists are transparent: each item has the shape.

    ``members`` belong to the API; ``others`` is the shape of all other members. Their names are text unless ``key``
    accepts them. ``leaf`` accepts texts that are identifiers; without it, every text is text. ``data``: Base64 or a
    data URI. ``bucket`` receives the texts from here on. No service joins the items of lists at ``apart``.
    ``flat``: below this place, only the names in ``members`` are exceptions; ``known`` is their set. The same is true
    for an object without any of ``named``; if ``named`` is None, every object has exceptions.
    """

    __slots__ = ("apart", "bucket", "data", "flat", "key", "known", "leaf", "members", "named", "numbers", "others")

    def __init__(self) -> None:
        self.members: dict[str, Shape] = {}
        self.others: Shape | None = None
        self.key: Grammar | None = None
        self.leaf: Grammar | None = None
        self.data = False
        self.numbers = False
        self.apart: frozenset[str] = frozenset()
        self.bucket: str | None = None
        self.flat = True
        self.known: frozenset[str] = frozenset()
        self.named: frozenset[str] | None = frozenset()

    def close(self, seen: "set[int] | None" = None) -> None:
        """Set the fields that make reading fast, after the shape is complete."""
        seen = set() if seen is None else seen
        if id(self) in seen:
            return
        seen.add(id(self))
        below = [*self.members.values(), *([self.others] if self.others else [])]
        for shape in below:
            shape.close(seen)
        own = self.leaf is not None or self.data or self.numbers or self.key is not None or self.others is not None
        named = [name for name, shape in self.members.items() if not shape.is_text]
        self.named = None if own or self.apart else frozenset(named)
        self.flat = self.named is not None and not named
        self.known = frozenset(self.members)

    @property
    def is_text(self) -> bool:
        """True if the shape makes no exceptions."""
        own = self.members or self.others or self.leaf or self.data or self.numbers or self.key
        return not (own or self.bucket or self.apart)

    def own(self, name: str) -> "Shape":
        """Return the shape of the member *name*, as a copy that no other place shares."""
        found = self.members.get(name) or self.others
        mine = self.members[name] = Shape() if found is None else copy.copy(found)
        mine.members = dict(mine.members)
        return mine


class Shapes:
    """The named shapes of a profile, compiled when an operation uses them, because shapes may contain themselves."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._settings = settings
        self._made: dict[str, Shape] = {}
        for name in settings:
            if name in _KINDS:
                raise SettingError(f"{name!r} is the name of a kind of value; choose another name", "shapes", name)

    def compile(self, tree: Any) -> Shape:
        """Compile *tree*. Raises `SettingError` with the place in it."""
        shape = Shape()
        self._fill(shape, tree)
        return shape

    def named(self, name: str) -> Shape:
        """Return the shape called *name*. Raises `SettingError`."""
        if name not in self._settings:
            known = [*_KINDS, *self._settings]
            raise SettingError(
                f"there is no shape {name!r}{did_you_mean(name, known) or '; there are ' + ', '.join(known)}"
            )
        if name not in self._made:
            self._made[name] = shape = Shape()  # before it is filled, because it may contain itself
            self._fill(shape, self._settings[name])
        return self._made[name]

    def _at(self, tree: Any) -> Shape:
        return self.named(tree) if isinstance(tree, str) and tree not in _KINDS else self.compile(tree)

    def _fill(self, shape: Shape, tree: Any) -> None:
        if tree is None or tree == "text":
            return
        if isinstance(tree, str) and tree in _KINDS:
            shape.data, shape.numbers = tree == "data", tree == "numbers"
            shape.leaf = GRAMMARS.get(tree)
        elif isinstance(tree, str):
            found = self.named(tree)
            for name in Shape.__slots__:
                setattr(shape, name, getattr(found, name))
        elif isinstance(tree, list) and tree and all(isinstance(value, str) for value in tree):
            shape.leaf = frozenset(tree).__contains__
        elif isinstance(tree, dict):
            for name, inner in tree.items():
                self._member(shape, name, inner)
        else:
            raise SettingError(f"{tree!r} is neither a kind, a shape, a list of values nor a mapping of members")

    def _member(self, shape: Shape, name: Any, tree: Any) -> None:
        if not isinstance(name, str):
            raise SettingError(f"{name!r} is not a name of a member; write it in quotes")
        try:
            if name == _ITSELF:
                own = self.compile(tree)
                shape.leaf, shape.data, shape.numbers = own.leaf, own.data, own.numbers
            elif name == _OTHERS or (match := _NAMED.fullmatch(name)):
                shape.others = self._at(tree)
                if name != _OTHERS:
                    assert match is not None
                    if match[1] not in GRAMMARS:
                        raise SettingError(f"{name!r} is no grammar of names; there are {', '.join(GRAMMARS)}")
                    shape.key = GRAMMARS[match[1]]
            elif name.endswith(_APART):
                name = name.removesuffix(_APART)
                shape.members[name] = self._at(tree)
                shape.apart |= {name}
            else:
                shape.members[name] = self._at(tree)
        except SettingError as error:
            raise SettingError(error.message, name, *error.location) from None


def mark(
    root: Shape, texts: Iterable[str], *, bucket: str | None = None, kind: str | None = None, apart: bool = False
) -> None:
    """Mark the places that the JSONPaths *texts* select as members of the API, as far as the paths are plain.

    Texts there belong to *bucket*. A place without exceptions gets *kind*. *apart*: items of lists there are never
    joined. A path with a descent or a filter is followed only up to that step; behind it, nothing is marked.
    """
    for text in texts:
        _follow(root, steps(text), bucket, kind, apart=apart)


def steps(text: str) -> list[tuple[str, ...] | None]:
    """Return the members along the JSONPath *text*: names, ``("*",)`` for all, None at the first other step."""
    found: list[tuple[str, ...] | None] = []
    at = 1
    while at < len(text):
        match = _STEP.match(text, at)
        if match is None or match[0] == "..":
            return [*found, None]
        if match[0] == ".*":
            found.append((_OTHERS,))
        elif match[1]:
            found.append((match[1],))
        elif match[3]:
            found.append(tuple(name.strip()[1:-1] for name in match[3].split(",")))
        at = match.end()
    return found


def _follow(
    shape: Shape, rest: Sequence[tuple[str, ...] | None], bucket: str | None, kind: str | None, *, apart: bool
) -> None:
    if not rest:
        shape.bucket = bucket or shape.bucket
        if kind is not None and shape.is_text:
            shape.leaf = GRAMMARS[kind]
        return
    names = rest[0]
    if names is None:
        return
    for name in (*shape.members, _OTHERS) if names == (_OTHERS,) else names:
        if name == _OTHERS:
            shape.others = Shape() if shape.others is None else copy.copy(shape.others)
            shape.others.members = dict(shape.others.members)
            _follow(shape.others, rest[1:], bucket, kind, apart=apart)
        else:
            if apart and len(rest) == 1:
                shape.apart |= {name}
            _follow(shape.own(name), rest[1:], bucket, kind, apart=apart)
