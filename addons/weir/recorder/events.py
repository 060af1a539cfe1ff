"""Administrative events: who did what to the gateway. One JSON line each, in ``log/<worker>/events.jsonl``.

Written by a thread, so that nobody waits for the disk; a line that cannot be written is an alarm and no more.
"""

import os
import queue
import threading
import time
from pathlib import Path

import msgspec

from weir.alarms import alarm
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


def append(root: Path, event: Event) -> None:
    """Write *event* below the recordings folder *root*. Blocks. Raises OSError."""
    folder = root / "log" / event.worker
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(folder / FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, msgspec.json.encode(event) + b"\n")  # one write: whole lines, also of two processes
    finally:
        os.close(descriptor)


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
    """One worker's events."""

    def __init__(self, root: Path, worker: str) -> None:
        self._root = root
        self._worker = worker
        self._waiting: queue.Queue[Event | None] = queue.Queue(_MOST_WAITING)
        self._thread = threading.Thread(target=self._run, name="weir events", daemon=True)
        self._thread.start()

    def add(self, kind: str, who: str, **about: str) -> None:
        """Have an event written. Does not wait."""
        try:
            self._waiting.put_nowait(now(self._worker, kind, who, **about))
        except queue.Full:
            alarm("event_lost", f"too many events wait to be written; one of {kind} is lost")

    def close(self) -> None:
        """Write what waits. Blocks."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (waiting := self._waiting.get()) is not None:
            try:
                append(self._root, waiting)
            except OSError as error:
                alarm("event_lost", f"an event of {waiting.kind} could not be written ({error.strerror})")
