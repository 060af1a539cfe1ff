"""Answers that mitmproxy gives by itself (unparsable heads, size limits, a dead upstream), made ours.

mitmproxy's are HTML, and name the upstream. Here two of its functions are replaced: the one that
writes an answer for what never became a flow (counted), and the one that ends an HTTP/1 exchange
with an error, where the flow's own problem is sent, so that answer and record agree. Others are
wrapped: reading a head, which has no bound of its own; reading a body, which crashes at trailers; the end
of a service's answer; and what callers of HTTP/2 do to streams.
A test fails if a new mitmproxy moves this seam.
"""

import re
from collections.abc import Callable, Generator, Iterator
from typing import Any

import h2.events
import h11
from h2.errors import ErrorCodes
from h11._readers import ChunkedReader, Http10Reader
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
    ResponseHeaders,
    ResponseProtocolError,
)

from weir.base import bounds
from weir.base.alarms import counters
from weir.base.identifiers import Uuid7
from weir.base.problems import Kind, Problem
from weir.mitm.crumbs import Crumbs
from weir.mitm.http import closing
from weir.path.exchange import Exchange
from weir.routing import persistence

#: A caller's body may come in this many pieces; in more only if they are not smaller than this on average (bytes).
#: Services answer in as many pieces as they like: see `_read_answer`.
MAX_PIECES = 5_000
MIN_PIECE = 64

_INFORMATIONAL = re.compile(rb"HTTP/1\.[01] (1[0-9][0-9])[ \r\n]")
#: Of these, a service may say so many before its answer.
MOST_INFORMATIONAL = 16

#: Bytes that a caller may send while it waits for its answer: the next requests of one that does not wait.
MOST_WAITING = 1 << 20

#: Bytes of the head of a service's answer, where `Bounds.head`, which is for callers, allows less.
_MOST_ANSWER_HEAD = 64 << 10

#: Bytes of a chunk's line and what belongs to it.
_MOST_UNREAD = 128 << 10

_BY_STATUS = {
    400: Problem(Kind.MALFORMED_REQUEST, "The request is not valid HTTP."),
    413: Problem(Kind.REQUEST_TOO_LARGE, "The request's body is larger than this gateway takes."),
}
_OTHERWISE = Problem(Kind.UPSTREAM_UNREACHABLE, "The service behind this gateway cannot be reached. Try again later.")

#: Streams of HTTP/2 that a caller may have at once (h2 announces as many). Those that were reset count for as long as
#: the gateway still works for them, as in Go's net/http2 since CVE-2023-44487.
AT_ONCE = 100
#: Where mitmproxy keeps more streams of a connection than this, some are over.
MOST_STREAMS = 128
#: Streams that a caller may take back before their answers begin: `Bounds.resets` at once, this share of them more each
#: second, and one for each answer that begins. With the default, 100 and 10/s: a browser that leaves a page resets all
#: streams that it has. nghttp2 allows 1,000 and 33/s, Netty 200 in 30 s, Envoy 500 if they are not the half of all.
#: It makes no difference who sends the RST_STREAM: callers can have the gateway send it (CVE-2025-8671).
RESETS_A_SECOND = 0.1

_original_send = _http1.Http1Server.send
_original_handle = _http2.Http2Server._handle_event
_original_h2_event = _http2.Http2Server.handle_h2_event
_original_client_handle = _http2.Http2Client._handle_event
_original_server_handle = _http1.Http1Server._handle_event
_original_read_body = _http1.Http1Connection.read_body
_original_mark_done = _http1.Http1Connection.mark_done
_new_id = Uuid7()


def install(find: Callable[[http.HTTPFlow], Exchange | None]) -> None:
    """Put ours in the place of mitmproxy's. *find* gives the exchange of a flow."""

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
            fields = [(n.lower(), v) for n, v in response.headers.fields if n.lower() != b"connection"]
            self.h2_conn.send_headers(event.stream_id, [(b":status", b"%d" % response.status_code), *fields])
            self.h2_conn.send_data(event.stream_id, response.content or b"")
            self.h2_conn.end_stream(event.stream_id)
            _counted(self).answered()
            yield commands.SendData(self.conn, self.h2_conn.data_to_send())
        else:
            counted = _counted(self)
            if isinstance(event, events.DataReceived) and not counted.frames.takes(event.data):
                counters["too_many_frames"] += 1
                yield from self.protocol_error("too many frames that say little", ErrorCodes.ENHANCE_YOUR_CALM)
                return
            if isinstance(event, ResponseHeaders) and event.response.status_code >= 200:
                counted.answered()
            for command in _original_handle(self, event):
                if isinstance(command, commands.SendData):
                    counted.frames.earns(command.data)
                yield command
        if len(self.streams) > MOST_STREAMS:
            working = _streams(self)
            for stream_id in [n for n in self.streams if n not in working and self.is_closed(n)]:
                del self.streams[stream_id]

    _http2.Http2Server._handle_event = handle  # type: ignore[method-assign, assignment]
    _http2.Http2Server.handle_h2_event = _handle_h2_event  # type: ignore[method-assign]
    _http2.Http2Client._handle_event = _client_handle  # type: ignore[method-assign, assignment]
    _http1.Http1Server._handle_event = _server_handle  # type: ignore[method-assign, assignment]
    _http1.make_error_response = make_error_response
    _http1.Http1Server.send = send  # type: ignore[method-assign, assignment]
    _http1.Http1Server.read_body = _read_body  # type: ignore[method-assign, assignment]
    _http1.Http1Client.read_body = _read_answer  # type: ignore[method-assign, assignment]
    _http1.Http1Client.mark_done = _client_mark_done  # type: ignore[method-assign, assignment]
    for side in (_http1.Http1Server, _http1.Http1Client):
        if not hasattr(side.read_headers, "bounded"):
            side.read_headers = _bounded(side.read_headers)  # type: ignore[method-assign, assignment]


