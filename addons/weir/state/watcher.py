"""Shared state as a worker sees it: a snapshot that one thread keeps current, for requests to look up in.

The thread looks for changes every `INTERVAL` seconds, so that a revocation counts within a second. State
that cannot be read for `STALE` seconds is as good as none: requests are refused until it can.
"""

import asyncio
import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable

from weir.alarms import alarm
from weir.home import HomeError
from weir.state.database import Database
from weir.state.model import Snapshot

INTERVAL = 0.25
STALE = 5.0
#: Seconds between two writes of when API keys were last used.
FLUSH = 5.0


class StateUnavailable(Exception):
    """Keys and revocations cannot be read: nobody can be let in."""


class Watcher:
    """One worker's view of the shared state."""

    def __init__(self) -> None:
        self._snapshot = Snapshot()
        self._generation = self._highest = -1
        self._read = -STALE * 2
        self._database: Database | None = None
        self._used: dict[str, float] = {}
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._failing = False

    def snapshot(self) -> Snapshot:
        """What counts now. Raises `StateUnavailable`."""
        if time.monotonic() - self._read > STALE:
            raise StateUnavailable
        return self._snapshot

    def used(self, key_id: str, now: float) -> None:
        """An API key was used at Unix time *now*."""
        self._used[key_id] = now

    def start(self, on_change: Callable[[], None]) -> None:
        """Read, and begin to watch; *on_change* is called on the running event loop. Raises `HomeError`."""
        self._database = Database()
        try:
            self._poll()
        except sqlite3.Error as error:
            raise HomeError(f"{self._database.path}: cannot be read ({error}); restore it from a backup") from None
        loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, args=(loop, on_change), name="weir state", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop watching, and keep what is left to keep. Blocks until the thread has ended."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _run(self, loop: asyncio.AbstractEventLoop, on_change: Callable[[], None]) -> None:
        flushed = time.monotonic()
        while not self._stopping.wait(INTERVAL):
            try:
                if self._poll():
                    with contextlib.suppress(RuntimeError):  # the loop has ended
                        loop.call_soon_threadsafe(on_change)
                if self._failing:
                    alarm("state_recovered", "the shared state can be read again")
                    self._failing = False
                if time.monotonic() - flushed > FLUSH:
                    flushed = time.monotonic()
                    self._flush()
            except Exception as error:  # whatever it is, the thread must live
                if not self._failing:
                    reason = str(error) if isinstance(error, sqlite3.Error | OSError) else type(error).__name__
                    alarm(
                        "state_unavailable",
                        f"the shared state cannot be read ({reason}); after {STALE:.0f} s every request is refused",
                    )
                self._failing = True
        with contextlib.suppress(sqlite3.Error):
            self._flush()
        if self._database is not None:
            self._database.close()

    def _poll(self) -> bool:
        """Read what has changed; whether anything had."""
        began = time.monotonic()
        assert self._database is not None
        if self._database.replaced():
            self._reopen(self._database)
        changed = self._database.generation() != self._generation
        if changed:
            self._generation, self._snapshot = self._database.snapshot()
            self._highest = max(self._highest, self._generation)
        self._read = began
        return changed

    def _reopen(self, database: Database) -> None:
        """The file is gone or another one. A new or an older one is not accepted: it would forget revocations."""
        database.close()
        if not database.path.is_file():
            raise HomeError(f"{database.path} was removed; restore it")
        other = Database(database.path)
        if other.generation() < self._highest:
            other.close()
            raise HomeError(f"{other.path} is older than what was read from it; restart the gateway to accept it")
        self._database, self._generation = other, -1

    def _flush(self) -> None:
        used = {}
        while self._used:
            key_id, when = self._used.popitem()
            used[key_id] = when
        if used and self._database is not None:
            self._database.touch(used)
