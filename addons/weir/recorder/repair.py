"""Repair at start, after a crash: what was acknowledged stays, what is torn goes. Never a live worker's files.

A flow without its line gets the line again from its own metadata; a torn flow or line at the end is cut
off, for mitmproxy could not read past it.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import msgspec
from mitmproxy import exceptions, io

from weir.alarms import alarm
from weir.recorder.flowfile import line_in
from weir.recorder.journal import decode_line, encode_line
from weir.recorder.worker import MAX_WORKERS, try_claim


@dataclass(slots=True)
class Repairs:
    """What was found and mended."""

    segments: int = 0
    lines_restored: int = 0
    bytes_cut: int = 0


def repair(root: Path, own_worker: str) -> Repairs:
    """Mend the segments below *root* of *own_worker* and of every worker that is not running."""
    repairs = Repairs()
    _repair_worker(root, own_worker, repairs)
    for number in range(MAX_WORKERS):
        worker = f"w{number}"
        if worker == own_worker or not (root / "log" / worker).is_dir():
            continue
        lock = try_claim(root, number)
        if lock is not None:
            try:
                _repair_worker(root, worker, repairs)
            finally:
                lock.release()
    return repairs


def _repair_worker(root: Path, worker: str, repairs: Repairs) -> None:
    for flows in sorted((root / "segments").glob(f"*/*/{worker}-*.mitm")):
        _repair_segment(root, flows, repairs)


def _repair_segment(root: Path, flows: Path, repairs: Repairs) -> None:
    journal = flows.with_suffix(".jsonl")
    lines = journal.read_bytes() if journal.exists() else b""
    whole = lines[: lines.rfind(b"\n") + 1]
    end = _end_of_last(whole)
    size = flows.stat().st_size
    if end is None or end > size:
        alarm("segment_damaged", f"{journal} does not fit {flows}; both are left as they are")
        return
    if len(whole) == len(lines) and end == size:
        return
    repairs.segments += 1
    repairs.bytes_cut += len(lines) - len(whole)
    restored, good = _read_tail(flows, end, flows.relative_to(root / "segments").with_suffix("").as_posix())
    descriptor = os.open(journal, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        os.ftruncate(descriptor, len(whole))
        os.lseek(descriptor, 0, os.SEEK_END)
        os.write(descriptor, b"".join(restored))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    repairs.lines_restored += len(restored)
    repairs.bytes_cut += size - good
    if good < size:
        os.truncate(flows, good)


def _end_of_last(lines: bytes) -> int | None:
    """Where in the .mitm the last line's flow ends; None where the line cannot be read."""
    if not lines:
        return 0
    try:
        last = decode_line(lines.rstrip(b"\n").rpartition(b"\n")[2])
    except msgspec.MsgspecError:
        return None
    return last.offset + last.length


def _read_tail(flows: Path, start: int, segment: str) -> tuple[list[bytes], int]:
    """The lines for the whole flows from byte *start* on, and where the last of them ends."""
    restored: list[bytes] = []
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
                line.segment, line.offset, line.length = segment, good, here - good
                file.seek(good)
                line.sha256 = hashlib.sha256(file.read(line.length)).hexdigest()
                restored.append(encode_line(line) + b"\n")
                good = here
        except (exceptions.FlowReadException, msgspec.MsgspecError):
            pass  # torn: what follows was never acknowledged
    return restored, good
