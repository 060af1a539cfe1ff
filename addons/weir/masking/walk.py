"""Walk one JSON document in order, with its spelling: mask named fields and values recognised in its texts."""

import re
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from weir.masking.detectors.engine import DetectorError, is_spelt_otherwise, spelt_plainly
from weir.masking.detectors.model import Detector, Span
from weir.masking.masks import Mask, MaskedField, View
from weir.masking.spelling import Change, Spelling, SpellingError
from weir.masking.strategies import DROP

#: Maximum seconds for one body; two error texts name it.
BUDGET = 10.0

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[_\-.]+")
#: Names that can hold any kind of value; the names around them are more specific.
_GENERIC = frozenset(("value", "number", "no", "text", "content", "data", "raw", "val", "address", "code", "id", "key"))
_LABELS = ("type", "name", "label", "key", "field", "kind", "title")


class MaskingError(Exception):
    """A body could not be masked. The message gives the reason without quoting the body."""


class Report:
    """How many values each mask replaced."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str, str, str]] = Counter()

    def add(self, mask: Mask, path: str = "", kind: str = "") -> None:
        """Count one value."""
        self._counts[path, mask.strategy.name, kind, mask.rule] += 1

    def fields(self) -> list[MaskedField]:
        """Return the counts as stored in the journal."""
        return [
            MaskedField(path, strategy, count, kind, rule)
            for (path, strategy, kind, rule), count in self._counts.items()
        ]

    def taken(self) -> list[MaskedField]:
        """Return the counts and reset them."""
        fields = self.fields()
        self._counts.clear()
        return fields

    def __bool__(self) -> bool:
        return bool(self._counts)


def labels_around(key: str, value: dict[str, Any]) -> str:
    """Return the names around the members of the object *value*: its own member name *key*, and the labels in it."""
    if _GENERIC.isdisjoint(value):
        return key
    labels = [label for name in _LABELS if isinstance(label := value.get(name), str) and len(label) < 40]
    return " ".join([key, *labels])


def named_under(key: str, around: str) -> str:
    """Return the names around the text at *key*; *around* are those of its object."""
    return f"{around} {key}" if key.lower() in _GENERIC else key


def words_of(name: str) -> str:
    """Split a member's name into words: ``dateOfBirth`` becomes ``date Of Birth``."""
    return _CAMEL.sub(" ", name)


class Value(NamedTuple):
    """One value in a text: its *start* and *end*, the *new* text for it, its kind, and the mask that hides it."""

    start: int
    end: int
    new: str
    kind: str
    mask: Mask


def replacements(view: View, text: str, spans: list[Span], strategies: dict[str, Mask]) -> list[Value]:
    """Return the values among *spans* of *text* that *strategies* hide, in order."""
    tokens = view.tokens.within(text)
    found: list[Value] = []
    for span in spans:
        mask = strategies.get(span.kind)
        if mask is None or any(start < span.end and span.start < end for start, end in tokens):
            continue
        old = text[span.start : span.end]
        new = mask.strategy.text(spelt_plainly(old), span.kind)  # equal values get equal tokens in any spelling
        if new != old:
            found.append(Value(span.start, span.end, new, span.kind, mask))
    return found


class Part(NamedTuple):
    """The part of a value that is in one text; its other parts are in other texts.

    ``value.new`` replaces the part in which the value *begins*. Other parts are removed.
    """

    start: int
    end: int
    begins: bool
    value: Value


def changes_of(
    view: View, text: str, spans: list[Span], strategies: dict[str, Mask], report: Report, parts: Iterable[Part] = ()
) -> list[Change]:
    """Return the changes to *text* for the *spans* found in it and the *parts* of longer values; sorted, no overlap.

    Of overlapping values the longest is kept; text of the others beyond it is removed with it.
    """
    values = replacements(view, text, spans, strategies) if spans else []
    if not parts:
        for value in values:
            report.add(value.mask, kind=value.kind)
        return [value[:3] for value in values]
    here = [*parts, *(Part(value.start, value.end, True, value) for value in values if not _cut(value, text, parts))]
    here.sort(key=lambda part: (part.value.start - part.value.end, part.start))
    taken: list[Part] = []
    for part in here:
        if any(other.start <= part.start and part.end <= other.end for other in taken):
            continue
        start, end, shown = part.start, part.end, part if part.begins else None
        apart = []
        for other in taken:
            if other.start < end and start < other.end:
                start, end = min(start, other.start), max(end, other.end)
                shown = other if other.begins else shown
            else:
                apart.append(other)
        taken = [*apart, Part(start, end, shown is not None, (shown or part).value)]
    taken.sort()
    for part in taken:
        if part.begins:
            report.add(part.value.mask, kind=part.value.kind)
    return [(part.start, part.end, part.value.new if part.begins else "") for part in taken]


