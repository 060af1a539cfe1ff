"""Which of its connections to a service a caller's connection uses for its next request.

mitmproxy's HTTP layer keeps every connection that it ever opened, and an error of one for as long as its caller
stays; and for callers of HTTP/2 whose service speaks HTTP/1.1 it opens one for each request. Here what is over is
forgotten, and what is idle is used again.
"""

from typing import Any

from mitmproxy.connection import Connection, ConnectionState, Server
from mitmproxy.proxy import events, layer
from mitmproxy.proxy.layers.http import GetHttpConnection, GetHttpConnectionCompleted, HttpLayer, _http1


class Http(HttpLayer):
    """HTTP of one client connection."""

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, events.ConnectionEvent) and self._forgotten(event.connection):
            return
        yield from super()._handle_event(event)

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


def _idle(handler: Any) -> bool:
    """Whether *handler*, the layers of one connection to a service, has nothing to do."""
    while (child := getattr(handler, "child_layer", None)) is not None:
        handler = child
    return (
        isinstance(handler, _http1.Http1Client) and handler.stream_id is None and handler.state == handler.read_headers
    )
