"""``weir expire``, ``weir hold`` and ``weir erase``: remove old recordings, keep some longer, erase a person."""

import json
import re
import secrets
import sys
import time
from typing import Annotated
from urllib.parse import quote

import duckdb
import typer

from weir.cli.fail import fail
from weir.cli.progress import progress_bar
from weir.cli.recordings import (
    WAIT,
    JsonOption,
    PoliciesOption,
    RecordingsOption,
    index_of,
    leave_row,
    reader,
    recordings_of,
)
from weir.cli.table import print_list
from weir.masking.keys import connection_key, keys
from weir.masking.strategies import Tokens
from weir.policyset.load import folder_path, load_without_secrets
from weir.recorder import erasure
from weir.recorder import retention as recorded
from weir.recorder.evidence import keeping, sealed_segments
from weir.recorder.folder import Recordings
from weir.recorder.indexer import Indexer
from weir.recorder.journal import JournalLine, timestamp

app = typer.Typer(no_args_is_help=True, help="Legal holds: protect recordings from retention and erasure.")

_DryRun = Annotated[bool, typer.Option("--dry-run", help="List what would be removed; remove nothing.")]
_Reason = Annotated[str, typer.Option(help="Why; it is recorded as an event.")]


@app.command("add")
def hold_add(
    session: Annotated[str, typer.Option(help="The session to keep.")] = "",
    where: Annotated[str, typer.Option("--sql", help="A condition on `flows`, evaluated again at each run.")] = "",
    reason: _Reason = "",
    policies: PoliciesOption = "",
    recordings: RecordingsOption = None,
) -> None:
    """Keep a session, or the requests that match a condition, until the hold is removed.

    Retention keeps each segment that contains one of these requests. Erasure keeps the requests.

    [bold]Examples[/]

      weir hold add --session 0193-session --reason "case 4711"

      weir hold add --sql "user = 'alice' AND time < '2026-06-01'" --reason "case 4711"
    """
    if bool(session) == bool(where):
        fail("name one of --session and --sql")
    if not reason:
        fail("a hold needs a reason; add --reason")
    folder = recordings_of(policies, recordings)
    hold = recorded.Held(
        hold=secrets.token_hex(4),
        session=session,
        query=where,
        reason=reason,
        by=reader(),
        since=timestamp(time.time()),
    )
    with index_of(folder) as database:
        query = f"SELECT count(*), count(DISTINCT segment) FROM flows WHERE {hold.condition}"  # noqa: S608
        requests, segments = database.execute(query).fetchall()[0]
    if session and not requests:
        fail(f"no session {session!r} is on record; see: weir sessions list", 1)
    leave_row(folder, "hold", hold.hold, f"{hold.condition}: {reason}")
    try:
        with keeping(folder, wait=WAIT) as log:
            recorded.hold(log, hold)
    except OSError as error:
        fail(str(error), 1)
    print(f"hold {hold.hold}: {requests} requests now, in {segments} segments")


@app.command("list")
def hold_list(as_json: JsonOption = False, policies: PoliciesOption = "", recordings: RecordingsOption = None) -> None:
    """List the legal holds.

    [bold]Examples[/]

      weir hold list --json
    """
    try:
        with keeping(recordings_of(policies, recordings, indexed=False), wait=WAIT) as log:
            found = recorded.holds(log)
    except OSError as error:
        fail(str(error), 1)
    rows = [(h.hold, h.session or None, h.query or None, h.reason, h.by, h.since) for h in found]
    print_list(("hold", "session", "sql", "reason", "by", "since"), rows, as_json=as_json)


@app.command("remove")
def hold_remove(
    name: Annotated[str, typer.Argument(help="The name of the hold, from `weir hold list`.")],
    policies: PoliciesOption = "",
    recordings: RecordingsOption = None,
) -> None:
    """Remove a hold. The next run of retention removes the recordings that have expired.

    [bold]Examples[/]

      weir hold remove 3f9a01c2
    """
    folder = recordings_of(policies, recordings, indexed=False)
    try:
        with keeping(folder, wait=WAIT) as log:
            if name not in [hold.hold for hold in recorded.holds(log)]:
                fail(f"there is no hold {name!r}; see: weir hold list", 1)
            leave_row(folder, "hold_removed", name)
            recorded.hold(log, recorded.Released(hold=name, by=reader(), time=timestamp(time.time())))
    except OSError as error:
        fail(str(error), 1)
    print(f"removed hold {name}")


