"""Texts that come in pieces, in one document after another, whatever the members are called that they stand in.

A stream is a sequence of units: events, lines or messages. Each string in a unit is a leaf. A leaf may be a text of its
own, or a piece of a text that leaves of other units go on with. What it is, only the service knows, so every leaf is
read in several ways: alone, and joined with its neighbours in some readings. A value that any reading finds is masked.

A unit is held, whole, while one of its leaves has a part that may still become a value in some reading. It is passed on
with the bytes that it came with, unless a value stands in it. Of a value that several leaves share, the mask stands in
the leaf where the value begins; the parts in the others are removed.

The readings of a leaf are:

- the text that the profile declares at its place, and then no other;
- all leaves at the same path;
- of these, the leaves that have the same values beside them (an ``index``, an ``id``), for each member that tells
  leaves apart, and for all such members together;
- where a path takes another path's place from one unit to the next, the leaves of both.

A reading releases leaves early where its strings are evidently no text: names and identifiers that recur, or a reading
that has not gone on for many units. If it does go on, and a value has begun in what was passed on, the stream is cut.
"""

import re
from collections import deque
from collections.abc import Callable, Container, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import msgspec

from weir.content import ContentError, encode, parse_answer
from weir.masking.detectors.engine import DetectorError
from weir.masking.masker import mask_json, mask_line
from weir.masking.masks import Mask, View
from weir.masking.spelling import Change
from weir.masking.walk import (
    Joined,
    Known,
    MaskingError,
    Part,
    Report,
    Value,
    applied,
    changes_of,
    labels_around,
    named_under,
    words_of,
)
from weir.masking.window import Window
from weir.profiles.framing import UNKNOWN_FRAMING, Framing, Identity, Text

#: Bytes of the units that are held, units that are held for one value, and texts that are told side by side, at most.
LARGEST_EVENT = 8 << 20
MOST_UNITS = 512
MOST_TEXTS = 256
#: Paths that are told apart. Leaves at others are read as if they were at one path.
_MOST_PATHS = 256
#: Pairs of paths that are read together.
_MOST_PAIRS = 16
#: Members beside the leaves of one path by which these are told apart.
_MOST_SLOTS = 4
#: Units without a leaf of a reading after which the reading holds none: of several strings, of one, of two paths.
_PATIENCE = 32
_FRESH = 4
_MOVED = 2
#: Leaves of one path that are remembered, to be read in another way, and their characters.
_RECENT = 64
_KEPT = 3000
#: Different values of a member after which it is a counter, if none of them has returned.
_COUNTER = 16
#: Characters of a string that is a name, if it comes twice in a row.
_NAME = 4
#: Documents within strings.
_DEEPEST = 2
#: Units that differ only in a piece of one text, which services send one after another.
_MOST_FRAMES = 4

_IDENTIFIER = re.compile(r"[A-Za-z0-9_.:-]+")
_DIGIT = re.compile(r"\d")
#: Members that say which text a piece belongs to. Where one recurs, texts are not joined across its values. Members of
#: other names tell texts apart as well, but then the texts are also read as one.
_IDENTITY = re.compile(r"(?:^|_)(?:index|id)$|(?:Index|Id)$")
#: Characters of a sibling by which leaves are told apart.
_SHORT = 80
#: Characters of a string without white space that is data: audio, an image.
_DATA = 2048
#: Types of values that are leaves or have some.
_LEAVES = (str, dict, list, int)
_LONG_NAME = 24

_Path = tuple[str, ...]
#: A member beside a leaf or around it: how deep, and its name.
_Slot = tuple[int, str]
_Siblings = tuple[tuple[_Slot, Any], ...]


class Leaf:
    """One string of a unit."""

    __slots__ = ("constant", "container", "holds", "key", "parts", "path", "siblings", "text", "unit")

    def __init__(
        self, unit: "Unit", container: Any, key: Any, text: str, siblings: _Siblings = (), path: _Path = ()
    ) -> None:
        self.unit = unit
        self.container = container
        self.key = key
        self.text = text
        self.siblings = siblings
        self.path = path
        self.parts: list[Part] = []  # of values, in no order
        self.holds = 0  # readings that hold it
        self.constant = False  # a name that comes again in each unit


def between(before: bytes, body: bytes, after: bytes, masked: bytes | None) -> bytes:
    """A unit that is *before*, a body and *after*: with its *masked* body, or with *body* where nothing is masked."""
    return b"".join((before, body if masked is None else masked, after))


