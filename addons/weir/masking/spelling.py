"""How a JSON text is spelt: where each of its values stands, and putting others in their place.

What is not replaced keeps every byte: numbers, order, escapes and white space. The text must have been parsed already;
a text that does not fall into the tokens that its document has raises `SpellingError`.
"""

import re
from typing import Any

from weir.base.content import encode
from weir.masking.detectors.engine import Places

_TOKENS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[{}\[\]]|[^\s,:{}\[\]"]+')
_ESCAPE = re.compile(r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)")

#: A place in a text and what is put there.
Change = tuple[int, int, str]


class SpellingError(ValueError):
    """The text is not that of the document: nothing can be said of where values stand."""


class Spelling:
    """The tokens of one JSON text, numbered in order: strings, other scalars, and brackets of both sides."""

    __slots__ = ("changes", "spans", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.spans = [match.span() for match in _TOKENS.finditer(text)]
        self.changes: list[Change] = []

    def replace(self, first: int, last: int, value: Any) -> None:
        """Put *value*, as JSON, in the place of the tokens from *first* to *last*."""
        self.changes.append((self.spans[first][0], self.spans[last][1], encode(value).decode()))

    def replace_within(self, token: int, parts: list[Change]) -> None:
        """Put texts in the place of parts of the string that is *token*; places are those in the decoded string."""
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
        """Remove those members of one object that are marked; *members* are its (first token, last token, removed?)."""
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
        """The text with everything put in its place; a change within another is part of it."""
        parts: list[str] = []
        position = 0
        for start, end, new in sorted(self.changes, key=lambda c: (c[0], -c[1])):
            if start < position:
                position = max(position, end)  # removals that meet
                continue
            parts.append(self.text[position:start])
            parts.append(new)
            position = end
        parts.append(self.text[position:])
        return "".join(parts)
