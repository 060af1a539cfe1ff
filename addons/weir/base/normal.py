"""Convert a text to one plain spelling, with a map back to places in the original.

Texts that look the same to a person become equal: digits of every script become ASCII digits, every space a space,
every dash a hyphen, compatibility forms their plain forms (Unicode Annex 15, NFKC); characters without a glyph are
removed, and escapes of HTML, URLs and Markdown are undone. A text that is plain already costs one search.
"""

import html
import html.entities
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from typing import Any

import re2

#: Default_Ignorable_Code_Point, from DerivedCoreProperties.txt of Unicode 16.0; `unicodedata` lacks this property.
#: Format characters that a later Unicode adds are removed too, by their category.
IGNORABLE = (
    (0xAD, 0xAD), (0x34F, 0x34F), (0x61C, 0x61C), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F),
    (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF),
    (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8), (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF),
)  # fmt: skip
#: Code points to examine. The blocks in between have only ideographs and syllables in plain form, and surrogates.
_SEARCHED = (
    (0x80, 0x3400), (0xA000, 0xAC00), (0xD780, 0xD800), (0xF900, 0x20000), (0x2F800, 0x2FA40), (0xE0000, 0xE1000),
)  # fmt: skip
#: A character of these categories has another plain form only if NFKC changes it or it has a digit value.
_USUALLY_PLAIN = frozenset((
    "Lo", "Ll", "Lu", "Lt", "Lm", "So", "Sm", "Sc", "Sk", "Po", "Ps", "Pe", "Pi", "Pf", "Pc", "Nl", "No", "Cn", "Co",
))  # fmt: skip
_BREAKS = "\x0b\x0c\x85\u2028\u2029"
#: Drawn as a dash, but not in category Pd.
_DASHES = "\u02d7\u2043\u2212\u2500\u2501\u2796"
#: Drawn as a space, but not in category Zs.
_SPACES = "\u2800"
#: A full stop in a domain (IDNA 2003, RFC 3490 section 3.1), and a dash in Japanese numbers. Both are read so only
#: between ASCII characters.
_DOTS, _LONG = "\u3002\uff61", "\u30fc\uff70"
#: Maximum levels of nested escapes that are undone: `&amp;#64;`, `%2540`.
_DEEPEST = 3
#: Characters before and after a changed place that a detector may need to read.
_BEFORE, _AFTER = 1600, 400

#: Combining classes of marks that are part of a letter in scripts of India and South-East Asia, and in Japanese
#: (Unicode Standard, section 4.3): not reordered, nukta, kana voicing, virama.
_OF_LETTERS = (0, 7, 8, 9)
_JAMO = (*range(0x1100, 0x1200), *range(0xA960, 0xA980), *range(0xD7B0, 0xD800))
_ENTITY = r"&(?:#[0-9]{1,64};?|#[xX][0-9a-fA-F]{1,64};?|[A-Za-z][A-Za-z0-9]{1,31};?)"
#: One character in UTF-8, percent-encoded (RFC 3986, section 2.1).
_CONTINUED = "%[89abAB][0-9a-fA-F]"
_LONGER = rf"[cCdD][0-9a-fA-F]{_CONTINUED}|[eE][0-9a-fA-F](?:{_CONTINUED}){{2}}|[fF][0-4](?:{_CONTINUED}){{3}}"
_PERCENT = f"%(?:0[9aAdD]|[2-7][0-9a-fA-F]|{_LONGER})"
#: A backslash can escape any ASCII punctuation (CommonMark 0.31, section 2.4). Quotes are left to the JSON parser.
_MARKDOWN = r"\\[!#-.:-@\[\]-`{-~]"
_TAG = r"<(?:wbr|br) {0,3}/?>|<!--[ -]{0,5}-->"
_ESCAPES = re.compile(rf"{_ENTITY}|{_PERCENT}|{_MARKDOWN}|{_TAG}")


class _Classes:
    """The characters of each kind, from `unicodedata`."""

    def __init__(self) -> None:
        gone, spaces, dashes, marks, others = set[int](), set[int](), set[int](), set[int](), set[int]()
        for point in _candidates():
            char = chr(point)
            category = unicodedata.category(char)
            if _is_ignorable(char, category):
                gone.add(point)
            elif category == "Zs" or char in _SPACES:
                spaces.add(point)
            elif category == "Pd" or char in _DASHES:
                dashes.add(point)
            elif category in ("Mn", "Mc", "Me"):
                marks.add(point)
            elif plain_character(char) != char:
                others.add(point)
        self.gone, self.spaces, self.dashes, self.marks = gone, spaces, dashes, marks
        prose = {p for p in others if _is_of_prose(chr(p))}
        self.prose, self.others = prose, others - prose - set(map(ord, _BREAKS))


