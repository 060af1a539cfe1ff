"""The protocols that a client connection may speak. No protocol is guessed: unexpected bytes close the connection.

mitmproxy asks for a layer when a connection has sent its first bytes, and again after a CONNECT.
"""

from collections.abc import Callable

from mitmproxy.connection import ConnectionState
from mitmproxy.net.tls import starts_like_tls_record
from mitmproxy.proxy import commands, events, layer, tunnel
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import ClientTLSLayer, TCPLayer
from mitmproxy.proxy.layers.http import HTTPMode
from mitmproxy.proxy.layers.tls import parse_client_hello

from weir.mitm.http import Http

#: Bytes from which TLS can be recognised.
_ENOUGH = 3
#: Bytes of a ClientHello, and of data that may arrive together with it.
MOST_HELLO = 128 << 10
#: The type of the record with which TLS begins: handshake.
_HANDSHAKE = b"\x16"


def speaks_tls(data: bytes) -> bool | None:
    """Return True if a connection that began with *data* speaks TLS; None if more bytes are needed."""
    if data[:1] != _HANDSHAKE:
        return False
    return None if len(data) < _ENOUGH else starts_like_tls_record(data)


def named_host(data: bytes) -> str | None:
    """Return the host that the ClientHello in *data* names, empty if it names none; None if it is incomplete.

    Raises ValueError if *data* is not a ClientHello.
    """
    hello = parse_client_hello(data)
    return None if hello is None else (hello.sni or "").lower()


class CallerTls(ClientTLSLayer):
    """TLS with a caller. mitmproxy's layer reads a ClientHello of any size, and all of it again with each piece."""

    def receive_handshake_data(self, data: bytes) -> layer.CommandGenerator[tuple[bool, str | None]]:
        """Refuse a ClientHello that is too large."""
        if not self.client_hello_parsed and len(self.recv_buffer) + len(data) > MOST_HELLO:
            return False, "the ClientHello is too large"
        return (yield from super().receive_handshake_data(data))


def http(context: Context, mode: HTTPMode, *, tls: bool) -> layer.Layer:
    """Return a layer of HTTP, in TLS that ends here if *tls*."""
    stack = tunnel.LayerStack()
    if tls:
        stack /= CallerTls(context)
    stack /= Http(context, mode)
    return stack[0]


class Refused(layer.Layer):
    """Closes a connection, after the bytes of *farewell*."""

    def __init__(self, context: Context, farewell: bytes = b"") -> None:
        super().__init__(context)
        self._farewell = farewell

    def _handle_event(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, events.Start):
            if self._farewell:
                yield commands.SendData(self.context.client, self._farewell)
            if self.context.client.state is not ConnectionState.CLOSED:
                yield commands.CloseConnection(self.context.client)


class Passed(TCPLayer):
    """Passes on the bytes of a tunnel and counts them. Calls *ended* with the bytes sent and received, at its end."""

    def __init__(self, context: Context, ended: Callable[[int, int], None]) -> None:
        super().__init__(context, ignore=True)
        self._ended: Callable[[int, int], None] | None = ended
        self._sent = self._received = 0

    def relay_messages(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Count the bytes of *event*, and pass it on."""
        if isinstance(event, events.DataReceived):
            if event.connection == self.context.client:
                self._sent += len(event.data)
            else:
                self._received += len(event.data)
        yield from super().relay_messages(event)

    def over(self) -> None:
        """Report the counts, once."""
        if self._ended is not None:
            self._ended(self._sent, self._received)
            self._ended = None
