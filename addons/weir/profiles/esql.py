"""ES|QL as far as a gateway must read it: which indexes a query names, and how many rows it may give.

What is not understood is said to reach everything (``*``): a source command that is not known, a parameter in
place of a name, a comment, a text in three quotes, a quotation without its end. Linear in the text's length.
Source: the ES|QL reference, "Commands".
"""

import re
from dataclasses import dataclass

#: Rows that come back without LIMIT, and at most (``esql.query.result_truncation_default_size``, ``…_max_size``).
DEFAULT_LIMIT = 1000

_TOKEN = re.compile(
    r'"(?P<text>(?:[^"\\\r\n]|\\.)*)"|`(?P<quoted>(?:[^`]|``)*)`'
    r"|(?P<space>\s+)|(?P<word>[^\s|,;()\[\]\"`]+)|(?P<sign>[|,;()\[\]\"`])"
)
#: Comments, which nest and may stand within words, and texts in three quotes, which may end with more of them.
_NOT_READ = ("/*", "//", '"""')
_SOURCES = {"FROM", "TS", "METRICS"}
_NO_INDEX = {"ROW", "SHOW", "EXPLAIN"}
#: After these, a query gives more rows than its last LIMIT says.
_MULTIPLIES = {"FORK", "JOIN", "MV_EXPAND", "FUSE"}
_EVERYTHING = "*"
LARGEST = 2**31 - 1
_LONGEST = 50_000


@dataclass(frozen=True, slots=True)
class Esql:
    """The index names and patterns that a query names, in order, and the number of rows that it asks for."""

    indexes: tuple[str, ...]
    limit: int
    widest: int


_ANYTHING = Esql((_EVERYTHING,), LARGEST, LARGEST)


def read_esql(text: str) -> Esql:
    """What *text* names."""
    if len(text) > _LONGEST or any(sign in text for sign in _NOT_READ):
        return _ANYTHING
    reader = _Reader()
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or ""
        if match[0] in ('"', "`"):  # a quotation without its end
            return _ANYTHING
        if kind == "sign":
            reader.sign(match[0])
        elif kind != "space":
            reader.word(match[kind], plain=kind == "word")
    indexes, limits = tuple(reader.indexes), reader.limits
    limit = limits[-1] if limits else DEFAULT_LIMIT
    if reader.multiplies:
        limit = max(sum(limits), DEFAULT_LIMIT)
    return Esql(indexes or (_EVERYTHING,), min(limit, LARGEST), max(limits, default=0))


class _Reader:
    """Walks over the tokens; a subquery in parentheses leaves the list around it as it was."""

    def __init__(self) -> None:
        self.indexes: list[str] = []
        self.limits: list[int] = []
        self.multiplies = False
        self._first = True  # command of all
        self._begins = True  # the next word names a command
        self._naming = False  # the next words name indexes
        self._joining = self._limiting = False
        self._around: list[bool] = []

    def sign(self, sign: str) -> None:
        if sign in "([":
            self._around.append(self._naming)
            self.multiplies |= self._naming  # a subquery's LIMIT is not the whole's
            self._begins = True
        elif sign in ")]":
            self._naming = self._around.pop() if self._around else False
            self._begins = False
        elif sign in "|;":
            self._begins, self._naming = True, False
        elif sign in '"`':  # a quotation without its end
            self.indexes.append(_EVERYTHING)

    def word(self, word: str, *, plain: bool) -> None:
        upper = word.upper() if plain else ""
        self.multiplies |= upper in _MULTIPLIES
        if self._limiting:
            self.limits.append(int(word) if re.fullmatch("[0-9]{1,9}", word) else LARGEST)
            self._limiting = False
        elif self._begins:
            self._begins, self._naming = False, upper in _SOURCES
            self._limiting = upper == "LIMIT"
            self._joining = upper == "JOIN"
            if upper == "ENRICH":
                self.indexes.append(_EVERYTHING)  # a policy's copy of an index that is not named
            if self._first and not self._naming and upper not in _NO_INDEX and upper != "SET":
                self.indexes.append(_EVERYTHING)  # a source that is not known
            self._first = self._first and upper == "SET"  # which stands before the source
        elif self._naming and upper == "METADATA":
            self._naming = False
        elif self._naming or self._joining:
            self.indexes += [_EVERYTHING] if word.startswith("?") else word.split(",")
            self._joining = False
        elif upper == "JOIN":
            self._joining = True
