"""The units and leaves of a stream, and `Reading`, which reads several leaves as one text."""

import re
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from weir.masking.masks import View
from weir.masking.walk import MaskingError, Part, Value
from weir.masking.window import Window

#: A reading holds nothing after this many units without a leaf for it; FRESH if it had leaves of one unit only.
PATIENCE = 32
FRESH = 4
#: Minimum length of a string that is a name if it comes twice in a row.
NAME = 4
#: Equal strings in a row, up to this many characters together, may still be part of a value.
_LONGEST_RUN = 100
#: Minimum length of a string that no value contains twice in a row.
_LEAST_WHOLE = 16
#: Number of leaves held for one word after which only its last _HELD characters are held.
_MOST_HELD = 200
_HELD = 100
#: Length of a string without white space that is treated as data, such as audio or an image.
_DATA = 2048
#: Advice for the operator of a stream that was cut.
REMEDY = (
    "have the profile declare the text in `texts`, or set `framing: records` if each document stands alone "
    "(docs: Streams)"
)
_IDENTIFIER = re.compile(r"[A-Za-z0-9_.:-]+")

#: Member names from the document to a leaf; ``*`` for items of lists, and for names that differ per item.
Path = tuple[str, ...]
#: A member beside or around a leaf: its depth and its name.
Slot = tuple[int, str]
Siblings = tuple[tuple[Any, Any], ...]


class Leaf:
    """One string of a unit."""

    parts: list[Part] | tuple[Part, ...] = ()  # parts of values, in no order
    holds = 0  # readings that hold it
    reads = 0  # readings that have read it
    constants = 0  # readings in which it is a name that comes again in each unit

    def __init__(
        self, unit: "Unit", container: Any, key: Any, text: str, siblings: Siblings = (), path: Path = ()
    ) -> None:
        self.unit = unit
        self.container = container
        self.key = key
        self.text = text
        self.siblings = siblings
        self.path = path

    @cached_property
    def beside(self) -> dict[Any, Any]:
        """The values of its siblings by their slots."""
        return dict(self.siblings)


def between(before: bytes, body: bytes, after: bytes, masked: bytes | None) -> bytes:
    """Join *before*, the *masked* body (or *body* if nothing is masked), and *after*."""
    return b"".join((before, body if masked is None else masked, after))


class Unit:
    """One event, line or message. *written* makes its bytes from the masked body; None means an unchanged body."""

    # Class attributes, because most units never set them and there is one unit per event.
    document: Any = None
    leaves: list[Leaf] | tuple[Leaf, ...] = ()  # leaves that are also read together with others
    exact: list[Leaf] | tuple[Leaf, ...] = ()  # leaves of declared texts
    inner: list[tuple[Any, Any, str, Any]] | None = None  # documents in strings: container, key, text, document
    wrapped = False  # the document is a bare string, wrapped in a list
    holds = 0  # sum over its leaves of the readings that hold them
    marked = False  # a leaf contains part of a value
    passed = False

    def __init__(self, body: bytes, written: Callable[[bytes | None], Any], frame: "Frame | None" = None) -> None:
        self.body = body
        self.written: Callable[[bytes | None], Any] | None = written
        self.frame = frame


class Frame(NamedTuple):
    """A document without values, except for one piece of a text between *before* and *after*; *event* is its name."""

    event: str
    before: bytes
    after: bytes
    readings: "tuple[Reading, ...]"
    exact: bool
    path: Path
    siblings: Siblings


#: The leaves of one value, each with its part of the value.
Told = list[tuple[Leaf, str]]


