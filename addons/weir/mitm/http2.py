"""HTTP/2: functions that replace or wrap methods of mitmproxy's HTTP/2 connections."""

from collections.abc import Generator, Iterator
from typing import Any

import h2.events
from h2.errors import ErrorCodes
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layers.http import _http2
from mitmproxy.proxy.layers.http._events import RequestProtocolError, ResponseHeaders, ResponseProtocolError

from weir.base.alarms import counters
from weir.mitm import answers
from weir.mitm.frames import Counted
from weir.mitm.pieces import joined
from weir.mitm.stream import streams_of

#: Streams that a caller may have open at once (h2 announces this number). Reset streams count for as long as the
#: gateway works for them, as in Go's net/http2 since CVE-2023-44487.
AT_ONCE = 100
#: If mitmproxy keeps more streams of a connection than this, some have ended.
MOST_STREAMS = 128

_original_server_handle_event = _http2.Http2Server._handle_event
_original_handle_h2_event = _http2.Http2Server.handle_h2_event
_original_client_handle_event = _http2.Http2Client._handle_event


def server_handle_event(self: _http2.Http2Server, event: Any) -> Iterator[Any]:
    """Handle *event* as mitmproxy does, but answer errors with the gateway's answers and forget ended streams.

    If a caller sends too many frames that carry little, its connection is closed.
    """
    if isinstance(event, ResponseProtocolError) and _unanswered(self, event.stream_id):
        response = answers.response_for(self, event.stream_id, event.code.http_status_code())
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
            yield from self.protocol_error("too many frames with little content", ErrorCodes.ENHANCE_YOUR_CALM)
            return
        if isinstance(event, ResponseHeaders) and event.response.status_code >= 200:
            counted.answered()
        for command in _original_server_handle_event(self, event):
            if isinstance(command, commands.SendData):
                counted.frames.earns(command.data)
            yield command
    if len(self.streams) > MOST_STREAMS:
        working = streams_of(self)
        for stream_id in [n for n in self.streams if n not in working and self.is_closed(n)]:
            del self.streams[stream_id]


def handle_h2_event(self: _http2.Http2Server, event: Any) -> Generator[Any, Any, bool]:
    """Handle *event* as mitmproxy does, but lose no reset, and close a connection that resets too many streams."""
    counted = _counted(self)
    if isinstance(event, h2.events.RequestReceived):
        working = streams_of(self)
        counted.left = {n for n in counted.left if (s := working.get(n)) is not None and s._paused}
        if self.h2_conn.open_inbound_streams + len(counted.left) > AT_ONCE:
            counters["refused_streams"] += 1
            if not self.is_closed(event.stream_id):  # the caller may send it again (RFC 9113, 8.7)
                self.h2_conn.reset_stream(event.stream_id, ErrorCodes.REFUSED_STREAM)
            return False
        counted.frames.begins()
    elif isinstance(event, h2.events.StreamReset):
        stream = streams_of(self).get(event.stream_id)
        if stream is not None and stream._paused:
            counted.left.add(event.stream_id)
        if not counted.resets.takes(1):
            counters["too_many_resets"] += 1
            yield from self.protocol_error("too many streams were reset", ErrorCodes.ENHANCE_YOUR_CALM)
            return True
    over = yield from _original_handle_h2_event(self, event)
    if isinstance(event, h2.events.StreamEnded) and event.stream_id in streams_of(self):
        # If a reset, or the end of the connection, was read together with the end of a request, mitmproxy has
        # forgotten the stream and drops the event that follows: the request would run to its end.
        self.streams.setdefault(event.stream_id, _http2.StreamState.HEADERS_RECEIVED)
    return over


def client_handle_event(self: _http2.Http2Client, event: Any) -> Iterator[Any]:
    """Handle *event* as mitmproxy does, but join pieces (see `http1.read_answer`) and forget ended streams.

    A stream that its caller resets while it waits for a free one is never opened.
    """
    if isinstance(event, RequestProtocolError) and self.stream_queue.pop(event.stream_id, None) is not None:
        return  # nothing of it was sent
    yield from joined(_original_client_handle_event(self, event))
    if len(self.their_stream_id) > 2 * len(self.streams) + 16:
        for ours in [ours for ours in self.their_stream_id if ours not in self.streams and self.is_closed(ours)]:
            self.our_stream_id.pop(self.their_stream_id.pop(ours), None)


def _counted(server: _http2.Http2Server) -> Counted:
    found: Counted | None = vars(server).get("weir_counted")
    if found is None:
        found = vars(server)["weir_counted"] = Counted()
    return found


def _unanswered(server: _http2.Http2Server, stream_id: int) -> bool:
    """Return True if an answer can still be given to the stream."""
    if not server.is_open_for_us(stream_id):
        return False
    return not server.h2_conn.streams[stream_id].state_machine.headers_sent
