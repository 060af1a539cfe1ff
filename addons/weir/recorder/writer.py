"""The writer: one thread per worker that writes flows and lines, outside the event loop.

A caller gets its answer only after `Writer.record` has returned. Then the operating system has the bytes and the head's
record of them, so no crash of this process can lose them. The disk has them within `SYNC_INTERVAL`, or at once for
``durability: synced``. If writing fails, the entry and every later one raise `RecorderUnavailable`. Only a probe ends
this state: it writes at least as many bytes as the failed write to the same folder, and waits for the disk. The state
of the folder proves nothing, because a disk can answer questions and refuse data.
"""

import asyncio
import contextlib
import errno
import hashlib
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from weir.base.alarms import alarm
from weir.recorder import live
from weir.recorder.checkpoint import Size
from weir.recorder.entries import Begun
from weir.recorder.evidence import Log
from weir.recorder.folder import Recordings
from weir.recorder.interrupted import UNRECORDED, interrupted
from weir.recorder.journal import decode_line, placed, timestamp
from weir.recorder.segment import Segment

#: Seconds between syncs to disk.
SYNC_INTERVAL = 0.1
#: Seconds between signed checkpoints while data is written.
CHECKPOINT_INTERVAL = 5.0
#: For this many seconds after a successful check or write, `Writer.ready` does not check again.
FRESH = 0.05
#: Maximum number of waiting flows and bytes of their bodies; more are refused.
MAX_WAITING = 1000
MAX_WAITING_BYTES = 256 * 1024 * 1024
#: Seconds after which a disk that does not answer counts as not writable.
PATIENCE = 10.0
#: Free bytes below which the disk counts as full, and the minimum size of a probe.
RESERVE = 1024 * 1024
#: Size of a probe in the folder of the log, which gets short lines.
_LOG_PROBE = 64 * 1024
#: After a probe that failed, the next one waits for this many times as long as it took.
_PROBE_SHARE = 10
_BATCH = 64
#: Waking the thread costs more than writing, so entries are handed over together: once they are one in `GATHER_SHARE`
#: of the running exchanges, or after `GATHER` seconds. A single exchange never waits.
GATHER_SHARE = 4
GATHER = 0.005


class RecorderUnavailable(Exception):
    """Recording is not possible now; the text gives the reason for the log."""


@dataclass(slots=True)
class Entry:
    """Data to write: a line, encoded without its position, and for an ended exchange its flow."""

    connection: str
    request_id: str
    time: str
    line: bytes
    encode: Callable[[], bytes] | None = None  # returns the flow, in the writer's thread; None for an intent
    size: int = 0  # bytes of bodies that it keeps in memory
    synced: bool = False  # acknowledge only once the disk has it


@dataclass(slots=True)
class _Waiting:
    entry: Entry
    done: asyncio.Future[None]


@dataclass(slots=True)
class _Check:
    done: asyncio.Future[None]