class Reading:
    """Leaves that are read as one text, in order.

    *exact*: the profile declares the text. Otherwise strings that look like names or identifiers are released early.
    """

    __slots__ = (
        "_cumulative", "_held", "_identifiers", "_length", "_previous", "_repeats", "_segments", "_short", "_window",
        "accepts", "exact", "fed", "number", "path", "patience",
    )  # fmt: skip

    def __init__(self, window: Window, path: str, *, exact: bool = False, patience: int = FRESH) -> None:
        self._window = window
        self.accepts: Callable[[Value, Told], bool] | None = None  # which values are accepted; None: all
        self.exact = exact
        self.path = path  # JSONPath for error messages
        self.patience = patience
        self.number = 0  # the last unit with a leaf for this reading
        self.fed = 0  # number of units with leaves for it
        self._segments: deque[tuple[int, int, Leaf]] = deque()  # start and end of each leaf in the text
        self._held: deque[tuple[int, Leaf]] = deque()  # held leaves, with their ends
        self._previous: str | None = None
        self._repeats = 0
        self._cumulative = -1  # start of the text that each leaf repeats; -1: leaves do not repeat it
        self._identifiers = 0  # number of strings, while all look like identifiers; then -1
        self._length = 0  # their total length
        self._short = False  # one of them is short

    @property
    def holds(self) -> bool:
        """True if it holds any unit."""
        return bool(self._held)

    def has(self, leaf: Leaf) -> bool:
        """True if *leaf* is the last leaf that it has read."""
        return bool(self._segments) and self._segments[-1][2] is leaf

    def holds_unit(self, unit: Unit) -> bool:
        """True if it holds *unit*."""
        return any(leaf.unit is unit for _, leaf in self._held)

    def seed(self, leaves: list[Leaf], number: int) -> None:
        """Start with *leaves* that other readings already hold or have released."""
        passed = [leaf for leaf in leaves if leaf.unit.passed]
        for leaf in passed:
            place = self._window.settled
            self._segments.append((place, place + len(leaf.text), leaf))
            self._window.feed(leaf.text, last=True)
        self.fed += len(passed)
        for leaf in leaves:
            if not leaf.unit.passed:
                self.feed([leaf], number)

    def feed(self, leaves: Sequence[Leaf], number: int) -> None:
        """Read *leaves* of unit *number*. Raises `MaskingError` if a value starts in a released unit."""
        if self.exact:
            for leaf in leaves:
                self.feed_piece(leaf, number)
            return
        self.number = number
        self.fed += 1
        for leaf in leaves:
            leaf.reads += 1
        if self.fed == 2 and self.patience == FRESH:
            self.patience = PATIENCE
        if len(leaves) == 1:
            text = leaves[0].text
            if text == self._previous:
                self._repeats += 1
                if self._is_constant(text):
                    leaves[0].constants += 1
                    if len(text) < _LEAST_WHOLE and len(text) * self._repeats < _LONGEST_RUN:
                        self._join(leaves)
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

    def feed_piece(self, leaf: Leaf, number: int) -> None:
        """Read *leaf* of unit *number*, which is known to be a piece of the text."""
        self.number = number
        window, text, unit = self._window, leaf.text, leaf.unit
        start = window.settled + len(window.held)
        end = start + len(text)
        self._segments.append((start, end, leaf))
        self._held.append((end, leaf))
        leaf.holds += 1
        unit.holds += 1
        values = window.feed(text)
        if values or self._held[0][0] <= window.settled:
            self._found(values)
        if len(self._held) > _MOST_HELD:
            self._found(window.shorten(_HELD))
        if len(text) > _DATA and not any(map(str.isspace, text)):
            self.settle()

    def _is_constant(self, text: str) -> bool:
        """True if *text*, which repeats the leaf before it, is a name rather than a piece of a text.

        A value may contain a part twice. So a name is no longer held, but it is still read for the first repetitions.
        """
        if any(map(str.isalpha, text)):
            return len(text) >= NAME or self._repeats > 2
        return len(text) * self._repeats > 40

    def _grows(self, before: str) -> bool:
        """True if a string that starts with *before* is a repetition of it that grows."""
        if self._cumulative >= 0:
            return True
        return any(map(str.isalpha, before)) and len(before) >= (4 if self.fed == 2 else 8)

    def _grow(self, leaf: Leaf, before: str) -> None:
        """Read a *leaf* that repeats the text *before* it and adds to it."""
        window = self._window
        if self._cumulative < 0:
            self._cumulative = window.settled + len(window.held) - len(before)
        start = self._cumulative
        self._hold(leaf, start, start + len(leaf.text))
        self._found(window.feed(leaf.text[len(before) :]))

    def _join(self, leaves: Sequence[Leaf]) -> None:
        window = self._window
        place = window.settled + len(window.held)
        for leaf in leaves:
            end = place + len(leaf.text)
            self._hold(leaf, place, end)
            place = end
        text = leaves[0].text if len(leaves) == 1 else "".join(leaf.text for leaf in leaves)
        self._found(window.feed(text))
        if len(self._held) > _MOST_HELD:
            self._found(window.shorten(_HELD))
        if len(text) > _DATA and not any(map(str.isspace, text)):
            self.settle()

    def _hold(self, leaf: Leaf, start: int, end: int) -> None:
        self._segments.append((start, end, leaf))
        self._held.append((end, leaf))
        leaf.unit.holds += 1
        leaf.holds += 1

    def _classify(self, leaves: Sequence[Leaf]) -> None:
        """Release everything if all strings so far look like identifiers."""
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
            if "eyJ" not in held and (not held.isdigit() or len(held) > 40):  # JOSE tokens begin with eyJ
                self.settle()

    def settle(self) -> None:
        """Release everything. `feed` raises if a later piece completes a value that started before."""
        self._found(self._window.feed("", last=True))

    def _found(self, values: list[Value]) -> None:
        window, segments, held = self._window, self._segments, self._held
        for value in values:
            among = [
                (leaf, Part(max(value.start, start) - start, min(value.end, end) - start, start <= value.start, value))
                for start, end, leaf in segments
                if start < value.end and value.start < end
            ]
            if len(among) > 1 and _is_name(among[0][0].text) and len({leaf.text for leaf, _ in among}) == 1:
                continue  # a repeated name
            if self.accepts is not None and not self.accepts(value, _told_by(value, segments)):
                continue
            begins = True
            for leaf, part in among:
                if not leaf.unit.passed:
                    leaf.parts = [*leaf.parts, part if part.begins or not begins else part._replace(begins=True)]
                    leaf.unit.marked = True
                    begins = False
                elif value.start < window.forced and not any(
                    known.start <= part.start and part.end <= known.end for known in leaf.parts
                ):
                    raise MaskingError(f"a value started in text of {self.path} that was already passed on; {REMEDY}")
                else:
                    begins = begins and not leaf.parts
        while held and held[0][0] <= window.settled:
            leaf = held.popleft()[1]
            leaf.holds -= 1
            leaf.unit.holds -= 1
        while segments and segments[0][1] <= window.begins:
            segments.popleft()


