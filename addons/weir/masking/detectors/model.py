"""What a detector is: a prefilter that is cheap, a pattern that finds candidates, and a check that is exact."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import re2

from weir.base.normal import plain_character

#: Compiled by RE2, which has no types.
Words = Any


class Pattern(Protocol):
    """What finds candidates: `re`'s patterns, and those of a policy's own on RE2."""

    def search(self, text: str, position: int = 0, /) -> Any:
        """The next match from *position* on."""


#: Characters before a candidate in which words that raise or lower it are looked for, and after it.
WINDOW = 60
AHEAD = 16
#: Characters above a row of a table in which the names of its columns are looked for.
TABLE = 1500

#: Where a number may begin, in a prefilter. Prefilters begin at an edge: a candidate that may begin anywhere keeps the automaton of
#: all prefilters busy with new states in texts that repeat nothing, such as identifiers and base 64.
EDGE = "(?:^|[^0-9A-Za-z_.+/-])"

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|_")
_MARKS = " \t>*|-#\"'"


@dataclass(frozen=True, slots=True)
class Span:
    """One value that was recognised: where in its text, as what, and which of two overlapping ones counts."""

    start: int
    end: int
    kind: str
    rank: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a pattern matched, with what stands before it and the names under which its text stands."""

    text: str
    start: int
    end: int
    match: Any
    key: str  # names of members, words apart: "billing phone"

    @property
    def value(self) -> str:
        """The candidate itself."""
        return self.text[self.start : self.end]

    def before(self, window: int = WINDOW) -> str:
        """What stands before it, at most *window* characters."""
        return self.text[max(0, self.start - window) : self.start]

    def after(self, window: int = 1) -> str:
        """What stands after it, at most *window* characters. Streams look ahead by one."""
        return self.text[self.end : self.end + window]

    def context(self, window: int = WINDOW) -> str:
        """What stands before it in its line, names in it as words; the line above, where that is only a heading."""
        before = self.before(window)
        above, newline, line = before.rpartition("\n")
        if newline and (line.strip(_MARKS) or not above.rstrip().endswith((":", "?", "："))):
            before = line
        return _CAMEL.sub(" ", before)

    def names(self) -> str:
        """The names under which it stands: of members, and of its column, if it stands in a table."""
        column = self.column()
        return f"{self.key} {_CAMEL.sub(' ', column)}" if column else self.key

    def column(self) -> str:
        """What stands above it in the first row of a table of lines; empty where it stands in none."""
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
        """Whether one of *words* is among its names or stands before it."""
        return words.search(self.context(window)) is not None or words.search(self.names()) is not None

    def nearer(self, words: Words, than: Words, window: int = WINDOW) -> bool:
        """Whether one of *words* stands before it, and none of *than* between them; names count only where no text does."""
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


#: The part of a candidate that is the value; None where it is none.
Check = Callable[[Candidate], tuple[int, int] | None]


@dataclass(frozen=True, slots=True, eq=False)
class Detector:
    """One way in which values of a kind are recognised.

    ``prefilter`` is an RE2 pattern that must be found somewhere in a body before anything else is done; where there are
    ``words``, it must be found near after them. It may match more than the value, never less. ``pattern`` is linear in
    time: what it repeats is bounded or begins at one place.
    """

    kind: str
    prefilter: str
    pattern: Pattern
    check: Check
    rank: int = 50
    words: str = ""
    width: int = 0  # of the longest value, where it may have spaces between words; streams hold so much back


_FOLDED = str.maketrans({
    **dict.fromkeys("áàâãäå", "a"), **dict.fromkeys("éèêëę", "e"), **dict.fromkeys("íìîï", "i"), **dict.fromkeys("óòôõöø", "o"),
    **dict.fromkeys("úùûü", "u"), **dict.fromkeys("śš", "s"), **dict.fromkeys("źżž", "z"), "ñ": "n", "ç": "c", "ł": "l", "ń": "n", "ć": "c", "ą": "a",
})  # fmt: skip


def scripts(stems: Iterable[str]) -> tuple[list[str], list[str]]:
    """Those of *stems* in Latin script, which end where no letter follows, without their accents as well; and the others."""
    latin = [w for w in stems if ord(w[0]) < 0x900]
    both = dict.fromkeys(v for w in latin for v in (w, w.translate(_FOLDED)))
    others = (w for w in stems if ord(w[0]) >= 0x900)
    return list(both), list(dict.fromkeys(v for w in others for v in (w, "".join(map(plain_character, w)))))


def words(*stems: str) -> Words:
    """A pattern of whole words, in any case; those of scripts without spaces may stand anywhere."""
    spaced, joined = scripts(stems)
    parts = [rf"(?:^|[^\p{{Latin}}])(?:{'|'.join(spaced)})(?:[^\p{{Latin}}]|$)"] if spaced else []
    return re2.compile("(?i)" + "|".join([*parts, *joined]))


def word_prefilter(*stems: str) -> str:
    """The same as a prefilter, which reads the names of members as they stand: ``patientSsn`` has the word in it too."""
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
    """The candidate as it is: its pattern is exact."""
    return candidate.start, candidate.end


def checked(check: Callable[[str], bool]) -> Check:
    """The candidate, where *check* agrees with its value."""
    return lambda candidate: (candidate.start, candidate.end) if check(candidate.value) else None


def checked_near(check: Callable[[str], bool], near: Words) -> Check:
    """The same, where one of the words stands near as well."""
    return lambda c: (c.start, c.end) if c.near(near) and check(c.value) else None
