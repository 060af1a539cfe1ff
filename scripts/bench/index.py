"""Measures ten SQL questions over ten million flows with thirty million ranked results.

The script makes recordings of 90 days in the layout that housekeeping leaves (one file per day, and approvals in their
log), which takes a few minutes and about 2 GB. It asks each question five times through the views, with two threads,
and prints the medians. It fails if a question takes half a second or more.

    .venv/bin/python scripts/bench/index.py [--flows 10000000] [--folder DIR] [--json FILE]
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "addons")]

import duckdb
from rich.console import Console
from rich.progress import track
from rich.table import Table

from weir.recorder import catalog, live
from weir.recorder.catalog import MARKS, quoted, write_parquet
from weir.recorder.folder import Recordings
from weir.recorder.journal import COLUMNS

DAYS = 90
END = datetime(2026, 11, 20, tzinfo=UTC)
_DAY_MS = 86_400_000
#: The columns of a flow, computed from its number `i` and its time in milliseconds `ms`. Other columns are NULL.
FLOW = {
    "version": "2",
    "request_id": "printf('%08x-%04x-7%03x-%04x-%012x', (ms >> 16)::BIGINT, (ms & 65535)::BIGINT, (i & 4095)::BIGINT, "
    "32768 + (hash(i) & 16383)::BIGINT, (hash(i + 1) & 281474976710655)::BIGINT)",
    "time": "make_timestamp(ms * 1000)",
    "duration_ms": "5 + (hash(i + 2) % 200000) / 1000.0",
    "upstream_ms": "4 + (hash(i + 2) % 200000) / 1000.0",
    "worker": "'w' || (hash(i * 3) % 4)",
    "segment": "'c' || (hash(i * 5) % 8) || '/' || strftime(make_timestamp(ms * 1000), '%Y-%m-%d') || '/w0-x-' || (i // 10000)",
    "offset": "(i % 10000) * 8000",
    "length": "8000",
    "sha256": "NULL",
    "connection": "'c' || (hash(i * 5) % 8)",
    "session_id": "printf('%016x', hash(i // 20))",
    "issuer": "'https://login.example.com/realms/acme'",
    "user": "'user' || (hash(i // 20) % 5000) || '@example.com'",
    "groups": "['acme/search']",
    "client_ip": "'10.0.' || (hash(i // 20) % 200) || '.7'",
    "method": "'POST'",
    "path": "'/v2/rerank'",
    "operation": "'rerank'",
    "model": "'rerank-v' || (hash(i * 13) % 4)",
    "documents": "20",
    "top_n": "3",
    "indexes": "[]",
    "request_bytes": "4000 + hash(i) % 2000",
    "response_bytes": "900",
    "status": "CASE WHEN hash(i * 7) % 50 < 2 THEN 403 ELSE 200 END",
    "upstream_status": "CASE WHEN hash(i * 7) % 50 < 2 THEN NULL ELSE 200 END",
    "effect": "CASE hash(i * 7) % 50 WHEN 0 THEN 'deny' WHEN 1 THEN 'require_approval' ELSE 'allow' END",
    "rule": "CASE WHEN hash(i * 7) % 50 < 2 THEN 'rule-' || (hash(i * 11) % 12) ELSE 'access' END",
    "problem": "CASE hash(i * 7) % 50 WHEN 0 THEN 'denied' WHEN 1 THEN 'approval-pending' END",
    "policy_version": "sha256('policies' || (i // 1000000))",
    "shadow": "[]",
    "trace": "[]",
    "approvals": "[]",
    "query_digest": "printf('%016x', hash(hash(i * 17) % 20000))",
    "masked_request": "hash(i * 61) % 3 = 0",
    "masked": "CASE WHEN hash(i * 61) % 3 = 0 THEN [{'path': '$.documents[*].user', 'strategy': 'hash', 'count': 20, "
    "'kind': '', 'rule': 'masks[0]'}, {'path': '', 'strategy': 'redact', 'count': 2, 'kind': 'email', 'rule': 'masks[1]'}] "
    "ELSE [] END",
    "results": "list_transform([1, 2, 3], lambda r: {'index': hash(i * 19 + r) % 20, "
    "'score': round(1.0 / r - (hash(i * 23 + r) % 1000) / 4000.0, 4), "
    "'document': printf('%016x', hash(hash(i * 17) % 20000 * 50 + hash(i * 29 + r) % 6))})",
}
#: The questions. {id}, {user}, {session} and {query} come from a flow in the middle; {day}, {week} and {month} are dates.
QUESTIONS = {
    "one flow by request id": "SELECT * FROM flows WHERE request_id = '{id}'",
    "a user's last 50": """SELECT time, request_id, operation, status, effect, rule FROM flows WHERE "user" = '{user}'
        ORDER BY time DESC LIMIT 50""",
    "a session in order": "SELECT * FROM flows WHERE session_id = '{session}' AND time >= '{before}' AND time < '{after}' "
    "ORDER BY time",
    "denials per hour and rule over a day": """SELECT date_trunc('hour', time) AS hour, rule, count(*) FROM violations
        WHERE effect = 'deny' AND time >= '{day}' GROUP BY ALL ORDER BY ALL""",
    "violation rate per connection over 30 days": """SELECT connection,
        count(*) FILTER (effect IN ('deny', 'limit', 'require_approval') AND problem IS NOT NULL) / count(*) AS rate
        FROM flows WHERE time >= '{month}' GROUP BY connection""",
    "p50, p95 approval latency per rule over 30 days": """SELECT rule, quantile_cont(latency, [0.5, 0.95])
        FROM (SELECT latency, unnest(rules) AS rule FROM approvals WHERE asked >= '{month}') GROUP BY rule""",
    "masked values per kind and connection over 7 days": """SELECT coalesce(nullif(kind, ''), path) AS kind, connection,
        sum(count) FROM masked_fields WHERE time >= '{week}' GROUP BY ALL""",
    "the 20 slowest sessions of a day": """SELECT session_id, date_diff('millisecond', min(time), max(time)) / 1000.0 AS seconds,
        count(*) FROM flows WHERE time >= '{day}' GROUP BY session_id ORDER BY seconds DESC LIMIT 20""",
    "documents whose rank for one query changed over a week": """SELECT document, min(rank), max(rank), count(*)
        FROM rankings WHERE query_digest = '{query}' AND time >= '{week}' GROUP BY document HAVING min(rank) <> max(rank)""",
    "top-1 score quantiles per model over a day": """SELECT model, quantile_cont(score, [0.05, 0.5, 0.95]), count(*)
        FROM rankings WHERE rank = 1 AND time >= '{day}' GROUP BY model""",
}


def make(recordings: Recordings, flows: int) -> None:
    """Make ninety days of recordings: the index and the approvals, without segments."""
    recordings.identify()
    live.prepare(recordings)
    catalog.create(recordings)
    first = int((END - timedelta(days=DAYS)).timestamp() * 1000)
    each = flows // DAYS
    values = ", ".join(f'({FLOW.get(name, "NULL")})::{kind} AS "{name}"' for name, kind in COLUMNS.items())
    marks = ", ".join(
        f'{0 if name == "since" else 1 << 62}::{kind} AS "{name}"' for name, kind in MARKS.items() if name != "covers"
    )
    with duckdb.connect() as connection:
        connection.execute("SET threads = 2")
        for day in track(range(DAYS), description="Making days"):
            date = (END - timedelta(days=DAYS - day)).strftime("%Y-%m-%d")
            query = f"""SELECT {values}, {marks}, NULL::VARCHAR AS covers
                FROM (SELECT {day * each} + range AS i, {first + day * _DAY_MS} + range * {_DAY_MS // each} AS ms FROM range({each}))"""
            name = f"d-{99999999 - int(date.replace('-', ''))}-{date}-0.parquet"
            write_parquet(connection, recordings, query, name)
        approvals = recordings.make(recordings.log("admin")) / "approvals.jsonl"
        count = flows // 500
        connection.execute(f"""COPY (
            SELECT printf('%032x', hash(i)) AS approval_id, i * 2 + c AS changed, 'admin' AS worker, 'request' AS kind,
                   ['pending', 'approved'][c + 1] AS outcome, strftime(asked, '%Y-%m-%dT%H:%M:%S.%f') AS asked,
                   CASE c WHEN 1 THEN strftime(asked + to_seconds(latency), '%Y-%m-%dT%H:%M:%S.%f') END AS decided,
                   CASE c WHEN 1 THEN latency END AS latency, ['olga'] AS decided_by, 'c1' AS connection, 'acme' AS issuer,
                   'user' || (hash(i) % 5000) AS "user", 300 AS documents, ['rule-' || (hash(i * 11) % 12)] AS rules
            FROM (SELECT range AS i, make_timestamp({first}::BIGINT * 1000 + range * {DAYS * _DAY_MS // count}::BIGINT * 1000) AS asked,
                         (hash(range) % 60000) / 1000.0 AS latency FROM range({count})), range(2) AS r(c)
            ) TO {quoted(str(approvals))} (FORMAT json)""")


def main() -> None:
    """Make the recordings, ask the questions and print the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--flows", type=int, default=10_000_000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="recordings of an earlier run, or a new folder to keep them")
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "index.json")
    options = parser.parse_args()
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix="weir-bench-") as name:
        recordings = Recordings(options.folder or Path(name) / "recordings")
        if not recordings.database.exists():
            make(recordings, options.flows)
        catalog.create(recordings)
        with duckdb.connect(str(recordings.database), read_only=True) as connection:
            rows = ask(console, connection, options.runs)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(
        json.dumps({"cores": os.cpu_count(), "duckdb": duckdb.__version__, "questions": rows}, indent=1)
    )
    if max(row["median_s"] for row in rows) >= 0.5:
        raise SystemExit("bench: a question took half a second or more")


def ask(console: Console, connection: duckdb.DuckDBPyConnection, runs: int) -> list[dict[str, object]]:
    """Ask each question *runs* times, and print and return the times."""
    connection.execute("SET threads = 2; SET TimeZone = 'UTC'")
    totals = connection.execute("SELECT count(*), sum(len(results)) FROM flows").fetchall()[0]
    middle = END - timedelta(days=40, hours=12)
    flow = connection.execute(
        'SELECT request_id, "user", session_id, query_digest, time FROM flows WHERE time >= ? ORDER BY time LIMIT 1',
        [middle.replace(tzinfo=None)],
    ).fetchall()[0]
    names = dict(zip(("id", "user", "session", "query"), flow, strict=False))
    days = {"day": 1, "week": 7, "month": 30}
    names |= {name: (END - timedelta(days=count)).strftime("%Y-%m-%d") for name, count in days.items()}
    names |= {"before": f"{flow[4] - timedelta(hours=1)}", "after": f"{flow[4] + timedelta(hours=1)}"}
    table = Table("question", "rows", "median s", "max s", header_style="bold")
    rows: list[dict[str, object]] = []
    for question, query in QUESTIONS.items():
        taken = []
        for _ in range(runs):
            began = time.perf_counter()
            found = connection.execute(query.format(**names)).fetchall()
            taken.append(time.perf_counter() - began)
        assert found, question
        rows.append({"question": question, "median_s": statistics.median(taken), "rows": len(found)})
        table.add_row(question, str(len(found)), f"{statistics.median(taken):.3f}", f"{max(taken):.3f}")
    console.print(table)
    console.print(f"{totals[0]:,} flows, {totals[1]:,} ranked results, two threads, {runs} runs each")
    return rows


if __name__ == "__main__":
    main()
