"""Which of its connections to a service a caller's connection uses for its next request.

mitmproxy's HTTP layer keeps every connection that it ever opened, and an error of one for as long as its caller
stays; and for callers of HTTP/2 whose service speaks HTTP/1.1 it opens one for each request. Here what is over is
forgotten, and what is idle is used again.
"""

import logging
from collections.abc import Callable
from typing import Any, ClassVar
from weakref import WeakValueDictionary

from mitmproxy.connection import Connection, ConnectionState, Server
from mitmproxy.http import HTTPFlow, Response
from mitmproxy.net.http import http1
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.layers.http import (
    GetHttpConnection,
    GetHttpConnectionCompleted,
    HttpLayer,
    HttpStream,
    _http1,
    _http2,
)
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    RequestData,
    ResponseData,
    ResponseHeaders,
    ResponseProtocolError,
)

from weir import bounds
from weir.identifiers import Uuid7
from weir.problems import Problem

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


class Http(HttpLayer):
    """HTTP of one client connection."""

    #: That to which a caller's requests come, by the id of its connection: within a tunnel, the inner one.
    of: ClassVar[WeakValueDictionary[str, "Http"]] = WeakValueDictionary()
    #: Whether a request is refused already, by its head, so that nobody wants its body.
    refused: ClassVar[Callable[[HTTPFlow], bool]] = staticmethod(lambda flow: False)

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.asked = 0  # how many requests have come
        self.strangers = 0  # how many of them, of late, from nobody who was known
        self._closing = False
        Http.of[self.context.client.id] = self

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, Overdue | End):
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
        yield from super().make_stream(stream_id)

    def _told(self, event: Overdue | End) -> layer.CommandGenerator[None]:
        if event.to is not self:  # it is within a tunnel
            for stream in list(self.streams.values()):
                yield from self.event_to_child(stream, event)
        elif isinstance(event, Overdue):
            yield from self._overdue(event)
        elif (upgraded := self._upgraded(event.flow)) is not None:
            yield from self.event_to_child(upgraded, event)

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
        body = isinstance(child, HttpStream) and child.child_layer is None
        if isinstance(child, HttpStream) and isinstance(event, RequestData) and body and Http.refused(child.flow):
            return
        if body and isinstance(event, RequestData | ResponseData) and not Bodies.takes(len(event.data)):
            event = ResponseProtocolError(event.stream_id, TOO_FULL, ErrorCode.GENERIC_SERVER_ERROR)
        elif isinstance(event, ResponseHeaders) and isinstance(child, _http1.Http1Server) and self._spent:
            event.response.headers["Connection"] = "close"
        yield from super().event_to_child(child, event)

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


def _idle(handler: Any) -> bool:
    """Whether *handler*, the layers of one connection to a service, has nothing to do."""
    while (child := getattr(handler, "child_layer", None)) is not None:
        handler = child
    return (
        isinstance(handler, _http1.Http1Client) and handler.stream_id is None and handler.state == handler.read_headers
    )
