"""Retention: removes a segment when all its lines are older than its connection keeps them, and leaves a tombstone.

Bodies may expire earlier: then the segment's flows are removed, with a tombstone of their own, and its journal stays.

Segments under a legal hold stay. Holds are lines beside the keeper's log, and evidence covers them. Retention writes
the tombstone first, then removes the rows from the index, then the files. The next run finishes after a crash.
"""

import contextlib
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from pathlib import Path

import duckdb
import msgspec

from weir.recorder import live
from weir.recorder.catalog import confine, quoted, views, views_over
from weir.recorder.entries import Expired, Removed, Sealed, erased_line
from weir.recorder.evidence import Log, as_sealed, entries, sealed_segments
from weir.recorder.folder import Recordings
from weir.recorder.indexer import Indexer
from weir.recorder.journal import timestamp

HOLDS = "holds.jsonl"


class Held(msgspec.Struct, frozen=True, tag="held", tag_field="kind", kw_only=True):
    """A line of ``log/keeper/holds.jsonl``: retention keeps one session, or the rows that ``query`` selects."""

    hold: str
    session: str
    query: str
    reason: str
    by: str
    since: str

    @property
    def condition(self) -> str:
        """The hold as an SQL condition on `flows`."""
        return f"session_id = {quoted(self.session)}" if self.session else f"({self.query})"


class Released(msgspec.Struct, frozen=True, tag="released", tag_field="kind", kw_only=True):
    """A line of the same file: the end of a hold."""

    hold: str
    by: str
    time: str


_decoder: msgspec.json.Decoder[Held | Released] = msgspec.json.Decoder(Held | Released)


def holds(log: Log) -> list[Held]:
    """Return every hold in the keeper's *log*. Raises OSError if another program changed the file."""
    return [hold for _, hold in held_lines(log)]


def held_lines(log: Log) -> list[tuple[int, Held]]:
    """Return every hold with its line number. Raises OSError if another program changed the file."""
    found: dict[str, tuple[int, Held]] = {}
    for number, line in enumerate(log.read(HOLDS)):
        if erased_line(line) is not None:
            if number not in log.erased.get(f"{log.worker}/{HOLDS}", ()):
                raise OSError(
                    f"{log.folder / HOLDS}: line {number + 1} was erased and has no tombstone; restore it from a backup"
                )
            continue  # the line of a released hold
        try:
            read = _decoder.decode(line)
        except msgspec.MsgspecError:
            raise OSError(
                f"{log.folder / HOLDS}: line {number + 1} is from a newer version, so nothing is removed; upgrade weir"
            ) from None
        if isinstance(read, Held):
            found[read.hold] = (number, read)
        else:
            found.pop(read.hold, None)
    return list(found.values())


def hold(log: Log, change: Held | Released) -> None:
    """Write *change* to the keeper's *log* and sign a checkpoint. Raises OSError."""
    log.write(HOLDS, msgspec.json.encode(change))
    log.checkpoint()


def held(recordings: Recordings, log: Log, segments: Iterable[str]) -> tuple[set[str], set[str]]:
    """Return the segments and the requests that holds select. Raises OSError, ValueError.

    The conditions are evaluated on the journals of *segments*, which evidence covers, and on the index, because a
    condition may also refer to other segments.
    """
    found = holds(log)
    if not found:
        return set(), set()
    query = f"SELECT segment, request_id FROM flows WHERE {' OR '.join(f'({h.condition})' for h in found)}"  # noqa: S608
    try:
        rows = []
        # This does not use the views in the folder's database, because other programs may have changed them.
        for made in (views(recordings), views_over(recordings, segments)):
            with duckdb.connect() as connection:
                for name, view in made.items():
                    connection.execute(f"CREATE VIEW {name} AS {view}")
                confine(connection, recordings)
                rows += connection.execute(query).fetchall()
    except duckdb.Error as error:
        raise ValueError(f"a hold is not valid SQL, so nothing is removed: {str(error).splitlines()[0]}") from None
    return {segment for segment, _ in rows}, {request for _, request in rows}


