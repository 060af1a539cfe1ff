"""Verifies a recordings folder with a public key and with checkpoints that were kept elsewhere, trusting nothing else.

It checks these statements: every checkpoint is signed. Each log and each administrative file has the lines of its
checkpoint. Each segment has the sealed lines in their order, and the flows that these lines name. Removed data has a
tombstone in the keeper's log. The statements of kept checkpoints still hold. It also reports segments that no log
began, and links to them.
"""

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from weir.recorder import erasure, live
from weir.recorder.checkpoint import Checkpoint, CheckpointError, Key, Size, verify
from weir.recorder.entries import (
    Begun,
    Entry,
    Erased,
    Expired,
    Lost,
    Quarantined,
    Removed,
    Sealed,
    begins,
    decode_entry,
    erased_line,
    line_hash,
)
from weir.recorder.evidence import CHECKPOINT, COVERED, FILE, KEEPER
from weir.recorder.folder import read_regular
from weir.recorder.journal import decode_line
from weir.recorder.merkle import leaf_hash, root_of
from weir.recorder.worker import LOG_NAME, log_folders

#: Seconds until unknown files are checked again, because the gateway may just have made them.
_AGAIN = 0.5
_SEGMENT = re.compile(r"[^/.][^/]*/[0-9-]{10}/[^/.][^/]*")


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference from the signed state: its place, and its description."""

    where: str
    what: str


@dataclass(slots=True)
class Report:
    """The result of a verification. Without findings, nothing that checkpoints cover was changed."""

    findings: list[Finding] = field(default_factory=list)
    workers: int = 0
    segments: int = 0
    lines: int = 0
    removed: int = 0
    expired: int = 0  # segments without their flows
    erased: int = 0
    not_covered: list[str] = field(default_factory=list)  # data that no checkpoint covers yet
    not_vouched: int = 0  # segments taken over from an older version or another gateway
    notices: list[str] = field(default_factory=list)  # quarantined data, and lines lost in a power loss
    kept: int = 0  # checkpoints kept elsewhere that were compared
    latest: str = ""  # time of the last checkpoint

    def add(self, where: str, what: str) -> None:
        """Add a finding."""
        self.findings.append(Finding(where, what))


@dataclass(slots=True)
class _WorkerLog:
    checkpoint: Checkpoint
    entries: list[Entry]
    lines: list[bytes]  # all lines, including those that the checkpoint does not cover


def check(
    root: Path,
    key: Key,
    kept: Sequence[bytes] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Report:
    """Verify the recordings folder *root* with *key*, and against the signed checkpoints *kept* elsewhere."""
    report = Report()
    logs: dict[str, _WorkerLog] = {}
    tombstones = _Tombstones(root, key)
    for folder in log_folders(root):
        found = _worker(folder, key, report, tombstones)
        if found is not None:
            logs[folder.name] = found
    report.workers = len(logs)
    report.latest = max((log.checkpoint.time for log in logs.values()), default="")
    sealed = _sealed(logs, report)
    for done, segment in enumerate(sealed.values()):
        progress(done, len(sealed))
        _segment(root, segment, tombstones, report)
    progress(len(sealed), len(sealed))
    for log in logs.values():
        _live(root, log.checkpoint, sealed, tombstones, report)
        _note(root, log, tombstones, report)
    _strangers(root, key, logs, sealed, tombstones, report)
    _pretended(root, report)
    for note in kept:
        _since(root, note, key, logs, sealed, tombstones, report)
    report.removed, report.erased = len(tombstones.removed), tombstones.erased_lines
    report.expired = len(set(tombstones.expired) - set(tombstones.removed))
    if not logs and not report.findings:
        report.add(str(root), "contains no log: nothing here was ever signed, or everything was removed")
    return report


def sealed_now(root: Path, key: Key) -> list[str]:
    """Return the segments that are sealed and not removed, according to the signed logs."""
    tombstones = _Tombstones(root, key)
    logs = [log for path in log_folders(root) if (log := _worker(path, key, Report())) is not None]
    sealed = [entry.segment for log in logs for entry in log.entries if isinstance(entry, Sealed)]
    return [segment for segment in sealed if segment not in tombstones.removed]


def _worker(folder: Path, key: Key, report: Report, tombstones: "_Tombstones | None" = None) -> _WorkerLog | None:
    """Read the log in *folder* and check it against its checkpoint; None, with a finding, if that fails."""
    where = f"log/{folder.name}"
    try:
        note = read_regular(folder / CHECKPOINT)  # read first, because the other files only grow
    except OSError:
        if any((folder / name).is_file() for name in (FILE, *COVERED)):
            report.add(where, "has no checkpoint")
        return None
    try:
        checkpoint = verify(note, key)
    except CheckpointError as error:
        report.add(f"{where}/{CHECKPOINT}", str(error))
        return None
    if checkpoint.origin != f"{key.name}/{folder.name}":
        report.add(f"{where}/{CHECKPOINT}", f"belongs to another log, {checkpoint.origin}")
        return None
    lines = _lines(folder / FILE)
    if not begins(lines, checkpoint.log, leaf_hash):
        report.add(f"{where}/{FILE}", _short(lines, checkpoint.log))
        return None
    entries = []
    for number, line in enumerate(lines[: checkpoint.log.lines]):
        try:
            entries.append(decode_entry(line))
        except msgspec.MsgspecError:
            report.add(f"{where}/{FILE}", f"line {number + 1} is signed but not readable: another version wrote it")
    if len(lines) > checkpoint.log.lines:
        report.not_covered.append(f"{where}/{FILE}: {len(lines) - checkpoint.log.lines} lines")
    for name, size in checkpoint.files.items():
        there = _lines(folder / name)
        if not begins(there, size, line_hash):
            report.add(f"{where}/{name}", _short(there, size))
        elif tombstones is not None:
            for problem in _unexplained(there, f"{folder.name}/{name}", tombstones):
                report.add(f"{where}/{name}", problem)
    return _WorkerLog(checkpoint, entries, lines)


class _Tombstones:
    """The tombstones in the keeper's log. They are read again if new ones could explain a difference."""

    def __init__(self, root: Path, key: Key) -> None:
        self._folder = root / "log" / KEEPER
        self._key = key
        self.removed: dict[str, Removed] = {}
        self.erased: dict[str, dict[int, str]] = {}  # time by line number, by segment or file
        self.expired: dict[str, Expired] = {}  # flows that were removed, by segment
        self.erased_lines = 0
        self.read()

    def read(self) -> None:
        """Read the present log."""
        log = _worker(self._folder, self._key, Report()) if self._folder.is_dir() else None
        if log is None:
            return
        self.removed, self.erased, self.expired = {}, {}, {}
        for entry in log.entries:
            if isinstance(entry, Removed):
                self.removed[entry.segment] = entry
            elif isinstance(entry, Expired):
                self.expired[entry.segment] = entry
            elif isinstance(entry, Erased):
                times = self.erased.setdefault(entry.segment or entry.file, {})
                for number in entry.lines:
                    times.setdefault(number, entry.time)
        self.erased_lines = sum(map(len, self.erased.values()))


