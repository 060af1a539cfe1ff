"""Answers that mitmproxy gives by itself (unparsable heads, size limits, a dead upstream), made ours.

mitmproxy's are HTML, and name the upstream. Here two of its functions are replaced: the one that
writes an answer for what never became a flow (counted), and the one that ends an HTTP/1 exchange
with an error, where the flow's own problem is sent, so that answer and record agree. And two are
wrapped: reading a head, which has no bound of its own, and reading a body, which crashes at trailers.
A test fails if a new mitmproxy moves this seam.
"""

import re
from collections.abc import Callable, Generator, Iterator
from typing import Any

import h2.events
from h2.errors import ErrorCodes
from h11._receivebuffer import ReceiveBuffer
from mitmproxy import http
from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layers.http import HttpLayer, _http1, _http2
from mitmproxy.proxy.layers.http._base import ReceiveHttp
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    RequestData,
    RequestProtocolError,
    ResponseData,
    ResponseProtocolError,
)

from weir import bounds
from weir.alarms import counters
from weir.exchange import Exchange
from weir.identifiers import Uuid7
from weir.problems import Kind, Problem
from weir.routing.crumbs import Crumbs
from weir.routing.http import closing

#: A body may come in this many pieces; in more only if they are not smaller than this on average (bytes).
MAX_PIECES = 5_000
MIN_PIECE = 64

_INFORMATIONAL = re.compile(rb"HTTP/1\.[01] (1[0-9][0-9])[ \r\n]")
#: Of these, a service may say so many before its answer.
MOST_INFORMATIONAL = 16

#: Bytes that a caller may send while it waits for its answer: the next requests of one that does not wait.
MOST_WAITING = 1 << 20

#: Bytes of a chunk's line and what belongs to it.
_MOST_UNREAD = 128 << 10

_BY_STATUS = {
    400: Problem(Kind.MALFORMED_REQUEST, "The request is not valid HTTP."),
    413: Problem(Kind.REQUEST_TOO_LARGE, "The request's body is larger than this gateway takes."),
}
_OTHERWISE = Problem(Kind.UPSTREAM_UNREACHABLE, "The service behind this gateway cannot be reached. Try again later.")

#: Streams of HTTP/2 that a connection may have at once are 100: where more are kept, some are over.
MOST_STREAMS = 128
#: Streams of HTTP/2 that a caller may take back, more than it lets come to an end, before its connection is closed.
MOST_RESETS = 100

_original_send = _http1.Http1Server.send
_original_handle = _http2.Http2Server._handle_event
_original_h2_event = _http2.Http2Server.handle_h2_event
_original_client_handle = _http2.Http2Client._handle_event
_original_server_handle = _http1.Http1Server._handle_event
_original_read_body = _http1.Http1Connection.read_body
_new_id = Uuid7()


