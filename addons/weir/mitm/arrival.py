"""How a client connection came in, and where its caller means to go: what is known before there is a request."""

from dataclasses import dataclass

from cryptography.x509 import Certificate
from mitmproxy.connection import Client

from weir.auth.presented import Presented
from weir.routing.dial import Dial
from weir.routing.listener import Listener


def address_of(client: Client) -> str:
    """The address of *client*, as an IPv4 address where it is one; empty where it has none."""
    return str(client.peername[0]).removeprefix("::ffff:") if client.peername else ""


@dataclass(slots=True)
class Arrival:
    """One client connection. In reverse mode there are no ``hosts``: the gateway itself is what was called."""

    listener: Listener
    hosts: frozenset[str] = frozenset()  # of which the caller means one
    port: int = 0
    tls: bool = False  # it is intercepted: its TLS ends here, for one of the hosts
    presented: Presented | None = None  # by whoever opened the tunnel
    certificates: tuple[Certificate, ...] = ()  # the same, where the proxy asked for them
    who: str = ""  # the same, by name
    passing: Dial | None = None  # the tunnel is let through as it is
