"""Find values in texts: one prefilter over a whole body, then exact detectors.

`Detectors.fired` searches a whole body at once and usually finds nothing. If it finds something, each text is searched.
A text is also searched in its plain form (`weir.base.normal`) and with its JSON escapes decoded, so that no spelling
hides a value.
"""

import bisect
import functools
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import re2

from weir.base.content import encode
from weir.base.normal import is_relevant, is_special, normal, readings, relevant_parts, somewhere
from weir.masking.detectors import contact, finance, identity, network, secrets, tokens
from weir.masking.detectors.model import Candidate, Detector, Pattern, Span

BUILT_IN: tuple[Detector, ...] = (
    *contact.DETECTORS, *finance.DETECTORS, *identity.DETECTORS, *network.DETECTORS, *tokens.DETECTORS, *secrets.DETECTORS,
)  # fmt: skip
KINDS: tuple[str, ...] = tuple(dict.fromkeys(d.kind for d in BUILT_IN))
#: Names for several kinds together.
GROUPS: dict[str, tuple[str, ...]] = {
    "all": KINDS,
    "secrets": ("cloud_key", "vendor_token", "private_key", "jwt", "password", "url_credentials"),
    "national_ids": tuple(dict.fromkeys(d.kind for d in identity.DETECTORS if d.kind != "date_of_birth")),
    "financial": ("credit_card", "iban", "crypto_address"),
}
#: Maximum candidates in one text. More of them are an attack, not text.
MOST_CANDIDATES = 200_000
_PREFILTER_MEMORY = 256 << 20
#: Number of branches in which prefilters are searched to find out which of them match.
_BRANCHES = 6
#: Maximum levels of JSON within strings of JSON that are decoded.
_DEEPEST = 3
#: A value must begin within this many bytes after its word; and the maximum bytes that a prefilter matches.
_NEAR = 1500
_LONGEST_PREFILTER = 100


class DetectorError(Exception):
    """A search could not be completed, so nothing of the text may be shown."""


class Prefilter:
    """RE2 patterns that are searched together, in time linear in the text; it returns which of them match.

    The automaton of a set has a state for every subset of patterns that it has met. In texts without repetition, such
    as identifiers and base 64, it creates new states at every byte. So the set is used only for words. Patterns that
    may match by chance are searched as one pattern, which usually finds nothing (see `Detectors`).
    """

    __slots__ = ("_last", "_set")

    def __init__(self, patterns: Iterable[str]) -> None:
        self._set = re2.Set.SearchSet(_options())
        for pattern in patterns:
            self._set.Add(pattern)
        self._last = self._set.Add("")  # matches everything; if it is missing, the search has failed
        self._set.Compile()

    def found(self, text: str | bytes) -> set[int]:
        """Return the numbers of the patterns that match. Raises `DetectorError` if the search fails."""
        found = set(self._set.Match(text))
        if self._last not in found:
            raise DetectorError("the prefilter ran out of memory")
        found.discard(self._last)
        return found


def _options() -> Any:
    options = re2.Options()
    options.never_capture = True
    options.max_mem = _PREFILTER_MEMORY
    return options


