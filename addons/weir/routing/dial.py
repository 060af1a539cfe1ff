"""Dialling: only hosts that were judged, and only at addresses that were checked.

mitmproxy dials whatever host a request has at the end. Here that host is a `Dialed`, made by routing and by
nothing else, that carries what its connection says of it. `refusal` keeps anything else from being dialled;
and `mitm.resolving` has the event loop resolve a `Dialed` to those of its addresses that may be reached.
"""

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from weir.base.addresses import Addresses, kind_of
from weir.base.alarms import alarm
from weir.base.secret import Secret
from weir.tls.upstream import UpstreamTls

#: Seconds for which a name's addresses are waited for.
PATIENCE = 10.0

#: How an error that comes of a forbidden address begins.
FORBIDDEN = "the address of the destination is not one that may be reached"

#: What ``getaddrinfo`` gives: family, type, protocol, canonical name, and the address to connect to.
Resolved = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Dial:
    """How a connection's upstream is dialled. Two that are equal may share a connection to it."""

    name: str  # of the connection, for messages
    addresses: Addresses
    tls: UpstreamTls | None = None
    pinned: tuple[Resolved, ...] = ()  # what its host was resolved to already
    authorization: Secret | None = None  # of a proxy to go on through: for it, and for no other


class Dialed(str):
    """A host to dial, with how; never equal to a host that only looks like it."""

    dial: Dial

    def __new__(cls, host: str, dial: Dial) -> "Dialed":
        """*host* of a connection."""
        self = super().__new__(cls, host)
        self.dial = dial
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dialed) and str.__eq__(self, other) and self.dial == other.dial

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__


class Forbidden(OSError):
    """No address of a host may be reached."""


def refusal(host: str) -> str:
    """Why *host* is not dialled; empty where it may be."""
    if not isinstance(host, Dialed):
        return "a destination that was not judged"
    try:
        address = ip_address(host)
    except ValueError:
        return ""  # a name: its addresses are checked once it has some
    return "" if host.dial.addresses.permits(address) else FORBIDDEN


def permitted(host: Dialed, found: Sequence[Resolved]) -> Sequence[Resolved]:
    """Those of the addresses *found* that *host* may be reached at. Raises `Forbidden` where there are none."""
    addresses = [ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    may = [e for e, address in zip(found, addresses, strict=True) if host.dial.addresses.permits(address)]
    if not may:
        where = ", ".join(sorted({f"{address} ({kind_of(address)})" for address in addresses}))
        alarm(
            "destination_refused",
            f"{host} of {host.dial.name} resolves to {where or 'nothing'}, which it may not reach; if it should, say "
            "so in its `addresses`",
        )
        raise Forbidden(FORBIDDEN)
    return may
