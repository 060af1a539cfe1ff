"""One process's view of the shared state: a thread keeps a snapshot current, and requests read the snapshot.

The thread checks for changes every `INTERVAL` seconds, and more often while a request waits for one. Only this thread
accesses the store; other code passes it work with `run`. If the state cannot be read for `STALE` seconds, requests are
refused until it can be read again.
"""

import asyncio
import contextlib
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from weir.approvals.model import Approval
from weir.base.alarms import alarm
from weir.base.home import HomeError
from weir.state.model import Snapshot
from weir.state.store import Store, open_store

INTERVAL = 0.25
STALE = 5.0
#: Maximum seconds of work for others between two checks.
_TURN = 0.05
#: Seconds between two writes of the times at which API keys were last used.
FLUSH = 5.0


class StateUnavailable(Exception):
    """The shared state cannot be read, so no request may pass."""


@dataclass(frozen=True, slots=True)
class _Job:
    work: Callable[[Store], Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]


def _ignore(changed: list[Approval]) -> None:
    pass


class Watcher:
    """One process's view of the shared state, and its access to the store."""

    def __init__(self) -> None:
        self._waiting = 0  # number of requests that wait for an approval to change
        self._snapshot = Snapshot()
        self._generation = self._highest = self._changed = -1
        self._highest_change = -1
        self._suspect = False  # the store did not answer: it may have been replaced by another or an older one
        self._read = -STALE * 2
        self._store: Store | None = None
        self._used: dict[str, float] = {}
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._pace = INTERVAL
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._failing: type[Exception] | None = None  # the current failure, if any

    def snapshot(self) -> Snapshot:
        """Return the current snapshot. Raises `StateUnavailable` if it is older than `STALE` seconds."""
        if time.monotonic() - self._read > STALE:
            raise StateUnavailable
        return self._snapshot

    @contextlib.contextmanager
    def closely(self) -> Iterator[None]:
        """Check for changes often within the block, because a request waits for one."""
        self._waiting += 1
        if self._waiting == 1:
            self._wake()
        try:
            yield
        finally:
            self._waiting -= 1

    def used(self, key_id: str, now: float) -> None:
        """Note that an API key was used at Unix time *now*."""
        self._used[key_id] = now

    async def run[T](self, work: Callable[[Store], T]) -> T:
        """Run *work* on the thread and return its result. Raises `StateUnavailable`, and any other error of *work*."""
        if self._thread is None or self._stopping.is_set():
            raise StateUnavailable
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._jobs.put(_Job(work, loop, future))
        return await future

    def start(
        self,
        on_change: Callable[[], None],
        on_approvals: Callable[[list[Approval]], None] = _ignore,
        where: str = "sqlite",
    ) -> None:
        """Read the state and start the thread. Both callbacks run on the current event loop. Raises `HomeError`."""
        self._store = open_store(where)
        try:
            self._changed = self._store.last_change()
            self._poll()
            self._pace = self._store.watch(self._wake)
        except HomeError:
            raise
        except (sqlite3.Error, OSError) as error:
            self._store.close()
            raise HomeError(f"the shared state cannot be read ({error}); restore it from a backup") from None
        loop = asyncio.get_running_loop()
        arguments = (loop, on_change, on_approvals)
        self._thread = threading.Thread(target=self._run, args=arguments, name="weir state", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread and write pending changes. Blocks until the thread ends."""
        self._stopping.set()
        self._wake()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        while not self._jobs.empty():  # jobs that arrived while the thread ended
            job = self._jobs.get()
            if job is not None and not job.future.done():
                job.future.cancel()

    def _wake(self) -> None:
        self._jobs.put(None)

    def _run(
        self,
        loop: asyncio.AbstractEventLoop,
        on_change: Callable[[], None],
        on_approvals: Callable[[list[Approval]], None],
    ) -> None:
        flushed = looked = time.monotonic()
        while True:
            pace = self._pace if self._waiting and not self._failing else INTERVAL
            worked = self._work(max(0.0, looked + pace - time.monotonic()))
            if self._stopping.is_set():
                break
            if not worked and time.monotonic() - looked < pace:
                continue
            looked = time.monotonic()
            try:
                changed, approvals = self._poll(worked or looked - self._read > INTERVAL)
                with contextlib.suppress(RuntimeError):  # the loop has ended
                    if changed:
                        loop.call_soon_threadsafe(on_change)
                    if approvals:
                        loop.call_soon_threadsafe(on_approvals, approvals)
                if self._failing:
                    alarm("state_recovered", "the shared state can be read again")
                    self._failing = None
                if looked - flushed > FLUSH:
                    flushed = looked
                    self._flush()
            except Exception as error:  # any error: the thread must survive
                self._suspect = True
                kind = type(error)
                if self._failing is not kind:
                    reason = str(error) if isinstance(error, sqlite3.Error | OSError) else type(error).__name__
                    alarm(
                        "state_unavailable",
                        f"the shared state cannot be read ({reason}); after {STALE:.0f} s every request is refused",
                    )
                self._failing = kind
        while self._work(0.0):
            pass  # finish every queued job, so no caller waits forever
        with contextlib.suppress(sqlite3.Error, OSError):
            self._flush()
        if self._store is not None:
            self._store.close()

    def _work(self, seconds: float) -> bool:
        """Run queued jobs, or wait up to *seconds* for one, for `_TURN` at most. True if there was a job or a wake."""
        try:
            job = self._jobs.get(timeout=seconds) if seconds else self._jobs.get_nowait()
        except queue.Empty:
            return False
        until = time.monotonic() + _TURN
        while True:
            if job is not None:
                self._do(job)
            if time.monotonic() > until:
                return True  # time to check for changes
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                return True

    def _do(self, job: _Job) -> None:
        result: Any = None
        raised: BaseException | None = None
        try:
            if self._store is None or self._suspect:
                raise StateUnavailable
            result = job.work(self._store)
        except (sqlite3.Error, OSError):
            self._suspect = True
            raised = StateUnavailable()
        except BaseException as error:
            raised = error

        def settle() -> None:
            if job.future.done():
                return
            if raised is not None:
                job.future.set_exception(raised)
            else:
                job.future.set_result(result)

        with contextlib.suppress(RuntimeError):  # the loop has ended
            job.loop.call_soon_threadsafe(settle)

    def _poll(self, thoroughly: bool = True) -> tuple[bool, list[Approval]]:
        """Read changes. Return whether the snapshot changed, and which approvals changed."""
        began = time.monotonic()
        assert self._store is not None
        if self._store.replaced():
            self._reopen(self._store)
            thoroughly = True
        if not self._store.looks_changed() and not thoroughly and not self._suspect:
            self._read = began
            return False, []
        changed = self._store.generation() != self._generation
        if changed:
            generation, snapshot = self._store.snapshot()
            if generation < self._highest:
                raise HomeError("it is older than the state that was read before; restart the gateway to accept it")
            self._generation = self._highest = generation
            self._snapshot = snapshot
        latest = self._store.last_change()
        if latest < self._highest_change:
            raise HomeError("it has lost approvals; restart the gateway to accept that")
        self._highest_change = latest
        approvals: list[Approval] = []
        while more := self._store.approvals_after(self._changed):
            approvals += more
            self._changed = more[-1].changed
        self._read = began
        self._suspect = False
        return changed, approvals

    def _reopen(self, store: Store) -> None:
        """Open the store again after it was replaced. An older one is refused: it would have lost revocations."""
        store.close()
        other = store.reopen()
        if other.generation() < self._highest or other.last_change() < self._highest_change:
            other.close()
            raise HomeError("it is older than the state that was read before; restart the gateway to accept it")
        self._store, self._generation = other, -1

    def _flush(self) -> None:
        used = {}
        while self._used:
            key_id, when = self._used.popitem()
            used[key_id] = when
        if used and self._store is not None:
            self._store.touch(used)
