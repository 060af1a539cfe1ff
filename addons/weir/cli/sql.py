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

from weir.cli.fail import fail
from weir.cli.table import print_table
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
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(names)
        writer.writerows(rows)
    else:
        print_table(names, rows)


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
