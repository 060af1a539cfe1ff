"""Turns sealed journals into Parquet files, and merges small Parquet files, while others read them.

Rows of recent days are in slots, ``index/a-<number>.parquet``. When a day is over, they are gathered in
``index/d-<number>-<date>-<part>.parquet``; the number makes the newest file the first in a listing. File names stay: an
unneeded slot is emptied and used again, and a replacement has the size of the file that it replaces (`catalog.resize`).

Readers never lose rows. New rows count from a moment in the future. The rows that they replace get that moment as their
end before it comes. Files are emptied only `GRACE` seconds after it. Only the holder of the keeper's lock may call
these functions.
"""

import glob
import json
import os
import signal
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import duckdb

from weir.recorder import live
from weir.recorder.catalog import PART, journal_rows, prepare_parquet, quoted, resize, write_parquet
from weir.recorder.folder import Recordings, read_regular
from weir.recorder.journal import COLUMNS

#: Seconds that replaced rows stay in their files. A query may take that long to open its files.
GRACE = 60.0
#: Minimum seconds from writing rows to the moment at which they count.
DELAY = 2.0
#: Number of slots of similar size that are merged into one.
GATHER = 8
#: Maximum number of segments in a new slot.
_BATCH = 64
_FOREVER = 1 << 62
_PENDING = "pending.json"
#: Stands for a file name: any free slot.
_SLOT = ""


@dataclass(frozen=True, slots=True)
class Slot:
    """One slot: number of rows and of covered segments, first and last day of the rows, and latest since and until."""

    name: str
    rows: int
    covers: int
    covers_since: float
    first: str  # date
    last: str
    since: float
    until: float


