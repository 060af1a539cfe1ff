"""``weir approvals``: list, watch and decide approvals."""

import json
import time
from typing import Annotated, Any

import typer
from rich.console import Console

from weir.base.duration import duration
from weir.base.text import inert
from weir.cli.desk import AdminApi
from weir.cli.table import moment, print_list

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")

Admin = Annotated[
    str, typer.Option(help="The admin's URL (default: WEIR_ADMIN_URL, or from your gateway, or this machine's).")
]
ApprovalId = Annotated[str, typer.Argument(help="The approval's id, or its last characters.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Reason = Annotated[str, typer.Option(help="Why; the caller sees it, and it is recorded.")]

_COLUMNS = ("id", "state", "asked", "who", "connection", "operation", "documents", "rules", "still needs")


@app.callback()
def approvals() -> None:
    """List and decide approvals. Uses your login, or WEIR_TOKEN.

    [bold]Examples[/]

      weir approvals list

      weir approvals show 8c1d3f

      weir approvals approve 8c1d3f --reason "known batch job"

      weir approvals deny 8c1d3f --reason "ask for fewer documents"
    """


@app.command("list")
def list_(
    state: Annotated[
        str,
        typer.Option(help="The state: pending, approved, used, denied, withdrawn, expired, void, revoked; or all."),
    ] = "pending",
    admin: Admin = "",
    as_json: AsJson = False,
) -> None:
    """List the approvals that you may decide or have requested.

    [bold]Examples[/]

      weir approvals list

      weir approvals list --state all --json
    """
    found = AdminApi(admin).get("/v1/approvals", **({} if state == "all" else {"state": state}))["approvals"]
    if as_json:
        print(json.dumps(found, indent=1))
    else:
        print_list(_COLUMNS, [_row(a) for a in found], as_json=False)
        if found:
            print("to see one: weir approvals show ID")


@app.command()
def watch(
    admin: Admin = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False,
) -> None:
    """Print approvals when they are requested and decided, until Ctrl-C.

    [bold]Examples[/]

      weir approvals watch

      weir approvals watch --json | jq -r .url
    """
    api = AdminApi(admin)
    console = Console(stderr=True)
    console.print(f"watching {api.url}", markup=False)
    first = api.get("/v1/approvals", state="pending")
    found, cursor = first["approvals"], first["cursor"]
    while True:
        for approval in found:
            if as_json:
                print(json.dumps(approval), flush=True)
            else:
                said = [f"by {v['by']['issuer']}/{v['by']['sub']}: {v['reason']}" for v in approval["votes"]]
                print(inert("  ".join(str(v) for v in (*_row(approval), *said) if v not in (None, "", []))), flush=True)
        with console.status("waiting for approvals (Ctrl-C ends)"):
            try:
                answer = api.get("/v1/approvals", after=cursor, wait=30)
            except KeyboardInterrupt:
                return
        found, cursor = answer["approvals"], answer["cursor"]


@app.command()
def show(
    approval_id: ApprovalId,
    changes: Annotated[
        bool, typer.Option("--changes/--no-changes", help="Ask the service what a write would change.")
    ] = True,
    admin: Admin = "",
    as_json: AsJson = False,
) -> None:
    """Show one approval: the caller, the request, the rules that require it, and what a write would change.

    [bold]Examples[/]

      weir approvals show 8c1d3f
    """
    found = AdminApi(admin).get(f"/v1/approvals/{approval_id}", changes="true" if changes else "false")
    if as_json:
        print(json.dumps(found, indent=1))
        return
    for line in describe(found):
        print(inert(line))


@app.command()
def approve(
    approval_id: ApprovalId,
    reason: _Reason = "",
    break_glass: Annotated[
        bool, typer.Option("--break-glass", help="Approve alone in an emergency, if you may; it is flagged everywhere.")
    ] = False,
    admin: Admin = "",
    as_json: AsJson = False,
) -> None:
    """Approve a request.

    [bold]Examples[/]

      weir approvals approve 8c1d3f --reason "known batch job"

      weir approvals approve 8c1d3f --break-glass --reason "incident 42"
    """
    _decide("approve", approval_id, {"reason": reason, "break_glass": break_glass}, admin, as_json=as_json)


@app.command()
def deny(
    approval_id: ApprovalId,
    reason: Annotated[str, typer.Option(help="Why; the caller sees it, and it is recorded.", show_default=False)],
    admin: Admin = "",
    as_json: AsJson = False,
) -> None:
    """Deny a request, with a reason.

    [bold]Examples[/]

      weir approvals deny 8c1d3f --reason "ask for fewer documents"
    """
    _decide("deny", approval_id, {"reason": reason}, admin, as_json=as_json)


@app.command()
def revoke(approval_id: ApprovalId, admin: Admin = "", as_json: AsJson = False) -> None:
    """End an access window, or the reuse of an approval.

    [bold]Examples[/]

      weir approvals revoke 8c1d3f
    """
    _decide("revoke", approval_id, {}, admin, as_json=as_json)


def _decide(what: str, approval_id: str, body: dict[str, Any], admin: str, *, as_json: bool) -> None:
    api = AdminApi(admin)
    found = api.get(f"/v1/approvals/{approval_id}")
    after = api.post(f"/v1/approvals/{found['id']}/{what}", body)
    if as_json:
        print(json.dumps(after, indent=1))
        return
    missing = f"; it still needs {after['missing']}" if after["missing"] else ""
    print(inert(f"{after['id']} is {after['state']}{missing}"))


def _row(approval: dict[str, Any]) -> tuple[Any, ...]:
    shown, who = approval["shown"], approval["requester"]
    rules = ", ".join(demand["rule"] for demand in approval["demands"])
    return (
        approval["id"][-8:], approval["state"], moment(approval["asked"]), f"{who['issuer']}/{who['sub']}",
        approval["connection"], shown["operation"], shown["documents"], rules, approval["missing"],
    )  # fmt: skip


def describe(approval: dict[str, Any]) -> list[str]:
    """Return lines that describe *approval*, a document of the API, to a reviewer."""
    shown, who = approval["shown"], approval["requester"]
    lines = [f"approval   {approval['id']}  {approval['state']}{', the caller waits' if approval['waits'] else ''}"]

    def say(name: str, value: Any) -> None:
        if value not in (None, "", [], ()):
            lines.append(f"{name:9}  {', '.join(map(str, value)) if isinstance(value, list | tuple) else value}")

    say("who", f"{who['issuer']}/{who['sub']}, in {', '.join(who['groups']) or 'no group'}")
    say("asks for", f"{shown['operation']} on {approval['connection']}  {shown['method']} {shown['path']}".rstrip())
    if approval["kind"] == "access":
        say("for", duration(approval["seconds"]))
    say("with", shown["parameters"])
    say("because", approval["reason"])
    for demand in approval["demands"]:
        say("rule", f"{demand['rule']}: {demand['message']}" if demand["message"] else demand["rule"])
    for covers in approval["covers"]:
        length, same = duration(covers["seconds"]), ", ".join(covers["same"])
        say("reuse", f"an approval covers the caller's later requests that match {covers['rule']} for {length}"
                     f"{f', with the same {same}' if same else ''}")  # fmt: skip
    if approval["until"] and approval["state"] in ("approved", "used"):
        say("until", f"{moment(approval['until'])}; end it with: weir approvals revoke {approval['id'][-8:]}")
    say("asked", f"{moment(approval['asked'])} ({_ago(time.time() - approval['asked'])} ago)")
    say("expires", moment(approval["expires"]))
    say("needs", approval["missing"])
    say("model", shown["model"])
    say("indexes", shown["indexes"])
    for text in shown["query"]:
        say("query", text)
    if shown["documents"] is not None:
        say("documents", str(shown["documents"]))
    lines += [f"  {number}. {text}" for number, text in enumerate(shown["first_documents"], 1)]
    say("body", shown["body"])
    if shown["status"] is not None:
        say("answer", f"{shown['status']}, {shown['results']} results" if shown["results"] else shown["status"])
    for result in shown["ranking"]:
        score = "" if result["score"] is None else f"{result['score']:.3f}  "
        lines.append(f"  {result['rank']:3}. {score}{_moved(result)}  {result['text']}")
    say("response", shown["response"])
    if approval.get("changes") is not None:
        lines.append(f"changes    {len(approval['changes']) or 'none'}")
        for change in approval["changes"]:
            before, after = change["before"], change["after"]
            lines.append(f"  {change['path']}")
            lines += [f"    - {before}"] if before is not None else []
            lines += [f"    + {after}"] if after is not None else []
    if approval.get("changes_unknown") and shown["operation"] in ("write", "admin"):
        say("changes", f"not known: {approval['changes_unknown']}")
    for text in shown["cut"]:
        say("cut", text)
    for vote in approval["votes"]:
        said = "approved alone (break glass)" if vote["break_glass"] else "approved" if vote["yes"] else "denied"
        by = f"{vote['by']['issuer']}/{vote['by']['sub']}"
        lines.append(f"{by} {said} at {moment(vote['at'])}" + (f": {vote['reason']}" if vote["reason"] else ""))
    if approval["you_may_decide"]:
        last = approval["id"][-8:]
        lines.append(f"decide: weir approvals approve {last} | weir approvals deny {last} --reason …")
    return lines


def _moved(result: dict[str, Any]) -> str:
    """Return how far a document moved from its place in the request."""
    if result["index"] is None:
        return ""
    moved = result["index"] + 1 - result["rank"]
    return (
        f"document {result['index'] + 1} ({f'up {moved}' if moved > 0 else f'down {-moved}' if moved else 'unmoved'})"
    )


def _ago(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
