"""``weir access``: temporary access to a connection, requested and approved like other approvals."""

import json
import time
from typing import Annotated, Any

import typer
from rich.console import Console

from weir.base.duration import seconds
from weir.cli import approvals
from weir.cli.approvals import Admin, ApprovalId, AsJson
from weir.cli.desk import AdminApi
from weir.cli.fail import fail
from weir.cli.table import moment, print_list

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")


@app.callback()
def access() -> None:
    """Request temporary access to a connection. Its reviewers decide with [bold]weir approvals[/].

    [bold]Examples[/]

      weir access request --connection reranker --for 1h --reason "debugging rankings"

      weir access list
    """


@app.command()
def request(
    connection: Annotated[str, typer.Option(help="The name of the connection.", show_default=False)],
    reason: Annotated[str, typer.Option(help="Why you need it; reviewers see this.", show_default=False)],
    for_: Annotated[str, typer.Option("--for", help="How long the access lasts: 30m, 1h.")] = "1h",
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the decision.")] = False,
    admin: Admin = "",
    as_json: AsJson = False,
) -> None:
    """Request access. It begins with the approval, and ends after the time that you name.

    [bold]Examples[/]

      weir access request --connection reranker --for 1h --reason "debugging rankings" --wait
    """
    try:
        length = seconds(for_)
    except ValueError as error:
        fail(str(error))
    api = AdminApi(admin)
    asked = api.post("/v1/access", {"connection": connection, "seconds": length, "reason": reason})
    if wait:
        asked = _decided(api, asked)
    if as_json:
        print(json.dumps(asked, indent=1))
    elif asked["state"] == "approved":
        print(f"you may use {connection} until {moment(asked['until'])}")
    elif asked["state"] == "pending":
        print(f"requested; it needs {asked['missing']}. See: weir access list")
    if asked["state"] not in ("pending", "approved"):
        why = "; ".join(vote["reason"] for vote in asked["votes"] if not vote["yes"])
        fail(f"{asked['state']}{f': {why}' if why else ''}", 1)


@app.command("list")
def list_(admin: Admin = "", as_json: AsJson = False) -> None:
    """List access windows: your own, and those you may approve.

    [bold]Examples[/]

      weir access list --json
    """
    found = [a for a in AdminApi(admin).get("/v1/approvals")["approvals"] if a["kind"] == "access"]
    if as_json:
        print(json.dumps(found, indent=1))
        return
    rows = [
        (a["id"][-8:], _state(a), f"{a['requester']['issuer']}/{a['requester']['sub']}", a["connection"],
         moment(a["since"] or None), moment(a["until"] or None), a["reason"])
        for a in found
    ]  # fmt: skip
    print_list(("id", "state", "who", "connection", "since", "until", "reason"), rows, as_json=False)


@app.command()
def revoke(approval_id: ApprovalId, admin: Admin = "", as_json: AsJson = False) -> None:
    """End an access window: your own, or one you may approve.

    [bold]Examples[/]

      weir access revoke 8c1d3f
    """
    approvals.revoke(approval_id, admin, as_json)


def _decided(api: AdminApi, asked: dict[str, Any]) -> dict[str, Any]:
    """Wait while *asked* is pending, and return its new state."""
    with Console(stderr=True).status(f"waiting for {asked['missing']} (Ctrl-C ends the command, not the request)"):
        cursor = asked["changed"]
        while asked["state"] == "pending":
            answer = api.get("/v1/approvals", after=cursor, wait=30)
            cursor = answer["cursor"]
            asked = next((a for a in answer["approvals"] if a["id"] == asked["id"]), asked)
            if time.time() > asked["expires"]:
                break
    return asked


def _state(approval: dict[str, Any]) -> str:
    ended = approval["state"] == "approved" and time.time() >= approval["until"]
    return "ended" if ended else str(approval["state"])