def install(find: Callable[[http.HTTPFlow], Exchange | None], taken_back: Callable[[Exchange], None]) -> None:
    """Put ours in the place of mitmproxy's. *find* gives the exchange of a flow; *taken_back* is told of one."""

    def make_error_response(status_code: int, message: str = "") -> bytes:
        counters["never_a_flow"] += 1
        return closing(_BY_STATUS.get(status_code, _OTHERWISE))

    def send(self: _http1.Http1Server, event: Any) -> Iterator[Any]:
        if isinstance(event, ResponseProtocolError) and (exchange := _exchange(self, event, find)) is not None:
            if not self.conn.state & ConnectionState.CAN_WRITE:
                return
            answered = self.response is not None and self.response.status_code >= 200  # 100 is none
            if not answered and exchange.problem is not None:
                yield commands.SendData(self.conn, closing(exchange.own_answer()))
            yield commands.CloseConnection(self.conn)
        else:
            yield from _original_send(self, event)

    def handle(self: _http2.Http2Server, event: Any) -> Iterator[Any]:
        """As mitmproxy's, but errors are answered by ours, and streams that are over are forgotten."""
        if isinstance(event, ResponseProtocolError) and _unanswered(self, event.stream_id):
            exchange = _exchange(self, event, find)
            if exchange is not None and exchange.problem is not None:
                response = exchange.own_answer()
            else:
                counters["never_a_flow"] += 1
                response = _BY_STATUS.get(event.code.http_status_code() or 0, _OTHERWISE).response(_new_id())
            fields = [(name.lower(), value) for name, value in response.headers.fields]
            self.h2_conn.send_headers(event.stream_id, [(b":status", b"%d" % response.status_code), *fields])
            self.h2_conn.send_data(event.stream_id, response.content or b"")
            self.h2_conn.end_stream(event.stream_id)
            yield commands.SendData(self.conn, self.h2_conn.data_to_send())
        else:
            frames = vars(self).setdefault("weir_frames", Frames())
            if isinstance(event, events.DataReceived) and not frames.takes(event.data):
                counters["too_many_frames"] += 1
                yield from self.protocol_error("too many frames that say little", ErrorCodes.ENHANCE_YOUR_CALM)
                return
            for command in _original_handle(self, event):
                if isinstance(command, commands.SendData):
                    frames.earns(len(command.data))
                yield command
        if len(self.streams) > MOST_STREAMS:
            for stream_id in [stream_id for stream_id in self.streams if self.is_closed(stream_id)]:
                del self.streams[stream_id]

    def handle_h2_event(self: _http2.Http2Server, event: Any) -> Generator[Any, Any, bool]:
        """As mitmproxy's, but a caller that asks and takes back, again and again, is let go."""
        if isinstance(event, h2.events.StreamReset):
            if (exchange := _exchange(self, event, find)) is not None:
                taken_back(exchange)
            resets = vars(self).get("weir_resets", 0) + 1
            vars(self)["weir_resets"] = resets
            if resets > MOST_RESETS:
                counters["too_many_resets"] += 1
                yield from self.protocol_error("too many streams were reset", ErrorCodes.ENHANCE_YOUR_CALM)
                return True
        elif isinstance(event, h2.events.StreamEnded):
            vars(self)["weir_resets"] = max(0, vars(self).get("weir_resets", 0) - 1)
        return (yield from _original_h2_event(self, event))

    _http2.Http2Server._handle_event = handle  # type: ignore[method-assign, assignment]
    _http2.Http2Server.handle_h2_event = handle_h2_event  # type: ignore[method-assign]
    _http2.Http2Client._handle_event = _client_handle  # type: ignore[method-assign, assignment]
    _http1.Http1Server._handle_event = _server_handle  # type: ignore[method-assign, assignment]
    _http1.make_error_response = make_error_response
    _http1.Http1Server.send = send  # type: ignore[method-assign, assignment]
    _http1.Http1Connection.read_body = _read_body  # type: ignore[method-assign, assignment]
    for side in (_http1.Http1Server, _http1.Http1Client):
        if not hasattr(side.read_headers, "bounded"):
            side.read_headers = _bounded(side.read_headers)  # type: ignore[method-assign, assignment]


class Frames:
    """What a caller of HTTP/2 sends of frames that say little.

    One more may come for every `EACH` bytes of answers, as those that take much must acknowledge much.
    """

    EACH = 512
    #: PRIORITY, SETTINGS, PING, WINDOW_UPDATE and CONTINUATION; unknown ones, from the last of these on; and crumbs.
    _IDLE = frozenset((2, 4, 6, 8, 9))
    _CRUMB = 64
    _PREFACE = 24

    def __init__(self) -> None:
        self._crumbs = Crumbs()
        self._skip, self._head = self._PREFACE, b""

    def earns(self, sent: int) -> None:
        """So many bytes were sent to the caller."""
        self._crumbs.earns(sent / self.EACH)

    def takes(self, data: bytes) -> bool:
        """Whether *data*, the next bytes of the connection, are within that."""
        at = crumbs = 0
        while at < len(data):
            if self._skip:
                step = min(self._skip, len(data) - at)
                self._skip -= step
                at += step
                continue
            piece = data[at : at + 9 - len(self._head)]
            self._head += piece
            at += len(piece)
            if len(self._head) < 9:
                break
            size, kind = int.from_bytes(self._head[:3]), self._head[3]
            self._skip, self._head = size, b""
            if kind in self._IDLE or kind > 9 or (kind == 0 and size < self._CRUMB):
                crumbs += 1
        return self._crumbs.takes(crumbs)


def _unanswered(server: _http2.Http2Server, stream_id: int) -> bool:
    """Whether an answer can still be given to the stream."""
    if not server.is_open_for_us(stream_id):
        return False
    return not server.h2_conn.streams[stream_id].state_machine.headers_sent


def _server_handle(self: _http1.Http1Server, event: Any) -> Iterator[Any]:
    """As mitmproxy's, but what a caller sends while it waits for its answer is bounded."""
    yield from _original_server_handle(self, event)
    if isinstance(event, events.DataReceived) and self.state == self.wait and len(self.buf) > MOST_WAITING:
        counters["sent_while_waiting"] += 1
        self.buf = ReceiveBuffer()
        yield commands.CloseConnection(self.conn)
        error = RequestProtocolError(self.stream_id, "too much was sent meanwhile", ErrorCode.CLIENT_DISCONNECTED)
        yield ReceiveHttp(error)
        self.state = self.done


