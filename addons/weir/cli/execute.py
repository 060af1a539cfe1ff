"""``weir exec``: a command whose SDKs find the gateway and the login by themselves."""

import os
import re
import sys
from typing import Annotated, Any

import typer

from weir.cli.fail import fail
from weir.config.problems import SettingError
from weir.login import server, session
from weir.profiles.profile import load_profile

_PATH = re.compile(r"(?:/[A-Za-z0-9._~%-]+)*")


def execute(
    command: Annotated[list[str], typer.Argument(help="The command, after --.")],
    connection: Annotated[str, typer.Option(help="Only this connection's variables.")] = "",
    gateway: Annotated[str, typer.Option(help="The gateway's URL (default: WEIR_URL, or the latest login's).")] = "",
) -> None:
    """Run a command with the variables that common SDKs read: each reachable connection's base URL, and your token.

    WEIR_URL and WEIR_TOKEN are set too. The token is not renewed while the command runs.

    [bold]Examples[/]

      weir exec -- python search.py

      weir exec --connection reranker -- env
    """
    url = session.which(gateway)
    token = session.token(url)
    connections = server.whoami(url, token)["connections"]
    if connection:
        chosen = [c for c in connections if c["name"] == connection]
        if not chosen:
            fail(f"you may not use {connection!r}; reachable: {', '.join(c['name'] for c in connections) or 'none'}", 1)
        connections = chosen
    environment = {**os.environ, **variables(url, connections, token), "WEIR_URL": url, "WEIR_TOKEN": token}
    try:
        os.execvpe(command[0], command, environment)  # noqa: S606
    except OSError as error:
        print(f"weir: {command[0]}: {error.strerror}", file=sys.stderr)
        sys.exit(127 if isinstance(error, FileNotFoundError) else 126)


def variables(gateway: str, connections: list[dict[str, Any]], token: str) -> dict[str, str]:
    """The variables for *connections* of *gateway*; ends the command where two would set one differently.

    The gateway says which connections there are and where; which variables their APIs' SDKs read is ours to
    know: what a gateway sends becomes part of an environment, in which some names run commands.
    """
    found: dict[str, str] = {}
    owner: dict[str, str] = {}
    for c in connections:
        url = str(c["url"])
        if not (url.startswith(gateway) and _PATH.fullmatch(url.removeprefix(gateway))):
            fail(f"the gateway names an address that is not below its own: {url}", 1)
        try:
            profile = load_profile(str(c["profile"]))
        except SettingError:
            continue  # a newer gateway's; WEIR_URL and WEIR_TOKEN are there
        values = {**dict.fromkeys(profile.base_url_variables, url), **dict.fromkeys(profile.token_variables, token)}
        for name, value in values.items():
            if found.setdefault(name, value) != value:
                fail(f"both {owner[name]} and {c['name']} would set {name}; choose with --connection")
            owner.setdefault(name, c["name"])
    return found