def _sealed(logs: dict[str, _WorkerLog], report: Report) -> dict[str, Sealed]:
    sealed: dict[str, Sealed] = {}
    for worker, log in logs.items():
        for entry in log.entries:
            if isinstance(entry, Sealed):
                if entry.segment in sealed:
                    report.add(f"log/{worker}/{FILE}", f"{entry.segment} is sealed twice")
                sealed.setdefault(entry.segment, entry)
    return sealed


def _segment(root: Path, sealed: Sealed, tombstones: _Tombstones, report: Report) -> None:
    problems: list[str] = []
    for _ in range(2):  # the segment may be removed, or lines of it erased, during the check
        problems = []
        removed = tombstones.removed.get(sealed.segment)
        if removed is not None:
            if (removed.lines, removed.root) != (sealed.lines, sealed.root):
                problems.append("its tombstone has another root or number of lines")
            base = root / "segments" / sealed.segment
            if any(base.with_name(f"{base.name}{suffix}").exists() for suffix in (".mitm", ".jsonl")):
                report.not_covered.append(f"segments/{sealed.segment}: removed, but its files still exist")
            break
        problems += _content(root, sealed, tombstones)
        if not problems:
            report.segments += 1
            report.lines += sealed.lines
            flows = root / "segments" / f"{sealed.segment}.mitm"
            if sealed.segment in tombstones.expired and flows.exists():
                report.not_covered.append(f"segments/{sealed.segment}: its bodies expired, but their file still exists")
            break
        tombstones.read()
    for problem in problems:
        report.add(f"segments/{sealed.segment}", problem)


