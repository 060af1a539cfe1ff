"""Decide where a proxy caller's destination leads: to a connection's upstream, to a tunnel, or nowhere. Pure.

Built completely at load. A destination is a scheme, a host and a port; they are compared as written.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from weir.base.addresses import Address, Addresses, Network, compile_addresses, literal, plain_network
from weir.base.mistakes import SettingError
from weir.config.model import PassSettings
from weir.routing.dial import Dial
from weir.routing.model import Origin, Upstream
from weir.routing.table import Routed


@dataclass(frozen=True, slots=True)
class Pass:
    """A destination that is tunnelled unread: a host, the names below one (``*.example.com``), or a network."""

    host: str
    network: Network | None
    port: int
    dial: Dial

    def takes(self, host: str, port: int) -> bool:
        """True if *host* (a name, or an address as text) and *port* match."""
        if port != self.port:
            return False
        if self.network is not None:
            address = literal(host)
            return address is not None and address in self.network
        if self.host.startswith("*."):
            return host.endswith(self.host[1:])
        return host == self.host


class Destinations[C]:
    """The connections, indexed by the destination they lead to, and the tunnelled destinations."""

    def __init__(self, entries: Iterable[tuple[Upstream, int | None, C]], passes: tuple[Pass, ...] = ()) -> None:
        self._entries = sorted(entries, key=lambda e: (len(e[0].base_path), e[1] is not None), reverse=True)
        self._origins = frozenset(upstream.origin for upstream, _, _ in self._entries)
        self.passes = passes

    @property
    def origins(self) -> frozenset[Origin]:
        """All destinations of connections."""
        return self._origins

    def route(self, origin: Origin, port: int, path: str) -> Routed[C] | None:
        """Return the connection that leads to *origin* and *path*, for callers of the listener's *port*.

        None if none exists, or if several match equally well, because the choice between their policies would be
        arbitrary.
        """
        for i, (upstream, own_port, connection) in enumerate(self._entries):
            if upstream.origin != origin or own_port not in (None, port):
                continue
            base = upstream.base_path
            if path.startswith(base) and path[len(base) : len(base) + 1] in ("", "/"):
                twin = any(entry[:2] == (upstream, own_port) for entry in self._entries[i + 1 :])
                return None if twin else Routed(connection, path[len(base) :] or "/")
        return None

    def twins(self) -> list[tuple[C, C]]:
        """Return pairs of connections with the same destination. A proxy caller cannot reach either of them."""
        seen: dict[tuple[Upstream, int | None], C] = {}
        found = []
        for upstream, port, connection in self._entries:
            first = seen.setdefault((upstream, port), connection)
            if first is not connection:
                found.append((first, connection))
        return found

    def passed(self, host: str, port: int) -> Pass | None:
        """Return the entry that tunnels *host* and *port*, or None."""
        return next((entry for entry in self.passes if entry.takes(host, port)), None)


def compile_pass(settings: PassSettings) -> Pass:
    """Compile a tunnelled destination. Raises `SettingError`."""
    host, _, digits = settings.to.rpartition(":")
    if not host or not digits.isascii() or not digits.isdigit() or not 0 < int(digits) < 65536:
        raise SettingError(f"{settings.to!r} is not a destination; write e.g. pinned.example:443", "to")
    host, port = host.strip("[]").lower(), int(digits)
    if "/" in host:
        try:
            network = ip_network(host)
        except ValueError as error:
            raise SettingError(f"{host!r} is not a network: {error}", "to") from None
        return Pass("", network, port, Dial(f"pass {settings.to}", Addresses(frozenset(), (plain_network(network),))))
    if "*" in host.removeprefix("*.") or not host:
        raise SettingError(f"{settings.to!r}: a star may replace the first labels only, as in *.example.com:443", "to")
    addresses = compile_addresses(settings.addresses, host)
    return Pass(host, None, port, Dial(f"pass {settings.to}", addresses))


class Known:
    """Hosts by the addresses that they resolved to. For transparent callers, only the address is certain."""

    #: Seconds that an address counts after the DNS last returned it, because callers cache it too.
    KEPT = 3600.0

    def __init__(self) -> None:
        self._seen: dict[str, dict[Address, float]] = {}

    def learn(self, host: str, addresses: Iterable[str], now: float) -> None:
        """Note that *host* resolved to *addresses* at *now* (monotonic seconds)."""
        seen = self._seen.setdefault(host, {})
        seen.update((ip_address(text.partition("%")[0]), now) for text in addresses)
        for address in [a for a, at in seen.items() if now - at > self.KEPT]:
            del seen[address]

    def hosts(self, address: Address) -> frozenset[str]:
        """Return the hosts that have *address*."""
        return frozenset(host for host, seen in self._seen.items() if address in seen or literal(host) == address)
