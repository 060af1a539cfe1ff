"""Compile custom detectors from YAML: an RE2 pattern or a list of terms, context words, and a named checksum."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import re2

from weir.base.mistakes import SettingError, did_you_mean
from weir.config.model import CategorySettings, DetectorSettings
from weir.masking.detectors.checksums import BY_NAME
from weir.masking.detectors.engine import GROUPS, KINDS
from weir.masking.detectors.model import Candidate, Detector, word_prefilter, words
from weir.policy.compile import compile_category

#: Characters that streams hold back for a custom detector, if its pattern does not limit the length of a value.
_WIDEST = 200
_EDGES = " \t\r\n.,;:!?()[]{}<>\"'"
#: Higher than every built-in kind, because the operator has named the value.
_RANK = 100


class _Pattern:
    """An RE2 pattern with a `search` that skips empty matches."""

    def __init__(self, pattern: Any) -> None:
        self._pattern = pattern

    def search(self, text: str, position: int = 0) -> Any:
        """Return the next match that is not empty."""
        for match in self._matches(text, position):
            if match.end() > match.start():
                return match
        return None

    def _matches(self, text: str, position: int) -> Iterator[Any]:
        return self._pattern.finditer(text, position)  # type: ignore[no-any-return]


def compile_detector(name: str, settings: DetectorSettings, folder: Path) -> tuple[Detector, ...]:
    """Compile the detector *name* from *settings*. Raises `SettingError`."""
    if name in KINDS or name in GROUPS:
        raise SettingError("is the name of a built-in detector; choose another")
    pattern = _pattern(settings, folder)
    try:
        compiled = re2.compile(pattern)
    except re2.error as error:
        raise SettingError(f"not an RE2 expression: {error}", "pattern") from None
    if compiled.search("") is not None:
        raise SettingError("matches the empty text, so it matches everywhere; add a character", "pattern")
    check = None
    if settings.checksum is not None:
        check = BY_NAME.get(settings.checksum)
        if check is None:
            hint = did_you_mean(settings.checksum, BY_NAME) or f"; there are {', '.join(sorted(BY_NAME))}"
            raise SettingError(f"there is no checksum {settings.checksum!r}{hint}", "checksum")
    stems = [re.escape(word) for word in settings.context]
    near = words(*stems) if stems else None

    def found(c: Candidate) -> tuple[int, int] | None:
        value = c.value.strip(_EDGES) if settings.pattern is None else c.value  # terms match with their edges
        if (near is not None and not c.near(near)) or (check is not None and not check(value)):
            return None
        start = c.start + c.value.find(value)
        return start, start + len(value)

    # An anchor would not match in a body, where texts are joined, so a pattern with anchors is always tried.
    anchored = re.search(r"[\^$]|\\[AzZbB]", pattern) is not None
    prefilter = r"[\s\S]" if anchored else pattern
    words_prefilter = word_prefilter(*stems) if stems and not anchored else ""
    return (Detector(name, prefilter, _Pattern(compiled), found, _RANK, words_prefilter, _width(settings, pattern)),)


def _width(settings: DetectorSettings, pattern: str) -> int:
    """Return the maximum length of a value that may contain spaces; 0 if it contains none, so it ends with its word."""
    if settings.pattern is None:
        return max((len(term) for term in settings.terms), default=_WIDEST) if settings.file is None else _WIDEST
    return _WIDEST if re.search(r"\s|\\s|\.|\[\^", pattern) else 0


def _pattern(settings: DetectorSettings, folder: Path) -> str:
    if (settings.pattern is None) == (not settings.terms and settings.file is None):
        raise SettingError("name a pattern, or terms here or in a file")
    if settings.pattern is not None:
        return settings.pattern
    return compile_category(CategorySettings(terms=settings.terms, file=settings.file), folder)
