"""Which of its connections to a service a caller's connection uses for its next request.

mitmproxy's HTTP layer keeps every connection that it ever opened, and an error of one for as long as its caller
stays; and for callers of HTTP/2 whose service speaks HTTP/1.1 it opens one for each request. Here what is over is
forgotten, and what is idle is used again.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import lru_cache
from typing import Any, ClassVar
from weakref import WeakValueDictionary

from mitmproxy.connection import Client, Connection, ConnectionState, Server
from mitmproxy.http import HTTPFlow, Request, Response
from mitmproxy.net.http import http1
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.layers.http import (
    DropStream,
    GetHttpConnection,
    GetHttpConnectionCompleted,
    HttpLayer,
    HTTPMode,
    HttpStream,
    _http1,
    _http2,
)
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    RequestData,
    RequestHeaders,
    RequestProtocolError,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
)

from weir.base import bounds
from weir.base.identifiers import Uuid7
from weir.base.problems import Problem
from weir.mitm.cutting import cut, reset_when_closed
from weir.routing import persistence

logger = logging.getLogger("weir")

#: How errors begin that callers are told of by a status of their own.
TOO_SLOW = "the body did not come in time"
TOO_FULL = "too much is under way"

_new_id = Uuid7()


class Overdue(events.Event):
    """To the HTTP layer *to*: the request of *stream* has not come in time, or, with a *problem*, not even its head."""

    def __init__(self, to: "Http", stream: int, problem: Problem | None) -> None:
        self.to = to
        self.stream = stream
        self.problem = problem


class End(events.Event):
    """To the HTTP layer *to*: the WebSocket of *flow* ends, with a *code* (RFC 6455, 7.4) and a *reason*."""

    def __init__(self, to: "Http", flow: HTTPFlow, code: int, reason: str) -> None:
        self.to = to
        self.flow = flow
        self.code = code
        self.reason = reason


class Due(events.Event):
    """To the HTTP layer *to*: nothing has come for a while from the service of *flow*, or its caller.

    Held events or WebSocket messages may be released.
    """

    def __init__(self, to: "Http", flow: HTTPFlow, from_caller: bool, long: bool = False) -> None:
        self.to = to
        self.flow = flow
        self.from_caller = from_caller
        self.long = long


class Bodies:
    """Bytes of bodies that are in this worker's memory: as of the last look, and what came since."""

    _looked = 0
    _since = 0

    @classmethod
    def looked(cls, found: int) -> None:
        """All that there is was counted: *found* bytes."""
        cls._looked, cls._since = found, 0

    @classmethod
    def takes(cls, size: int) -> bool:
        """Whether *size* bytes more may be taken. They are counted."""
        cls._since += size
        return cls._looked + cls._since <= bounds.current().bodies


#: Requests of nobody, one after the other, after which a connection ends.
MOST_STRANGERS = 100


class Body:
    """The bytes of a body that has not ended, in the place of mitmproxy's buffer.

    That one keeps each piece as an object of its own: a body of one million pieces of two bytes takes 48 MB in it.
    """

    def __init__(self) -> None:
        self._bytes = bytearray()

    def __iadd__(self, piece: bytes) -> "Body":
        self._bytes += piece
        return self

    def __len__(self) -> int:
        return len(self._bytes)

    def __bytes__(self) -> bytes:
        return bytes(self._bytes)

    def clear(self) -> None:
        """Forget them."""
        self._bytes = bytearray()


class Stream(HttpStream):
    """As mitmproxy's, but a stream that has failed is dropped, and nothing is sent for a caller that has left."""

    sent = False  # the request goes, or has gone, to its service

    def __init__(self, context: Any, stream_id: int) -> None:
        super().__init__(context, stream_id)
        self.request_body_buf = Body()  # type: ignore[assignment]
        self.response_body_buf = Body()  # type: ignore[assignment]

    def check_killed(self, emit_error_hook: bool) -> layer.CommandGenerator[bool]:
        """As mitmproxy's, which keeps a killed stream, with its body, for as long as the connection lasts."""
        return (yield from self._drop(super().check_killed(emit_error_hook)))

    def check_invalid(self, request: bool) -> layer.CommandGenerator[bool]:
        """The same."""
        return (yield from self._drop(super().check_invalid(request)))

    def check_body_size(self, request: bool) -> layer.CommandGenerator[bool]:
        """The same, with separate limits for callers and services."""
        limits = bounds.current()
        if self._size(request) <= (limits.body if request else limits.answer):
            return False
        return (yield from self._drop(super().check_body_size(request)))

    def _size(self, request: bool) -> int:
        """Bytes of the body: those that have come, else those that its head announces."""
        come = len(self.request_body_buf if request else self.response_body_buf)
        if come:
            return come
        try:
            return http1.expected_http_body_size(self.flow.request, None if request else self.flow.response) or 0
        except ValueError:  # it is refused elsewhere
            return 0

    def _drop(self, check: layer.CommandGenerator[bool]) -> layer.CommandGenerator[bool]:
        ended = yield from check
        if ended:
            yield DropStream(self.stream_id)
        return ended

    def make_server_connection(self) -> layer.CommandGenerator[bool]:
        """As mitmproxy's, which sends the request even if its caller left while the service was dialled."""
        connected = yield from super().make_server_connection()
        if connected and (yield from self.check_killed(True)):
            return False
        self.sent = connected
        return connected


