"""Decide whether an HTTP/1 connection stays open after an answer (RFC 9112, 9.3). Pure; bytes in, bytes out.

mitmproxy decides this from the request object, after the gateway has rewritten that object for the service.
"""

from collections.abc import Iterable
from dataclasses import dataclass

#: No standard defines `Proxy-Connection` (RFC 9112, C.2.2). A `close` in it is obeyed, since a connection may always be
#: closed; a `keep-alive` in it is ignored.
_NAMES = (b"connection", b"proxy-connection")


@dataclass(frozen=True, slots=True)
class Persistence:
    """The persistence that one request asks for."""

    persists: bool
    old: bool  # HTTP/1.0: persistence requires `Connection: keep-alive`, and the client cannot read chunked coding


GOES_ON = Persistence(persists=True, old=False)


def options(value: bytes) -> list[bytes]:
    """Split one `Connection` field into its options, in lower case, without empty elements (RFC 9110, 5.6.1.2)."""
    return [option for element in value.lower().split(b",") if (option := element.strip(b" \t"))]


def of_request(version: bytes, fields: Iterable[tuple[bytes, bytes]], *, proxied: bool) -> Persistence:
    """Return the persistence for a caller that sent *fields* with HTTP *version*; *proxied*: to an explicit proxy.

    Any version except 1.1 and 1.0 ends the connection. A proxy never keeps an HTTP/1.0 connection open, because the
    caller may be another proxy that forwards the `keep-alive` of its own caller (RFC 9112, 9.3 and C.2.2).
    """
    said: list[bytes] = []
    kept = False
    for name, value in fields:
        lower = name.lower()
        if lower in _NAMES:
            found = options(value)
            said += found
            kept = kept or (lower == b"connection" and b"keep-alive" in found)
    old = version != b"HTTP/1.1"
    if b"close" in said or (old and (proxied or not kept or version != b"HTTP/1.0")):
        return Persistence(persists=False, old=old)
    return Persistence(persists=True, old=True) if old else GOES_ON


def is_last(version: bytes, fields: Iterable[tuple[bytes, bytes]]) -> bool:
    """True if a service closes the connection after an answer with this HTTP *version* and these *fields*."""
    said = [option for name, value in fields if name.lower() == b"connection" for option in options(value)]
    return b"close" in said or (version == b"HTTP/1.0" and b"keep-alive" not in said)