def _unexplained(lines: Sequence[bytes], name: str, tombstones: _Tombstones) -> Iterator[str]:
    """Report erased lines without a tombstone."""
    erased = [number for number, line in enumerate(lines) if erased_line(line) is not None]
    known = tombstones.erased.get(name, {})
    if any(number not in known for number in erased):
        tombstones.read()
        known = tombstones.erased.get(name, {})
    unexplained = [number + 1 for number in erased if number not in known]
    if unexplained:
        yield f"lines {unexplained[:5]} were erased, and no tombstone says why"


def _content(root: Path, sealed: Sealed, tombstones: _Tombstones) -> Iterator[str]:
    """Yield the problems of a sealed segment."""
    base = root / "segments" / sealed.segment
    journal, flows = base.with_name(f"{base.name}.jsonl"), base.with_name(f"{base.name}.mitm")
    expired = tombstones.expired.get(sealed.segment)
    if expired is not None and expired.length != sealed.length:
        yield "the tombstone of its flows has another length"
    there = flows.exists()
    if not journal.exists() or not (there or expired):
        gone = " and ".join(path.suffix for path in (journal, flows) if not path.exists())
        yield f"its {gone} is gone, and no tombstone says why"
        return
    try:
        data = read_regular(journal)
        size = flows.stat().st_size if there else 0
    except OSError as error:
        yield f"cannot be read ({error.strerror})"
        return
    lines = data.split(b"\n")[:-1]
    if not data.endswith(b"\n") and data:
        yield "its journal ends in the middle of a line"
    if root_of(map(line_hash, lines)).hex() != sealed.root or len(lines) != sealed.lines:
        yield f"its journal differs from the sealed journal: {_where_short(len(lines), sealed.lines)}"
        return
    yield from _unexplained(lines, sealed.segment, tombstones)
    if not there:
        return  # they have a tombstone
    if size != sealed.length:
        yield f"its flows have {size} bytes, but had {sealed.length} when it was sealed"
    yield from _flows(flows, sealed.segment, lines, tombstones.erased.get(sealed.segment, {}), size)


def _flows(
    path: Path, segment: str, lines: Iterable[bytes], erased: Mapping[int, str], size: int | None = None
) -> Iterator[str]:
    """Report flows that differ from their lines, gaps between flows, and a total that differs from *size* bytes."""
    end = 0
    with path.open("rb") as file:
        for number, line in enumerate(lines, 1):
            gone = erased_line(line)
            if gone is not None:
                if gone.length:
                    if gone.offset != end:
                        yield f"line {number}, which was erased, does not follow the one before it"
                    file.seek(gone.offset)
                    if file.read(gone.length) != erasure.filler(gone.length, erased.get(number - 1, "")):
                        yield f"the erased flow of line {number} was replaced by other data"
                    end = gone.offset + gone.length
                continue
            try:
                read = decode_line(line)
            except msgspec.MsgspecError:
                yield f"line {number} is not readable: another version wrote it"
                continue
            if read.segment != segment:
                yield f"line {number} belongs to {read.segment}"
            if not read.length:
                continue  # an intent has no flow
            file.seek(read.offset)
            if read.offset != end:
                yield f"line {number} does not follow the one before it"
            if hashlib.sha256(file.read(read.length)).hexdigest() != read.sha256:
                yield f"the flow of line {number} ({read.request_id}) was changed"
            end = read.offset + read.length
    if size is not None and end != size:
        yield f"its lines name {end} bytes of flows, but the file has {size}"


