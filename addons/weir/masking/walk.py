"""One JSON document with its spelling, walked in order: what masks name in it, and what is recognised in its texts."""

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

#: Seconds that one body may take.
BUDGET = 10.0

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[_\-.]+")
#: Names under which values of any kind stand: the name around them says more.
_GENERIC = frozenset(("value", "number", "no", "text", "content", "data", "raw", "val", "address", "code", "id", "key"))
_LABELS = ("type", "name", "label", "key", "field", "kind", "title")


class MaskingError(Exception):
    """A body could not be masked. The text says why, without quoting it."""


class Report:
    """How many values each mask replaced."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str, str, str]] = Counter()

    def add(self, mask: Mask, path: str = "", kind: str = "") -> None:
        """One value more."""
        self._counts[path, mask.strategy.name, kind, mask.rule] += 1

    def fields(self) -> list[MaskedField]:
        """As it stands in the journal."""
        return [
            MaskedField(path, strategy, count, kind, rule)
            for (path, strategy, kind, rule), count in self._counts.items()
        ]

    def taken(self) -> list[MaskedField]:
        """The same; from now on it counts anew."""
        fields = self.fields()
        self._counts.clear()
        return fields

    def __bool__(self) -> bool:
        return bool(self._counts)


def labels_around(key: str, value: dict[str, Any]) -> str:
    """The names under which members of the object *value*, itself the member *key*, stand: with what labels it."""
    if _GENERIC.isdisjoint(value):
        return key
    labels = [label for name in _LABELS if isinstance(label := value.get(name), str) and len(label) < 40]
    return " ".join([key, *labels])


def named_under(key: str, around: str) -> str:
    """The names under which the text at *key* stands, in an object that stands under *around*."""
    return f"{around} {key}" if key.lower() in _GENERIC else key


def words_of(name: str) -> str:
    """A member's name as words: ``dateOfBirth`` and ``date_of_birth`` are ``date Of Birth`` and ``date of birth``."""
    return _CAMEL.sub(" ", name)


class Value(NamedTuple):
    """One value in a text: from *start* to *end*, the *new* text for it, and which mask hides it as what."""

    start: int
    end: int
    new: str
    kind: str
    mask: Mask


def replacements(view: View, text: str, spans: list[Span], strategies: dict[str, Mask]) -> list[Value]:
    """The values of *text*, in which *spans* were found, that *strategies* hide; in order."""
    tokens = view.tokens.within(text)
    found: list[Value] = []
    for span in spans:
        mask = strategies.get(span.kind)
        if mask is None or any(start < span.end and span.start < end for start, end in tokens):
            continue
        old = text[span.start : span.end]
        new = mask.strategy.text(spelt_plainly(old), span.kind)  # equal values have equal tokens, however typed
        if new != old:
            found.append(Value(span.start, span.end, new, span.kind, mask))
    return found


class Part(NamedTuple):
    """The part of a value that stands in one text, where its other parts stand in others.

    ``value.new`` takes the place of the part in which the value *begins*. Other parts are removed.
    """

    start: int
    end: int
    begins: bool
    value: Value


def changes_of(
    view: View, text: str, spans: list[Span], strategies: dict[str, Mask], report: Report, parts: Iterable[Part] = ()
) -> list[Change]:
    """Changes to *text* for the *spans* found in it and the *parts* of longer values; sorted, without overlap.

    Of values that overlap, the longest counts; what others have beyond it is removed with it.
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
    """Whether *value*, found in *text* alone, is what an edge of *text* left of one of *parts*."""
    return any(
        part.value.kind == value.kind
        and ((value.start == 0 and value.end == part.end) or (value.end == len(text) and value.start == part.start))
        for part in parts
    )


def applied(text: str, changes: list[Change]) -> str:
    """*text* with *changes*, which are in order and apart, made."""
    if not changes:
        return text
    parts, position = [], 0
    for start, end, new in changes:
        parts += [text[position:start], new]
        position = end
    return "".join([*parts, text[position:]])


class Joined(NamedTuple):
    """Result of the joined readings for one string of a document.

    *alone*: it may be a text of its own as well, so values are looked for in it, too. *instead* takes its place as a
    whole.
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
        #: Log-probabilities stay where nothing else is changed, in a document of a stream.
        self._keeps = known is not None and not any(joined.parts for joined in known.values())
        self._view = view
        self._fired = fired
        self._report = report
        self._known = known or {}
        self._edits: list[tuple[str, tuple[Any, ...]]] = []  # calls of `Spelling`
        self._logprobs: list[tuple[str, tuple[Any, ...]]] = []  # those that remove log-probabilities
        self._leaves: list[_Leaf] = []
        self._token = 0
        self._member_names: dict[str, list[tuple[int, dict[str, Mask], dict[str, Any]]]] = {}  # where each stands
        self._written: dict[int, set[str]] = {}  # the names that an object has, by its id
        self._targets: dict[int, dict[Any, list[int]]] = {}
        for number, container, key in slots:
            numbers = self._targets.setdefault(id(container), {}).setdefault(key, [])
            if number not in numbers:
                numbers.append(number)

    def masked(self, text: str, document: Any) -> str:
        """*text*, whose parsed form is *document*, masked; itself where nothing had to be."""
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
            raise SpellingError("the body is not what was read from it")
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
            if strategies and name == "logprobs" and item:  # each token of a text beside it, in which values show
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
        """A value that masks name; whether its member is to be removed."""
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
        """Look into those texts in which the prefilter found something."""
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
                raise DetectorError("it takes too long")

    def _rename(self, deadline: float) -> None:
        """Look into the names of members, each once: most recur, and in most nothing is found."""
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
                raise DetectorError("it takes too long")

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
        """Names of members that become the same would be read as one: those that are there already are numbered."""
        taken = self._written.setdefault(id(owner), set(owner))
        name, number = applied(text, changes), 1
        start, end, new = changes[-1]
        while (
            numbered := name if number == 1 else applied(text, [*changes[:-1], (start, end, f"{new} {number}")])
        ) in taken:
            number += 1
        taken.add(numbered)
        return changes if number == 1 else [*changes[:-1], (start, end, f"{new} {number}")]