def _candidates() -> Iterator[int]:
    """Yield code points that may have another plain form. Skips blocks that have none."""
    yield from (p for p in (*range(0x20), 0x7F) if p not in (0x09, 0x0A, 0x0D))
    for first, last in _SEARCHED:
        for start in range(first, last, 64):
            block = "".join(map(chr, range(start, start + 64)))
            if (
                not _USUALLY_PLAIN.issuperset(map(unicodedata.category, block))
                or not unicodedata.is_normalized("NFKC", block)
                or any(unicodedata.digit(c, None) is not None for c in block)
                or any(c in block for c in (*_DASHES, *_SPACES))
            ):
                yield from range(start, start + 64)
    yield from (p for first, last in IGNORABLE for p in range(first, last + 1))


def _is_ignorable(char: str, category: str) -> bool:
    point = ord(char)
    if category == "Cc":
        return char not in "\t\n\r" and char not in _BREAKS
    return category == "Cf" or any(first <= point <= last for first, last in IGNORABLE)


def _is_of_prose(char: str) -> bool:
    """True if *char* is common in ordinary text. It then counts only where it may be inside a value."""
    point = ord(char)
    if char in "\uff20\uff0b":  # at, plus
        return False
    return (
        point < 0x100
        or char in "\u2026\u2033\u2034\u2122\u2116\u2103\u2044"
        or 0xFB00 <= point <= 0xFB06
        or (0xFF01 <= point <= 0xFF65 and not char.isalnum())
    )


@lru_cache(1 << 14)
def plain_character(char: str) -> str:
    """Return the plain form of one character; empty if it has no glyph of its own."""
    category = unicodedata.category(char)
    if _is_ignorable(char, category):
        return ""
    digit = unicodedata.digit(char, None)
    if digit is not None:
        return str(digit)
    if category == "Zs" or char in _SPACES:
        return " "
    if char in _BREAKS:
        return "\n"
    if category == "Pd" or char in _DASHES:
        return "-"
    if category == "No" and "CIRCLED" in unicodedata.name(char, ""):
        return str(int(unicodedata.numeric(char)))
    form = unicodedata.normalize("NFKC", char)
    if form == char or category in ("Mn", "Mc", "Me"):
        return char
    return "".join(map(plain_character, form))


def _ranges(points: set[int], escape: Callable[[int], str]) -> str:
    parts, ordered = [], sorted(points)
    start = previous = ordered[0]
    for point in [*ordered[1:], 0x110000]:
        if point != previous + 1:
            parts.append(f"{escape(start)}-{escape(previous)}" if previous > start else escape(start))
            start = point
        previous = point
    return "".join(parts)


