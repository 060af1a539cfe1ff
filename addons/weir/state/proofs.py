"""Used DPoP proofs of all workers on this machine (``proofs.db`` in WEIR_HOME). Each proof is accepted once.

One thread of each worker accesses the file, so the event loop never waits for it. If the file gives no answer, the
proof is refused, because it may have been used before.
"""

import asyncio
import os
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from weir.base.home import home
from weir.state.sqlite import patiently

FILE = "proofs.db"
#: Seconds to wait for another process's use of the file.
BUSY = 1.0
#: Seconds between two removals of proofs that have expired.
CLEANING = 60.0


class Proofs:
    """The used proofs. The first use opens the file."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._thread = ThreadPoolExecutor(1, "weir proofs")
        self._connection: sqlite3.Connection | None = None
        self._cleaned = 0.0

    async def first_use(self, digest: bytes, until: float) -> bool:
        """Record the proof with this *digest*. True if it was not used before. Raises sqlite3.Error or OSError."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._use, digest, until)

    def stop(self) -> None:
        """Close the file. Blocks."""
        self._thread.submit(self._close).result()
        self._thread.shutdown()

    def _use(self, digest: bytes, until: float) -> bool:
        if self._connection is None:
            self._connection = _open(self._path or home() / FILE)
        now = time.time()
        if now - self._cleaned > CLEANING:
            self._connection.execute("DELETE FROM proofs WHERE until < ?", (now - CLEANING,))
            self._cleaned = now
        return self._connection.execute("INSERT OR IGNORE INTO proofs VALUES (?, ?)", (digest, until)).rowcount == 1

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _open(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, timeout=BUSY, isolation_level=None, check_same_thread=False)
    try:
        patiently(connection, "PRAGMA journal_mode = WAL", BUSY)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(
            "CREATE TABLE IF NOT EXISTS proofs (digest BLOB PRIMARY KEY, until REAL NOT NULL) STRICT, WITHOUT ROWID"
        )
    except BaseException:
        connection.close()
        raise
    return connection
