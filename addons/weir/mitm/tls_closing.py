"""The end of a TLS connection, told to whoever waits for it.

mitmproxy takes a peer's fatal alert (a service that wants a client certificate, in TLS 1.3 after the handshake) for
a closing that it has told of already, and tells nobody: the request hangs. Here each end is told, once.

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


def install() -> None:
    """Put ours in the place of mitmproxy's. Idempotent."""
    TLSLayer.receive_data = _receive_data  # type: ignore[method-assign, assignment]
    TLSLayer.receive_close = _receive_close  # type: ignore[method-assign, assignment]
    TLSLayer.send_close = _send_close  # type: ignore[method-assign, assignment]
    TLSLayer.event_to_child = _event_to_child  # type: ignore[method-assign, assignment]


def _send_close(self: TLSLayer, command: commands.CloseConnection) -> Iterator[Any]:
    if self.tunnel_state is tunnel.TunnelState.OPEN:
        with contextlib.suppress(SSL.Error):  # TLS has failed
            self.tls.shutdown()
        yield from self.tls_interact()
    yield from _original_send_close(self, command)


def _event_to_child(self: TLSLayer, event: events.Event) -> Iterator[Any]:
    if isinstance(event, events.ConnectionClosed) and event.connection == self.conn:
        vars(self)["weir_told"] = True
    yield from tunnel.TunnelLayer.event_to_child(self, event)


def _receive_data(self: TLSLayer, data: bytes) -> Iterator[Any]:
    yield from _original_receive_data(self, data)
    if self.tls.get_shutdown() & SSL.RECEIVED_SHUTDOWN:
        yield from _receive_close(self)


def _receive_close(self: TLSLayer) -> Iterator[Any]:
    if not vars(self).get("weir_told"):
        yield from tunnel.TunnelLayer.receive_close(self)