def expired(
    recordings: Recordings,
    keep: Mapping[str, int | None],
    default: int | None,
    now: float,
    gone: Collection[str] = (),
) -> list[Sealed]:
    """Return the sealed segments with only expired lines, except those in *gone*.

    *keep* has seconds by connection, *default* for others.
    """
    found = []
    for entry in sealed_segments(recordings).values():
        if entry.segment in gone:
            continue
        kept = keep.get(entry.segment.partition("/")[0], default)
        if kept is not None and entry.last:
            ended = datetime.fromisoformat(f"{entry.last}+00:00").timestamp()
            if ended + kept < now:
                found.append(entry)
    return found


def unheld(
    recordings: Recordings,
    log: Log,
    keep: Mapping[str, int | None],
    default: int | None,
    now: float,
    gone: Collection[str] = (),
) -> tuple[list[Sealed], list[str]]:
    """Return expired segments without a hold and not in *gone*, and problems with others. Raises ValueError, OSError.

    A segment that differs from its sealed root stays, because a tombstone would hide the difference.
    """
    found, problems = [], []
    for entry in expired(recordings, keep, default, now, gone):
        if as_sealed(recordings, entry, log.erased):
            found.append(entry)
        else:
            problems.append(f"{entry.segment} was changed after it was sealed, so it is not removed; see: weir verify")
    kept, _ = held(recordings, log, [entry.segment for entry in found])
    return [entry for entry in found if entry.segment not in kept], problems


def retain(
    recordings: Recordings,
    indexer: Indexer,
    log: Log,
    keep: Mapping[str, int | None],
    default: int | None,
    now: Callable[[], float] = time.time,
) -> tuple[list[Sealed], list[str]]:
    """Remove expired segments and finish interrupted removals. Return the removed segments, and problems.

    Segments that are still linked in ``live/`` stay until the next run: their Parquet rows do not count yet, or readers
    may still open their journals. Raises ValueError, OSError.
    """
    linked = {segment for _, segment in live.segments(recordings.root)}
    found, problems = unheld(recordings, log, keep, default, now())
    removed = [entry for entry in found if entry.segment not in linked]
    for entry in removed:
        log.append(
            Removed(segment=entry.segment, lines=entry.lines, root=entry.root, why="retention", time=timestamp(now()))
        )
    log.checkpoint()
    tombs = [entry.segment for _, entry in entries(recordings) if isinstance(entry, Removed)]
    standing = [s for s in tombs if (recordings.segments / f"{s}.jsonl").exists() or _flows(recordings, s).exists()]
    if standing:
        indexer.take_away(standing)
        _unlink(recordings, standing)
    return removed, problems


def expire_bodies(
    recordings: Recordings,
    log: Log,
    keep: Mapping[str, int | None],
    default: int | None,
    now: Callable[[], float] = time.time,
) -> tuple[list[Sealed], list[str]]:
    """Remove the flows of segments with only expired bodies; journals and rows stay. Return the segments, and problems.

    *keep*: seconds until bodies expire, by connection. Raises ValueError, OSError.
    """
    gone = without_bodies(recordings)
    found, problems = unheld(recordings, log, keep, default, now(), gone)
    for entry in found:
        log.append(Expired(segment=entry.segment, length=entry.length, why="retention", time=timestamp(now())))
    log.checkpoint()
    for segment in {*gone, *(entry.segment for entry in found)}:
        _flows(recordings, segment).unlink(missing_ok=True)
    return found, problems


def without_bodies(recordings: Recordings) -> set[str]:
    """Return the segments with a tombstone for their flows. Raises OSError."""
    return {entry.segment for _, entry in entries(recordings) if isinstance(entry, Expired)}


def _unlink(recordings: Recordings, segments: Collection[str]) -> None:
    for segment in segments:
        journal = recordings.segments / f"{segment}.jsonl"
        _flows(recordings, segment).unlink(missing_ok=True)
        journal.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # the folder holds other segments
            journal.parent.rmdir()


def _flows(recordings: Recordings, segment: str) -> Path:
    return recordings.segments / f"{segment}.mitm"
