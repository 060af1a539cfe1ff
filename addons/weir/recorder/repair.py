"""Repair at start, after a crash: what was acknowledged stays, what is torn goes. Never a live worker's files.

A flow without its line gets the line again from its own metadata; a torn flow or line at the end is cut
off, for mitmproxy could not read past it. What was let go and has no end on record gets one that says so. Then the
segment is sealed, in the log of the worker that wrote it; so are segments of versions that knew no logs.
"""

import contextlib
import hashlib
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path

import msgspec
from mitmproxy import exceptions, io

from weir.alarms import alarm
from weir.recorder import live
from weir.recorder.checkpoint import Checkpoint, CheckpointError, Size, verify
from weir.recorder.evidence import CHECKPOINT, Log, Sealed, Signer, begins, erased_line, line_hash
from weir.recorder.flowfile import line_in
from weir.recorder.folder import Recordings, write_all
from weir.recorder.interrupted import CRASHED, interrupted
from weir.recorder.journal import JournalLine, decode_line, encode_line, placed
from weir.recorder.merkle import root_of
from weir.recorder.worker import try_claim

_WORKER = re.compile(r"w[0-9]{1,3}")


@dataclass(slots=True)
class Repairs:
    """What was found and mended."""

    segments: int = 0
    lines_restored: int = 0
    bytes_cut: int = 0
    interrupted: int = 0


def repair(recordings: Recordings, signer: Signer, own_worker: str) -> Repairs:
    """Mend the segments of *own_worker* and of every worker that is not running. Raises OSError."""
    repairs = Repairs()
    _drop_placeholder(recordings)
    by_worker: dict[str, list[Path]] = {path.name: [] for path in (recordings.root / "log").glob("w*")}
    for flows in sorted(recordings.segments.glob("*/*/*.mitm")):
        by_worker.setdefault(flows.name.partition("-")[0], []).append(flows)
    _repair_worker(recordings, signer, own_worker, by_worker.pop(own_worker, []), repairs)
    for worker, paths in sorted(by_worker.items()):
        if _WORKER.fullmatch(worker) and (lock := try_claim(recordings, worker)) is not None:
            try:
                _repair_worker(recordings, signer, worker, paths, repairs)
            finally:
                lock.release()
    return repairs


def _drop_placeholder(recordings: Recordings) -> None:
    """The empty journal that the first version of the format had, so that a glob matched something."""
    old = recordings.segments / "_none" / "_none" / "empty.jsonl"
    if old.exists() and old.stat().st_size == 0:
        old.unlink()
        with contextlib.suppress(OSError):
            old.parent.rmdir()
            old.parent.parent.rmdir()


def _repair_worker(recordings: Recordings, signer: Signer, worker: str, paths: list[Path], repairs: Repairs) -> None:
    log = Log(recordings, worker, signer)
    signed = _signed(log, signer)
    linked = {segment for _, segment in live.segments(recordings.root)}
    names = {path.relative_to(recordings.segments).with_suffix("").as_posix(): path for path in paths}
    unsealed = {segment: path for segment, path in names.items() if segment not in log.sealed}
    begun = _begun(unsealed)
    for segment, flows in unsealed.items():
        _mend(recordings, flows, segment, begun.get(segment, {}), repairs)
        sealed = _sealed(flows, segment)
        if sealed is None:
            if segment not in linked:
                live.add(recordings, worker, segment)  # as it is
            continue
        size = signed.live.get(segment) if signed else None
        if sealed.lines == 0 and size is None:
            _forget(recordings, flows, segment)
            continue
        if size is not None and not begins(_whole(flows.with_suffix(".jsonl"))[0].split(b"\n")[:-1], size, line_hash):
            sealed = _missing(segment, size, sealed)
        if segment not in linked:
            live.add(recordings, worker, segment)
        log.append(sealed)
    for segment, size in (signed.live if signed else {}).items():
        if segment not in names and segment not in log.sealed:
            log.append(_missing(segment, size, None))
    log.checkpoint()


def _begun(unsealed: dict[str, Path]) -> dict[str, dict[str, JournalLine]]:
    """What was let go and has no end in any of these segments: the intents, by the last segment that says so."""
    last: dict[str, tuple[str, JournalLine]] = {}
    ended: set[str] = set()
    for segment, flows in unsealed.items():
        lines = _read_lines(_whole(flows.with_suffix(".jsonl"))[0]) or []
        for line in lines:
            if line.intent:
                last[line.request_id] = (segment, line)
            else:
                ended.add(line.request_id)
        end = _end_of(lines)
        if end < flows.stat().st_size:
            ended |= {line.request_id for line, _ in _read_tail(flows, end, segment)[0]}
    begun: dict[str, dict[str, JournalLine]] = {}
    for request_id, (segment, line) in last.items():
        if request_id not in ended:
            begun.setdefault(segment, {})[request_id] = line
    return begun


def _end_of(lines: list[JournalLine]) -> int:
    """Where in the .mitm the flows of *lines* end."""
    return max((line.offset + line.length for line in lines), default=0)