class _Patterns:
    """Compiled patterns, and the reading of each character."""

    def __init__(self) -> None:
        classes = _Classes()

        def re2_(*sets: set[int]) -> str:
            return _ranges(set().union(*sets), lambda p: f"\\x{{{p:x}}}")

        singles = classes.dashes | classes.prose | classes.others | set(map(ord, _BREAKS))
        #: Characters with another reading: the replacement, or the function that reads from there.
        self.reads: dict[str, str | _Reader] = {chr(p): plain_character(chr(p)) for p in singles}
        self.reads |= dict.fromkeys("&%\\<", _escape)
        self.reads |= dict.fromkeys(map(chr, classes.spaces | classes.gone | {9}), _space)
        self.reads |= dict.fromkeys(map(chr, classes.marks), _mark)
        self.reads |= {c: _jamo for c in map(chr, _JAMO) if c not in self.reads}
        self.reads |= dict.fromkeys(_DOTS + _LONG, _between)

        def python(points: set[int]) -> str:
            return _ranges(points, lambda p: f"\\U{p:08x}")

        # One small set: `re` checks characters beyond the first plane one range after another.
        self.starts = re.compile(f"[{python({p for p in map(ord, self.reads) if p < 0x10000})}\U00010000-\U0010ffff]")
        self.space_run = re.compile(f"[\t {python(classes.spaces | classes.gone)}]+")
        self.mark_run = re.compile(f"[{python(classes.marks)}]+")
        jamo, gone = python(set(_JAMO) - classes.gone), python(classes.gone)
        self.jamo_run = re.compile(f"[{jamo}](?:[{jamo}{gone}]*[{jamo}])?")
        self.gone_run = re.compile(f"[{gone}]+")
        self.apart = re.compile(f"[A-Za-z][{python(classes.gone)}]+[0-9]|[0-9][{python(classes.gone)}]+[A-Za-z]")
        g, s, d, m = (re2_(c) for c in (classes.gone, classes.spaces, classes.dashes, classes.marks))
        p, o = re2_(classes.prose), re2_(classes.others)
        common = "quot|lt|gt|apos|rsquo|lsquo|ldquo|rdquo|hellip|nbsp|ndash|mdash|amp"
        names = {name.rstrip(";") for name in html.entities.html5}.difference(common.split("|"))
        rare = "|".join(sorted(names))
        near = r"0-9A-Za-z@._+%():/\-"
        #: Any place where a text may have another plain form.
        self.somewhere = (
            rf"[{g}{s}{d}{m}{p}{o}{_BREAKS}{_DOTS}{_LONG}]"
            rf"|&[#A-Za-z]|{_PERCENT}|{_MARKDOWN}|<(?:wbr|br|!--)|[0-9)]\t[0-9(+]"
        )
        #: Such places that may be part of a value.
        self.relevant = re2.compile(
            "|".join((
                f"[{o}]",
                rf"[0-9A-Za-z][{p}]+[0-9A-Za-z]|[\x{{ff08}}\x{{ff09}}][0-9+(]|[0-9][\x{{ff08}}\x{{ff09}}]",
                r"[\x{b9}\x{b2}\x{b3}][\x{b9}\x{b2}\x{b3}]",
                rf"[{p}{d}][^\s@]*@|@[^\s@]*[{p}{d}]",
                rf"[0-9)] ?[{d}{g}]*[{d}][{d}{g}]* ?[0-9A-Za-z(]",
                rf"[A-Za-z)][{d}{g}]*[{d}][{d}{g}]*[0-9(]|[{d}][0-9A-Za-z_{d}-]{{16}}",
                rf"[0-9)] *[{s}][{s}{g} ]*[0-9A-Za-z(]|[A-Za-z] *[{s}][{s}{g} ]*[(+]?[0-9]",
                rf"[{near}][{g}]|[{g}][{near}]|[0-9)] [{g}]",
                rf"[\x21-\x7e\x{{c0}}-\x{{24f}}{d}{s}{p}][{m}]|[0-9] [{m}]",
                rf"&#[0-9xX]|&(?:{rare});|&(?:shy|amp;?[#A-Za-z])|&[A-Za-z][^\s@]*@|@[^\s@]*&[A-Za-z]",
                r"[0-9)] ?&(?:nbsp|ndash|mdash)|&(?:nbsp|ndash|mdash);? ?[0-9(+]",
                r"%(?:25|40|2[bBdDeE89]|3[0-9aA]|[46][1-9a-fA-F]|[57][0-9aAfF]|[c-fC-F][0-9a-fA-F]%[89abAB])",
                r"[0-9]%(?:20|0[9aAdD])",
                r"\\[_.@+():\-#*&]",
                rf"[{near}]<(?:wbr|!--)|[0-9] ?<br",
                rf"[0-9)]\t[0-9(+]|[0-9A-Za-z -][{_BREAKS}][0-9]",
                rf"[0-9)][{_LONG}][0-9(]|[0-9A-Za-z][{_DOTS}][0-9A-Za-z]",
            )).encode(),
            _options(),
        )  # fmt: skip


def _options() -> Any:
    options = re2.Options()
    options.never_capture = True
    options.max_mem = 128 << 20
    return options


@cache
def _patterns() -> _Patterns:
    return _Patterns()


def somewhere() -> str:
    """Return an RE2 pattern that is cheap to search for and matches every text that `is_relevant`."""
    return _patterns().somewhere


def is_relevant(text: bytes) -> bool:
    """True if *text* (UTF-8) has another plain form where a value may be."""
    return _patterns().relevant.search(text) is not None


def is_special(text: str) -> bool:
    """Like `is_relevant`, for decoded text."""
    return is_relevant(text.encode("utf-8", "replace"))


def relevant_parts(text: bytes) -> list[str]:
    """Return the plain forms of the parts of *text* (UTF-8) that have another form, with some text around each."""
    parts: list[str] = []
    start = end = -1
    for match in _patterns().relevant.finditer(text):
        if end < 0 or match.start() - _BEFORE > end:
            if end >= 0:
                parts += _read(text[start:end])
            start = max(0, match.start() - _BEFORE)
        end = match.end() + _AFTER
    if end >= 0:
        parts += _read(text[start:end])
    return parts


def _read(part: bytes) -> list[str]:
    return [reading.text for reading in readings(part.decode("utf-8", "ignore"))]


