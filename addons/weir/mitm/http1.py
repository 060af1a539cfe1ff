"""HTTP/1: functions that replace or wrap methods of mitmproxy's HTTP/1 connections.

mitmproxy reads heads without a bound, and fails at trailers.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import h11
from h11._readers import ChunkedReader, Http10Reader
from h11._receivebuffer import ReceiveBuffer
from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layers.http import _http1
from mitmproxy.proxy.layers.http._base import ReceiveHttp
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    RequestData,
    RequestProtocolError,
    ResponseHeaders,
    ResponseProtocolError,
)

from weir.base import bounds
from weir.base.alarms import counters
from weir.base.problems import Kind, Problem
from weir.mitm.answers import closing, own_answer
from weir.mitm.pieces import joined
from weir.routing import persistence

#: A caller's body may have this many pieces. It may have more if their average size is at least `MIN_PIECE` bytes.
#: Services answer in any number of pieces: see `read_answer`.
MAX_PIECES = 5_000
MIN_PIECE = 64

_INFORMATIONAL = re.compile(rb"HTTP/1\.[01] (1[0-9][0-9])[ \r\n]")
#: Informational responses (1xx) that a service may send before its answer.
MOST_INFORMATIONAL = 16

#: Bytes that a caller may send while it waits for its answer: its next, pipelined requests.
MOST_WAITING = 1 << 20

#: Bytes of the head of a service's answer that are allowed even if `Bounds.head`, made for callers, is smaller.
_MOST_ANSWER_HEAD = 64 << 10

#: Bytes of a chunk's line and of the incomplete chunk after it.
_MOST_UNREAD = 128 << 10

_MISFRAMED = "invalid framing of the body"
#: Bytes of a chunk's line, with its extensions, that are searched for its end.
_LONGEST_LINE = 4 << 10
#: Empty lines that are ignored before a request line (RFC 9112, 2.2).
_MOST_EMPTY = 4
#: Characters that mitmproxy removes around the values of fields, although fields do not allow them (RFC 9110, 5.5).
_NOT_SPACE = re.compile(rb"[\x0b\x0c\x1c-\x1f]")
#: They become a character that mitmproxy keeps. Then the head is refused.
_KEPT = bytes.maketrans(b"\x0b\x0c\x1c\x1d\x1e\x1f", b"\x01" * 6)

_original_send = _http1.Http1Server.send
_original_handle_event = _http1.Http1Server._handle_event
_original_read_body = _http1.Http1Connection.read_body
_original_mark_done = _http1.Http1Connection.mark_done


def send(self: _http1.Http1Server, event: Any) -> Iterator[Any]:
    """Send *event* as mitmproxy does, but end an exchange that failed with the gateway's own answer, if it has one."""
    answer = own_answer(self, event.stream_id) if isinstance(event, ResponseProtocolError) else None
    if answer is None:
        yield from _original_send(self, event)
    elif self.conn.state & ConnectionState.CAN_WRITE:
        if self.response is None or self.response.status_code < 200:  # `100 Continue` is no answer
            yield commands.SendData(self.conn, closing(answer))
        yield commands.CloseConnection(self.conn)


def server_handle_event(self: _http1.Http1Server, event: Any) -> Iterator[Any]:
    """Handle *event* as mitmproxy does, but bound what a caller sends while it waits for its answer."""
    yield from _original_handle_event(self, event)
    if isinstance(event, events.DataReceived) and self.state == self.wait and len(self.buf) > MOST_WAITING:
        counters["sent_while_waiting"] += 1
        self.buf = ReceiveBuffer()
        yield commands.CloseConnection(self.conn)
        error = RequestProtocolError(
            self.stream_id, "too many bytes were sent before the answer", ErrorCode.CLIENT_DISCONNECTED
        )
        yield ReceiveHttp(error)
        self.state = self.done


