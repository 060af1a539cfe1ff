"""``weir revoke``: refuse tokens, subjects, sessions and keys from now on."""

import sys
import time
from typing import Annotated

import typer

from weir.auth.local import ISSUER as LOCAL_ISSUER
from weir.cli import keys
from weir.cli.fail import fail
from weir.cli.store import open_shared
from weir.cli.table import moment, print_list
from weir.policyset.load import folder_path, load_namespaces
from weir.state.model import KEYS_NAME, RevocationKind

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")

_Issuer = Annotated[str, typer.Option(help="The issuer's name in gateway.yaml (default: the only one).")]
_Policies = Annotated[str, typer.Option(help="The policies folder (default: WEIR_POLICIES, or policies).")]
_Reason = Annotated[str, typer.Option(help="Why; stored with the revocation.")]


@app.callback()
def revoke() -> None:
    """Refuse tokens from now on, on every worker within a second, also for requests in progress.

    [bold]Examples[/]

      weir revoke subject alice --issuer acme --reason "laptop stolen"

      weir revoke list
    """


#: Ids may begin with a dash.
_ANY_ID = {"ignore_unknown_options": True}


@app.command(context_settings=_ANY_ID)
def jti(
    token_id: Annotated[str, typer.Argument(help="The token's `jti` (token_id in the recordings).")],
    issuer: _Issuer = "",
    reason: _Reason = "",
    policies: _Policies = "",
) -> None:
    """Revoke one token by its id.

    [bold]Examples[/]

      weir revoke jti 3f1c0c7e --issuer acme --reason "posted in a chat"
    """
    _revoke("jti", issuer_named(issuer, policies), token_id, reason, policies)


@app.command(context_settings=_ANY_ID)
def subject(
    sub: Annotated[str, typer.Argument(help="The subject (`sub`; user in the recordings).")],
    issuer: _Issuer = "",
    block: Annotated[
        bool, typer.Option("--block", help="Also refuse tokens that are issued later, until lifted.")
    ] = False,
    reason: _Reason = "",
    policies: _Policies = "",
) -> None:
    """Revoke every token that was issued to a subject until now.

    Clocks differ, so tokens issued within the issuer's leeway (30 s) after that are refused too. Log in again later.

    [bold]Examples[/]

      weir revoke subject alice --reason "laptop stolen"

      weir revoke subject mallory --issuer acme --block
    """
    _revoke("subject", issuer_named(issuer, policies), sub, reason, policies, block=block)


@app.command(context_settings=_ANY_ID)
def session(
    session_id: Annotated[str, typer.Argument(help="The provider's `sid`, or a session_id of the recordings.")],
    reason: _Reason = "",
    policies: _Policies = "",
) -> None:
    """Revoke a session of the provider (`sid` in its tokens) or of the recordings (session_id).

    Callers name the sessions of the recordings, and can begin another one: to stop a caller, revoke the subject.

    [bold]Examples[/]

      weir revoke session 019fa1c2-7a51-7cc3-b1b5-3f8d9a1f0c11
    """
    _revoke("session", "", session_id, reason, policies)


@app.command()
def key(name: Annotated[str, typer.Argument(help="The key's name or id.")], policies: _Policies = "") -> None:
    """Revoke an API key; the same as [bold]weir keys revoke[/].

    [bold]Examples[/]

      weir revoke key ci
    """
    keys.revoke_key(name, policies)


@app.command("list")
def list_(
    policies: _Policies = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array of objects.")] = False,
) -> None:
    """List the revocations. For API keys, use [bold]weir keys list --all[/].

    [bold]Examples[/]

      weir revoke list --json
    """
    database = open_shared(policies)
    rows = [(r.id, r.kind, r.iss or None, r.value, r.block, moment(r.at), r.by, r.reason or None)
            for r in database.revocations()]  # fmt: skip
    database.close()
    print_list(("number", "kind", "iss", "value", "block", "at", "by", "reason"), rows, as_json=as_json)


@app.command()
def lift(
    number: Annotated[int, typer.Argument(help="The revocation's number in the list.")], policies: _Policies = ""
) -> None:
    """Undo a revocation.

    [bold]Examples[/]

      weir revoke lift 3
    """
    database = open_shared(policies)
    lifted = database.lift(number)
    database.close()
    if not lifted:
        fail(f"there is no revocation {number}; see: weir revoke list", 1)
    print(f"lifted revocation {number}", file=sys.stderr)


def issuer_named(issuer: str, policies: str) -> str:
    """Return the `iss` of the issuer with that name in gateway.yaml."""
    known = dict(load_namespaces(folder_path(policies)).by_name)
    if not issuer:
        if len(known) != 1:
            fail(f"name the issuer with --issuer: {', '.join(known)}")
        return next(iter(known.values()))
    if issuer == KEYS_NAME:
        fail("an API key is revoked by its name: weir keys revoke NAME")
    known.setdefault("local", LOCAL_ISSUER)
    if issuer not in known:
        fail(f"there is no issuer {issuer!r}; there are {', '.join(known)}")
    return known[issuer]


def _revoke(kind: RevocationKind, iss: str, value: str, reason: str, policies: str, *, block: bool = False) -> None:
    if not value or not value.isprintable() or value != value.strip():
        fail(f"{value!r} is not an id: it is empty, or has white space or control characters")
    database = open_shared(policies)
    revocation = database.revoke(kind, iss, value, time.time(), block=block, reason=reason)
    database.close()
    print(
        f"revoked {kind} {value}; undo it with: weir revoke lift {revocation.id}",
        file=sys.stderr,
    )
