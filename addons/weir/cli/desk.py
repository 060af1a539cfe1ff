"""Call the API of ``weir admin``: find its URL and the token, and report its errors."""

import os
from typing import Any
from urllib.parse import urlsplit

import httpx

from weir.base.mistakes import ConfigError
from weir.cli.fail import fail
from weir.config.load import load_folder
from weir.login import server, session
from weir.login.model import LoginError, gateway_url
from weir.policyset.load import folder_path
from weir.routing.model import is_loopback

DEFAULT = "http://127.0.0.1:8081"
TIMEOUT = 40.0


class AdminApi:
    """The API of one admin process, for one person. A refused call ends the command."""

    def __init__(self, admin: str) -> None:
        """Use the URL *admin*, else WEIR_ADMIN_URL, else the one from the gateway of WEIR_URL or of the latest login.

        Without these, use the URL in the policies folder, or else the default of this machine.
        """
        self._token, gateway = _token()
        url = admin or os.environ.get("WEIR_ADMIN_URL", "")
        if not url and gateway:
            url = server.whoami(gateway, self._token).get("admin_url") or ""
            if not url:
                fail(
                    f"{gateway} does not name its admin; name the admin's URL with --admin, or ask the gateway's "
                    "operator to set `admin: {url: …}` in gateway.yaml",
                    1,
                )
        self.url = gateway_url(url or _of_policies() or DEFAULT)

    def get(self, path: str, **parameters: str | int) -> Any:
        """Return the document at *path*."""
        return self._ask("GET", path, params=parameters)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Send *body* to *path*, and return the answer."""
        return self._ask("POST", path, json=body)

    def _ask(self, method: str, path: str, **how: Any) -> Any:
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
        try:
            with server.client_of(self.url, TIMEOUT) as client:
                response = client.request(method, f"{self.url}{path}", headers=headers, **how)
            document = response.json()
        except httpx.HTTPError as error:
            name = type(error).__name__
            fail(f"{self.url} cannot be reached ({name}); start `weir admin`, or name it with --admin", 1)
        except ValueError:
            fail(f"{self.url} answered {response.status_code} and no JSON; is it a Weir admin?", 1)
        if response.status_code != httpx.codes.OK:
            fail(str(document.get("detail", response.status_code)), 1)
        return document


def _of_policies() -> str:
    """Return the admin's URL from gateway.yaml of the policies folder, or an empty text.

    Ends the command if the URL is not on this machine: a policies folder in the current folder must not choose where
    the caller's token goes.
    """
    try:
        settings = load_folder(folder_path()).gateway.settings.admin
    except ConfigError:
        return ""
    listen = settings.listen
    url = settings.url or (listen if isinstance(listen, str) else listen.url)
    if not is_loopback(urlsplit(url).hostname or ""):
        fail(f"the policies folder says {url}; name it with --admin or WEIR_ADMIN_URL to send your token there", 1)
    return url


def _token() -> tuple[str, str]:
    """Return the token, and the gateway that it is for; empty if that is unknown."""
    given = os.environ.get("WEIR_TOKEN", "")
    try:
        gateway = session.which("")
    except LoginError:
        if not given:
            raise LoginError(
                "you are not logged in; run: weir login https://your-gateway. For development, set WEIR_TOKEN to the "
                "output of `weir token --user NAME --group GROUP`"
            ) from None
        return given, ""
    return session.token(gateway), gateway
