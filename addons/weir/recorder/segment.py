"""A segment: one ``.mitm`` and one ``.jsonl`` of the same stem. Flow first, line second, always.

`Segment.append` either writes both completely or leaves both files as they were and raises OSError.
"""

import os
from pathlib import Path

#: A segment is closed and a new one begun past this size (bytes of flows).
MAX_SIZE = 64 * 1024 * 1024


class Segment:
    """An open segment, owned by one thread of one process."""

    def __init__(self, folder: Path, stem: str, name: str) -> None:
        """Create *stem* in *folder*. ``name`` is how journal lines call it (relative to the recordings)."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.name = name
        self.flow_path = folder / f"{stem}.mitm"
        self.journal_path = folder / f"{stem}.jsonl"
        self._flows = _create(self.flow_path)
        try:
            self._journal = _create(self.journal_path)
        except OSError:
            os.close(self._flows)
            self.flow_path.unlink(missing_ok=True)
            raise
        self.size = 0
        self._journal_size = 0
        self.dirty = False

    def in_place(self) -> bool:
        """Whether both files still stand where readers look for them."""
        return _same(self._flows, self.flow_path) and _same(self._journal, self.journal_path)

    def append(self, flows: bytes, lines: bytes) -> None:
        """Write *flows*, then *lines*. Raises OSError with nothing written."""
        try:
            _write(self._flows, flows)
            _write(self._journal, lines)
        except OSError:
            os.ftruncate(self._flows, self.size)
            os.ftruncate(self._journal, self._journal_size)
            raise
        self.size += len(flows)
        self._journal_size += len(lines)
        self.dirty = True

    def sync(self) -> None:
        """Have the disk hold what was written."""
        if self.dirty:
            _datasync(self._flows)
            _datasync(self._journal)
            self.dirty = False

    def close(self) -> None:
        """Sync and close."""
        try:
            self.sync()
        finally:
            os.close(self._flows)
            os.close(self._journal)


_datasync = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


def _create(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _same(descriptor: int, path: Path) -> bool:
    try:
        there, ours = os.stat(path), os.fstat(descriptor)
    except OSError:
        return False
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)
