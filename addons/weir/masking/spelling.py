"""Replace values in a JSON text without changing its other bytes.

Numbers, order, escapes and white space that are not replaced stay as they are. The text must have been parsed already;
if its tokens do not match its document, `SpellingError` is raised.
"""

import re
from typing import Any

from weir.base.content import encode
from weir.masking.detectors.engine import Places

_TOKENS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]]|[^\s,:{}\[\]"]+')
_ESCAPE = re.compile(r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)")

#: Start and end of a range in a text, and the text that replaces it.
Change = tuple[int, int, str]


class SpellingError(ValueError):
    """The text does not match its document, so the positions of values are unknown."""


class Spelling:
    """The tokens of one JSON text, numbered in order: strings, other scalars, and opening and closing brackets."""

    __slots__ = ("changes", "spans", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.spans = [match.span() for match in _TOKENS.finditer(text)]
        self.changes: list[Change] = []

    def replace(self, first: int, last: int, value: Any) -> None:
        """Replace the tokens from *first* to *last* with *value*, written as JSON."""
        self.changes.append((self.spans[first][0], self.spans[last][1], encode(value).decode()))

    def replace_within(self, token: int, parts: list[Change]) -> None:
        """Replace *parts* of the string at *token*. Positions refer to the decoded string."""
        start, end = self.spans[token]
        inner = self.text[start + 1 : end - 1]
        places = Places()
        if "\\" in inner:
            position = length = 0
            for match in _ESCAPE.finditer(inner):
                length += match.start() - position
                places.add(length, match.start(), match.end())
                length += 1
                position = match.end()
        for a, b, new in parts:
            self.changes.append((start + 1 + places[a], start + 1 + places.end(b), encode(new).decode()[1:-1]))

    def remove(self, members: list[tuple[int, int, bool]]) -> None:
        """Remove the marked members of one object. Each of *members* is (first token, last token, remove?)."""
        kept_end = None
        for i, (first, last, removed) in enumerate(members):
            if not removed:
                kept_end = self.spans[last][1]
            elif i + 1 < len(members):
                self.changes.append((self.spans[first][0], self.spans[members[i + 1][0]][0], ""))
            else:
                start = self.spans[first][0] if kept_end is None else kept_end
                self.changes.append((start, self.spans[last][1], ""))

    def written(self) -> str:
        """Return the text with all changes. A change inside another one is dropped."""
        parts: list[str] = []
        position = 0
        for start, end, new in sorted(self.changes, key=lambda c: (c[0], -c[1])):
            if start < position:
                position = max(position, end)  # overlapping removals
                continue
            parts.append(self.text[position:start])
            parts.append(new)
            position = end
        parts.append(self.text[position:])
        return "".join(parts)
