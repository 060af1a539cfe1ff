"""Mistakes in policy files. Each has its place, and all are reported at once."""

import difflib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

#: A place in a document: keys and indexes from the root.
Location = tuple[str | int, ...]


class SettingError(ValueError):
    """A setting cannot be used: the reason and the setting's place."""

    def __init__(self, message: str, *location: str | int) -> None:
        super().__init__(message)
        self.message = message
        self.location: Location = location


@contextmanager
def placed(*location: str | int) -> Iterator[None]:
    """Place every `SettingError` of the block below *location*."""
    try:
        yield
    except SettingError as error:
        raise SettingError(error.message, *location, *error.location) from None


@contextmanager
def at(errors: list[SettingError], *location: str | int) -> Iterator[None]:
    """Collect a `SettingError` of the block into *errors*, placed below *location*, and continue after the block."""
    try:
        with placed(*location):
            yield
    except SettingError as error:
        errors.append(error)


@dataclass(frozen=True, slots=True, order=True)
class Mistake:
    """One line of the report. ``line`` and ``column`` count from 1."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


class ConfigError(Exception):
    """The policies folder cannot be used. ``str()`` has one line per mistake."""

    def __init__(self, mistakes: Sequence[Mistake]) -> None:
        self.mistakes = tuple(sorted(mistakes))
        super().__init__("\n".join(map(str, self.mistakes)))


def path_text(location: Location) -> str:
    """Format ``("rules", 2, "effect")`` as ``rules[2].effect``."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def did_you_mean(word: object, words: Iterable[str]) -> str:
    """Return a sentence that suggests the word in *words* nearest to *word*, or an empty text."""
    word, words = str(word), list(words)
    close = [w for w in words if len(word) > 2 and w.startswith(word)] or difflib.get_close_matches(word, words, 1)
    return f". Did you mean {close[0]!r}?" if close else ""
