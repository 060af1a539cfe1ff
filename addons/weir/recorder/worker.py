"""Worker ids: each process that writes recordings holds one, with a file lock that ends with the process."""

import fcntl
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

from weir.recorder.folder import Recordings

MAX_WORKERS = 256
#: The ids of workers. Names of segments begin with the id.
WORKER_NAME = re.compile(r"w[0-9]{1,3}")
#: The names of logs. The gateway signs for no other name, because the name is part of the signed text.
LOG_NAME = re.compile(r"w[0-9]{1,3}|admin|command|keeper")


@dataclass(frozen=True, slots=True)
class WorkerLock:
    """A claimed worker id. The lock lasts as long as the process."""

    worker: str
    descriptor: int

    def holds(self, recordings: Recordings) -> bool:
        """Return whether the locked file is still the file at the lock's path, which other processes lock."""
        try:
            there, ours = (recordings.log(self.worker) / "lock").stat(), os.fstat(self.descriptor)
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)

    def release(self) -> None:
        """Release the id."""
        os.close(self.descriptor)


def try_claim(recordings: Recordings, worker: str) -> WorkerLock | None:
    """Claim the id *worker*; return None while a live process holds it. Raises OSError."""
    folder = recordings.make(recordings.log(worker))
    descriptor = recordings.open(folder / "lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return WorkerLock(worker, descriptor)


def claim_soon(recordings: Recordings, worker: str, seconds: float = 10.0) -> WorkerLock | None:
    """Claim like `try_claim`, but wait up to *seconds*: a starting gateway holds an idle log's lock for a moment.

    Raises OSError.
    """
    deadline = time.monotonic() + seconds
    while (lock := try_claim(recordings, worker)) is None and time.monotonic() < deadline:
        time.sleep(0.05)
    return lock


def running(root: Path) -> list[str]:
    """Return the worker ids below the recordings folder *root* that a live process holds."""
    found = []
    for lock in sorted(root.glob("log/*/lock")):
        try:
            with lock.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            found.append(lock.parent.name)
        except OSError:
            continue
    return found


def log_folders(root: Path) -> list[Path]:
    """Return the folders of logs below the recordings folder *root*, skipping those that no gateway can have made."""
    return sorted(
        path for path in (root / "log").glob("*")
        if LOG_NAME.fullmatch(path.name) and path.is_dir() and not path.is_symlink()
    )  # fmt: skip
