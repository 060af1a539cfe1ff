"""``index.duckdb``: a database that holds only views over the files that the workers write.

No process keeps it open for writing, so readers and workers never block each other. Each start writes it under another
name and renames it into place. The views are always current: they read the live journals, and the Parquet files that
`indexer` makes of sealed journals.

Time alone decides which rows count. Each Parquet row counts from ``since`` until ``until``. A live journal counts until
a Parquet row that covers its segment counts. Files are on disk well before they begin to count, and stay well after
they stop counting. So a query finds each row exactly once, at whatever moment it begins.
"""

import contextlib
import os
from collections.abc import Container, Iterable, Mapping
from pathlib import Path

import duckdb

from weir.recorder import approvals, events, live
from weir.recorder.dictionary import VIEWS
from weir.recorder.evidence import keepers_lock, sealed_segments
from weir.recorder.folder import Recordings
from weir.recorder.journal import COLUMNS, SCHEMA_VERSION

#: Older DuckDB clients can open this storage format, but not the default of DuckDB 2.0.
_STORAGE = "v1.4.0"
#: Parquet columns besides the journal's. Times are microseconds of Unix time; ``covers`` names a segment.
MARKS = {"since": "BIGINT", "until": "BIGINT", "covers": "VARCHAR"}
#: This file always exists: a glob must match a file, and files of an older version may lack columns.
SEED = "0-empty.parquet"
#: Names of unfinished files begin with this, and do not end in ``.parquet``.
PART = ".part"
#: Seconds that a start waits for another process's housekeeping, if it needs the keeper's lock.
_WAIT = 60.0

_NOW = "epoch_us(now())"