class Frames:
    """Counts the frames of an HTTP/2 caller that say little.

    One more may come for every `EACH` bytes that the caller is sent. And for every DATA frame two WINDOW_UPDATEs, of
    the stream and of the connection: a caller may acknowledge each piece of an answer, however small the pieces of a
    service are (Envoy allows ten). So these cost no more than the answer itself.
    """

    EACH = 512
    #: PRIORITY, RST_STREAM, SETTINGS, PING and CONTINUATION; unknown ones, from the last of these on; and crumbs.
    #: HEADERS until it is known that a request begins with them.
    _IDLE = frozenset((1, 2, 3, 4, 6, 9))
    _DATA, _WINDOW_UPDATE = 0, 8
    _CRUMB = 64
    _PREFACE = 24

    def __init__(self) -> None:
        self._crumbs = Crumbs()
        self._acknowledgements = 0
        self._skip, self._head = self._PREFACE, b""

    def begins(self) -> None:
        """A request begins: its HEADERS do not count."""
        self._crumbs.earns(1)

    def earns(self, sent: bytes) -> None:
        """*sent*, whole frames, goes to the caller."""
        self._crumbs.earns(len(sent) / self.EACH)
        at = 0
        while at + 9 <= len(sent):
            if sent[at + 3] == self._DATA:
                self._acknowledgements += 2
            at += 9 + int.from_bytes(sent[at : at + 3])

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
            if kind == self._WINDOW_UPDATE and self._acknowledgements:
                self._acknowledgements -= 1
            elif kind in self._IDLE or kind >= self._WINDOW_UPDATE or (kind == self._DATA and size < self._CRUMB):
                crumbs += 1
        return self._crumbs.takes(crumbs)


class Counted:
    """Counters of one HTTP/2 connection with a caller."""

    def __init__(self) -> None:
        self.frames = Frames()
        most = bounds.current().resets
        self.resets = Crumbs(most, most * RESETS_A_SECOND, most)
        self.left: set[int] = set()  # streams that were reset while the gateway works for them

    def answered(self) -> None:
        """An answer begins."""
        self.resets.earns(1)


def _counted(server: _http2.Http2Server) -> Counted:
    found: Counted | None = vars(server).get("weir_counted")
    if found is None:
        found = vars(server)["weir_counted"] = Counted()
    return found


def _handle_h2_event(self: _http2.Http2Server, event: Any) -> Generator[Any, Any, bool]:
    """As mitmproxy's, but no reset is lost, and the connection of a caller that resets too many streams ends."""
    counted = _counted(self)
    if isinstance(event, h2.events.RequestReceived):
        working = _streams(self)
        counted.left = {n for n in counted.left if (s := working.get(n)) is not None and s._paused}
        if self.h2_conn.open_inbound_streams + len(counted.left) > AT_ONCE:
            counters["refused_streams"] += 1
            if not self.is_closed(event.stream_id):  # it was not processed, so it may be sent again (RFC 9113, 8.7)
                self.h2_conn.reset_stream(event.stream_id, ErrorCodes.REFUSED_STREAM)
            return False
        counted.frames.begins()
    elif isinstance(event, h2.events.StreamReset):
        stream = _streams(self).get(event.stream_id)
        if stream is not None and stream._paused:
            counted.left.add(event.stream_id)
        if not counted.resets.takes(1):
            counters["too_many_resets"] += 1
            yield from self.protocol_error("too many streams were reset", ErrorCodes.ENHANCE_YOUR_CALM)
            return True
    over = yield from _original_h2_event(self, event)
    if isinstance(event, h2.events.StreamEnded) and event.stream_id in _streams(self):
        # Where a reset, or the end of the connection, was read together with the end of a request, mitmproxy has
        # forgotten the stream and drops the event that follows: the request would run to its end.
        self.streams.setdefault(event.stream_id, _http2.StreamState.HEADERS_RECEIVED)
    return over


