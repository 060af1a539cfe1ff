"""Retention: whole segments go when all in them is older than their connection keeps it, and leave a tombstone.

What is held for a legal reason stays. The tombstone is written first, then the rows stop counting, then the files go: a
crash in between is finished by the next run.
"""

import contextlib
import json
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import duckdb

from weir.recorder import live
from weir.recorder.evidence import Log, Removed, Sealed, entries
from weir.recorder.folder import Recordings
from weir.recorder.index import quoted
from weir.recorder.indexing import Indexer
from weir.recorder.journal import timestamp

HOLDS = "holds.json"


@dataclass(frozen=True, slots=True)
class Hold:
    """What must not go: one session, or what *query* (a condition over `flows`) selects."""

    name: str
    session: str
    query: str
    reason: str
    by: str
    since: str

    @property
    def condition(self) -> str:
        """The same as SQL."""
        return f"session_id = {quoted(self.session)}" if self.session else f"({self.query})"


def holds(recordings: Recordings) -> list[Hold]:
    """Every hold. Raises OSError, or ValueError where they cannot be read."""
    try:
        return [Hold(**entry) for entry in json.loads((recordings.root / HOLDS).read_bytes())]
    except FileNotFoundError:
        return []
    except (TypeError, ValueError):
        raise ValueError(
            f"{recordings.root / HOLDS} is not readable; nothing is removed until it is restored"
        ) from None


def keep_holds(recordings: Recordings, all_: Iterable[Hold]) -> None:
    """Have *all_* be the holds. Raises OSError."""
    data = json.dumps([asdict(hold) for hold in all_], indent=1)
    recordings.replace(recordings.root / HOLDS, data.encode())


def held(recordings: Recordings) -> tuple[set[str], set[str]]:
    """The segments that holds name something in, and the requests. Raises ValueError where that cannot be said."""
    found = holds(recordings)
    if not found:
        return set(), set()
    conditions = " OR ".join(f"({hold.condition})" for hold in found)
    try:
        with duckdb.connect(str(recordings.database), read_only=True) as connection:
            query = f"SELECT segment, request_id FROM flows WHERE {conditions}"  # noqa: S608
            rows = connection.execute(query).fetchall()
    except duckdb.Error as error:
        raise ValueError(f"a hold cannot be read as SQL, so nothing is removed: {str(error).splitlines()[0]}") from None
    return {segment for segment, _ in rows}, {request for _, request in rows}


def expired(recordings: Recordings, keep: Mapping[str, int | None], default: int | None, now: float) -> list[Sealed]:
    """The sealed segments of which every line is older than its connection is kept. *keep* is in seconds."""
    gone, found = set(), []
    for _, entry in entries(recordings.root):
        if isinstance(entry, Removed):
            gone.add(entry.segment)
        elif isinstance(entry, Sealed) and entry.last:
            kept = keep.get(entry.segment.partition("/")[0], default)
            ended = datetime.fromisoformat(f"{entry.last}+00:00").timestamp()
            if kept is not None and ended + kept < now:
                found.append(entry)
    return [entry for entry in found if entry.segment not in gone]


def retain(
    recordings: Recordings,
    indexer: Indexer,
    log: Log,
    keep: Mapping[str, int | None],
    default: int | None,
    now: Callable[[], float] = time.time,
) -> list[Sealed]:
    """Remove what has expired, and finish what was begun. What was removed. Raises ValueError, OSError.

    What no Parquet covers yet, or a reader may still look for in its journal, stays until the next run.
    """
    kept, _ = held(recordings)
    linked = {segment for _, segment in live.segments(recordings.root)}
    removed = [
        entry
        for entry in expired(recordings, keep, default, now())
        if entry.segment not in kept and entry.segment not in linked
    ]
    for entry in removed:
        log.append(
            Removed(segment=entry.segment, lines=entry.lines, root=entry.root, why="retention", time=timestamp(now()))
        )
    log.checkpoint()
    tombs = [entry.segment for _, entry in entries(recordings.root) if isinstance(entry, Removed)]
    standing = [s for s in tombs if (recordings.segments / f"{s}.jsonl").exists() or _flows(recordings, s).exists()]
    if standing:
        indexer.take_away(standing)
        _unlink(recordings, standing)
    return removed


def _unlink(recordings: Recordings, segments: Collection[str]) -> None:
    for segment in segments:
        journal = recordings.segments / f"{segment}.jsonl"
        _flows(recordings, segment).unlink(missing_ok=True)
        journal.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # others are in it
            journal.parent.rmdir()


def _flows(recordings: Recordings, segment: str) -> Path:
    return recordings.segments / f"{segment}.mitm"
