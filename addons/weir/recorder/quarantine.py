"""Quarantine: moves data that the gateway cannot authenticate, so that readers do not see it.

The data is moved to ``quarantine/<time>-<number>/`` with its path in the folder, and can be examined there. The caller
appends the returned entry to its log, so that the move and its reason are signed.
"""

import hashlib
import os
import stat
import time
from pathlib import Path

from weir.recorder.entries import Quarantined
from weir.recorder.folder import Recordings, sync_path
from weir.recorder.journal import timestamp

#: Neither a head nor a log has a record of the data.
UNKNOWN = "unknown: no record of the gateway says that it wrote it"
#: Data after the last acknowledged line.
BEYOND = "beyond: it stands after what was acknowledged, left by a crash or added by another program"
#: A file of the gateway with other content.
CHANGED = "changed: it stands in the place of what the gateway wrote"
_TAIL = ".tail"


def set_aside(recordings: Recordings, path: Path, why: str) -> Quarantined:
    """Move the file or link *path*. Raises OSError."""
    if not recordings.is_below(path):
        raise OSError(f"{path} is reached through a link, so it is not moved; remove the link")
    target = _place(recordings, path)
    digest, length = _digest(path)
    path.rename(target)
    sync_path(target.parent)
    return _entry(recordings, path, target, 0, length, digest, why)


def set_tail_aside(recordings: Recordings, path: Path, data: bytes, start: int, why: str) -> Quarantined:
    """Move the bytes of *path*, which holds *data*, from byte *start* on. Raises OSError."""
    tail = data[start:]
    target = _place(recordings, path.with_name(path.name + _TAIL))
    recordings.replace(target, tail)
    descriptor = recordings.open(path, os.O_WRONLY)
    try:
        os.ftruncate(descriptor, start)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return _entry(recordings, path, target, start, len(tail), hashlib.sha256(tail).hexdigest(), why)


def _place(recordings: Recordings, path: Path) -> Path:
    """Return an unused name for *path* below the quarantine, and make its folder."""
    moment = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    for number in range(1_000_000):
        target = recordings.quarantine / f"{moment}-{number}" / path.relative_to(recordings.root)
        if not os.path.lexists(target):
            recordings.make(target.parent)
            return target
    raise OSError(f"{recordings.quarantine} has no free name left; move its contents elsewhere")


def _digest(path: Path) -> tuple[str, int]:
    if not stat.S_ISREG(path.lstat().st_mode):  # the digest of a link covers its target path; a pipe has no data
        data = os.readlink(path).encode() if path.is_symlink() else b""
        return hashlib.sha256(data).hexdigest(), len(data)
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size


def _entry(
    recordings: Recordings, path: Path, target: Path, offset: int, length: int, sha256: str, why: str
) -> Quarantined:
    return Quarantined(
        path=_below(recordings, target), origin=_below(recordings, path), offset=offset, length=length, sha256=sha256,
        why=why, time=timestamp(time.time()),
    )  # fmt: skip


def _below(recordings: Recordings, path: Path) -> str:
    """Return *path* relative to the folder. Bytes that are not UTF-8 become escapes; only other programs write them."""
    return path.relative_to(recordings.root).as_posix().encode("utf-8", "backslashreplace").decode()