def _streams(server: _http2.Http2Server) -> dict[int, Any]:
    layer = next((la for la in reversed(server.context.layers) if isinstance(la, HttpLayer)), None)
    return layer.streams if layer is not None else {}


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
    """As mitmproxy's, but pieces are joined (see `_read_answer`), and streams that are over are forgotten.

    A stream that its caller resets before it is begun is not begun.
    """
    if isinstance(event, RequestProtocolError) and self.stream_queue.pop(event.stream_id, None) is not None:
        return  # it waited for a free stream: nothing of it was sent
    yield from _joined(_original_client_handle(self, event))
    if len(self.their_stream_id) > 2 * len(self.streams) + 16:
        for ours in [ours for ours in self.their_stream_id if ours not in self.streams and self.is_closed(ours)]:
            self.our_stream_id.pop(self.their_stream_id.pop(ours), None)


def _read_body(self: _http1.Http1Server, event: Any) -> Iterator[Any]:
    """As mitmproxy's, but trailers, crumbs of chunks and endless chunk lines end it as other protocol errors do.

    For bodies of callers.
    """
    stream, pieces, size = getattr(self, "weir_pieces", (None, 0, 0))
    if stream != self.stream_id:
        stream, pieces, size = self.stream_id, 0, 0
    try:
        for command in _original_read_body(self, event):
            if isinstance(command, ReceiveHttp) and isinstance(command.event, RequestData):
                pieces, size = pieces + 1, size + len(command.event.data)
                if pieces > MAX_PIECES and size < pieces * MIN_PIECE:
                    raise NotImplementedError
            yield command
        setattr(self, "weir_pieces", (stream, pieces, size))  # noqa: B010
        if self.state == self.read_body and len(self.buf) > _MOST_UNREAD:
            raise NotImplementedError
    except NotImplementedError:
        yield from _misframed(self, commands.SendData(self.conn, closing(_BY_STATUS[400])))


def _read_answer(self: _http1.Http1Client, event: Any) -> Iterator[Any]:
    """As mitmproxy's, but what came together is one piece, trailers are dropped, and endless chunk lines end it.

    A service may answer in any number of pieces of any size: the division of a body into chunks has no meaning
    (RFC 9112, 7.1). One step handles one read, and `routing.turns` keeps it short. Memory is bounded in bytes
    (`Bounds.answer`, `Bounds.bodies`), because `routing.http.Body` joins the pieces.
    """
    if isinstance(self.body_reader, ChunkedReader):
        self.body_reader = _WithoutTrailers(self.body_reader)  # type: ignore[assignment]
    yield from _joined(_original_read_body(self, event))
    if self.state == self.read_body and len(self.buf) > _MOST_UNREAD:
        yield from _misframed(self)


class _WithoutTrailers:
    """Reads a service's chunked body; its trailers are not judged, so they go nowhere (RFC 9110, 6.5.1)."""

    def __init__(self, reader: ChunkedReader) -> None:
        self._reader = reader
        self.read_eof = reader.read_eof

    def __call__(self, buffer: ReceiveBuffer) -> Any:
        found = self._reader(buffer)
        return h11.EndOfMessage() if isinstance(found, h11.EndOfMessage) else found


def _joined(found: Iterator[Any]) -> Iterator[Any]:
    """Pass the commands of *found* on, with consecutive pieces of one answer as one piece."""
    pieces: list[bytes] = []
    stream_id = 0
    for command in found:
        data = command.event if isinstance(command, ReceiveHttp) else None
        if pieces and not (isinstance(data, ResponseData) and data.stream_id == stream_id):
            yield ReceiveHttp(ResponseData(stream_id, b"".join(pieces)))
            pieces = []
        if isinstance(data, ResponseData):
            stream_id = data.stream_id
            pieces.append(data.data)
        else:
            yield command
    if pieces:
        yield ReceiveHttp(ResponseData(stream_id, b"".join(pieces)))


def _misframed(self: _http1.Http1Connection, *said: commands.Command) -> Iterator[Any]:
    if self.stream_id is None:
        return
    self.buf = ReceiveBuffer()
    yield from said
    yield commands.CloseConnection(self.conn)
    failed = self.ReceiveProtocolError
    yield ReceiveHttp(failed(self.stream_id, "the body's framing does not pass", failed.code))
    self.state = self.done


def _client_mark_done(self: _http1.Http1Client, *, request: bool = False, response: bool = False) -> Iterator[Any]:
    """As mitmproxy's, which looks at the answer's head as the gateway has rewritten it for the caller.

    A connection that its service closes is used no more, and one that is closed already is not kept half open.
    """
    if response and isinstance(self.body_reader, Http10Reader):
        vars(self)["weir_last"] = True
    yield from _original_mark_done(self, request=request, response=response)
    if vars(self).get("weir_last") and self.state == self.read_headers and self.stream_id is None:
        self.state = self.done
        yield commands.CloseConnection(self.conn)


def _bounded(original: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    """Reading a head within its bound; past it, 431 or 414 to a caller, and an error of the upstream's.

    What a service says before its answer (1xx) is passed over: mitmproxy would take it for the answer, and the
    answer for that of the next request. A service that changes protocols unasked has broken its word.
    """

    def read_headers(self: _http1.Http1Connection, event: Any) -> Iterator[Any]:
        limit = bounds.current().head
        if isinstance(self, _http1.Http1Client):
            limit = max(limit, _MOST_ANSWER_HEAD)
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
