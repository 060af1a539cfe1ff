"""A worker's log: what became of each of its segments, line by line, and the checkpoints that vouch for it.

``log/<worker>/evidence.jsonl`` only ever grows; each line is a leaf of a Merkle tree. ``checkpoint`` is the last signed
statement of that tree, of the journals that are still written, and of the administrative files beside it. Nothing in
them names a person: they outlive what they speak of.
"""

import contextlib
import fcntl
import os
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from weir.home import home, key_file
from weir.recorder.checkpoint import Checkpoint, Key, Size, public_key, sign
from weir.recorder.folder import Recordings
from weir.recorder.journal import timestamp
from weir.recorder.merkle import Tree, leaf_hash

FILE = "evidence.jsonl"
CHECKPOINT = "checkpoint"
KEY_FILE = "evidence.key"
#: The log of retention and erasure.
KEEPER = "keeper"


class Sealed(msgspec.Struct, frozen=True, tag="sealed", tag_field="kind", kw_only=True):
    """A segment that is complete: so many lines with this root (hexadecimal), so many bytes of flows."""

    segment: str
    lines: int
    root: str
    length: int
    first: str  # time of its first and last line
    last: str
    time: str


class Removed(msgspec.Struct, frozen=True, tag="removed", tag_field="kind", kw_only=True):
    """The tombstone of a segment that is no longer kept."""

    segment: str
    lines: int
    root: str
    why: str
    time: str


class Erased(msgspec.Struct, frozen=True, tag="erased", tag_field="kind", kw_only=True):
    """The tombstone of single lines, by number from 0, of a segment or of ``<worker>/<file>``."""

    segment: str = ""
    file: str = ""
    lines: list[int]
    why: str
    time: str


Entry = Sealed | Removed | Erased
_decoder: msgspec.json.Decoder[Entry] = msgspec.json.Decoder(Entry)


def decode_entry(line: bytes) -> Entry:
    """One line of a log. Raises `msgspec.MsgspecError`."""
    return _decoder.decode(line)


class Signer:
    """The gateway's signing key, and the name under which it signs for one recordings folder."""

    def __init__(self, recordings: Recordings) -> None:
        """Raises `HomeError` where the key cannot be used, OSError or `FormatError` where the folder cannot."""
        seed = key_file(KEY_FILE, os.urandom(32))
        if len(seed) != 32:
            raise OSError(f"{home() / KEY_FILE} is not 32 bytes long; restore it, or remove it to begin with a new key")
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.name = f"weir/{recordings.identify()}"

    @property
    def key(self) -> Key:
        """The public half."""
        return public_key(self.name, self._private)

    def sign(self, checkpoint: Checkpoint) -> bytes:
        """*checkpoint* as a signed note."""
        return sign(checkpoint, self.name, self._private)


