"""Challenges: how refused callers can authenticate (RFC 6750, 3; RFC 9449, 7.1; RFC 9728, 5.1)."""

from typing import Any

from weir.base.well_known import PROTECTED_RESOURCE
from weir.path.exchange import Arrived, Claimed, Exchange, Head, Routed
from weir.routing.listener import Listener

Header = tuple[str, str]

_BASIC = ("WWW-Authenticate", 'Basic realm="weir", charset="UTF-8"')


def base_url(arrived: Arrived, head: Head) -> str:
    """Return the URL at which callers reach the gateway: the configured URL, or else the URL that this caller used.

    For callers of a proxy, it is the origin that they address.
    """
    host = head.fields.get(b"host", b"").decode("ascii", "replace")
    return _own_url(arrived, head) or f"{head.scheme}://{host}"


def trusted_base_url(arrived: Arrived, head: Head, address: tuple[Any, ...]) -> str:
    """Return the gateway's URL without trusting the caller: the configured URL, or else the listener's *address*.

    A Host header must not turn a proof for another service into a proof for this service.
    """
    listener = Listener(address[0], address[1], tls=arrived.arrival.listener.tls)
    return _own_url(arrived, head) or str(listener)


def _own_url(arrived: Arrived, head: Head) -> str | None:
    if head.origin is not None:
        return f"{head.origin.scheme}://{head.origin.authority}"
    return arrived.policies.public_url


def challenges(exchange: Exchange, error: str = "") -> tuple[Header, ...]:
    """Return the challenges of a 401, or of a proxy's 407. *error* is why the token was refused; empty without one."""
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
