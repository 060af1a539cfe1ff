"""Decides which leaves to read together: one path, groups within a path, and paths that alternate."""

import re
from collections import deque
from collections.abc import Iterator
from functools import partial
from typing import Any

from weir.masking.masks import Mask, View
from weir.masking.units import PATIENCE, Leaf, Path, Reading, Siblings, Slot, Told, accepts_in_list, begins, ends
from weir.masking.walk import Value
from weir.masking.window import Window

#: Maximum number of interleaved texts.
MOST_TEXTS = 256
#: Siblings that group the leaves of one path.
_MOST_SLOTS = 4
#: Leaves of one path that are remembered, to be read in another way, and their characters.
_RECENT = 64
_KEPT = 3000
#: Different values of a member after which it is a counter, if none of them has returned.
_COUNTER = 16
#: Members that most often say which text a piece belongs to. They tell leaves apart from their first two values on,
#: other members from when a value recurs.
_IDENTITY = re.compile(r"(?:^|_)(?:index|id)$|(?:Index|Id)$")


class _Member:
    """The values of one member beside the leaves of a path."""

    __slots__ = ("identity", "last", "repeats", "returns", "values")

    def __init__(self, identity: bool) -> None:
        self.values: set[Any] = set()
        self.identity = identity
        self.last: Any = None
        self.repeats = False  # a value has come twice in a row
        self.returns = 0  # how often a value has come again after another one

    def note(self, value: Any) -> bool:
        """Note one more *value*. Returns whether the member may tell leaves apart otherwise than before."""
        if self.values and value == self.last:
            self.repeats = True
            return False
        if value in self.values:
            self.returns += 1
        elif len(self.values) < _RECENT:
            self.values.add(value)
        self.last = value
        return True

    @property
    def tells(self) -> bool:
        """Whether its values tell leaves apart."""
        several = len(self.values) > 1
        return several and (self.repeats or self.returns > 0 or (self.identity and len(self.values) < _COUNTER))


