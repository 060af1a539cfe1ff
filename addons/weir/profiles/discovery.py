"""Discovery: replace the addresses of a service's nodes in an answer, so that clients stay at the gateway. Pure."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from weir.base.jsonpath import Path
from weir.routing.model import Origin


@dataclass(frozen=True, slots=True)
class Discovery:
    """The places of addresses in the answers of an operation. Clients that read them send their next requests there."""

    addresses: tuple[Path, ...]
    hosts: tuple[Path, ...]
    advice: str  # for callers below a path prefix: how to switch discovery off

    def readdress(self, document: Any, gateway: Origin) -> bool:
        """Replace every address in the parsed *document* with the address of *gateway*. Return True if it had any."""
        addresses = _replace(document, self.addresses, lambda written: address_like(written, gateway))
        hosts = _replace(document, self.hosts, lambda _: gateway.host)
        return addresses or hosts


def address_like(written: str, gateway: Origin) -> str:
    """Return the address of *gateway* in the form of *written*: a URL, ``host:port``, or ``host``.

    The form ``name/host:port`` of Elasticsearch 7 becomes ``host:port``. An address with a port always keeps one, since
    clients require it. An address without one gets a port only if it is not the scheme's default.
    """
    if "://" in written:
        return f"{gateway.scheme}://{gateway.authority}"
    host, colon, port = written.rpartition(":")
    if colon and port.isdecimal() and not (":" in host and "]" not in host):
        return gateway.with_port
    return gateway.authority


def _replace(document: Any, paths: tuple[Path, ...], by: Callable[[str], str]) -> bool:
    slots = [slot for path in paths for slot in path.slots(document) if type(slot[0][slot[1]]) is str]
    for container, key in slots:
        container[key] = by(container[key])
    return bool(slots)
