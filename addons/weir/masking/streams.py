"""Mask bodies that arrive in pieces: server-sent events, lines of JSON, plain text.

The output does not depend on how the bytes are cut into chunks.
"""

import codecs
import re
from functools import partial
from typing import Protocol

from weir.base.content import ContentError
from weir.masking.joining import LARGEST_EVENT, Documents
from weir.masking.masker import mask_text
from weir.masking.masks import Mask, View
from weir.masking.units import between
from weir.masking.walk import MaskingError, Report, applied
from weir.masking.window import Window
from weir.profiles.framing import UNKNOWN_FRAMING, Framing

_LINE_END = re.compile(rb"\r\n|\n|\r(?!\Z)")
#: Start of a JSON line: a value, optionally after a short prefix as in ``0:"text"``.
_JSON_LINE = re.compile(rb"\s*(?:[0-9A-Za-z_-]{1,16}:\s?)?[\[{\"]")
#: Maximum bytes of a first line that may be JSON. A longer line is more likely text that begins like JSON.
_LONGEST_LINE = 2048
_PREFIX = re.compile(rb"\s*([0-9A-Za-z_-]{1,16}):\s?(?=[\[{\"])")


class PieceMasker(Protocol):
    """Masks a body piece by piece. All methods raise `MaskingError`."""

    def feed(self, data: bytes) -> list[bytes]:
        """Take *data* and return the bytes that may be passed on."""

    @property
    def holds(self) -> bool:
        """True if an event, line or text is held."""

    def idle(self, *, long: bool) -> list[bytes]:
        """Return the bytes that may be passed on after a short or a *long* silence."""

    def end(self) -> list[bytes]:
        """Return the remaining bytes."""


class TextStream:
    """One text that arrives in pieces and is released character by character."""

    __slots__ = ("_report", "_window")

    def __init__(self, view: View, report: Report, key: str, strategies: dict[str, Mask]) -> None:
        self._report = report
        self._window = Window(view, key, strategies)

    def feed(self, text: str, last: bool = False) -> str:
        """Take *text* and return the characters that may be passed on; all of them if it is the *last*."""
        window = self._window
        held, begun = window.held + text, window.settled
        values = window.feed(text, last)
        shown = held[: window.settled - begun]
        if not values:
            return shown
        for value in values:
            self._report.add(value.mask, kind=value.kind)
        return applied(shown, [(max(0, value.start - begun), value.end - begun, value.new) for value in values])


