"""What a person's machine asks over HTTP: the gateway how to log in, and its identity provider for tokens.

https only, but for loopback; redirects are never followed. Every mistake is a `LoginError` whose text says
what to do, and holds no token.
"""

from typing import Any
from urllib.parse import urlsplit

import httpx
import msgspec

from weir.auth.urls import check_url, discovery_url
from weir.base.wellknown import PROTECTED_RESOURCE, WHOAMI
from weir.login.model import LoginError, Option, Provider
from weir.routing.model import is_loopback

TIMEOUT = 15.0
_LONGEST = 200


def options(gateway: str) -> list[Option]:
    """The ways to log in that the gateway at *gateway* offers (RFC 9728). Raises `LoginError`."""
    parts = urlsplit(gateway)
    document = _get(f"{parts.scheme}://{parts.netloc}{PROTECTED_RESOURCE}{parts.path}")
    if document.get("resource") != gateway:
        raise LoginError(f"the gateway calls itself {_shown(document.get('resource'))}; log in with that URL")
    try:
        found = msgspec.convert(document.get("weir_login", []), list[Option])
    except msgspec.ValidationError:
        raise LoginError("the gateway's metadata cannot be read; is it a Weir of this version?") from None
    if not found:
        raise LoginError("the gateway names no way to log in; its operator adds `login:` to an issuer in gateway.yaml")
    return found


def provider(issuer: str) -> Provider:
    """The endpoints of *issuer* (OpenID Connect Discovery). Raises `LoginError`."""
    try:
        check_url(issuer)
    except ValueError:
        raise LoginError(f"the gateway names an identity provider that is not https: {_shown(issuer)}") from None
    document = _get(discovery_url(issuer))
    if document.get("issuer") != issuer:
        raise LoginError(f"the discovery document of {issuer} is another issuer's")
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
    """Who the gateway takes the holder of *token* for. Raises `LoginError`."""
    parts = urlsplit(gateway)
    return _get(f"{parts.scheme}://{parts.netloc}{WHOAMI}", {"Authorization": f"Bearer {token}"})


def post(url: str, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
    """The status and JSON answer to *form*. Raises `LoginError` where there is none."""
    try:
        with client_of(url) as client:
            response = client.post(url, data=form, headers={"Accept": "application/json"})
    except httpx.HTTPError as error:
        raise _unreachable(url, error) from None
    return response.status_code, _object(response)


def failure(answer: dict[str, Any]) -> str:
    """What an OAuth error response says, made safe to print."""
    said = f"{answer.get('error', 'it answered without a reason')}"
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
    """A client that sends tokens to *url*; *timeout* is in seconds.

    On loopback it ignores HTTP_PROXY and its like: a proxy would read the token, and has another loopback.
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
        raise LoginError(f"{response.url} answered {response.status_code} and no JSON object; is the URL right?")
    return document


def _shown(text: object) -> str:
    return "".join(c for c in str(text)[:_LONGEST] if c.isprintable())