class Unit:
    """One event, line or message. *written* makes its bytes of the masked body; None stands for the body as it came."""

    __slots__ = ("body", "document", "exact", "frame", "holds", "inner", "leaves", "passed", "wrapped", "written")

    def __init__(self, body: bytes, written: Callable[[bytes | None], Any]) -> None:
        self.body = body
        self.written: Callable[[bytes | None], Any] | None = written
        self.document: Any = None
        self.leaves: list[Leaf] = []  # that are read in more ways than alone
        self.exact: list[Leaf] = []  # of declared texts
        self.inner: list[tuple[Any, Any, str, Any]] = []  # documents in strings: container, key, text, document
        self.frame: _Frame | None = None
        self.wrapped = False  # its document is a string, for which the list with that string stands
        self.holds = 0  # how many readings hold leaves of it, once for each leaf
        self.passed = False


class _Frame(NamedTuple):
    """A document without values, around the one piece of a text in it."""

    before: bytes
    after: bytes
    readings: "tuple[Reading, ...]"
    exact: bool
    path: _Path
    siblings: _Siblings


class Reading:
    """Leaves that are read as one text, in order.

    *exact*: the profile says so; otherwise strings that are evidently no pieces are released early.
    """

    __slots__ = (
        "_cumulative", "_held", "_identifiers", "_length", "_previous", "_repeats", "_segments", "_short", "_window", "accepts", "exact", "fed",
        "number", "path", "patience",
    )  # fmt: skip

    def __init__(self, window: Window, path: str, *, exact: bool = False, patience: int = _FRESH) -> None:
        self._window = window
        self.accepts: Callable[[Value, _Told], bool] | None = None  # which values count; None: all
        self.exact = exact
        self.path = path  # as it is named to people
        self.patience = patience
        self.number = 0  # of the unit that had a leaf of it last
        self.fed = 0  # units that had leaves of it
        self._segments: deque[tuple[int, int, Leaf]] = deque()  # from where to where leaves stand in the text
        self._held: deque[tuple[int, Leaf]] = deque()  # leaves that are held, with their ends
        self._previous: str | None = None
        self._repeats = 0
        self._cumulative = -1  # where the text begins that each leaf repeats; -1: none does
        self._identifiers = 0  # strings that all look like identifiers; -1 since one did not
        self._length = 0  # characters of these
        self._short = False  # one of these is short

    @property
    def holds(self) -> bool:
        """Whether it holds any unit."""
        return bool(self._held)

    def has(self, leaf: Leaf) -> bool:
        """Whether *leaf* is the last that it has read."""
        return bool(self._segments) and self._segments[-1][2] is leaf

    def holds_unit(self, unit: Unit) -> bool:
        """Whether it holds *unit*."""
        return any(leaf.unit is unit for _, leaf in self._held)

    def seed(self, leaves: list[Leaf], number: int) -> None:
        """Read *leaves* that have been read in other ways, some of which are passed on already."""
        passed = [leaf for leaf in leaves if leaf.unit.passed]
        for leaf in passed:
            place = self._window.settled
            self._segments.append((place, place + len(leaf.text), leaf))
            self._window.feed(leaf.text, last=True)
        self.fed += len(passed)
        for leaf in leaves:
            if not leaf.unit.passed:
                self.feed([leaf], number)

    def feed(self, leaves: list[Leaf], number: int) -> None:
        """Read *leaves*, of unit *number*. Raises `MaskingError` where a value began in what was passed on."""
        self.number = number
        self.fed += 1
        if self.exact:
            self._join(leaves)
            return
        if len(leaves) == 1:
            text = leaves[0].text
            if text == self._previous:
                self._repeats += 1
                if self._is_constant(text):
                    leaves[0].constant = True
                    self.settle()
                    return
            else:
                self._repeats = 1
            before, self._previous = self._previous, text
            if before and len(text) > len(before) and text.startswith(before) and self._grows(before):
                self._grow(leaves[0], before)
                self._classify(leaves)
                return
        else:
            self._previous = None
        self._cumulative = -1
        self._join(leaves)
        self._classify(leaves)

    def _is_constant(self, text: str) -> bool:
        """Whether a *text* that has come again, with nothing else between, is a name rather than a piece of a text."""
        if any(map(str.isalpha, text)):
            return len(text) >= _NAME or self._repeats > 2
        return len(text) * self._repeats > 40

    def _grows(self, before: str) -> bool:
        """Whether a string that begins with the one *before* repeats it."""
        if self._cumulative >= 0:
            return True
        return any(map(str.isalpha, before)) and (self.fed == 2 or len(before) >= 3)

    def _grow(self, leaf: Leaf, before: str) -> None:
        """Read a leaf that repeats the text *before* it and goes on."""
        window = self._window
        if self._cumulative < 0:
            self._cumulative = window.settled + len(window.held) - len(before)
        start = self._cumulative
        self._hold(leaf, start, start + len(leaf.text))
        self._found(window.feed(leaf.text[len(before) :]))

    def _join(self, leaves: list[Leaf]) -> None:
        window = self._window
        place = window.settled + len(window.held)
        for leaf in leaves:
            end = place + len(leaf.text)
            self._hold(leaf, place, end)
            place = end
        text = leaves[0].text if len(leaves) == 1 else "".join(leaf.text for leaf in leaves)
        self._found(window.feed(text))
        if len(text) > _DATA and not any(map(str.isspace, text)):
            self.settle()

    def _hold(self, leaf: Leaf, start: int, end: int) -> None:
        self._segments.append((start, end, leaf))
        self._held.append((end, leaf))
        leaf.unit.holds += 1
        leaf.holds += 1

    def _classify(self, leaves: list[Leaf]) -> None:
        """Hold nothing where all strings so far look like identifiers."""
        if self._identifiers < 0:
            return
        text = leaves[0].text
        if len(leaves) > 1 or _IDENTIFIER.fullmatch(text) is None:
            self._identifiers = -1
            return
        self._identifiers += 1
        self._length += len(text)
        self._short = self._short or len(text) < 12
        if (self._identifiers >= 8 and self._length >= 64) or (self._identifiers >= 3 and not self._short):
            held = self._window.held
            if not held.isdigit() or len(held) > 40:
                self.settle()

    def settle(self) -> None:
        """Hold nothing. If the text goes on, and a value has begun in what was passed on, `feed` raises."""
        self._found(self._window.feed("", last=True))

    def _found(self, values: list[Value]) -> None:
        window, segments, held = self._window, self._segments, self._held
        for value in values:
            among = [
                (leaf, Part(max(value.start, start) - start, min(value.end, end) - start, start <= value.start, value))
                for start, end, leaf in segments
                if start < value.end and value.start < end
            ]
            if self.accepts is not None and not self.accepts(value, _told_by(value, segments)):
                continue
            begins = True
            for leaf, part in among:
                if not leaf.unit.passed:
                    leaf.parts.append(part._replace(begins=part.begins or begins))
                    begins = False
                elif value.start < window.forced and not any(
                    known.start <= part.start and part.end <= known.end for known in leaf.parts
                ):
                    raise MaskingError(
                        f"a value has begun in what was passed on of {self.path}; have the profile declare the text in "
                        "`texts`, or set `framing: records` if each document stands alone"
                    )
                else:
                    begins = begins and not leaf.parts
        settled = window.settled
        while held and held[0][0] <= settled:
            leaf = held.popleft()[1]
            leaf.holds -= 1
            leaf.unit.holds -= 1
        begins = window.begins
        while segments and segments[0][1] <= begins:
            segments.popleft()


