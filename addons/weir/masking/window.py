"""A window over one text that arrives in pieces: it finds values, and holds back the part that may become one.

It holds back the unfinished last word, and groups of digits, names of months and similar words before it, because
together they could be a number or a date. The result does not depend on where the pieces are cut.
"""

import re

from weir.base.normal import is_plain, normal
from weir.masking.detectors.engine import DetectorError
from weir.masking.detectors.model import TABLE, Span
from weir.masking.masks import Mask, View
from weir.masking.walk import MaskingError, Value, replacements

#: Maximum characters of one value that are held.
LARGEST_VALUE = 1 << 20
#: Characters after which an unbroken word is treated as data, not as a value; and the same for a possible token.
LONGEST_WORD = 640
_LONGEST_TOKEN = 8192
_STEP = 256
#: Maximum characters of groups that may form one value together.
_LONGEST_GROUPS = 160

#: Groups that may continue with more groups: with a digit, a month, a word within a date, letters of an account number.
_JOINED = re.compile(
    r"\S*\d\S*|(?-i:[(+°′″'\"NSEWO,.;/·_~*•∙>-]{1,4}|[A-Z]{1,4},?)|(?:of|de|del|den|do|the|x|ext\.?|extension|poste|durchwahl)"
    r"|(?:\S*[^\w\s])?(?:jan|feb|f[ée]v|mar|m[äa]r|maart|apr|avr|abr|may|mai|maj|mei|mag|jun|jui|giu|jul|lug|aug|ao[ûu]|ago|sep|set|o[ck]t|ott|out|nov|de[csz]|d[ée]c|dic|ene|gen"
    r"|sty|lut|kwi|cze|lip|sie|wrz|pa[źz]|lis|gru|tammi|helmi|maalis|huhti|touko|kes[äa]|hein[äa]|elo|syys|loka|marras|joulu|[\u0900-\u097f])[^\s\d]{0,12}",
    re.IGNORECASE,
)
_DATE_TAIL = re.compile(r"\d[\d./\- 年月日년월일]{4,30}[^\d]{0,18}\Z")
_SHORT_WORDS = re.compile(r"(?:\s{0,4}[^\W\d_]{1,15}(?:['’][^\W\d_]{1,4})?[,.;:?]?(?=\s|\Z))*\s{0,4}")
_CJK = r"\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
#: Word breaks besides white space: punctuation in scripts without spaces, and delimiters of JSON strings.
_PAUSE = re.compile(rf"""(?<=[{_CJK}])[,;:!?.、]+(?=[{_CJK}])|\\?"\s*[:,]|,\s*\\?\"""")
#: A piece of a word that ends it contains at least one of these.
_MAY_END = re.compile(r"[\s\",]|[^\x00-\x7f]")
#: An escape of HTML, a URL or Markdown that may be incomplete.
_OPEN_ESCAPE = re.compile(r"(?:<[!bw][^<>\n]{0,12}|<|&[#0-9A-Za-z]{0,40}|(?:%[0-9A-Fa-f]{2}){0,3}%[0-9A-Fa-f]?|\\)\Z")
_IBAN_HEAD = re.compile(r"(?<!\w)[A-Za-z]{2}\d\d\s+\Z")
_KEY_BEGIN = "-----BEGIN "
_KEY_END = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_LONGEST_KEY = 20_000
#: Content that a private key cannot have: characters outside PEM (RFC 7468), and words of a sentence.
_NO_KEY = re.compile(r"[^A-Za-z0-9+/=\s:,.\\-]|[A-Za-z]{1,20} [A-Za-z]{1,20} [A-Za-z]{1,20}\b")


