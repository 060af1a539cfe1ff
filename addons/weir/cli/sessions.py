"""``weir sessions``: find, show and export recorded exchanges."""

import json
import os
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import duckdb
import typer
from mitmproxy.http import HTTPFlow
from rich.console import Console
from rich.table import Table
from rich.text import Text

from weir.base.text import inert
from weir.cli import curl
from weir.cli.fail import fail
from weir.cli.progress import progress_bar
from weir.cli.recordings import JsonOption, PoliciesOption, RecordingsOption, index_of, leave_row, recordings_of
from weir.cli.sql import plain
from weir.cli.table import print_list
from weir.masking.strategies import REDACTED
from weir.policyset.load import folder_path, load_without_secrets
from weir.recorder.flows import Filters, MissingFlowError, flow_of, raw_flows, rows, without_expired
from weir.recorder.folder import Recordings
from weir.recorder.search import Needle, count, newest

app = typer.Typer(no_args_is_help=True, help="Find, show and export recorded sessions.")

_Ids = Annotated[list[str] | None, typer.Argument(help="Sessions or requests (request_id).")]
_Where = Annotated[str, typer.Option("--sql", help="A condition on `flows`, in DuckDB's dialect.")]
_User = Annotated[str, typer.Option(help="Only this caller (`sub`).")]
_Connection = Annotated[str, typer.Option(help="Only this connection.")]
_Since = Annotated[str, typer.Option(help="From this time, UTC: 2026-01-31, or '2026-01-31 14:00'.")]
_Until = Annotated[str, typer.Option(help="Before this time, UTC.")]
_MASKED = re.compile(rf"{re.escape(REDACTED)}|hash:[A-Za-z0-9_-]{{22}}:[A-Za-z0-9_-]{{8}}")
_LONGEST = 4000


@app.command("list")
def list_(
    user: _User = "",
    connection: _Connection = "",
    since: _Since = "",
    until: _Until = "",
    status: Annotated[int | None, typer.Option(help="Only sessions with a request of this status.")] = None,
    decision: Annotated[
        str, typer.Option(help="Only sessions with this decision: allow, deny, limit, require_approval.")
    ] = "",
    text: Annotated[
        str, typer.Option(help="Only sessions with this text in the body of a request, an answer or a message.")
    ] = "",
    limit: Annotated[int, typer.Option(min=1, help="The most sessions to list.")] = 50,
    as_json: JsonOption = False,
    policies: PoliciesOption = "",
    recordings: RecordingsOption = None,
) -> None:
    """List sessions, the latest first.

    With [bold]--text[/] the command reads recorded bodies, the newest first, until [bold]--limit[/] sessions are found.
    Case does not matter. The other options, such as [bold]--since[/], reduce the number of bodies that it reads.

    [bold]Examples[/]

      weir sessions list --user alice --since 2026-11-01

      weir sessions list --connection reranker --decision deny --json

      weir sessions list --text "merger" --since "2026-11-20 08:00"
    """
    if decision not in ("", "allow", "deny", "limit", "require_approval"):
        fail(f"{decision!r} is not a decision; there are allow, deny, limit and require_approval")
    for moment in filter(None, (since, until)):
        _check_time(moment)
    folder = recordings_of(policies, recordings)
    filters = Filters(user, connection, since, until, status, decision)
    given = {**asdict(filters), "text": text}
    leave_row(folder, "read", "sessions list", " ".join(f"{k}={v}" for k, v in given.items() if v))
    with index_of(folder) as database:
        chosen: list[str] | None = None
        if text:
            chosen = _with_text(folder, database, filters, text, limit)
        condition, values = filters.condition()
        among = "" if chosen is None else f" AND session_id IN ({', '.join('?' for _ in chosen) or 'NULL'})"
        found = database.execute(
            f"""
            SELECT session_id, any_value("user"), any_value(connection), min(time), date_diff('millisecond', min(time),
                   max(time)) / 1000.0, count(*), count(*) FILTER (problem IS NOT NULL), sum(documents)::BIGINT
            FROM flows WHERE session_id IN (SELECT session_id FROM flows WHERE {condition}{among})
            GROUP BY session_id ORDER BY min(time) DESC LIMIT {limit}""",  # noqa: S608
            [*values, *(chosen or ())],
        ).fetchall()
    names = ("session", "user", "connection", "started", "seconds", "requests", "refused", "documents")
    print_list(names, [[plain(value) for value in row] for row in found], as_json=as_json)


def _check_time(text: str) -> None:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        fail(f"{text!r} is not a time; write 2026-01-31, or '2026-01-31 14:00' (UTC)")