def _told_by(value: Value, segments: Iterable[tuple[int, int, Leaf]]) -> "_Told":
    """The leaves of *value*, each with the part of it that stands there; nothing twice."""
    place, told = value.start, []
    for start, end, leaf in segments:
        if start < value.end and place < end:
            told.append((leaf, leaf.text[place - start : value.end - start]))
            place = end
    return told


#: Leaves, each with a part of a value.
_Told = list[tuple[Leaf, str]]


def _is_apart(view: View, kind: str, before: str, after: str) -> bool:
    """Whether a text that ends with *before*, or one that begins with *after*, has a value of *kind* by itself there."""
    find = view.detectors.find
    return any(span.kind == kind and span.end == len(after) for span in find(after)) or any(
        span.kind == kind and span.start == 0 for span in find(before)
    )


def _accepts_in_list(view: View, value: Value, told: _Told) -> bool:
    """Whether *value*, told by strings of lists, counts. A list of strings most often has texts of their own."""
    (first, before), (last, after) = told[0], told[-1]
    beside = [leaf for leaf, _ in told if leaf.unit is last.unit]
    return len(beside) < 2 or type(last.container) is not list or not _is_apart(view, value.kind, before, after)


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

    @property
    def certain(self) -> bool:
        """Whether its values certainly tell texts apart, so that these are not read as one."""
        return self.identity and self.returns > 1 and len(self.values) > 1


