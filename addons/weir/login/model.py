"""Values of the login commands, and their error. Every command imports this module, so it must import little."""

from dataclasses import dataclass, field

from weir.auth.urls import check_url


class LoginError(Exception):
    """Logging in, or refreshing a login, failed. The text states the next action and contains no token."""


@dataclass(frozen=True, slots=True)
class Option:
    """One way to log in that a gateway offers: a public client of an issuer that the gateway trusts."""

    name: str
    issuer: str
    client_id: str
    scopes: tuple[str, ...]
    resource: str | None
    token: str  # the token that goes to the gateway: access_token or id_token
    client_secret: str | None = field(default=None, repr=False)  # of clients that must have one, although it is public
    redirect_port: int | None = None  # None: any free port


@dataclass(frozen=True, slots=True)
class Provider:
    """The endpoints of an identity provider, from its discovery document; empty strings for missing ones."""

    issuer: str
    authorization: str
    token: str
    device: str
    revocation: str
    names_itself: bool  # responses carry `iss` (RFC 9207)


def gateway_url(text: str) -> str:
    """Return *text* as a gateway's URL, without a trailing slash. Raises `LoginError`."""
    url = text.rstrip("/")
    try:
        check_url(url)
    except ValueError:
        raise LoginError(f"{text!r} must be https://host, or http:// on loopback") from None
    return url


def seconds(value: object, otherwise: float) -> float:
    """Return *value* of a response if it is a positive number of seconds, else *otherwise*."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else otherwise
