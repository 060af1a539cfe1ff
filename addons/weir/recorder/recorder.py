"""The recorder of one worker: claims a worker id, mends what a crash left, and puts entries and events on disk."""

import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

from weir.approvals.model import Approval
from weir.base.alarms import Told, alarm
from weir.base.home import derived_key
from weir.base.identifiers import Uuid7
from weir.recorder import catalog, live
from weir.recorder.adoption import adopt
from weir.recorder.digests import Digests
from weir.recorder.events import EventLog
from weir.recorder.evidence import Busy, Log, Signer, keepers_lock
from weir.recorder.flowfile import check_format
from weir.recorder.folder import Recordings
from weir.recorder.housekeeper import Housekeeper
from weir.recorder.indexer import Indexer, pending
from weir.recorder.repair import claim, repair
from weir.recorder.settings import Recording
from weir.recorder.worker import WorkerLock, try_claim
from weir.recorder.writer import Entry, RecorderUnavailable, Writer


class KeptConnection(Protocol):
    """A connection, as far as the recorder must know it."""

    @property
    def name(self) -> str: ...
    @property
    def record(self) -> Recording: ...


class Kept(Protocol):
    """What the policies say of recordings."""

    @property
    def recordings(self) -> Path: ...
    @property
    def readers(self) -> int | None: ...
    @property
    def keep(self) -> int | None: ...
    @property
    def keep_bodies(self) -> int | None: ...
    @property
    def checkpoints(self) -> Iterable[Mapping[str, Any]]: ...
    @property
    def connections(self) -> Iterable[KeptConnection]: ...
    @property
    def recorded(self) -> Recordings: ...


class Recorder:
    """Writes entries and events, in the background. No entry is acknowledged before it is on disk."""

    def __init__(self, under_way: Callable[[], int] = lambda: 1) -> None:
        """*under_way* tells how many exchanges there are."""
        self._under_way = under_way
        self._lock: WorkerLock | None = None
        self._writer: Writer | None = None
        self._events: EventLog | None = None
        self._housekeeper: Housekeeper | None = None
        self._policies: Kept | None = None
        self._log: Log | None = None
        self.digests = Digests(b"")

    @property
    def worker(self) -> str:
        """This worker's id; empty before `start`."""
        return self._lock.worker if self._lock else ""

    def start(self, policies: Kept) -> None:
        """Claim a worker id, mend what a crash left, make the index. Raises OSError or RuntimeError."""
        check_format()
        recordings = policies.recorded
        signer = Signer(recordings)
        recordings.settle_modes()
        live.prepare(recordings)
        self.digests = Digests(derived_key("record"))
        adopt(recordings, signer)
        self._lock, log = claim(recordings, signer)
        self._log = log
        repairs = repair(recordings, signer, log)
        if repairs.segments:
            alarm(
                "recordings_repaired",
                f"{repairs.segments} segments were left unfinished by a crash: {repairs.interrupted} requests "
                f"interrupted, {repairs.quarantined} bytes quarantined, {repairs.lost} lines lost",
                level=logging.WARNING,
            )
        catalog.create(recordings)
        if pending(recordings):
            with contextlib.suppress(Busy), keepers_lock(recordings):
                Indexer(recordings).close()
        self._policies = policies
        soon = next(live.segments(recordings.root), None) is not None
        self._housekeeper = Housekeeper(self._kept, lambda: catalog.removed(recordings), soon=soon)
        boot = Uuid7()().replace("-", "")[:15]
        self._writer = Writer(
            recordings, log, boot, self._housekeeper.wake, self._under_way, self._holds, self._begin_anew
        )
        self._events = EventLog(log)
        Told.by = self._alarmed

    def _holds(self) -> bool:
        assert self._lock is not None and self._policies is not None
        return self._lock.holds(self._policies.recorded)

    def _begin_anew(self) -> None:
        """The folder was emptied under the running gateway: what goes on does so in a folder of its own id."""
        assert self._lock is not None and self._policies is not None and self._log is not None
        recordings = self._policies.recorded
        signer = Signer(recordings)
        lock = try_claim(recordings, self._lock.worker)
        if lock is None:
            raise OSError(f"another process is {self._lock.worker} of {recordings.root} now; restart this one")
        alarm("recordings_emptied", f"{recordings.root} was emptied while it was written; what was in it is gone")
        try:
            self._log.begin(signer)
        except BaseException:
            lock.release()
            raise
        self._lock.release()
        self._lock = lock
        catalog.create(recordings)

    def use(self, policies: Kept) -> None:
        """The policies have changed: what is kept for how long, and where checkpoints go."""
        self._policies = policies

    def _kept(self) -> dict[str, Any]:
        policies = self._policies
        assert policies is not None
        return {
            "root": str(policies.recordings.resolve()),
            "readers": policies.readers,
            "keep": {c.name: c.record.keep for c in policies.connections},
            "default": policies.keep,
            "bodies": {c.name: c.record.keep_bodies for c in policies.connections},
            "default_bodies": policies.keep_bodies,
            "publish": [dict(target) for target in policies.checkpoints],
        }

    def _alarmed(self, name: str, message: str) -> None:
        if name != "event_lost":  # it would make another of itself
            self.event("alarm", self.worker, subject=name, message=message)

    def event(self, kind: str, who: str, **about: str) -> None:
        """Have an administrative event written; *about* are fields of `events.Event`. Does not wait."""
        if self._events is not None:
            self._events.add(kind, who, **about)

    def approval(self, approval: Approval) -> None:
        """Have what became of *approval* written. Does not wait."""
        if self._events is not None:
            self._events.approval(approval)

    def stop(self) -> None:
        """Write what waits and give the worker id back. Blocks for as long as the disk takes."""
        Told.by = None
        if self._housekeeper is not None:
            self._housekeeper.stop()
            self._housekeeper = None
        if self._events is not None:
            self._events.close()
            self._events = None
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self._log is not None:
            self._log.close()
            self._log = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    async def ready(self) -> None:
        """Wait until the writer takes entries. Raises `RecorderUnavailable`."""
        if self._writer is None:
            raise RecorderUnavailable("the recorder is not running")
        await self._writer.ready()

    async def write(self, entry: Entry) -> None:
        """Write *entry*; returns after its bytes are written. Raises `RecorderUnavailable`."""
        if self._writer is None:
            raise RecorderUnavailable("the recorder is not running")
        await self._writer.record(entry)
