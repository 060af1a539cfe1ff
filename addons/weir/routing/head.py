"""Check a request's head strictly: refuse anything that two parsers could read differently.

Pure; bytes in, bytes out.
"""

import re
from collections.abc import Iterable

from weir.routing.persistence import options

Fields = Iterable[tuple[bytes, bytes]]


class HeadError(ValueError):
    """A request head is refused. The text is safe to show."""


METHODS = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"))

_PATH = re.compile(rb"(?:/(?:[A-Za-z0-9\-._~!$&'()*+,=:@]|%[0-9A-Fa-f]{2})*)+")
_DOT_SEGMENT = re.compile(rb"/\.{1,2}(?:/|$)")
_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_QUERY = re.compile(rb"[\x21\x22\x24-\x7e]*")  # printable ASCII without space and '#'
_HOST = re.compile(rb"[A-Za-z0-9._\-]+(?::[0-9]{1,5})?|\[[0-9A-Fa-f:.]+\](?::[0-9]{1,5})?")
_NAME = re.compile(rb"[A-Za-z0-9!#$%&'*+\-.^_`|~]+")
_VALUE_FORBIDDEN = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")

_ONCE = frozenset(
    (
        b"host",
        b"content-length",
        b"content-type",
        b"content-encoding",
        b"transfer-encoding",
        b"x-session-id",
        b"x-request-id",
        b"expect",
        b"upgrade",
        b"origin",
        b"sec-websocket-key",
        b"sec-websocket-version",
        b"sec-websocket-protocol",
    )
)
_NOMINABLE = frozenset((b"close", b"keep-alive", b"te", b"upgrade", b"http2-settings", b"proxy-connection"))


def check_path(path: bytes) -> None:
    """Raise `HeadError` unless *path* is in its one normal form (RFC 3986, 6.2.2)."""
    if not _PATH.fullmatch(path):
        raise HeadError("the path has characters that servers read differently")
    if b"//" in path or _DOT_SEGMENT.search(path):
        raise HeadError("the path has empty or dot segments")
    if b"%" in path:
        octets = {int(hex_digits, 16) for hex_digits in _ESCAPE.findall(path)}
        if octets & _UNRESERVED or octets & set(b"\\%;\x7f") or any(octet < 0x20 for octet in octets):
            raise HeadError("the path escapes characters that servers read differently")
        unescaped = _ESCAPE.sub(lambda m: bytes([int(m[1], 16)]), path)
        try:
            unescaped.decode()
        except UnicodeDecodeError:
            raise HeadError("the path is not UTF-8 when unescaped") from None
        # An escaped slash is allowed within a variable of one segment: `steps.reading.Match` checks this.
        if 0x2F in octets and (b"//" in unescaped or _DOT_SEGMENT.search(unescaped) or unescaped.endswith(b"/")):
            raise HeadError("the path has empty or dot segments when unescaped")


def check_head(method: bytes, target: bytes, authority: bytes, fields: Fields) -> None:
    """Raise `HeadError` unless the request line and headers can be read in one way only."""
    if method not in METHODS:
        raise HeadError("the method is not supported")
    if authority:
        raise HeadError("the request target must be a path")
    path, _, query = target.partition(b"?")
    check_path(path)
    if not _QUERY.fullmatch(query):
        raise HeadError("the query has characters that must be escaped")
    seen = set()
    hosts = 0
    fields = list(fields)
    for name, value in fields:
        lower = name.lower()
        if not _NAME.fullmatch(name):
            raise HeadError("a header name is not a token")
        if _VALUE_FORBIDDEN.search(value):
            raise HeadError(f"the header {_shown(name)} has control characters")
        if lower in _ONCE:
            if lower in seen:
                raise HeadError(f"the header {_shown(name)} occurs twice")
            seen.add(lower)
            if lower == b"host":
                hosts += 1
                if not _HOST.fullmatch(value):
                    raise HeadError("the Host header is not a single valid host")
            elif lower == b"transfer-encoding" and value.lower() != b"chunked":
                raise HeadError("the transfer encoding is not supported; use chunked")
            elif lower == b"upgrade" and value.lower() not in (b"h2c", b"websocket"):
                raise HeadError("the protocol upgrade is not supported")
        elif lower == b"connection":
            for nominated in options(value):
                if nominated not in _NOMINABLE:
                    raise HeadError("the Connection header names a header that must reach the service")
        elif lower == b"trailer":
            raise HeadError("trailers are not supported")
    if hosts == 0:
        raise HeadError("the Host header is missing")


def with_host(authority: bytes, fields: Fields) -> tuple[tuple[bytes, bytes], ...]:
    """Return the fields of an HTTP/2 request in the form of HTTP/1.1: with its authority as Host (RFC 9113, 8.3.1).

    Raises `HeadError` if a Host header differs from the authority.
    """
    fields = tuple(fields)
    hosts = [value for name, value in fields if name.lower() == b"host"]
    if authority and any(host != authority for host in hosts):
        raise HeadError("the Host header differs from the request's authority")
    if not authority:
        return fields
    return ((b"Host", authority), *(field for field in fields if field[0].lower() != b"host"))


def check_connect(authority: bytes, fields: Fields) -> tuple[str, int]:
    """Return the host (lower case) and port of a CONNECT. Raises `HeadError` unless it can be read in one way only.

    A Host header must name the same target (RFC 9110, 7.2).
    """
    host, port = split_authority(authority)
    if port is None:
        raise HeadError("the CONNECT target is not host:port")
    hosts = []
    for name, value in fields:
        lower = name.lower()
        if not _NAME.fullmatch(name) or _VALUE_FORBIDDEN.search(value):
            raise HeadError("a header has an invalid name or value")
        if lower in (b"content-length", b"transfer-encoding"):
            raise HeadError("a CONNECT must not have a body")
        if lower == b"host":
            hosts.append(split_authority(value))
    if len(hosts) > 1 or any(own != host or own_port not in (None, port) for own, own_port in hosts):
        raise HeadError("the Host header differs from the CONNECT target")
    return host, port


def split_authority(value: bytes) -> tuple[str, int | None]:
    """Split ``host[:port]`` into host (lower case, no brackets) and port (None if absent). Raises `HeadError`."""
    if not _HOST.fullmatch(value):
        raise HeadError("the Host header is not a single valid host")
    host, colon, digits = value.decode().lower().rpartition(":")
    if not colon or "]" in digits:
        host, digits = value.decode().lower(), ""
    port = int(digits) if digits else None
    if port is not None and not 0 < port < 65536:
        raise HeadError("the port is not between 1 and 65535")
    return host.strip("[]"), port


def _shown(name: bytes) -> str:
    return name[:40].decode("ascii", "replace")
