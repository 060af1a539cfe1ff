"""Collects the strings of one document, with their paths and siblings."""

import re
from collections.abc import Container, Iterator
from typing import Any

from weir.content import ContentError, parse_answer
from weir.masking.masks import Mask
from weir.masking.reading import Leaf, Path, Siblings, Slot, Unit
from weir.masking.walk import labels_around, named_under, words_of

#: Documents within strings of documents that are read.
_DEEPEST = 2
#: Longest sibling, in characters, that can identify a text.
_SHORT = 80
#: Siblings per depth, and the longest list that is treated as a tuple.
_MOST_SIBLINGS = 40
_MOST_TOLD = 4
#: Types of values that are leaves or have some.
_LEAVES = (str, dict, list, int)
#: Names that tell items apart, as indexes do: with digits, or long ones.
_DIGIT = re.compile(r"\d")
_LONG_NAME = 24

#: By path: the names under which its leaves stand, and the mask of each kind.
Keys = dict[Path, tuple[str, dict[str, Mask]]]


def _is_short(value: Any) -> bool:
    """Whether *value* may be what tells leaves apart."""
    return value is None or type(value) in (int, bool, float) or (type(value) is str and len(value) <= _SHORT)


def _beside(depth: int, before: str, value: dict[str, Any]) -> Iterator[tuple[Slot, Any]]:
    """The members of the object *value* that may tell leaves apart."""
    for name, item in value.items():
        if _is_short(item):
            yield (depth, before + name), item


class Collector:
    """Collects the leaves of one document, with their siblings."""

    def __init__(
        self,
        unit: Unit,
        named: dict[tuple[int, Any], dict[str, Mask] | None],
        taken: set[tuple[int, Any]],
        found: dict[Path, list[Leaf]],
        keys: dict[Path, tuple[str, dict[str, Mask]]],
        known: Container[Path],
    ) -> None:
        self._known = known  # paths at which there have been strings
        self._unit = unit
        self._leaves: list[Leaf] = []
        unit.leaves = self._leaves
        self._named = named
        self._taken = taken
        self._found = found
        self._keys = keys

    def value(
        self,
        value: Any,
        path: Path,
        siblings: Siblings,
        key: str,
        around: str,
        strategies: dict[str, Mask],
        depth: int,
    ) -> None:
        """The leaves of a dict or list *value* at *path*; *depth* documents are around its own."""
        kind = type(value)
        if kind is dict:
            around = labels_around(key, value)
            beside = list(_beside(len(path), "", value))
            for name, item in value.items():  # siblings one level down, such as an agent's name
                if type(item) is dict:
                    beside += _beside(len(path), f"{name}.", item)
                elif type(item) is list and len(item) == 1 and _is_short(item[0]):
                    beside.append(((len(path), name), item[0]))
            del beside[_MOST_SIBLINGS:]
            siblings = (*siblings, *beside)
            for name, item in value.items():
                if type(item) not in _LEAVES or (id(value), name) in self._taken:
                    continue
                step, more = name, siblings
                if len(name) >= _LONG_NAME or _DIGIT.search(name):
                    step, more = "*", (*siblings, ((len(path), "{}"), name))
                self._item(value, name, item, (*path, step), more, name, around, strategies, depth)
        else:
            if len(value) <= _MOST_TOLD:  # a tuple: one object may identify the text in another
                for i, item in enumerate(value):
                    if type(item) is dict:
                        siblings = (*siblings, *_beside(len(path), f"{i}.", item))
            for i, item in enumerate(value):
                if type(item) in _LEAVES and (id(value), i) not in self._taken:
                    more = (*siblings, ((len(path), "[]"), i))
                    self._item(value, i, item, (*path, "*"), more, key, around, strategies, depth)

    def _item(
        self,
        container: Any,
        index: Any,
        item: Any,
        path: Path,
        siblings: Siblings,
        key: str,
        around: str,
        strategies: dict[str, Mask],
        depth: int,
    ) -> None:
        if self._named:
            chosen = self._named.get((id(container), index), strategies)
            if chosen is None:
                return
            strategies = chosen
        if type(item) is int:
            if path in self._known:  # digits of a text
                self._leaf(container, index, str(item), path, siblings, key, around, strategies)
        elif type(item) is not str:
            self.value(item, path, siblings, key, around, strategies, depth)
        elif item:
            if item[0] in '{["' and depth < _DEEPEST and len(item) > 2:
                self._inner(container, index, item, path, siblings, key, around, strategies, depth + 1)
            self._leaf(container, index, item, path, siblings, key, around, strategies)

    def _leaf(
        self,
        container: Any,
        index: Any,
        text: str,
        path: Path,
        siblings: Siblings,
        key: str,
        around: str,
        strategies: dict[str, Mask],
    ) -> None:
        leaf = Leaf(self._unit, container, index, text, siblings, path)
        self._leaves.append(leaf)
        if path not in self._found:
            self._found[path] = []
            self._keys[path] = (words_of(named_under(key, around)), strategies)
        self._found[path].append(leaf)

    def _inner(
        self,
        container: Any,
        index: Any,
        item: str,
        path: Path,
        siblings: Siblings,
        key: str,
        around: str,
        strategies: dict[str, Mask],
        depth: int,
    ) -> None:
        """The leaves of *item*, if it is a document."""
        try:
            inner = parse_answer(item.encode())
        except (ContentError, UnicodeEncodeError):
            return
        if type(inner) is str:
            item, inner = f"[{item}]", [inner]
        if type(inner) is dict or type(inner) is list:
            self._unit.inner = [*(self._unit.inner or ()), (container, index, item, inner)]
            self.value(inner, (*path, "*"), siblings, key, around, strategies, depth)
