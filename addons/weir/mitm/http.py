"""The HTTP layer of one client connection: its requests, and the connections to services that they use.

mitmproxy's layer keeps every connection that it ever opened, and the error of one for as long as its caller stays. For
callers of HTTP/2 with a service of HTTP/1.1, it opens one connection per request. This layer forgets closed connections
and uses idle ones again. It also handles the gateway's own events, counts the bytes of bodies, and decides if a
connection of HTTP/1 stays open.
"""

from functools import lru_cache
from typing import Any, ClassVar
from weakref import WeakValueDictionary

from mitmproxy.connection import Connection, ConnectionState, Server
from mitmproxy.http import HTTPFlow, Request, Response
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.layers.http import (
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
from weir.mitm import hooks
from weir.mitm.answers import closing
from weir.mitm.bodies import Bodies
from weir.mitm.events import Due, End, Overdue
from weir.mitm.messages import TOO_FULL, TOO_SLOW
from weir.mitm.resets import cut, reset_when_closed
from weir.mitm.stream import Stream, flow_of
from weir.routing import persistence

#: Requests in a row from unknown callers after which a connection ends.
MOST_STRANGERS = 100


class Http(HttpLayer):
    """HTTP of one client connection, or of one tunnel in it."""

    #: The layer that receives a caller's requests, by the id of its connection. In a tunnel, it is the inner one.
    of: ClassVar[WeakValueDictionary[str, "Http"]] = WeakValueDictionary()

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.asked = 0  # requests
        self.strangers = 0  # requests since the last one of a known caller
        self._closing = False
        self._persistence = persistence.GOES_ON  # of the current request of HTTP/1
        self._until_closed = False  # the end of the connection ends the answer to it
        Http.of[self.context.client.id] = self

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, Overdue | End | Due):
            yield from self._handle_own(event)
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
        """Begin a stream as mitmproxy does, of our class."""
        self.asked += 1
        stream = self.streams[stream_id] = Stream(self.context.fork(), stream_id)
        yield from self.event_to_child(stream, events.Start())

    def has_sent(self, flow: HTTPFlow) -> bool:
        """Return True if the request of *flow* may have been sent to its service."""
        return next((s.sent for s in self.streams.values() if isinstance(s, Stream) and flow_of(s) is flow), True)

    def _handle_own(self, event: Overdue | End | Due) -> layer.CommandGenerator[None]:
        if event.to is not self:  # the event is for a layer in a tunnel
            for stream in list(self.streams.values()):
                yield from self.event_to_child(stream, event)
        elif isinstance(event, Overdue):
            yield from self._overdue(event)
        elif (upgraded := self._upgraded(event.flow)) is not None:
            yield from self.event_to_child(upgraded, event)
        elif isinstance(event, Due):
            yield from self._pass_on(event)

    def _pass_on(self, event: Due) -> layer.CommandGenerator[None]:
        """Send the text that the callback of a streamed answer holds back."""
        stream = next((s for s in self.streams.values() if flow_of(s) is event.flow), None)
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
        """Return the layer of *flow* after an upgrade or CONNECT; None before."""
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
        """Pass *event* on as mitmproxy does. Count the bytes of bodies, and end a stream if they are too many."""
        if isinstance(child, HttpStream):
            if isinstance(event, RequestData | ResponseData):
                if child.child_layer is None:
                    if isinstance(event, RequestData) and hooks.current().unneeded(child.flow):
                        return
                    if not Bodies.takes(len(event.data)):
                        event = ResponseProtocolError(event.stream_id, TOO_FULL, ErrorCode.GENERIC_SERVER_ERROR)
            elif isinstance(event, RequestHeaders):
                self._remember(event.request)
            elif isinstance(event, RequestProtocolError) and (flow := flow_of(child)) is not None:
                hooks.current().left(flow, event.message)
        elif isinstance(child, _http1.Http1Server):
            if isinstance(event, ResponseHeaders):
                if event.response.status_code < 200 and self._persistence.old:
                    return  # HTTP/1.0 has no answers before the answer (RFC 9110, 15.2)
                self._say_if_it_goes_on(event.response, child)
            elif self._until_closed and isinstance(event, ResponseEndOfMessage):
                reset_when_closed(hooks.current().transport(self.context.client), False)
            elif self._until_closed and isinstance(event, ResponseProtocolError):
                cut(hooks.current().transport(self.context.client))
        yield from super().event_to_child(child, event)

    def _remember(self, request: Request) -> None:
        """Remember if a caller of HTTP/1 wants to keep its connection, before *request* is changed."""
        server = self.connections.get(self.context.client)
        if not isinstance(server, _http1.Http1Server):
            return
        data, proxied = request.data, self.mode is HTTPMode.regular
        self._persistence = persistence.of_request(data.http_version, data.headers.fields, proxied=proxied)
        # mitmproxy closes if this object or the answer asks for it. With this object, the answer alone decides.
        server.request = _asked(data.method)

    def _say_if_it_goes_on(self, response: Response, server: _http1.Http1Server) -> None:
        """Set the `Connection` field of the final *response*. mitmproxy closes the connection if it says `close`."""
        method = server.request.method if server.request is not None else ""
        status = response.status_code
        if status < 200 or (method == "CONNECT" and status < 300):
            return  # the bytes that follow are not HTTP/1
        old, goes_on = self._persistence.old, self._persistence.persists and not self._spent
        if old and method != "HEAD" and status not in (204, 304) and "Content-Length" not in response.headers:
            goes_on, self._until_closed = False, True
            reset_when_closed(hooks.current().transport(self.context.client), True)
        if not goes_on:
            response.headers["Connection"] = "close"
        elif old and "Connection" not in response.headers:
            response.headers["Connection"] = "keep-alive"

    def get_connection(self, event: GetHttpConnection, *, reuse: bool = True) -> layer.CommandGenerator[None]:
        """Use an idle connection, or get one as mitmproxy does."""
        self._forget()
        if self.context.client.alpn == b"h2":
            for connection, handler in self.connections.items():
                if event.connection_spec_matches(connection) and connection.connected and _idle(handler):
                    stream = self.command_sources.pop(event)
                    yield from self.event_to_child(stream, GetHttpConnectionCompleted(event, (connection, None)))
                    return
        yield from super().get_connection(event, reuse=reuse)

    def _forget(self) -> None:
        """Forget closed connections that no request uses."""
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


@lru_cache(maxsize=64)
def _asked(method: bytes) -> Request:
    """Return a request with only a *method*: mitmproxy's connection with the caller needs no more of it."""
    return Request("", 0, method, b"", b"", b"", b"HTTP/1.1", (), None, None, 0, None)


def _idle(handler: Any) -> bool:
    """Return True if *handler*, the layers of one connection to a service, has nothing to do."""
    while (child := getattr(handler, "child_layer", None)) is not None:
        handler = child
    return (
        isinstance(handler, _http1.Http1Client) and handler.stream_id is None and handler.state == handler.read_headers
    )