class EventMasker:
    """Server-sent events (WHATWG HTML, 9.2). Events in which nothing changes keep their bytes."""

    def __init__(self, view: View, report: Report, framing: Framing = UNKNOWN_FRAMING) -> None:
        self._view = view
        self._report = report
        self._documents: Documents[bytes] = Documents(view, report, framing)
        self._rest = b""
        self._parts: list[bytes] = []  # of an unfinished line, after the rest
        self._size = 0  # of the unfinished event
        self._begun = False
        self._lines: list[tuple[bytes, bytes]] = []  # of the unfinished event: each line with its end
        self._known: dict[bytes, bytes] = {}  # cache of recurring lines
        self._out: list[bytes] = []
        self._waits = False  # the last event was a comment, and it may be held

    def feed(self, data: bytes) -> list[bytes]:
        """Take *data* and return the complete events, masked."""
        if (
            not self._rest
            and not self._parts
            and not self._lines
            and data[:6] == b"data: "
            and data.count(b"\n") == 2
            and data[-2:] == b"\n\n"
            and self._documents.add_like_before(data[6:-2], b"data: ", b"\n\n")
        ):
            return self._documents.ready()  # the usual case: one event, like the one before
        if not self._begun:
            self._begun = True
            data = data.removeprefix(codecs.BOM_UTF8)
        self._size += len(data)
        if self._size > LARGEST_EVENT:
            raise MaskingError("an event is longer than the limit of 8 MiB")
        if b"\n" not in data and b"\r" not in data and not self._rest.endswith(b"\r"):
            self._parts.append(data)  # joined when the line ends
            return []
        whole = b"".join((self._rest, *self._parts, data))
        self._parts.clear()
        position = 0
        for match in _LINE_END.finditer(whole):
            line, end = whole[position : match.start()], match[0]
            position = match.end()
            self._lines.append((line, end))
            if not line:
                self._event()
                self._size = len(whole) - position
        self._rest = whole[position:]
        return self._ready()

    @property
    def holds(self) -> bool:
        """True if a complete event is held."""
        return self._documents.holds

    def idle(self, *, long: bool) -> list[bytes]:
        """Return the events that may be passed on after a silence."""
        self._documents.idle(long=long)
        return self._ready()

    def end(self) -> list[bytes]:
        """Release everything, including an unfinished event."""
        rest = b"".join((self._rest, *self._parts))
        self._parts.clear()
        self._rest = b""
        if rest:
            line = rest.rstrip(b"\r")
            self._lines.append((line, rest[len(line) :]))
        if self._lines:
            self._event()
        self._documents.settle()
        return self._ready()

    def _ready(self) -> list[bytes]:
        out, self._out = self._out, []
        return [*out, *self._documents.ready()]

    def _event(self) -> None:
        lines, self._lines = self._lines, []
        data = [_value(line) for line, _ in lines if _is_data(line)]
        if not data:
            raw = self._written(lines, None)
            comment = all(line.startswith(b":") or not line for line, _ in lines)
            if comment and self._documents.holds and self._waits:
                self._out.append(raw)  # comments keep a connection alive: at most one waits behind held events
            else:
                self._waits = comment
                self._documents.add_other(raw)
            return
        self._waits = False
        body = b"\n".join(data)
        before = _PREFIX.match(body)
        if before is not None and not self._view.named and self._prefixed(lines, body, before.end()):
            return
        written = partial(self._written, lines)
        if body.strip() == b"[DONE]":
            self._documents.add_other(written(None))
            return
        name = next((_value(line).decode("utf-8", "replace") for line, _ in lines if line.startswith(b"event:")), "")
        if body.lstrip()[:1] in (b"{", b"[", b'"'):
            try:
                self._documents.add(body, written, name)
            except ContentError as error:
                # Plain text may start like JSON: a lone quote, or anything in a stream of text events.
                if self._view.named or not (self._documents.reads_text or body.lstrip()[:1] == b'"'):
                    raise MaskingError(f"an event is not unambiguous JSON: {error}") from None
                self._documents.add_text(_decoded(body), written, name)
        elif self._view.named:
            raise MaskingError("masks name fields, but an event is not JSON")
        else:
            self._documents.add_text(_decoded(body), written, name)

    def _prefixed(self, lines: list[tuple[bytes, bytes]], body: bytes, start: int) -> bool:
        """Take an event that has a name before the JSON in its data from *start*. Return False if there is no JSON."""

        def written(masked: bytes | None) -> bytes:
            return self._written(lines, None if masked is None else body[:start] + masked)

        try:
            self._documents.add(body[start:], written, _decoded(body[:start]))
        except ContentError:
            return False
        return True

    def _written(self, lines: list[tuple[bytes, bytes]], body: bytes | None) -> bytes:
        """Return *lines* of an event with *body* as its data (None: unchanged); other fields are masked as texts."""
        parts: list[bytes] = []
        placed = False
        for line, end in lines:
            if not _is_data(line):
                parts += [self._field(line), end]
            elif body is None:
                parts += [line, end]
            elif not placed:
                placed = True
                for piece in body.split(b"\n"):
                    parts += [b"data: ", piece, end or b"\n"]
        return b"".join(parts)

    def _field(self, line: bytes) -> bytes:
        if not line or not self._view.recognises:
            return line
        known = self._known.get(line)
        if known is None:
            text = _decoded(line)
            masked = mask_text(self._view, text, self._report)
            known = line if masked is text else masked.encode()
            if len(self._known) < 64:
                self._known[line] = known
        return known


def _is_data(line: bytes) -> bool:
    return line.startswith(b"data:") or line == b"data"


def _value(line: bytes) -> bytes:
    value = line.partition(b":")[2]
    return value[1:] if value.startswith(b" ") else value


def _decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise MaskingError("it is not UTF-8") from None


