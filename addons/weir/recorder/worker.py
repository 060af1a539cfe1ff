"""Worker ids: each process that writes recordings holds one, by a lock on a file that ends with it."""

import fcntl
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

from weir.recorder.folder import Recordings

MAX_WORKERS = 256
#: The ids of workers, with which the names of their segments begin.
WORKER_NAME = re.compile(r"w[0-9]{1,3}")
#: The names of logs. The gateway signs for no other name, because the name is part of the signed text.
LOG_NAME = re.compile(r"w[0-9]{1,3}|admin|command|keeper")


@dataclass(frozen=True, slots=True)
class WorkerLock:
    """A claimed worker id. The lock lasts as long as the process."""

    worker: str
    descriptor: int

    def holds(self, recordings: Recordings) -> bool:
        """Whether the locked file is still the one that others would lock."""
        try:
            there, ours = (recordings.log(self.worker) / "lock").stat(), os.fstat(self.descriptor)
        except OSError:
            return False
        return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)

    def release(self) -> None:
        """Give the id back."""
        os.close(self.descriptor)


def try_claim(recordings: Recordings, worker: str) -> WorkerLock | None:
    """Claim the id *worker*; None while a live process has it. Raises OSError."""
    folder = recordings.make(recordings.log(worker))
    descriptor = recordings.open(folder / "lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return WorkerLock(worker, descriptor)


def claim_soon(recordings: Recordings, worker: str, seconds: float = 10.0) -> WorkerLock | None:
    """As `try_claim`, but wait *seconds*: a starting gateway holds an idle log's lock for a moment. Raises OSError."""
    deadline = time.monotonic() + seconds
    while (lock := try_claim(recordings, worker)) is None and time.monotonic() < deadline:
        time.sleep(0.05)
    return lock


def running(root: Path) -> list[str]:
    """The worker ids below the recordings folder that a live process holds."""
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
    """The folders of logs below the recordings folder: those that a gateway could have made."""
    return sorted(
        path for path in (root / "log").glob("*")
        if LOG_NAME.fullmatch(path.name) and path.is_dir() and not path.is_symlink()
    )  # fmt: skip
