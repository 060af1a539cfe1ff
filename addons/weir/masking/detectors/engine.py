"""Recognising: one gate over everything, exact detectors behind it.

`Detectors.fired` looks at a whole body at once and most often says that there is nothing. Only then are texts looked at
one by one. A text is also looked at with its JSON escapes and its digits of other scripts undone, so that neither
spelling lets a value through.
"""

import bisect
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import re2

from weir.content import encode
from weir.masking.detectors import contact, finance, identity, network, secrets
from weir.masking.detectors.model import Candidate, Detector, Pattern, Span

BUILT_IN: tuple[Detector, ...] = (
    *contact.DETECTORS, *finance.DETECTORS, *identity.DETECTORS, *network.DETECTORS, *secrets.DETECTORS,
)  # fmt: skip
KINDS: tuple[str, ...] = tuple(dict.fromkeys(d.kind for d in BUILT_IN))
#: Words that stand for several kinds.
GROUPS: dict[str, tuple[str, ...]] = {
    "all": KINDS,
    "secrets": ("cloud_key", "vendor_token", "private_key", "jwt", "password", "url_credentials"),
    "national_ids": tuple(dict.fromkeys(d.kind for d in identity.DETECTORS if d.kind != "date_of_birth")),
    "financial": ("credit_card", "iban", "crypto_address"),
}
#: Candidates in one text: more than these are no text but an attack.
MOST_CANDIDATES = 200_000
_GATE_MEMORY = 256 << 20
#: Levels of JSON within texts of JSON that are undone.
_DEEPEST = 3
#: Bytes after a word within which a value may begin for it to count, and that a gate may take of it.
_NEAR = 1500
_LONGEST_GATE = 100


class DetectorError(Exception):
    """What is looked for could not be looked for to the end: nothing of the text may be shown."""


class Gate:
    """RE2 patterns that are searched for together, in time linear in the text."""

    __slots__ = ("_last", "_set")

    def __init__(self, patterns: Iterable[str]) -> None:
        options = re2.Options()
        options.never_capture = True
        options.max_mem = _GATE_MEMORY
        self._set = re2.Set.SearchSet(options)
        self._last = -1
        for pattern in patterns:
            self._last = self._set.Add(pattern)
        self._last = self._set.Add("")  # matches everything: where it is missing, the search has failed
        self._set.Compile()

    def found(self, text: str | bytes) -> set[int]:
        """The numbers of the patterns that are found. Raises `DetectorError` where that could not be told."""
        found = set(self._set.Match(text))
        if self._last not in found:
            raise DetectorError("the gate gave up")
        found.discard(self._last)
        return found


class Detectors:
    """Those of some kinds, ready to be used."""

    __slots__ = ("_detectors", "_first_literal", "_gate", "_gates", "_literals", "_needs", "_words", "kinds", "width")

    def __init__(self, detectors: Iterable[Detector], literals: Iterable[str] = ()) -> None:
        """*literals* are looked for in the same pass: `present` says which are there."""
        self._detectors = tuple(detectors)
        self._literals = tuple(dict.fromkeys(literals))
        self.kinds = tuple(dict.fromkeys(d.kind for d in self._detectors))
        gates = list(dict.fromkeys(g for d in self._detectors for g in (d.gate, d.words) if g))
        self._needs = tuple(frozenset(gates.index(g) for g in (d.gate, d.words) if g) for d in self._detectors)
        compiled = {pattern: _bytes(pattern) for pattern in gates}
        self._gates = {d: compiled[d.gate] for d in self._detectors}
        self._words = {d: compiled[d.words] for d in self._detectors if d.words}
        self._gate = Gate([*gates, _OTHER_DIGITS.pattern, *(re2.escape(text) for text in self._literals)])
        self._first_literal = len(gates) + 1
        #: Characters that values of detectors with words in them may have: of those, streams hold so many back.
        self.width = max((d.width for d in self._detectors), default=0)

    def fired(self, text: bytes) -> tuple[Detector, ...]:
        """Those detectors that could find something in *text*, UTF-8; most often none. Raises `DetectorError`."""
        return self.fired_and_present(text)[0]

    def fired_and_present(self, text: bytes) -> tuple[tuple[Detector, ...], list[str]]:
        """The same, and those of the literals that are in *text*."""
        found = self._gate.found(text)
        if not found:
            return (), []
        if self._first_literal - 1 in found:
            plain = text.decode("utf-8", "replace").translate(_PLAIN).encode()
            found |= self._gate.found(plain)
            text = b"\n".join((text, plain))
        present = [self._literals[n - self._first_literal] for n in found if n >= self._first_literal]
        fired = tuple(
            d
            for d, needs in zip(self._detectors, self._needs, strict=True)
            if needs <= found and (not d.words or self._follows(d, text))
        )
        return fired, present

    def _follows(self, detector: Detector, text: bytes) -> bool:
        """Whether its gate is found near after its words."""
        words, gate = self._words[detector], self._gates[detector]
        searched = 0
        for match in words.finditer(text):
            if gate.search(text, max(searched, match.start()), match.end() + _NEAR) is not None:
                return True
            searched = max(searched, match.end() + _NEAR - _LONGEST_GATE)
        return False

    def places(self, detector: Detector, text: bytes) -> Iterator[tuple[int, int]]:
        """Where its gate is found in *text*."""
        return (match.span() for match in self._gates[detector].finditer(text))

    def find(
        self, text: str, key: str = "", detectors: tuple[Detector, ...] | None = None, depth: int = 0
    ) -> list[Span]:
        """The values in *text*, in order and without overlap. *key* are the names under which it stands.

        *detectors* are those that have fired, where that is known. Raises `DetectorError`.
        """
        spans = self._search(text, key, detectors)
        if not text.isascii() and _OTHER_DIGITS.search(text):
            spans += self._search(text.translate(_PLAIN), key, None)
        if "\\" in text and depth < _DEEPEST:
            plain, places = unescaped(text)
            if plain is not None:
                inner = self.find(plain, key, None, depth + 1)
                spans += [Span(places[s.start], places.end(s.end), s.kind, s.rank) for s in inner]
        return resolve(spans) if len(spans) > 1 else spans

    def _search(self, text: str, key: str, detectors: tuple[Detector, ...] | None) -> list[Span]:
        if detectors is None:
            detectors = self.fired(f"{key}\n{text}".encode("utf-8", "replace"))
        spans: list[Span] = []
        left = MOST_CANDIDATES
        done: set[tuple[Pattern, Callable[..., object]]] = set()
        for detector in detectors:
            if (detector.pattern, detector.check) in done:
                continue
            done.add((detector.pattern, detector.check))
            position = 0
            while (match := detector.pattern.search(text, position)) is not None:
                left -= 1
                if left < 0:
                    raise DetectorError("too many candidates")
                start, end = match.span()
                place = detector.check(Candidate(text, start, end, match, key))
                if place is None:
                    position = start + 1
                else:
                    spans.append(Span(*place, detector.kind, detector.rank))
                    position = max(place[1], start + 1)
        return spans


