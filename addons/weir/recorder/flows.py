"""Reads recorded exchanges: rows of the index, and their flows."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
from mitmproxy import exceptions, io
from mitmproxy.http import HTTPFlow

from weir.recorder.folder import Recordings


class MissingFlowError(Exception):
    """A flow in the index cannot be read; the message names it."""


@dataclass(frozen=True, slots=True)
class Filters:
    """Selects requests that meet every given condition. Times are SQL timestamps, UTC."""

    user: str = ""
    connection: str = ""
    since: str = ""
    until: str = ""
    status: int | None = None
    decision: str = ""  # allow, deny, limit, require_approval
    where: str = ""  # a condition over `flows`
    ids: Sequence[str] = field(default=())  # of requests or sessions

    def condition(self) -> tuple[str, list[Any]]:
        """Return the filters as an SQL condition with its parameters."""
        parts, values = ["true"], list[Any]()
        for clause, value in (
            ('"user" = ?', self.user),
            ("connection = ?", self.connection),
            ("time >= ?::TIMESTAMP", self.since),
            ("time < ?::TIMESTAMP", self.until),
            ("status = ?", self.status),
            ("effect = ?", self.decision),
        ):
            if value not in ("", None):
                parts.append(clause)
                values.append(value)
        if self.ids:
            marks = ", ".join("?" for _ in self.ids)
            parts.append(f"(request_id IN ({marks}) OR session_id IN ({marks}))")
            values += [*self.ids, *self.ids]
        if self.where:
            parts.append(f"({self.where})")
        return " AND ".join(parts), values


def rows(connection: duckdb.DuckDBPyConnection, filters: Filters, limit: int | None = None) -> list[dict[str, Any]]:
    """Return the rows of `flows` that match *filters*, in order of time. Raises duckdb.Error."""
    condition, values = filters.condition()
    cut = f" LIMIT {limit}" if limit else ""
    connection.execute(f"SELECT * FROM flows WHERE {condition} ORDER BY time, request_id{cut}", values)  # noqa: S608
    names = [column[0] for column in connection.description or ()]
    return [dict(zip(names, row, strict=True)) for row in connection.fetchall()]


def flow_of(recordings: Recordings, row: dict[str, Any]) -> HTTPFlow:
    """Return the flow of one row of `flows`. Raises `MissingFlowError`."""
    path = recordings.segments / f"{row['segment']}.mitm"
    try:
        with path.open("rb") as file:
            file.seek(row["offset"])
            flow = next(iter(io.FlowReader(file).stream()))
    except FileNotFoundError:
        raise MissingFlowError(_gone(path, row)) from None
    except (OSError, StopIteration, ValueError, exceptions.FlowReadException) as error:
        raise MissingFlowError(
            f"{path}: the flow of {row['request_id']} cannot be read ({type(error).__name__}); was it moved or expired?"
        ) from None
    if not isinstance(flow, HTTPFlow) or flow.id != row["request_id"]:
        raise MissingFlowError(f"{path} does not hold {row['request_id']} at its recorded offset; see: weir verify")
    return flow


def _gone(path: Path, row: dict[str, Any]) -> str:
    """Return why the file *path* with the flow of *row* does not exist."""
    if has_expired(path):
        return f"the bodies of {row['request_id']} have expired (record: {{bodies: {{keep: …}}}}); its row stays"
    return f"{path}: the flow of {row['request_id']} cannot be read; was it moved or expired?"


def without_expired(recordings: Recordings, found: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of *found* except those with expired bodies."""
    paths = {segment: recordings.segments / f"{segment}.mitm" for segment in {row["segment"] for row in found}}
    expired = {segment for segment, path in paths.items() if not path.exists() and has_expired(path)}
    return [row for row in found if row["segment"] not in expired]


def has_expired(flows: Path) -> bool:
    """Return whether *flows*, a file that does not exist, has a journal: then only its bodies have expired."""
    return flows.with_suffix(".jsonl").exists()


def raw_flows(recordings: Recordings, found: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    """Yield the stored bytes of the flow of each row of *found*. Raises `MissingFlowError`."""
    for row in found:
        flow_of(recordings, row)  # raises if another flow is at this offset
        yield stored(recordings, row)


def stored(recordings: Recordings, row: dict[str, Any]) -> bytes:
    """Return the stored bytes at the place of the flow of one row of `flows`. Raises `MissingFlowError`."""
    path = recordings.segments / f"{row['segment']}.mitm"
    try:
        with path.open("rb") as file:
            file.seek(row["offset"])
            return file.read(row["length"])
    except FileNotFoundError:
        raise MissingFlowError(_gone(path, row)) from None
    except OSError as error:
        raise MissingFlowError(
            f"{path}: the flow of {row['request_id']} cannot be read ({error.strerror}); was it moved or expired?"
        ) from None