#: A part of a text: start, end (exclusive), and its reading.
_Unit = tuple[int, int, str]
_Reader = Callable[["_Seen", int], int]


class _Map:
    """Maps places in the result of one pass to places in its input."""

    __slots__ = ("_ends", "_from", "_starts", "_to")

    def __init__(self, units: list[_Unit]) -> None:
        """*units* are the replaced parts, in order."""
        self._from: list[int] = []
        self._to: list[int] = []
        self._starts = [unit[0] for unit in units]
        self._ends = [unit[1] for unit in units]
        shift = 0
        for start, end, new in units:
            self._from.append(start + shift)
            self._to.append(start + shift + len(new))
            shift += len(new) - (end - start)

    def start(self, place: int) -> int:
        """Return where the character at *place* began, without removed characters before it."""
        i = bisect_right(self._from, place) - 1
        if i < 0:
            return place
        return self._starts[i] if place < self._to[i] else self._ends[i] + place - self._to[i]

    def end(self, place: int) -> int:
        """Return where the character before *place* ended."""
        i = bisect_right(self._from, place - 1) - 1
        if i < 0:
            return place
        return self._ends[i] if place - 1 < self._to[i] else self._ends[i] + place - self._to[i]


class Normal:
    """A text in its plain form, and the original place of each character."""

    __slots__ = ("_length", "_maps", "text")

    def __init__(self, text: str, length: int, maps: tuple[_Map, ...] = ()) -> None:
        self.text = text
        self._length = length  # of the original
        self._maps = maps

    def __bool__(self) -> bool:
        """True if it differs from the original."""
        return bool(self._maps)

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the part of the original that reads as the part from *start* to *end*, which must not be empty.

        A character without a glyph belongs to it only between two of its characters, not at its edges.
        """
        for step in reversed(self._maps):
            start, end = step.start(start), step.end(end)
        return start, end

    def place(self, place: int) -> int:
        """Return the place in the original of the character at *place*; the original's end for the end."""
        if place == 0 or place == len(self.text):
            return self._length if place else 0
        return self.span(place, place + 1)[0]


def readings(text: str) -> list[Normal]:
    """Return the plain forms of *text* that differ from it: most often none or one.

    Some writers end words with characters that have no glyph. A second form has spaces for those between a letter and a
    digit.
    """
    first = normal(text)
    if not first:
        return []
    second = _normal(text, apart=True) if _patterns().apart.search(text) else first
    return [first] if second.text == first.text else [first, second]


def normal(text: str) -> Normal:
    """Return the plain form of *text*. It is false if *text* is plain already."""
    return Normal(text, len(text)) if is_plain(text) else _normal(text, apart=False)


def is_plain(text: str) -> bool:
    """True if *text* is certainly plain: no character in it may have another reading."""
    if text.isascii():
        return _PLAIN.fullmatch(text) is not None
    return _patterns().starts.search(text) is None


def _normal(text: str, apart: bool) -> Normal:
    maps: list[_Map] = []
    length = len(text)
    for _ in range(_DEEPEST):
        units = _units(text, apart)
        if not units:
            break
        parts, position = [], 0
        for start, end, new in units:
            parts += [text[position:start], new]
            position = end
        text = "".join([*parts, text[position:]])
        maps.append(_Map(units))
        if not _ESCAPED.search(text) and all(new.isascii() for _, _, new in units):
            break
    return Normal(text, length, tuple(maps))


#: ASCII without escapes.
_PLAIN = re.compile(r"[\n\r !-$'-;=-\[\]-~]*")
#: The remains of an escape within an escape.
_ESCAPED = re.compile(rf"[&%\\<]|[0-9A-Za-z][{_DOTS}][0-9A-Za-z]|[0-9][{_LONG}][0-9]")


def _units(text: str, apart: bool) -> list[_Unit]:
    patterns = _patterns()
    reads, seen = patterns.reads, _Seen(text, apart)
    position = 0
    for match in patterns.starts.finditer(text):
        start = match.start()
        if start < position:  # already read
            continue
        new = reads.get(match[0])
        if new is None:
            continue
        if isinstance(new, str):
            seen.put(start, start + 1, new)
        else:
            position = new(seen, start)
    return seen.units