class Writer:
    """Owns the worker's open segments. Call `record` and `ready` only in the event loop's thread."""

    def __init__(
        self,
        recordings: Recordings,
        log: Log,
        boot: str,
        sealed: Callable[[], None] = lambda: None,
        under_way: Callable[[], int] = lambda: 1,
        holds: Callable[[], bool] = lambda: True,
        begin_anew: Callable[[], None] = lambda: None,
    ) -> None:
        """Start the thread, which writes below *recordings*.

        The thread calls *sealed* when a segment is complete. *under_way* returns the number of running exchanges, which
        may soon be recorded too. *holds* returns whether this process still holds its worker id. If it does not,
        because the folder was emptied, *begin_anew* claims the id again, or raises OSError.
        """
        self._recordings = recordings
        self._log = log
        self._boot = boot
        self._on_sealed = sealed
        self._sequence = 0
        self._segments: dict[str, Segment] = {}
        self._dates: dict[str, str] = {}
        self._announced: dict[str, str] = {}  # by connection: segment that the log names and that does not exist yet
        self._unsealed: list[Segment] = []  # complete segments that the log does not have yet
        self._stuck = False
        self._queue: queue.SimpleQueue[list[_Waiting] | _Check | None] = queue.SimpleQueue()
        self._gathered: list[_Waiting] = []  # not handed over to the thread yet
        self._timer: asyncio.TimerHandle | None = None
        self._under_way = under_way
        self._holds = holds
        self._begin_anew = begin_anew
        self._waiting = 0
        self._waiting_bytes = 0
        self._vouched = 0.0  # monotonic time of the last success
        self._looked = 0.0  # monotonic time of the last check of the files on disk
        self._broken = ""
        self._reasons: set[str] = set()  # reasons of the present outage that an alarm has named
        self._failed: set[str] = set()  # connections with a failed write or sync in this outage
        self._needed = RESERVE  # bytes that a probe writes
        self._next_probe = 0.0  # monotonic time
        self._lost: dict[str, Entry] = {}  # ends of sent requests that could not be recorded, by request id
        self._next_checkpoint = 0.0
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="weir recorder", daemon=True)
        self._thread.start()

    async def ready(self) -> None:
        """Return if a flow could be written now; raise `RecorderUnavailable` if not."""
        if self._waiting >= MAX_WAITING or self._waiting_bytes >= MAX_WAITING_BYTES:
            raise RecorderUnavailable(f"{self._waiting} flows ({self._waiting_bytes} bytes) are waiting to be written")
        if not self._broken and time.monotonic() - self._vouched < FRESH:
            return
        done: asyncio.Future[None] = self._loop.create_future()
        self._queue.put(_Check(done))
        await self._answered(done)

    async def record(self, entry: Entry) -> None:
        """Write *entry*. Raises `RecorderUnavailable`."""
        done: asyncio.Future[None] = self._loop.create_future()
        self._waiting += 1
        self._waiting_bytes += entry.size
        self._gathered.append(_Waiting(entry, done))
        if len(self._gathered) * GATHER_SHARE >= self._under_way():
            self._hand_over()
        elif self._timer is None:
            self._timer = self._loop.call_later(GATHER, self._hand_over)
        try:
            await self._answered(done)
        finally:
            self._waiting -= 1
            self._waiting_bytes -= entry.size

    def _hand_over(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        gathered, self._gathered = self._gathered, []
        if gathered:
            self._queue.put(gathered)

    async def _answered(self, done: asyncio.Future[None]) -> None:
        timer = self._loop.call_later(PATIENCE, self._give_up, done)
        try:
            await done
        finally:
            timer.cancel()

    def _give_up(self, done: asyncio.Future[None]) -> None:
        if not done.done():
            reason = f"the disk has not answered for {PATIENCE:.0f} s"
            done.set_exception(RecorderUnavailable(reason))
            if not self._broken:
                self._broken = reason
                alarm("recorder_unavailable", f"cannot record, so requests are refused: {reason}")

    def close(self) -> None:
        """Write all waiting entries, seal the segments and sign. Blocks."""
        gathered, self._gathered = self._gathered, []
        self._queue.put(gathered)
        self._queue.put(None)
        self._thread.join()

    # The methods below run in the writer's thread.

    def _run(self) -> None:
        next_sync = time.monotonic() + SYNC_INTERVAL
        self._next_checkpoint = time.monotonic()
        while True:
            batch: list[list[_Waiting] | _Check | None] = []
            with contextlib.suppress(queue.Empty):
                batch.append(self._queue.get(timeout=self._idle(next_sync)))
                while len(batch) < _BATCH:
                    batch.append(self._queue.get_nowait())
            waiting = [item for some in batch if isinstance(some, list) for item in some]
            checks = [item for item in batch if isinstance(item, _Check)]
            if waiting:
                self._write(waiting)
            if checks:
                self._check(checks)
            if time.monotonic() >= next_sync:
                self._sync()
                next_sync = time.monotonic() + SYNC_INTERVAL
            if None in batch:
                break
        self._end()

    def _idle(self, next_sync: float) -> float:
        """Return the seconds until there is work even if no entry arrives."""
        if self._broken or self._unsealed or self._lost or any(segment.dirty for segment in self._segments.values()):
            return max(0.0, next_sync - time.monotonic())
        ends = min((segment.seconds_left for segment in self._segments.values()), default=CHECKPOINT_INTERVAL)
        return max(0.0, min(ends, CHECKPOINT_INTERVAL))

    def _look(self) -> None:
        """Check that the open files are still the files that readers find. Raises OSError if writing is impossible."""
        self._looked = 0.0  # if a step below fails, check again before the next write
        self._check_root()
        if not self._holds():
            self._begin_anew()
        for connection in [c for c, s in self._segments.items() if not s.failed and not s.in_place()]:
            path = self._segments[connection].flow_path
            alarm("recording_gone", f"{path} was removed while it was written, or changed by another program")
            self._retire(connection)  # its log entry states the missing lines
        self._looked = time.monotonic()

    def _prove(self) -> None:
        """Return if the disk has taken a probe at every place where entries go. Raises OSError."""
        began = time.monotonic()
        if began < self._next_probe:
            raise OSError(self._broken)
        try:
            self._look()
            for connection in self._failed or {""}:
                self._recordings.probe(self._recordings.segments / connection, self._needed)
            self._recordings.probe(self._recordings.log(self._log.worker), _LOG_PROBE)
            self._log.head.probe()
        except OSError:
            self._next_probe = time.monotonic() + _PROBE_SHARE * (time.monotonic() - began)
            raise
        self._failed.clear()
        self._needed = RESERVE

    def _write(self, waiting: list[_Waiting]) -> None:
        by_connection: dict[str, list[_Waiting]] = {}
        for item in waiting:
            by_connection.setdefault(item.entry.connection, []).append(item)
        for connection, group in by_connection.items():
            encoded = self._encoded(group)
            items = [item for item, _ in encoded]
            if not items:
                continue
            try:
                if self._broken:
                    self._prove()
                elif time.monotonic() - self._looked > FRESH:
                    self._look()
                segment = self._segment(connection, encoded[0][0].entry.time[:10])
                self._append(segment, [(item.entry, flow) for item, flow in encoded])
            except Exception as error:  # on any error these flows are not recorded
                self._fail(items, error)
            else:
                self._succeed(items)

    def _encoded(self, group: list[_Waiting]) -> list[tuple[_Waiting, bytes | None]]:
        """Return the items that a caller still waits for, with their flows. An encoding error fails only its item."""
        encoded: list[tuple[_Waiting, bytes | None]] = []
        for item in group:
            try:
                if item.done.done():
                    raise RecorderUnavailable("no caller waits for it any more")
                encoded.append((item, item.entry.encode() if item.entry.encode is not None else None))
            except Exception as error:
                self._refuse([item], error)
        return encoded

    def _append(self, segment: Segment, entries: list[tuple[Entry, bytes | None]]) -> None:
        flows, lines = bytearray(), []
        for entry, flow in entries:
            if flow is None:
                lines.append(placed(entry.line, segment.name))
                continue
            offset = segment.size + len(flows)
            lines.append(placed(entry.line, segment.name, offset, len(flow), hashlib.sha256(flow).hexdigest()))
            flows += flow
        times = [entry.time for entry, _ in entries]
        synced = any(entry.synced for entry, _ in entries)
        try:
            segment.append(flows, lines, min(times), max(times), synced=synced)
        except OSError:
            self._note_failure(segment, len(flows) + sum(map(len, lines)))
            raise
        for entry, flow in entries:
            if flow is None:
                segment.open[entry.request_id] = entry.line
            else:
                segment.open.pop(entry.request_id, None)
                self._lost.pop(entry.request_id, None)

    def _note_failure(self, segment: Segment, size: int = 0) -> None:
        """Note where a probe must succeed before anything is written again, and with how many bytes."""
        self._failed.add(segment.name.partition("/")[0])
        self._needed = max(self._needed, size)

    def _end_lost(self) -> None:
        """Close requests that were sent but could not be recorded at their end. Raises OSError."""
        by_connection: dict[str, list[Entry]] = {}
        for entry in self._lost.values():
            by_connection.setdefault(entry.connection, []).append(entry)
        for connection, ended in by_connection.items():
            segment = self._segment(connection, max(entry.time for entry in ended)[:10])
            self._interrupt(segment, connection, (entry.line for entry in ended))

    def _interrupt(self, segment: Segment, connection: str, lines: Iterable[bytes]) -> None:
        entries: list[tuple[Entry, bytes | None]] = []
        for line in lines:
            read = decode_line(line)
            flow, text = interrupted(read, UNRECORDED)
            entries.append((Entry(connection, read.request_id, read.time, text), flow))
        self._append(segment, entries)

    def _segment(self, connection: str, date: str) -> Segment:
        segment = self._segments.get(connection)
        if segment is not None and self._dates[connection] >= date and not segment.full:
            return segment
        name = self._name(connection, date)
        fresh = self._begin(name, segment.open if segment else {})
        del self._announced[connection]
        if segment is not None:
            self._retire(connection)
        self._segments[connection] = fresh
        self._dates[connection] = date
        return fresh

    def _name(self, connection: str, date: str) -> str:
        """Return the next segment's name, and write it to the log. Reuse a name whose segment could not be created.

        Raises OSError.
        """
        name = self._announced.get(connection, "")
        if not name.startswith(f"{connection}/{date}/"):
            self._sequence += 1
            name = f"{connection}/{date}/{self._log.worker}-{self._boot}-{self._sequence:06d}"
            self._log.append(Begun(segment=name, time=timestamp(time.time())))
            self._announced[connection] = name
        return name

    def _begin(self, name: str, moved: dict[str, bytes]) -> Segment:
        """Create a segment and link it for readers. *moved* has the open intents of the segment before it."""
        live.prepare(self._recordings)
        for segment in self._segments.values():
            self._sync_segment(segment)
        self._log.checkpoint(self._covered())  # before the files exist, because `verify` reports files without one
        try:
            fresh = Segment(self._recordings, name, self._log)
        except OSError:
            self._announced.pop(name.partition("/")[0])  # its files may exist, so the next try takes another name
            raise
        try:
            if moved:  # repeat the intents, because repair reads only unsealed segments after a crash
                now = timestamp(time.time())
                fresh.append(b"", [placed(line, name) for line in moved.values()], now, now)
                fresh.open.update(moved)
            live.add(self._recordings, self._log.worker, name)
        except OSError:
            fresh.discard()
            raise
        return fresh

    def _retire(self, connection: str) -> None:
        self._unsealed.append(self._segments.pop(connection))
        self._seal()

    def _seal(self) -> None:
        """Seal complete segments in the log. A failure is tried again later, and the journal stays live meanwhile."""
        while self._unsealed:
            segment = self._unsealed[0]
            try:
                if not segment.settle(self._recordings):
                    alarm("recording_gone", f"{segment.flow_path} lacks data that was written; see: weir verify")
                self._log.append(segment.sealed())
            except OSError as error:
                if not self._stuck:
                    alarm("not_sealed", f"{segment.name} could not be sealed ({error.strerror}); weir tries again")
                self._stuck = True
                return
            self._stuck = False
            self._unsealed.pop(0)
            with contextlib.suppress(OSError):  # the next start drops the record
                self._log.head.drop(segment.name)
            segment.close()
            self._next_checkpoint = 0.0
            self._on_sealed()

    def _sync_segment(self, segment: Segment) -> None:
        """Sync an open segment. Skip one that has failed: `Segment.settle` mends it. Raises OSError."""
        if segment.dirty and not segment.failed:
            try:
                segment.sync()
            except OSError:
                self._note_failure(segment)
                raise

    def _sync(self) -> None:
        if self._broken:
            self._check([])
            if self._broken:
                return
        try:
            dirty = [segment for segment in self._segments.values() if segment.dirty]
            for segment in dirty:
                self._sync_segment(segment)
            if dirty:
                self._log.head.sync()
            self._end_lost()
        except Exception as error:
            self._fail([], error)
            return
        for connection in [c for c, segment in self._segments.items() if segment.full and not segment.open]:
            self._retire(connection)
        self._seal()
        if time.monotonic() >= self._next_checkpoint:
            self._sign()

    def _sign(self) -> None:
        """Sign a checkpoint over the log and the synced lines of every open journal."""
        self._next_checkpoint = time.monotonic() + CHECKPOINT_INTERVAL
        try:
            self._log.checkpoint(self._covered())
        except OSError as error:
            alarm("not_signed", f"the checkpoint of {self._log.worker} could not be written ({error.strerror})")

    def _covered(self) -> dict[str, Size]:
        """Return the size of every open journal that is on disk, by segment."""
        open_ = (*self._segments.values(), *self._unsealed)
        return {s.name: s.covered for s in open_ if not s.dirty and s.covered.lines}

    def _end(self) -> None:
        with contextlib.suppress(OSError):  # without intents, these requests are then not on record
            self._end_lost()
        for connection, segment in list(self._segments.items()):
            try:
                if segment.open:
                    now = self._segment(connection, self._dates[connection])
                    self._interrupt(now, connection, list(now.open.values()))
            except OSError:
                self._segments.pop(connection).close()  # the next start closes the open requests and seals the segment
            else:
                self._retire(connection)
        self._sign()
        for segment in self._unsealed:  # the next start seals them
            segment.close()

    def _check_root(self) -> None:
        """Raise OSError if the recordings folder is gone, not writable, or on a full disk."""
        root = self._recordings.root
        if not os.path.isdir(root):
            raise OSError(f"{root} is gone; restore it")
        if not os.access(root, os.W_OK | os.X_OK):
            raise OSError(f"{root} is not writable; check its owner and whether it is mounted read-only")
        disk = os.statvfs(root)
        if disk.f_bavail * disk.f_frsize < self._needed:
            raise OSError(self._full())

    def _full(self) -> str:
        return f"the disk of {self._recordings.root} is full; free some space"

    def _check(self, checks: list[_Check]) -> None:
        try:
            if self._broken:
                self._prove()
            else:
                self._look()
        except Exception as error:  # any error fails the requests that asked
            self._fail(checks, error)
        else:
            self._succeed(checks)

    def _succeed(self, items: "list[_Waiting] | list[_Check]") -> None:
        self._vouched = time.monotonic()
        self._reasons.clear()
        if self._broken:
            self._broken = ""
            alarm("recorder_recovered", "recording works again")
        self._answer(items, None)

    def _fail(self, items: "list[_Waiting] | list[_Check]", error: Exception) -> None:
        """Refuse *items* because of *error*, and record nothing until a probe succeeds."""
        self._broken = self._refuse(items, error)

    def _refuse(self, items: "list[_Waiting] | list[_Check]", error: Exception) -> str:
        """Refuse *items* because of *error*. Return the reason; an alarm names it once per outage."""
        reason = self._reason(error)
        ends = [item.entry for item in items if isinstance(item, _Waiting) and item.entry.encode is not None]
        self._lost |= {e.request_id: replace(e, encode=None, size=0) for e in ends if self._was_sent(e)}
        if isinstance(error, RecorderUnavailable):
            return reason  # `_give_up` has answered already
        if reason not in self._reasons:
            self._reasons.add(reason)
            alarm("recorder_unavailable", f"cannot record, so requests are refused: {reason}")
        self._answer(items, reason)
        return reason

    def _was_sent(self, end: Entry) -> bool:
        """Return whether the request of *end* may have reached its service."""
        if any(end.request_id in segment.open for segment in self._segments.values()):
            return True
        return decode_line(end.line).upstream_ms is not None

    def _reason(self, error: Exception) -> str:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return self._full()
        if isinstance(error, OSError) and error.strerror:  # without the file's name, which differs each time
            return f"{self._recordings.root} cannot be written ({error.strerror}); check its disk"
        return str(error) or type(error).__name__

    def _answer(self, items: "list[_Waiting] | list[_Check]", reason: str | None) -> None:
        def answer() -> None:
            for item in items:
                if not item.done.done():
                    if reason is None:
                        item.done.set_result(None)
                    else:
                        item.done.set_exception(RecorderUnavailable(reason))

        with contextlib.suppress(RuntimeError):  # the loop is closed, so no caller waits any more
            self._loop.call_soon_threadsafe(answer)
