"""Repair at start, after a crash: what was acknowledged stays, what is torn goes. Never a live worker's files.

A flow without its line gets the line again from its own metadata; a torn flow or line at the end is cut
off, for mitmproxy could not read past it. What was let go and has no end on record gets one that says so. Then the
segment is sealed, in the log of the worker that wrote it; so are segments of versions that knew no logs.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
from mitmproxy import connection, exceptions, io
from mitmproxy.proxy.mode_specs import ProxyMode

from weir.alarms import alarm
from weir.exchange import RequestRecord
from weir.recorder import live
from weir.recorder.checkpoint import Checkpoint, CheckpointError, Size, verify
from weir.recorder.evidence import CHECKPOINT, Log, Sealed, Signer, line_hash
from weir.recorder.flowfile import FlowEncoder, line_in
from weir.recorder.folder import Recordings, write_all
from weir.recorder.journal import JournalLine, decode_line, encode_line, placed
from weir.recorder.merkle import Tree
from weir.recorder.worker import MAX_WORKERS, try_claim

INTERRUPTED = "interrupted: the gateway ended before the answer was on record"


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
    _repair_worker(recordings, signer, own_worker, repairs)
    for number in range(MAX_WORKERS):
        worker = f"w{number}"
        if worker == own_worker or not recordings.log(worker).is_dir():
            continue
        lock = try_claim(recordings, worker)
        if lock is not None:
            try:
                _repair_worker(recordings, signer, worker, repairs)
            finally:
                lock.release()
    return repairs


def _repair_worker(recordings: Recordings, signer: Signer, worker: str, repairs: Repairs) -> None:
    log = Log(recordings, worker, signer)
    signed = _signed(log, signer)
    linked = {segment for _, segment in live.segments(recordings.root)}
    found = set()
    for flows in sorted(recordings.segments.glob(f"*/*/{worker}-*.mitm")):
        segment = flows.relative_to(recordings.segments).with_suffix("").as_posix()
        found.add(segment)
        if segment in log.sealed:
            continue
        _mend(recordings, flows, segment, repairs)
        sealed = _sealed(flows, segment)
        if sealed is None:
            if segment not in linked:
                live.add(recordings, worker, segment)  # as it is
            continue
        size = signed.live.get(segment) if signed else None
        if sealed.lines == 0 and size is None:
            _forget(recordings, flows, segment)
            continue
        if size is not None and not _begins_with(flows.with_suffix(".jsonl"), size):
            sealed = _missing(segment, size, sealed)
        if segment not in linked:
            live.add(recordings, worker, segment)
        log.append(sealed)
    for segment, size in (signed.live if signed else {}).items():
        if segment not in found and segment not in log.sealed:
            log.append(_missing(segment, size, None))
    log.checkpoint()


def _signed(log: Log, signer: Signer) -> Checkpoint | None:
    """The worker's last checkpoint; None where it has none that can be believed."""
    try:
        return verify((log.folder / CHECKPOINT).read_bytes(), signer.key)
    except FileNotFoundError:
        return None
    except CheckpointError as error:
        alarm("evidence_damaged", f"{log.folder / CHECKPOINT} {error}")
        return None


def _missing(segment: str, size: Size, found: Sealed | None) -> Sealed:
    """What was signed and is not there: sealed as it was signed, so that it stays noticed."""
    alarm("evidence_damaged", f"{segment} does not hold what was signed: {size.lines} lines; see: weir verify")
    there = found.length if found else 0
    times = (found.first, found.last, found.time) if found else ("", "", "")
    return Sealed(
        segment=segment, lines=size.lines, root=size.root.hex(), length=there,
        first=times[0], last=times[1], time=times[2],
    )  # fmt: skip


def _begins_with(journal: Path, size: Size) -> bool:
    lines = journal.read_bytes().split(b"\n")[:-1]
    return len(lines) >= size.lines and Tree(map(line_hash, lines[: size.lines])).root() == size.root


def _forget(recordings: Recordings, flows: Path, segment: str) -> None:
    """A segment in which nothing was written yet."""
    for slot, linked in live.segments(recordings.root):
        if linked == segment:
            live.clear(slot)
    flows.unlink()
    flows.with_suffix(".jsonl").unlink(missing_ok=True)


def _sealed(flows: Path, segment: str) -> Sealed | None:
    """What its log is to say of a mended segment; None where it cannot be read."""
    tree, times, end = Tree(), list[str](), 0
    for line in _lines(flows.with_suffix(".jsonl")):
        tree.add(line_hash(line))
        try:
            read = decode_line(line)
        except msgspec.MsgspecError:
            return None
        times.append(read.time)
        end = max(end, read.offset + read.length)
    if end != flows.stat().st_size:
        return None
    first, last = (min(times), max(times)) if times else ("", "")
    sealed = Sealed(
        segment=segment, lines=tree.size, root=tree.root().hex(), length=end, first=first, last=last, time=last
    )
    return sealed


def _lines(journal: Path) -> Iterator[bytes]:
    data = journal.read_bytes() if journal.exists() else b""
    yield from data.split(b"\n")[:-1]


def _mend(recordings: Recordings, flows: Path, segment: str, repairs: Repairs) -> None:
    journal = flows.with_suffix(".jsonl")
    lines = journal.read_bytes() if journal.exists() else b""
    whole = lines[: lines.rfind(b"\n") + 1]
    read = _read_lines(whole)
    end = max((line.offset + line.length for line in read), default=0) if read is not None else None
    size = flows.stat().st_size
    if read is None or end is None or end > size:
        alarm("segment_damaged", f"{journal} does not fit {flows}; both are left as they are")
        return
    restored, good = _read_tail(flows, end, segment) if end < size else ([], end)
    ended = {line.request_id for line in (*read, *(line for line, _ in restored)) if not line.intent}
    interrupted = {line.request_id: line for line in read if line.intent and line.request_id not in ended}
    if len(whole) == len(lines) and end == size and not interrupted:
        return
    repairs.segments += 1
    repairs.lines_restored += len(restored)
    repairs.bytes_cut += len(lines) - len(whole) + size - good
    repairs.interrupted += len(interrupted)
    more, ends = bytearray(), list[bytes]()
    for line in interrupted.values():
        flow, text = _interrupted(line)
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
    try:
        return [decode_line(line) for line in data.split(b"\n")[:-1]]
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


def _interrupted(line: JournalLine) -> tuple[bytes, bytes]:
    """The end of an exchange that has none: a flow with the little that its intent says, and its line."""
    line = msgspec.structs.replace(line, intent=False, error=INTERRUPTED, segment="", duration_ms=0.0, status=0)
    text, encoder = encode_line(line), FlowEncoder()
    client = connection.Client(peername=("", 0), sockname=("", 0), proxy_mode=ProxyMode.parse("regular"))
    request = RequestRecord(line.method.encode(), b"http", line.connection or "", 80, line.path.encode(), (), b"")
    flow = encoder.flow(
        flow_id=line.request_id, client=encoder.connection(client),
        server=encoder.connection(connection.Server(address=None)), request=request, response=None, error=INTERRUPTED,
        replay="", marked=":warning:", comment=f"{INTERRUPTED} ({line.user or 'nobody'})", metadata=text,
        times=(0.0, 0.0, 0.0, 0.0),
    )  # fmt: skip
    return flow, text