def _live(
    root: Path,
    checkpoint: Checkpoint,
    sealed: dict[str, Sealed],
    tombstones: _Tombstones,
    report: Report,
    *,
    kept: bool = False,
) -> None:
    """Check the journals that were open when *checkpoint* was signed: they must begin with the signed lines."""
    for segment, size in checkpoint.live.items():
        removed = tombstones.removed.get(segment)
        if removed is not None:
            if removed.lines < size.lines:
                report.add(f"segments/{segment}", "had more lines than its tombstone states")
            continue
        lines = _lines(root / "segments" / f"{segment}.jsonl")
        if not begins(lines, size, line_hash):
            report.add(f"segments/{segment}", _short(lines, size))
        elif segment not in sealed and not kept:
            report.segments += 1
            report.lines += size.lines
            if len(lines) > size.lines:
                report.not_covered.append(f"segments/{segment}: {len(lines) - size.lines} lines")
            flows = root / "segments" / f"{segment}.mitm"
            erased = tombstones.erased.get(segment, {})
            problems = _flows(flows, segment, lines[: size.lines], erased) if flows.exists() else ["its .mitm is gone"]
            for problem in (*_unexplained(lines[: size.lines], segment, tombstones), *problems):
                report.add(f"segments/{segment}", problem)


def _note(root: Path, log: _WorkerLog, tombstones: _Tombstones, report: Report) -> None:
    """Report quarantined data, lost lines, and segments that the gateway does not vouch for."""
    vouched = log.checkpoint.vouched
    for number, entry in enumerate(log.entries):
        if isinstance(entry, Sealed) and (vouched is None or number < vouched):
            report.not_vouched += 1
        elif isinstance(entry, Quarantined):
            gone = "" if (root / entry.path).exists() or entry.path in tombstones.erased else " (it is gone)"
            report.notices.append(
                f"{entry.origin}: {entry.length} bytes quarantined as {entry.path}{gone}: {entry.why}"
            )
        elif isinstance(entry, Lost):
            report.notices.append(f"{entry.file}: {entry.lines} lines are missing: {entry.why}")


def _strangers(
    root: Path,
    key: Key,
    logs: dict[str, _WorkerLog],
    sealed: dict[str, Sealed],
    tombstones: _Tombstones,
    report: Report,
) -> None:
    """Report segments and links that no log began, and segments that the index does not show."""
    written, known = _names(logs)
    unknown = (_standing(root) | _linked(root)) - known - set(tombstones.removed)
    unlinked = written - _linked(root) - set(sealed)
    if not unknown and not unlinked:
        return
    time.sleep(_AGAIN)  # the gateway may just have made or removed them
    tombstones.read()
    again = {path.name: log for path in log_folders(root) if (log := _worker(path, key, Report())) is not None}
    written, known = _names(again)
    unknown &= (_standing(root) | _linked(root)) - known - set(tombstones.removed)
    unlinked &= written - _linked(root)
    unread: dict[str, int] = {}
    for segment in sorted(unknown):
        worker = segment.rpartition("/")[2].partition("-")[0]
        if worker not in again and (root / "log" / worker / FILE).exists():
            unread[worker] = unread.get(worker, 0) + 1  # its unreadable log is a finding already
        else:
            report.add(f"segments/{segment}", "no log knows of it")
    for worker, count in unread.items():
        report.add(f"log/{worker}", f"{count} segments cannot be checked without this log")
    for segment in sorted(unlinked):
        report.add(f"segments/{segment}", "is not linked in live/, so the index does not show it")


