"""A worker's log: one line for each event in the life of its segments, and the checkpoints that sign it.

``log/<worker>/evidence.jsonl`` only grows; each line is a leaf of a Merkle tree. ``checkpoint`` is the last signed
statement of that tree, of the journals that are still written, and of the administrative files beside it.

Write access to the recordings does not suffice to make the gateway sign: before it continues a log, it compares the
files with the log's head in ``WEIR_HOME`` (`heads`). Lines beyond the head are quarantined. A log with missing or
changed lines is not continued (`DamagedLogError`) until the file is restored.
"""

import contextlib
import fcntl
import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from weir.base.alarms import alarm
from weir.base.home import home, key_file
from weir.recorder import heads, quarantine
from weir.recorder.checkpoint import Checkpoint, CheckpointError, Key, Size, public_key, sign, verify
from weir.recorder.entries import (
    Adopted,
    Entry,
    Erased,
    Lost,
    Quarantined,
    Removed,
    Sealed,
    authentic,
    begins,
    decode_entry,
    erased_line,
    line_hash,
)
from weir.recorder.folder import Recordings, read_format, read_regular, sync_path
from weir.recorder.journal import timestamp
from weir.recorder.merkle import Tree, leaf_hash
from weir.recorder.worker import LOG_NAME

FILE = "evidence.jsonl"
CHECKPOINT = "checkpoint"
KEY_FILE = "evidence.key"
#: The administrative files beside a log, which checkpoints cover.
COVERED = ("events.jsonl", "approvals.jsonl", "holds.jsonl")
#: The log of retention and erasure.
KEEPER = "keeper"
POWER_LOSS = "power loss or removal: the machine was restarted meanwhile"


class DamagedLogError(OSError):
    """Lines that the gateway wrote to a log are missing or changed; the message states the file and the next action."""


class NotAdoptedError(OSError):
    """A folder has recordings but no heads in this ``WEIR_HOME``."""


class Signer:
    """The gateway's signing key, and its name for one recordings folder."""

    def __init__(self, recordings: Recordings) -> None:
        """Read the key and the folder's id. Raises `HomeError` for an unusable key; OSError, `FormatError`."""
        seed = key_file(KEY_FILE, os.urandom(32))
        if len(seed) != 32:
            raise OSError(f"{home() / KEY_FILE} is not 32 bytes long; restore it, or remove it to begin with a new key")
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.folder_id = recordings.identify()
        self.name = f"weir/{self.folder_id}"

    @property
    def key(self) -> Key:
        """The public key."""
        return public_key(self.name, self._private)

    def sign(self, checkpoint: Checkpoint) -> bytes:
        """Return *checkpoint* as a signed note."""
        return sign(checkpoint, self.name, self._private)