class Window:
    """The state of one text: its tail that may still become a value, and some context before it.

    Positions count from the start of the text. *key* holds the names around the text; *strategies* the mask of each
    kind.
    """

    __slots__ = (
        "_before", "_key", "_look_at", "_strategies", "_unbroken", "_view", "_width", "forced", "held", "settled",
    )  # fmt: skip

    def __init__(self, view: View, key: str, strategies: dict[str, Mask]) -> None:
        self._view = view
        self._key = key
        self._strategies = strategies
        self._before = ""  # the last characters that are settled
        self.held = ""
        self.settled = 0  # position of the first held character
        self.forced = 0  # position up to which the text was settled by force, with *last*
        self._look_at = LONGEST_WORD
        self._unbroken = False  # the held text is a single word
        self._width = view.detectors.width

    @property
    def begins(self) -> int:
        """The position of the first character that a value found later may include."""
        return self.settled - len(self._before)

    def feed(self, text: str, last: bool = False) -> list[Value]:
        """Add *text* and return the values that are complete; with *last*, all values.

        Afterwards, text before `settled` cannot become part of another value. The exception is a *last* that came too
        early: a later value may then begin before the position `forced`. Raises `MaskingError`.
        """
        self.held += text
        held = self.held
        if not held:
            return []
        if self._unbroken and not last and len(held) < self._look_at and not _MAY_END.search(text):
            return []  # still one word
        cut = len(held) if last else self._boundary(held)
        self._unbroken = cut == 0 and not _MAY_END.search(held)
        if cut == 0 and not last and len(held) < self._look_at:
            return []
        spans = [] if self._is_plain(held) else self._found(held)
        if not last:
            longest = _LONGEST_TOKEN if "eyJ" in held else LONGEST_WORD  # JOSE tokens begin with eyJ
            if cut < len(held) - longest and _open_key(held) < 0:
                cut = len(held) - longest
            for span in reversed(spans):
                if span.start < cut < span.end:
                    cut = max(0, span.start)
            if len(held) - cut > LARGEST_VALUE:
                raise MaskingError("a value in a stream is longer than 1,048,576 characters")
        values = self._values(held, [s for s in spans if s.start < cut])
        self._before = (self._before + held[:cut])[-TABLE:]
        self.held = held[cut:]
        self.settled += cut
        if last:
            self.forced = self.settled
        self._look_at = max(LONGEST_WORD, len(self.held)) + _STEP  # do not search data without spaces at every piece
        return values

    def shorten(self, length: int) -> list[Value]:
        """Hold at most *length* characters, except in a private key. Return the values that end before them."""
        if len(self.held) <= length or _open_key(self.held) >= 0:
            return []
        rest = self.held[-length:]
        self.held = self.held[:-length]
        forced, values = self.forced, self.feed("", last=True)
        self.forced, self.held = forced, rest
        return values

    def _is_plain(self, held: str) -> bool:
        """True if *held* contains only short words, which no built-in detector matches."""
        whole = not self._before or self._before[-1].isspace()
        if not whole or self._width or _SHORT_WORDS.fullmatch(held) is None:
            return False
        return held.isascii() or is_plain(held)

    def _boundary(self, held: str) -> int:
        """Return the position before which no text can become part of a value, in any spelling."""
        if is_plain(held):
            place, length = _boundary(held), len(held)
            return max(0, min(place, length - self._width)) if self._width else place
        open_ = _OPEN_ESCAPE.search(held, max(0, len(held) - 48))
        plain = normal(held if open_ is None else held[: open_.start()])
        if not plain.text:
            return 0
        place, length = _boundary(plain.text), len(plain.text)
        return plain.place(max(0, min(place, length - self._width)) if self._width else place)

    def _found(self, held: str) -> list[Span]:
        """Return the spans that end in *held*, as indexes into *held*; negative if they start before it."""
        try:
            before = len(self._before)
            spans = self._view.detectors.find(self._before + held, self._key)
        except DetectorError as error:
            raise MaskingError(str(error)) from None
        return [Span(s.start - before, s.end - before, s.kind, s.rank) for s in spans if s.end > before]

    def _values(self, held: str, spans: list[Span]) -> list[Value]:
        if not spans:
            return []
        before, settled = len(self._before), self.settled
        text = self._before + held
        moved = [Span(s.start + before, s.end + before, s.kind, s.rank) for s in spans]
        return [
            Value(start - before + settled, end - before + settled, new, kind, mask)
            for start, end, new, kind, mask in replacements(self._view, text, moved, self._strategies)
        ]


def _boundary(held: str) -> int:
    place = _open_key(held)
    if place >= 0:
        return place
    if '"' in held or not held.isascii():
        held = _PAUSE.sub(lambda match: " " * len(match[0]), held)
    place, ended = len(held), held[-1].isspace()
    for word in reversed(held[-_LONGEST_GROUPS:].split()):
        if ended and not _JOINED.fullmatch(word) and not _in_iban(held, place, word):
            break
        place, ended = held.rindex(word, 0, place), True
    place = _start_of_word(held, place)  # the first word may have been cut
    if (match := _DATE_TAIL.search(held, max(0, len(held) - 60))) is not None:
        place = min(place, _start_of_word(held, match.start()))
    return place


def _open_key(held: str) -> int:
    """Return the index of an unfinished private key, or -1. The header itself may be incomplete."""
    place = held.rfind(_KEY_BEGIN)
    if place < 0 or len(held) - place > _LONGEST_KEY:
        return -1
    head = held[place + len(_KEY_BEGIN) :][:60]
    is_key = "PRIVATE KEY" in head or ("-" not in head.removesuffix("-") and "\n" not in head)
    if not is_key or _KEY_END.search(held, place) is not None:
        return -1
    text = held[place + len(_KEY_BEGIN) :].partition("-----")[2].partition("-----")[0]
    return -1 if _NO_KEY.search(text) is not None else place


def _in_iban(held: str, place: int, word: str) -> bool:
    """True if *word*, the last one before *place*, is the bank code of an account number."""
    return len(word) == 4 and word.isalnum() and _IBAN_HEAD.search(held, 0, held.rindex(word, 0, place)) is not None


def _start_of_word(text: str, place: int) -> int:
    while place > 0 and not text[place - 1].isspace():
        place -= 1
    return place
