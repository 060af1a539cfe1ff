"""``weir login`` and ``weir logout``: log in at a gateway, and log out."""

import sys
import webbrowser
from typing import Annotated

import typer
from rich.console import Console

from weir.base.text import inert
from weir.cli.fail import fail
from weir.cli.whoami import why_none
from weir.login import flows, server, session, store
from weir.login.model import LoginError, Option


def login(
    gateway: Annotated[str, typer.Argument(help="The gateway's URL (default: WEIR_URL, or the latest login's).")] = "",
    issuer: Annotated[str, typer.Option(help="The identity provider, if the gateway offers several.")] = "",
    device: Annotated[bool, typer.Option("--device", help="Type a code on another device.")] = False,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the browser, or only print the URL.")
    ] = True,
) -> None:
    """Log in at a gateway, with the identity provider that it names.

    Your browser returns to a port of this machine (authorization code with PKCE). Without a browser, you type a code on
    another device. The refresh token is stored in the system's keyring, or in a file in WEIR_HOME that only you can
    read.

    [bold]Examples[/]

      weir login https://weir.example

      weir login --device

      weir login https://weir.example --issuer acme
    """
    console = Console(stderr=True, highlight=False)
    url = session.which(gateway)
    option = _choose(server.options(url), issuer)
    console.print(inert(f"Logging in to {url} at {option.issuer}"), markup=False, soft_wrap=True)
    provider = server.provider(option.issuer)
    if not device and not provider.authorization:
        device = True
    if not device and browser and not _has_browser():
        device, browser = bool(provider.device), False
    if device and not provider.device:
        fail(f"{option.issuer} has no device flow; run it without --device", 1)

    def show_url(where: str) -> None:
        if not (browser and webbrowser.open(where)):
            console.print("Open this in a browser on this machine:", markup=False)
        console.print(inert(where), markup=False, soft_wrap=True)

    def show_code(where: str, code: str) -> None:
        text = f"On any device, open {inert(where)} and confirm the code {inert(code)}"
        console.print(text, markup=False, soft_wrap=True)

    with console.status(f"waiting {flows.PATIENCE / 60:.0f} minutes for you to log in (Ctrl-C ends)"):
        if device:
            tokens = flows.device(option, provider, show_code)
        else:
            tokens = flows.authorization_code(option, provider, show_url)
    made = session.login_from(url, option, tokens)
    me = server.whoami(url, made.token)
    with store.locked():
        store.save(made)
    names = ", ".join(connection["name"] for connection in me["connections"]) or f"none, {why_none(me)}"
    console.print(inert(f"Logged in as {me['subject']} ({option.name}); connections: {names}"), markup=False)
    if not made.refresh_token:
        console.print("The provider gave no refresh token: this login ends with its token.", markup=False)


def logout(
    gateway: Annotated[str, typer.Argument(help="The gateway's URL (default: the latest login's).")] = "",
    everywhere: Annotated[bool, typer.Option("--all", help="Log out at every gateway.")] = False,
) -> None:
    """Forget a login, and ask its identity provider to revoke the refresh token.

    [bold]Examples[/]

      weir logout

      weir logout --all
    """
    for url in store.gateways() if everywhere else [session.which(gateway)]:
        with store.locked():
            kept = store.load(url)
            if kept is None:
                fail(f"not logged in at {url}", 1)
            store.forget(url)
        note = ""
        if kept.refresh_token:
            try:
                revocation = server.provider(kept.option.issuer).revocation
                form = {
                    "token": kept.refresh_token,
                    "token_type_hint": "refresh_token",
                    **flows.authenticated(kept.option),
                }
                if not revocation or server.post(revocation, form)[0] != 200:
                    note = "; the provider did not revoke the refresh token"
            except LoginError as error:
                note = f"; the refresh token could not be revoked: {error}"
        print(f"logged out at {url}{note}", file=sys.stderr)


def _choose(options: list[Option], issuer: str) -> Option:
    names = ", ".join(option.name for option in options)
    named = [option for option in options if issuer in ("", option.name, option.issuer)]
    if not named:
        raise LoginError(f"the gateway offers no identity provider {issuer!r}; it offers {names}")
    if len(named) > 1:
        raise LoginError(f"which identity provider? Name one with --issuer: {names}")
    return named[0]


def _has_browser() -> bool:
    try:
        webbrowser.get()
    except webbrowser.Error:
        return False
    return True