class Log:
    """The log of one worker. This process is its only writer. Its methods block; any thread may call them."""

    head: heads.Head

    def __init__(self, recordings: Recordings, worker: str, signer: Signer) -> None:
        """Read the log's files. Raises `DamagedLogError`, `NotAdoptedError`, `HeadBusyError`, OSError."""
        if not LOG_NAME.fullmatch(worker):
            raise OSError(f"{worker!r} is not the name of a log")
        self._recordings = recordings
        self._lock = threading.RLock()
        self.worker = worker
        self.folder = recordings.log(worker)
        self.begin(signer)

    def begin(self, signer: Signer) -> None:
        """Read the log's files again, and use *signer* from now on. Raises the constructor's errors."""
        with self._lock:
            require_heads(self._recordings, signer)
            self._recordings.make(self.folder)
            if (before := getattr(self, "head", None)) is not None:
                before.close()
            self.head = heads.Head(heads.path_of(signer.folder_id, self.worker))
            self._signer = signer
            try:
                self._begin()
            except BaseException:
                self.head.close()
                raise

    def _begin(self) -> None:
        self.sealed: dict[str, Sealed] = {}
        self.erased: dict[str, set[int]] = {}  # line numbers that tombstones name, by segment or file
        self._unsynced: set[str] = set()
        self._doubtful: set[str] = set()  # files with a failed sync: the disk may lack lines that a later sync skips
        self._sizes: dict[str, int] = {}  # bytes of the lines of each file
        self._torn: set[str] = set()  # files with a failed append, which may have a part of a line
        self.signed = self._last_checkpoint()
        vouched = self.signed if self.signed is not None and self.signed.vouched is not None else None
        if vouched is not None and vouched.vouched is not None and vouched.vouched > self.head.vouched:
            self.head.vouch(vouched.vouched)  # the head was lost and recreated: the signed number still counts
        found: list[Entry] = []
        self._tree = self._take(FILE, vouched.log if vouched else None, leaf_hash, found)
        self._files = {
            name: self._take(name, vouched.files.get(name) if vouched else None, line_hash, found)
            for name in COVERED
            if name in self.head or os.path.lexists(self.folder / name)
        }
        for entry in found:  # before the head forgets the lines that the entries describe
            self.append(entry)
        for name, tree in self._files.items():
            self._settle(name, tree)
        if found:
            alarm("recordings_unaccounted", f"{self.folder}: {describe(found)}; see: weir verify", level=_WARNING)

    def _last_checkpoint(self) -> Checkpoint | None:
        """Return the last checkpoint that this gateway signed; None if it is missing or invalid, with an alarm."""
        path = self.folder / CHECKPOINT
        try:
            found = verify(read_regular(path), self._signer.key)
            if found.origin != f"{self._signer.name}/{self.worker}":
                problem = f"is of {found.origin}"
            elif _microseconds(found.time) >= self.head.checkpoint_time:  # > if a crash came before the record
                return found
            else:
                problem = f"was rolled back to {found.time}"
        except FileNotFoundError:
            if not self.head.get(FILE).now.lines:
                return None
            problem = "is gone"
        except (OSError, CheckpointError) as error:
            problem = str(error)
        alarm("evidence_damaged", f"{path} {problem}; a new one is signed", level=_WARNING)
        return None

    def _take(self, name: str, signed: Size | None, hashed: Callable[[bytes], bytes], found: list[Entry]) -> Tree:
        """Return the tree of a file's authentic lines. Quarantine other data, and add an entry for it to *found*.

        Raises `DamagedLogError`, OSError.
        """
        path = self.folder / name
        data = read_regular(path) if os.path.lexists(path) else b""
        lines = data.split(b"\n")[:-1]
        record = self.head.get(name)
        this_boot = self.head.this_boot(record)
        count = authentic(lines, record, signed, hashed, this_boot=this_boot)
        if count is None:
            raise DamagedLogError(
                f"{path} was changed by another program: it has {len(lines)} lines, {record.now.lines} were written, "
                "and some are missing or changed. Weir leaves the file unchanged and does not write to it. Restore it "
                "from a backup, start the gateway again, and run: weir index rebuild"
            )
        if count < record.now.lines:
            found.append(
                Lost(file=_below(self._recordings, path), lines=record.now.lines - count, why=POWER_LOSS, time=_now())
            )
        end = sum(len(line) + 1 for line in lines[:count])
        if os.path.lexists(path) and not stat.S_ISREG(path.lstat().st_mode):
            found.append(quarantine.set_aside(self._recordings, path, quarantine.UNKNOWN))
        elif end < len(data):
            found.append(quarantine.set_tail_aside(self._recordings, path, data, end, quarantine.BEYOND))
        tree, self._sizes[name] = Tree(map(hashed, lines[:count])), end
        if name == FILE:
            for line in lines[:count]:
                self._note(line)
            self._settle(name, tree)
        return tree

    def _settle(self, name: str, tree: Tree) -> None:
        """Note the size of the file in the head, and write it anew if the disk may lack a part. Raises OSError."""
        record, path = self.head.get(name), self.folder / name
        if (tree.size, tree.size) != (record.now.lines, record.synced.lines):
            if os.path.lexists(path):
                self._recordings.replace(path, read_regular(path))
            self.head.put(name, Size(tree.size, tree.root()), synced=True)

    def adopt(self) -> None:
        """Vouch for later entries, and add an entry that states the adoption of earlier ones. Raises OSError."""
        with self._lock:
            if self._tree.size or any(tree.size for tree in self._files.values()):
                self.append(Adopted(entries=self._tree.size, time=_now()))
            self.head.vouch(self._tree.size)
            self.checkpoint()

    def append(self, entry: Entry) -> None:
        """Write *entry* and sync it to disk. Raises OSError with nothing written."""
        line = msgspec.json.encode(entry)
        with self._lock:
            self._tree = self._grow(FILE, line, self._tree, leaf_hash(line), sync=True)
            self._note(line)

    def write(self, file: str, line: bytes) -> None:
        """Write *line* to an administrative file beside the log. Raises OSError with nothing written."""
        with self._lock:
            self._files[file] = self._grow(file, line, self._files.get(file, Tree()), leaf_hash(line), sync=False)
            self._unsynced.add(file)

    def _grow(self, file: str, line: bytes, tree: Tree, leaf: bytes, *, sync: bool) -> Tree:
        fresh, path = tree.grown([leaf]), self.folder / file
        if file in self._torn:
            self._cut(file)
        try:
            self._recordings.append(path, line + b"\n", sync=sync)
            self.head.put(file, Size(fresh.size, fresh.root()), synced=sync)
            if sync:
                self.head.sync()
        except OSError:
            self._torn.add(file)
            with contextlib.suppress(OSError):  # the next append tries again
                self.head.put(file, Size(tree.size, tree.root()), synced=sync)
                self._cut(file)
            raise
        self._sizes[file] = self._sizes.get(file, 0) + len(line) + 1
        return fresh

    def _cut(self, file: str) -> None:
        """Remove the rest of a failed append. Raises OSError."""
        path, size = self.folder / file, self._sizes.get(file, 0)
        if path.exists() and path.stat().st_size > size:
            os.truncate(path, size)
        self._torn.discard(file)

    def read(self, file: str) -> list[bytes]:
        """Return the lines of an administrative file, checked against its tree. Raises `DamagedLogError`, OSError."""
        with self._lock:
            tree = self._files.get(file, Tree())
            path = self.folder / file
            lines = read_regular(path).split(b"\n")[:-1] if os.path.lexists(path) else []
            if not begins(lines, Size(tree.size, tree.root()), line_hash):
                raise DamagedLogError(f"{path} was changed by another program; restore it from a backup")
            return lines[: tree.size]

    def checkpoint(self, live: Mapping[str, Size] = {}) -> None:
        """Sign the log and the *live* journals if they differ from the last checkpoint. Raises OSError."""
        with self._lock:
            for file in self._unsynced:
                self._sync(file)
                self.head.put(file, self.head.get(file).now, synced=True)
            if self._unsynced:
                self.head.sync()
            self._unsynced.clear()
            files = {name: Size(tree.size, tree.root()) for name, tree in self._files.items()}
            log = Size(self._tree.size, self._tree.root())
            vouched = self.head.vouched if self.head.vouched < heads.PENDING else None
            last = self.signed
            if last is not None and (last.log, last.live, last.files, last.vouched) == (log, live, files, vouched):
                return
            origin = f"{self._signer.name}/{self.worker}"
            fresh = Checkpoint(origin, log, _now(), dict(live), files, vouched)
            note = self._signer.sign(fresh)
            self._recordings.replace(self.folder / CHECKPOINT, note)
            self.head.put_checkpoint(note, _microseconds(fresh.time))
            self.signed = fresh

    def _sync(self, file: str) -> None:
        """Sync an administrative file; after a failure, write it anew. Raises OSError."""
        path = self.folder / file
        if file in self._doubtful:
            self._recordings.replace(path, b"".join(line + b"\n" for line in self.read(file)))
        self._doubtful.add(file)
        sync_path(path)
        self._doubtful.discard(file)

    def close(self) -> None:
        """Close the head. Later writes to the log fail."""
        self.head.close()

    def _note(self, line: bytes) -> None:
        with contextlib.suppress(msgspec.MsgspecError):  # an entry of another version stays in the log
            entry = decode_entry(line)
            if isinstance(entry, Sealed):
                self.sealed[entry.segment] = entry
            elif isinstance(entry, Erased):
                _add_erased(self.erased, entry)