class _AtPath:
    """The leaves at one path, and the readings of them."""

    __slots__ = (
        "_by", "_kept", "_own", "_strategies", "_view", "groups", "key", "members", "name", "recent", "whole",
    )  # fmt: skip

    def __init__(self, view: View, path: _Path, key: str, strategies: dict[str, Mask]) -> None:
        self._view = view
        self._strategies = strategies
        self.key = key
        self.name = "$" + "".join("[*]" if step == "*" else f".{step}" for step in path)
        self._own = (len(path) - 1, path[-1]) if path else (-2, "")
        self.members: dict[_Slot, _Member] = {}
        self._by: list[_Slot] = []
        self.groups: dict[tuple[Any, ...], Reading] = {}
        self.recent: deque[Leaf] = deque()
        self._kept = 0  # characters of these
        self.whole: Reading | None = self._new()

    def new_window(self) -> Window:
        """A window on texts that stand here."""
        return Window(self._view, self.key, self._strategies)

    def _new(self) -> Reading:
        reading = Reading(self.new_window(), self.name)
        if self._own[1] == "*":
            reading.accepts = partial(_accepts_in_list, self._view)
        return reading

    def note(self, siblings: _Siblings) -> bool:
        """Note what stands beside one leaf more. Returns whether that may change how leaves are told apart."""
        changed = False
        beside = dict(siblings)
        for slot, known in self.members.items():
            if slot not in beside and known.note(None):
                changed = True
        for slot, value in siblings:
            if slot == self._own:
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
        telling.sort(key=lambda slot: (not self.members[slot].certain, not self.members[slot].identity))
        by = telling[:_MOST_SLOTS]
        certain = any(self.members[slot].certain for slot in by)
        if by == self._by and certain == (self.whole is None):
            return False
        if by != self._by:
            self._by = by
            for group in self.groups.values():
                group.settle()
            self.groups.clear()
            for leaf in list(self.recent):
                if not leaf.unit.passed:
                    list(self._groups_of(leaf, number))
        if certain and self.whole is not None:
            self.whole.settle()
            self.whole = None
        elif not certain and self.whole is None:
            self.whole = self._new()
            self.whole.seed(list(self.recent), number)
        return True

    def readings(self, leaf: Leaf, number: int) -> list[Reading]:
        """The readings that *leaf* belongs to, of unit *number*. It is not in `recent` yet."""
        found = [] if self.whole is None else [self.whole]
        return [*found, *self._groups_of(leaf, number)] if self._by else found

    def _groups_of(self, leaf: Leaf, number: int) -> Iterator[Reading]:
        beside = dict(leaf.siblings)
        values = [(slot, beside.get(slot)) for slot in self._by]
        keys: list[tuple[Any, ...]] = [(value,) for value in values]
        if len(values) > 1:
            keys.append(tuple(values))
        for key in keys:
            group = self.groups.get(key)
            if group is None:
                group = self._new_group(key, number)
            yield group

    def _new_group(self, key: tuple[Any, ...], number: int) -> Reading:
        if len(self.groups) >= MOST_TEXTS:
            oldest = min(self.groups, key=lambda k: self.groups[k].number)
            self.groups.pop(oldest).settle()
        group = self.groups[key] = self._new()
        if any(self.members[slot].identity and slot[0] > 0 for slot, _ in key):
            group.patience = _PATIENCE
        same = [leaf for leaf in self.recent if all(dict(leaf.siblings).get(slot) == value for slot, value in key)]
        if same:
            group.seed(same, number)
        return group

    def all(self) -> Iterator[Reading]:
        """Every reading."""
        if self.whole is not None:
            yield self.whole
        yield from self.groups.values()


class _Pair:
    """Paths of which one has taken another's place, read as one text."""

    __slots__ = ("_read", "_view", "grown", "last", "paths", "reading", "returns", "stayed")

    def __init__(self, view: View, reading: Reading, paths: set[_Path], last: _Path) -> None:
        self._view = view
        self.reading = reading
        self.reading.accepts = self._accepts
        self.paths = paths
        self.last = last  # the path that was read last
        self.stayed = 0  # units since that path is read
        self.returns = 0  # how often a path has come again after another
        self.grown = 0  # the unit in which it got a path more
        self._read = {last}

    def reads(self, path: _Path) -> None:
        """Note that *path* has a leaf in the unit that comes."""
        if path == self.last:
            self.stayed += 1
            return
        self.stayed = 0
        self.returns += int(path in self._read)
        self._read.add(path)
        self.last = path

    def _accepts(self, value: Value, told: _Told) -> bool:
        """Whether *value*, *told* by leaves at several paths, counts.

        Most often a path that takes another's place has a text of its own. Then a value that this text has by itself
        does not go back to the other path, nor does one of the other path go on in it.
        """
        path = told[-1][0].path
        before = [text for leaf, text in told if leaf.path != path]
        if not before or self.returns > 1 or told[len(before) - 1][0].path[-1:] == path[-1:]:
            return True
        after = "".join(text for leaf, text in told if leaf.path == path)
        return not _is_apart(self._view, value.kind, "".join(before), after)


