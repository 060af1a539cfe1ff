"""Dial only hosts that were judged, and only addresses that were checked.

mitmproxy dials the host that a request has at the end. Here that host is a `Dialed`, created only by routing, with the
settings of its connection. `refusal` rejects any other host. `mitm.resolving`
makes the event loop resolve a `Dialed` only to addresses that it may reach, so there is no second DNS lookup between
the check and the connection.
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

#: Seconds to wait for a name's addresses.
PATIENCE = 10.0

#: The beginning of the text of an error for a forbidden address.
FORBIDDEN = "the destination's address may not be reached"

#: A result of ``getaddrinfo``: family, type, protocol, canonical name, and the address to connect to.
Resolved = tuple[socket.AddressFamily, socket.SocketKind, int, str, tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Dial:
    """How to dial a connection's upstream. Equal ones may share an upstream connection."""

    name: str  # of the connection, for messages
    addresses: Addresses
    tls: UpstreamTls | None = None
    pinned: tuple[Resolved, ...] = ()  # addresses that its host resolved to earlier
    authorization: Secret | None = None  # for the upstream proxy only


class Dialed(str):
    """A host to dial, with its `Dial`. Never equal to a plain string with the same text."""

    dial: Dial

    def __new__(cls, host: str, dial: Dial) -> "Dialed":
        """Create it from the *host* of a connection."""
        self = super().__new__(cls, host)
        self.dial = dial
        return self

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Dialed) and str.__eq__(self, other) and self.dial == other.dial

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__


class Forbidden(OSError):
    """A host has no address that may be reached."""


def refusal(host: str) -> str:
    """Return why *host* must not be dialled; empty if it may be."""
    if not isinstance(host, Dialed):
        return "the destination was not judged"
    try:
        address = ip_address(host)
    except ValueError:
        return ""  # a name: its addresses are checked after it is resolved
    return "" if host.dial.addresses.permits(address) else FORBIDDEN


def permitted(host: Dialed, found: Sequence[Resolved]) -> Sequence[Resolved]:
    """Return the addresses in *found* that *host* may be reached at. Raises `Forbidden` if that leaves no address."""
    addresses = [ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    may = [e for e, address in zip(found, addresses, strict=True) if host.dial.addresses.permits(address)]
    if not may:
        where = ", ".join(sorted({f"{address} ({kind_of(address)})" for address in addresses}))
        alarm(
            "destination_refused",
            f"{host} of {host.dial.name} resolves to {where or 'nothing'}, which it may not reach; to allow this, add "
            "the addresses to its `addresses`",
        )
        raise Forbidden(FORBIDDEN)
    return may
