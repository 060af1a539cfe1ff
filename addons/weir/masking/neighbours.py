"""Decide which leaves to read together: one path, groups within a path, and paths that alternate."""

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
#: Leaves kept per path so that a later reading can start with them, and their characters.
_RECENT = 64
_KEPT = 3000
#: A member with this many different values is a counter, if no value has returned.
_COUNTER = 16
#: Members that usually identify the text of a piece. They separate leaves after two different values; other members
#: only after a value recurs.
_IDENTITY = re.compile(r"(?:^|_)(?:index|id)$|(?:Index|Id)$")


class _Member:
    """The values of one member beside the leaves of a path."""

    __slots__ = ("identity", "last", "repeats", "returns", "values")

    def __init__(self, identity: bool) -> None:
        self.values: set[Any] = set()
        self.identity = identity
        self.last: Any = None
        self.repeats = False  # a value came twice in a row
        self.returns = 0  # how often a value came again after another one

    def note(self, value: Any) -> bool:
        """Note another *value*. Return True if this may change whether the member separates leaves."""
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
        """True if its values separate leaves."""
        several = len(self.values) > 1
        return several and (self.repeats or self.returns > 0 or (self.identity and len(self.values) < _COUNTER))


class AtPath:
    """The leaves at one path, and their readings."""

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
        self._kept = 0  # characters of the recent leaves
        self.whole = self._new()

    def new_window(self, *, named: bool = True) -> Window:
        """Return a window for texts at this path; not *named* if they also appear under other names."""
        return Window(self._view, self.key if named else "", self._strategies)

    def _new(self) -> Reading:
        reading = Reading(self.new_window(), self.name)
        if self._in_list:
            reading.accepts = partial(accepts_in_list, self._view)
        return reading

    def note(self, siblings: Siblings) -> bool:
        """Note the siblings of another leaf. Return True if the groups may change."""
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
        """Keep *leaves* for later readings, as far back as a value may reach."""
        recent = self.recent
        for leaf in leaves[-_RECENT:]:
            recent.append(leaf)
            self._kept += len(leaf.text)
        while len(recent) > _RECENT or (self._kept > _KEPT and recent[0].unit.passed):
            self._kept -= len(recent.popleft().text)

    def regroup(self, number: int) -> bool:
        """Choose the members that separate leaves now. Return True if the choice has changed."""
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
        """Return the readings for *leaf* of unit *number*. The leaf is not in `recent` yet."""
        return [self.whole, *self._groups_of(leaf, number)] if self._by else [self.whole]

    def _groups_of(self, leaf: Leaf, number: int) -> Iterator[Reading]:
        values = [(slot, leaf.beside.get(slot)) for slot in self._by]
        keys: list[tuple[Any, ...]] = [(value,) for value in values]
        if len(values) > 1:
            keys.append(tuple(values))
        for key in keys:
            group = self.groups.pop(key, None)
            if group is None:
                group = self._new_group(key, number)
            self.groups[key] = group  # ordered by last use
            yield group

    def _new_group(self, key: tuple[Any, ...], number: int) -> Reading:
        if len(self.groups) >= MOST_TEXTS:
            self.groups.pop(next(iter(self.groups))).settle()
        group = self._new()
        if any(self.members[slot].identity and slot[0] > 0 for slot, _ in key):
            group.patience = PATIENCE
        same = [leaf for leaf in self.recent if all(leaf.beside.get(slot) == value for slot, value in key)]
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
        self.stayed = 0  # consecutive units with that path
        self.returns = 0  # how often a path came again after another one
        self.grown = 0  # the unit in which a path was added last
        self._read = {last}

    def reads(self, path: Path) -> None:
        """Note that the next unit has a leaf at *path*."""
        if path == self.last:
            self.stayed += 1
            return
        self.stayed = 0
        self.returns += int(path in self._read)
        self._read.add(path)
        self.last = path

    def _accepts(self, value: Value, told: Told) -> bool:
        """True if *value* is accepted; its parts in *told* are at several paths.

        A path that replaces another one usually has a text of its own, after a name at the other path, or it repeats
        the whole text. Then a value that is complete in one of the two texts does not extend into the other, so the
        longer value is rejected.
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
