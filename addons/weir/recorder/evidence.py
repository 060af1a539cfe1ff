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
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from weir.home import home, key_file
from weir.recorder.checkpoint import Checkpoint, CheckpointError, Key, Size, public_key, sign, verify
from weir.recorder.folder import Recordings, sync_path
from weir.recorder.journal import timestamp
from weir.recorder.merkle import Tree, leaf_hash, root_of

FILE = "evidence.jsonl"
CHECKPOINT = "checkpoint"
KEY_FILE = "evidence.key"
#: The administrative files beside a log, which checkpoints cover.
COVERED = ("events.jsonl", "approvals.jsonl")
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
    try:
        return _decoder.decode(line)
    except UnicodeDecodeError:
        raise msgspec.DecodeError("not UTF-8") from None


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
        self._lock = threading.RLock()
        self.worker = worker
        self.folder = recordings.log(worker)
        self.begin(signer)

    def begin(self, signer: Signer) -> None:
        """Read what is there now, and sign as *signer* from now on. Raises OSError."""
        with self._lock:
            self._signer = signer
            self._recordings.make(self.folder)
            self._tree, self._files = Tree(), dict[str, Tree]()
            self._unsynced: set[str] = set()
            self._signed: Checkpoint | None = None
            self.sealed: dict[str, Sealed] = {}
            for line in whole_lines(self._recordings, self.folder / FILE):
                self._note(line)
            with contextlib.suppress(OSError, CheckpointError):  # none yet: then the next is the first
                self._signed = verify((self.folder / CHECKPOINT).read_bytes(), signer.key)

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
            self._recordings.append(self.folder / file, line + b"\n", sync=False)
            tree.add(leaf_hash(line))
            self._unsynced.add(file)

    def checkpoint(self, live: Mapping[str, Size] = {}) -> None:
        """Sign what there is now, and *live* journals, where it is not what was signed last. Raises OSError."""
        with self._lock:
            for name in COVERED:
                if (self.folder / name).exists():
                    self._file(name)
            for file in self._unsynced:
                sync_path(self.folder / file)
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


class ErasedLine(msgspec.Struct):
    """What stands in the place of a line that was erased: its hash, and where its flow was."""

    erased: str
    offset: int = 0
    length: int = 0


def erased_line(line: bytes) -> ErasedLine | None:
    """What is left of an erased line; None where *line* is another."""
    if not line.startswith(b'{"erased":"'):
        return None
    try:
        found = msgspec.json.decode(line, type=ErasedLine)
        return found if len(bytes.fromhex(found.erased)) == 32 else None
    except (msgspec.MsgspecError, ValueError):
        return None


def line_hash(line: bytes) -> bytes:
    """The leaf hash of *line*, or the one that it says, where what it held has been erased."""
    erased = erased_line(line)
    return leaf_hash(line) if erased is None else bytes.fromhex(erased.erased)


def begins(lines: Sequence[bytes], size: Size, hashed: Callable[[bytes], bytes]) -> bool:
    """Whether *lines*, by their leaf hashes, begin with what *size* says."""
    return len(lines) >= size.lines and root_of(map(hashed, lines[: size.lines])) == size.root


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


class Busy(OSError):
    """Another process keeps these recordings now."""


@contextlib.contextmanager
def keeping(recordings: Recordings, *, wait: float = 0.0) -> Iterator[Log]:
    """Hold the keeper's lock, with its log. Raises `Busy` where another has it for *wait* seconds; OSError."""
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
                    raise Busy(f"another process keeps {recordings.root} now; try again in a minute") from None
                time.sleep(0.05)
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
