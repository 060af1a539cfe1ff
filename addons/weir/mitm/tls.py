"""TLS on either side of the gateway: with which certificate a caller is met, and how a service is verified."""

from mitmproxy.connection import Server
from mitmproxy.tls import TlsData
from OpenSSL import SSL

from weir.mitm.arrival import Arrival
from weir.policyset.model import PolicySet
from weir.routing.dial import Dialed
from weir.tls.server import server_context
from weir.tls.upstream import upstream_connection

#: What is offered to services by ALPN: HTTP/2 only where their callers have several requests at once.
_PROTOCOLS = {True: (b"h2", b"http/1.1"), False: (b"http/1.1",)}


class Tls:
    """What has no context of ours gets one that nobody can shake hands with."""

    def caller(self, data: TlsData, arrival: Arrival, policies: PolicySet | None) -> None:
        """Meet a caller: as a listener, or, within a tunnel or on the way, as the service that they called."""
        context = None
        if not arrival.tls:
            context = arrival.listener.tls.context if arrival.listener.tls else None
        elif policies is not None and policies.leaves is not None and len(arrival.hosts) == 1:
            context = policies.leaves.context(next(iter(arrival.hosts)))
        data.ssl_conn = SSL.Connection(context or server_context())
        data.ssl_conn.set_accept_state()

    def service(self, data: TlsData) -> None:
        """Verify a service as what was dialled, and as nothing else."""
        host = data.conn.address[0] if isinstance(data.conn, Server) and data.conn.address else None
        if isinstance(host, Dialed):
            several = data.context.client.alpn == b"h2"
            data.ssl_conn = upstream_connection(host.dial.tls, str(host), _PROTOCOLS[several])