def read_request(self: _http1.Http1Server, event: Any) -> Iterator[Any]:
    """Read a caller's body as mitmproxy does, but refuse it for bad chunks, trailers, tiny chunks and endless lines.

    mitmproxy would close the connection without an answer.
    """
    if isinstance(self.body_reader, ChunkedReader):
        self.body_reader = _Strict(self.body_reader)  # type: ignore[assignment]
    stream, pieces, size = vars(self).get("weir_pieces", (None, 0, 0))
    if stream != self.stream_id:
        stream, pieces, size = self.stream_id, 0, 0
    try:
        for command in _original_read_body(self, event):
            if isinstance(command, ReceiveHttp) and isinstance(command.event, RequestData):
                pieces, size = pieces + 1, size + len(command.event.data)
                if pieces > MAX_PIECES and size < pieces * MIN_PIECE:
                    raise NotImplementedError
            yield command
        vars(self)["weir_pieces"] = stream, pieces, size
        if self.state == self.read_body and len(self.buf) > _MOST_UNREAD:
            raise NotImplementedError
    except NotImplementedError:  # mitmproxy raises it at trailers, and `_Strict` at bad chunks
        if self.stream_id is None:
            return
        self.buf = ReceiveBuffer()
        # An error of this type has mitmproxy call `Stack.error`, then `send`: the exchange is recorded and answered.
        yield ReceiveHttp(ResponseProtocolError(self.stream_id, _MISFRAMED, ErrorCode.GENERIC_CLIENT_ERROR))
        self.state = self.done


def read_answer(self: _http1.Http1Client, event: Any) -> Iterator[Any]:
    """Read a service's body as mitmproxy does, but join pieces, drop trailers, and end it at endless chunk lines.

    A service may answer in any number of pieces of any size: the division of a body into chunks has no meaning
    (RFC 9112, 7.1). One step handles one read, and `readers.take_turns` keeps it short. Memory is bounded in bytes
    (`Bounds.answer`, `Bounds.bodies`), because `bodies.Body` joins the pieces.
    """
    if isinstance(self.body_reader, ChunkedReader):
        self.body_reader = _WithoutTrailers(self.body_reader)  # type: ignore[assignment]
    yield from joined(_original_read_body(self, event))
    if self.state == self.read_body and len(self.buf) > _MOST_UNREAD:
        yield from _misframed(self)


class _Strict:
    """Reads a caller's chunked body. Raises NotImplementedError unless its chunks are well-formed (RFC 9112, 7.1)."""

    def __init__(self, reader: ChunkedReader) -> None:
        self._reader = reader
        self.read_eof = reader.read_eof

    def __call__(self, buffer: ReceiveBuffer) -> Any:
        reader = self._reader
        if not reader._bytes_in_chunk:
            start = len(reader._bytes_to_discard)  # the end of the chunk before
            line, end, rest = bytes(buffer._data[start : start + _LONGEST_LINE]).partition(b"\n")
            last = not line.partition(b";")[0].strip(b"0\r\t ")
            if end and (not line.endswith(b"\r") or (last and rest.startswith(b"\n"))):
                raise NotImplementedError
        try:
            return reader(buffer)
        except h11.ProtocolError:
            raise NotImplementedError from None


class _WithoutTrailers:
    """Reads a service's chunked body without its trailers: no rule has judged them (RFC 9110, 6.5.1)."""

    def __init__(self, reader: ChunkedReader) -> None:
        self._reader = reader
        self.read_eof = reader.read_eof

    def __call__(self, buffer: ReceiveBuffer) -> Any:
        found = self._reader(buffer)
        return h11.EndOfMessage() if isinstance(found, h11.EndOfMessage) else found


def _misframed(self: _http1.Http1Client) -> Iterator[Any]:
    if self.stream_id is None:
        return
    self.buf = ReceiveBuffer()
    yield commands.CloseConnection(self.conn)
    failed = self.ReceiveProtocolError
    yield ReceiveHttp(failed(self.stream_id, _MISFRAMED, failed.code))
    self.state = self.done


