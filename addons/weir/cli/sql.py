"""``weir sql``: a query over the recordings' index."""

import csv
import json
import math
import sys
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import duckdb
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from weir.cli.fail import fail
from weir.config.load import load_folder
from weir.policies import folder_path


def sql(
    query: Annotated[str, typer.Argument(help="One SQL query, in DuckDB's dialect.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array of objects.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV with a header line.")] = False,
    policies: Annotated[str, typer.Option(help="The policies folder that names the recordings.")] = "",
    recordings: Annotated[Path | None, typer.Option(help="The recordings folder, instead.")] = None,
) -> None:
    """Ask the index; it is current while the gateway runs.

    Views: [bold]flows[/] (a row per request), [bold]sessions[/], [bold]rankings[/] (a row per result),
    [bold]violations[/], [bold]masked_fields[/]. Times are UTC.

    [bold]Examples[/]

      weir sql "SELECT time, user, rule FROM violations ORDER BY time DESC LIMIT 10"

      weir sql "SELECT user, count(*) AS requests FROM flows GROUP BY user" --json
    """
    if as_json and as_csv:
        fail("choose one of --json and --csv")
    root = recordings or Path(load_folder(folder_path(policies)).gateway.settings.recordings)
    database = root / "index.duckdb"
    if not database.is_file():
        fail(f"{database} does not exist; start the gateway once, or name the folder with --recordings")
    try:
        with duckdb.connect(str(database), read_only=True) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute(query)
            names = [column[0] for column in connection.description or ()]
            rows = connection.fetchall() if names else []
    except duckdb.Error as error:
        fail(str(error).splitlines()[0])
    if as_json:
        document = [{name: _plain(value) for name, value in zip(names, row, strict=True)} for row in rows]
        print(json.dumps(document, indent=1, allow_nan=False))
    elif as_csv:
        writer = csv.writer(sys.stdout)
        writer.writerow(names)
        writer.writerows(rows)
    else:
        _print(names, rows)


def _print(names: list[str], rows: list[tuple[Any, ...]]) -> None:
    table = Table(header_style="bold")
    for i, name in enumerate(names):
        numeric = any(isinstance(row[i], int | float) and not isinstance(row[i], bool) for row in rows)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text() if value is None else Text(_inert(str(value))) for value in row))
    # A pipe has no width: whole lines, so that grep and less -S see each row.
    console = Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else 10_000)
    console.print(table)
    console.print(f"{len(rows)} row{'' if len(rows) == 1 else 's'}")


def _plain(value: Any) -> Any:
    """*value* as JSON has it: times and identifiers as text, bytes as hexadecimal, no NaN."""
    if isinstance(value, Decimal):
        value = float(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, bytes):
        return value.hex()
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _inert(text: str) -> str:
    """*text* with control characters made visible: what callers sent must not move a reader's cursor."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