def _is_name(text: str) -> bool:
    """True if *text* is a name, given that it comes twice in a row."""
    return len(text) >= NAME and any(map(str.isalpha, text))


def _told_by(value: Value, segments: Iterable[tuple[int, int, Leaf]]) -> Told:
    """Return the leaves of *value*, each with its part of the value; no part appears twice."""
    place, told = value.start, []
    for start, end, leaf in segments:
        if start < value.end and place < end:
            told.append((leaf, leaf.text[place - start : value.end - start]))
            place = end
    return told


def is_apart(view: View, kind: str, before: str, after: str) -> bool:
    """True if *before* starts with a complete value of *kind*, or *after* ends with one."""
    return begins(view, kind, before) or ends(view, kind, after)


def begins(view: View, kind: str, text: str) -> bool:
    """True if *text* begins with a value of *kind*."""
    return any(span.kind == kind and span.start == 0 for span in view.detectors.find(text))


def ends(view: View, kind: str, text: str) -> bool:
    """True if *text* ends with a value of *kind*."""
    return any(span.kind == kind and span.end == len(text) for span in view.detectors.find(text))


def accepts_in_list(view: View, value: Value, told: Told) -> bool:
    """True if *value*, spread over strings of lists, is accepted. The strings of a list usually are separate texts."""
    before, (last, after) = told[0][1], told[-1]
    beside = [leaf for leaf, _ in told if leaf.unit is last.unit]
    return len(beside) < 2 or type(last.container) is not list or not is_apart(view, value.kind, before, after)
