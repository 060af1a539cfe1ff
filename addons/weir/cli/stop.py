"""``weir stop``, ``weir start`` and ``weir status``: the emergency stop."""

import json
import shlex
import time
from pathlib import Path
from typing import Annotated

import typer

from weir.base.home import operator_name
from weir.base.mistakes import ConfigError
from weir.base.text import inert
from weir.cli.fail import fail
from weir.cli.revoke import issuer_named
from weir.cli.store import open_shared
from weir.cli.table import moment, print_list
from weir.config.load import load_folder
from weir.policyset.load import folder_path
from weir.recorder import events
from weir.recorder.folder import Recordings
from weir.recorder.worker import running
from weir.state.model import StopScope

_Connection = Annotated[str, typer.Option(help="The name of a connection.")]
_User = Annotated[str, typer.Option(help="A subject (`sub`; user in the recordings).")]
_Session = Annotated[str, typer.Option(help="The provider's `sid`, or a session_id of the recordings.")]
_All = Annotated[bool, typer.Option("--all", help="Everything.")]
_Issuer = Annotated[
    str, typer.Option(help="The subject's issuer: a name in gateway.yaml (default: the only one), or an `iss`.")
]
_Policies = Annotated[str, typer.Option(help="The policies folder (default: WEIR_POLICIES, or policies).")]


def stop(
    reason: Annotated[str, typer.Option(help="Why; callers see it.", show_default=False)],
    connection: _Connection = "",
    user: _User = "",
    session: _Session = "",
    everything: _All = False,
    issuer: _Issuer = "",
    policies: _Policies = "",
) -> None:
    """Refuse requests of a connection, user or session, on every worker within a second; end those in progress.

    [bold]Examples[/]

      weir stop --connection reranker --reason "rankings are wrong since 14:00"

      weir stop --user alice --reason "runaway job"

      weir stop --all --reason "incident 42"
    """
    if not reason.strip():
        fail("--reason is empty; say why, callers see it")
    scope, iss, value = _what(connection, user, session, everything, issuer, policies)
    database = open_shared(policies)
    database.stop(scope, iss, value, time.time(), reason)
    database.close()
    _tell(policies, "stop", _shown(scope, value), reason)
    print(f"stopped {_shown(scope, value)}; undo it with: weir start {_option(scope, value)}")


def start(
    connection: _Connection = "",
    user: _User = "",
    session: _Session = "",
    everything: _All = False,
    issuer: _Issuer = "",
    policies: _Policies = "",
) -> None:
    """Undo a stop. Requests that several stops cover pass after all of them are undone.

    [bold]Examples[/]

      weir start --connection reranker

      weir start --all
    """
    database = open_shared(policies)
    if user and not issuer:  # the issuer of the stop, which may no longer be configured
        isses = {s.iss for s in database.stops() if s.scope == "user" and s.value == user}
        issuer = next(iter(isses)) if len(isses) == 1 else issuer
    scope, iss, value = _what(connection, user, session, everything, issuer, policies, existing=True)
    count = database.start(scope, iss, value)
    database.close()
    if not count:
        fail(f"{_shown(scope, value)} is not stopped; see: weir status", 1)
    _tell(policies, "start", _shown(scope, value), "")
    print(f"started {_shown(scope, value)}")


def status(
    policies: _Policies = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
) -> None:
    """Show the workers with their policies, the stops, and notifications that could not be sent.

    [bold]Examples[/]

      weir status

      weir status --json
    """
    workers = [_worker(root, worker) for root in _recordings(policies) for worker in running(root)]
    database = open_shared(policies)
    dead = [
        {"hook": x.hook, "event": x.event, "approval": x.approval, "tries": x.attempts, "error": x.error}
        for x in database.dead_letters()
    ]
    stops = [(s.scope, s.value or None, s.iss or None, moment(s.at), s.by, s.reason) for s in database.stops()]
    database.close()
    names = ("stopped", "name", "iss", "since", "by", "reason")
    if as_json:
        rows = [dict(zip(names, stop, strict=True)) for stop in stops]
        print(json.dumps({"workers": workers, "stops": rows, "dead_letters": dead}, indent=1))
        return
    for worker in workers:
        print(inert(f"{worker['worker']} runs policies {worker['policies'][:12]} since {worker['since']}"))
        if worker["refused"]:
            print(inert(f"  a reload was refused, so the files differ from these policies: {worker['refused']}"))
    if not workers:
        print("no worker is running with these recordings")
    for letter in dead:
        what = f"{letter['hook']} did not receive {letter['event']} {letter['approval']}"
        print(inert(f"{what}, after {letter['tries']} tries: {letter['error']}"))
    if stops:
        print_list(names, stops, as_json=False)
    else:
        print("nothing is stopped")


def _worker(root: Path, worker: str) -> dict[str, str]:
    current = events.last(root, worker, frozenset(("gateway_ready", "reload")))
    refused = events.last(root, worker, frozenset(("gateway_ready", "reload", "reload_refused")))
    broken = refused is not None and refused.kind == "reload_refused"
    return {
        "worker": worker,
        "policies": current.new if current else "?",
        "since": current.time[:19] + "Z" if current else "?",
        "refused": refused.message.splitlines()[0] if refused is not None and broken else "",
    }


def _recordings(policies: str) -> list[Path]:
    """Return the recordings folder; nothing if the configuration cannot be read."""
    try:
        return [Path(load_folder(folder_path(policies)).gateway.settings.recordings)]
    except ConfigError:
        return []


def _what(
    connection: str, user: str, session: str, everything: bool, issuer: str, policies: str, *, existing: bool = False
) -> tuple[StopScope, str, str]:
    """Return the scope, issuer and value of the one option that was given."""
    if sum(map(bool, (connection, user, session, everything))) != 1:
        fail("name one of --connection NAME, --user SUBJECT, --session ID and --all")
    if everything:
        return "all", "", ""
    if connection:
        known = [] if existing else _connections(policies)
        if known and connection not in known:
            fail(f"there is no connection {connection!r}; there are {', '.join(known)}")
        return "connection", "", connection
    if session:
        return "session", "", session
    return "user", issuer if ":" in issuer else issuer_named(issuer, policies), user


def _connections(policies: str) -> list[str]:
    """Return the connections' names; none if the folder cannot be read, since a stop must not depend on it."""
    try:
        return [d.settings.connection for d in load_folder(folder_path(policies)).connections]
    except ConfigError:
        return []


def _tell(policies: str, kind: str, subject: str, message: str) -> None:
    """Write an event into the recordings, if there are recordings."""
    try:
        for root in filter(Path.is_dir, _recordings(policies)):
            events.append(
                Recordings(root), events.now(events.COMMAND, kind, operator_name(), subject=subject, message=message)
            )
    except OSError:
        print("(not written into the recordings' events: their folder cannot be used from here)")


def _shown(scope: StopScope, value: str) -> str:
    return "everything" if scope == "all" else f"the {scope} {value}"


def _option(scope: StopScope, value: str) -> str:
    return "--all" if scope == "all" else f"--{scope} {shlex.quote(value)}"
