"""A segment: one ``.mitm`` and one ``.jsonl`` file with the same stem.

`Segment.append` writes flows, then lines, then the head's record. It writes all three completely, or leaves all three
unchanged and raises OSError.

After a failed write or sync, nothing more is written to the segment. A later sync proves nothing, because the kernel
reports lost data only once. So `Segment.settle` writes both files anew before the segment is sealed.
"""

import contextlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

from weir.recorder.checkpoint import Size
from weir.recorder.entries import Sealed, begins
from weir.recorder.evidence import Log
from weir.recorder.folder import Recordings, datasync, read_regular, sync_path, write_all
from weir.recorder.journal import decoded, flows_that_fit, timestamp
from weir.recorder.merkle import EMPTY, Tree, leaf_hash

#: At one of these limits a segment is sealed and a new one begun: bytes of flows, lines, seconds since it was begun.
MAX_SIZE = 64 * 1024 * 1024
MAX_LINES = 10_000
MAX_AGE = 3600.0


class Segment:
    """An open segment, owned by one thread of one process."""

    def __init__(self, recordings: Recordings, name: str, log: Log) -> None:
        """Create the files. *name* is ``<connection>/<date>/<stem>``, as in journal lines. Raises OSError.

        *log* is the worker's log, which has the segment's ``begun`` entry already.
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
        try:
            sync_path(base.parent)
        except OSError:
            self.discard()
            raise
        self.size = 0
        self._journal_size = 0
        self.dirty = False
        self.failed = False
        self._begun = time.monotonic()
        self._tree = Tree()
        self._times: tuple[str, str] = ("", "")  # earliest and latest time of its lines
        #: The intent lines of requests that have not ended, by request id.
        self.open: dict[str, bytes] = {}

    def in_place(self) -> bool:
        """Return whether both files are at their paths with exactly the written sizes."""
        return _same(self._flows, self.flow_path, self.size) and _same(
            self._journal, self.journal_path, self._journal_size
        )

    @property
    def full(self) -> bool:
        """Whether the segment has reached one of its limits, or a write or sync of it has failed."""
        return (
            self.failed
            or self.size >= MAX_SIZE
            or self._tree.size >= MAX_LINES
            or time.monotonic() - self._begun >= MAX_AGE
        )

    @property
    def seconds_left(self) -> float:
        """Seconds until the segment reaches its maximum age."""
        return max(0.0, self._begun + MAX_AGE - time.monotonic())

    @property
    def covered(self) -> Size:
        """The number of its lines so far, and their root."""
        return Size(self._tree.size, self._tree.root())

    def append(
        self, flows: bytes | bytearray, lines: Sequence[bytes], first: str, last: str, *, synced: bool = False
    ) -> None:
        """Write *flows*, then *lines* (without newlines). Their times are between *first* and *last*.

        *synced* waits for the disk. Raises OSError with nothing written.
        """
        journal = b"\n".join([*lines, b""])
        tree = self._tree.grown(map(leaf_hash, lines))
        try:
            write_all(self._flows, flows)
            write_all(self._journal, journal)
            self._log.head.put(self.name, Size(tree.size, tree.root()))
            if synced:
                self._to_disk(Size(tree.size, tree.root()))
                self._log.head.sync()
        except OSError:
            self._cut_back()
            raise
        self.size += len(flows)
        self._journal_size += len(journal)
        self._tree = tree
        self._times = (min(self._times[0] or first, first), max(self._times[1], last))
        self.dirty = not synced

    def _cut_back(self) -> None:
        """Remove what a failed `append` wrote, as far as the disk permits; `settle` removes the rest."""
        self.failed = True
        with contextlib.suppress(OSError):  # first: lines without a record are quarantined, but none may be missing
            self._log.head.put(self.name, self.covered)
        for descriptor, size in ((self._flows, self.size), (self._journal, self._journal_size)):
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, size)

    def sync(self) -> None:
        """Sync flows and lines to disk. Raises OSError. `Head.sync` does the same for the record."""
        if self.dirty:
            self._to_disk(self.covered)
            self.dirty = False

    def _to_disk(self, size: Size) -> None:
        try:
            datasync(self._flows)
            datasync(self._journal)
        except OSError:
            self.failed = True
            raise
        self._log.head.put(self.name, size, synced=True)

    def settle(self, recordings: Recordings) -> bool:
        """Sync a segment that gets no more lines; if a write or sync has failed, write both files anew.

        Return False if the files do not have the written data any more. Raises OSError.
        """
        if not self.failed:
            self.sync()
            return True
        flows, journal = _start_of(self.flow_path, self.size), _start_of(self.journal_path, self._journal_size)
        lines = journal.split(b"\n")[:-1]
        read = decoded(lines)
        if read is None or not begins(lines, self.covered, leaf_hash) or flows_that_fit(read, flows) < len(lines):
            return False
        recordings.replace(self.flow_path, flows)
        recordings.replace(self.journal_path, journal)
        self._log.head.put(self.name, self.covered, synced=True)
        self.failed = self.dirty = False
        return True

    def sealed(self) -> Sealed:
        """Return the log entry that seals the segment."""
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
        """Close and remove a segment that was never used."""
        self.close()
        self.flow_path.unlink(missing_ok=True)
        self.journal_path.unlink(missing_ok=True)
        self._log.head.drop(self.name)

    def close(self) -> None:
        """Close both files."""
        os.close(self._flows)
        os.close(self._journal)


def _same(descriptor: int, path: os.PathLike[str], size: int) -> bool:
    try:
        there, ours = os.stat(path), os.fstat(descriptor)
    except OSError:
        return False
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino) and ours.st_size == size


def _start_of(path: Path, size: int) -> bytes:
    try:
        return read_regular(path)[:size]
    except FileNotFoundError:
        return b""
