"""Decide which leaves of a stream are read as one text, and which units are held for it (see `joining`).

The readings of a leaf are:

- the text that the profile declares at its place, and then no other;
- all leaves at the same path;
- of these, the leaves with the same values beside them (an ``index``, an ``id``), for each member that separates
  leaves, and for all such members together;
- if one path replaces another from one unit to the next, the leaves of both.

A reading releases leaves early if its strings are clearly not text: names and identifiers that recur, or a reading
without new leaves for many units. If it continues after all, and a value started in a released unit, the stream is cut.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from weir.base.content import ContentError, encode, parse_answer
from weir.masking.leaves import Collector, Keys, Place
from weir.masking.masker import mask_json
from weir.masking.masks import Mask, View
from weir.masking.neighbours import MOST_TEXTS, AtPath, Pair
from weir.masking.units import NAME, PATIENCE, Frame, Leaf, Path, Reading, Siblings, Told, Unit, begins, ends
from weir.masking.walk import MaskingError, Report, Value, words_of
from weir.masking.window import Window
from weir.profiles.framing import Framing, Identity, Text

#: Maximum number of separate paths. Leaves at further paths are read as if they were at one path.
_MOST_PATHS = 256
#: Maximum leaves at one path in one unit that are also read in groups.
_MOST_BESIDE = 32
#: Maximum number of path pairs; of paths that may continue a text; and of paths that a text may come from.
_MOST_PAIRS = 64
_MOST_NEW = 12
_MOST_LEFT = 10
#: Number of recent leaves that a new pair starts with.
_SEEDS = 24
#: A pair holds nothing after this many units in which no path has replaced another.
_MOVED = 2
#: Maximum number of remembered frames. A frame matches units that differ only in one piece of a text.
_MOST_FRAMES = 4


class _Together:
    """The texts of one declaration, read as one, because a service may change a text's identity in every unit."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._seen: dict[Any, int] = {}  # number of leaves per text
        self._recent: deque[Leaf] = deque(maxlen=_SEEDS)
        self.reading: Reading | None = None

    def note(self, leaf: Leaf) -> list[Leaf]:
        """Note *leaf*. Return the leaves before it."""
        before = list(self._recent)
        self._recent.append(leaf)
        if leaf.siblings in self._seen or len(self._seen) < MOST_TEXTS:
            self._seen[leaf.siblings] = self._seen.get(leaf.siblings, 0) + 1
        return before

    @property
    def several(self) -> bool:
        """True if there have been leaves of several texts."""
        return len(self._seen) > 1

    def accepts(self, value: Value, told: Told) -> bool:
        """True if *value* is accepted. Once a text has several leaves, reject values that one text contains whole."""
        (first, before), (last, after) = told[0], told[-1]
        if first.siblings == last.siblings or max(self._seen.values()) == 1:
            return True
        return not begins(self._view, value.kind, before) and not ends(self._view, value.kind, after)


