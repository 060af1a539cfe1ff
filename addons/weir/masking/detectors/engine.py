"""Recognising: one prefilter over everything, exact detectors behind it.

`Detectors.fired` looks at a whole body at once and most often says that there is nothing. Only then are texts looked at
one by one. A text is also looked at in its plain form (`weir.base.normal`) and with its JSON escapes undone, so that no
spelling lets a value through.
"""

import bisect
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import re2

from weir.base.content import encode
from weir.base.normal import is_relevant, is_special, normal, readings, relevant_parts, somewhere
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
_PREFILTER_MEMORY = 256 << 20
#: Prefilters that are searched for as one, when it has to be told which of all are there.
_GROUP = 8
#: Levels of JSON within texts of JSON that are undone.
_DEEPEST = 3
#: Bytes after a word within which a value may begin for it to count, and that a prefilter may take of it.
_NEAR = 1500
_LONGEST_PREFILTER = 100


class DetectorError(Exception):
    """What is looked for could not be looked for to the end: nothing of the text may be shown."""


class Prefilter:
    """RE2 patterns that are searched for together, in time linear in the text: which of them are there.

    An automaton of many that tells them apart has a state for every set that it has seen; in texts that repeat nothing,
    such as identifiers and base 64, it makes new ones at every byte. So it is for words only, and patterns that candidates
    may begin with by chance are searched for as one, which most often finds nothing (see `Detectors`).
    """

    __slots__ = ("_last", "_set")

    def __init__(self, patterns: Iterable[str]) -> None:
        self._set = re2.Set.SearchSet(_options())
        for pattern in patterns:
            self._set.Add(pattern)
        self._last = self._set.Add("")  # matches everything: where it is missing, the search has failed
        self._set.Compile()

    def found(self, text: str | bytes) -> set[int]:
        """The numbers of the patterns that are found. Raises `DetectorError` where that could not be told."""
        found = set(self._set.Match(text))
        if self._last not in found:
            raise DetectorError("the prefilter gave up")
        found.discard(self._last)
        return found


def _options() -> Any:
    options = re2.Options()
    options.never_capture = True
    options.max_mem = _PREFILTER_MEMORY
    return options


class Detectors:
    """Those of some kinds, ready to be used."""

    __slots__ = (
        "_any",
        "_detectors",
        "_first_literal",
        "_groups",
        "_literals",
        "_near",
        "_prefilter",
        "_prefilters",
        "_words",
        "kinds",
        "width",
    )  # fmt: skip

    def __init__(self, detectors: Iterable[Detector], literals: Iterable[str] = ()) -> None:
        """*literals* are looked for in the same pass: `present` says which are there."""
        self._detectors = tuple(detectors)
        self._literals = tuple(dict.fromkeys(literals))
        self.kinds = tuple(dict.fromkeys(d.kind for d in self._detectors))
        alone = list(dict.fromkeys(d.prefilter for d in self._detectors if not d.words))
        words = list(dict.fromkeys(d.words for d in self._detectors if d.words))
        compiled = {pattern: _bytes(pattern) for d in self._detectors for pattern in (d.prefilter, d.words) if pattern}
        self._prefilters = {d: compiled[d.prefilter] for d in self._detectors}
        self._words = {d: compiled[d.words] for d in self._detectors if d.words}
        #: Prefilters that need no word: all as one, then in groups, then each.
        self._any = _bytes("|".join(f"(?:{prefilter})" for prefilter in alone)) if alone else None
        self._groups = [
            (
                _bytes("|".join(f"(?:{prefilter})" for prefilter in group)),
                {prefilter: compiled[prefilter] for prefilter in group},
            )
            for group in (alone[i : i + _GROUP] for i in range(0, len(alone), _GROUP))
        ]
        self._near = {d: words.index(d.words) for d in self._detectors if d.words}
        self._prefilter = Prefilter([*words, somewhere(), *(re2.escape(text) for text in self._literals)])
        self._first_literal = len(words) + 1
        #: Characters that values of detectors with words in them may have: of those, streams hold so many back.
        self.width = max((d.width for d in self._detectors), default=0)

    def fired(self, text: bytes) -> tuple[Detector, ...]:
        """Those detectors that could find something in *text*, UTF-8; most often none. Raises `DetectorError`."""
        return self.fired_and_present(text)[0]

    def fired_and_present(self, text: bytes) -> tuple[tuple[Detector, ...], list[str]]:
        """The same, and those of the literals that are in *text*."""
        found = self._prefilter.found(text)
        if self._first_literal - 1 in found and is_relevant(text):
            parts = "\n".join(relevant_parts(text)).encode("utf-8", "replace")
            text = b"\n".join((text, parts))
            found |= self._prefilter.found(parts)
        present = [self._literals[n - self._first_literal] for n in found if n >= self._first_literal]
        return self._passed(text, found), present

    def _passed(self, text: bytes, found: set[int]) -> tuple[Detector, ...]:
        """The detectors that could find something in *text*; *found* are the numbers of the words in it."""
        prefilters = self._found_alone(text)
        if not prefilters and not found:
            return ()
        return tuple(
            d
            for d in self._detectors
            if (self._near[d] in found and self._follows(d, text) if d.words else d.prefilter in prefilters)
        )

    def _found_alone(self, text: bytes) -> set[str]:
        """The prefilters without words that are found in *text*."""
        if self._any is None or self._any.search(text) is None:
            return set()
        return {
            prefilter
            for group, prefilters in self._groups
            if group.search(text) is not None
            for prefilter, pattern in prefilters.items()
            if pattern.search(text) is not None
        }

    def _follows(self, detector: Detector, text: bytes) -> bool:
        """Whether its prefilter is found near after its words."""
        words, prefilter = self._words[detector], self._prefilters[detector]
        first = prefilter.search(text)
        if first is None:
            return False
        searched = first.start()
        for match in words.finditer(text, max(0, searched - _NEAR)):
            end = match.end() + _NEAR
            if end > searched:
                if prefilter.search(text, max(searched, match.start()), end) is not None:
                    return True
                searched = max(searched, end - _LONGEST_PREFILTER)
        return False

    def places(self, detector: Detector, text: bytes) -> Iterator[tuple[int, int]]:
        """Where its prefilter is found in *text*."""
        return (match.span() for match in self._prefilters[detector].finditer(text))

    def find(
        self, text: str, key: str = "", detectors: tuple[Detector, ...] | None = None, depth: int = 0
    ) -> list[Span]:
        """The values in *text*, in order and without overlap. *key* are the names under which it stands.

        *detectors* are those that have fired, where that is known. Raises `DetectorError`.
        """
        if not key.isascii() and (plain_key := normal(key)):
            key = f"{key} {plain_key.text}"
        spans = self._search(text, key, detectors)
        if is_special(text):
            for plain in readings(text):
                inner = self._search(plain.text, key, None)
                spans += [Span(*plain.span(s.start, s.end), s.kind, s.rank) for s in inner]
        if depth < _DEEPEST and "\\" in text:
            escaped, places = unescaped(text)
            if escaped is not None:
                inner = self.find(escaped, key, None, depth + 1)
                spans += [Span(places[s.start], places.end(s.end), s.kind, s.rank) for s in inner]
        return resolve(spans) if len(spans) > 1 else spans

    def _search(self, text: str, key: str, detectors: tuple[Detector, ...] | None) -> list[Span]:
        if detectors is None:
            seen = f"{key}\n{text}".encode("utf-8", "replace")
            detectors = self._passed(seen, self._prefilter.found(seen))
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
    return re2.compile(pattern.encode(), options=_options())


