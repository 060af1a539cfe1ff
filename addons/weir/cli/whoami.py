"""``weir whoami``: show how the gateway identifies you."""

import json
from typing import Annotated, Any

import typer

from weir.base.text import inert
from weir.cli.table import moment, print_table
from weir.login import server, session


def whoami(
    gateway: Annotated[str, typer.Option(help="The gateway's URL (default: WEIR_URL, or the latest login's).")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the gateway's answer as it is.")] = False,
) -> None:
    """Show how the gateway identifies you: issuer, subject, groups, expiry, and the connections you may use.

    Uses your login, or WEIR_TOKEN if it is set.

    [bold]Examples[/]

      weir whoami

      WEIR_TOKEN=$(weir token --user alice --group search) weir whoami --gateway http://127.0.0.1:8080 --json
    """
    url = session.which(gateway)
    me = server.whoami(url, session.token(url))
    if as_json:
        print(json.dumps(me, indent=1))
        return
    groups = ", ".join(me["groups"]) or me["groups_unknown"] or "none"
    for name, value in (
        ("gateway", url),
        ("issuer", f"{me['issuer']} ({me['iss']})"),
        ("subject", me["subject"]),
        ("groups", groups),
        ("expires", moment(me["expires"]) or "never"),
    ):
        print(f"{name:8}  {inert(str(value))}")
    if not me["connections"]:
        print(f"no connection, {why_none(me)}")
        return
    rows = [(c["name"], c["profile"], c["url"], _because(c)) for c in me["connections"]]
    print_table(("connection", "profile", "url", "because"), rows)
    for name in me.get("on_request", ()):
        print(inert(f"you may ask for {name}: weir access request --connection {name} --for 1h --reason …"))


def _because(connection: dict[str, Any]) -> str:
    """Return the reason for the access, and its end."""
    if connection["by_groups"]:
        return "you are in " + ", ".join(connection["by_groups"])
    return f"{connection['given_by']} gave you access until {moment(connection['until'])}"


def why_none(me: dict[str, Any]) -> str:
    """Return the reason why *me* may use no connection."""
    if me["groups_unknown"]:
        return f"because your groups are unknown: {inert(str(me['groups_unknown']))}"
    return (
        f"because no connection's `access` names {'any of your groups' if me['groups'] else 'you: you are in no group'}"
    )
