"""Mask texts that arrive in pieces, in one document after another, whatever the names of the members that hold them.

A stream is a sequence of units: events, lines or messages. Each string in a unit is a leaf. A leaf may be a complete
text, or a piece of a text that continues in leaves of other units. Only the service knows which, so every leaf is read
in several ways: alone, and joined with its neighbours in some readings. A value that any reading finds is masked.

A unit is held, whole, while a part of one of its leaves may still become a value in some reading. It is passed on with
its original bytes, unless it contains a value. If several leaves share a value, the mask is written in the leaf where
the value begins; the parts in the other leaves are removed.

`Documents` is the queue of units; `Readings` decides which leaves are read together.
"""

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from weir.base.content import encode, parse_answer
from weir.masking.detectors.engine import DetectorError
from weir.masking.masker import mask_json, mask_line
from weir.masking.masks import View
from weir.masking.readings import Readings
from weir.masking.spelling import Change
from weir.masking.units import REMEDY, Frame, Unit, between
from weir.masking.walk import Joined, Known, MaskingError, Part, Report, applied, changes_of
from weir.profiles.framing import UNKNOWN_FRAMING, Framing

#: Maximum bytes of one unit, and of all held units; maximum number of held units.
LARGEST_EVENT = 8 << 20
MOST_UNITS = 512


class Documents[T]:
    """The units of one stream: those that are held and those that may be passed on. `T` is the type passed on."""

    def __init__(self, view: View, report: Report, framing: Framing = UNKNOWN_FRAMING, *, lines: bool = False) -> None:
        self._view = view
        self._report = report
        self._mask = mask_line if lines else mask_json
        self._units: deque[Unit] = deque()
        self._size = 0  # bytes of these
        self._readings = Readings(view, framing)
        self.reads_text = False  # all units so far were text, not JSON

    def add(self, body: bytes, written: Callable[[bytes | None], T], event: str = "") -> None:
        """Take a unit with the JSON text *body* as its data; *event* is its name.

        Raises `MaskingError`, and `ContentError` if *body* is not unambiguous JSON.
        """
        self._readings.number += 1
        unit = self._readings.framed(body, written, event)
        if unit is None:
            unit = Unit(body, written)
            unit.document = parse_answer(body)
            self.reads_text = False
            if type(unit.document) is str:
                unit.body, unit.document, unit.wrapped = b"[%s]" % body, [unit.document], True
            if self._view.recognises:
                self._readings.read(unit, unit.document, event)
        self._take(unit)

    def add_like_before(self, body: bytes, before: bytes, after: bytes) -> bool:
        """Take the unit *before* + *body* + *after* if it matches a frame. Return False if it does not."""
        self._readings.number += 1
        unit = self._readings.framed(body, partial(between, before, body, after), "")
        if unit is None:
            self._readings.number -= 1
            return False
        self._take(unit)
        return True

    def add_text(self, text: str, written: Callable[[bytes | None], T], event: str = "") -> None:
        """Take a unit with *text*, which is not JSON, as its data."""
        self._readings.number += 1
        self.reads_text = self.reads_text or self._readings.number == 1
        unit = Unit(text.encode(), written)
        unit.document = text
        if self._view.recognises and text:
            self._readings.read_text(unit, text, event)
        self._take(unit)

    def add_other(self, passed: T) -> None:
        """Take a unit without text. It keeps its position in the stream."""
        self._readings.number += 1
        self._take(Unit(b"", lambda _: passed))

    def _take(self, unit: Unit) -> None:
        units = self._units
        units.append(unit)
        self._size += len(unit.body)
        self._readings.release()
        if (len(units) > MOST_UNITS or self._size > LARGEST_EVENT + len(unit.body)) and units[0].holds:
            path = self._readings.holder(units[0]).path
            raise MaskingError(f"{len(units)} documents are held for a possible value in {path}; {REMEDY}")

    def ready(self) -> list[T]:
        """Return the units that may be passed on now, in order."""
        out = []
        units = self._units
        while units and not units[0].holds:
            unit = units.popleft()
            self._size -= len(unit.body)
            if unit.frame is not None and unit.frame.exact and not unit.marked:
                unit.passed = True
                written, unit.written, unit.body = unit.written, None, b""
                out.append(written(None))  # type: ignore[misc]
            else:
                out.append(self._passed(unit))
        return out

    def settle(self) -> None:
        """Release everything: the service signals that all texts have ended, or that no more data comes for now."""
        self._readings.settle()

    def end(self) -> list[T]:
        """Release and return all remaining units."""
        self.settle()
        return self.ready()

    @property
    def holds(self) -> bool:
        """True if any unit is held."""
        return bool(self._units) and self._units[0].holds > 0

    def idle(self, *, long: bool = False) -> None:
        """Hold less after a silence, or a *long* one.

        After a short silence, only texts that already have several pieces are held; after a long one, nothing is. With
        the framing ``pieces``, everything is held until more data comes.
        """
        self._readings.idle(long=long)

    def _passed(self, unit: Unit) -> T:
        """Return the masked form of *unit*, which no reading holds any more."""
        unit.passed = True
        try:
            masked = self._masked(unit)
        finally:
            unit.document = unit.inner = None
            written, unit.body, unit.written = unit.written, b"", None
            for leaf in (*unit.leaves, *unit.exact):
                leaf.container = None
        assert written is not None
        passed: T = written(masked)
        return passed

    def _masked(self, unit: Unit) -> bytes | None:
        """Return the masked body of *unit*; None if nothing in it is masked."""
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
        for container, key, text, inner in reversed(unit.inner or ()):
            body = text.encode()
            masked = mask_json(self._view, body, inner, self._report, known)
            if masked is not body:
                new = masked.decode()
                known[id(container), key] = Joined([], False, new if container[key] == text else new[1:-1])
        masked = self._mask(self._view, unit.body, document, self._report, known)
        if masked is unit.body or masked == unit.body:
            return None
        return masked[1:-1] if unit.wrapped else masked

    def _masked_frame(self, unit: Unit, frame: Frame) -> bytes | None:
        for leaf in unit.exact or unit.leaves:
            if frame.exact:
                changes = changes_of(self._view, leaf.text, [], {}, self._report, leaf.parts) if leaf.parts else []
            else:
                changes = self._changes(leaf.text, self._readings.key(frame.path), leaf.parts)
            if changes:
                return b"".join((frame.before, encode(applied(leaf.text, changes)), frame.after))
        return None

    def _masked_text(self, text: str, parts: Sequence[Part]) -> bytes | None:
        changes = self._changes(text, "", parts) if self._view.recognises else []
        return applied(text, changes).encode() if changes else None

    def _changes(self, text: str, key: str, parts: Sequence[Part]) -> list[Change]:
        """Return the changes to *text*, which may be a complete text and also contain *parts* of longer values."""
        try:
            spans = self._view.detectors.find(text, key)
        except DetectorError as error:
            raise MaskingError(str(error)) from None
        return changes_of(self._view, text, spans, self._view.strategy_of, self._report, parts)
