"""Finds a text in recorded bodies: of requests, of answers, and of WebSocket messages.

Rows are taken from the index in parts, the newest first, and one flow is read at a time. So this process keeps neither
all rows nor more than one body in memory. Most flows are passed over without being parsed.
"""

import contextlib
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import duckdb
from mitmproxy.http import HTTPFlow

from weir.recorder.flows import Filters, flow_of, stored
from weir.recorder.folder import Recordings

#: Rows that are taken from the index at once.
_ROWS = 20_000
_COLUMNS = ("session_id", "request_id", "segment", "offset", "length", "time")
#: A flow with one of these can have the text in another form than UTF-8 in one piece: wide characters, shifts between
#: character sets, and streams of events or of JSON, with any content type.
_OTHER_FORMS = (b"\0", b"\x1b", b"data:", b"}\n{", b"}\r\n{", b"\x1e")
_ESCAPE = re.compile(r'\\(?:u([0-9A-Fa-f]{4})|(["\\/bfnrt]))')
_ESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
#: Characters that JSON may write as an escape other than ``\u``.
_SHORT_ESCAPES = frozenset('"\\/\b\f\n\r\t')
#: JSON in a text of JSON is escaped once more. Arguments of tools are an example.
_LEVELS = 3

#: Names of members and positions that lead to a text in a JSON document.
_Place = tuple[str | int, ...]


def count(connection: duckdb.DuckDBPyConnection, filters: Filters) -> int:
    """Return the number of rows that `newest` yields. Raises duckdb.Error."""
    condition, values = _condition(filters)
    ((rows,),) = connection.execute(f"SELECT count(*) FROM flows WHERE {condition}", values).fetchall()  # noqa: S608
    return int(rows)


def newest(connection: duckdb.DuckDBPyConnection, filters: Filters) -> Iterator[dict[str, Any]]:
    """Yield the places of the requests of sessions that match *filters*, the newest first. Raises duckdb.Error."""
    condition, values = _condition(filters)
    names = ", ".join(f'"{name}"' for name in _COLUMNS)
    query = f"SELECT {names} FROM flows WHERE {condition}"  # noqa: S608
    after, last = "", list[Any]()
    while True:
        order = f"ORDER BY time DESC, request_id DESC LIMIT {_ROWS}"
        rows = connection.execute(f"{query} {after} {order}", [*values, *last]).fetchall()
        for row in rows:
            yield dict(zip(_COLUMNS, row, strict=True))
        if len(rows) < _ROWS:
            return
        # The first comparison selects files and row groups, the second one rows.
        after = "AND time <= ? AND (time < ? OR request_id < ?)"
        end = dict(zip(_COLUMNS, rows[-1], strict=True))
        last = [end["time"], end["time"], end["request_id"]]


def _condition(filters: Filters) -> tuple[str, list[Any]]:
    condition, values = filters.condition()
    return f"{condition} AND session_id IS NOT NULL", values


class Needle:
    """A text to find. Case does not matter, and JSON's escapes count as their characters."""

    def __init__(self, text: str) -> None:
        self._text = text.casefold()
        self._escapable = not _SHORT_ESCAPES.isdisjoint(self._text)

    def is_in(self, recordings: Recordings, row: dict[str, Any]) -> bool:
        """Return whether a body of the flow of *row* has the text. Raises `MissingFlowError`."""
        data = stored(recordings, row)
        if not any(form in data for form in _OTHER_FORMS):
            try:
                if not self._matches(data.decode()):  # no body has a text that the whole flow does not have
                    return False
            except UnicodeDecodeError:
                pass
        return any(self._matches(text) for text in _texts(flow_of(recordings, row)))

    def _matches(self, text: str) -> bool:
        if self._text in text.casefold():
            return True
        for _ in range(_LEVELS):
            if "\\u" not in text and not (self._escapable and "\\" in text):
                return False
            text = _unescaped(text)
            if self._text in text.casefold():
                return True
        return False


def _texts(flow: HTTPFlow) -> Iterator[str]:
    """Yield each body of *flow* in the forms in which it can have the text."""
    for message in (flow.request, flow.response):
        if message is not None and (body := message.get_content(strict=False)):
            yield body.decode("utf-8", "replace")
            yield message.get_text(strict=False) or ""
    if flow.response is not None:
        yield from _joined(flow.response.get_content(strict=False) or b"")
    if flow.websocket is not None:
        yield from (message.content.decode("utf-8", "replace") for message in flow.websocket.messages)


def _joined(stream: bytes) -> Iterator[str]:
    """Yield the texts that several events or lines of *stream* deliver in pieces: those at one place of their JSON."""
    texts: defaultdict[_Place, list[str]] = defaultdict(list)
    for line in stream.splitlines():
        document = line.removeprefix(b"data:").strip(b" \x1e")
        if document.startswith((b"{", b"[")):
            with contextlib.suppress(ValueError, RecursionError):
                _collect(json.loads(document), (), texts)
    yield from ("".join(pieces) for pieces in texts.values() if len(pieces) > 1)


def _collect(value: Any, place: _Place, texts: defaultdict[_Place, list[str]]) -> None:
    """Add each text in *value* to those of its place. The `index` of a choice or block is a part of the place."""
    if isinstance(value, str):
        texts[place].append(value)
    elif isinstance(value, list):
        for position, item in enumerate(value):
            numbered = isinstance(item, dict) and "index" in item
            _collect(item, place if numbered else (*place, position), texts)
    elif isinstance(value, dict):
        for name, item in value.items():
            _collect(item, (*place, str(value.get("index")), name), texts)


def _unescaped(text: str) -> str:
    """Return *text* with JSON's escapes resolved once."""
    plain = _ESCAPE.sub(_character, text)
    return plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")  # joins the halves of characters


def _character(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 16)) if escape[1] else _ESCAPED.get(escape[2], escape[2])
