"""The facts about a client connection before its first request: its listener, and the hosts that its caller names."""

from dataclasses import dataclass

from cryptography.x509 import Certificate
from mitmproxy.connection import Client

from weir.auth.presented import Presented
from weir.routing.dial import Dial
from weir.routing.listener import Listener


def address_of(client: Client) -> str:
    """Return the address of *client*, a mapped IPv4 address as IPv4; empty if it has no address."""
    return str(client.peername[0]).removeprefix("::ffff:") if client.peername else ""


@dataclass(slots=True)
class Arrival:
    """One client connection. In reverse mode ``hosts`` is empty: the caller names the gateway itself."""

    listener: Listener
    hosts: frozenset[str] = frozenset()  # the caller names one of them
    port: int = 0
    tls: bool = False  # intercepted: the TLS for one of the hosts ends here
    presented: Presented | None = None  # by the caller that opened the tunnel
    certificates: tuple[Certificate, ...] = ()  # of the same caller, if the listener asked for them
    who: str = ""  # the name of the same caller
    passing: Dial | None = None  # how to dial a tunnel that is not intercepted
