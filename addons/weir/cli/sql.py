"""``weir sql``: a query over the recordings' index."""

import csv
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import duckdb
import typer
from rich.console import Console
from rich.table import Table

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
            cursor = connection.execute(query)
            names = [column[0] for column in cursor.description or ()]
            rows = cursor.fetchall()
    except duckdb.Error as error:
        fail(str(error).splitlines()[0], 1)
    if as_json:
        json.dump([dict(zip(names, row, strict=True)) for row in rows], sys.stdout, default=str, indent=1)
        print()
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
        table.add_row(*("" if value is None else _inert(str(value)) for value in row))
    # A pipe has no width: whole lines, so that grep and less -S see each row.
    console = Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else 10_000)
    console.print(table)
    console.print(f"{len(rows)} row{'' if len(rows) == 1 else 's'}")


def _inert(text: str) -> str:
    """*text* with control characters made visible: what callers sent must not move a reader's cursor."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