class Documents[T]:
    """The units of one stream, those that are held and those that may be passed on. `T` is what is passed on."""

    def __init__(self, view: View, report: Report, framing: Framing = UNKNOWN_FRAMING, *, lines: bool = False) -> None:
        self._view = view
        self._report = report
        self._framing = framing
        self._mask = mask_line if lines else mask_json
        self._units: deque[Unit] = deque()
        self._size = 0  # bytes of these
        self._number = 0
        self._declared: dict[tuple[int, Identity], Reading] = {}
        self._paths: dict[_Path, _AtPath] = {}
        self._pairs: list[_Pair] = []
        self._seen: dict[_Path, tuple[int, Leaf]] = {}  # of paths: the last unit with a leaf that was new, and the leaf
        self._before: set[_Path] = set()  # the paths of the last unit
        self._holding: set[Reading] = set()
        self._frames: list[_Frame] = []  # the last ones, the latest first
        self._joins = framing.mode != "records"

    def add(self, body: bytes, written: Callable[[bytes | None], T], event: str = "") -> None:
        """Take a unit whose data is the JSON text *body*; *event* is its name. Raises `MaskingError`, `ContentError`."""
        self._number += 1
        unit = self._framed(body, written)
        if unit is None:
            unit = Unit(body, written)
            unit.document = parse_answer(body)
            if type(unit.document) is str:
                unit.body, unit.document, unit.wrapped = b"[%s]" % body, [unit.document], True
            if self._view.recognises:
                self._read(unit, unit.document, event)
        self._take(unit)

    def add_like_before(self, body: bytes, before: bytes, after: bytes) -> bool:
        """Take a unit that is *before*, a JSON text and *after*, if it is like one before. Returns whether it is."""
        self._number += 1
        unit = self._framed(body, partial(between, before, body, after))
        if unit is None:
            self._number -= 1
            return False
        self._take(unit)
        return True

    def add_text(self, text: str, written: Callable[[bytes | None], T], event: str = "") -> None:
        """Take a unit whose data is *text*, which is no JSON."""
        self._number += 1
        unit = Unit(text.encode(), written)
        unit.document = text
        if self._view.recognises and text:
            leaf = Leaf(unit, None, None, text, (((-1, "event"), event),))
            unit.leaves.append(leaf)
            if self._joins:
                self._feed({(): [leaf]}, {(): ("", self._view.strategy_of)})
        self._take(unit)

    def add_other(self, passed: T) -> None:
        """Take what has no text in it. It keeps its place."""
        self._take(Unit(b"", lambda _: passed))

    def _take(self, unit: Unit) -> None:
        self._units.append(unit)
        self._size += len(unit.body)
        for reading in [r for r in self._holding if self._number - r.number > self._patience(r)]:
            reading.settle()
        self._holding = {reading for reading in self._holding if reading.holds}
        if (
            unit.holds
            and (len(self._units) > MOST_UNITS or self._size > LARGEST_EVENT + len(unit.body))
            and self._units[0].holds
        ):
            held = next((r for r in self._holding if r.holds_unit(self._units[0])), None)
            raise MaskingError(
                f"{len(self._units)} documents are held for what may become a value in {held.path if held else '$'}; have the "
                "profile declare the text in `texts`, or set `framing: records` if each document stands alone"
            )

    @staticmethod
    def _patience(reading: Reading) -> int:
        return reading.patience if reading.fed < 2 or reading.patience < _FRESH else _PATIENCE

    def ready(self) -> list[T]:
        """The units that may be passed on now, in order."""
        out = []
        units = self._units
        while units and not units[0].holds:
            unit = units.popleft()
            self._size -= len(unit.body)
            out.append(self._passed(unit))
        return out

    def settle(self) -> None:
        """Hold nothing: the service says that all texts have ended, or that for now nothing more comes."""
        for reading in list(self._holding):
            reading.settle()
        self._holding.clear()

    def end(self) -> list[T]:
        """All that is held."""
        self.settle()
        return self.ready()

    @property
    def holds(self) -> bool:
        """Whether any unit is held."""
        return bool(self._units)

    def idle(self, *, long: bool = False) -> None:
        """Hold less, as nothing has come for a while: only texts that have gone on already; if it is *long*, only declared ones.

        With the framing ``pieces``, all is held until more comes.
        """
        if self._framing.mode != "pieces":
            for reading in [r for r in self._holding if not r.exact and (long or r.fed < 2)]:
                reading.settle()
            self._holding = {reading for reading in self._holding if reading.holds}

    # What is read.

    def _read(self, unit: Unit, document: Any, event: str) -> None:
        named = self._named(document)
        taken: set[tuple[int, Any]] = set()
        ended: list[tuple[int, Identity]] = []
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
                leaf = Leaf(unit, place.container, place.key, place.text)
                unit.exact.append(leaf)
                if place.text:
                    self._declared_reading(number, text, place.identity, str(place.key), strategies).feed(
                        [leaf], self._number
                    )
        for number, identity in ended:
            for key, reading in self._declared.items():
                if key[0] == number and self._framing.texts[number].ends(identity, key[1]):
                    reading.settle()
        self._holding.update(r for r in self._declared.values() if r.holds)
        if self._joins:
            for path in self._framing.records:
                taken.update((id(container), key) for container, key in path.slots(document))
            found: dict[_Path, list[Leaf]] = {}
            keys: dict[_Path, tuple[str, dict[str, Mask]]] = {}
            siblings: _Siblings = (((-1, "event"), event),) if event else ()
            collect = _Collector(unit, named, taken, found, keys, self._paths)
            if type(document) is dict or type(document) is list:
                collect.value(document, (), siblings, "", "", self._view.strategy_of, 0)
            if found:
                self._feed(found, keys)
        self._remember(unit)

    def _declared_reading(
        self, number: int, text: Text, identity: Identity, name: str, strategies: dict[str, Mask]
    ) -> Reading:
        reading = self._declared.get((number, identity))
        if reading is None:
            if len(self._declared) >= MOST_TEXTS:
                over = next((key for key, r in self._declared.items() if not r.holds), None)
                if over is None:
                    raise MaskingError("more texts are told at once than may be")
                del self._declared[over]
            path = "$" + "".join("[*]" if step is None else f".{step}" for step in text.ways[0])
            window = Window(self._view, words_of(name), strategies)
            reading = self._declared[number, identity] = Reading(window, path, exact=True, patience=_PATIENCE)
        return reading

    def _named(self, document: Any) -> dict[tuple[int, Any], dict[str, Mask] | None]:
        """For places that masks name: what is looked for there; None where all of it is replaced."""
        if not self._view.named:
            return {}
        found: dict[tuple[int, Any], dict[str, Mask] | None] = {}
        for number, container, key in self._view.slots(document):
            mask, _ = self._view.named[number]
            known = found.get((id(container), key), self._view.strategy_of)
            found[id(container), key] = None if known is None or not mask.kinds else known | self._view.within[number]
        return found

    def _feed(self, found: dict[_Path, list[Leaf]], keys: dict[_Path, tuple[str, dict[str, Mask]]]) -> None:
        """Read the leaves of one unit, by their paths, in all ways."""
        work: dict[Reading, list[Leaf]] = {}
        new: dict[_Path, Leaf] = {}
        same: set[_Path] = set()
        for path, leaves in found.items():
            at = self._paths.get(path) or self._at(path, *keys[path])
            changed = False
            for leaf in leaves:
                changed = at.note(leaf.siblings) or changed
            if changed and at.regroup(self._number):
                self._frames.clear()
            for leaf in leaves:
                for reading in at.readings(leaf, self._number):
                    work.setdefault(reading, []).append(leaf)
            if changed:
                self._holding.update(at.groups.values())
            if not at.recent or at.recent[-1].text != leaves[-1].text:
                new[path] = leaves[-1]
            elif len(leaves[-1].text) >= _NAME:
                same.add(path)
            at.remember(leaves)
        self._move(found, new)
        for pair in list(self._pairs):
            here = [path for path in found if path in pair.paths]
            if len(here) > 1 or not same.isdisjoint(pair.paths):  # neither goes on with the other
                pair.reading.settle()
                self._pairs.remove(pair)
            elif here:
                pair.reads(here[0])
                work[pair.reading] = found[here[0]]
        for reading, leaves in work.items():
            reading.feed(leaves, self._number)
            if reading.holds:
                self._holding.add(reading)
        for pair in [p for p in self._pairs if p.stayed > 2]:
            pair.reading.settle()
            self._pairs.remove(pair)

    def _at(self, path: _Path, key: str, strategies: dict[str, Mask]) -> _AtPath:
        if len(self._paths) >= _MOST_PATHS:
            path = ("*",)
            if path in self._paths:
                return self._paths[path]
        at = self._paths[path] = _AtPath(self._view, path, key, strategies)
        return at

    def _move(self, found: dict[_Path, list[Leaf]], new: dict[_Path, Leaf]) -> None:
        """Read paths as one where one has taken another's place."""
        came = [path for path in new if path not in self._before]
        left = [
            path
            for path, (number, _) in self._seen.items()
            if path not in found and self._number - number <= _FRESH * 2
        ]
        for path in came[:4]:
            last, _ = self._seen.get(path, (0, None))
            later = [before for before in left if self._seen[before][0] > last]
            for before in sorted(later, key=lambda p: -self._seen[p][0])[:4]:
                self._pair(before, path)
        for path, leaf in new.items():
            self._seen.pop(path, None)
            self._seen[path] = (self._number, leaf)
        while len(self._seen) > _MOST_PATHS:
            del self._seen[next(iter(self._seen))]
        self._before = set(found)

    def _pair(self, before: _Path, path: _Path) -> None:
        if any(before in pair.paths and path in pair.paths for pair in self._pairs):
            return
        self._frames.clear()
        for pair in self._pairs:
            if pair.last == before and pair.grown < self._number and len(pair.paths) < _MOST_PATHS:
                pair.paths.add(path)
                pair.grown = self._number
                return
        if len(self._pairs) >= _MOST_PAIRS:
            self._pairs.pop(0).reading.settle()
        at = self._paths.get(before) or self._paths[("*",)]
        reading = Reading(at.new_window(), f"{at.name}, where another member goes on with it", patience=_MOVED)
        pair = _Pair(self._view, reading, {before, path}, before)
        pair.grown = self._number
        reading.seed(list(at.recent), self._number)
        self._holding.add(reading)
        self._pairs.append(pair)

    # Units like one before.

    def _framed(self, body: bytes, written: Callable[[bytes | None], Any]) -> Unit | None:
        """A unit like one before, but for its piece of a text; None where it is none."""
        for frame in self._frames:
            if body.startswith(frame.before) and body.endswith(frame.after):
                text = _string(body[len(frame.before) : len(body) - len(frame.after)])
                if text is None or (not frame.exact and frame.path not in self._before):
                    continue
                unit = Unit(body, written)
                unit.frame = frame
                if text:
                    leaf = Leaf(unit, None, None, text, frame.siblings)
                    (unit.exact if frame.exact else unit.leaves).append(leaf)
                    for reading in frame.readings:
                        reading.feed([leaf], self._number)
                        if reading.holds:
                            self._holding.add(reading)
                    if not frame.exact:
                        self._paths[frame.path].remember([leaf])
                        self._seen[frame.path] = (self._number, leaf)
                return unit
        return None

    def _remember(self, unit: Unit) -> None:
        """Make a frame of *unit*, where all but one piece of a text is clean and held by nothing."""
        texts = [*unit.exact, *(leaf for leaf in unit.leaves if not leaf.constant)]
        if len(texts) != 1 or self._view.named or unit.inner:
            return
        (leaf,) = texts
        spelt = encode(leaf.text)
        if not leaf.text or unit.body.count(spelt) != 1:
            return
        before, _, after = unit.body.partition(spelt)
        if any(frame.before == before and frame.after == after for frame in self._frames):
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
            frame = _Frame(before, after, readings, bool(unit.exact), leaf.path, leaf.siblings)
            self._frames = [frame, *self._frames[: _MOST_FRAMES - 1]]

    def _readings_of(self, leaf: Leaf, exact: bool) -> list[Reading]:
        """The readings of a leaf; none where it is read together with another path."""
        if exact:
            return [reading for reading in self._declared.values() if reading.has(leaf)]
        at = self._paths.get(leaf.path)
        if at is None or any(leaf.path in pair.paths for pair in self._pairs):
            return []
        return at.readings(leaf, self._number)

    # What is passed on.

    def _passed(self, unit: Unit) -> T:
        """What is passed on of *unit*, which nothing holds any more."""
        unit.passed = True
        try:
            masked = self._masked(unit)
        finally:
            unit.document, unit.inner = None, []
            written, unit.body, unit.written = unit.written, b"", None
            for leaf in (*unit.leaves, *unit.exact):
                leaf.container = None
        assert written is not None
        passed: T = written(masked)
        return passed

    def _masked(self, unit: Unit) -> bytes | None:
        """The body of *unit* with masks; None where nothing in it is masked."""
        if unit.frame is not None:
            return self._masked_frame(unit, unit.frame)
        document = unit.document
        if document is None:
            return None
        if type(document) is str:
            return self._masked_text(document, unit.leaves[0].parts if unit.leaves else [])
        known: Known = {}
        for leaf in unit.leaves:
            if leaf.parts and type(leaf.container[leaf.key]) is int:
                changes = changes_of(self._view, leaf.text, [], {}, self._report, leaf.parts)
                known[id(leaf.container), leaf.key] = Joined([], False, applied(leaf.text, changes))
            elif leaf.parts:
                known[id(leaf.container), leaf.key] = Joined(leaf.parts, True)
        for leaf in unit.exact:
            known[id(leaf.container), leaf.key] = Joined(leaf.parts, False)
        for container, key, text, inner in reversed(unit.inner):
            body = text.encode()
            masked = mask_json(self._view, body, inner, self._report, known)
            if masked is not body:
                new = masked.decode()
                known[id(container), key] = Joined([], False, new if container[key] == text else new[1:-1])
        masked = self._mask(self._view, unit.body, document, self._report, known)
        if masked is unit.body or masked == unit.body:
            return None
        return masked[1:-1] if unit.wrapped else masked

    def _masked_frame(self, unit: Unit, frame: _Frame) -> bytes | None:
        for leaf in unit.exact or unit.leaves:
            if frame.exact:
                changes = changes_of(self._view, leaf.text, [], {}, self._report, leaf.parts) if leaf.parts else []
            else:
                changes = self._changes(leaf.text, self._paths[frame.path].key, leaf.parts)
            if changes:
                return b"".join((frame.before, encode(applied(leaf.text, changes)), frame.after))
        return None

    def _masked_text(self, text: str, parts: list[Part]) -> bytes | None:
        changes = self._changes(text, "", parts) if self._view.recognises else []
        return applied(text, changes).encode() if changes else None

    def _changes(self, text: str, key: str, parts: list[Part]) -> list[Change]:
        """What is masked in a *text* that may be one of its own, and has *parts* of values."""
        try:
            spans = self._view.detectors.find(text, key)
        except DetectorError as error:
            raise MaskingError(str(error)) from None
        return changes_of(self._view, text, spans, self._view.strategy_of, self._report, parts)