def _bytes(pattern: str) -> Any:
    options = re2.Options()
    options.max_mem = _GATE_MEMORY
    return re2.compile(pattern.encode(), options=options)


def resolve(spans: list[Span]) -> list[Span]:
    """Of those that overlap, the one of higher rank, then the longer; of one kind, both together."""
    taken: list[Span] = []
    for span in sorted(spans, key=lambda s: (-s.rank, s.start - s.end, s.start)):
        for i, other in enumerate(taken):
            if other.start < span.end and span.start < other.end:
                if other.kind == span.kind:
                    taken[i] = Span(min(other.start, span.start), max(other.end, span.end), other.kind, other.rank)
                break
        else:
            taken.append(span)
    return sorted(taken, key=lambda s: s.start)


# Other spellings.

_OTHER_DIGITS = re.compile("[٠-٩۰-۹०-९০-৯๐-๙０-９＠．－＋：]")
_PLAIN = {
    **{ord(zero) + i: str(i) for zero in "٠۰०০๐０" for i in range(10)},
    ord("＠"): "@", ord("．"): ".", ord("－"): "-", ord("＋"): "+", ord("："): ":",
}  # fmt: skip
_ESCAPE = re.compile(r'\\(?:u([0-9a-fA-F]{4})|(["\\/bfnrt]))')
_SHORT = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


_NUL = b"\x00"
_UNICODE = re.compile(rb"\\u([0-9a-fA-F]{4})")


def escaped_levels(body: bytes, document: Any) -> Iterator[bytes]:
    """*body*, whose parsed form is *document*, as gates are to see it: without escapes, then without those in texts."""
    text = encode(document) if b"\\u" in body else body
    for level in range(_DEEPEST + 1):
        if level and b"\\" not in text:
            break
        if b"\\" in text:
            text = without_escapes(text)
        yield text


def without_escapes(text: bytes) -> bytes:
    """*text* with one level of escapes undone; every run of backslashes begins at an escape."""
    text = text.replace(b"\\\\", _NUL)
    for escape, char in (
        (b'\\"', b'"'),
        (b"\\/", b"/"),
        (b"\\n", b"\n"),
        (b"\\t", b"\t"),
        (b"\\r", b"\r"),
        (b"\\b", b" "),
        (b"\\f", b" "),
    ):
        text = text.replace(escape, char)
    if b"\\u" in text:
        text = _UNICODE.sub(lambda m: chr(int(m[1], 16)).encode("utf-8", "replace"), text)
    return text.replace(_NUL, b"\\")


def is_spelt_otherwise(text: str) -> bool:
    """Whether *text* has escapes or digits of other scripts, in which gates see nothing."""
    return "\\" in text or (not text.isascii() and _OTHER_DIGITS.search(text) is not None)


def unescaped(text: str) -> tuple[str | None, "Places"]:
    """*text* with JSON's escapes undone, as of JSON within a text; None where there are none. And where it stood."""
    parts: list[str] = []
    places = Places()
    position = length = 0
    for match in _ESCAPE.finditer(text):
        start, end = match.span()
        parts.append(text[position:start])
        length += start - position
        char = chr(int(match[1], 16)) if match[1] else _SHORT.get(match[2], match[2])
        parts.append(char)
        places.add(length, start, end)
        length += 1
        position = end
    if not parts:
        return None, places
    parts.append(text[position:])
    return "".join(parts), places


class Places:
    """From places in an unescaped text to those in the text as it was."""

    __slots__ = ("_after", "_at", "_before")

    def __init__(self) -> None:
        self._at: list[int] = []
        self._before: list[int] = []
        self._after: list[int] = []

    def add(self, at: int, before: int, after: int) -> None:
        """The character *at* stood from *before* to *after*."""
        self._at.append(at)
        self._before.append(before)
        self._after.append(after)

    def __getitem__(self, place: int) -> int:
        i = bisect.bisect_left(self._at, place)
        if i < len(self._at) and self._at[i] == place:
            return self._before[i]
        if i == 0:
            return place
        return self._after[i - 1] + place - self._at[i - 1] - 1

    def end(self, place: int) -> int:
        """Where what ends at *place* ended: an escape belongs whole to what it is the last of."""
        i = bisect.bisect_left(self._at, place - 1)
        if i < len(self._at) and self._at[i] == place - 1:
            return self._after[i]
        return self[place - 1] + 1 if place else 0
