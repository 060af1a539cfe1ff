"""Worker ids: each process that writes recordings holds one, by a lock on a file that ends with it."""

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

MAX_WORKERS = 256


@dataclass(frozen=True, slots=True)
class WorkerLock:
    """A claimed worker id. The lock lasts as long as the process."""

    worker: str
    descriptor: int

    def release(self) -> None:
        """Give the id back."""
        os.close(self.descriptor)


def try_claim(root: Path, number: int) -> WorkerLock | None:
    """Claim worker *number* below the recordings folder; None while a live process has it."""
    folder = root / "log" / f"w{number}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return WorkerLock(f"w{number}", descriptor)


def running(root: Path) -> list[str]:
    """The worker ids below the recordings folder that a live process holds."""
    found = []
    for lock in sorted(root.glob("log/w*/lock")):
        try:
            with lock.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            found.append(lock.parent.name)
        except OSError:
            continue
    return found


def claim(root: Path) -> WorkerLock:
    """Claim the lowest free id. Raises OSError."""
    for number in range(MAX_WORKERS):
        if (lock := try_claim(root, number)) is not None:
            return lock
    raise OSError(f"{MAX_WORKERS} workers already write to {root}")
