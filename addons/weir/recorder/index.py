"""``index.duckdb``: views, and nothing else, over what the workers write.

No process holds it open for writing, so any number of readers and workers go on at once. It is made
anew at start, under another name, and put in place whole. The views are current by themselves: they
read the live journals, and the sealed Parquet where a journal has been sealed.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import duckdb

from weir.recorder import approvals, events
from weir.recorder.journal import COLUMNS

#: Older DuckDB clients can open this format; the default of 2.0 they cannot.
_STORAGE = "v1.4.0"

_VIEWS = {
    "sessions": """
        SELECT session_id, any_value(connection) AS connection, any_value(issuer) AS issuer,
               any_value("user") AS "user", min(time) AS started, max(time) AS ended,
               date_diff('millisecond', min(time), max(time)) / 1000.0 AS seconds,
               count(*) AS requests, count(*) FILTER (problem IS NOT NULL) AS refused,
               sum(documents) AS documents, sum(request_bytes + response_bytes) AS bytes
        FROM flows WHERE session_id IS NOT NULL GROUP BY session_id""",
    "rankings": """
        SELECT request_id, time, connection, "user", model, unnest(range(1, len(results) + 1)) AS rank,
               unnest(results).index AS index, unnest(results).score AS score
        FROM flows WHERE len(results) > 0""",
    "violations": """
        SELECT request_id, time, connection, "user", rule, effect, problem, message, true AS enforced
        FROM flows WHERE effect IN ('deny', 'limit', 'require_approval') AND problem IS NOT NULL
        UNION ALL
        SELECT request_id, time, connection, "user", unnest(shadow) AS rule, shadow_effect, NULL, NULL, false
        FROM flows WHERE len(shadow) > 0""",
    "masked_fields": """
        SELECT request_id, time, connection, unnest(masked).path AS path,
               unnest(masked).strategy AS strategy, unnest(masked).count AS count,
               unnest(masked).kind AS kind, unnest(masked).rule AS rule
        FROM flows WHERE len(masked) > 0""",
}


def create(root: Path) -> Path:
    """Write ``index.duckdb`` for the recordings folder *root* and return its path."""
    root = root.resolve()
    empty = root / "segments" / "_none" / "_none"
    empty.mkdir(mode=0o700, parents=True, exist_ok=True)
    (empty / "empty.jsonl").touch(mode=0o600)  # a glob must match something
    (root / "log" / "_none").mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in (events.FILE, approvals.FILE):
        (root / "log" / "_none" / name).touch(mode=0o600)
    (root / "index").mkdir(mode=0o700, exist_ok=True)
    target = root / "index.duckdb"
    fresh = root / f".index.{os.getpid()}.duckdb"
    fresh.unlink(missing_ok=True)
    connection = duckdb.connect()
    try:
        # Made anew each time: it has every column of this version, whatever older files lack.
        seed = root / "index" / "empty.parquet"
        columns = ", ".join(f'NULL::{kind} AS "{name}"' for name, kind in COLUMNS.items())
        partial = seed.with_name(f".empty.{os.getpid()}")
        connection.execute(f"COPY (SELECT {columns} LIMIT 0) TO {_quoted(str(partial))} (FORMAT parquet)")
        os.replace(partial, seed)
        connection.execute(f"ATTACH {_quoted(str(fresh))} AS fresh (STORAGE_VERSION '{_STORAGE}')")
        connection.execute("USE fresh")
        connection.execute(f"CREATE VIEW flows AS {_flows(root)}")
        connection.execute(f"CREATE VIEW events AS {_log(root, events.FILE, events.COLUMNS, 'kind')}")
        lines = _log(root, approvals.FILE, approvals.COLUMNS, "approval_id")
        connection.execute(f"CREATE VIEW approvals AS {_latest(lines)}")
        for name, query in _VIEWS.items():
            connection.execute(f"CREATE VIEW {name} AS {query}")
        connection.execute("USE memory")
        connection.execute("DETACH fresh")
    finally:
        connection.close()
    fresh.chmod(0o444)
    os.replace(fresh, target)
    return target


def _flows(root: Path) -> str:
    """Sealed rows, and the rows of every live journal whose segment is not among the sealed ones.

    One shared ``p`` (two scans can see two moments), explicit columns, and no line that is torn.
    """
    names = ", ".join(f'"{name}"' for name in COLUMNS)
    columns = ", ".join(f"{_quoted(name)}: {_quoted(kind)}" for name, kind in COLUMNS.items())
    parquet, journals = str(root / "index" / "*.parquet"), str(root / "segments" / "*" / "*" / "*.jsonl")
    return f"""
        WITH p AS NOT MATERIALIZED (
            SELECT {names} FROM read_parquet({_quoted(parquet)}, union_by_name=true)),
        l AS (
            SELECT {names} FROM read_json({_quoted(journals)}, format='newline_delimited',
                columns={{{columns}}}, ignore_errors=true, maximum_object_size=67108864) WHERE request_id IS NOT NULL)
        SELECT * FROM p UNION ALL
        SELECT * FROM l WHERE segment NOT IN (SELECT DISTINCT segment FROM p WHERE segment IS NOT NULL)"""  # noqa: S608


def _log(root: Path, file: str, kinds: Mapping[str, str], required: str) -> str:
    """The lines of *file* of every worker; torn ones lack what is *required*."""
    columns = ", ".join(f"{_quoted(name)}: {_quoted(kind)}" for name, kind in kinds.items())
    files = _quoted(str(root / "log" / "*" / file))
    return f"""
        SELECT * FROM read_json({files}, format='newline_delimited', columns={{{columns}}}, ignore_errors=true)
        WHERE {required} IS NOT NULL"""  # noqa: S608


def _latest(lines: str) -> str:
    """What became of each approval in the end, and whether that was the outcome or only that its time ran out."""
    return f"""
        WITH lines AS ({lines})
        SELECT * REPLACE (CASE WHEN outcome = 'approved' AND kind = 'access' AND until < now() AT TIME ZONE 'UTC'
                          THEN 'ended' ELSE outcome END AS outcome)
        FROM lines QUALIFY row_number() OVER (PARTITION BY approval_id ORDER BY changed DESC) = 1"""  # noqa: S608


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
