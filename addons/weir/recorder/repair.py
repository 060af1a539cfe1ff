"""Repair at start, after a crash: keeps every acknowledged line, and seals only data that the gateway wrote.

Repair reads each unsealed journal once and compares it with its record in the head. It seals exactly the compared bytes
of the lines up to the record. Data beyond the record was never acknowledged, or another program wrote it, so repair
quarantines it. Requests that were sent but never finished get a closing record. Files and links without a head or log
entry are quarantined too. Files of live workers stay untouched.
"""

import contextlib
import hashlib
import logging
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from weir.base.alarms import alarm
from weir.base.text import inert
from weir.recorder import heads, live, quarantine
from weir.recorder.checkpoint import Size
from weir.recorder.entries import Entry, Lost, Quarantined, Sealed, authentic
from weir.recorder.evidence import POWER_LOSS, DamagedLogError, Log, Signer, describe
from weir.recorder.folder import Recordings, read_regular
from weir.recorder.interrupted import CRASHED, interrupted
from weir.recorder.journal import JournalLine, decoded, flows_that_fit, placed, timestamp
from weir.recorder.known import drop_links, known_segments
from weir.recorder.merkle import leaf_hash, root_of
from weir.recorder.worker import LOG_NAME, MAX_WORKERS, WorkerLock, log_folders, try_claim

#: Maximum number of sealed journals that a start compares with their roots. Housekeeping compares the rest soon after.
_MOST_READ = 100


@dataclass(slots=True)
class Repairs:
    """Counts of the repaired data."""

    segments: int = 0
    quarantined: int = 0  # bytes
    interrupted: int = 0
    lost: int = 0  # lines


@dataclass(slots=True)
class _Found:
    """One unsealed segment: its data and its authentic lines."""

    segment: str
    flows: Path
    journal_data: bytes
    flows_data: bytes
    lines: list[bytes]
    read: list[JournalLine]
    lost: int = 0
    unsynced: bool = False  # the disk may lack some of the lines
    begun: dict[str, JournalLine] = field(default_factory=dict)

    @property
    def journal(self) -> Path:
        return self.flows.with_suffix(".jsonl")

    @property
    def lines_end(self) -> int:
        return sum(len(line) + 1 for line in self.lines)

    @property
    def flows_end(self) -> int:
        return max((line.offset + line.length for line in self.read), default=0)


def repair(recordings: Recordings, signer: Signer, own: Log) -> Repairs:
    """Repair the segments of *own* and of every worker that is not running, and quarantine unknown files.

    Raises OSError.
    """
    repairs = Repairs()
    recordings.refuse_links()
    _drop_placeholder(recordings)
    repair_worker(recordings, own, repairs)
    damaged: set[str] = set()
    for log in idle_logs(recordings, signer, own.worker, damaged):
        repair_worker(recordings, log, repairs)
        log.checkpoint()
    _sweep(recordings, own, repairs, damaged)
    own.checkpoint()
    return repairs


def claim(recordings: Recordings, signer: Signer) -> tuple[WorkerLock, Log]:
    """Claim the lowest free worker id and open its log. Skip ids with a damaged log. Raises OSError."""
    for number in range(MAX_WORKERS):
        lock = _try_claim(recordings, f"w{number}")
        if lock is None:
            continue
        try:
            return lock, Log(recordings, lock.worker, signer)
        except (DamagedLogError, heads.HeadBusyError) as error:
            if isinstance(error, DamagedLogError):
                _alarm("evidence_damaged", str(error))
            lock.release()
        except BaseException:
            lock.release()
            raise
    raise OSError(f"{MAX_WORKERS} workers already write to {recordings.root}; stop one, or repair the damaged logs")


