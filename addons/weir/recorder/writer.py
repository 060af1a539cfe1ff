"""The writer: one thread a worker that puts flows and lines on disk, off the event loop.

A caller has its answer only after `Writer.record` returned: the operating system then has the bytes,
and no crash of this process can lose them; the disk has them within `SYNC_INTERVAL`. What cannot be
written raises `RecorderUnavailable`, and so does every request after it until writing works again.
"""

import asyncio
import contextlib
import errno
import hashlib
import os
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from weir.alarms import alarm
from weir.recorder.journal import JournalLine, encode_line
from weir.recorder.segment import MAX_SIZE, Segment

#: Seconds between syncs to disk.
SYNC_INTERVAL = 0.1
#: A check or write that succeeded this long ago (seconds) vouches for the next request.
FRESH = 0.05
#: Flows waiting to be written; more are refused.
MAX_WAITING = 1000
#: Free bytes below which the disk counts as full.
RESERVE = 1024 * 1024
_BATCH = 64


class RecorderUnavailable(Exception):
    """Nothing can be recorded now; the text says why, for the log."""


@dataclass(slots=True)
class _Entry:
    connection: str
    encode: Callable[[], bytes]
    line: JournalLine
    done: asyncio.Future[None]


@dataclass(slots=True)
class _Check:
    done: asyncio.Future[None]


class Writer:
    """Owns the worker's open segments. `record` and `ready` are for the event loop's thread."""

    def __init__(self, root: Path, worker: str, boot: str) -> None:
        self._root = root
        self._worker = worker
        self._boot = boot
        self._sequence = 0
        self._segments: dict[str, Segment] = {}
        self._dates: dict[str, str] = {}
        self._queue: queue.SimpleQueue[_Entry | _Check | None] = queue.SimpleQueue()
        self._waiting = 0
        self._vouched = 0.0  # monotonic time of the last success
        self._looked = 0.0  # and of the last look at what stands on disk
        self._broken = ""
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="weir recorder", daemon=True)
        self._thread.start()

    async def ready(self) -> None:
        """Return if a flow could be written now; raise `RecorderUnavailable` if not."""
        if not self._broken and time.monotonic() - self._vouched < FRESH and self._waiting < MAX_WAITING:
            return
        if self._waiting >= MAX_WAITING:
            raise RecorderUnavailable(f"{self._waiting} flows are waiting to be written")
        done: asyncio.Future[None] = self._loop.create_future()
        self._queue.put(_Check(done))
        await done

    async def record(self, connection: str, encode: Callable[[], bytes], line: JournalLine) -> None:
        """Write one flow and its line. *encode* is called in the writer's thread."""
        done: asyncio.Future[None] = self._loop.create_future()
        self._waiting += 1
        self._queue.put(_Entry(connection, encode, line, done))
        try:
            await done
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Write what waits, sync, close. Blocks."""
        self._queue.put(None)
        self._thread.join()

    # The writer's thread from here on.

    def _run(self) -> None:
        next_sync = time.monotonic() + SYNC_INTERVAL
        while True:
            dirty = any(segment.dirty for segment in self._segments.values())
            batch: list[_Entry | _Check | None] = []
            with contextlib.suppress(queue.Empty):
                batch.append(self._queue.get(timeout=max(0.0, next_sync - time.monotonic()) if dirty else None))
                while len(batch) < _BATCH:
                    batch.append(self._queue.get_nowait())
            entries = [item for item in batch if isinstance(item, _Entry)]
            checks = [item for item in batch if isinstance(item, _Check)]
            if entries:
                self._write(entries)
            if checks:
                self._check(checks)
            if time.monotonic() >= next_sync:
                self._sync()
                next_sync = time.monotonic() + SYNC_INTERVAL
            if None in batch:
                break
        for segment in self._segments.values():
            with contextlib.suppress(OSError):
                segment.close()

    def _look(self) -> None:
        """See that what is written to is still what readers find. Raises OSError where nothing can be written."""
        self._looked = 0.0  # what fails below must be looked at again before anything is written
        self._check_root()
        for connection in [c for c, segment in self._segments.items() if not segment.in_place()]:
            alarm("recording_gone", f"{self._segments[connection].flow_path} was removed while it was written")
            self._segments.pop(connection).close()
        self._looked = time.monotonic()

    def _write(self, entries: list[_Entry]) -> None:
        by_connection: dict[str, list[_Entry]] = {}
        for entry in entries:
            by_connection.setdefault(entry.connection, []).append(entry)
        for connection, group in by_connection.items():
            try:
                if time.monotonic() - self._looked > FRESH:
                    self._look()
                segment = self._segment(connection, group[0].line.time[:10])
                offset = segment.size
                flows, lines = bytearray(), bytearray()
                for entry in group:
                    flow = entry.encode()
                    line = entry.line
                    line.segment, line.offset, line.length = segment.name, offset + len(flows), len(flow)
                    line.sha256 = hashlib.sha256(flow).hexdigest()
                    flows += flow
                    lines += encode_line(line)
                    lines += b"\n"
                segment.append(bytes(flows), bytes(lines))
            except Exception as error:  # whatever it is, these flows are not recorded
                self._fail(group, error)
            else:
                self._succeed(group)

    def _segment(self, connection: str, date: str) -> Segment:
        segment = self._segments.get(connection)
        if segment is not None:
            if self._dates[connection] == date and segment.size < MAX_SIZE:
                return segment
            del self._segments[connection]
            segment.close()
        self._sequence += 1
        stem = f"{self._worker}-{self._boot}-{self._sequence:06d}"
        name = f"{connection}/{date}/{stem}"
        segment = Segment(self._root / "segments" / connection / date, stem, name)
        self._segments[connection] = segment
        self._dates[connection] = date
        return segment

    def _check_root(self) -> None:
        """Raise OSError where a new flow would not find room below the recordings folder."""
        if not os.path.isdir(self._root):
            raise OSError(f"{self._root} is gone; restore it")
        if not os.access(self._root, os.W_OK | os.X_OK):
            raise OSError(f"{self._root} is not writable; check its owner and whether it is mounted read-only")
        disk = os.statvfs(self._root)
        if disk.f_bavail * disk.f_frsize < RESERVE:
            raise OSError(self._full())

    def _full(self) -> str:
        return f"the disk of {self._root} is full; free some space"

    def _check(self, checks: list[_Check]) -> None:
        try:
            self._look()
        except Exception as error:  # fails the requests that asked
            self._fail(checks, error)
        else:
            self._succeed(checks)

    def _sync(self) -> None:
        for segment in self._segments.values():
            try:
                segment.sync()
            except OSError as error:
                self._fail([], error)

    def _succeed(self, items: "list[_Entry] | list[_Check]") -> None:
        self._vouched = time.monotonic()
        if self._broken:
            self._broken = ""
            alarm("recorder_recovered", "recording works again")
        self._answer(items, None)

    def _fail(self, items: "list[_Entry] | list[_Check]", error: Exception) -> None:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = self._full() if full else str(error) or type(error).__name__
        if reason != self._broken:
            self._broken = reason
            alarm("recorder_unavailable", f"cannot record, so requests are refused: {reason}")
        self._answer(items, reason)

    def _answer(self, items: "list[_Entry] | list[_Check]", reason: str | None) -> None:
        def answer() -> None:
            for item in items:
                if not item.done.done():
                    if reason is None:
                        item.done.set_result(None)
                    else:
                        item.done.set_exception(RecorderUnavailable(reason))

        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(answer)