def resolve(spans: list[Span]) -> list[Span]:
    """Of those that overlap, the one of higher rank, then the longer; of one kind, both together."""
    taken: list[Span] = []  # in order and without overlap
    starts: list[int] = []
    for span in sorted(spans, key=lambda s: (-s.rank, s.start - s.end, s.start)):
        i = bisect.bisect_right(starts, span.start)
        if i and taken[i - 1].end > span.start:
            i -= 1
        if i == len(taken) or taken[i].start >= span.end:
            taken.insert(i, span)
            starts.insert(i, span.start)
        elif taken[i].kind == span.kind:
            other = taken[i]
            after = taken[i + 1].start if i + 1 < len(taken) else span.end
            taken[i] = Span(min(other.start, span.start), max(other.end, min(span.end, after)), other.kind, other.rank)
            starts[i] = taken[i].start
    return taken


# JSON's escapes.

_ESCAPE = re.compile(
    r'\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|u\{([0-9a-fA-F]{1,6})\}|x([0-9a-fA-F]{2})|(["\\/bfnrt]))'
)
_SHORT = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


_NUL = b"\x00"
_UNICODE = re.compile(
    rb"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|\\u([0-9a-fA-F]{4})|\\u\{([0-9a-fA-F]{1,6})\}|\\x([0-9a-fA-F]{2})"
)


def escaped_levels(body: bytes, document: Any) -> Iterator[bytes]:
    """*body*, whose parsed form is *document*, as prefilters are to see it: without escapes, then without those in texts."""
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
    if b"\\u" in text or b"\\x" in text:
        text = _UNICODE.sub(lambda m: _coded(m).encode("utf-8", "replace"), text)
    return text.replace(_NUL, b"\\")


def is_spelt_otherwise(text: str) -> bool:
    """Whether *text* has escapes or another plain form, in which prefilters see nothing."""
    return "\\" in text or is_special(text)


def spelt_plainly(value: str) -> str:
    """*value* without escapes, in its plain form."""
    if "\\" in value:
        value = unescaped(value)[0] or value
    return normal(value).text


def unescaped(text: str) -> "tuple[str | None, Places]":
    """*text* with escapes undone, as of JSON within a text; None where there are none. And where it stood."""
    parts: list[str] = []
    places = Places()
    position = length = 0
    for match in _ESCAPE.finditer(text):
        start, end = match.span()
        parts.append(text[position:start])
        length += start - position
        parts.append(_SHORT.get(match[6], match[6]) if match[6] else _coded(match))
        places.add(length, start, end)
        length += 1
        position = end
    if not parts:
        return None, places
    parts.append(text[position:])
    return "".join(parts), places


def _coded(match: "re.Match[str] | re.Match[bytes]") -> str:
    """The character that an escape has the number of: one in two halves, or a code point."""
    if match[1]:
        return chr(0x10000 + ((int(match[1], 16) & 0x3FF) << 10) + (int(match[2], 16) & 0x3FF))
    point = int(match[3] or match[4] or match[5], 16)
    return chr(point) if point < 0x110000 else "\ufffd"


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
