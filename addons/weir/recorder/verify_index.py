"""Compares the index with the journals that evidence covers, so that SQL answers can be trusted.

`verify` checks journals against signatures. The index is derived from them and not signed, so a program with write
access to the folder can change a Parquet row or a view in ``index.duckdb``. This module checks that the database holds
exactly the views of this version, that every Parquet row equals a line of a sealed journal, and that every line of a
sealed journal has exactly one row.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import duckdb

from weir.recorder import catalog
from weir.recorder.catalog import quoted
from weir.recorder.folder import Recordings
from weir.recorder.journal import COLUMNS
from weir.recorder.verify import Finding

#: Segments that are compared with one query.
_BATCH = 256
#: Seconds until differences are checked again, because rows may just have moved from a journal to Parquet.
_AGAIN = 3.0
_NAMES = ", ".join(f'"{name}"' for name in COLUMNS if name != "intent")
_SAID = 5
_REBUILD = "run: weir index rebuild"


def check_index(
    recordings: Recordings,
    sealed: Callable[[], Sequence[str]],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[Finding]:
    """Compare the index of *recordings* with the journals of the verified segments that *sealed* returns.

    Raises OSError, duckdb.Error.
    """
    findings = _views(recordings)
    differing = _rows(recordings, sealed(), progress)
    if differing:
        time.sleep(_AGAIN)
        again = {(finding.where, finding.what) for finding in _rows(recordings, sealed(), progress)}
        differing = [finding for finding in differing if (finding.where, finding.what) in again]
    return findings + differing


def _views(recordings: Recordings) -> list[Finding]:
    """Report differences between the database and the views that this version makes."""
    where = recordings.database.name
    with tempfile.TemporaryDirectory(prefix="weir-") as folder:
        path = Path(folder) / where  # through a file, because DuckDB stores a view's text in a changed form
        with catalog.connect() as connection:
            catalog.write_database(connection, path, recordings)
        with duckdb.connect(str(path), read_only=True) as connection:
            expected = _definitions(connection)
    with duckdb.connect(str(recordings.database), read_only=True) as connection:
        there = _definitions(connection)
        others = connection.execute(
            "SELECT 'table ' || table_name FROM duckdb_tables() WHERE NOT internal UNION ALL "
            "SELECT 'function ' || function_name FROM duckdb_functions() WHERE NOT internal UNION ALL "
            "SELECT 'type ' || type_name FROM duckdb_types() WHERE NOT internal"
        ).fetchall()
    found = [Finding(where, f"holds the {name}, which weir does not make; {_REBUILD}") for (name,) in others]
    changed = [name for name in sorted(expected.keys() | there.keys()) if expected.get(name) != there.get(name)]
    found += [Finding(where, f"the view {name} is not defined as in this version; {_REBUILD}") for name in changed]
    return found


def _definitions(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    rows = connection.execute("SELECT schema_name, view_name, sql FROM duckdb_views() WHERE NOT internal").fetchall()
    return {name if schema == "main" else f"{schema}.{name}": " ".join(sql.split()) for schema, name, sql in rows}


def _rows(recordings: Recordings, sealed: Sequence[str], progress: Callable[[int, int], None]) -> list[Finding]:
    """Report rows that differ from every journal line, and lines without a row."""
    found = []
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        parquet = f"read_parquet({quoted(str(recordings.index / '*.parquet'))})"
        counts = "since <= epoch_us(now()) AND until > epoch_us(now())"
        connection.execute("CREATE TEMP TABLE sealed (segment VARCHAR)")
        for start in range(0, len(sealed), 10_000):
            values = ", ".join(f"({quoted(segment)})" for segment in sealed[start : start + 10_000])
            connection.execute(f"INSERT INTO sealed VALUES {values}")
        strangers = connection.execute(
            f"SELECT request_id FROM {parquet} WHERE request_id IS NOT NULL AND {counts} "
            "AND segment NOT IN (SELECT segment FROM sealed) ORDER BY 1"
        ).fetchall()
        found += _said("is a row of no sealed journal", strangers)
        connection.execute(f"CREATE VIEW flows AS {catalog.views(recordings)['flows']}")
        for start in range(0, len(sealed), _BATCH):
            progress(start, len(sealed))
            batch = sealed[start : start + _BATCH]
            names = ", ".join(map(quoted, batch))
            shown = f"SELECT {_NAMES} FROM flows WHERE segment IN ({names})"
            written = catalog.views_over(recordings, batch)["flows"]
            for what, one, other in (
                ("differs from its journal line, or has none", shown, written),
                ("is on record, but the index lacks it or shows it differently", written, shown),
            ):
                rows = connection.execute(f"SELECT request_id FROM (({one}) EXCEPT ALL ({other})) ORDER BY 1")
                found += _said(what, rows.fetchall())
        progress(len(sealed), len(sealed))
    return found


def _said(what: str, rows: Sequence[tuple[str]]) -> list[Finding]:
    found = [Finding("index", f"{request_id} {what}; {_REBUILD}") for (request_id,) in rows[:_SAID]]
    if len(rows) > _SAID:
        found.append(Finding("index", f"{len(rows) - _SAID} more: a row {what}"))
    return found