_VIEWS = {
    "sessions": """
        SELECT session_id, any_value(connection) AS connection, any_value(issuer) AS issuer,
               any_value("user") AS "user", min(time) AS started, max(time) AS ended,
               date_diff('millisecond', min(time), max(time)) / 1000.0 AS seconds,
               count(*) FILTER (websocket IS NULL) AS requests, count(*) FILTER (problem IS NOT NULL) AS refused,
               sum(documents)::BIGINT AS documents, sum(request_bytes + response_bytes)::BIGINT AS bytes
        FROM flows WHERE session_id IS NOT NULL GROUP BY session_id""",
    "rankings": """
        SELECT request_id, time, connection, "user", model, query_digest,
               unnest(range(1, len(results) + 1)) AS rank, unnest(results).index AS index,
               unnest(results).score AS score, unnest(results).document AS document
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
    "metrics_violations": """
        SELECT connection, time::DATE AS day, count(*) AS requests,
               count(*) FILTER (effect IN ('deny', 'limit', 'require_approval') AND problem IS NOT NULL) AS violations,
               violations / requests AS rate
        FROM flows WHERE connection IS NOT NULL AND websocket IS NULL GROUP BY ALL""",
    "metrics_sessions": """
        SELECT connection, started::DATE AS day, count(*) AS sessions, avg(requests) AS requests,
               quantile_cont(seconds, 0.5) AS p50_seconds, quantile_cont(seconds, 0.95) AS p95_seconds
        FROM sessions GROUP BY ALL""",
    "metrics_masking": """
        SELECT connection, time::DATE AS day, count(*) FILTER (websocket IS NULL) AS requests,
               count(*) FILTER (websocket IS NULL AND len(masked) > 0) AS masked_requests,
               masked_requests / requests AS coverage,
               coalesce(sum(list_sum(list_transform(masked, lambda m: m.count))), 0)::BIGINT AS masked_values
        FROM flows WHERE connection IS NOT NULL GROUP BY ALL""",
    "metrics_approvals": """
        SELECT rule, asked::DATE AS day, count(*) AS asked, count(latency) AS decided,
               quantile_cont(latency, 0.5) AS p50_latency, quantile_cont(latency, 0.95) AS p95_latency
        FROM (SELECT asked, latency, unnest(rules) AS rule FROM approvals) GROUP BY ALL""",
}


def create(recordings: Recordings, *, kept: bool = False) -> None:
    """Write ``index.duckdb`` and the files that its views need. *kept* means that the caller holds the keeper's lock.

    Raises OSError, duckdb.Error.
    """
    live.prepare(recordings)
    for name in (events.FILE, approvals.FILE):
        path = recordings.make(recordings.log("_none")) / name
        os.close(recordings.open(path, os.O_WRONLY | os.O_CREAT))
    if not _seeded(recordings):
        with contextlib.nullcontext() if kept else keepers_lock(recordings, wait=_WAIT):
            _read_journals_again(recordings)
    target = recordings.database
    fresh = target.with_name(f".index.{os.getpid()}.duckdb")
    fresh.unlink(missing_ok=True)
    with connect() as connection:
        seed(connection, recordings)
        write_database(connection, fresh, recordings)
    recordings.share(fresh, 0o440)
    fresh.chmod(0o400 if recordings.readers is None else 0o440)
    os.replace(fresh, target)


def connect() -> duckdb.DuckDBPyConnection:
    """Connect to an empty database in memory, with one thread: this work is done before further threads have begun."""
    return duckdb.connect(config={"threads": 1})


def write_database(connection: duckdb.DuckDBPyConnection, path: Path, recordings: Recordings) -> None:
    """Make the database *path* with the views over *recordings*. Raises duckdb.Error."""
    connection.execute(f"ATTACH {quoted(str(path))} AS fresh (STORAGE_VERSION '{_STORAGE}')")
    connection.execute("USE fresh; BEGIN")
    # DuckDB opens the files when it creates a view over them. The views over `flows` would open them again, so they are
    # created over an empty view with its columns.
    made = views(recordings)
    shown = {name: kind for name, kind in COLUMNS.items() if name != "intent"}
    for name, query in {**made, "flows": _no_rows(shown)}.items():
        connection.execute(f"CREATE VIEW {name} AS {query}")
    connection.execute(f"CREATE OR REPLACE VIEW flows AS {made['flows']}")
    _describe(connection)
    connection.execute("COMMIT; USE memory")
    connection.execute("DETACH fresh")


def views(recordings: Recordings) -> dict[str, str]:
    """Return the query of each view, in an order in which they can be created."""
    root = recordings.root.resolve()
    journals = f"live AS NOT MATERIALIZED ({journal_rows(quoted(str(root / 'live' / '*.jsonl')))})"
    lines = _log(root / "log", approvals.FILE, approvals.COLUMNS, "approval_id")
    return {
        "flows": _flows(root / recordings.index.relative_to(recordings.root), journals),
        "intents": _intents(journals),
        "events": _log(root / "log", events.FILE, events.COLUMNS, "kind"),
        "approvals": _latest(lines),
        **_VIEWS,
    }


def views_over(recordings: Recordings, segments: Iterable[str]) -> dict[str, str]:
    """Return the same views, but with a `flows` that reads only the journals of *segments*."""
    paths = [str(path) for s in segments if (path := recordings.segments / f"{s}.jsonl").exists()]
    names = ", ".join(f'"{name}"' for name in COLUMNS if name != "intent")
    files = "[" + ", ".join(map(quoted, paths)) + "]"
    rows = f"SELECT * FROM ({journal_rows(files)})" if paths else _no_rows(COLUMNS)
    return {**views(recordings), "flows": f"SELECT {names} FROM ({rows}) WHERE NOT intent"}


def confine(connection: duckdb.DuckDBPyConnection, recordings: Recordings) -> None:
    """Restrict *connection* to files below the recordings folder, because other programs may have changed its views."""
    root = quoted(str(recordings.root.resolve()) + "/")
    connection.execute(f"SET TimeZone = 'UTC'; SET allowed_directories = [{root}]")
    connection.execute("SET enable_external_access = false; SET lock_configuration = true")


def removed(recordings: Recordings) -> bool:
    """Return whether a part of the index that always exists is gone, so that readers get errors instead of rows."""
    return not (recordings.database.exists() and _seeded(recordings))


def read_again(recordings: Recordings, covered: Container[str] = ()) -> int:
    """Link sealed segments that are neither linked in ``live/`` nor *covered* by Parquet files. SQL reads them then.

    Return their number. The caller must hold the keeper's lock. Raises OSError.
    """
    sealed = sealed_segments(recordings)  # before the links: a live worker makes the link first
    linked = {segment for _, segment in live.segments(recordings.root)}
    lost = [segment for segment in sealed if segment not in linked and segment not in covered]
    lost = [segment for segment in lost if (recordings.segments / f"{segment}.jsonl").is_file()]
    live.add(recordings, "sealed", *lost)
    return len(lost)


def _seeded(recordings: Recordings) -> bool:
    """Return whether the index has its first file, which `create` writes after all journals are linked."""
    return (recordings.index / SEED).exists()


def _read_journals_again(recordings: Recordings) -> None:
    """Link the journals of sealed segments, because this version has no Parquet of them yet."""
    if _seeded(recordings):
        return  # another process was first
    read_again(recordings)
    recordings.make(recordings.index)


def seed(connection: duckdb.DuckDBPyConnection, recordings: Recordings) -> None:
    """Write the empty Parquet file anew. It has every column of this version; older files may lack some."""
    write_parquet(connection, recordings, _no_rows(COLUMNS | MARKS), SEED, part=".seed")


def _no_rows(columns: Mapping[str, str]) -> str:
    """Return a query with these columns (types by name) and without rows."""
    return f"""SELECT {", ".join(f'NULL::{kind} AS "{name}"' for name, kind in columns.items())} LIMIT 0"""


def write_parquet(
    connection: duckdb.DuckDBPyConnection, recordings: Recordings, query: str, name: str, part: str = PART
) -> None:
    """Replace ``index/<name>`` atomically with the rows of *query*. Raises OSError, duckdb.Error."""
    target = recordings.index / name
    prepared = prepare_parquet(connection, recordings, query, name, part)
    resize(prepared, target.stat().st_size if target.exists() else 0)
    os.replace(prepared, target)


def prepare_parquet(
    connection: duckdb.DuckDBPyConnection, recordings: Recordings, query: str, name: str, part: str = PART
) -> Path:
    """Write the rows of *query* to a file that no view reads, and return its path. The caller must `resize` it."""
    partial = recordings.index / f"{part}-{name}.{os.getpid()}"
    try:
        connection.execute(
            f"COPY ({query}) TO {quoted(str(partial))} (FORMAT parquet, COMPRESSION zstd, PARQUET_VERSION v1)"
        )
        partial.chmod(recordings.file_mode)
        recordings.share(partial, recordings.file_mode)
    except (OSError, duckdb.Error):
        partial.unlink(missing_ok=True)
        raise
    return partial


#: The smallest file size in bytes. Sizes are powers of two; the unused part is a hole and takes no disk space.
_SMALLEST = 64 * 1024


def resize(path: Path, wanted: int = 0) -> int:
    """Give a Parquet file the size *wanted* (bytes), or a larger one if its data needs it, and sync. Return the size.

    DuckDB takes file sizes from its listing of the folder. If a file of another size replaced a listed one, DuckDB
    would look for the footer in the wrong place. So a replacement keeps the size, unless its data does not fit.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        size = os.fstat(descriptor).st_size
        footer = int.from_bytes(os.pread(descriptor, 4, size - 8), "little") + 8
        data = os.pread(descriptor, footer, size - footer)
        end = _end_of_data(descriptor, size - footer)
        if wanted < end + footer:
            wanted = _SMALLEST
            while wanted < (end + footer) * 9 // 8 + 4096:
                wanted *= 2
        os.ftruncate(descriptor, end)
        os.ftruncate(descriptor, wanted)
        os.pwrite(descriptor, data, wanted - footer)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return wanted


def _end_of_data(descriptor: int, size: int) -> int:
    """Return the offset of the hole before the footer; *size* if there is none."""
    try:
        return min(os.lseek(descriptor, 0, os.SEEK_HOLE), size)
    except OSError:  # this file system has no holes
        return size


def journal_rows(files: str) -> str:
    """Return the query of all rows of the journals *files* (an SQL expression), without torn or newer lines."""
    columns = ", ".join(f"{quoted(name)}: {quoted(kind)}" for name, kind in COLUMNS.items())
    return f"""
        SELECT {selected(_FILLED)} FROM read_json({files}, format='newline_delimited', columns={{{columns}}},
            ignore_errors=true, maximum_object_size=67108864)
        WHERE request_id IS NOT NULL AND version <= {SCHEMA_VERSION}"""


#: Journal lines omit these columns when they are empty.
_FILLED = {
    "groups": "coalesce(groups, [])",
    "indexes": "coalesce(indexes, [])",
    "shadow": "coalesce(shadow, [])",
    "trace": "coalesce(trace, [])",
    "approvals": "coalesce(approvals, [])",
    "masked": "coalesce(masked, [])",
    "results": "coalesce(results, [])",
    "dropped_headers": "coalesce(dropped_headers, [])",
    "repeated": "coalesce(repeated, false)",
    # of an earlier version, as far as its columns tell
    "outcome": "coalesce(outcome, CASE WHEN problem IS NOT NULL THEN 'refused' WHEN error IS NOT NULL THEN 'failed' "
    "ELSE 'complete' END)",
    "status": "coalesce(status, 0)",
    "request_bytes": "coalesce(request_bytes, 0)",
    "response_bytes": "coalesce(response_bytes, 0)",
    "offset": 'coalesce("offset", 0)',
    "length": "coalesce(length, 0)",
    "masked_request": "coalesce(masked_request, false)",
    "intent": "coalesce(intent, false)",
}


def selected(instead: Mapping[str, str] = {}) -> str:
    """Return the journal's columns as a SELECT list; *instead* replaces some by another expression."""
    return ", ".join(f'{instead[name]} AS "{name}"' if name in instead else f'"{name}"' for name in COLUMNS)


def _flows(folder: Path, live: str) -> str:
    """Return the query of the Parquet rows that count now, and of live journals that no Parquet covers.

    Rows and covered segments are read with two glob patterns over the same files. With one pattern, DuckDB would scan
    all rows to find the covered segments.
    """
    names = ", ".join(f'"{name}"' for name in COLUMNS if name != "intent")
    counts = f"since <= {_NOW} AND until > {_NOW}"
    rows, covers = (f"read_parquet({quoted(str(folder / pattern))})" for pattern in ("*.parquet", "?-*.parquet"))
    return f"""
        WITH {live}
        SELECT {names} FROM {rows} WHERE request_id IS NOT NULL AND {counts}
        UNION ALL
        SELECT {names} FROM live WHERE NOT intent
            AND segment NOT IN (SELECT covers FROM {covers} WHERE covers IS NOT NULL AND {counts})"""


def _intents(live: str) -> str:
    names = ", ".join(
        f'"{name}"'
        for name in ("request_id", "time", "worker", "connection", "session_id", "issuer", "user", "method", "path",
                     "operation", "model", "documents", "rule", "effect", "approvals", "policy_version", "segment")
    )  # fmt: skip
    return f"""
        WITH {live}
        SELECT {names} FROM live WHERE intent AND request_id NOT IN (SELECT request_id FROM live WHERE NOT intent)
        QUALIFY row_number() OVER (PARTITION BY request_id) = 1"""


def _log(log: os.PathLike[str], file: str, kinds: Mapping[str, str], required: str) -> str:
    """Return the query of the lines of *file* of every worker. Torn lines lack the *required* column: it skips them."""
    columns = ", ".join(f"{quoted(name)}: {quoted(kind)}" for name, kind in kinds.items())
    files = quoted(os.path.join(log, "*", file))
    return f"""
        SELECT * FROM read_json({files}, format='newline_delimited', columns={{{columns}}}, ignore_errors=true)
        WHERE {required} IS NOT NULL"""


def _latest(lines: str) -> str:
    """Return the query of the last line of each approval. An access window that is over has the outcome ``ended``."""
    return f"""
        WITH lines AS ({lines})
        SELECT * REPLACE (CASE WHEN outcome = 'approved' AND kind = 'access' AND until < now() AT TIME ZONE 'UTC'
                          THEN 'ended' ELSE outcome END AS outcome)
        FROM lines QUALIFY row_number() OVER (PARTITION BY approval_id ORDER BY changed DESC) = 1"""


def _describe(connection: duckdb.DuckDBPyConnection) -> None:
    said = []
    for view, (about, columns) in VIEWS.items():
        said.append(f"COMMENT ON VIEW {view} IS {quoted(about)}")
        said += [f'COMMENT ON COLUMN {view}."{column}" IS {quoted(text)}' for column, text in columns.items()]
    connection.execute("; ".join(said))


def quoted(text: str) -> str:
    """Quote *text* as an SQL string literal."""
    return "'" + text.replace("'", "''") + "'"
