"""Heads: records of how much each log has written, kept out of reach of programs that write only to the recordings.

``WEIR_HOME/heads/<folder id>/<log>.head`` has a record for each file of a log and for each journal that is still
written: its number of lines and their Merkle root, now and at the last sync to disk. A writer writes the lines first,
then the record, and acknowledges last. So after ``kill -9`` each acknowledged line is within the record. A line beyond
the record was not acknowledged, or another program wrote it.

A record has two slots with a checksum each, written in turn. If a crash tears one slot, the other is intact. Records
are written with ``pwrite``: on a full disk it raises OSError, while a memory map would end the process with SIGBUS.
"""

import errno
import fcntl
import hashlib
import os
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from weir.base.home import HomeError, home
from weir.recorder.checkpoint import Size
from weir.recorder.folder import datasync, sync_path
from weir.recorder.merkle import EMPTY

_SLOT = 512  # one sector, which disks write atomically
_RECORD = 2 * _SLOT
_LAYOUT = struct.Struct("<16sQ16sQ32sQ32sH")  # checksum, sequence, boot, lines and root twice, length of the name
_NOTHING = Size(0, EMPTY)
#: The record with a count instead of a size: the gateway does not vouch for that many first log entries.
_VOUCHED = "@vouched"
#: The record of the last checkpoint: its time in microseconds since 1970 instead of a count of lines, and its SHA-256.
_CHECKPOINT = "@checkpoint"
#: The file with the path of the recordings folder.
_ROOT = "root"
#: The count while a log of an older version is adopted.
PENDING = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Record:
    """The size of one file, now and at the last sync. ``boot`` is the kernel's boot id at the last change."""

    now: Size = _NOTHING
    synced: Size = _NOTHING
    boot: bytes = b""
    place: int = -1
    sequence: int = 0


class HeadBusyError(HomeError):
    """Another process writes this log."""


class Head:
    """The records of one log. One process writes it, and any process of the gateway's user may read it.

    The writer locks the file: the locks in the recordings can be replaced by any program that writes there. Any thread
    may call the methods.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        """Open the file; create it if absent. Raises `HeadBusyError` if another process writes it; `HomeError`."""
        self._path = path
        self._lock = threading.Lock()
        self._boot = boot_id()
        flags = os.O_RDONLY if read_only else os.O_RDWR | os.O_CREAT
        try:
            self._file = os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            if not read_only:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            raise HeadBusyError(f"{path}: another process writes this log; stop it first") from None
        except OSError as error:
            raise HomeError(f"{path}: cannot be used ({error.strerror}); check its owner and WEIR_HOME") from None
        try:
            data = os.pread(self._file, os.fstat(self._file).st_size, 0)
        except OSError as error:
            os.close(self._file)
            raise HomeError(f"{path}: cannot be used ({error.strerror}); check its owner and WEIR_HOME") from None
        self._doubtful = False  # after a failed sync: the disk may lack any record
        self._records: dict[str, Record] = {}
        self._free: list[tuple[int, int]] = []  # place and sequence of records that are no longer used
        self._places = -(-len(data) // _RECORD)
        try:
            for place in range(self._places):
                self._read(place, data[place * _RECORD : (place + 1) * _RECORD])
        except HomeError:
            self.close()
            raise

    def _read(self, place: int, data: bytes) -> None:
        slots = [found for start in (0, _SLOT) if (found := _parse(data[start : start + _SLOT])) is not None]
        if not slots and data.strip(b"\0"):
            self.close()
            raise HomeError(f"{self._path}: is damaged; restore it from a backup of WEIR_HOME")
        name, record = max(slots, key=lambda slot: slot[1].sequence, default=("", Record()))
        if name:
            self._records[name] = replace(record, place=place)
        else:
            self._free.append((place, record.sequence))

    def __contains__(self, name: str) -> bool:
        return name in self._records

    def get(self, name: str) -> Record:
        """Return the record of *name*, a file beside the log or a segment; an empty record if there is none."""
        return self._records.get(name, Record())

    @property
    def segments(self) -> list[str]:
        """The segments with a record, which are not sealed yet."""
        return [name for name in self._records if "/" in name]

    @property
    def vouched(self) -> int:
        """The number of first log entries that the gateway does not vouch for."""
        return self.get(_VOUCHED).now.lines

    def vouch(self, entries: int) -> None:
        """Vouch for all but the first *entries* of the log, or for nothing yet (`PENDING`). Raises OSError."""
        self.put(_VOUCHED, Size(entries, EMPTY), synced=True)
        self.sync()

    @property
    def checkpoint_time(self) -> int:
        """When the last checkpoint was signed, in microseconds since 1970; 0 before the first."""
        return self.get(_CHECKPOINT).now.lines

    def put_checkpoint(self, note: bytes, time: int) -> None:
        """Note that the checkpoint *note* was signed at *time*, in microseconds since 1970. Raises OSError."""
        self.put(_CHECKPOINT, Size(time, hashlib.sha256(note).digest()))

    def this_boot(self, record: Record) -> bool:
        """Return whether *record* was written since the machine started, so that no power loss explains lost lines."""
        return bool(self._boot.strip(b"\0")) and record.boot == self._boot

    def put(self, name: str, size: Size, *, synced: bool = False) -> None:
        """Set the record of *name* to *size*; *synced* means that the disk has the data.

        Raises OSError with the record unchanged.
        """
        with self._lock:
            before = self._records.get(name)
            if before is None:
                place, sequence = self._free[-1] if self._free else (self._places, 0)
                before = Record(place=place, sequence=sequence)
            fresh = Record(size, size if synced else before.synced, self._boot, before.place, before.sequence + 1)
            self._write(name, fresh)
            if name not in self._records:
                if self._free:
                    self._free.pop()
                else:
                    self._places += 1
            self._records[name] = fresh

    def drop(self, name: str) -> None:
        """Remove the record of *name*, if there is one. Raises OSError."""
        with self._lock:
            record = self._records.get(name)
            if record is not None:
                fresh = Record(place=record.place, sequence=record.sequence + 1)
                self._write("", fresh)
                del self._records[name]
                self._free.append((fresh.place, fresh.sequence))

    def sync(self) -> None:
        """Sync the records to disk. After a failure, write all of them again first. Raises OSError."""
        with self._lock:
            if self._file < 0:
                raise _closed(self._path)
            if self._doubtful:
                self._write_again()
            self._doubtful = True
            datasync(self._file)
            self._doubtful = False

    def probe(self) -> None:
        """Write all records again and sync, which shows that the disk takes data. Raises OSError."""
        self._doubtful = True
        self.sync()

    def _write_again(self) -> None:
        for name, record in self._records.items():
            self._write(name, record)
        for place, sequence in self._free:
            self._write("", Record(place=place, sequence=sequence))

    def close(self) -> None:
        """Close the file and release its lock. Later writes raise OSError. A second call does nothing."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
            self._file = -1

    def _write(self, name: str, record: Record) -> None:
        if self._file < 0:
            raise _closed(self._path)
        slot = _slot(name, record)
        at = record.place * _RECORD + record.sequence % 2 * _SLOT
        if os.pwrite(self._file, slot, at) != len(slot):
            raise OSError(f"{self._path}: could not be written completely; free some space in WEIR_HOME")