class _Collector:
    """Collects the leaves of one document, with what stands beside them."""

    def __init__(
        self,
        unit: Unit,
        named: dict[tuple[int, Any], dict[str, Mask] | None],
        taken: set[tuple[int, Any]],
        found: dict[_Path, list[Leaf]],
        keys: dict[_Path, tuple[str, dict[str, Mask]]],
        known: Container[_Path],
    ) -> None:
        self._known = known  # paths at which there have been strings
        self._unit = unit
        self._named = named
        self._taken = taken
        self._found = found
        self._keys = keys

    def value(
        self,
        value: Any,
        path: _Path,
        siblings: _Siblings,
        key: str,
        around: str,
        strategies: dict[str, Mask],
        depth: int,
    ) -> None:
        """The leaves of a dict or list *value* at *path*; *depth* documents are around its own."""
        kind = type(value)
        if kind is dict:
            around = labels_around(key, value)
            beside = [
                ((len(path), name), item)
                for name, item in value.items()
                if item is None
                or (type(item) is str and len(item) <= _SHORT and " " not in item)
                or type(item) in (int, bool)
            ]
            siblings = (*siblings, *beside)
            for name, item in value.items():
                if type(item) not in _LEAVES or name == "logprobs" or (id(value), name) in self._taken:
                    continue  # log-probabilities are removed as a whole
                step, more = name, siblings
                if len(name) >= _LONG_NAME or _DIGIT.search(name):
                    step, more = "*", (*siblings, ((len(path), "{}"), name))
                self._item(value, name, item, (*path, step), more, name, around, strategies, depth)
        else:
            for i, item in enumerate(value):
                if type(item) in _LEAVES and (id(value), i) not in self._taken:
                    more = (*siblings, ((len(path), "[]"), i))
                    self._item(value, i, item, (*path, "*"), more, key, around, strategies, depth)

    def _item(
        self,
        container: Any,
        index: Any,
        item: Any,
        path: _Path,
        siblings: _Siblings,
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
        path: _Path,
        siblings: _Siblings,
        key: str,
        around: str,
        strategies: dict[str, Mask],
    ) -> None:
        leaf = Leaf(self._unit, container, index, text, siblings, path)
        self._unit.leaves.append(leaf)
        if path not in self._found:
            self._found[path] = []
            self._keys[path] = (words_of(named_under(key, around)), strategies)
        self._found[path].append(leaf)

    def _inner(
        self,
        container: Any,
        index: Any,
        item: str,
        path: _Path,
        siblings: _Siblings,
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
            self._unit.inner.append((container, index, item, inner))
            self.value(inner, (*path, "*"), siblings, key, around, strategies, depth)


def _is_spelling(body: bytes, document: Any) -> bool:
    """Whether *body* spells *document*: the text that was taken out of it was the piece, and nothing like it."""
    try:
        return bool(parse_answer(body) == document)
    except ContentError:
        return False


def _string(literal: bytes) -> str | None:
    """The text that one JSON string is; None where *literal* is anything else or more."""
    try:
        return msgspec.json.decode(literal, type=str)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
