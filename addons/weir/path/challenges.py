"""How refused callers may authenticate: RFC 6750, 3; RFC 9449, 7.1; RFC 9728, 5.1."""

from typing import Any

from weir.base.well_known import PROTECTED_RESOURCE
from weir.path.exchange import Arrived, Claimed, Exchange, Head, Routed
from weir.routing.listener import Listener

Header = tuple[str, str]

_BASIC = ("WWW-Authenticate", 'Basic realm="weir", charset="UTF-8"')


def base_url(arrived: Arrived, head: Head) -> str:
    """The URL under which callers reach the gateway: as configured, else as this caller used it.

    For callers of a proxy it is the origin that they meant.
    """
    host = head.fields.get(b"host", b"").decode("ascii", "replace")
    return _own_url(arrived, head) or f"{head.scheme}://{host}"


def trusted_base_url(arrived: Arrived, head: Head, address: tuple[Any, ...]) -> str:
    """The same without believing the caller: as configured, else the listener's own *address*.

    A proof for another service must not become one for this service by its Host header.
    """
    listener = Listener(address[0], address[1], tls=arrived.arrival.listener.tls)
    return _own_url(arrived, head) or str(listener)


def _own_url(arrived: Arrived, head: Head) -> str | None:
    if head.origin is not None:
        return f"{head.origin.scheme}://{head.origin.authority}"
    return arrived.policies.public_url


def challenges(exchange: Exchange, error: str = "") -> tuple[Header, ...]:
    """The challenges of a 401, or of a proxy's 407. *error*: why the token was not accepted; empty without a token."""
    arrived, head = exchange[Arrived], exchange[Head]
    if arrived.proxied:
        return ("Proxy-Authenticate", 'Bearer realm="weir"'), ("Proxy-Authenticate", _BASIC[1])
    routed, claimed = exchange.get(Routed), exchange.get(Claimed)
    connection = routed.connection if routed is not None else None
    prefix = (connection.match.path or "") if connection and head.origin is None else ""
    scheme = "DPoP" if claimed is not None and claimed.proof is not None else "Bearer"
    text = f'{scheme} realm="weir", resource_metadata="{base_url(arrived, head)}{PROTECTED_RESOURCE}{prefix}"'
    if error:
        quoted = error.replace("'", "").replace('"', "").replace("\\", "")
        text += f', error="invalid_token", error_description="{quoted}"'
    basic = connection is not None and "basic" in connection.token_in and not error
    return (("WWW-Authenticate", text), *([_BASIC] if basic else []))