def expire(
    dry_run: _DryRun = False,
    as_json: JsonOption = False,
    policies: PoliciesOption = "",
    recordings: RecordingsOption = None,
) -> None:
    """Remove recordings that are older than `record: {keep: …}`. The gateway also does this, once a day.

    A segment is removed if all its requests are too old and no hold covers one of them. Its tombstone stays. With
    `record: {bodies: {keep: …}}`, its flows with all bodies are removed earlier, and its rows stay.

    [bold]Examples[/]

      weir expire --dry-run

      weir expire
    """
    loaded, _ = load_without_secrets(folder_path(policies))
    folder = recordings_of(policies, recordings)
    keep = {c.name: c.record.keep for c in loaded.connections}
    bodies = {c.name: c.record.keep_bodies for c in loaded.connections}
    try:
        if dry_run:
            with keeping(folder, wait=WAIT) as log:
                found, problems = recorded.unheld(folder, log, keep, loaded.keep, time.time())
                gone = {*recorded.without_bodies(folder), *(entry.segment for entry in found)}
                bare, more = recorded.unheld(folder, log, bodies, loaded.keep_bodies, time.time(), gone)
        else:
            leave_row(folder, "expire", "retention")
            with keeping(folder, wait=WAIT) as log:
                indexer = Indexer(folder)
                try:
                    found, problems = recorded.retain(folder, indexer, log, keep, loaded.keep)
                    bare, more = recorded.expire_bodies(folder, log, bodies, loaded.keep_bodies)
                finally:
                    indexer.close()
    except (OSError, ValueError, duckdb.Error) as error:
        fail(f"nothing was removed: {str(error).splitlines()[0]}", 1)
    rows = [
        (e.segment, e.lines, e.first, e.last, e.length, what)
        for what, entries in (("all", found), ("bodies", bare))
        for e in entries
    ]
    print_list(("segment", "lines", "first", "last", "bytes", "removed"), rows, as_json=as_json)
    for problem in dict.fromkeys([*problems, *more]):
        print(problem, file=sys.stderr)
    if dry_run:
        print("(nothing was removed: --dry-run)", file=sys.stderr)


def _spellings(text: str) -> list[str]:
    """Return *text* in every spelling that bodies and paths may have."""
    escaped = json.dumps(text)[1:-1]
    upper = re.sub(r"\\u[0-9a-f]{4}", lambda match: "\\u" + match[0][2:].upper(), escaped)
    plain = json.dumps(text, ensure_ascii=False)[1:-1]
    return [text, escaped, upper, plain, plain.replace("/", "\\/"), quote(text), quote(text, safe="")]


def _finish(folder: Recordings) -> None:
    """Finish an earlier erasure that was interrupted."""
    indexer = Indexer(folder)
    try:
        erasure.finish(folder, indexer)
    finally:
        indexer.close()


def erase(
    subject: Annotated[str, typer.Option(help="The person: the caller's subject, or a name in bodies.")],
    dry_run: _DryRun = False,
    reason: _Reason = "",
    as_json: JsonOption = False,
    policies: PoliciesOption = "",
    recordings: RecordingsOption = None,
) -> None:
    """Erase a person from recordings: as a caller, and in recorded bodies, also as hash tokens.

    Every segment is read. Requests under a legal hold stay, and are counted. Requests in open journals need another
    run, an hour later at the latest. The other recordings still verify; the tombstones contain no names.

    [bold]Examples[/]

      weir erase --subject alice@example.com --dry-run

      weir erase --subject alice@example.com --reason "request of 2026-11-20"
    """
    if len(subject) < 3:
        fail("--subject: fewer than three characters occur in most bodies; write a longer text")
    if not dry_run and not reason:
        fail("an erasure needs a reason; add --reason, or list first with --dry-run")
    folder = recordings_of(policies, recordings)
    secrets_ = [key.secret for key in keys()]

    def needles(connection: str) -> list[bytes]:
        tokens = [str(Tokens([connection_key(s, connection)]).of(subject)) for s in secrets_] if connection else []
        return [text.encode() for text in dict.fromkeys((*_spellings(subject), *tokens))]

    def is_subject(line: JournalLine) -> bool:
        return line.user == subject

    try:
        with keeping(folder, wait=WAIT) as log, progress_bar() as progress:
            task = progress.add_task("Reading recordings", total=None)
            _finish(folder)
            sealed = list(sealed_segments(folder))
            _, held = recorded.held(folder, log, sealed)
            holds = {number for number, _ in recorded.held_lines(log)}
            found = erasure.find(
                folder, sealed, needles, is_subject, held, holds,
                lambda done, total: progress.update(task, completed=done, total=total),
            )  # fmt: skip
            if not dry_run and found.count:
                indexer = Indexer(folder)
                try:
                    erasure.erase(folder, indexer, log, found)
                finally:
                    indexer.close()
    except (OSError, ValueError, duckdb.Error) as error:
        fail(f"not everything was erased: {str(error).splitlines()[0]}; run it again", 1)
    if not dry_run:
        leave_row(folder, "erased", f"{found.count} lines", reason)
    rows = [(name, len(lines)) for name, lines in {**found.lines, **found.files}.items()]
    rows += [(name, 1) for name in found.quarantined]
    print_list(("where", "lines"), rows, as_json=as_json)
    for names, why in ((found.held, "are under a legal hold and stay"), (found.live, "are in journals still written")):
        if names:
            print(f"{len(names)} requests {why}", file=sys.stderr)
    if dry_run:
        print("(nothing was erased: --dry-run)", file=sys.stderr)
    elif found.live:
        raise typer.Exit(1)