class Http(HttpLayer):
    """HTTP of one client connection."""

    #: That to which a caller's requests come, by the id of its connection: within a tunnel, the inner one.
    of: ClassVar[WeakValueDictionary[str, "Http"]] = WeakValueDictionary()
    #: Whether a request is refused already, by its head, so that nobody wants its body.
    refused: ClassVar[Callable[[HTTPFlow], bool]] = staticmethod(lambda flow: False)
    #: Called at once, with mitmproxy's reason, when a caller leaves or resets a request, also while a hook of it runs.
    left: ClassVar[Callable[[HTTPFlow, str], None]] = staticmethod(lambda flow, why: None)
    #: Gives the transport of a client connection; None once it is gone.
    transport: ClassVar[Callable[[Client], asyncio.Transport | None]] = staticmethod(lambda client: None)

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.asked = 0  # how many requests have come
        self.strangers = 0  # how many of them, of late, from nobody who was known
        self._closing = False
        self._persistence = persistence.GOES_ON  # of the request of HTTP/1 that is under way
        self._until_closed = False  # its answer ends with the connection
        Http.of[self.context.client.id] = self

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, Overdue | End | Due):
            yield from self._told(event)
            return
        if isinstance(event, events.ConnectionEvent) and self._forgotten(event.connection):
            return
        yield from super()._handle_event(event)
        server = self.connections.get(self.context.client)
        if isinstance(server, _http2.Http2Server) and self._spent and not self.streams and not self._closing:
            self._closing = True
            server.h2_conn.close_connection()
            yield commands.SendData(self.context.client, server.h2_conn.data_to_send())
            yield commands.CloseConnection(self.context.client)

    @property
    def _spent(self) -> bool:
        return self.asked >= bounds.current().requests or self.strangers >= MOST_STRANGERS

    def make_stream(self, stream_id: int) -> layer.CommandGenerator[None]:
        """As mitmproxy's."""
        self.asked += 1
        stream = self.streams[stream_id] = Stream(self.context.fork(), stream_id)
        yield from self.event_to_child(stream, events.Start())

    def has_sent(self, flow: HTTPFlow) -> bool:
        """Whether the request of *flow* goes, or has gone, to its service; True where that is not known."""
        return next((s.sent for s in self.streams.values() if isinstance(s, Stream) and _flow(s) is flow), True)

    def _told(self, event: Overdue | End | Due) -> layer.CommandGenerator[None]:
        if event.to is not self:  # it is within a tunnel
            for stream in list(self.streams.values()):
                yield from self.event_to_child(stream, event)
        elif isinstance(event, Overdue):
            yield from self._overdue(event)
        elif (upgraded := self._upgraded(event.flow)) is not None:
            yield from self.event_to_child(upgraded, event)
        elif isinstance(event, Due):
            yield from self._pass_on(event)

    def _pass_on(self, event: Due) -> layer.CommandGenerator[None]:
        """Send what the callback of a streamed answer has held."""
        stream = next((s for s in self.streams.values() if _flow(s) is event.flow), None)
        response, server = event.flow.response, self.connections.get(self.context.client)
        if (
            stream is None
            or response is None
            or server is None
            or stream.server_state != stream.state_stream_response_body
        ):
            return
        for data in response.stream.idle(long=event.long):  # type: ignore[union-attr]
            yield from self.event_to_child(server, ResponseData(stream.stream_id, data))

    def upgraded(self, flow: HTTPFlow) -> layer.Layer | None:
        """What speaks in the place of HTTP in *flow*, once it has begun."""
        stream = self._upgraded(flow)
        return stream.child_layer if stream is not None else None

    def _upgraded(self, flow: HTTPFlow) -> HttpStream | None:
        return next((s for s in self.streams.values() if s.child_layer is not None and s.flow is flow), None)

    def _overdue(self, event: Overdue) -> layer.CommandGenerator[None]:
        found = self.streams.get(event.stream)
        if found is not None:
            error = ResponseProtocolError(event.stream, TOO_SLOW, ErrorCode.GENERIC_CLIENT_ERROR)
            yield from self.event_to_child(found, error)
            return
        if event.problem is not None:
            yield commands.SendData(self.context.client, closing(event.problem))
        yield commands.CloseConnection(self.context.client)

    def event_to_child(self, child: layer.Layer | HttpStream, event: events.Event) -> layer.CommandGenerator[None]:
        """As mitmproxy's; what is received is counted, and where it is too much, it is no longer received."""
        if isinstance(child, HttpStream):
            if isinstance(event, RequestData | ResponseData):
                if child.child_layer is None:
                    if isinstance(event, RequestData) and Http.refused(child.flow):
                        return
                    if not Bodies.takes(len(event.data)):
                        event = ResponseProtocolError(event.stream_id, TOO_FULL, ErrorCode.GENERIC_SERVER_ERROR)
            elif isinstance(event, RequestHeaders):
                self._remember(event.request)
            elif isinstance(event, RequestProtocolError) and (flow := _flow(child)) is not None:
                Http.left(flow, event.message)
        elif isinstance(child, _http1.Http1Server):
            if isinstance(event, ResponseHeaders):
                if event.response.status_code < 200 and self._persistence.old:
                    return  # HTTP/1.0 has no answers before the answer (RFC 9110, 15.2)
                self._say_whether_it_goes_on(event.response, child)
            elif self._until_closed and isinstance(event, ResponseEndOfMessage):
                reset_when_closed(Http.transport(self.context.client), False)
            elif self._until_closed and isinstance(event, ResponseProtocolError):
                cut(Http.transport(self.context.client))
        yield from super().event_to_child(child, event)

    def _remember(self, request: Request) -> None:
        """Remember what a caller of HTTP/1 wants, before anything of *request* is changed."""
        server = self.connections.get(self.context.client)
        if not isinstance(server, _http1.Http1Server):
            return
        data, proxied = request.data, self.mode is HTTPMode.regular
        self._persistence = persistence.of_request(data.http_version, data.headers.fields, proxied=proxied)
        # mitmproxy decides from this object whether to close. Now it decides from the answer only.
        server.request = _asked(data.method)

    def _say_whether_it_goes_on(self, response: Response, server: _http1.Http1Server) -> None:
        """Have the final *response* say whether the connection goes on. mitmproxy does as the response says."""
        method = server.request.method if server.request is not None else ""
        status = response.status_code
        if status < 200 or (method == "CONNECT" and status < 300):
            return  # the bytes that follow are not HTTP/1
        old, goes_on = self._persistence.old, self._persistence.persists and not self._spent
        if old and method != "HEAD" and status not in (204, 304) and "Content-Length" not in response.headers:
            goes_on, self._until_closed = False, True
            reset_when_closed(Http.transport(self.context.client), True)
        if not goes_on:
            response.headers["Connection"] = "close"
        elif old and "Connection" not in response.headers:
            response.headers["Connection"] = "keep-alive"

    def get_connection(self, event: GetHttpConnection, *, reuse: bool = True) -> layer.CommandGenerator[None]:
        """An idle connection where there is one; else as mitmproxy does it."""
        self._forget()
        if self.context.client.alpn == b"h2":
            for connection, handler in self.connections.items():
                if event.connection_spec_matches(connection) and connection.connected and _idle(handler):
                    stream = self.command_sources.pop(event)
                    yield from self.event_to_child(stream, GetHttpConnectionCompleted(event, (connection, None)))
                    return
        yield from super().get_connection(event, reuse=reuse)

    def _forget(self) -> None:
        """Let go of connections that are closed and that no request is about."""
        used = {stream.context.server for stream in self.streams.values()}
        for connection in list(self.connections):
            closed = isinstance(connection, Server) and connection.state is ConnectionState.CLOSED
            if closed and connection not in used and connection not in self.waiting_for_establishment:
                del self.connections[connection]

    def _forgotten(self, connection: Connection) -> bool:
        return (
            isinstance(connection, Server)
            and connection is not self.context.server
            and connection not in self.connections
        )


def closing(answer: Problem | Response) -> bytes:
    """*answer* as HTTP/1.1 bytes that end the connection."""
    if isinstance(answer, Problem):
        request_id = _new_id()
        logger.info(f"weir: {request_id} - nobody - {answer.status} {answer.kind.slug}, before it was a request")
        answer = answer.response(request_id)
    answer.headers["Connection"] = "close"
    return bytes(http1.assemble_response(answer))


@lru_cache(maxsize=64)
def _asked(method: bytes) -> Request:
    """A request with only a *method*, for mitmproxy's side of the caller, which needs no more."""
    return Request("", 0, method, b"", b"", b"", b"HTTP/1.1", (), None, None, 0, None)


def _flow(stream: HttpStream) -> HTTPFlow | None:
    return getattr(stream, "flow", None)


def _idle(handler: Any) -> bool:
    """Whether *handler*, the layers of one connection to a service, has nothing to do."""
    while (child := getattr(handler, "child_layer", None)) is not None:
        handler = child
    return (
        isinstance(handler, _http1.Http1Client) and handler.stream_id is None and handler.state == handler.read_headers
    )
