"""ES|QL as far as a gateway must read it: which indexes a query names, and how many rows it may give.

What is not understood is said to reach everything (``*``): a source command that is not known, a parameter in
place of a name. Source: the ES|QL reference, "Commands".
"""

import re
from dataclasses import dataclass

#: Rows that come back without LIMIT, and at most (``esql.query.result_truncation_default_size``, ``…_max_size``).
DEFAULT_LIMIT = 1000

_TOKEN = re.compile(
    r'"""(?P<raw>.*?)"""|"(?P<text>(?:[^"\\\r\n]|\\.)*)"|`(?P<quoted>(?:[^`]|``)*)`'
    r"|(?P<comment>//[^\r\n]*|/\*.*?\*/)|(?P<space>\s+)|(?P<word>[^\s|,;()\[\]\"`]+)|(?P<sign>[|,;()\[\]\"`])",
    re.DOTALL,
)
_SOURCES = {"FROM", "TS", "METRICS"}
_NO_INDEX = {"ROW", "SHOW", "EXPLAIN"}
#: After these, a query gives more rows than its last LIMIT says.
_MULTIPLIES = {"FORK", "JOIN", "MV_EXPAND", "FUSE"}
_EVERYTHING = "*"


@dataclass(frozen=True, slots=True)
class Esql:
    """The index names and patterns that a query names, in order, and the number of rows that it asks for."""

    indexes: tuple[str, ...]
    limit: int
    widest: int


def read_esql(text: str) -> Esql:
    """What *text* names."""
    reader = _Reader()
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or ""
        if kind == "comment" and "/*" in match[0][2:]:
            reader.indexes.append(_EVERYTHING)  # comments nest there: what is a comment cannot be told simply
        elif kind == "sign":
            reader.sign(match[0])
        elif kind not in ("comment", "space"):
            reader.word(match[kind], plain=kind == "word")
    indexes, limits = tuple(reader.indexes), reader.limits
    limit = limits[-1] if limits else DEFAULT_LIMIT
    if reader.multiplies:
        limit = max(sum(limits), DEFAULT_LIMIT)
    return Esql(indexes or (_EVERYTHING,), limit, max(limits, default=0))


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
            self.limits.append(int(word) if re.fullmatch("[0-9]{1,9}", word) else 2**31 - 1)
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
