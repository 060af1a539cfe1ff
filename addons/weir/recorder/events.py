"""Administrative events and approvals: who did what to the gateway. One JSON line each, in ``log/<worker>/``.

A thread writes them, so that no request waits for the disk. A line that cannot be written only raises an alarm.
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
#: The folder below ``log`` for events of commands.
COMMAND = "command"
_LONGEST = 2000
_MOST_WAITING = 1000


class Event(msgspec.Struct, kw_only=True):
    """One event. ``old`` and ``new`` are policy versions if the policies changed."""

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
    """Write the *event* of a command and sign a checkpoint. Blocks. Raises OSError."""
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
    """Return an event with the current time; *about* has its other fields."""
    cut = {name: value[:_LONGEST] for name, value in about.items()}
    return Event(time=timestamp(time.time()), worker=worker, kind=kind, who=who, **cut)


def last(root: Path, worker: str, kinds: frozenset[str]) -> Event | None:
    """Return the last event of *kinds* that *worker* wrote; None if there is none. Blocks."""
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
    """Writes the events and approvals of one worker or of the admin process."""

    def __init__(self, log: Log, *, signs: bool = False) -> None:
        """Write to the files beside *log*; *signs* means that this object also signs its checkpoints."""
        self._log = log
        self._signs = signs
        self._waiting: queue.Queue[tuple[str, bytes] | None] = queue.Queue(_MOST_WAITING)
        self._thread = threading.Thread(target=self._run, name="weir events", daemon=True)
        self._thread.start()

    def add(self, kind: str, who: str, **about: str) -> None:
        """Queue an event. Does not wait."""
        self._put(FILE, msgspec.json.encode(now(self._log.worker, kind, who, **about)), kind)

    def approval(self, approval: Approval) -> None:
        """Queue a line with the state of *approval*. Does not wait."""
        self._put(approvals.FILE, approvals.encode(approval, self._log.worker), f"approval {approval.id}")

    def approval_now(self, approval: Approval) -> None:
        """Write a line with the state of *approval*. Blocks. Raises OSError."""
        self._log.write(approvals.FILE, approvals.encode(approval, self._log.worker))

    def _put(self, file: str, line: bytes, what: str) -> None:
        try:
            self._waiting.put_nowait((file, line))
        except queue.Full:
            alarm("event_lost", f"too many events wait to be written; the event {what} is lost")

    def close(self) -> None:
        """Write all queued lines and end the thread. Blocks."""
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
