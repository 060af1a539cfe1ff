"""What the next bytes of a client connection are read as. Nothing is guessed: what is not expected is closed.

mitmproxy asks this once a connection has sent its first bytes, and again once a tunnel was opened in it.
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

#: Bytes after which a connection has said whether it speaks TLS.
_ENOUGH = 3
#: Bytes of a ClientHello, and of what may come with it in the first piece.
MOST_HELLO = 128 << 10
#: The handshake record that TLS begins with.
_HANDSHAKE = b"\x16"


def speaks_tls(data: bytes) -> bool | None:
    """Whether a connection that began with *data* speaks TLS; None while that is not certain."""
    if data[:1] != _HANDSHAKE:
        return False
    return None if len(data) < _ENOUGH else starts_like_tls_record(data)


def named_host(data: bytes) -> str | None:
    """The host that the ClientHello in *data* names, empty where it names none; None while it is incomplete.

    Raises ValueError where it is no ClientHello.
    """
    hello = parse_client_hello(data)
    return None if hello is None else (hello.sni or "").lower()


class CallerTls(ClientTLSLayer):
    """As mitmproxy's, which would read a ClientHello of any size, and all of it again with each piece that comes."""

    def receive_handshake_data(self, data: bytes) -> layer.CommandGenerator[tuple[bool, str | None]]:
        """Refuse one that is too large."""
        if not self.client_hello_parsed and len(self.recv_buffer) + len(data) > MOST_HELLO:
            return False, "the ClientHello is too large"
        return (yield from super().receive_handshake_data(data))


def http(context: Context, mode: HTTPMode, *, tls: bool) -> layer.Layer:
    """HTTP, within TLS that ends here or as it comes."""
    stack = tunnel.LayerStack()
    if tls:
        stack /= CallerTls(context)
    stack /= Http(context, mode)
    return stack[0]


class Refused(layer.Layer):
    """A connection that is closed, with at most some bytes of farewell."""

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
    """A tunnel whose bytes are only counted; *ended* is told how many went each way, once it is over."""

    def __init__(self, context: Context, ended: Callable[[int, int], None]) -> None:
        super().__init__(context, ignore=True)
        self._ended: Callable[[int, int], None] | None = ended
        self._sent = self._received = 0

    def relay_messages(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Count, and hand on."""
        if isinstance(event, events.DataReceived):
            if event.connection == self.context.client:
                self._sent += len(event.data)
            else:
                self._received += len(event.data)
        yield from super().relay_messages(event)

    def over(self) -> None:
        """Tell what it came to; once."""
        if self._ended is not None:
            self._ended(self._sent, self._received)
            self._ended = None
