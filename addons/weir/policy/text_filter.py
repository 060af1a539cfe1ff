"""Find which of many RE2 patterns match any of many texts.

All patterns are joined to one, and all texts with newlines, so the search takes linear time. It may find too much, such
as a match across a newline, but never too little. If it finds something, a set returns the patterns that may match, and
these are searched in each text.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence

import re2

from weir.base.mistakes import SettingError

#: Up to this many suspect patterns are searched one by one.
_FEW = 2
_NEVER: frozenset[int] = frozenset()
_OF_THE_WHOLE = re.compile(r"\\[AzZCQ]|\(\?[a-zA-Z]*[-U]")
#: Maximum bytes for a set of patterns; RE2 reports when they are not enough.
_MEMORY = 64 << 20


def compile_pattern(pattern: str, *location: str | int) -> "re2._Regexp":
    """Compile *pattern* as RE2. Raises `SettingError`."""
    if any(ord(c) < 0x20 or ord(c) == 0x7F for c in pattern):
        raise SettingError("has a control character; in YAML, write a pattern in single quotes: '\\b'", *location)
    try:
        return re2.compile(pattern, _options())
    except re2.error as error:
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else error.args[0]
        raise SettingError(f"not an RE2 expression: {reason}", *location) from None


class TextFilter:
    """Matches many patterns: `add` them, then `close` the filter, then `hits` returns those that match."""

    def __init__(self) -> None:
        self._patterns: dict[str, re2._Regexp] = {}
        self._alone: frozenset[int] = _NEVER  # patterns with another meaning in joined texts
        self._joined: list[int] = []
        self._any: re2._Regexp | None = None
        self._set: re2.Set | None = None  # the other patterns, for joined texts
        self._exact: re2.Set | None = None  # the same patterns, for one text

    def add(self, pattern: str) -> int:
        """Add *pattern* and return its number in the results of `hits`. Raises `SettingError`."""
        if pattern not in self._patterns:
            self._patterns[pattern] = compile_pattern(pattern)
        return list(self._patterns).index(pattern)

    def close(self) -> None:
        """Compile the filter. Without this call, each pattern is searched alone. Raises `SettingError` for too many."""
        texts = list(self._patterns)
        self._joined = [n for n, text in enumerate(texts) if not _OF_THE_WHOLE.search(text)]
        self._alone = frozenset(range(len(texts))).difference(self._joined)
        try:
            self._any = compile_pattern("|".join(f"(?m:{texts[n]})" for n in self._joined)) if self._joined else None
        except SettingError:  # too large together, so search each alone
            self._alone = frozenset(range(len(texts)))
            return
        if len(self._joined) > _FEW:
            self._set = _compiled(f"(?m:{texts[n]})" for n in self._joined)
            self._exact = _compiled(texts[n] for n in self._joined)

    def hits(self, texts: Sequence[str]) -> frozenset[int]:
        """Return the numbers of the patterns that match in one of *texts*."""
        suspects: Iterable[int] = self._alone
        if self._any is None:
            suspects = suspects or range(len(self._patterns))
        elif self._any.search(joined := "\n".join(texts).encode("utf-8", "replace")) is not None:
            matched = (self._set.Match(joined) if self._set is not None else None) or ()
            found = (self._joined[i - 1] for i in matched if i) if 0 in matched else self._joined
            suspects = self._alone.union(found)
        if not suspects:
            return _NEVER
        patterns = list(self._patterns.values())
        among = [n for n in suspects if n not in self._alone]
        if self._exact is None or len(among) <= _FEW:
            return frozenset(n for n in suspects if any(map(patterns[n].search, texts)))
        hit = {n for n in self._alone if any(map(patterns[n].search, texts))}
        for text in texts:  # one search for all patterns
            matched = self._exact.Match(text) or ()
            if 0 in matched:
                hit.update(self._joined[i - 1] for i in matched if i)
            else:
                hit.update(n for n in among if patterns[n].search(text) is not None)
        return frozenset(hit)


def _compiled(patterns: Iterable[str]) -> "re2.Set | None":
    """Compile a set with a first pattern that always matches: if it does not, memory ran out. None if too large."""
    found = re2.Set.SearchSet(_options())
    for pattern in ("", *patterns):
        found.Add(pattern)
    try:
        found.Compile()  # matching without it causes a segmentation fault
    except re2.error:
        return None
    return found


def term_pattern(terms: Iterable[str]) -> str:
    """Return a pattern for any of *terms* as whole words, ignoring case, with any white space between words."""
    groups: dict[tuple[str, str], list[str]] = {}  # an edge in each term would be too large for RE2
    for term in terms:
        groups.setdefault((_edge(term[0], "^"), _edge(term[-1], "$")), []).append(_words(term))
    return "|".join(f"(?i:{begin}(?:{'|'.join(words)}){end})" for (begin, end), words in groups.items())


def _words(term: str) -> str:
    return r"\s+".join(map(re2.escape, term.split()))


def _edge(char: str, end: str) -> str:
    """Return the pattern for the edge of a word in *char*'s script; some scripts put no space between words."""
    if unicodedata.east_asian_width(char) in "WF" or "\u0e00" <= char <= "\u0eff" or not char.isalnum():
        return ""
    return rf"(?:{end}|[^\pL\pN_])"


def _options() -> "re2.Options":
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY
    return options