class _Any:
    """Patterns that may match by chance, searched as one. If that matches, its branches tell which of them match."""

    __slots__ = ("_branches", "_pattern", "_whole")

    def __init__(self, patterns: Sequence[str]) -> None:
        self._whole = _bytes("|".join(f"(?:{pattern})" for pattern in patterns))
        self._pattern = patterns[0]
        size = -(-len(patterns) // _BRANCHES)
        parts = [patterns[i : i + size] for i in range(0, len(patterns), size)]
        self._branches = [_Any(part) for part in parts] if len(patterns) > 1 else []

    def found(self, text: bytes) -> Iterator[str]:
        """Yield the patterns that match in *text*."""
        if self._whole.search(text) is None:
            return
        if not self._branches:
            yield self._pattern
        for branch in self._branches:
            yield from branch.found(text)


class Detectors:
    """The detectors of some kinds, compiled."""

    __slots__ = (
        "_alone", "_any", "_detectors", "_first_literal", "_literals", "_near", "_prefilter", "_prefilters", "_worded",
        "_words", "kinds", "width",
    )  # fmt: skip

    def __init__(self, detectors: Iterable[Detector], literals: Iterable[str] = ()) -> None:
        """*literals* are searched in the same pass; `fired_and_present` returns which are present."""
        self._detectors = tuple(detectors)
        self._literals = tuple(dict.fromkeys(literals))
        self.kinds = tuple(dict.fromkeys(d.kind for d in self._detectors))
        numbered = list(enumerate(self._detectors))
        self._worded = [(n, d) for n, d in numbered if d.words]
        self._alone: dict[str, list[int]] = {}
        for n, d in numbered:
            if not d.words:
                self._alone.setdefault(d.prefilter, []).append(n)
        words = list(dict.fromkeys(d.words for d in self._detectors if d.words))
        compiled = {pattern: _bytes(pattern) for d in self._detectors for pattern in (d.prefilter, d.words) if pattern}
        self._prefilters = {d: compiled[d.prefilter] for d in self._detectors}
        self._words = {d: compiled[d.words] for d in self._detectors if d.words}
        self._any = _any(tuple(self._alone)) if self._alone else None
        self._near = {d: words.index(d.words) for d in self._detectors if d.words}
        self._prefilter = _prefilter((*words, somewhere(), *(re2.escape(text) for text in self._literals)))
        self._first_literal = len(words) + 1
        #: Maximum length of values that may contain spaces; streams hold back this many characters.
        self.width = max((d.width for d in self._detectors), default=0)

    def fired(self, text: bytes) -> tuple[Detector, ...]:
        """Return the detectors that may find something in *text*, UTF-8; usually none. Raises `DetectorError`."""
        return self.fired_and_present(text)[0]

    def fired_and_present(self, text: bytes) -> tuple[tuple[Detector, ...], list[str]]:
        """Return the same, and the literals that are in *text*."""
        found = self._prefilter.found(text)
        if self._first_literal - 1 in found and is_relevant(text):
            parts = "\n".join(relevant_parts(text)).encode("utf-8", "replace")
            text = b"\n".join((text, parts))
            found |= self._prefilter.found(parts)
        present = [self._literals[n - self._first_literal] for n in found if n >= self._first_literal]
        return self._passed(text, found), present

    def _passed(self, text: bytes, found: set[int]) -> tuple[Detector, ...]:
        """Return the detectors that may find something in *text*; *found* are the numbers of the words in it."""
        passed = [n for prefilter in self._any.found(text) for n in self._alone[prefilter]] if self._any else []
        passed += [n for n, d in self._worded if self._near[d] in found and self._follows(d, text)] if found else []
        return tuple(self._detectors[n] for n in sorted(passed))

    def _follows(self, detector: Detector, text: bytes) -> bool:
        """True if its prefilter matches near after one of its words."""
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
        """Return the (start, end) of each match of its prefilter in *text*."""
        return (match.span() for match in self._prefilters[detector].finditer(text))

    def find(
        self, text: str, key: str = "", detectors: tuple[Detector, ...] | None = None, depth: int = 0
    ) -> list[Span]:
        """Return the values in *text*, in order and without overlap. *key* holds the names around the text.

        *detectors* are those that fired, if known. Raises `DetectorError`.
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


# Most connections and views use the same detectors. To compile those of all kinds takes 0.3 s and 16 MB.


@functools.lru_cache(maxsize=4096)
def _bytes(pattern: str) -> Any:
    return re2.compile(pattern.encode(), options=_options())


@functools.lru_cache(maxsize=64)
def _any(patterns: tuple[str, ...]) -> _Any:
    return _Any(patterns)


@functools.lru_cache(maxsize=64)
def _prefilter(patterns: tuple[str, ...]) -> Prefilter:
    return Prefilter(patterns)


def resolve(spans: list[Span]) -> list[Span]:
    """Resolve overlaps: keep the span of higher rank, then the longer one; merge spans of one kind."""
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


# JSON escapes.

_ESCAPE = re.compile(
    r'\\(?:u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|u\{([0-9a-fA-F]{1,6})\}|x([0-9a-fA-F]{2})|(["\\/bfnrt]))'
)
_SHORT = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


_NUL = b"\x00"
_UNICODE = re.compile(
    rb"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})|\\u([0-9a-fA-F]{4})|\\u\{([0-9a-fA-F]{1,6})\}|\\x([0-9a-fA-F]{2})"
)


def escaped_levels(body: bytes, document: Any) -> Iterator[bytes]:
    """Yield *body*, parsed as *document*, as prefilters see it: without escapes, then also without those in strings."""
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
    """True if *text* has escapes or another plain form, which hide values from prefilters."""
    return "\\" in text or is_special(text)


def spelt_plainly(value: str) -> str:
    """Return *value* without escapes, in its plain form."""
    if "\\" in value:
        value = unescaped(value)[0] or value
    return normal(value).text


def unescaped(text: str) -> "tuple[str | None, Places]":
    """Decode JSON escapes in *text*, as in JSON within a string. Return (text, or None without escapes; its places)."""
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
    """Return the character of an escape: a surrogate pair or a code point."""
    if match[1]:
        return chr(0x10000 + ((int(match[1], 16) & 0x3FF) << 10) + (int(match[2], 16) & 0x3FF))
    point = int(match[3] or match[4] or match[5], 16)
    return chr(point) if point < 0x110000 else "\ufffd"


class Places:
    """Maps positions in an unescaped text to positions in the original text."""

    __slots__ = ("_after", "_at", "_before")

    def __init__(self) -> None:
        self._at: list[int] = []
        self._before: list[int] = []
        self._after: list[int] = []

    def add(self, at: int, before: int, after: int) -> None:
        """Note that the character *at* was at *before* to *after* in the original text."""
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
        """Map the end position *place*; an escape at the end is included as a whole."""
        i = bisect.bisect_left(self._at, place - 1)
        if i < len(self._at) and self._at[i] == place - 1:
            return self._after[i]
        return self[place - 1] + 1 if place else 0
