"""Which URLs of identity providers and gateways may be fetched, and where a provider's discovery document is. Pure."""

import re
from urllib.parse import urlsplit

from weir.routing.model import is_loopback

_URL = re.compile(r"[\x21-\x7e]+")


def check_url(url: str, *, allow_loopback: bool = True) -> None:
    """Raise `ValueError` unless *url* may be fetched: https, or http on loopback."""
    if not _URL.fullmatch(url):
        raise ValueError("a URL may have only printable ASCII characters")
    parts = urlsplit(url)
    secure = parts.scheme == "https" or (
        allow_loopback and parts.scheme == "http" and is_loopback(parts.hostname or "")
    )
    if not secure or not parts.hostname or parts.username is not None or parts.fragment:
        raise ValueError("a provider's URL must be https (http only on loopback), without user name and fragment")


def discovery_url(issuer: str) -> str:
    """Return the URL of the discovery document of *issuer* (OpenID Connect Discovery 1.0, 4)."""
    return issuer.rstrip("/") + "/.well-known/openid-configuration"