def _names(logs: Mapping[str, _WorkerLog]) -> tuple[set[str], set[str]]:
    """Return two sets: unsealed segments with lines in a checkpoint, and all segments that logs name."""
    sealed = {entry.segment for log in logs.values() for entry in log.entries if isinstance(entry, Sealed)}
    begun = {entry.segment for log in logs.values() for entry in log.entries if isinstance(entry, Begun)}
    live_ = {name for log in logs.values() for name in log.checkpoint.live}
    return live_ - sealed, live_ | sealed | begun


def _linked(root: Path) -> set[str]:
    return {segment for _, segment in live.segments(root)}


def _standing(root: Path) -> set[str]:
    return {
        path.relative_to(root / "segments").with_suffix("").as_posix()
        for suffix in ("mitm", "jsonl")
        for path in (root / "segments").glob(f"*/*/*.{suffix}")
    }


def _pretended(root: Path, report: Report) -> None:
    """Report foreign files and links that the views would read."""
    for path in sorted((root / "log").glob("*")):
        if path.name != "_none" and (path.is_symlink() or not path.is_dir() or not LOG_NAME.fullmatch(path.name)):
            report.add(f"log/{path.name}", "is not a log that weir makes")
    for name in ("segments", "live", "index", "log", "quarantine"):
        if (root / name).is_symlink():
            report.add(name, "is a link")
    linked = [segment for _, segment in live.segments(root)]
    for segment in sorted({segment for segment in linked if linked.count(segment) > 1}):
        report.add(f"segments/{segment}", "is linked in live/ more than once, so the index shows it as often")
    for path in sorted((root / "log" / "_none").glob("*")):
        if path.stat().st_size:
            report.add(f"log/_none/{path.name}", "is not empty, but this folder is not a log")
    for path in sorted((root / "live").glob("*")):
        if path.name == live.EMPTY:
            if path.is_symlink() or path.stat().st_size:
                report.add(f"live/{path.name}", "is not empty")
        elif not path.is_symlink() and os.path.lexists(path):
            report.add(f"live/{path.name}", "is not a link to a journal")
    for slot, segment in live.segments(root):
        if not _SEGMENT.fullmatch(segment):
            report.add(f"live/{slot.name}", "links to a file that is not a journal")


def _since(
    root: Path,
    note: bytes,
    key: Key,
    logs: dict[str, _WorkerLog],
    sealed: dict[str, Sealed],
    tombstones: _Tombstones,
    report: Report,
) -> None:
    """Check that the statements of a checkpoint that was kept elsewhere still hold."""
    try:
        old = verify(note, key)
    except CheckpointError as error:
        report.add("the kept checkpoint", str(error))
        return
    report.kept += 1
    where = f"log/{old.worker}"
    log = logs.get(old.worker)
    if old.origin != f"{key.name}/{old.worker}":
        report.add("the kept checkpoint", f"belongs to {old.origin}, not to these recordings")
        return
    if log is None:
        report.add(where, f"is gone or not readable, but was signed at {old.time}")
        return
    if not begins(log.lines, old.log, leaf_hash) or log.checkpoint.log.lines < old.log.lines:
        report.add(f"{where}/{FILE}", f"was rolled back or changed since {old.time}: {_short(log.lines, old.log)}")
    if log.checkpoint.time < old.time:
        report.add(f"{where}/{CHECKPOINT}", f"is older ({log.checkpoint.time}) than the kept checkpoint ({old.time})")
    for name, size in old.files.items():
        there = _lines(root / where / name)
        if not begins(there, size, line_hash):
            report.add(f"{where}/{name}", f"since {old.time}: {_short(there, size)}")
    _live(root, old, sealed, tombstones, report, kept=True)


def _lines(path: Path) -> list[bytes]:
    try:
        return read_regular(path).split(b"\n")[:-1]
    except OSError:
        return []


def _short(lines: Sequence[bytes], size: Size) -> str:
    return f"differs from the signed file: {_where_short(len(lines), size.lines)}"


def _where_short(there: int, signed: int) -> str:
    return f"{there} of {signed} lines are left" if there < signed else "lines were changed or reordered"
