"""HTTP requests of the login command: to the gateway for its login options, to the identity provider for tokens.

Uses https only (http on loopback) and never follows redirects. Every error is a `LoginError`; its text states the next
action and contains no token.
"""

from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec

from weir.auth.urls import check_url, discovery_url
from weir.base.well_known import PROTECTED_RESOURCE, WHOAMI
from weir.login.model import LoginError, Option, Provider
from weir.routing.model import is_loopback

TIMEOUT = 15.0
_LONGEST = 200


def options(gateway: str) -> list[Option]:
    """Return the ways to log in that the gateway at *gateway* offers (RFC 9728). Raises `LoginError`."""
    parts = urlsplit(gateway)
    document = _get(f"{parts.scheme}://{parts.netloc}{PROTECTED_RESOURCE}{parts.path}")
    if document.get("resource") != gateway:
        raise LoginError(f"the gateway's own URL is {_shown(document.get('resource'))}; log in with that URL")
    try:
        found = msgspec.convert(document.get("weir_login", []), list[Option])
    except msgspec.ValidationError:
        raise LoginError("the gateway's metadata cannot be read; check that it runs this version of Weir") from None
    if not found:
        raise LoginError("the gateway offers no login; its operator must add `login:` to an issuer in gateway.yaml")
    return found


def provider(issuer: str) -> Provider:
    """Return the endpoints of *issuer* (OpenID Connect Discovery). Raises `LoginError`."""
    try:
        check_url(issuer)
    except ValueError:
        raise LoginError(f"the gateway's identity provider has no https URL: {_shown(issuer)}") from None
    document = _get(discovery_url(issuer))
    if document.get("issuer") != issuer:
        raise LoginError(f"the discovery document of {issuer} belongs to another issuer")
    endpoints = {}
    for name in ("authorization", "token", "device_authorization", "revocation"):
        url = document.get(f"{name}_endpoint", "")
        if url:
            try:
                check_url(str(url))
            except ValueError:
                raise LoginError(f"the {name} endpoint of {issuer} is not https") from None
        endpoints[name.partition("_")[0]] = str(url)
    names_itself = document.get("authorization_response_iss_parameter_supported") is True
    return Provider(issuer, names_itself=names_itself, **endpoints)


def whoami(gateway: str, token: str) -> dict[str, Any]:
    """Return the gateway's answer about the principal of *token*. Raises `LoginError`."""
    parts = urlsplit(gateway)
    return _get(f"{parts.scheme}://{parts.netloc}{WHOAMI}", {"Authorization": f"Bearer {token}"})


def post(url: str, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
    """Send *form* and return the status and the JSON answer. Raises `LoginError` if none exists."""
    try:
        with client_of(url) as client:
            response = client.post(url, data=form, headers={"Accept": "application/json"})
    except httpx.HTTPError as error:
        raise _unreachable(url, error) from None
    return response.status_code, _object(response)


def failure(answer: dict[str, Any]) -> str:
    """Return the error of an OAuth response, made safe to print."""
    said = f"{answer.get('error', 'it gave no reason')}"
    description = answer.get("error_description")
    return _shown(f"{said}: {description}" if description else said)


def _get(url: str, headers: dict[str, str] | None = None) -> dict[str, Any]:
    try:
        with client_of(url) as client:
            response = client.get(url, headers={"Accept": "application/json", **(headers or {})})
    except httpx.HTTPError as error:
        raise _unreachable(url, error) from None
    document = _object(response)
    if response.status_code == httpx.codes.UNAUTHORIZED and headers:
        raise LoginError(f"the gateway does not accept the token: {_shown(document.get('detail', ''))}")
    if response.status_code != httpx.codes.OK:
        raise LoginError(f"{url} answered {response.status_code}: {_shown(document.get('detail', ''))}")
    return document


def client_of(url: str, timeout: float = TIMEOUT) -> httpx.Client:
    """Return an HTTP client that sends tokens to *url*; *timeout* is in seconds.

    On loopback it ignores HTTP_PROXY and similar variables: a proxy could read the token, and its loopback is another.
    """
    direct = dict.fromkeys(("http://", "https://", "all://")) if is_loopback(urlsplit(url).hostname or "") else None
    return httpx.Client(timeout=timeout, follow_redirects=False, mounts=direct)


def _unreachable(url: str, error: httpx.HTTPError) -> LoginError:
    return LoginError(f"{url} cannot be reached ({type(error).__name__}); check the URL and the network")


def _object(response: httpx.Response) -> dict[str, Any]:
    try:
        document = response.json() if response.content else {}
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise LoginError(f"{response.url} answered {response.status_code} without a JSON object; check the URL")
    return document


def _shown(text: object) -> str:
    return "".join(c for c in str(text)[:_LONGEST] if c.isprintable())
