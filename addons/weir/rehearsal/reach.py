"""Whether the gateway may dial what each host's name resolves to, as far as this machine's resolver knows."""

import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_address

from weir.base.addresses import WORDS, Address, Addresses, Kind, kind_of, literal

#: Seconds to wait for all names together.
PATIENCE = 5.0

#: Names that only a local resolver knows: without a dot, or below these (RFC 6762, RFC 8375, and the usual ones).
_LOCAL = (".local", ".internal", ".home.arpa", ".svc", ".lan", ".localdomain")

Resolve = Callable[[str], Sequence[str]]


def resolved(host: str) -> list[str]:
    """Return the addresses of *host*. Raises OSError."""
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]


def look_up(hosts: Iterable[str], resolve: Resolve = resolved) -> dict[str, list[Address]]:
    """Return the addresses of each of *hosts* that is a name. A name is missing if it has none within `PATIENCE`."""
    found: dict[str, list[Address]] = {}

    def ask(host: str) -> None:
        try:
            found[host] = [ip_address(text.partition("%")[0]) for text in resolve(host)]
        except (OSError, ValueError):
            return

    names = {host for host in hosts if literal(host) is None}
    threads = [threading.Thread(target=ask, args=(name,), daemon=True) for name in sorted(names)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + PATIENCE
    for thread in threads:  # a resolver cannot be interrupted
        thread.join(max(0.0, deadline - time.monotonic()))
    return dict(found)


def advice(host: str, may: Addresses, found: Sequence[Address] | None) -> str:
    """Return why the gateway cannot dial *host*, and the line that allows it. Empty if it can, or if nothing is known.

    *may* are the permitted addresses. *found* are the addresses of the host; None if they are unknown.
    """
    written = [] if may == Addresses() else [*sorted(may.kinds), *map(str, may.networks)]
    if literal(host) is not None or any(map(may.permits, found or ())):
        return ""
    if found:
        where = ", ".join(dict.fromkeys(f"{address} ({kind_of(address)})" for address in found))
        wanted = [str(kind_of(a)) if kind_of(a) in WORDS else str(a) for a in found]
        text = f"{host} resolves to {where}, which the gateway may not dial here"
        if any(kind_of(address) is Kind.METADATA for address in found):
            text += "; this is a service that gives a machine's credentials away, so do not allow it without need"
    elif not written and ("." not in host or host.endswith(_LOCAL)):
        wanted, text = (
            [str(Kind.PRIVATE)],
            f"{host} is a name of a local network, and only public ones are dialled",
        )
    else:
        return ""
    return f"{text}; add the line: addresses: [{', '.join(dict.fromkeys([*written, *wanted]))}]"