class LineMasker:
    """Newline-delimited JSON. A line is passed on when it is complete and no value in it is held."""

    def __init__(self, view: View, report: Report, framing: Framing = UNKNOWN_FRAMING) -> None:
        self._documents: Documents[bytes] = Documents(view, report, framing, lines=True)
        self._parts: list[bytes] = []  # of the unfinished line
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Take *data* and return the complete lines, masked."""
        self._size += len(data)
        if self._size > LARGEST_EVENT:
            raise MaskingError("a line is longer than the limit of 8 MiB")
        self._parts.append(data)
        if b"\n" not in data:  # joined when the line ends
            return []
        *lines, rest = b"".join(self._parts).split(b"\n")
        self._parts, self._size = [rest], len(rest)
        for line in lines:
            self._line(line, b"\n")
        return self._documents.ready()

    @property
    def holds(self) -> bool:
        """True if a complete line is held."""
        return self._documents.holds

    def idle(self, *, long: bool) -> list[bytes]:
        """Return the lines that may be passed on after a silence."""
        self._documents.idle(long=long)
        return self._documents.ready()

    def end(self) -> list[bytes]:
        """Release everything, including an unfinished line."""
        rest = b"".join(self._parts)
        self._parts = []
        if rest:
            self._line(rest, b"")
        return self._documents.end()

    def _line(self, line: bytes, end: bytes) -> None:
        text = line[:-1] if line.endswith(b"\r") else line
        end = line[len(text) :] + end
        if not text.strip():
            self._documents.add_other(text + end)
            return
        try:
            self._documents.add(text, partial(between, b"", text, end))
        except ContentError as error:
            raise MaskingError(f"a line is not unambiguous JSON: {error}") from None


class PlainMasker:
    """Masks plain text by detectors only; field paths do not apply.

    Some services send lines of JSON as plain text, with or without a short name before each: such lines are parsed as
    JSON. Other text is released character by character.
    """

    def __init__(self, view: View, report: Report, charset: str = "utf-8", framing: Framing = UNKNOWN_FRAMING) -> None:
        self._decoder = codecs.getincrementaldecoder(charset)()
        self._charset = charset
        self._stream = TextStream(view, report, "", view.strategy_of)
        self._documents: Documents[bytes] = Documents(view, report, framing, lines=True)
        self._line = b""  # an unfinished line that may be JSON
        self._in_text = False  # inside a line of text
        self._told_lines = False  # lines of JSON have come

    def feed(self, data: bytes) -> list[bytes]:
        """Take *data* and return the text that may be passed on, masked."""
        out: list[bytes] = []
        whole = self._line + data
        self._line = b""
        position = 0
        while position < len(whole):
            newline = whole.find(b"\n", position)
            end = len(whole) if newline < 0 else newline + 1
            line = whole[position:end]
            position = end
            if not self._in_text:
                if newline < 0 and self._may_be_json(line):
                    self._line = line
                    break
                if _JSON_LINE.match(line) and self._json(line, out):
                    continue
            self._in_text = newline < 0
            out += self._let(line, False)
        return [piece for piece in out if piece]

    @property
    def holds(self) -> bool:
        """True if anything complete is held, or a line that may be JSON."""
        return self._documents.holds or bool(self._line)

    def idle(self, *, long: bool) -> list[bytes]:
        """Return the text that may be passed on after a silence."""
        self._documents.idle(long=long)
        out = self._documents.ready()
        if self._line and not self._documents.holds:
            line, self._line, self._in_text = self._line, b"", True
            out += self._let(line, False)
        return out

    def end(self) -> list[bytes]:
        """Return the remaining text."""
        out: list[bytes] = []
        if self._line and not (_JSON_LINE.match(self._line) and self._json(self._line, out)):
            out += self._let(self._line, False)
        self._line = b""
        return [*out, *self._let(b"", True)]

    def _may_be_json(self, line: bytes) -> bool:
        if _JSON_LINE.match(line) is None:
            return _NAME.fullmatch(line) is not None
        return len(line) < _LONGEST_LINE or self._documents.holds or self._told_lines

    def _json(self, line: bytes, out: list[bytes]) -> bool:
        """Take *line* if it is JSON. Return False if it is not."""
        prefix = _PREFIX.match(line)
        start = prefix.end() if prefix is not None else 0
        body = line[start:].rstrip()
        name = prefix[1].decode() if prefix is not None else ""
        try:
            written = partial(between, line[:start], body, line[start + len(body) :])
            text = self._stream.feed("", last=True)  # the preceding text has ended
            if text:
                out.append(self._encoded(text))
            self._documents.add(body, written, name)
        except ContentError:
            return False
        out += self._documents.ready()
        self._told_lines = True
        return True

    def _let(self, data: bytes, last: bool) -> list[bytes]:
        try:
            text = self._decoder.decode(data, last)
        except UnicodeDecodeError:
            raise MaskingError(f"it is not {self._charset}") from None
        out = self._documents.end()
        shown = self._stream.feed(text, last)
        return [*out, self._encoded(shown)] if shown else out

    def _encoded(self, text: str) -> bytes:
        return text.encode(self._charset, "xmlcharrefreplace")


#: Text that may become the name before a JSON value.
_NAME = re.compile(rb"\s*(?:[0-9A-Za-z_-]{1,16}(?::\s?)?)?")


class Unmasked:
    """Masks nothing: passes everything on unchanged."""

    def feed(self, data: bytes) -> list[bytes]:
        """Return *data* itself."""
        return [data]

    @property
    def holds(self) -> bool:
        """Always False."""
        return False

    def idle(self, *, long: bool) -> list[bytes]:
        """Return nothing."""
        return []

    def end(self) -> list[bytes]:
        """Return nothing."""
        return []
