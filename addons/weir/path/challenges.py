"""What a refused caller is told about how to authenticate: RFC 6750, 3; RFC 9449, 7.1; RFC 9728, 5.1."""

from typing import Any

from weir.path.documents import PROTECTED_RESOURCE
from weir.path.exchange import Exchange
from weir.routing.listener import Listener

Header = tuple[str, str]

_BASIC = ("WWW-Authenticate", 'Basic realm="weir", charset="UTF-8"')


def base_url(exchange: Exchange) -> str:
    """Where callers reach the gateway: as configured, else as this one did; of a proxy, the origin that they meant."""
    host = exchange.head.get(b"host", b"").decode("ascii", "replace")
    return _own_url(exchange) or f"{exchange.scheme}://{host}"


def trusted_base_url(exchange: Exchange, address: tuple[Any, ...]) -> str:
    """Where callers reach the gateway, without believing them: as configured, else the listener's own *address*.

    A proof for another service must not become one for this by its Host header.
    """
    listener = exchange.arrival.listener if exchange.arrival else None
    return _own_url(exchange) or str(Listener(address[0], address[1], tls=listener.tls if listener else None))


def _own_url(exchange: Exchange) -> str | None:
    if exchange.origin is not None:
        return f"{exchange.origin.scheme}://{exchange.origin.authority}"
    return exchange.policies.public_url if exchange.policies else None


def challenges(exchange: Exchange, error: str = "") -> tuple[Header, ...]:
    """The challenges of a 401, or of a proxy's 407; *error* is why a token was not accepted, empty without one."""
    if exchange.proxied:
        return ("Proxy-Authenticate", 'Bearer realm="weir"'), ("Proxy-Authenticate", _BASIC[1])
    connection = exchange.connection
    prefix = (connection.match.path or "") if connection and exchange.origin is None else ""
    scheme = "DPoP" if exchange.proof is not None else "Bearer"
    text = f'{scheme} realm="weir", resource_metadata="{base_url(exchange)}{PROTECTED_RESOURCE}{prefix}"'
    if error:
        quoted = error.replace("'", "").replace('"', "").replace("\\", "")
        text += f', error="invalid_token", error_description="{quoted}"'
    basic = connection is not None and "basic" in connection.token_in and not error
    return (("WWW-Authenticate", text), *([_BASIC] if basic else []))