class Indexer:
    """Maintains the Parquet files of one recordings folder."""

    def __init__(self, recordings: Recordings) -> None:
        """Open DuckDB, and finish work that a crash interrupted. Raises OSError, duckdb.Error."""
        self._recordings = recordings
        self._connection = duckdb.connect()
        self._connection.execute("SET TimeZone = 'UTC'; SET preserve_insertion_order = true; SET threads = 1")
        self._connection.execute(f"SET temp_directory = {quoted(str(recordings.index / '.spill'))}")
        self._resume()

    def close(self) -> None:
        """Close DuckDB."""
        self._connection.close()

    def covered(self) -> dict[str, float]:
        """Return the segments with rows in Parquet, and the Unix time from which these rows count."""
        counts = f"covers IS NOT NULL AND until > {self._now()}"
        rows = self._rows(f"SELECT covers, min(since) FROM {self._files('*')} WHERE {counts} GROUP BY 1")
        return {segment: since / 1e6 for segment, since in rows}

    def add(self, segments: Sequence[str]) -> int:
        """Write the journals of the sealed *segments* into slots. Return the number of rows."""
        total = 0
        for start in range(0, len(segments), _BATCH):
            batch = segments[start : start + _BATCH]
            files = [str(self._recordings.segments / f"{segment}.jsonl") for segment in batch]
            there = [(s, f) for s, f in zip(batch, files, strict=True) if os.path.exists(f)]
            paths = "[" + ", ".join(quoted(f) for _, f in there) + "]"
            rows = f"SELECT * FROM ({journal_rows(paths)}) WHERE NOT intent" if there else self._no_rows()
            covers = ", ".join(f"({quoted(segment)})" for segment in batch)

            def query(since: int, rows: str = rows, covers: str = covers) -> str:
                return f"""
                    SELECT *, {since}::BIGINT AS since, {_FOREVER}::BIGINT AS until, NULL::VARCHAR AS covers
                    FROM (FROM ({rows}) ORDER BY time)
                    UNION ALL BY NAME
                    SELECT *, {since}::BIGINT AS since, {_FOREVER}::BIGINT AS until
                    FROM (VALUES {covers}) AS c(covers)"""

            made = self._put(lambda since, query=query: [(_SLOT, query(since))])  # type: ignore[misc]
            total += self._rows(f"SELECT count(request_id) FROM {self._files(*made)}")[0][0]
        return total

    def gather(self) -> bool:
        """Merge several slots into a larger one, or into files of past days. Return whether there were enough slots."""
        today = time.strftime("%Y-%m-%d", time.gmtime(time.time()))
        settled = [s for s in self.slots() if s.rows and s.since <= time.time() and s.until >= _FOREVER / 1e6]
        over = [slot for slot in settled if slot.last < today]
        if over:
            self._into_days(over)
            return True
        sizes: dict[int, list[Slot]] = {}
        for slot in settled:
            sizes.setdefault((slot.rows // 1000).bit_length() // 3, []).append(slot)
        for same in sizes.values():
            if len(same) >= GATHER:
                self._into_slot([slot.name for slot in same])
                return True
        return False

    def tidy(self) -> None:
        """Empty slots that have not counted for `GRACE` seconds, and clear links to journals that Parquet covers."""
        before = time.time() - GRACE
        covered = self.covered()
        for slot in self.slots():
            ended = slot.rows > 0 and slot.until <= before  # the file that took its rows also covers its segments
            forgotten = slot.rows == 0 and slot.covers > 0 and slot.covers_since < time.time() - 86400
            if ended or forgotten:
                query = f"SELECT * FROM {self._files('0-empty.parquet')}"
                write_parquet(self._connection, self._recordings, query, slot.name)
        for link, segment in live.segments(self._recordings.root):
            if covered.get(segment, before + 1) <= before:
                live.clear(link)

    def take_away(self, segments: Collection[str], requests: Collection[str] = ()) -> int:
        """Remove all rows of *segments* and of *requests* from Parquet. Return the number of removed rows."""
        taken = 0
        gone = f"(segment IN ({_list(segments)}) OR request_id IN ({_list(requests)}))"
        for path in sorted(glob.glob(str(self._recordings.index / "[ad]-*.parquet"))):
            name = os.path.basename(path)
            rows = f"FROM {self._files(name)} WHERE request_id IS NOT NULL AND {gone}"
            found = self._rows(f"SELECT count(*) {rows}")[0][0]
            if found:
                taken += found
                kept = f"SELECT * FROM {self._files(name)} WHERE request_id IS NULL OR NOT coalesce({gone}, false)"
                write_parquet(self._connection, self._recordings, kept, name)
        return taken

    def slots(self) -> list[Slot]:
        """Return every slot that is not empty."""
        if next(self._recordings.index.glob("a-*.parquet"), None) is None:
            return []
        rows = self._rows(f"""
            SELECT filename, count(request_id), count(covers),
                   coalesce(max(since) FILTER (covers IS NOT NULL), 0) / 1e6,
                   coalesce(min(time)::DATE::VARCHAR, ''), coalesce(max(time)::DATE::VARCHAR, ''),
                   coalesce(max(since) FILTER (request_id IS NOT NULL), 0) / 1e6,
                   coalesce(max(until) FILTER (request_id IS NOT NULL), 0) / 1e6
            FROM {self._files("a-*.parquet", filename=True)} GROUP BY 1 ORDER BY 1""")
        return [Slot(os.path.basename(row[0]), *row[1:]) for row in rows]

    def rebuild(self, segments: Sequence[str], progress: Callable[[int], None] = lambda done: None) -> int:
        """Replace all rows by those of the journals of *segments*. Return the number of rows."""
        old = [os.path.basename(p) for p in glob.glob(str(self._recordings.index / "[ad]-*.parquet"))]
        directory, total = self._recordings, 0
        made: list[str] = []
        for start in range(0, len(segments), _BATCH):
            batch = list(segments[start : start + _BATCH])
            paths = "[" + ", ".join(quoted(str(directory.segments / f"{s}.jsonl")) for s in batch) + "]"
            covers = ", ".join(f"({quoted(segment)})" for segment in batch)
            name = f"{PART}-rebuilt-{start:08d}"
            rows = f"SELECT * FROM ({journal_rows(paths)}) WHERE NOT intent"
            query = f"""
                SELECT *, NULL::VARCHAR AS covers FROM (FROM ({rows}) ORDER BY time)
                UNION ALL BY NAME SELECT * FROM (VALUES {covers}) AS c(covers)"""
            write_parquet(self._connection, directory, query, name)
            made.append(name)
            total += self._rows(f"SELECT count(request_id) FROM {self._files(name)}")[0][0]
            progress(min(start + _BATCH, len(segments)))
        if made or old:
            self._put(lambda since: self._rebuilt(made, old, since))
        for name in made:
            (directory.index / name).unlink()
        return total

    # Changes of the rows that count.

    def _put(self, plan: Callable[[int], list[tuple[str, str]]]) -> list[str]:
        """Put files in place before the moment from which their rows count. Return the names of the files.

        *plan* returns (name, query) pairs for that moment in microseconds; the name `_SLOT` stands for any free slot.
        The list of prepared files is written first, so that the next `Indexer` finishes after a crash.
        """
        delay = DELAY
        while True:
            since = int((time.time() + delay) * 1e6)
            prepared: list[tuple[str, str]] = []
            try:
                for number, (name, query) in enumerate(plan(since)):
                    file = prepare_parquet(self._connection, self._recordings, query, f"{number}.parquet")
                    prepared.append((file.name, name))
            except BaseException:
                for part, _ in prepared:
                    (self._recordings.index / part).unlink(missing_ok=True)
                raise
            if time.time() < since / 1e6 - delay / 4:
                break
            for part, _ in prepared:
                (self._recordings.index / part).unlink()
            delay *= 4
        placed = self._places(prepared)
        pending = self._recordings.index / _PENDING
        if len(placed) > 1:
            self._recordings.replace(pending, json.dumps(placed).encode())
        self._finish(placed)
        pending.unlink(missing_ok=True)
        return [name for _, name in placed]

    def _places(self, prepared: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        """Assign free slots to `_SLOT`, and pad each file to the size of the file that it replaces."""
        sizes = {path.name: path.stat().st_size for path in self._recordings.index.glob("*.parquet")}
        free = {name for name in sizes if name.startswith("a-")} - {slot.name for slot in self.slots()}
        placed = []
        for part, name in prepared:
            target = name
            if name == _SLOT:
                size = (self._recordings.index / part).stat().st_size
                fits = sorted((sizes[slot], slot) for slot in free if sizes[slot] >= size)
                target = fits[0][1] if fits else f"a-{sum(n.startswith('a-') for n in sizes):06d}.parquet"
                free.discard(target)
            sizes[target] = resize(self._recordings.index / part, sizes.get(target, 0))
            placed.append((part, target))
        return placed

    def _finish(self, prepared: Sequence[Sequence[str]]) -> None:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
        try:
            for part, name in prepared:
                if (self._recordings.index / part).exists():
                    os.replace(self._recordings.index / part, self._recordings.index / name)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _resume(self) -> None:
        pending = self._recordings.index / _PENDING
        if pending.exists():
            try:
                placed = json.loads(read_regular(pending))
                ours = all(_placed(*pair) for pair in placed)
            except (ValueError, TypeError):
                ours = False
            if not ours:
                raise OSError(f"{pending} does not name files of the index; remove it, then run: weir index rebuild")
            self._finish(placed)
            pending.unlink()
        for left in self._recordings.index.glob(f"{PART}-*"):
            left.unlink()

    def _moved(self, names: Sequence[str], since: int, where: str = "true") -> str:
        """Return the query of the rows of *names* that still count, with a new *since*, and of the covered segments."""
        files = self._files(*names)
        return f"""
            FROM (SELECT * REPLACE ({since}::BIGINT AS since) FROM {files}
                  WHERE request_id IS NOT NULL AND until = {_FOREVER} AND {where} ORDER BY time)
            UNION ALL BY NAME SELECT * FROM {files} WHERE covers IS NOT NULL AND until = {_FOREVER}"""

    def _ended(self, names: Sequence[str], until: int) -> list[tuple[str, str]]:
        """Return the same files with rows that count only until *until*; their segments stay covered."""
        end = f"CASE WHEN request_id IS NULL OR until < {_FOREVER} THEN until ELSE {until} END"
        return [(name, f"SELECT * REPLACE ({end} AS until) FROM {self._files(name)}") for name in names]

    def _into_slot(self, names: Sequence[str]) -> None:
        self._put(lambda since: [(_SLOT, self._moved(names, since)), *self._ended(names, since)])

    def _into_days(self, slots: Sequence[Slot]) -> None:
        names = [slot.name for slot in slots]
        days = [day for (day,) in self._rows(
            f"SELECT DISTINCT time::DATE::VARCHAR FROM {self._files(*names)} "
            f"WHERE request_id IS NOT NULL AND until = {_FOREVER} ORDER BY 1"
        )]  # fmt: skip

        def plan(since: int) -> list[tuple[str, str]]:
            moved = [(day, self._moved(names, since, f"time::DATE = DATE {quoted(day)}")) for day in days]
            return [*((self._day_file(day), query) for day, query in moved), *self._ended(names, since)]

        self._put(plan)

    def _rebuilt(self, made: Sequence[str], old: Sequence[str], since: int) -> list[tuple[str, str]]:
        files: list[tuple[str, str]] = self._ended(old, since)
        for name in made:
            marks = f"{since}::BIGINT AS since, {_FOREVER}::BIGINT AS until"
            columns = ", ".join(f'"{column}"' for column in COLUMNS)
            files.append((_SLOT, f"SELECT {columns}, covers, {marks} FROM {self._files(name)}"))
        return files

    def _day_file(self, day: str) -> str:
        """Return the name of the next file of *day* (YYYY-MM-DD). Newer days come first in a listing."""
        before = f"d-{99999999 - int(day.replace('-', ''))}-{day}"
        number = sum(1 for _ in self._recordings.index.glob(f"{before}-*.parquet"))
        return f"{before}-{number}.parquet"

    def _no_rows(self) -> str:
        return f"SELECT * EXCLUDE (since, until, covers) FROM {self._files('0-empty.parquet')}"

    def _now(self) -> int:
        return int(time.time() * 1e6)

    def _files(self, *names: str, filename: bool = False) -> str:
        files = [quoted(str(self._recordings.index / (name if name != "*" else "*.parquet"))) for name in names]
        return f"read_parquet([{', '.join(files)}]{', filename=true' if filename else ''})"

    def _rows(self, query: str) -> list[tuple]:  # type: ignore[type-arg]
        return self._connection.execute(query).fetchall()


def _placed(part: str, name: str) -> bool:
    """Return whether `Indexer._put` can have written this pair."""
    plain = all(os.path.basename(file) == file for file in (part, name))
    return plain and part.startswith(f"{PART}-") and name[:2] in ("a-", "d-")


def pending(recordings: Recordings) -> bool:
    """Return whether a crash left prepared files that are not all in place. `Indexer` puts the rest in place."""
    return (recordings.index / _PENDING).exists()


def _list(names: Collection[str]) -> str:
    return ", ".join(map(quoted, names)) or "NULL"