_WARNING = logging.WARNING  # mitmdump would exit at an ERROR before it is ready


def _add_erased(erased: dict[str, set[int]], entry: Erased) -> None:
    erased.setdefault(entry.segment or entry.file, set()).update(entry.lines)


def _now() -> str:
    return timestamp(time.time())


def _microseconds(time_: str) -> int:
    return round(datetime.fromisoformat(f"{time_}+00:00").timestamp() * 1e6)


def _below(recordings: Recordings, path: Path) -> str:
    return path.relative_to(recordings.root).as_posix()


def describe(found: Sequence[Entry]) -> str:
    """Summarise in one line the entries that a log or a repair had to add."""
    said = [f"{e.origin} ({e.length} bytes) was moved to {e.path}" for e in found if isinstance(e, Quarantined)]
    said += [f"{e.lines} lines of {e.file} are missing ({e.why})" for e in found if isinstance(e, Lost)]
    return "; ".join(said[:3]) + (f"; and {len(said) - 3} more" if len(said) > 3 else "")


def require_heads(recordings: Recordings, signer: Signer) -> None:
    """Check that the folder has heads, and make them if it is empty. Raises `NotAdoptedError`, OSError."""
    if heads.folder(signer.folder_id).is_dir():
        refuse_copy(recordings, signer)
        return
    if has_data(recordings):
        raise NotAdoptedError(
            f"{recordings.root} was recorded by an older version or with another WEIR_HOME; stop every gateway of the "
            "older version, then start this gateway once"
        )
    begin_heads(recordings, signer)


def begin_heads(recordings: Recordings, signer: Signer) -> None:
    """Make the folder of heads for an empty recordings folder. Heads of its former contents are not used again."""
    for other in heads.others_of(signer.folder_id, recordings.root):
        heads.forget_root(other)
    heads.make_folder(signer.folder_id)
    heads.note_root(signer.folder_id, recordings.root)


