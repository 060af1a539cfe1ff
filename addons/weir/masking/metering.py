"""Measure answers while they pass: the number of tokens that they report, and the size of their texts.

Neither needs more than one document of a stream at a time. Unreadable documents count as text.
"""

import codecs
import re
from collections.abc import Container, Iterable, Iterator
from typing import Any

from weir.base.content import ContentError, leaf_texts, parse_answer
from weir.base.jsonpath import Path
from weir.masking.bodies import is_lines
from weir.profiles.usage import Usage, total

#: The end of a server-sent event (WHATWG HTML, 9.2): a line end and an empty line.
_EVENT_END = re.compile(rb"(?:\r\n|\n|\r(?!\n))(?:\r\n|\n|\r(?!\n|\Z))")
_LINE_END = re.compile(rb"\n")
_LINES = re.compile(rb"\r\n|\n|\r")


class Documents:
    """Cuts a stream of any chunks into its events or lines, each with its end."""

    def __init__(self, content_type: str) -> None:
        media = content_type.partition(";")[0].strip().lower()
        self.events = media == "text/event-stream"
        self.cuts = self.events or is_lines(content_type, media)  # otherwise the stream is one text
        self._ends = _EVENT_END if self.events else _LINE_END
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take *data* and yield the complete documents."""
        seen = max(0, len(self._rest) - 3)  # an end has up to four bytes
        self._rest += data
        begin = 0
        for end in self._ends.finditer(self._rest, seen):
            yield bytes(self._rest[begin : end.end()])
            begin = end.end()
        del self._rest[:begin]

    def end(self) -> bytes:
        """Return the unfinished document."""
        rest = bytes(self._rest)
        self._rest.clear()
        return rest

    def content(self, document: bytes) -> bytes:
        """Return the data of an event, or a line itself."""
        if not self.events:
            return document.strip()
        lines = _LINES.split(document.removeprefix(codecs.BOM_UTF8))
        return b"\n".join(line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:"))


class Meter:
    """Measures one answer. ``tokens`` is the number that it reports, or None; ``text`` the bytes of its texts.

    ``reports`` are the numbers of the documents that only report usage.

    *records* are paths to members of the documents that are not texts, or repeat them.
    """

    def __init__(self, content_type: str, usage: Usage, records: Iterable[Path], *, sizes: bool) -> None:
        self.text = 0
        self.reports: set[int] = set()
        self._number = 0  # of the next document
        self._documents = Documents(content_type)
        self._usage = usage
        self._names = usage.names
        self._records = tuple(records)
        self._sizes = sizes
        self._reported: dict[int, Any] = {}  # the last value of each of the usage's paths

    @property
    def tokens(self) -> int | None:
        """The reported number of tokens so far; None if there is no report."""
        return total(self._reported.values())

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the answer."""
        if not self._sizes and not self._names:  # nothing is measured
            return
        if not self._documents.cuts:
            self.text += len(data)
            return
        for document in self._documents.feed(data):
            self._measure(document)

    def end(self) -> None:
        """Measure the unfinished document."""
        self._measure(self._documents.end())

    def _measure(self, document: bytes) -> None:
        number = self._number
        self._number += 1
        if not self._sizes and not any(name in document for name in self._names):
            return
        content = self._documents.content(document)
        if content in (b"", b"[DONE]"):
            return
        try:
            value = parse_answer(content)
        except ContentError:
            self.text += len(content)
            return
        found = {i: tokens for i, path in enumerate(self._usage.tokens) if (tokens := path.first(value)) is not None}
        if found and not self._usage.has_results(value):
            self.reports.add(number)
        self._reported |= found
        if self._sizes:
            self.text += max(0, size(value) - sum(size(path.find(value)) for path in self._records))


class UsageFilter:
    """Removes from a stream the documents that only report its usage, by their numbers.

    Masks may hide a report, so a `Meter` of the unmasked stream finds the *reports*.
    """

    def __init__(self, content_type: str, usage: Usage, reports: Container[int]) -> None:
        self._documents = Documents(content_type)
        self._usage = usage
        self._reports = reports
        self._number = 0  # of the next document

    def feed(self, data: bytes) -> list[bytes]:
        """Take *data* and return the complete documents to deliver."""
        if not self._documents.cuts:
            return [data]
        return [document for document in self._documents.feed(data) if self._passes(document)]

    def end(self) -> list[bytes]:
        """Return the unfinished document, if it is delivered."""
        rest = self._documents.end()
        return [rest] if rest and self._passes(rest) else []

    def _passes(self, document: bytes) -> bool:
        number = self._number
        self._number += 1
        if number not in self._reports:
            return True
        try:
            return self._usage.has_results(parse_answer(self._documents.content(document)))
        except ContentError:
            return False


def size(value: Any) -> int:
    """Return the size of all texts in the parsed *value*, in bytes of UTF-8."""
    texts = "".join(leaf_texts(value))
    return len(texts) if texts.isascii() else len(texts.encode("utf-8", "surrogatepass"))
