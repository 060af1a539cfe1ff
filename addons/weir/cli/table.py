"""Print lists as a table or as JSON."""

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from weir.base.text import inert


def print_table(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table on standard output, with control characters made visible."""
    table = Table(header_style="bold")
    for i, name in enumerate(names):
        numeric = any(isinstance(row[i], int | float) and not isinstance(row[i], bool) for row in rows)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text() if value is None else Text(inert(str(value))) for value in row))
    # A pipe has no width. Lines are not broken, so that grep and less -S see whole rows.
    console = Console(markup=False, highlight=False, width=None if sys.stdout.isatty() else 10_000)
    console.print(table)
    console.print(f"{len(rows)} row{'' if len(rows) == 1 else 's'}")


def print_list(names: Sequence[str], rows: Sequence[Sequence[Any]], *, as_json: bool) -> None:
    """Print *rows* as a JSON array of objects, or as a table."""
    if as_json:
        print(json.dumps([dict(zip(names, row, strict=True)) for row in rows], indent=1, default=list))
    else:
        print_table(names, [[", ".join(v) if isinstance(v, list | tuple) else v for v in row] for row in rows])


def moment(seconds: float | None) -> str | None:
    """Return Unix *seconds* as a UTC time."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