def _whole(journal: Path) -> tuple[bytes, int]:
    """The whole lines of a journal, and how many bytes it has."""
    data = journal.read_bytes() if journal.exists() else b""
    return data[: data.rfind(b"\n") + 1], len(data)


def _signed(log: Log, signer: Signer) -> Checkpoint | None:
    """The worker's last checkpoint; None where it has none that can be believed."""
    try:
        return verify((log.folder / CHECKPOINT).read_bytes(), signer.key)
    except FileNotFoundError:
        return None
    except CheckpointError as error:
        _alarm("evidence_damaged", f"{log.folder / CHECKPOINT} {error}")
        return None


def _alarm(name: str, message: str) -> None:
    alarm(name, message, level=logging.WARNING)  # mitmdump would exit at an ERROR now


def _missing(segment: str, size: Size, found: Sealed | None) -> Sealed:
    """What was signed and is not there: sealed as it was signed, so that it stays noticed."""
    _alarm("evidence_damaged", f"{segment} does not hold what was signed: {size.lines} lines; see: weir verify")
    there = found.length if found else 0
    times = (found.first, found.last, found.time) if found else ("", "", "")
    return Sealed(
        segment=segment, lines=size.lines, root=size.root.hex(), length=there,
        first=times[0], last=times[1], time=times[2],
    )  # fmt: skip


def _forget(recordings: Recordings, flows: Path, segment: str) -> None:
    """A segment in which nothing was written yet."""
    for slot, linked in live.segments(recordings.root):
        if linked == segment:
            live.clear(slot)
    flows.unlink()
    flows.with_suffix(".jsonl").unlink(missing_ok=True)


def _sealed(flows: Path, segment: str) -> Sealed | None:
    """What its log is to say of a mended segment; None where it cannot be read."""
    data, _ = _whole(flows.with_suffix(".jsonl"))
    lines = data.split(b"\n")[:-1]
    read = _read_lines(data)
    erased = [found for line in lines if (found := erased_line(line)) is not None]
    if read is None:
        return None
    end = max(_end_of(read), max((e.offset + e.length for e in erased), default=0))
    if end != flows.stat().st_size:
        return None
    times = [line.time for line in read]
    first, last = (min(times), max(times)) if times else ("", "")
    root = root_of(map(line_hash, lines)).hex()
    return Sealed(segment=segment, lines=len(lines), root=root, length=end, first=first, last=last, time=last)


def _mend(recordings: Recordings, flows: Path, segment: str, begun: dict[str, JournalLine], repairs: Repairs) -> None:
    journal = flows.with_suffix(".jsonl")
    whole, length = _whole(journal)
    read = _read_lines(whole)
    end = _end_of(read or [])
    size = flows.stat().st_size
    if read is None or end > size:
        _alarm("segment_damaged", f"{journal} does not fit {flows}; both are left as they are")
        return
    restored, good = _read_tail(flows, end, segment) if end < size else ([], end)
    if len(whole) == length and end == size and not begun:
        return
    repairs.segments += 1
    repairs.lines_restored += len(restored)
    repairs.bytes_cut += length - len(whole) + size - good
    repairs.interrupted += len(begun)
    more, ends = bytearray(), list[bytes]()
    for line in begun.values():
        flow, text = interrupted(line, CRASHED)
        ends.append(_placed(text, segment, good + len(more), flow))
        more += flow
    _write_from(recordings, flows, good, bytes(more))
    _write_from(recordings, journal, len(whole), b"".join(line + b"\n" for line in (*(t for _, t in restored), *ends)))


def _write_from(recordings: Recordings, path: Path, start: int, data: bytes) -> None:
    """Have *path* hold *data* from byte *start* on, and nothing after it. Raises OSError."""
    descriptor = recordings.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        os.ftruncate(descriptor, start)
        os.lseek(descriptor, 0, os.SEEK_END)
        write_all(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_lines(data: bytes) -> list[JournalLine] | None:
    """The lines, but for those that were erased; None where one cannot be read."""
    try:
        return [decode_line(line) for line in data.split(b"\n")[:-1] if erased_line(line) is None]
    except msgspec.MsgspecError:
        return None


def _read_tail(flows: Path, start: int, segment: str) -> tuple[list[tuple[JournalLine, bytes]], int]:
    """The lines for the whole flows from byte *start* on, and where the last of them ends."""
    restored: list[tuple[JournalLine, bytes]] = []
    good = start
    with flows.open("rb") as file:
        file.seek(start)
        try:
            for flow in io.FlowReader(file).stream():
                here = file.tell()
                text = line_in(flow.metadata)
                if text is None:
                    break
                line = decode_line(text)
                file.seek(good)
                restored.append((line, _placed(encode_line(line), segment, good, file.read(here - good))))
                good = here
        except (exceptions.FlowReadException, msgspec.MsgspecError):
            pass  # torn: what follows was never acknowledged
    return restored, good


def _placed(line: bytes, segment: str, offset: int, flow: bytes) -> bytes:
    return placed(line, segment, offset, len(flow), hashlib.sha256(flow).hexdigest())
