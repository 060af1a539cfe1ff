"""A detector: a cheap prefilter, a pattern that finds candidates, and an exact check."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import re2

from weir.base.normal import plain_character

#: Compiled by RE2, which has no types.
Words = Any


class Pattern(Protocol):
    """Finds candidates: a pattern of `re`, or an RE2 pattern of a custom detector."""

    def search(self, text: str, position: int = 0, /) -> Any:
        """Return the next match at or after *position*."""


#: Number of characters before and after a candidate that are searched for words that speak for or against it.
WINDOW = 60
AHEAD = 16
#: Number of characters above a row of a table that are searched for the names of its columns.
TABLE = 1500

#: Start of a number in a prefilter. Prefilters begin at an edge, because a candidate that may begin anywhere keeps the
#: automaton of all prefilters busy with new states in texts without repetition, such as identifiers and base 64.
EDGE = "(?:^|[^0-9A-Za-z_.+/-])"

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|_")
_MARKS = " \t>*|-#\"'"


@dataclass(frozen=True, slots=True)
class Span:
    """One recognised value: its place in the text, its kind, and the rank that decides between overlapping values."""

    start: int
    end: int
    kind: str
    rank: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """A match of a pattern, with the text around it and the names around that text."""

    text: str
    start: int
    end: int
    match: Any
    key: str  # member names, split into words: "billing phone"

    @property
    def value(self) -> str:
        """The text of the candidate."""
        return self.text[self.start : self.end]

    def before(self, window: int = WINDOW) -> str:
        """Return up to *window* characters before it."""
        return self.text[max(0, self.start - window) : self.start]

    def after(self, window: int = 1) -> str:
        """Return up to *window* characters after it. Streams look ahead by one character."""
        return self.text[self.end : self.end + window]

    def context(self, window: int = WINDOW) -> str:
        """Return the text before it in its line, names split into words; and the line above, if that is a heading."""
        before = self.before(window)
        above, newline, line = before.rpartition("\n")
        if newline and (line.strip(_MARKS) or not above.rstrip().endswith((":", "?", "："))):
            before = line
        return _CAMEL.sub(" ", before)

    def names(self) -> str:
        """Return the names around it: of members, and of its column if it is in a table."""
        column = self.column()
        return f"{self.key} {_CAMEL.sub(' ', column)}" if column else self.key

    def column(self) -> str:
        """Return its column's cell in the first row of a table of lines; empty if there is no table."""
        above = self.text.rfind("\n", max(0, self.start - TABLE), self.start)
        if above < 0:
            return ""
        row = self.text[above + 1 : self.start]
        for mark in ("\t", "|", ";", ","):
            place = row.count(mark)
            end = self.text.find("\n", self.end, self.end + TABLE)
            cells = place + self.text.count(mark, self.end, end if end >= 0 else self.end + TABLE)
            if cells < 2:
                continue
            lines = self.text[max(0, above - TABLE) : above].split("\n")
            first = ""
            for line in reversed(lines):
                if line.count(mark) < 2:
                    break
                first = line
            names = first.split(mark)
            if place < len(names):
                return names[place].strip(_MARKS)[:60]
        return ""

    def near(self, words: Words, window: int = WINDOW) -> bool:
        """True if one of *words* is among its names or in the text before it."""
        return words.search(self.context(window)) is not None or words.search(self.names()) is not None

    def nearer(self, words: Words, than: Words, window: int = WINDOW) -> bool:
        """True if one of *words* is before it and none of *than* is closer. Names count if the text has neither."""
        before = self.context(window)
        for_, against = _last(words, before), _last(than, before)
        if for_ >= 0 or against >= 0:
            return for_ >= against if for_ >= 0 else False
        names = self.names()
        return words.search(names) is not None and than.search(names) is None


def _last(words: Words, text: str) -> int:
    place = -1
    for match in words.finditer(text):
        place = match.end()
    return place


