"""``weir sql``: query the index of recordings."""

import atexit
import contextlib
import csv
import json
import math
import sys
from collections.abc import Sequence
from decimal import Decimal
from typing import Annotated, Any

import duckdb
import typer

from weir.base.home import home
from weir.base.text import inert
from weir.cli.fail import fail
from weir.cli.recordings import (
    PoliciesOption,
    RecordingsOption,
    check_question,
    index_of,
    leave_row,
    recordings_of,
    said,
)
from weir.cli.table import print_table
from weir.recorder.catalog import confine
from weir.recorder.dictionary import VIEWS
from weir.recorder.folder import Recordings

_WORDS = """
    SELECT FROM WHERE GROUP ORDER BY LIMIT DESC AND OR NOT IN LIKE ILIKE COUNT(*) DISTINCT HAVING INTERVAL BETWEEN
    IS NULL UNNEST QUANTILE_CONT DATE_TRUNC NOW()"""
_HELP = """\
End a query with ; — it may have several lines. Tab completes.
  .views          the views, with the meaning of a row
  .columns VIEW   the columns of a view, with their meaning
  .json .csv .table   the form of the next answers
  .quit           leave (or Ctrl-D)"""


def sql(
    query: Annotated[str, typer.Argument(help="One SQL query in DuckDB's dialect (default: a prompt).")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array of objects.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV with a header line.")] = False,
    policies: PoliciesOption = "",
    recordings: RecordingsOption = None,
) -> None:
    """Query the index of recordings. Without a query, start a prompt with completion and history.

    The index is current while the gateway runs. Each query leaves a row in [bold]events[/]. Times are UTC.

    Views: [bold]flows[/] (a row per request), [bold]sessions[/], [bold]rankings[/] (a row per result),
    [bold]violations[/], [bold]masked_fields[/], [bold]approvals[/], [bold]events[/], [bold]intents[/] and
    [bold]metrics_*[/].

    [bold]Examples[/]

      weir sql "SELECT time, user, rule FROM violations ORDER BY time DESC LIMIT 10"

      weir sql "SELECT user, count(*) AS requests FROM flows GROUP BY user" --json

      weir sql
    """
    if as_json and as_csv:
        fail("choose one of --json and --csv")
    folder = recordings_of(policies, recordings)
    form = "json" if as_json else "csv" if as_csv else "table"
    if query:
        leave_row(folder, "read", "sql", query)
        with index_of(folder) as connection:
            _print(*_ask(connection, query), form)
    else:
        _prompt(folder, form)


def _ask(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[list[str], list[Any]]:
    check_question(connection, query)
    connection.execute(query)
    names = [column[0] for column in connection.description or ()]
    return names, connection.fetchall() if names else []


def _print(names: Sequence[str], rows: Sequence[Any], form: str) -> None:
    if form == "json":
        document = [{name: plain(value) for name, value in zip(names, row, strict=True)} for row in rows]
        print(json.dumps(document, indent=1, allow_nan=False))
    elif form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(rows)
    else:
        print_table(names, rows)


def _prompt(recordings: Recordings, form: str) -> None:
    """Read queries until the end of input. Each query opens its own connection, to read current data."""
    tty = sys.stdin.isatty()
    if tty:
        _line_editing()
        print(f"the index of {recordings.root}; type .help for help")
    pending = ""
    while True:
        try:
            line = input(("   ... " if pending else "weir=> ") if tty else "")
        except EOFError:
            if tty:
                print()
            break
        except KeyboardInterrupt:
            pending = ""
            print()
            continue
        if not pending and line.strip().startswith("."):
            chosen = _command(line.strip(), form)
            if chosen is None:
                break
            form = chosen
            continue
        pending = f"{pending}\n{line}".strip()
        if pending.endswith(";"):
            _answer(recordings, pending.rstrip("; \n"), form)
            pending = ""
    if pending:
        _answer(recordings, pending, form)


def _answer(recordings: Recordings, query: str, form: str) -> None:
    if not query:
        return
    leave_row(recordings, "read", "sql", query)
    try:
        with duckdb.connect(str(recordings.database), read_only=True) as connection:
            confine(connection, recordings)
            _print(*_ask(connection, query), form)
    except duckdb.Error as error:
        print(inert(said(error)), file=sys.stderr)
    except KeyboardInterrupt:
        print("(stopped)", file=sys.stderr)


def _command(line: str, form: str) -> str | None:
    """Run a line that begins with a dot. Return the form of the next answers, or None to leave."""
    word, _, rest = line[1:].partition(" ")
    if word in ("quit", "exit"):
        return None
    if word in ("json", "csv", "table"):
        return word
    if word == "views":
        print_table(("view", "what"), [(name, about) for name, (about, _) in VIEWS.items()])
    elif word == "columns" and rest.strip() in VIEWS:
        print_table(("column", "what"), list(VIEWS[rest.strip()][1].items()))
    else:
        print(_HELP)
    return form


def _line_editing() -> None:
    """Set up completion of words, views and columns, and a history in WEIR_HOME, if Python has readline."""
    try:
        import readline  # noqa: PLC0415  not on every system
    except ImportError:
        return
    names = sorted({*VIEWS, *(column for _, columns in VIEWS.values() for column in columns)})

    def complete(text: str, state: int) -> str | None:
        words = [word if text.isupper() else word.lower() for word in _WORDS.split()]
        found = [name for name in (*names, *words) if text and name.startswith(text)]
        return found[state] if state < len(found) else None

    readline.set_completer(complete)
    readline.set_completer_delims(" \t\n,()=<>;'\"")
    readline.parse_and_bind("bind ^I rl_complete" if "libedit" in (readline.__doc__ or "") else "tab: complete")
    path = home() / "sql_history"
    with contextlib.suppress(OSError):
        path.touch(mode=0o600)
        readline.read_history_file(path)
    readline.set_history_length(1000)
    atexit.register(_write_history, str(path))


def _write_history(path: str) -> None:
    import readline  # noqa: PLC0415

    with contextlib.suppress(OSError):
        readline.write_history_file(path)


def plain(value: Any) -> Any:
    """Return *value* in a form for JSON: times and identifiers as text, bytes in hexadecimal, NaN as null."""
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if isinstance(value, bytes):
        return value.hex()
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