def idle_logs(recordings: Recordings, signer: Signer, own: str = "", damaged: set[str] | None = None) -> Iterator[Log]:
    """Yield every log except *own* without a running process, locked while the caller uses it.

    A damaged log raises an alarm, and its worker is added to *damaged*.
    """
    for folder in log_folders(recordings.root):
        if folder.name == own:
            continue
        lock = _try_claim(recordings, folder.name)
        if lock is None:
            continue
        try:
            log = Log(recordings, folder.name, signer)
            try:
                yield log
            finally:
                log.close()
        except heads.HeadBusyError:  # its lock file was replaced, but its process lives
            continue
        except DamagedLogError as error:
            _alarm("evidence_damaged", str(error))
            if damaged is not None:
                damaged.add(folder.name)
        finally:
            lock.release()


def _try_claim(recordings: Recordings, worker: str) -> WorkerLock | None:
    """Claim *worker* like `try_claim`; None also if the lock is a folder."""
    try:
        return try_claim(recordings, worker)
    except IsADirectoryError as error:
        _alarm("evidence_damaged", f"{error.filename} is a folder, so {worker} is not used; remove the folder")
        return None


def _drop_placeholder(recordings: Recordings) -> None:
    """Remove the empty journal of the first format version, which existed so that a glob matched a file."""
    old = recordings.segments / "_none" / "_none" / "empty.jsonl"
    if old.exists() and old.stat().st_size == 0:
        old.unlink()
        with contextlib.suppress(OSError):
            old.parent.rmdir()
            old.parent.parent.rmdir()


def repair_worker(recordings: Recordings, log: Log, repairs: Repairs) -> None:
    """Seal the open segments of the worker of *log*. Raises OSError."""
    found = []
    for segment in log.head.segments:
        if segment in log.sealed:
            log.head.drop(segment)  # a crash came after the seal and before this
        elif (one := _examine(recordings, log, segment, repairs)) is not None:
            found.append(one)
    found.sort(key=lambda one: one.segment.rpartition("-")[0].rpartition("/")[2] + one.segment[-6:])
    seal(recordings, log, found, repairs)  # oldest first: an open intent is repeated in the next segment and ends there


def seal(recordings: Recordings, log: Log, found: list[_Found], repairs: Repairs) -> None:
    """Close unfinished requests, quarantine data beyond the lines *found*, and seal the segments. Raises OSError."""
    _find_begun(found)
    linked = {segment for _, segment in live.segments(recordings.root)}
    for one in found:
        noted = list(_trim(recordings, one))
        ends = _ends(one)
        more_flows, more_lines = b"".join(flow for flow, _ in ends), [line for _, line in ends]
        if ends or one.unsynced:  # whole files: a sync reports data that the disk has lost only once
            recordings.replace(one.flows, one.flows_data[: one.flows_end].ljust(one.flows_end, b"\0") + more_flows)
            recordings.replace(one.journal, b"".join(line + b"\n" for line in [*one.lines, *more_lines]))
        if noted or ends:
            repairs.segments += 1
            repairs.interrupted += len(ends)
            repairs.quarantined += sum(entry.length for entry in noted)
        for entry in noted:
            log.append(entry)
        if noted:
            _alarm("recordings_unaccounted", f"{describe(noted)}; see: weir verify")
        if one.lost:
            repairs.lost += one.lost
            log.append(Lost(file=f"segments/{one.segment}.jsonl", lines=one.lost, why=POWER_LOSS, time=_last(one)))
        lines = [*one.lines, *more_lines]
        if lines:
            if one.segment not in linked:
                live.add(recordings, log.worker, one.segment)
            log.append(_sealed(one, lines, one.flows_end + len(more_flows)))
        else:
            _forget(recordings, one)
        log.head.drop(one.segment)
    if found:
        log.checkpoint()


