"""The headers of recorded requests that the current policies drop, for ``weir check``."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator

import duckdb

from weir.cli.recordings import record_read
from weir.policyset.connection import Connection
from weir.recorder.catalog import confine
from weir.recorder.flows import MissingFlowError, flow_of
from weir.recorder.folder import Recordings, read_format

#: The newest requests of each connection that are read, and the largest recorded flow, in bytes.
_MOST = 200
_LARGEST = 1 << 20
#: The most names in one line of the report.
_MOST_NAMES = 10


def dropped_in_recordings(
    recordings: Recordings, connections: Iterable[Connection]
) -> Iterator[tuple[Connection, str]]:
    """Yield a sentence for each connection with recorded headers that would not reach its service now.

    Reads at most 200 requests of each connection, and records this as an event. Yields nothing if there are no
    recordings, or if they belong to another user: the event must be the gateway's user's file. Raises OSError or
    `HomeError` if the event cannot be written.
    """
    try:
        read_format(recordings.root)
        if not recordings.database.is_file() or recordings.root.stat().st_uid != os.getuid():
            return
    except OSError:  # `FormatError` is one
        return
    record_read(recordings, "read", "check", "header names")
    try:
        with duckdb.connect(str(recordings.database), read_only=True) as index:
            confine(index, recordings)
            noted = _noted(index)
            for connection in connections:
                if counts := _dropped(recordings, index, noted, connection):
                    yield connection, _sentence(counts)
    except duckdb.Error:
        return  # the gateway makes the index again when it starts


def _noted(index: duckdb.DuckDBPyConnection) -> str:
    """Return the column with the names that were dropped; an index of an older version has none."""
    index.execute("SELECT * FROM flows LIMIT 0")
    return "dropped_headers" if "dropped_headers" in {c[0] for c in index.description or ()} else "[]"


def _dropped(
    recordings: Recordings, index: duckdb.DuckDBPyConnection, noted: str, connection: Connection
) -> Counter[str]:
    query = f"""
        SELECT request_id, segment, "offset", length, {noted} FROM flows
        WHERE connection = ? AND websocket IS NULL AND upstream_status IS NOT NULL ORDER BY time DESC LIMIT ?"""  # noqa: S608
    counts: Counter[str] = Counter()
    for request_id, segment, offset, length, names in index.execute(query, [connection.name, _MOST]).fetchall():
        fields = [(name.encode(), b"") for name in names]
        if length <= _LARGEST:
            fields += _recorded(recordings, {"request_id": request_id, "segment": segment, "offset": offset})
        _, dropped = connection.forwarding.divide(fields)
        counts.update({name.decode("latin-1").lower() for name in dropped})
    return counts


def _recorded(recordings: Recordings, row: dict[str, object]) -> tuple[tuple[bytes, bytes], ...]:
    try:
        return flow_of(recordings, row).request.headers.fields
    except MissingFlowError:
        return ()


def _sentence(counts: Counter[str]) -> str:
    names = ", ".join(f"{name} ({count})" for name, count in counts.most_common(_MOST_NAMES))
    more = f" and {len(counts) - _MOST_NAMES} more" if len(counts) > _MOST_NAMES else ""
    return (
        f"callers send headers that the service does not receive: {names}{more}, of the newest {_MOST} recorded "
        "requests; if the service needs one, and callers may choose its value, name it in `forward`"
    )