def _closed(path: Path) -> OSError:
    return OSError(errno.EBADF, "is closed", str(path))


def _slot(name: str, record: Record) -> bytes:
    encoded = name.encode()
    boot = record.boot.ljust(16, b"\0")
    body = _LAYOUT.pack(
        b"", record.sequence, boot, record.now.lines, record.now.root, record.synced.lines, record.synced.root,
        len(encoded),
    )[16:] + encoded  # fmt: skip
    slot = (hashlib.sha256(body).digest()[:16] + body).ljust(_SLOT, b"\0")
    if len(slot) > _SLOT:
        raise ValueError(f"the name {name[:80]}… is too long for a head record")
    return slot


def _parse(slot: bytes) -> tuple[str, Record] | None:
    """Parse the name and record in *slot*; None if it was torn or never written."""
    if len(slot) < _LAYOUT.size:
        return None
    checksum, sequence, boot, lines, root, synced_lines, synced_root, length = _LAYOUT.unpack_from(slot)
    if hashlib.sha256(slot[16 : _LAYOUT.size + length]).digest()[:16] != checksum:
        return None
    name = slot[_LAYOUT.size : _LAYOUT.size + length].decode()
    return name, Record(Size(lines, root), Size(synced_lines, synced_root), boot, sequence=sequence)


def boot_id() -> bytes:
    """Return the kernel's id of this boot, 16 bytes; zeros if the system has none."""
    try:
        return bytes.fromhex(Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", ""))
    except (OSError, ValueError):
        return bytes(16)


def folder(folder_id: str) -> Path:
    """Return the path of the heads of the recordings folder *folder_id*; it may not exist. Raises `HomeError`."""
    return home() / "heads" / folder_id


def make_folder(folder_id: str) -> Path:
    """Return `folder`; make it if absent. Raises OSError."""
    path = folder(folder_id)
    if not path.is_dir():
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync_path(path.parent)
    return path


def root_of(folder_id: str) -> Path | None:
    """Return the recordings folder of the heads *folder_id*; None if no start has noted it."""
    try:
        return Path((folder(folder_id) / _ROOT).read_text(encoding="utf-8", errors="surrogateescape"))
    except FileNotFoundError:
        return None


def note_root(folder_id: str, root: Path) -> None:
    """Note that the heads *folder_id* belong to the recordings folder *root*. Raises OSError."""
    path = folder(folder_id) / _ROOT
    fresh = path.with_name(f".{_ROOT}.{os.getpid()}")
    fresh.write_text(str(root.resolve()), encoding="utf-8", errors="surrogateescape")
    fresh.replace(path)


def others_of(folder_id: str, root: Path) -> list[str]:
    """Return the ids of other heads that belong to the same *root*."""
    known = folder(folder_id).parent.glob(f"*/{_ROOT}")
    ids = [path.parent.name for path in known if not path.parent.name.startswith(".")]
    return [other for other in ids if other != folder_id and root_of(other) == root.resolve()]


def forget_root(folder_id: str) -> None:
    """Remove the note of the recordings folder of *folder_id*, which is gone. Raises OSError."""
    (folder(folder_id) / _ROOT).unlink(missing_ok=True)


def path_of(folder_id: str, log: str) -> Path:
    """Return the path of the head of *log*."""
    return folder(folder_id) / f"{log}.head"


def all_of(folder_id: str) -> Iterator[tuple[str, Head]]:
    """Yield (log, head) for each log, read-only. Raises `HomeError`."""
    for path in sorted(folder(folder_id).glob("*.head")):
        head = Head(path, read_only=True)
        try:
            yield path.stem, head
        finally:
            head.close()


@contextmanager
def adopting(folder_id: str) -> Iterator[None]:
    """Hold the lock for the adoption of the recordings folder *folder_id*. Waits for it. Raises OSError."""
    parent = folder(folder_id).parent
    parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = os.open(parent / f"{folder_id}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