class Readings:
    """The readings of one stream. Each unit is read in all of them; a reading may hold the unit."""

    def __init__(self, view: View, framing: Framing) -> None:
        self._view = view
        self._framing = framing
        self.number = 0  # of the current unit
        self._declared: dict[tuple[int, Identity], Reading] = {}
        self._paths: dict[Path, AtPath] = {}
        self._pairs: list[Pair] = []
        self._seen: dict[Path, int] = {}  # by path: the last unit with a new leaf
        self._before: set[Path] = set()  # the paths of the last unit
        self._holding: set[Reading] = set()
        self._together: dict[int, _Together] = {}  # by number of the declared text
        self._frames: list[Frame] = []  # the latest first
        self._joins = framing.mode != "records"

    def key(self, path: Path) -> str:
        """Return the names around the leaves at *path*."""
        return self._paths[path].key

    def holder(self, unit: Unit) -> Reading:
        """Return a reading that holds *unit*."""
        return next(reading for reading in self._holding if reading.holds_unit(unit))

    def release(self) -> None:
        """Settle the readings that have had no leaf for too many units."""
        number = self.number
        over = [reading for reading in self._holding if not reading.holds or number - reading.number > reading.patience]
        for reading in over:
            reading.settle()
            self._holding.discard(reading)

    def settle(self) -> None:
        """Settle all readings, so that nothing is held."""
        for reading in list(self._holding):
            reading.settle()
        self._holding.clear()

    def idle(self, *, long: bool) -> None:
        """Settle readings after a silence, see `Documents.idle`."""
        if self._framing.mode != "pieces":
            for reading in [r for r in self._holding if long or (not r.exact and r.fed < 2)]:
                reading.settle()
                reading.fed = 0  # after a silence, new leaves usually do not continue the text
            self._holding = {reading for reading in self._holding if reading.holds}

    def read_text(self, unit: Unit, text: str, event: str) -> None:
        """Read a unit with *text*, which is not JSON, as its data; *event* is its name."""
        leaf = Leaf(unit, None, None, text, (((-1, "event"), event),))
        unit.leaves = (leaf,)
        if self._joins:
            self._feed({(): [leaf]}, {(): ("", self._view.strategy_of)})

    def read(self, unit: Unit, document: Any, event: str) -> None:
        """Read a unit with the parsed *document* as its data; *event* is its name."""
        named = self._named(document)
        taken: set[tuple[int, Any]] = set()
        ended: list[tuple[int, Identity]] = []
        exact: list[Leaf] = []
        unit.exact = exact
        for number, text in enumerate(self._framing.texts):
            for place in text.places(document):
                if place.over:
                    ended.append((number, place.identity))
                slot = (id(place.container), place.key)
                if place.container is None or slot in taken:
                    continue
                taken.add(slot)
                strategies = named.get(slot, self._view.strategy_of)
                if strategies is None or not strategies:
                    continue
                leaf = Leaf(unit, place.container, place.key, place.text, place.identity)
                exact.append(leaf)
                if place.text:
                    reading = self._declared_reading(number, text, place.identity, str(place.key), strategies)
                    reading.feed_piece(leaf, self.number)
                    self._read_together(number, leaf, reading.path, strategies)
        for number, identity in ended:
            for key, reading in self._declared.items():
                if key[0] == number and self._framing.texts[number].ends(identity, key[1]):
                    reading.settle()
            if (together := self._together.get(number)) is not None and together.reading is not None:
                together.reading.settle()
        self._holding.update(r for r in self._declared.values() if r.holds)
        if self._joins:
            for path in self._framing.records:
                taken.update((id(container), key) for container, key in path.slots(document))
            found: dict[Path, list[Leaf]] = {}
            keys: Keys = {}
            siblings: Siblings = (((-1, "event"), event),) if event else ()
            collect = Collector(unit, named, taken, found, keys, self._paths)
            if type(document) is dict or type(document) is list:
                collect.value(document, Place((), siblings, "", "", self._view.strategy_of))
            if found:
                self._feed(found, keys)
        self._remember(unit, event)

    def _declared_reading(
        self, number: int, text: Text, identity: Identity, name: str, strategies: dict[str, Mask]
    ) -> Reading:
        reading = self._declared.get((number, identity))
        if reading is None:
            if len(self._declared) >= MOST_TEXTS:
                over = next((key for key, r in self._declared.items() if not r.holds), None)
                if over is None:
                    raise MaskingError("more than 256 texts are open at once")
                del self._declared[over]
            path = "$" + "".join("[*]" if step is None else f".{step}" for step in text.ways[0])
            window = Window(self._view, words_of(name), strategies)
            reading = self._declared[number, identity] = Reading(window, path, exact=True, patience=PATIENCE)
        return reading

    def _read_together(self, number: int, leaf: Leaf, path: str, strategies: dict[str, Mask]) -> None:
        """Read *leaf* together with the declaration's other texts, in case their identities are unreliable."""
        together = self._together.get(number)
        if together is None:
            together = self._together[number] = _Together(self._view)
        seeds = together.note(leaf)
        if together.reading is None and together.several:
            reading = Reading(Window(self._view, "", strategies), path, exact=True, patience=PATIENCE)
            reading.accepts = together.accepts
            reading.seed(seeds, self.number)
            together.reading = reading
            self._frames.clear()
        if together.reading is not None:
            together.reading.feed_piece(leaf, self.number)
            self._holding.add(together.reading)

    def _named(self, document: Any) -> dict[tuple[int, Any], dict[str, Mask] | None]:
        """Return, for places that masks name, the kinds to search for there; None if the whole value is replaced."""
        if not self._view.named:
            return {}
        found: dict[tuple[int, Any], dict[str, Mask] | None] = {}
        for number, container, key in self._view.slots(document):
            mask, _ = self._view.named[number]
            known = found.get((id(container), key), self._view.strategy_of)
            found[id(container), key] = None if known is None or not mask.kinds else known | self._view.within[number]
        return found

    def _feed(self, found: dict[Path, list[Leaf]], keys: Keys) -> None:
        """Read the leaves of one unit, by path, in all readings."""
        work: dict[Reading, list[Leaf]] = {}
        new: list[Path] = []
        same: set[Path] = set()
        for path, leaves in found.items():
            at = self._paths.get(path) or self._at(path, *keys[path])
            changed = False
            for leaf in leaves:
                changed = at.note(leaf.siblings) or changed
            if changed and at.regroup(self.number):
                self._frames.clear()
            if len(leaves) > _MOST_BESIDE:
                work[at.whole] = leaves
            else:
                for leaf in leaves:
                    for reading in at.readings(leaf, self.number):
                        work.setdefault(reading, []).append(leaf)
            if changed:
                self._holding.update(at.groups.values())
            if not at.recent or at.recent[-1].text != leaves[-1].text:
                new.append(path)
            elif len(leaves[-1].text) >= NAME:
                same.add(path)
            at.remember(leaves)
        self._move(found, new)
        for pair in list(self._pairs):
            here = [path for path in found if path in pair.paths]
            if len(here) > 1 or not same.isdisjoint(pair.paths):  # neither path continues the other
                pair.reading.settle()
                self._pairs.remove(pair)
            elif here:
                pair.reads(here[0])
                work[pair.reading] = found[here[0]]
        for reading, leaves in work.items():
            reading.feed(leaves, self.number)
            if reading.holds:
                self._holding.add(reading)
        for pair in [p for p in self._pairs if p.stayed > 2]:
            pair.reading.settle()
            self._pairs.remove(pair)

    def _at(self, path: Path, key: str, strategies: dict[str, Mask]) -> AtPath:
        if len(self._paths) >= _MOST_PATHS:
            path = ("*",)
            if path in self._paths:
                return self._paths[path]
        at = self._paths[path] = AtPath(self._view, path, key, strategies)
        return at

    def _move(self, found: dict[Path, list[Leaf]], new: list[Path]) -> None:
        """Pair paths if one has replaced another."""
        left = [path for path, number in self._seen.items() if path not in found and self.number - number <= PATIENCE]
        if left:
            left.sort(key=lambda path: -self._seen[path])
            for path in new[-_MOST_NEW:]:
                # A path of the previous unit can only replace a path that has disappeared since then.
                last = self.number - 2 if path in self._before else self._seen.get(path, 0)
                for before in [p for p in left[:_MOST_LEFT] if self._seen[p] > last]:
                    self._pair(before, path)
        for path in new:
            self._seen.pop(path, None)
            self._seen[path] = self.number
        while len(self._seen) > _MOST_PATHS:
            del self._seen[next(iter(self._seen))]
        self._before = set(found)

    def _pair(self, before: Path, path: Path) -> None:
        if any(path in pair.paths and pair.last == before for pair in self._pairs):
            return
        self._frames.clear()
        for pair in self._pairs:
            if pair.last == before and pair.grown < self.number and len(pair.paths) < _MOST_PATHS:
                pair.paths.add(path)
                pair.grown = self.number
                return
        if len(self._pairs) >= _MOST_PAIRS:
            self._pairs.pop(0).reading.settle()
        at = self._paths.get(before) or self._paths[("*",)]
        reading = Reading(
            at.new_window(named=False), f"{at.name}, where another member goes on with it", patience=_MOVED
        )
        pair = Pair(self._view, reading, {before, path}, before)
        pair.grown = self.number
        reading.seed(list(at.recent)[-_SEEDS:], self.number)
        self._holding.add(reading)
        self._pairs.append(pair)

    # Frames: units like an earlier one.

    def framed(self, body: bytes, written: Callable[[bytes | None], Any], event: str) -> Unit | None:
        """Return a unit that matches a frame except for its piece of text; None if no frame matches."""
        for frame in self._frames:
            if body.startswith(frame.before) and body.endswith(frame.after) and frame.event == event:
                text = _string(body[len(frame.before) : len(body) - len(frame.after)])
                if text is None or (not frame.exact and frame.path not in self._before):
                    continue
                if not frame.exact:
                    if frame is not self._frames[0] and self._tells_otherwise(frame):
                        return None
                    # Frames with an older text at this path are out of date.
                    others = [other for other in self._frames if other.path == frame.path and other is not frame]
                    self._frames = [frame, *others]
                unit = Unit(body, written, frame)
                if text:
                    leaf = Leaf(unit, None, None, text, frame.siblings, frame.path)
                    if frame.exact:
                        unit.exact = (leaf,)
                    else:
                        unit.leaves = (leaf,)
                    for reading in frame.readings:
                        reading.feed((leaf,), self.number)
                        if reading.holds:
                            self._holding.add(reading)
                    if not frame.exact:
                        self._paths[frame.path].remember([leaf])
                        self._seen[frame.path] = self.number
                return unit
        return None

    def _tells_otherwise(self, frame: Frame) -> bool:
        """True if the siblings of *frame* change how leaves are separated. Then all frames are dropped."""
        at = self._paths[frame.path]
        if at.note(frame.siblings) and at.regroup(self.number):
            self._frames.clear()
            self._holding.update(at.groups.values())
            return True
        return False

    def _remember(self, unit: Unit, event: str) -> None:
        """Make a frame of *unit* if everything except one piece of a text is clean and not held."""
        new = [leaf for leaf in unit.leaves if leaf.constants < leaf.reads or not leaf.reads]
        if new:
            paths = {leaf.path for leaf in new}
            self._frames = [frame for frame in self._frames if not frame.exact and paths == {frame.path}]
        texts = [*unit.exact, *new]
        if len(texts) != 1 or self._view.named or unit.inner or unit.wrapped:
            return
        (leaf,) = texts
        spelt = encode(leaf.text)
        if not leaf.text or unit.body.count(spelt) != 1:
            return
        before, _, after = unit.body.partition(spelt)
        if any((frame.event, frame.before, frame.after) == (event, before, after) for frame in self._frames):
            return
        empty = b"".join((before, b'""', after))
        document = unit.document
        leaf.container[leaf.key] = ""
        try:
            if not _is_spelling(empty, document) or mask_json(self._view, empty, document, Report()) is not empty:
                return
        finally:
            leaf.container[leaf.key] = leaf.text
        readings = tuple(self._readings_of(leaf, bool(unit.exact)))
        if readings:
            frame = Frame(event, before, after, readings, bool(unit.exact), leaf.path, leaf.siblings)
            self._frames = [frame, *self._frames[: _MOST_FRAMES - 1]]
            unit.frame = frame  # everything around the text is clean

    def _readings_of(self, leaf: Leaf, exact: bool) -> list[Reading]:
        """Return the readings of *leaf*; none if it is read together with another path."""
        if exact:
            together = [t.reading for t in self._together.values() if t.reading is not None]
            return [reading for reading in (*self._declared.values(), *together) if reading.has(leaf)]
        at = self._paths.get(leaf.path)
        if at is None or any(leaf.path in pair.paths for pair in self._pairs):
            return []
        return at.readings(leaf, self.number)


def _is_spelling(body: bytes, document: Any) -> bool:
    """True if *body* spells *document*: the text that was removed from *body* was the leaf, not an equal string."""
    try:
        return bool(parse_answer(body) == document)
    except ContentError:
        return False


def _string(literal: bytes) -> str | None:
    """Return the text of one JSON string; None if *literal* is anything else or more."""
    try:
        return msgspec.json.decode(literal, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