def refuse_copy(recordings: Recordings, signer: Signer) -> None:
    """Raise `NotAdoptedError` if another folder has the same id, because both would write the same heads."""
    root = heads.root_of(signer.folder_id)
    if root is None or root == recordings.root.resolve():
        return
    there = ""
    with contextlib.suppress(OSError):  # the other folder was moved or removed
        there = read_format(root)
    if there == signer.folder_id:
        raise NotAdoptedError(f"{recordings.root} is a copy of {root}; use the copy with another WEIR_HOME")


def has_data(recordings: Recordings) -> bool:
    """Return whether the folder has recordings."""
    logs = (path for name in (FILE, *COVERED) for path in recordings.root.glob(f"log/*/{name}"))
    return any(path.stat().st_size for path in logs) or next(recordings.segments.glob("*/*/*"), None) is not None


def entries(recordings: Recordings, damaged: set[str] | None = None) -> Iterator[tuple[str, Entry]]:
    """Yield (worker, entry) for every entry that the head of its log covers. Raises OSError.

    A log that differs from its head raises an alarm, yields no entry, and is added to *damaged*.
    """
    for worker, head in heads.all_of(recordings.identify()):
        size = head.get(FILE).now  # read before the file, which only grows
        try:
            lines = read_regular(recordings.log(worker) / FILE).split(b"\n")
        except FileNotFoundError:
            lines = []
        if not begins(lines, size, leaf_hash):
            alarm("evidence_damaged", f"{recordings.log(worker) / FILE} differs from what was written", level=_WARNING)
            if damaged is not None:
                damaged.add(worker)
            continue
        for line in lines[: size.lines]:
            with contextlib.suppress(msgspec.MsgspecError):
                yield worker, decode_entry(line)


def holds(recordings: Recordings, segment: str, size: Size, erased: Collection[int] = ()) -> bool:
    """Return whether the journal of *segment* holds exactly the lines of *size*. Raises OSError.

    Lines with a number in *erased* may be erased, because a tombstone names them.
    """
    path = recordings.segments / f"{segment}.jsonl"
    lines = read_regular(path).split(b"\n") if os.path.lexists(path) else [b""]
    if len(lines) != size.lines + 1 or lines[-1] or not begins(lines, size, line_hash):
        return False
    return all(erased_line(line) is None or n in erased for n, line in enumerate(lines))


def as_sealed(recordings: Recordings, entry: Sealed, erased: Mapping[str, Collection[int]]) -> bool:
    """Return whether the journal of a sealed segment holds exactly the sealed lines, except *erased* ones.

    *erased* has the line numbers that tombstones name, by segment (`erased_lines`). Raises OSError.
    """
    size = Size(entry.lines, bytes.fromhex(entry.root))
    return holds(recordings, entry.segment, size, erased.get(entry.segment, ()))


def erased_lines(found: Iterable[tuple[str, Entry]]) -> dict[str, set[int]]:
    """Return the line numbers in the keeper's tombstones among the entries *found*, by segment or file."""
    erased: dict[str, set[int]] = {}
    for worker, entry in found:
        if worker == KEEPER and isinstance(entry, Erased):
            _add_erased(erased, entry)
    return erased


class Busy(OSError):
    """Another process holds the keeper's lock of these recordings."""


@contextlib.contextmanager
def keepers_lock(recordings: Recordings, *, wait: float = 0.0) -> Iterator[None]:
    """Hold the keeper's lock. Raises `Busy` if another process holds it for *wait* seconds; OSError."""
    folder = recordings.make(recordings.log(KEEPER))
    descriptor = recordings.open(folder / "lock", os.O_RDWR | os.O_CREAT)
    deadline = time.monotonic() + wait
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise Busy(f"another process maintains {recordings.root} now; try again in a minute") from None
                time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def keeping(recordings: Recordings, *, wait: float = 0.0) -> Iterator[Log]:
    """Hold the keeper's lock and yield its log. Raises the errors of `keepers_lock` and `Log`."""
    with keepers_lock(recordings, wait=wait):
        log = Log(recordings, KEEPER, Signer(recordings))
        try:
            yield log
        finally:
            log.close()


def sealed_segments(recordings: Recordings) -> dict[str, Sealed]:
    """Return every segment that is sealed and not removed, in order of sealing. Raises OSError."""
    found: dict[str, Sealed] = {}
    gone = set()
    for _, entry in entries(recordings):
        if isinstance(entry, Sealed):
            found[entry.segment] = entry
        elif isinstance(entry, Removed):
            gone.add(entry.segment)
    return {segment: entry for segment, entry in found.items() if segment not in gone}
