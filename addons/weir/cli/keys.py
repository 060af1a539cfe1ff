"""``weir keys``: API keys, for callers that cannot get tokens."""

import re
import sys
import time
from typing import Annotated

import typer

from weir.base.duration import seconds
from weir.base.mistakes import SettingError
from weir.cli.fail import fail
from weir.cli.store import open_shared
from weir.cli.table import moment, print_list
from weir.policyset.load import folder_path, load_namespaces
from weir.state.database import NameTaken

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")

_Policies = Annotated[str, typer.Option(help="The policies folder (default: WEIR_POLICIES, or policies).")]

_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?")
_COLUMNS = ("id", "name", "groups", "created", "created_by", "expires", "last_used", "state")


@app.callback()
def keys() -> None:
    """Create, list and revoke API keys. The gateway accepts them if its issuers include [bold]keys[/].

    [bold]Examples[/]

      weir keys create --name ci --group search --expires 90d

      weir keys list
    """


@app.command()
def create(
    name: Annotated[str, typer.Option(help="The user of the key; each name has one key.")],
    group: Annotated[list[str], typer.Option(help="A group of the key, in the form of policies; repeat it.")],
    expires: Annotated[str, typer.Option(help="How long it is valid: 12h, 90d; or never.")] = "90d",
    policies: _Policies = "",
) -> None:
    """Create a key and print it. The key is shown only once: the gateway stores its digest.

    [bold]Examples[/]

      weir keys create --name ci --group search --expires 90d

      weir keys create --name nightly --group acme/search --group acme/ml --expires never
    """
    if not _NAME.fullmatch(name):
        fail(f"{name!r} is not a name; use at most 64 lower-case letters, digits, '.', '-' and '_'")
    now = time.time()
    try:
        ends = None if expires == "never" else now + seconds(expires)
        namespaces = load_namespaces(folder_path(policies))
        groups = tuple(dict.fromkeys(namespaces.resolve(g) for g in group))
    except (ValueError, SettingError) as error:
        fail(str(error))
    if not namespaces.keys:
        print("weir: note: gateway.yaml does not accept API keys; add `- keys` to its issuers", file=sys.stderr)
    database = open_shared(policies)
    try:
        key, text = database.create_key(name, groups, ends, now)
    except NameTaken:
        fail(f"there is a key named {name!r} already; revoke it first: weir keys revoke {name}")
    finally:
        database.close()
    until = f"until {moment(ends)}" if ends else "without end"
    print(f"weir: key {key.id} for {name} in {', '.join(groups)}, {until}; it is not shown again:", file=sys.stderr)
    print(text)


@app.command("list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array of objects.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Include revoked and expired keys.")] = False,
    policies: _Policies = "",
) -> None:
    """List the keys, without their secrets. Times are UTC; the last use is accurate to some seconds.

    [bold]Examples[/]

      weir keys list

      weir keys list --all --json
    """
    database = open_shared(policies)
    now = time.time()
    rows = []
    for key in database.list_keys():
        state = "revoked" if key.revoked else "expired" if key.expires and key.expires <= now else "active"
        if everything or state == "active":
            times = (moment(key.created), key.created_by, moment(key.expires), moment(key.last_used))
            rows.append((key.id, key.name, list(key.groups), *times, state))
    database.close()
    print_list(_COLUMNS, rows, as_json=as_json)


@app.command()
def revoke(name: Annotated[str, typer.Argument(help="The key's name or id.")], policies: _Policies = "") -> None:
    """Revoke a key. Every worker refuses it within a second, also for requests in progress.

    [bold]Examples[/]

      weir keys revoke ci
    """
    revoke_key(name, policies)


def revoke_key(name: str, policies: str) -> None:
    """Revoke the key with that *name* or id, and print it. ``weir revoke key`` calls it too."""
    database = open_shared(policies)
    count = database.revoke_key(name, time.time())
    database.close()
    if not count:
        fail(f"there is no active key {name!r}; see: weir keys list", 1)
    print(f"revoked the key {name}", file=sys.stderr)
