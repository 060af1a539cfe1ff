"""Which of a caller's headers the service receives: those that a list names, and no others. Pure; bytes in, bytes out.

Proxies, frameworks and services read the caller's identity, groups, tenant, address, method or path from thousands of
header names. Therefore a header passes only if one of three lists names it: `STANDARD`, the headers of the
connection's profile, or `forward` of the connection.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from weir.base.mistakes import SettingError

Fields = Iterable[tuple[bytes, bytes]]

#: Forwarded by every connection. Each name is defined by a standard, clients of HTTP APIs send it, and no service takes
#: a caller's identity, address or rights from it. `Origin` and `Sec-Fetch-*` name the page that makes a browser's
#: request: services refuse more because of them, never less. Left out, although standard: `From`, `Referer`, `Cookie`,
#: `Via`, `Forwarded`, `Client-Cert`, `Early-Data` and signatures (identity or trust); `Baggage` (user ids and routes);
#: `Range` (a part of a body cannot be masked); digests of the content (masks change the content).
STANDARD = frozenset((
    b"accept", b"accept-charset", b"accept-language",  # RFC 9110, 12.5
    b"content-type", b"content-encoding", b"content-language",  # RFC 9110, 8
    b"user-agent",  # RFC 9110, 10.1.5
    b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since",  # RFC 9110, 13.1
    b"cache-control", b"pragma",  # RFC 9111
    b"prefer", b"priority", b"idempotency-key",  # RFC 7240, RFC 9218, draft-ietf-httpapi-idempotency-key-header
    b"traceparent", b"tracestate",  # W3C Trace Context
    b"origin", b"access-control-request-method", b"access-control-request-headers",  # WHATWG Fetch
    b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest",  # W3C Fetch Metadata
))  # fmt: skip

#: Headers that the gateway itself reads, removes or writes, each with its meaning. They are never forwarded as they
#: are, and the record does not name them as dropped.
_OF_CONNECTION = frozenset((
    b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade",
    b"http2-settings", b"expect", b"host", b"content-length", b"accept-encoding",
    b"sec-websocket-key", b"sec-websocket-version", b"sec-websocket-protocol", b"sec-websocket-extensions",
))  # fmt: skip
_OF_TOKEN = frozenset((b"authorization", b"proxy-authorization", b"dpop"))
_API_KEYS = frozenset((b"api-key", b"x-api-key", b"x-goog-api-key"))
_OF_GATEWAY = frozenset((b"x-request-id", b"x-session-id"))
_OWN_PREFIX = b"x-weir-"
HANDLED = _OF_CONNECTION | _OF_TOKEN | _OF_GATEWAY

#: Reasons for which neither a profile nor a connection can name a header.
_REFUSED = {
    **dict.fromkeys(_OF_CONNECTION, "it belongs to one connection or message, and the gateway writes its own"),
    **dict.fromkeys(
        _OF_TOKEN | _API_KEYS, "it can carry the caller's token for the gateway"
    ),
    **dict.fromkeys(_OF_GATEWAY, "the gateway reads it itself"),
    **dict.fromkeys(
        (b"cookie", b"cookie2"), "it can carry the caller's credentials; use `credential` for the gateway's own"
    ),
    **dict.fromkeys(
        (
            b"x-http-method-override", b"x-http-method", b"x-method-override", b"x-original-method",
            b"x-original-url", b"x-original-uri", b"x-rewrite-url", b"x-original-host", b"x-host",
            b"x-forwarded-method", b"x-forwarded-uri", b"x-forwarded-path", b"x-forwarded-prefix", b"x-forwarded-host",
        ),
        "a service could read another method, path or host in it than policy has judged",
    ),
    **dict.fromkeys((b"range", b"if-range"), "a part of a body cannot be masked"),
}  # fmt: skip
_NAME = re.compile(r"[A-Za-z0-9!#$%&'+.^_`|~-]{1,100}")

#: Parts of header names from which proxies and applications take a caller's identity, address or rights.
_AUTHORITY = re.compile(
    r"auth|token|secret|passw|api-?key|credential|forward|jwt|oidc|login|principal|identity|claim|consumer|impersonat"
    r"|middleware|proxy|-ip\b|client-(?:cert|dn)|ssl-|remote-|-?(?:user(?!-agent)(?:name|info|id)?|email|groups?|roles?|tenant|org-?id|uid|eppn)\b"
)


#: Headers that the opening handshake of a WebSocket forwards, in addition.
HANDSHAKE = frozenset((b"sec-websocket-key", b"sec-websocket-version", b"sec-websocket-protocol"))
#: Headers that pass but do not apply to the record: its body is decoded, or left out.
_NOT_RECORDED = frozenset((b"content-encoding",))


@dataclass(frozen=True, slots=True)
class Forwarding:
    """The headers of one connection, by lower-case names."""

    passes: frozenset[bytes]
    handles: frozenset[bytes]  # read, removed or written by the gateway
    records: frozenset[bytes]  # kept in the record

    def divide(self, fields: Fields) -> tuple[list[tuple[bytes, bytes]], list[bytes]]:
        """Return the fields that the service receives, and the names of those that are dropped, as sent."""
        passed, dropped = [], []
        for field in fields:
            name = field[0].lower()
            if name in self.passes:
                passed.append(field)
            elif name not in self.handles and not name.startswith(_OWN_PREFIX):
                dropped.append(field[0])
        return passed, dropped


def header_name(name: str) -> bytes:
    """Return the *name* of a list of headers in lower case. Raises `SettingError` if it may not be forwarded."""
    if "*" in name:
        raise SettingError(f"{name!r} is a pattern; name each header exactly, because a pattern admits unknown ones")
    if not _NAME.fullmatch(name):
        raise SettingError(f"{name!r} is not the name of a header")
    if (why := _refused(name)) is not None:
        raise SettingError(f"{name!r} cannot be forwarded: {why}; remove it from the list")
    return name.lower().encode()


def _refused(name: str) -> str | None:
    # Servers with CGI variables read `X_Host` as `X-Host` (RFC 3875, 4.1.18).
    plain = name.lower().replace("_", "-").encode()
    if plain.startswith(_OWN_PREFIX):
        return "names that begin with X-Weir- are the gateway's own"
    return _REFUSED.get(plain)


def compile_forwarding(named: Iterable[bytes] = (), token_in: Iterable[str] = ()) -> Forwarding:
    """Return the headers of a connection: the *named* ones pass too, and *token_in* lists the places of its token."""
    passes = STANDARD.union(named)
    handles = HANDLED | (_API_KEYS & {place.encode() for place in token_in})
    return Forwarding(passes, handles, (passes | HANDSHAKE) - _NOT_RECORDED)


#: For requests without a connection.
NO_CONNECTION = compile_forwarding()


def states_identity(name: str) -> bool:
    """True if services commonly take a caller's identity, address or rights from a header with such a *name*."""
    return _AUTHORITY.search(name.lower().replace("_", "-")) is not None
