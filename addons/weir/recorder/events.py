"""Administrative events and approvals: who did what to the gateway. One JSON line each, in ``log/<worker>/``.

Written by a thread, so that nobody waits for the disk; a line that cannot be written is an alarm and no more.
"""

import fcntl
import os
import queue
import threading
import time
from pathlib import Path

import msgspec

from weir.approvals.model import Approval
from weir.base.alarms import alarm
from weir.recorder import approvals
from weir.recorder.evidence import Log, Signer
from weir.recorder.folder import Recordings
from weir.recorder.journal import timestamp

FILE = "events.jsonl"
#: The folder below ``log`` of events that a command wrote.
COMMAND = "command"
_LONGEST = 2000
_MOST_WAITING = 1000


class Event(msgspec.Struct, kw_only=True):
    """One event. ``old`` and ``new`` are policy versions where policies changed."""

    time: str
    worker: str
    kind: str
    who: str
    subject: str = ""
    old: str = ""
    new: str = ""
    message: str = ""


#: The same columns for DuckDB.
COLUMNS: dict[str, str] = {
    "time": "TIMESTAMP",
    "worker": "VARCHAR",
    "kind": "VARCHAR",
    "who": "VARCHAR",
    "subject": "VARCHAR",
    "old": "VARCHAR",
    "new": "VARCHAR",
    "message": "VARCHAR",
}


def append(recordings: Recordings, event: Event) -> None:
    """Write *event* of a command, and sign that it was. Blocks. Raises OSError."""
    folder = recordings.make(recordings.log(COMMAND))
    lock = recordings.open(folder / "lock", os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        log = Log(recordings, COMMAND, Signer(recordings))
        try:
            log.write(FILE, msgspec.json.encode(event))
            log.checkpoint()
        finally:
            log.close()
    finally:
        os.close(lock)


def now(worker: str, kind: str, who: str, **about: str) -> Event:
    """An event of now; *about* are its other fields."""
    cut = {name: value[:_LONGEST] for name, value in about.items()}
    return Event(time=timestamp(time.time()), worker=worker, kind=kind, who=who, **cut)


def last(root: Path, worker: str, kinds: frozenset[str]) -> Event | None:
    """The last event of *kinds* that *worker* wrote; None where there is none. Blocks."""
    try:
        lines = (root / "log" / worker / FILE).read_bytes().splitlines()
    except OSError:
        return None
    for line in reversed(lines):
        try:
            found = msgspec.json.decode(line, type=Event)
        except msgspec.MsgspecError:
            continue  # torn by a crash
        if found.kind in kinds:
            return found
    return None


class EventLog:
    """The events, and the approvals, of one worker or of the admin process."""

    def __init__(self, log: Log, *, signs: bool = False) -> None:
        """Write beside *log*; with *signs*, nobody else signs checkpoints of it."""
        self._log = log
        self._signs = signs
        self._waiting: queue.Queue[tuple[str, bytes] | None] = queue.Queue(_MOST_WAITING)
        self._thread = threading.Thread(target=self._run, name="weir events", daemon=True)
        self._thread.start()

    def add(self, kind: str, who: str, **about: str) -> None:
        """Have an event written. Does not wait."""
        self._put(FILE, msgspec.json.encode(now(self._log.worker, kind, who, **about)), kind)

    def approval(self, approval: Approval) -> None:
        """Have what became of *approval* written. Does not wait."""
        self._put(approvals.FILE, approvals.encode(approval, self._log.worker), f"approval {approval.id}")

    def approval_now(self, approval: Approval) -> None:
        """Write what became of *approval*. Blocks. Raises OSError."""
        self._log.write(approvals.FILE, approvals.encode(approval, self._log.worker))

    def _put(self, file: str, line: bytes, what: str) -> None:
        try:
            self._waiting.put_nowait((file, line))
        except queue.Full:
            alarm("event_lost", f"too many events wait to be written; that of {what} is lost")

    def close(self) -> None:
        """Write what waits. Blocks."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (waiting := self._waiting.get()) is not None:
            try:
                self._log.write(*waiting)
                if self._signs and self._waiting.empty():
                    self._log.checkpoint()
            except OSError as error:
                alarm("event_lost", f"a line of {waiting[0]} could not be written ({error.strerror or error})")