#: Returns the start and end of the value in a candidate; None if there is no value.
Check = Callable[[Candidate], tuple[int, int] | None]


@dataclass(frozen=True, slots=True, eq=False)
class Detector:
    """One way to recognise values of a kind.

    ``prefilter`` is an RE2 pattern that must match somewhere in a body before the body is searched; with ``words``, it
    must match near after one of them. It may match more than the value, never less. ``pattern`` takes linear time: its
    repetitions are bounded or begin at one place.
    """

    kind: str
    prefilter: str
    pattern: Pattern
    check: Check
    rank: int = 50
    words: str = ""
    width: int = 0  # maximum length of a value that may contain spaces; streams hold back this many characters


_FOLDED = str.maketrans({
    **dict.fromkeys("áàâãäå", "a"), **dict.fromkeys("éèêëę", "e"), **dict.fromkeys("íìîï", "i"), **dict.fromkeys("óòôõöø", "o"),
    **dict.fromkeys("úùûü", "u"), **dict.fromkeys("śš", "s"), **dict.fromkeys("źżž", "z"), "ñ": "n", "ç": "c", "ł": "l", "ń": "n", "ć": "c", "ą": "a",
})  # fmt: skip


def scripts(stems: Iterable[str]) -> tuple[list[str], list[str]]:
    """Split *stems* into (Latin script, others). Also add Latin forms without accents, and plain forms of others."""
    latin = [w for w in stems if ord(w[0]) < 0x900]
    both = dict.fromkeys(v for w in latin for v in (w, w.translate(_FOLDED)))
    others = (w for w in stems if ord(w[0]) >= 0x900)
    return list(both), list(dict.fromkeys(v for w in others for v in (w, "".join(map(plain_character, w)))))


def words(*stems: str) -> Words:
    """Compile a pattern of whole words, ignoring case. Words of scripts without spaces match anywhere."""
    spaced, joined = scripts(stems)
    parts = [rf"(?:^|[^\p{{Latin}}])(?:{'|'.join(spaced)})(?:[^\p{{Latin}}]|$)"] if spaced else []
    return re2.compile("(?i)" + "|".join([*parts, *joined]))


def word_prefilter(*stems: str) -> str:
    """Return the prefilter for `words`. It also matches words within member names, as in ``patientSsn``."""
    spaced, joined = scripts(stems)
    inner = "|".join(f"{w[0].upper()}{w[1:]}" for w in spaced if w[0].isascii() and len(w) >= 4)
    ends = "|".join(f"{w[0].upper()}{w[1:]}" for w in spaced if w[0].isascii() and len(w) < 4)
    short = [w for w in spaced if len(w) < 5]
    long = [w for w in spaced if len(w) >= 5]
    return "|".join([
        *([rf"(?i:(?:^|[^a-z])(?:{'|'.join(short)})(?:[^a-z]|$))"] if short else []),
        *([rf"(?i:(?:^|[^a-z])(?:{'|'.join(long)}))"] if long else []),
        *([rf"(?:^|[^A-Za-z])(?:{'|'.join(short)})[A-Z]"] if short else []),
        *([f"[a-z0-9](?:{inner})"] if inner else []),
        *([f"[a-z](?:{ends})\""] if ends else []),
        *joined,
    ])  # fmt: skip


def whole(candidate: Candidate) -> tuple[int, int] | None:
    """Return the whole candidate, because its pattern is exact."""
    return candidate.start, candidate.end


def checked(check: Callable[[str], bool]) -> Check:
    """Return a check that accepts a candidate if *check* accepts its value."""
    return lambda candidate: (candidate.start, candidate.end) if check(candidate.value) else None


def checked_near(check: Callable[[str], bool], near: Words) -> Check:
    """Return a check that also requires one of the words *near* the candidate."""
    return lambda c: (c.start, c.end) if c.near(near) and check(c.value) else None
