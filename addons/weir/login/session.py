"""Provide the token for a command: the token of the login, refreshed shortly before it expires."""

import os
import time
from dataclasses import replace
from typing import Any

from weir.auth.jws import TokenError, read_jws
from weir.login import store
from weir.login.model import LoginError, Option, gateway_url, seconds
from weir.login.store import Login

#: Seconds before its expiry at which a token is refreshed.
EARLY = 60.0


def which(gateway: str) -> str:
    """Return the URL of *gateway*, else of WEIR_URL, else of the latest login. Raises `LoginError`."""
    given = gateway or os.environ.get("WEIR_URL", "")
    if given:
        return gateway_url(given)
    known = store.gateways()
    if not known:
        if os.environ.get("WEIR_TOKEN"):
            raise LoginError("WEIR_TOKEN is set, but no gateway; set WEIR_URL too, or give the gateway's URL")
        raise LoginError("not logged in; run: weir login https://your-gateway")
    return known[-1]


def login_from(gateway: str, option: Option, tokens: dict[str, Any], refresh_token: str = "") -> Login:
    """Build the login from a token response. Raises `LoginError` if it lacks the token that the gateway requires."""
    token = tokens.get(option.token)
    if not isinstance(token, str):
        raise LoginError(f"the identity provider gave no {option.token}, which the gateway requires")
    return Login(gateway, option, token, _expires(token, tokens), _newest(tokens, refresh_token))


def _newest(tokens: dict[str, Any], refresh_token: str) -> str:
    """Return the refresh token of a token response, or else the earlier *refresh_token*."""
    refreshed = tokens.get("refresh_token")
    return refreshed if isinstance(refreshed, str) else refresh_token


def _refreshed(login: Login) -> Login:
    """Refresh *login* and store it. Call this within `store.locked`. Raises `LoginError`.

    The new refresh token is stored even if the answer has no token for the gateway: the old one may be invalid now.
    """
    from weir.login import flows, server  # noqa: PLC0415  # an HTTP client, for this function alone

    tokens = flows.refresh(login.option, server.provider(login.option.issuer), login.refresh_token)
    missing = not isinstance(tokens.get(login.option.token), str)
    if missing:
        fresh = replace(login, refresh_token=_newest(tokens, login.refresh_token))
    else:
        fresh = login_from(login.gateway, login.option, tokens, login.refresh_token)
    store.save(fresh)
    if missing or fresh.expires <= time.time():
        raise LoginError(
            f"the identity provider renewed the login without a new {login.option.token}, which the gateway requires; "
            f"run: weir login {login.gateway}"
        )
    return fresh


def token(gateway: str) -> str:
    """Return a token for *gateway* that is valid for at least `EARLY` seconds. Raises `LoginError`.

    ``WEIR_TOKEN`` takes precedence over any login. If ``WEIR_URL`` is set too, the token is for that gateway only.
    """
    if given := os.environ.get("WEIR_TOKEN", ""):
        issued_for = os.environ.get("WEIR_URL", "")
        if issued_for and gateway_url(issued_for) != gateway:
            raise LoginError(
                f"WEIR_TOKEN is for {issued_for} (WEIR_URL), not for {gateway}; unset both to use your login"
            )
        return given
    login = store.load(gateway)
    if login is not None and time.time() < login.expires - EARLY:
        return login.token
    with store.locked():
        login = store.load(gateway)  # another process may have refreshed it meanwhile
        if login is None:
            raise LoginError(f"not logged in at {gateway}; run: weir login {gateway}")
        if time.time() < login.expires - EARLY:
            return login.token
        if not login.refresh_token:
            raise LoginError(f"the login at {gateway} has expired; run: weir login {gateway}")
        return _refreshed(login).token


def _expires(token: str, tokens: dict[str, Any]) -> float:
    """Return when *token* expires: by its own claim, else by the response's `expires_in`, else in five minutes."""
    try:
        expires = read_jws(token).claims.get("exp")
    except TokenError:
        expires = None
    if isinstance(expires, int | float) and not isinstance(expires, bool):
        return float(expires)
    return time.time() + seconds(tokens.get("expires_in"), 300.0)
