"""Many RE2 patterns over many texts at once: which of them match any text?

All patterns run as one over the texts joined by newlines, in linear time. That may find too much (a match across
a newline) but never too little: where it finds something, a set tells which patterns are to be looked for in the
texts one by one.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence

import re2

from weir.base.mistakes import SettingError

#: So many suspects are looked for one by one.
_FEW = 2
_NEVER: frozenset[int] = frozenset()
_OF_THE_WHOLE = re.compile(r"\\[AzZCQ]|\(\?[a-zA-Z]*[-U]")
#: Bytes that a set of patterns may use; RE2 gives up, and says so, beyond.
_MEMORY = 64 << 20


def compile_pattern(pattern: str, *location: str | int) -> "re2._Regexp":
    """*pattern* as RE2 reads it. Raises `SettingError`."""
    if any(ord(c) < 0x20 or ord(c) == 0x7F for c in pattern):
        raise SettingError("has a control character; in YAML, a pattern stands in single quotes: '\\b'", *location)
    try:
        return re2.compile(pattern, _options())
    except re2.error as error:
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else error.args[0]
        raise SettingError(f"not an RE2 expression: {reason}", *location) from None


class TextFilter:
    """Patterns are added, `close` ends that, and `hits` tells which match."""

    def __init__(self) -> None:
        self._patterns: dict[str, re2._Regexp] = {}
        self._alone: frozenset[int] = _NEVER  # those that mean something else within joined texts
        self._joined: list[int] = []
        self._any: re2._Regexp | None = None
        self._set: re2.Set | None = None  # of those in joined texts
        self._exact: re2.Set | None = None  # of the same, in one text

    def add(self, pattern: str) -> int:
        """The number of *pattern* in what `hits` gives. Raises `SettingError`."""
        if pattern not in self._patterns:
            self._patterns[pattern] = compile_pattern(pattern)
        return list(self._patterns).index(pattern)

    def close(self) -> None:
        """No more patterns. Without this, each is looked for by itself. Raises `SettingError` for too many."""
        texts = list(self._patterns)
        self._joined = [n for n, text in enumerate(texts) if not _OF_THE_WHOLE.search(text)]
        self._alone = frozenset(range(len(texts))).difference(self._joined)
        try:
            self._any = compile_pattern("|".join(f"(?m:{texts[n]})" for n in self._joined)) if self._joined else None
        except SettingError:  # too large together: each by itself
            self._alone = frozenset(range(len(texts)))
            return
        if len(self._joined) > _FEW:
            self._set = _compiled(f"(?m:{texts[n]})" for n in self._joined)
            self._exact = _compiled(texts[n] for n in self._joined)

    def hits(self, texts: Sequence[str]) -> frozenset[int]:
        """The numbers of the patterns that match in one of *texts*."""
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
        for text in texts:  # once for all of them
            matched = self._exact.Match(text) or ()
            if 0 in matched:
                hit.update(self._joined[i - 1] for i in matched if i)
            else:
                hit.update(n for n in among if patterns[n].search(text) is not None)
        return frozenset(hit)


def _compiled(patterns: Iterable[str]) -> "re2.Set | None":
    """A set whose first pattern matches always: where it does not, the set has run out of memory. None if too large."""
    found = re2.Set.SearchSet(_options())
    for pattern in ("", *patterns):
        found.Add(pattern)
    try:
        found.Compile()  # to match without it is a segmentation fault
    except re2.error:
        return None
    return found


def term_pattern(terms: Iterable[str]) -> str:
    """A pattern for any of *terms* as whole words, in any case, with any white space between their words."""
    groups: dict[tuple[str, str], list[str]] = {}  # an edge in each term would be too much for RE2
    for term in terms:
        groups.setdefault((_edge(term[0], "^"), _edge(term[-1], "$")), []).append(_words(term))
    return "|".join(f"(?i:{begin}(?:{'|'.join(words)}){end})" for (begin, end), words in groups.items())


def _words(term: str) -> str:
    return r"\s+".join(map(re2.escape, term.split()))


def _edge(char: str, end: str) -> str:
    """Where a word of *char*'s script must end; some scripts put no space between words."""
    if unicodedata.east_asian_width(char) in "WF" or "\u0e00" <= char <= "\u0eff" or not char.isalnum():
        return ""
    return rf"(?:{end}|[^\pL\pN_])"


def _options() -> "re2.Options":
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY
    return options
