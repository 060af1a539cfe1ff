"""The end of a TLS connection: functions that replace or wrap methods of mitmproxy's TLS layers.

mitmproxy takes a peer's fatal alert for an end that it has reported already, and reports nothing: the request hangs.
(Example: a service that requires a client certificate sends the alert after the handshake in TLS 1.3.) These functions
report each end once.

mitmproxy also closes without `close_notify`. A peer needs that alert to know that nothing was cut off (RFC 8446, 6.1),
so it is sent here.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

from mitmproxy.proxy import commands, events, tunnel
from mitmproxy.proxy.layers.tls import TLSLayer
from OpenSSL import SSL

_original_receive_data = TLSLayer.receive_data
_original_send_close = TLSLayer.send_close


def send_close(self: TLSLayer, command: commands.CloseConnection) -> Iterator[Any]:
    """Close as mitmproxy does, after a `close_notify` if the handshake was finished."""
    if self.tunnel_state is tunnel.TunnelState.OPEN:
        with contextlib.suppress(SSL.Error):  # TLS has failed
            self.tls.shutdown()
        yield from self.tls_interact()
    yield from _original_send_close(self, command)


def event_to_child(self: TLSLayer, event: events.Event) -> Iterator[Any]:
    """Pass *event* on as mitmproxy does, and note if it is the end of the connection."""
    if isinstance(event, events.ConnectionClosed) and event.connection == self.conn:
        vars(self)["weir_ended"] = True
    yield from tunnel.TunnelLayer.event_to_child(self, event)


def receive_data(self: TLSLayer, data: bytes) -> Iterator[Any]:
    """Read *data* as mitmproxy does, and report an end of the connection that is in it."""
    yield from _original_receive_data(self, data)
    if self.tls.get_shutdown() & SSL.RECEIVED_SHUTDOWN:
        yield from receive_close(self)


def receive_close(self: TLSLayer) -> Iterator[Any]:
    """Report the end of the connection, unless it has been reported."""
    if not vars(self).get("weir_ended"):
        yield from tunnel.TunnelLayer.receive_close(self)
