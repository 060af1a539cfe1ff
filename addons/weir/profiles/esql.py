"""ES|QL, as far as the gateway must parse it: the indexes that a query names, and how many rows it may return.

If the query has a part that is not understood, it is assumed to reach everything (``*``): an unknown source command, a
parameter in place of a name, a comment, a text in three quotes, an unclosed quotation. Linear in the text's length.
Source: the ES|QL reference, "Commands".
"""

import re
from dataclasses import dataclass

#: Default and maximum rows without LIMIT (``esql.query.result_truncation_default_size``, ``…_max_size``).
DEFAULT_LIMIT = 1000

_TOKEN = re.compile(
    r'"(?P<text>(?:[^"\\\r\n]|\\.)*)"|`(?P<quoted>(?:[^`]|``)*)`'
    r"|(?P<space>\s+)|(?P<word>[^\s|,;()\[\]\"`]+)|(?P<sign>[|,;()\[\]\"`])"
)
#: Comments, which nest and may be inside words; and texts in three quotes, which may end with more quotes.
_NOT_READ = ("/*", "//", '"""')
_SOURCES = {"FROM", "TS", "METRICS"}
_NO_INDEX = {"ROW", "SHOW", "EXPLAIN"}
#: After these commands, a query returns more rows than its last LIMIT.
_MULTIPLIES = {"FORK", "JOIN", "MV_EXPAND", "FUSE"}
_EVERYTHING = "*"
LARGEST = 2**31 - 1
_LONGEST = 50_000


@dataclass(frozen=True, slots=True)
class Esql:
    """The index names and patterns of a query, in order, and the number of rows that it requests."""

    indexes: tuple[str, ...]
    limit: int
    widest: int


_ANYTHING = Esql((_EVERYTHING,), LARGEST, LARGEST)


def read_esql(text: str) -> Esql:
    """Parse *text*."""
    if len(text) > _LONGEST or any(sign in text for sign in _NOT_READ):
        return _ANYTHING
    reader = _Reader()
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or ""
        if match[0] in ('"', "`"):  # an unclosed quotation
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
    """Processes the tokens. After a subquery in parentheses, the list around it continues."""

    def __init__(self) -> None:
        self.indexes: list[str] = []
        self.limits: list[int] = []
        self.multiplies = False
        self._first = True  # the next command is the first one
        self._begins = True  # the next word names a command
        self._naming = False  # the next words name indexes
        self._joining = self._limiting = False
        self._around: list[bool] = []

    def sign(self, sign: str) -> None:
        if sign in "([":
            self._around.append(self._naming)
            self.multiplies |= self._naming  # a subquery's LIMIT does not apply to the whole query
            self._begins = True
        elif sign in ")]":
            self._naming = self._around.pop() if self._around else False
            self._begins = False
        elif sign in "|;":
            self._begins, self._naming = True, False
        elif sign in '"`':  # an unclosed quotation
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
                self.indexes.append(_EVERYTHING)  # the policy's copy of an unnamed index
            if self._first and not self._naming and upper not in _NO_INDEX and upper != "SET":
                self.indexes.append(_EVERYTHING)  # an unknown source
            self._first = self._first and upper == "SET"  # SET comes before the source
        elif self._naming and upper == "METADATA":
            self._naming = False
        elif self._naming or self._joining:
            self.indexes += [_EVERYTHING] if word.startswith("?") else word.split(",")
            self._joining = False
        elif upper == "JOIN":
            self._joining = True