class _Seen:
    """A text and the units that were replaced in it so far."""

    __slots__ = ("_tail", "apart", "in_table", "text", "units")

    def __init__(self, text: str, apart: bool) -> None:
        self.text = text
        self.apart = apart
        self.units: list[_Unit] = []
        self._tail = ""  # the last character read before the last unit's end
        self.in_table = _tables(text) if "\t" in text else None

    def last(self, place: int) -> str:
        """Return the character that is read before *place*; empty at the beginning."""
        adjacent = self.units and self.units[-1][1] == place
        return self._tail if adjacent else self.text[place - 1 : place]

    def put(self, start: int, end: int, new: str) -> int:
        """Note the reading of a part of the text. Return the end of the part."""
        if new != self.text[start:end]:
            self._tail = new[-1:] or self.last(start)
            self.units.append((start, end, new))
        return end


def _escape(seen: _Seen, start: int) -> int:
    match = _ESCAPES.match(seen.text, start)
    return start + 1 if match is None else seen.put(start, match.end(), _unescaped(match[0]))


def _jamo(seen: _Seen, start: int) -> int:
    """Compose the letters of Korean syllables, even with characters without a glyph between them."""
    patterns = _patterns()
    match = patterns.jamo_run.match(seen.text, start)
    assert match is not None
    return seen.put(start, match.end(), unicodedata.normalize("NFC", patterns.gone_run.sub("", match[0])))


def _space(seen: _Seen, start: int) -> int:
    """Read a run of spaces and characters without a glyph."""
    match = _patterns().space_run.match(seen.text, start)
    assert match is not None
    run, end = match[0], match.end()
    if "\t" in run and seen.in_table is not None and seen.in_table(start):
        return end
    before = seen.last(start)
    if any(c in " \t" or plain_character(c) == " " for c in run):
        return seen.put(start, end, "" if before == " " else " ")
    after = seen.text[end : end + 1]
    ends = seen.apart and before.isalnum() and after.isalnum() and before.isdecimal() != after.isdecimal()
    return seen.put(start, end, " " if ends else "")


def _mark(seen: _Seen, start: int) -> int:
    """Join marks with their letter if Unicode has a letter for both. Remove marks that only decorate it."""
    match = _patterns().mark_run.match(seen.text, start)
    assert match is not None
    marks, end = match[0], match.end()
    base = seen.last(start)
    if not seen.units or seen.units[-1][1] != start:  # the letter was not replaced
        return seen.put(start - len(base), end, _with_marks(base, marks))
    before, _, old = seen.units[-1]
    new = _with_marks(base, marks)
    if not old:  # characters without a glyph are between them
        return seen.put(start, end, new[1:] if new[:1] == base else "")
    if new != base + marks:
        seen.units.pop()
        seen.put(before, end, old[:-1] + new)
    return end


@lru_cache(1 << 12)
def _with_marks(base: str, marks: str) -> str:
    whole = unicodedata.normalize("NFC", base + marks)
    return whole[: len(base)] + "".join(
        c
        for c in whole[len(base) :]
        if not (base < "\u0250" or _only_decorates(c)) or unicodedata.category(c)[0] != "M"
    )


def _between(seen: _Seen, start: int) -> int:
    char, before, after = seen.text[start], seen.last(start), seen.text[start + 1 : start + 2]
    if char in _DOTS:
        joins = before.isascii() and before.isalnum() and after.isascii() and after.isalnum()
        return seen.put(start, start + 1, "." if joins else plain_character(char))
    joins = before.isdecimal() and after.isdecimal()
    return seen.put(start, start + 1, "-" if joins else plain_character(char))


def _only_decorates(mark: str) -> bool:
    return unicodedata.category(mark) == "Me" or unicodedata.combining(mark) not in _OF_LETTERS


def _unescaped(old: str) -> str:
    if old[0] == "&":
        return html.unescape(old)
    if old[0] == "\\":
        return old[1]
    if old[0] == "<":
        return "\n" if old[1:3] == "br" else ""
    try:
        return bytes.fromhex(old.replace("%", "")).decode()
    except UnicodeDecodeError:
        return old


def _tables(text: str) -> Callable[[int], bool]:
    """Return a function: True if a place is in a table. Its line has tabs, and so has the line above or below."""

    line = range(0)  # the last line that was checked, and the answer for it
    answer = False

    def tabbed(start: int, end: int) -> bool:
        return text.find("\t", start, end) >= 0

    def is_in_table(place: int) -> bool:
        nonlocal line, answer
        if place in line:
            return answer
        start, end = text.rfind("\n", 0, place) + 1, text.find("\n", place)
        end = len(text) if end < 0 else end
        after = text.find("\n", end + 1)
        line = range(start, end + 1)
        answer = (start > 0 and tabbed(text.rfind("\n", 0, start - 1) + 1, start - 1)) or tabbed(
            end + 1, len(text) if after < 0 else after
        )
        return answer

    return is_in_table