def _examine(recordings: Recordings, log: Log, segment: str, repairs: Repairs) -> _Found | None:
    """Return the state of *segment*; None if it was changed or has a newer version, which this function handles."""
    flows = recordings.segments / f"{segment}.mitm"
    journal = flows.with_suffix(".jsonl")
    journal_data, flows_data = _bytes(journal), _bytes(flows)
    lines = journal_data.split(b"\n")[:-1]
    record, signed = log.head.get(segment), log.signed.live.get(segment) if log.signed else None
    this_boot = log.head.this_boot(record)
    count = authentic(lines, record, signed, leaf_hash, this_boot=this_boot)
    if count is None:
        _quarantine_changed(recordings, log, segment, record.now, repairs)
        return None
    read = decoded(lines[:count])
    if read is None:
        _alarm("segment_damaged", f"{journal} was written by a newer version and stays unchanged; start that version")
        if segment not in {known for _, known in live.segments(recordings.root)}:
            live.add(recordings, log.worker, segment)
        return None
    whole = flows_that_fit(read, flows_data)
    if whole < count:
        if this_boot or whole < record.synced.lines:
            _alarm("evidence_damaged", f"{flows} does not hold the flows that were written; see: weir verify")
        else:
            count = whole
    lost = max(0, record.now.lines - count)
    unsynced = 0 < count != record.synced.lines and whole >= count
    return _Found(segment, flows, journal_data, flows_data, lines[:count], read[:count], lost, unsynced)


def stands(recordings: Recordings, segment: str) -> _Found:
    """Return the state of a *segment* without a head: its lines before the first unreadable one or lost flow."""
    flows = recordings.segments / f"{segment}.mitm"
    journal_data, flows_data = _bytes(flows.with_suffix(".jsonl")), _bytes(flows)
    lines, read = journal_data.split(b"\n")[:-1], list[JournalLine]()
    for line in lines:
        more = decoded([line])
        if more is None:
            break
        read += more
    count = flows_that_fit(read, flows_data)
    return _Found(segment, flows, journal_data, flows_data, lines[:count], read[:count])


def _bytes(path: Path) -> bytes:
    """Return the content of *path*; empty if it is not a regular file."""
    return read_regular(path) if os.path.lexists(path) else b""


def _quarantine_changed(recordings: Recordings, log: Log, segment: str, size: Size, repairs: Repairs) -> None:
    """Quarantine a segment that lacks acknowledged lines, and seal the recorded size, so that `verify` reports it."""
    _alarm("evidence_damaged", f"{segment} does not hold the {size.lines} lines that were written; see: weir verify")
    _unlink_live(recordings, segment)
    for suffix in (".jsonl", ".mitm"):
        path = recordings.segments / f"{segment}{suffix}"
        if os.path.lexists(path):
            entry = quarantine.set_aside(recordings, path, quarantine.CHANGED)
            repairs.quarantined += entry.length
            log.append(entry)
    log.append(Sealed(segment=segment, lines=size.lines, root=size.root.hex(), length=0, first="", last="", time=""))
    log.head.drop(segment)
    log.checkpoint()


def _trim(recordings: Recordings, one: _Found) -> Iterator[Quarantined]:
    """Quarantine data beyond the authentic lines and their flows; yield an entry for each file."""
    for path, data, end in (
        (one.journal, one.journal_data, one.lines_end), (one.flows, one.flows_data, one.flows_end),
    ):  # fmt: skip
        if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
            yield quarantine.set_aside(recordings, path, quarantine.UNKNOWN)
        elif end < len(data):
            yield quarantine.set_tail_aside(recordings, path, data, end, quarantine.BEYOND)


def _find_begun(found: list[_Found]) -> None:
    """Assign each intent without an end in *found* to the last segment that has it."""
    last: dict[str, tuple[_Found, JournalLine]] = {}
    ended: set[str] = set()
    for one in found:
        for line in one.read:
            if line.intent:
                last[line.request_id] = (one, line)
            else:
                ended.add(line.request_id)
    for request_id, (one, line) in last.items():
        if request_id not in ended:
            one.begun[request_id] = line


def _ends(one: _Found) -> list[tuple[bytes, bytes]]:
    """Return a closing flow and its line for each request without an end."""
    ends, offset = [], one.flows_end
    for line in one.begun.values():
        flow, text = interrupted(line, CRASHED)
        ends.append((flow, placed(text, one.segment, offset, len(flow), hashlib.sha256(flow).hexdigest())))
        offset += len(flow)
    return ends