class AtPath:
    """The leaves at one path, and the readings of them."""

    __slots__ = (
        "_by", "_in_list", "_kept", "_own", "_strategies", "_view", "groups", "key", "members", "name", "recent",
        "whole",
    )  # fmt: skip

    def __init__(self, view: View, path: Path, key: str, strategies: dict[str, Mask]) -> None:
        self._view = view
        self._strategies = strategies
        self.key = key
        self.name = "$" + "".join("[*]" if step == "*" else f".{step}" for step in path)
        self._in_list = path[-1:] == ("*",)
        #: Slots of the leaf itself, to exclude from its siblings.
        self._own = {(i, ".".join(path[i : i + n])) for i in range(len(path)) for n in (1, 2)}
        self.members: dict[Slot, _Member] = {}
        self._by: list[Slot] = []
        self.groups: dict[tuple[Any, ...], Reading] = {}
        self.recent: deque[Leaf] = deque()
        self._kept = 0  # characters of these
        self.whole = self._new()

    def new_window(self, *, named: bool = True) -> Window:
        """A window on texts that stand here; not *named* where they stand under other names as well."""
        return Window(self._view, self.key if named else "", self._strategies)

    def _new(self) -> Reading:
        reading = Reading(self.new_window(), self.name)
        if self._in_list:
            reading.accepts = partial(accepts_in_list, self._view)
        return reading

    def note(self, siblings: Siblings) -> bool:
        """Note the siblings of one more leaf. Returns True if the groups may change."""
        changed = False
        beside = dict(siblings)
        for slot, known in self.members.items():
            if slot not in beside and known.note(None):
                changed = True
        for slot, value in siblings:
            if slot in self._own:
                continue
            member = self.members.get(slot)
            if member is None:
                if len(self.members) >= _RECENT:
                    continue
                member = self.members[slot] = _Member(_IDENTITY.search(slot[1]) is not None)
            if member.note(value):
                changed = True
        return changed

    def remember(self, leaves: list[Leaf]) -> None:
        """Keep *leaves* for readings that begin later, as far as values may go back."""
        recent = self.recent
        for leaf in leaves[-_RECENT:]:
            recent.append(leaf)
            self._kept += len(leaf.text)
        while len(recent) > _RECENT or (self._kept > _KEPT and recent[0].unit.passed):
            self._kept -= len(recent.popleft().text)

    def regroup(self, number: int) -> bool:
        """Tell leaves apart as the members beside them now do. Returns whether that is otherwise than before."""
        telling = [slot for slot, member in self.members.items() if member.tells]
        telling.sort(key=lambda slot: (not self.members[slot].identity, len(self.members[slot].values)))
        by = telling[:_MOST_SLOTS]
        if by == self._by:
            return False
        self._by = by
        for group in self.groups.values():
            group.settle()
        self.groups.clear()
        for leaf in list(self.recent):
            if not leaf.unit.passed:
                list(self._groups_of(leaf, number))
        return True

    def readings(self, leaf: Leaf, number: int) -> list[Reading]:
        """The readings that *leaf* belongs to, of unit *number*. It is not in `recent` yet."""
        return [self.whole, *self._groups_of(leaf, number)] if self._by else [self.whole]

    def _groups_of(self, leaf: Leaf, number: int) -> Iterator[Reading]:
        beside = dict(leaf.siblings)
        values = [(slot, beside.get(slot)) for slot in self._by]
        keys: list[tuple[Any, ...]] = [(value,) for value in values]
        if len(values) > 1:
            keys.append(tuple(values))
        for key in keys:
            group = self.groups.pop(key, None)
            if group is None:
                group = self._new_group(key, number)
            self.groups[key] = group  # the last is that which was used last
            yield group

    def _new_group(self, key: tuple[Any, ...], number: int) -> Reading:
        if len(self.groups) >= MOST_TEXTS:
            self.groups.pop(next(iter(self.groups))).settle()
        group = self._new()
        if any(self.members[slot].identity and slot[0] > 0 for slot, _ in key):
            group.patience = PATIENCE
        same = [leaf for leaf in self.recent if all(dict(leaf.siblings).get(slot) == value for slot, value in key)]
        if same:
            group.seed(same, number)
        return group


class Pair:
    """A reading over paths that replace each other."""

    __slots__ = ("_read", "_view", "grown", "last", "paths", "reading", "returns", "stayed")

    def __init__(self, view: View, reading: Reading, paths: set[Path], last: Path) -> None:
        self._view = view
        self.reading = reading
        self.reading.accepts = self._accepts
        self.paths = paths
        self.last = last  # the path that was read last
        self.stayed = 0  # units since that path is read
        self.returns = 0  # how often a path has come again after another
        self.grown = 0  # the unit in which it got a path more
        self._read = {last}

    def reads(self, path: Path) -> None:
        """Note that *path* has a leaf in the unit that comes."""
        if path == self.last:
            self.stayed += 1
            return
        self.stayed = 0
        self.returns += int(path in self._read)
        self._read.add(path)
        self.last = path

    def _accepts(self, value: Value, told: Told) -> bool:
        """Whether *value*, *told* by leaves at several paths, counts.

        Most often a path that takes another's place has a text of its own, after a name at the other path, or it has
        the whole text once more. Then a value that is complete in one of the two texts does not extend into the other:
        reject the longer value.
        """
        last = told[-1][0]
        before = [(leaf, text) for leaf, text in told if leaf.path != last.path]
        if not before or self.returns > 1:
            return True
        if begins(self._view, value.kind, "".join(text for _, text in before)):
            return False
        other = before[-1][0]
        goes_on = other.path[-1:] == last.path[-1:] or any(map(str.isspace, other.text))
        if goes_on and not last.text.strip().endswith(other.text.strip()):
            return True
        return not ends(self._view, value.kind, "".join(text for leaf, text in told if leaf.path == last.path))
