"""What a refused caller is told about how to authenticate: RFC 6750, 3; RFC 9449, 7.1; RFC 9728, 5.1."""

from typing import Any

from weir.auth.metadata import PROTECTED_RESOURCE
from weir.exchange import Exchange
from weir.policies import Listener

Header = tuple[str, str]

_BASIC = ("WWW-Authenticate", 'Basic realm="weir", charset="UTF-8"')


def base_url(exchange: Exchange) -> str:
    """Where callers reach the gateway: as configured, else as this one did."""
    return _public_url(exchange) or f"http://{exchange.head.get(b'host', b'').decode('ascii', 'replace')}"


def trusted_base_url(exchange: Exchange, address: tuple[Any, ...]) -> str:
    """Where callers reach the gateway, without believing them: as configured, else the listener's own *address*.

    A proof for another service must not become one for this by its Host header.
    """
    return _public_url(exchange) or str(Listener(address[0], address[1]))


def _public_url(exchange: Exchange) -> str | None:
    return exchange.policies.public_url if exchange.policies else None


def challenges(exchange: Exchange, error: str = "") -> tuple[Header, ...]:
    """The challenges of a 401; *error* is why a token was not accepted, empty where there was none."""
    connection = exchange.connection
    prefix = (connection.match.path or "") if connection else ""
    scheme = "DPoP" if exchange.proof is not None else "Bearer"
    text = f'{scheme} realm="weir", resource_metadata="{base_url(exchange)}{PROTECTED_RESOURCE}{prefix}"'
    if error:
        quoted = error.replace("'", "").replace('"', "").replace("\\", "")
        text += f', error="invalid_token", error_description="{quoted}"'
    basic = connection is not None and "basic" in connection.token_in and not error
    return (("WWW-Authenticate", text), *([_BASIC] if basic else []))