def _client_handle(self: _http2.Http2Client, event: Any) -> Iterator[Any]:
    """As mitmproxy's, but streams that are over are forgotten."""
    yield from _original_client_handle(self, event)
    if len(self.their_stream_id) > 2 * len(self.streams) + 16:
        for ours in [ours for ours in self.their_stream_id if ours not in self.streams and self.is_closed(ours)]:
            self.our_stream_id.pop(self.their_stream_id.pop(ours), None)


def _read_body(self: _http1.Http1Connection, event: Any) -> Iterator[Any]:
    """As mitmproxy's, but trailers, crumbs of chunks and endless chunk lines end it as other protocol errors do."""
    stream, pieces, size = getattr(self, "weir_pieces", (None, 0, 0))
    if stream != self.stream_id:
        stream, pieces, size = self.stream_id, 0, 0
    try:
        for command in _original_read_body(self, event):
            if isinstance(command, ReceiveHttp) and isinstance(command.event, RequestData | ResponseData):
                pieces, size = pieces + 1, size + len(command.event.data)
                if pieces > MAX_PIECES and size < pieces * MIN_PIECE:
                    raise NotImplementedError
            yield command
        setattr(self, "weir_pieces", (stream, pieces, size))  # noqa: B010
        if self.state == self.read_body and len(self.buf) > _MOST_UNREAD:
            raise NotImplementedError
    except NotImplementedError:
        if self.stream_id is None:
            return
        self.buf = ReceiveBuffer()
        if isinstance(self, _http1.Http1Server):
            yield commands.SendData(self.conn, closing(_BY_STATUS[400]))
        yield commands.CloseConnection(self.conn)
        failed = self.ReceiveProtocolError
        yield ReceiveHttp(failed(self.stream_id, "the body's framing does not pass", failed.code))
        self.state = self.done


def _bounded(original: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    """Reading a head within its bound; past it, 431 or 414 to a caller, and an error of the upstream's.

    What a service says before its answer (1xx) is passed over: mitmproxy would take it for the answer, and the
    answer for that of the next request. A service that changes protocols unasked has broken its word.
    """

    def read_headers(self: _http1.Http1Connection, event: Any) -> Iterator[Any]:
        limit = bounds.current().head
        front = _front(self.buf, limit)
        if isinstance(self, _http1.Http1Client) and self.request is not None:
            passed_over = 0
            while (said := _INFORMATIONAL.match(front)) and passed_over < MOST_INFORMATIONAL:
                if said[1] == b"101":
                    if self.request.headers.get("Upgrade") == "websocket":  # only a gateway's own head has it
                        break
                    yield from _broken(self, "it changes protocols")
                    return
                if not _ends_within(front):
                    break
                self.buf.maybe_extract_lines()
                passed_over += 1
                front = _front(self.buf, limit)
            if passed_over == MOST_INFORMATIONAL:
                yield from _broken(self, "it says too much before its answer")
                return
        if len(self.buf) <= limit or _ends_within(front):
            yield from original(self, event)
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
            yield from _broken(self, "its head is too large")

    setattr(read_headers, "bounded", True)  # noqa: B010
    return read_headers


def _broken(client: _http1.Http1Connection, why: str) -> Iterator[Any]:
    """Nothing more is read of a service."""
    client.buf = ReceiveBuffer()
    client.state = client.done
    yield commands.CloseConnection(client.conn)
    if client.stream_id is not None:
        yield ReceiveHttp(ResponseProtocolError(client.stream_id, why, ErrorCode.GENERIC_SERVER_ERROR))


def _front(buffer: ReceiveBuffer, size: int) -> bytes:
    """The first bytes of *buffer*, and no copy of the rest."""
    return bytes(buffer._data[:size])


def _ends_within(head: bytes) -> bool:
    return b"\n\r\n" in head or b"\n\n" in head


def _exchange(
    server: _http1.Http1Server | _http2.Http2Server, event: Any, find: Callable[[http.HTTPFlow], Exchange | None]
) -> Exchange | None:
    """The exchange of the stream that *event* ends."""
    layer = next((la for la in reversed(server.context.layers) if isinstance(la, HttpLayer)), None)
    stream = layer.streams.get(event.stream_id) if layer else None
    flow = getattr(stream, "flow", None)
    return find(flow) if flow is not None else None
