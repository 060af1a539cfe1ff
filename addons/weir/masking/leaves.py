"""Collect the strings of one document, with their paths and siblings."""

import re
from collections.abc import Container, Iterator
from typing import Any, NamedTuple

from weir.base.content import ContentError, parse_answer
from weir.masking.masks import Mask
from weir.masking.units import Leaf, Path, Siblings, Slot, Unit
from weir.masking.walk import labels_around, named_under, words_of

#: Maximum depth of JSON documents inside strings.
_DEEPEST = 2
#: Longest sibling, in characters, that can identify a text.
_SHORT = 80
#: Maximum number of siblings per depth, and the longest list that is treated as a tuple.
_MOST_SIBLINGS = 40
_MOST_TOLD = 4
#: Types of values that are leaves or contain leaves.
_LEAVES = (str, dict, list, int)
#: Names treated like list indexes, because they differ per item: names with digits, and long names.
_DIGIT = re.compile(r"\d")
_LONG_NAME = 24

#: By path: the names around its leaves, and the mask of each kind.
Keys = dict[Path, tuple[str, dict[str, Mask]]]


def _is_short(value: Any) -> bool:
    """True if *value* can identify a text."""
    return value is None or type(value) in (int, bool, float) or (type(value) is str and len(value) <= _SHORT)


def _beside(depth: int, before: str, value: dict[str, Any]) -> Iterator[tuple[Slot, Any]]:
    """Yield the members of the object *value* that can identify a text."""
    for name, item in value.items():
        if _is_short(item):
            yield (depth, before + name), item


class Place(NamedTuple):
    """The position of a value: its path, siblings, member name, the names around it, its masks by kind.

    *depth* is the number of documents that enclose the value's own document.
    """

    path: Path
    siblings: Siblings
    key: str
    around: str
    strategies: dict[str, Mask]
    depth: int = 0


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
        self._known = known  # paths that have had strings
        self._unit = unit
        self._leaves: list[Leaf] = []
        unit.leaves = self._leaves
        self._named = named
        self._taken = taken
        self._found = found
        self._keys = keys

    def value(self, value: Any, at: Place) -> None:
        """Collect the leaves of the dict or list *value* at the place *at*."""
        path, siblings = at.path, at.siblings
        if type(value) is dict:
            beside = list(_beside(len(path), "", value))
            for name, item in value.items():  # siblings one level down, such as an agent's name
                if type(item) is dict:
                    beside += _beside(len(path), f"{name}.", item)
                elif type(item) is list and len(item) == 1 and _is_short(item[0]):
                    beside.append(((len(path), name), item[0]))
            del beside[_MOST_SIBLINGS:]
            at = at._replace(around=labels_around(at.key, value))
            siblings = (*siblings, *beside)
            for name, item in value.items():
                if type(item) not in _LEAVES or (id(value), name) in self._taken:
                    continue
                step, more = name, siblings
                if len(name) >= _LONG_NAME or _DIGIT.search(name):
                    step, more = "*", (*siblings, ((len(path), "{}"), name))
                self._item(value, name, item, at._replace(path=(*path, step), siblings=more, key=name))
        else:
            if len(value) <= _MOST_TOLD:  # a tuple: one object may identify the text in another one
                for i, item in enumerate(value):
                    if type(item) is dict:
                        siblings = (*siblings, *_beside(len(path), f"{i}.", item))
            for i, item in enumerate(value):
                if type(item) in _LEAVES and (id(value), i) not in self._taken:
                    more = (*siblings, ((len(path), "[]"), i))
                    self._item(value, i, item, at._replace(path=(*path, "*"), siblings=more))

    def _item(self, container: Any, index: Any, item: Any, at: Place) -> None:
        if self._named:
            chosen = self._named.get((id(container), index), at.strategies)
            if chosen is None:
                return
            at = at._replace(strategies=chosen)
        if type(item) is int:
            if at.path in self._known:  # a text may arrive as a number if a piece has only digits
                self._leaf(container, index, str(item), at)
        elif type(item) is not str:
            self.value(item, at)
        elif item:
            if item[0] in '{["' and at.depth < _DEEPEST and len(item) > 2:
                self._inner(container, index, item, at)
            self._leaf(container, index, item, at)

    def _leaf(self, container: Any, index: Any, text: str, at: Place) -> None:
        leaf = Leaf(self._unit, container, index, text, at.siblings, at.path)
        self._leaves.append(leaf)
        if at.path not in self._found:
            self._found[at.path] = []
            self._keys[at.path] = (words_of(named_under(at.key, at.around)), at.strategies)
        self._found[at.path].append(leaf)

    def _inner(self, container: Any, index: Any, item: str, at: Place) -> None:
        """Collect the leaves of *item* if it is a JSON document."""
        try:
            inner = parse_answer(item.encode())
        except (ContentError, UnicodeEncodeError):
            return
        if type(inner) is str:
            item, inner = f"[{item}]", [inner]
        if type(inner) is dict or type(inner) is list:
            self._unit.inner = [*(self._unit.inner or ()), (container, index, item, inner)]
            self.value(inner, at._replace(path=(*at.path, "*"), depth=at.depth + 1))
