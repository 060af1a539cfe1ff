"""A disk that answers questions and refuses data: only a real write and sync end the outage, and no line is lost."""

import asyncio
import errno
import os
import resource
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest
from tests.recorder.recording import a_line, a_log, a_writer, entry, repair

from weir.base import alarms
from weir.recorder import catalog, events, folder, heads, segment
from weir.recorder.evidence import Signer
from weir.recorder.flows import Filters, rows
from weir.recorder.folder import Recordings
from weir.recorder.journal import encode_line
from weir.recorder.repair import Repairs
from weir.recorder.verify import check
from weir.recorder.writer import Entry, RecorderUnavailable, Writer


class Disk:
    """Syncs of the files that `fails` selects fail. Later syncs report success, as on Linux."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fails: Callable[[str], bool] = lambda path: False
        self.failed: list[str] = []
        for module, name in ((segment, "datasync"), (folder, "datasync"), (heads, "datasync"), (os, "fsync")):
            monkeypatch.setattr(module, name, self._patched(getattr(module, name)))

    async def has_failed(self) -> None:
        """Wait until a sync has failed."""
        async with asyncio.timeout(10):
            while not self.failed:
                await asyncio.sleep(0.01)

    def _patched(self, real: Callable[[int], None]) -> Callable[[int], None]:
        def sync(descriptor: int) -> None:
            path = os.readlink(f"/proc/self/fd/{descriptor}")
            if self.fails(path):
                self.failed.append(path)
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            real(descriptor)

        return sync


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.fixture
def raised() -> Iterator[list[str]]:
    """Return the names of the alarms of the test, without those of the log of events."""
    names: list[str] = []
    alarms.Told.by = lambda name, message: names.append(name)
    yield names
    alarms.Told.by = None


def verified(root: Path) -> list[str]:
    report = check(root, Signer(Recordings(root)).key)
    return [*(f"{finding.where}: {finding.what}" for finding in report.findings), *report.not_covered]


def recorded(root: Path) -> dict[str, str | None]:
    """Return the error of every recorded request, by its id."""
    recordings = Recordings(root)
    catalog.create(recordings)
    with duckdb.connect(str(recordings.database), read_only=True) as connection:
        found = rows(connection, Filters())
        failed = connection.execute("SELECT request_id FROM flows WHERE outcome = 'failed'").fetchall()
    assert {request_id for (request_id,) in failed} == {row["request_id"] for row in found if row["error"]}
    assert len({row["request_id"] for row in found}) == len(found)
    return {row["request_id"]: row["error"] for row in found}


async def refused(writer: Writer, number: int, *, synced: bool = False) -> None:
    line = a_line(number)
    line.upstream_ms, line.outcome = 1.0, "complete"
    item = entry(line)
    item.synced = synced
    with pytest.raises(RecorderUnavailable):
        await writer.record(item)


async def recovery(writer: Writer) -> None:
    """Wait until the writer takes entries."""
    async with asyncio.timeout(10):
        while True:
            try:
                return await writer.ready()
            except RecorderUnavailable:
                await asyncio.sleep(0.01)


def test_a_disk_that_refuses_writes_stays_refused_until_it_takes_one(tmp_path: Path, raised: list[str]) -> None:
    """The kernel refuses every write of this process, while `stat` and `statvfs` show nothing."""

    async def run() -> None:
        writer = a_writer(tmp_path)
        await writer.record(entry(a_line(0)))
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
        try:
            await refused(writer, 1)
            for _ in range(20):
                await asyncio.sleep(0.02)
                with pytest.raises(RecorderUnavailable, match="File too large"):
                    await writer.ready()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        await recovery(writer)
        await writer.record(entry(a_line(2)))
        await asyncio.to_thread(writer.close)

    asyncio.run(run())
    assert raised == ["recorder_unavailable", "recorder_recovered"]
    assert recorded(tmp_path) == {
        "id-0000": None, "id-0001": "interrupted: the answer could not be recorded, so it was not delivered",
        "id-0002": None,
    }  # fmt: skip
    assert verified(tmp_path) == [] and repair(tmp_path, "w0") == Repairs()


def test_a_probe_is_as_large_as_the_write_that_failed(tmp_path: Path, raised: list[str]) -> None:
    """A quota has room for small writes, and none for the answer that failed: no alarms alternate."""
    large = 3 * 1024 * 1024

    async def run() -> None:
        writer = a_writer(tmp_path)
        await writer.record(entry(a_line(0)))
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (large - 1, limits[1]))
        try:
            with pytest.raises(RecorderUnavailable):
                await writer.record(entry(a_line(1), lambda: b"x" * large))
            for _ in range(20):
                await asyncio.sleep(0.02)
                with pytest.raises(RecorderUnavailable):
                    await writer.ready()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        await recovery(writer)
        await asyncio.to_thread(writer.close)

    asyncio.run(run())
    assert raised == ["recorder_unavailable", "recorder_recovered"]


@pytest.mark.parametrize("suffix", [".mitm", ".jsonl", ".head"])
def test_after_a_failed_sync_the_segment_is_written_anew(
    tmp_path: Path, disk: Disk, raised: list[str], suffix: str
) -> None:
    """The kernel reports lost data once. What it still has in memory is written to new files, which are sealed."""

    async def run() -> None:
        writer = a_writer(tmp_path)
        await writer.record(entry(a_line(0)))
        disk.fails = lambda path: path.endswith(suffix)
        await disk.has_failed()
        before = _inode(tmp_path)
        disk.fails = lambda path: False
        await recovery(writer)
        await writer.record(entry(a_line(1)))
        await asyncio.to_thread(writer.close)
        assert (_inode(tmp_path) != before) == (suffix != ".head")

    asyncio.run(run())
    assert raised == ["recorder_unavailable", "recorder_recovered"]
    assert recorded(tmp_path) == {"id-0000": None, "id-0001": None}
    segments = sorted((tmp_path / "segments").glob("*/*/*.jsonl"))
    assert len(segments) == (1 if suffix == ".head" else 2)
    assert verified(tmp_path) == [] and repair(tmp_path, "w0") == Repairs()


def _inode(root: Path) -> int:
    return min((path.name, path.stat().st_ino) for path in (root / "segments").glob("*/*/*.jsonl"))[1]


@pytest.mark.parametrize("suffix", [".mitm", ".jsonl", ".head"])
def test_a_synced_entry_with_a_failed_sync_is_not_on_record_as_delivered(
    tmp_path: Path, disk: Disk, suffix: str
) -> None:
    async def run() -> None:
        writer = a_writer(tmp_path)
        await writer.record(entry(a_line(0)))
        disk.fails = lambda path: path.endswith(suffix)
        await refused(writer, 1, synced=True)
        disk.fails = lambda path: False
        await recovery(writer)
        await asyncio.to_thread(writer.close)

    asyncio.run(run())
    found = recorded(tmp_path)
    assert found["id-0000"] is None and (found["id-0001"] or "").startswith("interrupted")
    assert verified(tmp_path) == []


def test_data_that_the_disk_lost_is_found_by_verification(tmp_path: Path, disk: Disk, raised: list[str]) -> None:
    """The kernel has dropped the pages of a failed sync: nothing can restore them, and nothing hides their loss."""

    async def run() -> None:
        writer = a_writer(tmp_path)
        await writer.record(entry(a_line(0)))
        disk.fails = lambda path: path.endswith(".mitm")
        await disk.has_failed()
        (flows,) = (tmp_path / "segments").glob("*/*/*.mitm")
        flows.write_bytes(bytes(flows.stat().st_size))
        disk.fails = lambda path: False
        await recovery(writer)
        await writer.record(entry(a_line(1)))
        await asyncio.to_thread(writer.close)

    asyncio.run(run())
    assert "recording_gone" in raised
    assert any("the flow of line 1 (id-0000) was changed" in finding for finding in verified(tmp_path))


def test_an_intent_moves_out_of_a_failed_segment(tmp_path: Path, disk: Disk) -> None:
    async def run() -> None:
        writer = a_writer(tmp_path)
        stream = a_line(0)
        stream.intent = True
        await writer.record(Entry("c", stream.request_id, stream.time, encode_line(stream)))
        disk.fails = lambda path: path.endswith(".jsonl")
        await disk.has_failed()
        disk.fails = lambda path: False
        await recovery(writer)
        await writer.record(entry(a_line(1)))
        await writer.record(entry(a_line(0)))
        await asyncio.to_thread(writer.close)

    asyncio.run(run())
    assert recorded(tmp_path) == {"id-0000": None, "id-0001": None}
    assert verified(tmp_path) == []


def test_a_segment_that_could_not_be_created_does_not_block_its_name(tmp_path: Path, disk: Disk) -> None:
    async def run() -> None:
        writer = a_writer(tmp_path)
        disk.fails = lambda path: "/segments/c/" in path and not path.endswith(".mitm")
        await refused(writer, 0)
        disk.fails = lambda path: False
        await recovery(writer)
        await writer.record(entry(a_line(1)))
        await asyncio.to_thread(writer.close)

    asyncio.run(run())
    assert (recorded(tmp_path)["id-0000"] or "").startswith("interrupted") and verified(tmp_path) == []


def test_a_restart_after_a_failed_sync_writes_the_segment_anew(tmp_path: Path, disk: Disk) -> None:
    """The process is killed before it could seal: repair does not trust a sync of the old file either."""

    async def run() -> None:
        writer = a_writer(tmp_path)
        await writer.record(entry(a_line(0)))
        disk.fails = lambda path: path.endswith(".jsonl")
        await disk.has_failed()
        writer._end = lambda: None  # type: ignore[method-assign]
        await asyncio.to_thread(writer.close)

    asyncio.run(run())
    disk.fails = lambda path: False
    before = _inode(tmp_path)
    assert repair(tmp_path, "w0") == Repairs()
    assert _inode(tmp_path) != before
    assert recorded(tmp_path) == {"id-0000": None} and verified(tmp_path) == []


def test_a_log_with_a_failed_append_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk: Disk
) -> None:
    """Half of a line is written, and cannot be removed at once: the next line does not follow it."""
    recordings = Recordings(tmp_path)
    recordings.identify()
    with a_log(recordings) as log:
        log.write(events.FILE, b'{"kind":"one"}')
        real = folder.write_all

        def half(descriptor: int, data: bytes) -> None:
            real(descriptor, data[: len(data) // 2])
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        def stuck(path: str, size: int) -> None:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        with monkeypatch.context() as patched:
            patched.setattr(folder, "write_all", half)
            patched.setattr(os, "truncate", stuck)
            with pytest.raises(OSError, match="Input/output"):
                log.write(events.FILE, b'{"kind":"two"}')
        log.write(events.FILE, b'{"kind":"three"}')
        disk.fails = lambda path: path.endswith(events.FILE)
        with pytest.raises(OSError, match="Input/output"):
            log.checkpoint()
        disk.fails = lambda path: False
        path = log.folder / events.FILE
        before = path.stat().st_ino
        log.checkpoint()
        assert path.stat().st_ino != before
        assert log.read(events.FILE) == [b'{"kind":"one"}', b'{"kind":"three"}']
    assert verified(tmp_path) == []


def test_a_failed_sync_of_the_head_seals_no_segment_twice(tmp_path: Path, disk: Disk) -> None:
    async def run() -> None:
        writer = a_writer(tmp_path)
        await writer.record(entry(a_line(0)))
        async with asyncio.timeout(10):
            while any(segment.dirty for segment in writer._segments.values()):
                await asyncio.sleep(0.01)
        disk.fails = lambda path: path.endswith(".head")
        writer._retire("c")
        disk.fails = lambda path: False
        await writer.record(entry(a_line(1)))
        await asyncio.to_thread(writer.close)

    asyncio.run(run())
    assert recorded(tmp_path) == {"id-0000": None, "id-0001": None}
    assert verified(tmp_path) == []