class Log:
    """The log of one worker, of which this process is the only writer. Its methods block; any thread may call them."""

    def __init__(self, recordings: Recordings, worker: str, signer: Signer) -> None:
        """Read what is there, without a line that a crash has torn. Raises OSError."""
        self._recordings = recordings
        self._signer = signer
        self._lock = threading.RLock()
        self.worker = worker
        self.folder = recordings.make(recordings.log(worker))
        self._tree, self._files = Tree(), dict[str, Tree]()
        self._unsynced: set[str] = set()
        self._signed: Checkpoint | None = None
        self.sealed: dict[str, Sealed] = {}
        for line in whole_lines(recordings, self.folder / FILE):
            self._note(line)

    def append(self, entry: Entry) -> None:
        """Write *entry*. Returns once the disk has it. Raises OSError."""
        line = msgspec.json.encode(entry)
        with self._lock:
            self._recordings.append(self.folder / FILE, line + b"\n")
            self._note(line)

    def write(self, file: str, line: bytes) -> None:
        """Write *line* to an administrative file beside the log. Raises OSError."""
        with self._lock:
            tree = self._file(file)
            descriptor = self._recordings.open(self.folder / file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            try:
                if os.write(descriptor, line + b"\n") != len(line) + 1:  # the disk is full
                    raise OSError(f"{self.folder / file}: no space is left")
            finally:
                os.close(descriptor)
            tree.add(leaf_hash(line))
            self._unsynced.add(file)

    def checkpoint(self, live: Mapping[str, Size] = {}) -> None:
        """Sign what there is now, and *live* journals, where it is not what was signed last. Raises OSError."""
        with self._lock:
            for path in self.folder.glob("*.jsonl"):
                if path.name != FILE:
                    self._file(path.name)
            for file in self._unsynced:
                _sync(self.folder / file)
            self._unsynced.clear()
            files = {name: Size(tree.size, tree.root()) for name, tree in self._files.items()}
            log = Size(self._tree.size, self._tree.root())
            last = self._signed
            if last is not None and (last.log, last.live, last.files) == (log, live, files):
                return
            origin = f"{self._signer.name}/{self.worker}"
            fresh = Checkpoint(origin, log, timestamp(time.time()), dict(live), files)
            self._recordings.replace(self.folder / CHECKPOINT, self._signer.sign(fresh))
            self._signed = fresh

    def _note(self, line: bytes) -> None:
        self._tree.add(leaf_hash(line))
        with contextlib.suppress(msgspec.MsgspecError):  # not for this to judge: it stays as it is
            entry = decode_entry(line)
            if isinstance(entry, Sealed):
                self.sealed[entry.segment] = entry

    def _file(self, name: str) -> Tree:
        tree = self._files.get(name)
        if tree is None:
            lines = whole_lines(self._recordings, self.folder / name)
            tree = self._files[name] = Tree(map(line_hash, lines))
        return tree


class _ErasedLine(msgspec.Struct):
    erased: str


def line_hash(line: bytes) -> bytes:
    """The leaf hash of *line*, or the one that it says, where what it held has been erased."""
    if line.startswith(b'{"erased":"'):
        try:
            return bytes.fromhex(msgspec.json.decode(line, type=_ErasedLine).erased)
        except (msgspec.MsgspecError, ValueError):
            pass
    return leaf_hash(line)


def whole_lines(recordings: Recordings, path: Path) -> Iterator[bytes]:
    """The lines of *path*, after cutting off one that a crash has torn. Raises OSError."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return
    whole = data.rfind(b"\n") + 1
    if whole < len(data):
        descriptor = recordings.open(path, os.O_WRONLY)
        try:
            os.ftruncate(descriptor, whole)
        finally:
            os.close(descriptor)
    yield from data[:whole].split(b"\n")[:-1]


def entries(root: Path) -> Iterator[tuple[str, Entry]]:
    """Every readable entry of every log below the recordings folder *root*, with its worker."""
    for path in sorted(root.glob(f"log/*/{FILE}")):
        for line in path.read_bytes().split(b"\n"):
            with contextlib.suppress(msgspec.MsgspecError):
                yield path.parent.name, decode_entry(line)


class Busy(Exception):
    """Another process keeps these recordings now."""


@contextlib.contextmanager
def keeping(recordings: Recordings, *, wait: bool = False) -> Iterator[Log]:
    """Hold the keeper's lock, with its log. Raises `Busy` unless told to *wait*, OSError."""
    folder = recordings.make(recordings.log(KEEPER))
    descriptor = recordings.open(folder / "lock", os.O_RDWR | os.O_CREAT)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise Busy from None
        yield Log(recordings, KEEPER, Signer(recordings))
    finally:
        os.close(descriptor)


def sealed_segments(root: Path) -> list[str]:
    """Every segment below the recordings folder *root* that is sealed and still kept, in order of sealing."""
    found: dict[str, None] = {}
    gone = set()
    for _, entry in entries(root):
        if isinstance(entry, Sealed):
            found[entry.segment] = None
        elif isinstance(entry, Removed):
            gone.add(entry.segment)
    return [segment for segment in found if segment not in gone]


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
