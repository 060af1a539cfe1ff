"""``live/``: the journals that the index reads as they stand, because no Parquet of theirs counts yet.

Each is a link in a numbered slot of its worker. A slot that is no longer wanted links to an empty file, and is used
again: names never vanish, so that a reader who has listed them finds each one.
"""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from weir.recorder.folder import Recordings

#: What unused slots link to; readers do not list it.
EMPTY = "empty"
_MOST = 100_000


def prepare(recordings: Recordings) -> None:
    """Make the folder, with one slot that is always there: a glob must match something. Raises OSError."""
    recordings.make(recordings.live)
    empty = recordings.live / EMPTY
    os.close(recordings.open(empty, os.O_WRONLY | os.O_CREAT))
    if not (recordings.live / "none-0.jsonl").is_symlink():
        _link(recordings.live / "none-0.jsonl", EMPTY)


def add(recordings: Recordings, worker: str, *segments: str) -> None:
    """Have SQL read the journals of *segments*. Call it only as *worker*, or with its lock. Raises OSError."""
    numbers = iter(range(_MOST))  # once through: with thousands of segments, from the start for each takes minutes
    for segment in segments:
        for number in numbers:
            slot = recordings.live / f"{worker}-{number}.jsonl"
            if not slot.is_symlink() or os.readlink(slot) == EMPTY:
                _link(slot, f"../segments/{segment}.jsonl")
                break
        else:
            raise OSError(f"{recordings.live} has no slot left for {worker}")


def segments(root: Path) -> Iterator[tuple[Path, str]]:
    """Every slot in use below the recordings folder *root*, and its segment."""
    for slot in sorted((root / "live").glob("*.jsonl")):
        try:
            target = os.readlink(slot)
        except OSError:
            continue
        if target != EMPTY:
            yield slot, target.removeprefix("../segments/").removesuffix(".jsonl")


def clear(slot: Path) -> None:
    """Have *slot* be empty. Raises OSError."""
    _link(slot, EMPTY)


def _link(slot: Path, target: str) -> None:
    fresh = slot.with_name(f".{slot.name}.{os.getpid()}.{secrets.token_hex(4)}")
    os.symlink(target, fresh)
    os.replace(fresh, slot)
