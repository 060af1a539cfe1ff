"""The hooks of client connections: they count them, choose their layers, and give them certificates.

Each hook has its own try: an exception closes the connection.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable

from mitmproxy import http
from mitmproxy.connection import Client
from mitmproxy.proxy import layer
from mitmproxy.proxy.server_hooks import ServerConnectionHookData
from mitmproxy.tls import TlsData

from weir.base.alarms import alarm, place
from weir.mitm import http2
from weir.mitm.answers import closing
from weir.mitm.handlers import handler_of, handlers
from weir.mitm.layers import Refused
from weir.mitm.readers import take_turns
from weir.mitm.tls import Tls
from weir.mitm.watch import TOO_MANY, Watch
from weir.mitm.wire import Wire
from weir.policyset.model import PolicySet
from weir.routing import dial


class Connections:
    """The hooks of connections. *policies* returns the active policies; None before the first.

    *let_in* returns True while the caller that opened a client's tunnel may still use it.
    """

    name = "weir-connections"

    def __init__(
        self, wire: Wire, tls: Tls, policies: Callable[[], PolicySet | None], let_in: Callable[[Client], bool]
    ) -> None:
        self.watch = Watch(handlers, self._tunnel)
        self._wire = wire
        self._tls = tls
        self._policies = policies
        self._let_in = let_in

    def client_connected(self, client: Client) -> None:
        """Count a new client. If there are too many, close it; a plain one receives 503."""
        try:
            self._count(client)
        except Exception as error:
            failed("client_connected", error)
            client.error = "the gateway failed"

    async def choose_layer(self, nextlayer: layer.NextLayer) -> None:
        """Choose the layer of a client connection. If that fails, close it."""
        try:
            await self._wire.next_layer(nextlayer, self._policies())
        except Exception as error:
            failed("next_layer", error)
            nextlayer.layer = Refused(nextlayer.context)

    def tls_start_client(self, data: TlsData) -> None:
        """Give a caller its certificate. Without one, mitmproxy closes the connection."""
        try:
            self._tls.caller(data, self._wire.arrival(data.context.client, self._policies()), self._policies())
        except Exception as error:
            failed("tls_start_client", error)
            data.ssl_conn = None

    def tls_start_server(self, data: TlsData) -> None:
        """Verify a service. Without an OpenSSL connection, mitmproxy closes the connection."""
        try:
            self._tls.service(data)
        except Exception as error:
            failed("tls_start_server", error)
            data.ssl_conn = None

    def http_connect_upstream(self, flow: http.HTTPFlow) -> None:
        """Authenticate to the upstream proxy of the connection. No other proxy receives the credential."""
        host = flow.server_conn.address[0] if flow.server_conn.address else None
        if isinstance(host, dial.Dialed) and host.dial.authorization is not None:
            flow.request.headers["Proxy-Authorization"] = host.dial.authorization.reveal()

    def server_connected(self, data: ServerConnectionHookData) -> None:
        """Have the answers of a service read in short steps (see `readers.take_turns`)."""
        handler = handler_of(data.client)
        transport = handler.transports.get(data.server) if handler is not None else None
        if transport is not None and transport.reader is not None:
            take_turns(transport.reader)

    def server_disconnected(self, data: ServerConnectionHookData) -> None:
        """Close the socket of an ended connection to a service, if mitmproxy has not (see `Watch.goes`)."""
        handler = handler_of(data.client)
        left = handler.transports.get(data.server) if handler is not None else None
        if left is not None and left.writer is not None:
            left.writer.close()

    def client_disconnected(self, client: Client) -> None:
        """Forget a client that has left."""
        self.watch.goes(client)
        self._wire.ended(client)

    def _count(self, client: Client) -> None:
        handler = handler_of(client)
        if handler is None:
            return
        # With mitmproxy's five connections per service, requests of HTTP/2 would wait for each other for ever.
        handler.max_conns = defaultdict(lambda: asyncio.Semaphore(http2.MOST_STREAMS))
        writer = handler.transports[client].writer
        if not self.watch.comes(client, len(handlers()), writer.transport if writer is not None else None):
            listener = self._wire.arrival(client, self._policies()).listener
            if listener.tls is None and listener.mode != "transparent" and writer is not None:
                writer.write(closing(TOO_MANY))
            client.error = "too many connections"

    def _tunnel(self, client: Client) -> bool | None:
        """Return True if *client*'s tunnel may go on; None if it has no tunnel that is passed unread."""
        where, policies = self._wire.tunnel(client), self._policies()
        if where is None or policies is None:
            return None
        if not self._let_in(client):
            return False
        return policies.destinations.passed(*where) is not None


def failed(hook: str, error: Exception) -> None:
    """Raise an alarm: *hook* has raised *error*, so its connection is closed."""
    alarm("room_failed", f"{type(error).__name__} in {hook} at {place(error)}; the connection is closed")
