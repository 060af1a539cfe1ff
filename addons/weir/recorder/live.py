"""``live/``: links to the journals that the index reads directly, because their Parquet rows do not count yet.

Each link is a numbered slot of its worker. An unused slot links to an empty file and is used again later. Slots are
never removed, so that a reader that has listed them finds each of them.
"""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from weir.recorder.folder import Recordings

#: The file that unused slots link to; the views do not list it.
EMPTY = "empty"
_MOST = 100_000


def prepare(recordings: Recordings) -> None:
    """Make the folder with one permanent slot, because a glob must match a file. Raises OSError."""
    recordings.make(recordings.live)
    empty = recordings.live / EMPTY
    os.close(recordings.open(empty, os.O_WRONLY | os.O_CREAT))
    if not (recordings.live / "none-0.jsonl").is_symlink():
        _link(recordings.live / "none-0.jsonl", EMPTY)


def add(recordings: Recordings, worker: str, *segments: str) -> None:
    """Link the journals of *segments*, so that SQL reads them. The caller must be *worker* or hold its lock.

    Raises OSError.
    """
    numbers = iter(range(_MOST))  # shared by all segments: a search from 0 for each of thousands takes minutes
    for segment in segments:
        for number in numbers:
            slot = recordings.live / f"{worker}-{number}.jsonl"
            if not slot.is_symlink() or os.readlink(slot) == EMPTY:
                _link(slot, f"../segments/{segment}.jsonl")
                break
        else:
            raise OSError(f"{recordings.live} has no slot left for {worker}")


def segments(root: Path) -> Iterator[tuple[Path, str]]:
    """Yield (slot, segment) for every slot in use below the recordings folder *root*."""
    for slot in sorted((root / "live").glob("*.jsonl")):
        try:
            target = os.readlink(slot)
        except OSError:
            continue
        if target != EMPTY:
            yield slot, target.removeprefix("../segments/").removesuffix(".jsonl")


def clear(slot: Path) -> None:
    """Empty *slot*. Raises OSError."""
    _link(slot, EMPTY)


def _link(slot: Path, target: str) -> None:
    fresh = slot.with_name(f".{slot.name}.{os.getpid()}.{secrets.token_hex(4)}")
    os.symlink(target, fresh)
    os.replace(fresh, slot)
