"""TLS on both sides of the gateway: the certificate for a caller, and the verification of a service."""

from mitmproxy.connection import Server
from mitmproxy.tls import TlsData
from OpenSSL import SSL

from weir.mitm.arrival import Arrival
from weir.policyset.model import PolicySet
from weir.routing.dial import Dialed
from weir.tls.server import server_context
from weir.tls.upstream import upstream_connection

#: The protocols offered to a service (ALPN), by whether its caller uses HTTP/2 and may have several requests at once.
_PROTOCOLS = {True: (b"h2", b"http/1.1"), False: (b"http/1.1",)}


class Tls:
    """Gives each connection its OpenSSL connection. Without a certificate or a verified host, no handshake succeeds."""

    def caller(self, data: TlsData, arrival: Arrival, policies: PolicySet | None) -> None:
        """Present the certificate of the listener or, if the caller is intercepted, of the host that it named."""
        context = None
        if not arrival.tls:
            context = arrival.listener.tls.context if arrival.listener.tls else None
        elif policies is not None and policies.leaves is not None and len(arrival.hosts) == 1:
            context = policies.leaves.context(next(iter(arrival.hosts)))
        data.ssl_conn = SSL.Connection(context or server_context())
        data.ssl_conn.set_accept_state()

    def service(self, data: TlsData) -> None:
        """Verify a service by the name of the host that was dialled."""
        host = data.conn.address[0] if isinstance(data.conn, Server) and data.conn.address else None
        if isinstance(host, Dialed):
            several = data.context.client.alpn == b"h2"
            data.ssl_conn = upstream_connection(host.dial.tls, str(host), _PROTOCOLS[several])
