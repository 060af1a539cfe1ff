"""A segment: one ``.mitm`` and one ``.jsonl`` of the same stem. Flow first, line second, the head's record third.

`Segment.append` either writes all three completely or leaves them as they were and raises OSError.
"""

import os
import time
from collections.abc import Sequence

from weir.recorder.checkpoint import Size
from weir.recorder.entries import Sealed
from weir.recorder.evidence import Log
from weir.recorder.folder import Recordings, datasync, sync_path, write_all
from weir.recorder.journal import timestamp
from weir.recorder.merkle import EMPTY, Tree, leaf_hash

#: A segment is sealed, and a new one begun, past one of these: bytes of flows, lines, seconds since it was begun.
MAX_SIZE = 64 * 1024 * 1024
MAX_LINES = 10_000
MAX_AGE = 3600.0


class Segment:
    """An open segment, owned by one thread of one process."""

    def __init__(self, recordings: Recordings, name: str, log: Log) -> None:
        """Create it. ``name`` is how journal lines call it: connection, date and stem. Raises OSError.

        *log* is its worker's, in which it is begun already.
        """
        self.name = name
        self._log = log
        base = recordings.segments / name
        self.flow_path = base.with_name(f"{base.name}.mitm")
        self.journal_path = base.with_name(f"{base.name}.jsonl")
        log.head.put(name, Size(0, EMPTY))  # first: a file without a record is quarantined
        recordings.make(base.parent)
        create = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        self._flows = recordings.open(self.flow_path, create)
        try:
            self._journal = recordings.open(self.journal_path, create)
        except OSError:
            os.close(self._flows)
            self.flow_path.unlink(missing_ok=True)
            raise
        sync_path(base.parent)
        self.size = 0
        self._journal_size = 0
        self.dirty = False
        self._begun = time.monotonic()
        self._tree = Tree()
        self._times: tuple[str, str] = ("", "")  # the earliest and the latest of its lines
        #: The lines of what was let go and has not ended, by request id.
        self.open: dict[str, bytes] = {}

    def in_place(self) -> bool:
        """Whether both files are at their paths, with exactly the written sizes."""
        return _same(self._flows, self.flow_path, self.size) and _same(
            self._journal, self.journal_path, self._journal_size
        )

    @property
    def full(self) -> bool:
        """Whether it is time for another."""
        return self.size >= MAX_SIZE or self._tree.size >= MAX_LINES or time.monotonic() - self._begun >= MAX_AGE

    @property
    def seconds_left(self) -> float:
        """Until it is too old."""
        return max(0.0, self._begun + MAX_AGE - time.monotonic())

    @property
    def covered(self) -> Size:
        """Its lines so far."""
        return Size(self._tree.size, self._tree.root())

    def append(self, flows: bytes | bytearray, lines: Sequence[bytes], first: str, last: str) -> None:
        """Write *flows*, then *lines* (without newlines), of times *first* to *last*.

        Raises OSError with nothing written.
        """
        journal = b"\n".join([*lines, b""])
        tree = self._tree.grown(map(leaf_hash, lines))
        try:
            write_all(self._flows, flows)
            write_all(self._journal, journal)
            self._log.head.put(self.name, Size(tree.size, tree.root()))
        except OSError:
            os.ftruncate(self._flows, self.size)
            os.ftruncate(self._journal, self._journal_size)
            raise
        self.size += len(flows)
        self._journal_size += len(journal)
        self._tree = tree
        self._times = (min(self._times[0] or first, first), max(self._times[1], last))
        self.dirty = True

    def sync(self) -> None:
        """Sync flows and lines to disk. Raises OSError. `Head.sync` does the same for the record."""
        if self.dirty:
            datasync(self._flows)
            datasync(self._journal)
            self._log.head.put(self.name, self.covered, synced=True)
            self.dirty = False

    def sealed(self) -> Sealed:
        """What its worker's log says of it, once it is complete."""
        return Sealed(
            segment=self.name,
            lines=self._tree.size,
            root=self._tree.root().hex(),
            length=self.size,
            first=self._times[0],
            last=self._times[1],
            time=timestamp(time.time()),
        )

    def discard(self) -> None:
        """Close and remove it: it was never used."""
        self.close()
        self.flow_path.unlink(missing_ok=True)
        self.journal_path.unlink(missing_ok=True)
        self._log.head.drop(self.name)

    def close(self) -> None:
        """Close its files."""
        os.close(self._flows)
        os.close(self._journal)


def _same(descriptor: int, path: os.PathLike[str], size: int) -> bool:
    try:
        there, ours = os.stat(path), os.fstat(descriptor)
    except OSError:
        return False
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino) and ours.st_size == size