def _cut(value: Value, text: str, parts: Iterable[Part]) -> bool:
    """True if *value*, found in *text* alone, is a fragment of one of *parts* at an edge of *text*."""
    return any(
        part.value.kind == value.kind
        and ((value.start == 0 and value.end == part.end) or (value.end == len(text) and value.start == part.start))
        for part in parts
    )


def applied(text: str, changes: list[Change]) -> str:
    """Apply *changes* to *text*; they are sorted and do not overlap."""
    if not changes:
        return text
    parts, position = [], 0
    for start, end, new in changes:
        parts += [text[position:start], new]
        position = end
    return "".join([*parts, text[position:]])


class Joined(NamedTuple):
    """The result of the joined readings for one string of a document.

    *alone*: it may also be a complete text, so it is searched for values as well. *instead* replaces the whole string.
    """

    parts: Sequence[Part]
    alone: bool
    instead: str | None = None


#: Results by (id of the container, key).
Known = dict[tuple[int, Any], Joined]

#: A text or number: token index, member names, text, mask by kind, value, and the result of joined readings.
_Leaf = tuple[int, str, str, dict[str, Mask], Any, Joined | None]


class Walk:
    """One walk over one document."""

    def __init__(
        self,
        view: View,
        fired: tuple[Detector, ...],
        slots: list[tuple[int, Any, Any]],
        report: Report,
        known: Known | None,
    ) -> None:
        #: In a document of a stream, log-probabilities are kept if nothing else changes.
        self._keeps = known is not None and not any(joined.parts for joined in known.values())
        self._view = view
        self._fired = fired
        self._report = report
        self._known = known or {}
        self._edits: list[tuple[str, tuple[Any, ...]]] = []  # calls of `Spelling`
        self._logprobs: list[tuple[str, tuple[Any, ...]]] = []  # calls that remove log-probabilities
        self._leaves: list[_Leaf] = []
        self._token = 0
        self._member_names: dict[str, list[tuple[int, dict[str, Mask], dict[str, Any]]]] = {}  # positions of each name
        self._written: dict[int, set[str]] = {}  # by id of an object: its names after masking
        self._targets: dict[int, dict[Any, list[int]]] = {}
        for number, container, key in slots:
            numbers = self._targets.setdefault(id(container), {}).setdefault(key, [])
            if number not in numbers:
                numbers.append(number)

    def masked(self, text: str, document: Any) -> str:
        """Mask *text*; *document* is its parsed form. Return the same object if nothing changes."""
        self._value(document, "", "", self._view.strategy_of)
        deadline = time.monotonic() + BUDGET
        if self._leaves:
            self._recognise(deadline)
        if self._member_names:
            self._rename(deadline)
        if not self._keeps or self._edits:
            self._edits += self._logprobs
        if not self._edits:
            return text
        spelling = Spelling(text)
        if self._token != len(spelling.spans):
            raise SpellingError("the body does not match its parsed form")
        for method, arguments in self._edits:
            getattr(spelling, method)(*arguments)
        return spelling.written()

    def _value(
        self, value: Any, key: str, around: str, strategies: dict[str, Mask], joined: Joined | None = None
    ) -> None:
        kind = type(value)
        if kind is dict:
            self._object(value, key, strategies)
        elif kind is list:
            self._list(value, key, around, strategies)
        else:
            if joined is not None and not joined.alone:
                if joined.instead is not None:
                    self._edits.append(("replace", (self._token, self._token, joined.instead)))
                elif strategies and joined.parts:
                    changes = changes_of(self._view, value, [], strategies, self._report, joined.parts)
                    self._edits.append(("replace_within", (self._token, changes)))
            elif strategies and value not in (None, True, False, ""):
                text = value if kind is str else str(value)
                self._leaves.append((self._token, named_under(key, around), text, strategies, value, joined))
            self._token += 1

    def _list(self, value: list[Any], key: str, around: str, strategies: dict[str, Mask]) -> None:
        self._token += 1
        targets = self._targets.get(id(value))
        for i, item in enumerate(value):
            joined = self._known.get((id(value), i)) if self._known else None
            if targets is not None and i in targets:
                self._slot(item, key, around, strategies, targets[i], joined, listed=True)
            else:
                self._value(item, key, around, strategies, joined)
        self._token += 1

    def _object(self, value: dict[str, Any], key: str, strategies: dict[str, Mask]) -> None:
        self._token += 1
        targets = self._targets.get(id(value))
        around = labels_around(key, value) if strategies else key
        members: list[tuple[int, int, bool]] = []
        for name, item in value.items():
            first = self._token
            if strategies:
                self._member_names.setdefault(name, []).append((self._token, strategies, value))
            self._token += 1
            if strategies and name == "logprobs" and item:  # it repeats the tokens of a text that may contain values
                self._value(item, name, around, strategies if self._keeps else {})
                self._logprobs.append(("replace", (first + 1, self._token - 1, None)))
                members.append((first, self._token - 1, False))
                continue
            dropped = False
            joined = self._known.get((id(value), name)) if self._known else None
            if targets is not None and name in targets:
                dropped = self._slot(item, name, around, strategies, targets[name], joined, listed=False)
            else:
                self._value(item, name, around, strategies, joined)
            if targets is not None:
                members.append((first, self._token - 1, dropped))
        self._token += 1
        if any(removed for _, _, removed in members):
            self._edits.append(("remove", (members,)))

    def _slot(
        self,
        old: Any,
        key: str,
        around: str,
        strategies: dict[str, Mask],
        numbers: list[int],
        joined: Joined | None,
        listed: bool,
    ) -> bool:
        """Mask a value that masks name. Return True if its member is to be removed."""
        first, new, whole = self._token, old, False
        for number in numbers:
            mask, path = self._view.named[number]
            if mask.kinds:
                strategies = strategies | self._view.within[number] if self._fired else strategies
                continue
            whole = True
            changed = mask.strategy.value(new)
            if changed is DROP and listed:  # a list keeps its positions
                changed = None
            if changed is DROP or (changed is not new and (type(changed) is not type(new) or changed != new)):
                self._report.add(mask, path.text)
                new = changed
                if new is DROP:
                    break
        self._value(old, key, around, {} if whole else strategies, joined)
        if new is not DROP and new is not old:
            self._edits.append(("replace", (first, self._token - 1, new)))
        return new is DROP

    def _recognise(self, deadline: float) -> None:
        """Search the texts in which a prefilter found something."""
        pieces = [f"{leaf[1]}\n{leaf[2]}\x1e".encode("utf-8", "replace") for leaf in self._leaves]
        ends = list(accumulate(map(len, pieces)))
        joined = b"".join(pieces)
        wanted: dict[int, list[Detector]] = {}
        for detector in self._fired:
            for start, end in self._view.detectors.places(detector, joined):
                for i in range(bisect_right(ends, start), min(bisect_right(ends, end) + 1, len(ends))):
                    found = wanted.setdefault(i, [])
                    if detector not in found:
                        found.append(detector)
        for i, leaf in enumerate(self._leaves):
            if is_spelt_otherwise(leaf[2]):
                self._look(leaf, None)
            elif i in wanted or leaf[5] is not None:
                self._look(leaf, tuple(d for d in wanted.get(i, ()) if d.kind in leaf[3]))
            if i % 256 == 0 and time.monotonic() > deadline:
                raise DetectorError("masking takes longer than 10 seconds")

    def _rename(self, deadline: float) -> None:
        """Search the names of members, each name once: most names recur, and most contain no value."""
        names = self._view.detectors
        if not names.fired("\n".join(self._member_names).encode("utf-8", "replace")) and not any(
            map(is_spelt_otherwise, self._member_names)
        ):
            return
        for i, (name, places) in enumerate(self._member_names.items()):
            spans = names.find(name) if name else []
            if spans:
                for token, strategies, owner in places:
                    changes = changes_of(self._view, name, spans, strategies, self._report)
                    if changes:
                        self._edits.append(("replace_within", (token, self._apart(owner, name, changes))))
            if i % 64 == 0 and time.monotonic() > deadline:
                raise DetectorError("masking takes longer than 10 seconds")

    def _look(self, leaf: _Leaf, detectors: tuple[Detector, ...] | None) -> None:
        token, named, text, strategies, value, joined = leaf
        spans = self._view.detectors.find(text, words_of(named), detectors)
        if type(value) is str:
            parts = joined.parts if joined is not None else ()
            changes = changes_of(self._view, text, spans, strategies, self._report, parts)
            if changes:
                self._edits.append(("replace_within", (token, changes)))
            return
        for span in spans:
            mask = strategies.get(span.kind)
            if mask is not None and not self._view.tokens.known(value):
                new = mask.strategy.value(value)
                if new is DROP:
                    new = None
                if new != value:
                    self._report.add(mask, kind=span.kind)
                    self._edits.append(("replace", (token, token, new)))
                return

    def _apart(self, owner: dict[str, Any], text: str, changes: list[Change]) -> list[Change]:
        """Number masked member names that would equal another name of *owner*, so that members stay distinct."""
        taken = self._written.setdefault(id(owner), set(owner))
        name, number = applied(text, changes), 1
        start, end, new = changes[-1]
        while (
            numbered := name if number == 1 else applied(text, [*changes[:-1], (start, end, f"{new} {number}")])
        ) in taken:
            number += 1
        taken.add(numbered)
        return changes if number == 1 else [*changes[:-1], (start, end, f"{new} {number}")]