def client_mark_done(self: _http1.Http1Client, *, request: bool = False, response: bool = False) -> Iterator[Any]:
    """End an exchange as mitmproxy does, but decide from the service's own head if its connection stays open.

    mitmproxy decides from the head that the gateway has rewritten for the caller. A connection that its service
    closes is not used again, and one that is closed already is not kept half open.
    """
    if response and isinstance(self.body_reader, Http10Reader):
        vars(self)["weir_last"] = True
    yield from _original_mark_done(self, request=request, response=response)
    if vars(self).get("weir_last") and self.state == self.read_headers and self.stream_id is None:
        self.state = self.done
        yield commands.CloseConnection(self.conn)


def _bounded(original: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    """Return *original*, which reads a head, with a bound: past it, a caller gets 431 or 414, a service an error.

    Informational responses (1xx) of a service are dropped. mitmproxy would take one for the answer, and the answer for
    the one to the next request. If a service changes protocols without being asked, its connection is closed.
    """

    def read_headers(self: _http1.Http1Connection, event: Any) -> Iterator[Any]:
        limit = bounds.current().head
        if isinstance(self, _http1.Http1Client):
            limit = max(limit, _MOST_ANSWER_HEAD)
        if isinstance(self, _http1.Http1Server):
            for _ in range(_MOST_EMPTY):
                if self.buf._data[:2] != b"\r\n":
                    break
                self.buf.maybe_extract_at_most(2)
        front = _front(self.buf, limit)
        size = _head_size(front) or len(front)
        if _NOT_SPACE.search(front, 0, size):
            self.buf._data[:size] = front[:size].translate(_KEPT)
            front = _front(self.buf, limit)
        if isinstance(self, _http1.Http1Client) and self.request is not None:
            passed_over = 0
            while (said := _INFORMATIONAL.match(front)) and passed_over < MOST_INFORMATIONAL:
                if said[1] == b"101":
                    if self.request.headers.get("Upgrade") == "websocket":  # only heads that the gateway made have it
                        break
                    yield from _broken(self, "the service changes protocols")
                    return
                if not _head_size(front):
                    break
                self.buf.maybe_extract_lines()
                passed_over += 1
                front = _front(self.buf, limit)
            if passed_over == MOST_INFORMATIONAL:
                yield from _broken(self, "the service sends too many informational responses")
                return
        if len(self.buf) <= limit or _head_size(front):
            for command in original(self, event):
                if isinstance(command, ReceiveHttp) and isinstance(command.event, ResponseHeaders):
                    data = command.event.response.data
                    vars(self)["weir_last"] = persistence.is_last(data.http_version, data.headers.fields)
                yield command
            return
        problem = Problem(Kind.HEAD_TOO_LARGE, f"The request's head is larger than {limit} bytes.")
        if b"\n" not in front:
            problem = Problem(Kind.TARGET_TOO_LONG, f"The request's target is longer than {limit} bytes.")
        counters["head_too_large"] += 1
        if isinstance(self, _http1.Http1Server):
            self.buf = ReceiveBuffer()
            self.state = self.done
            yield commands.SendData(self.conn, closing(problem))
            yield commands.CloseConnection(self.conn)
        else:
            yield from _broken(self, "the head of the answer is too large")

    return read_headers


server_read_headers = _bounded(_http1.Http1Server.read_headers)
client_read_headers = _bounded(_http1.Http1Client.read_headers)


def _broken(client: _http1.Http1Connection, why: str) -> Iterator[Any]:
    """Close the connection to a service, for the reason *why*."""
    client.buf = ReceiveBuffer()
    client.state = client.done
    yield commands.CloseConnection(client.conn)
    if client.stream_id is not None:
        yield ReceiveHttp(ResponseProtocolError(client.stream_id, why, ErrorCode.GENERIC_SERVER_ERROR))


def _front(buffer: ReceiveBuffer, size: int) -> bytes:
    """Return the first *size* bytes of *buffer*, without a copy of the rest."""
    return bytes(buffer._data[:size])


def _head_size(front: bytes) -> int:
    """Return the size of the head at the beginning of *front*, without its empty line; 0 if it is incomplete."""
    return min((end for end in (front.find(b"\n\r\n"), front.find(b"\n\n")) if end >= 0), default=-1) + 1