def _sealed(one: _Found, lines: list[bytes], length: int) -> Sealed:
    times = [line.time for line in one.read]
    return Sealed(
        segment=one.segment, lines=len(lines), root=root_of(map(leaf_hash, lines)).hex(), length=length,
        first=min(times), last=max(times), time=max(times),
    )  # fmt: skip


def _last(one: _Found) -> str:
    return max((line.time for line in one.read), default=timestamp(0.0))


def _forget(recordings: Recordings, one: _Found) -> None:
    """Remove a segment without lines."""
    _unlink_live(recordings, one.segment)
    one.flows.unlink(missing_ok=True)
    one.journal.unlink(missing_ok=True)


def _unlink_live(recordings: Recordings, segment: str) -> None:
    for slot, linked in live.segments(recordings.root):
        if linked == segment:
            live.clear(slot)


def _sweep(recordings: Recordings, own: Log, repairs: Repairs, damaged: set[str]) -> None:
    """Quarantine files without a head or log entry, and clear links to them and to changed journals.

    Segments of *damaged* logs stay in place, so that they count again once the log is restored.
    """
    recordings.refuse_links()
    standing = [path for path in recordings.segments.rglob("*") if path.is_symlink() or not path.is_dir()]
    slots = list(live.segments(recordings.root))
    known = known_segments(recordings, damaged)
    noted: list[Entry] = []
    for path in standing:
        segment = path.relative_to(recordings.segments).with_suffix("").as_posix()
        ours = path.suffix in (".mitm", ".jsonl") and (segment in known or _worker_of(segment) in damaged)
        temporary = path.name.startswith(".")  # from `Recordings.replace` of another process, or left by a crash
        if not ours and not temporary and os.path.lexists(path):
            noted += _set_aside(recordings, path)
    for path in (*_pretended(recordings), *_strange_logs(recordings)):
        noted += _set_aside(recordings, path)
    for message in drop_links(recordings, slots, known, _MOST_READ):
        _alarm("recordings_unaccounted", message)
    for entry in noted:
        own.append(entry)
    if noted:
        repairs.quarantined += sum(entry.length for entry in noted if isinstance(entry, Quarantined))
        _alarm("recordings_unaccounted", f"{describe(noted)}; see: weir verify")


def _set_aside(recordings: Recordings, path: Path) -> Iterator[Quarantined]:
    """Quarantine *path* and yield its entry. A failure raises an alarm and does not stop the start."""
    try:
        yield quarantine.set_aside(recordings, path, quarantine.UNKNOWN)
    except (OSError, RecursionError) as error:
        _alarm("recordings_unaccounted", f"{inert(str(path))} is not ours and cannot be moved: {type(error).__name__}")


def _strange_logs(recordings: Recordings) -> Iterator[Path]:
    """Yield files and folders in ``log/`` that are not logs."""
    for path in sorted((recordings.root / "log").glob("*")):
        if path.name != "_none" and (path.is_symlink() or not path.is_dir() or not LOG_NAME.fullmatch(path.name)):
            yield path


def _worker_of(segment: str) -> str:
    return segment.rpartition("/")[2].partition("-")[0]


def _pretended(recordings: Recordings) -> Iterator[Path]:
    """Yield foreign files in ``live/`` and ``log/_none/`` that the views would read."""
    for path in sorted(recordings.live.glob("*")):
        if path.name == live.EMPTY:
            if path.is_symlink() or path.stat().st_size:
                yield path
        elif not path.is_symlink():
            yield path
    for path in sorted((recordings.root / "log" / "_none").glob("*")):
        if path.is_symlink() or path.stat().st_size:
            yield path


def _alarm(name: str, message: str) -> None:
    alarm(name, message, level=logging.WARNING)  # mitmdump would exit at an ERROR now