def _with_text(
    folder: Recordings, database: duckdb.DuckDBPyConnection, filters: Filters, text: str, limit: int
) -> list[str]:
    """Return at most *limit* sessions with *text* in a body, those with the newest such requests."""
    needle, sessions, unread = Needle(text), dict[str, None](), 0
    with progress_bar() as progress:
        total = count(database, filters)
        for row in progress.track(newest(database, filters), total=total, description="Reading bodies"):
            if row["session_id"] in sessions:
                continue
            try:
                if needle.is_in(folder, row):
                    sessions[row["session_id"]] = None
            except MissingFlowError:
                unread += 1
            if len(sessions) == limit:
                break
    if unread:
        what = "1 recorded exchange" if unread == 1 else f"{unread} recorded exchanges"
        print(f"{what} could not be searched: missing or expired bodies; see: weir verify", file=sys.stderr)
    return list(sessions)


@app.command()
def show(
    ids: _Ids = None,
    where: _Where = "",
    limit: Annotated[int, typer.Option(min=1, help="The most exchanges to show.")] = 200,
    as_json: JsonOption = False,
    policies: PoliciesOption = "",
    recordings: RecordingsOption = None,
) -> None:
    """Show exchanges in order: caller, request, decision and reason, ranking, and masked values.

    [bold]Examples[/]

      weir sessions show 0193-session

      weir sessions show 01934e7e-7a7c-7d52-8b1f-3b1f3f0c9a10 --json

      weir sessions show --sql "rule = 'unsure-ranking'" --limit 5
    """
    folder, found = _chosen(ids, where, "sessions show", policies, recordings, limit)
    if as_json:
        print(json.dumps([_document(folder, row) for row in found], indent=1, allow_nan=False, ensure_ascii=False))
        return
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    for row in found:
        _show(console, folder, row)
    console.print(f"{len(found)} exchange{'' if len(found) == 1 else 's'}")


@app.command()
def export(
    ids: _Ids = None,
    where: _Where = "",
    form: Annotated[str, typer.Option("--as", help="The form: mitm, har, jsonl or curl.")] = "mitm",
    limit: Annotated[int | None, typer.Option(min=1, help="The most exchanges to export (default: all).")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The file (default: standard output).")] = None,
    policies: PoliciesOption = "",
    recordings: RecordingsOption = None,
) -> None:
    """Export exchanges: a flow file for mitmproxy, a HAR for browser tools, journal lines, or a curl script.

    The export has the recorded data: masked, and without credentials. The curl script calls the gateway of the policies
    folder, with the token in the variable [bold]TOKEN[/].

    [bold]Examples[/]

      weir sessions export 0193-session -o session.mitm

      weir sessions export --sql "problem IS NOT NULL AND time > '2026-11-01'" --as jsonl

      weir sessions export 01934e7e-7a7c-7d52-8b1f-3b1f3f0c9a10 --as curl
    """
    if form not in ("mitm", "har", "jsonl", "curl"):
        fail(f"{form!r} is not a form; there are mitm, har, jsonl and curl")
    if output is not None and output.exists():
        fail(f"{output} exists; name another file, or remove it")
    folder, found = _chosen(ids, where, f"sessions export --as {form}", policies, recordings, limit, kind="exported")
    if form != "jsonl":
        found = _with_bodies(folder, found)
    try:
        data = _exported(folder, found, form, policies)
    except MissingFlowError as error:
        fail(str(error), 1)
    if output is None:
        sys.stdout.buffer.write(data)
        return
    try:
        with open(output, "wb", opener=_private) as file:
            file.write(data)
    except OSError as error:
        fail(f"{output} cannot be written: {error.strerror}")
    print(f"{len(found)} exchange{'' if len(found) == 1 else 's'} in {output}", file=sys.stderr)


def _with_bodies(folder: Recordings, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return *found* without rows with expired bodies. Ends the command if none is left."""
    there = without_expired(folder, found)
    left = (
        f"the bodies of {len(found) - len(there)} of {len(found)} exchanges have expired; --as jsonl exports their rows"
    )
    if not there:
        fail(left, 1)
    if len(there) < len(found):
        print(f"left out: {left}", file=sys.stderr)
    return there


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _exported(folder: Recordings, found: Sequence[dict[str, Any]], form: str, policies: str) -> bytes:
    if form == "mitm":
        return b"".join(raw_flows(folder, found))
    if form == "jsonl":
        lines = (json.dumps(plain(row), ensure_ascii=False, separators=(",", ":")) for row in found)
        return "".join(f"{line}\n" for line in lines).encode()
    flows = [flow_of(folder, row) for row in found]
    if form == "har":
        return _har(flows)
    return curl.script(zip(found, flows, strict=True), load_without_secrets(folder_path(policies))[0])


def _har(flows: Sequence[HTTPFlow]) -> bytes:
    from mitmproxy.addons.savehar import SaveHar  # noqa: PLC0415  # its import takes a third of a second

    return json.dumps(SaveHar().make_har(flows), indent=1).encode()


def _chosen(
    ids: Iterable[str] | None,
    where: str,
    what: str,
    policies: str,
    recordings: Path | None,
    limit: int | None,
    kind: str = "read",
) -> tuple[Recordings, list[dict[str, Any]]]:
    wanted = list(ids or ())
    if not wanted and not where:
        fail("name sessions or requests, or a condition: --sql \"rule = '…'\"")
    folder = recordings_of(policies, recordings)
    leave_row(folder, kind, what, " ".join([*wanted, *([where] if where else [])]))
    with index_of(folder) as database:
        found = rows(database, Filters(where=where, ids=wanted), limit)
    if not found:
        fail("nothing on record matches; see: weir sessions list", 1)
    return folder, found


def _document(folder: Recordings, row: dict[str, Any]) -> dict[str, Any]:
    try:
        flow = flow_of(folder, row)
        bodies = {
            "request": _text(flow.request.content),
            "response": _text(flow.response.content if flow.response else None),
        }
    except MissingFlowError as error:
        bodies = {"missing": str(error)}
    return {**plain(row), **bodies}


def _text(data: bytes | None) -> Any:
    if not data:
        return None
    text = data.decode("utf-8", "replace")
    try:
        return json.loads(text)
    except ValueError:
        return text


def _show(console: Console, folder: Recordings, row: dict[str, Any]) -> None:
    refused = row["problem"] is not None
    line = Text()
    line.append(f"{str(row['time'])[:23]}  ", style="dim")
    line.append(f"{row['status'] or '-'} ", style="bold red" if refused or row["error"] else "bold green")
    line.append(inert(f"{row['method'] if row['websocket'] is None else row['operation']} {row['path']}  "))
    line.append(inert(f"{row['user'] or 'nobody'} → {row['connection'] or 'no connection'}"), style="bold")
    console.print(line)
    by = f" by {row['rule']}" if row["rule"] else ""
    place = f" ({row['rule_file']}:{row['rule_line']})" if row["rule_line"] else ""
    if row["websocket"] is None:
        decided = f"{row['effect'] or 'refused'}{by}{place}" + (f": {row['problem']}" if refused else "")
    else:
        decided = f"with its handshake, {row['websocket']}"
    facts = [f"request {row['request_id']}", f"session {row['session_id']}", f"{row['duration_ms']:.0f} ms"]
    for name, value in (
        ("decided", decided),
        ("message", row["message"]),
        ("error", row["error"]),
        ("approved", ", ".join(row["approvals"] or ())),
        ("shadow", ", ".join(row["shadow"] or ())),
        ("", "   ".join(facts)),
    ):
        if value:
            console.print(Text(f"  {name:9}{inert(str(value))}", style="" if name else "dim"))
    try:
        flow = flow_of(folder, row)
    except MissingFlowError as error:
        console.print(Text(f"  {error}", style="red"))
        return
    for said in flow.websocket.messages if flow.websocket is not None else ():
        _body(console, "caller" if said.from_client else "service", said.content.decode("utf-8", "replace"))
    request = _text(flow.request.content)
    shown = {k: v for k, v in request.items() if k != "documents"} if isinstance(request, dict) else request
    _body(console, "asked", shown)
    if row["results"]:
        _ranking(console, row["results"], request)
    else:
        _body(console, "answered", _text(flow.response.content if flow.response else None))
    if row["masked"]:
        masks = ", ".join(f"{m['path'] or m['kind']} {m['strategy']} ×{m['count']}" for m in row["masked"])
        console.print(_marked(f"  masked   {inert(masks)}"))
    console.print()


def _body(console: Console, name: str, value: Any) -> None:
    if value in (None, {}, ""):
        return
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    cut = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text)} characters)"
    console.print(_marked(f"  {name:9}{inert(cut)}"))


def _ranking(console: Console, results: Sequence[dict[str, Any]], request: Any) -> None:
    documents = request.get("documents") if isinstance(request, dict) else None
    table = Table("rank", "index", "score", "document", header_style="bold", padding=(0, 1), pad_edge=True)
    for rank, result in enumerate(results[:50], 1):
        index, score = result["index"], result["score"]
        known = isinstance(documents, list) and index is not None and 0 <= index < len(documents)
        document = documents[index] if known and isinstance(documents, list) else result["document"] or ""
        text = document if isinstance(document, str) else json.dumps(document, ensure_ascii=False)
        cells = (str(rank), "" if index is None else str(index), "" if score is None else f"{score:.4f}")
        table.add_row(*cells, _marked(inert(text[:120])))
    console.print(table)
    if len(results) > 50:
        console.print(Text(f"  and {len(results) - 50} more", style="dim"))


def _marked(text: str) -> Text:
    """Return *text* with the replacements of masks highlighted."""
    marked = Text(text)
    for match in _MASKED.finditer(text):
        marked.stylize("black on yellow", *match.span())
    return marked
