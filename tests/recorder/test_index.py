"""The index with readers: during sealing, gathering, tidying, retention and rebuilding, each reads every row once."""

import asyncio
import itertools
import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from tests.processes import PATIENCE
from tests.recorder.recording import a_flow, a_line, a_writer, repair, write_lines

from weir.recorder import catalog, live, upkeep
from weir.recorder import indexer as indexer_module
from weir.recorder.dictionary import VIEWS
from weir.recorder.evidence import Signer, keeping, sealed_segments
from weir.recorder.folder import Recordings
from weir.recorder.indexer import Indexer
from weir.recorder.journal import encode_line, timestamp
from weir.recorder.verify import check
from weir.recorder.writer import Entry

#: Seconds that readers poll. WEIR_TEST_SECONDS=120 sets another time.
SECONDS = float(os.environ.get("WEIR_TEST_SECONDS", "7"))
DAY = 86400


@pytest.fixture
def recordings(tmp_path: Path) -> Recordings:
    """Make an empty folder with its index."""
    found = Recordings(tmp_path / "recordings")
    found.identify()
    live.prepare(found)
    catalog.create(found)
    return found


def count(
    recordings: Recordings, query: str = "SELECT count(*), count(DISTINCT request_id) FROM flows"
) -> tuple[int, ...]:
    with duckdb.connect(str(recordings.database), read_only=True) as connection:
        return connection.execute(query).fetchall()[0]


def settle() -> None:
    """Wait until the new rows count."""
    time.sleep(indexer_module.DELAY + 0.1)


class Writing:
    """Writers that run until `stop`. Half of their lines are from yesterday."""

    def __init__(self, root: Path, worker: str) -> None:
        self.written = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(root, worker)), daemon=True)
        self._thread.start()

    async def _run(self, root: Path, worker: str) -> None:
        writer = a_writer(root, worker, worker)
        for number in itertools.count():
            if self._stopping.is_set():
                break
            batch = []
            for connection, age in (("c", 0), ("c", DAY), ("old", 40 * DAY)):
                line = a_line(0, worker)
                line.request_id, line.connection = f"{worker}-{connection}-{age}-{number:06d}", connection
                line.time = timestamp(time.time() - (age if number % 400 < 200 else 0))
                flow = a_flow(line, b"x")
                batch.append(Entry(connection, line.request_id, line.time, encode_line(line), lambda flow=flow: flow))
            await asyncio.gather(*map(writer.record, batch))
            self.written += 2  # lines that retention keeps
            await asyncio.sleep(0.004)
        await asyncio.to_thread(writer.close)

    def stop(self) -> None:
        """Stop the writers, and wait for them."""
        self._stopping.set()
        self._thread.join(PATIENCE)


def test_readers_see_no_error_and_no_count_go_back(recordings: Recordings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two writers seal several segments per second; a keeper indexes, gathers and expires; readers poll every view."""
    monkeypatch.setattr("weir.recorder.segment.MAX_LINES", 60)
    monkeypatch.setattr(indexer_module, "GRACE", 4.0)
    monkeypatch.setattr(upkeep, "DAY", 2.0)
    writing = [Writing(recordings.root, f"w{n}") for n in range(2)]
    stopping, rounds, failed = threading.Event(), [0], list[str]()

    def keep() -> None:
        while not stopping.is_set():
            try:
                problems = upkeep.keep_round(recordings, {"old": 30 * DAY}, None, [])[1]
                failed.extend(problems)
            except Exception as error:
                failed.append(f"{type(error).__name__}: {error}")
            rounds[0] += 1

    keeper = threading.Thread(target=keep, daemon=True)
    keeper.start()
    kept = "SELECT count(*), count(DISTINCT request_id) FROM flows WHERE connection = 'c'"
    long_lived = duckdb.connect(str(recordings.database), read_only=True)
    highest, looks, until = 0, 0, time.monotonic() + SECONDS
    while time.monotonic() < until:
        written = sum(w.written for w in writing)
        if looks % 2:
            rows, different = long_lived.execute(kept).fetchall()[0]
        else:
            rows, different = count(recordings, kept)
        assert rows == different >= max(highest, written)
        highest = rows
        for view in VIEWS:
            long_lived.execute(f"SELECT count(*) FROM {view}").fetchall()
        looks += 1
        time.sleep(0.02)  # the writers and the keeper are busy, too
    for writer in writing:
        writer.stop()
    stopping.set()
    keeper.join(PATIENCE)
    assert failed == [] and rounds[0] > 1 and looks > 1
    assert count(recordings, kept)[0] == sum(w.written for w in writing)
    names = {path.name[0] for path in recordings.index.glob("*.parquet")}
    assert "a" in names
    assert check(recordings.root, Signer(recordings).key).findings == []
    long_lived.close()


def sealed(recordings: Recordings, segments: int, lines: int = 5, *, at: float | None = None) -> int:
    """Make sealed *segments* with *lines* lines each. Return the number of rows."""
    for number in range(segments):
        begin = time.time() if at is None else at
        fresh = [a_line(number * lines + n, at=begin - number * lines) for n in range(lines)]
        write_lines(recordings.root, fresh, boot=f"b{number}-{time.monotonic_ns()}")
    return segments * lines


def test_sealed_journals_become_parquet_and_their_links_go(
    recordings: Recordings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexer_module, "GRACE", 0.0)
    rows = sealed(recordings, 3)
    assert count(recordings)[0] == rows and len(list(live.segments(recordings.root))) == 3
    indexer = Indexer(recordings)
    assert indexer.add(list(sealed_segments(recordings))) == rows
    assert count(recordings)[0] == rows  # the journals still count
    settle()
    assert count(recordings)[0] == rows  # now the Parquet rows count
    indexer.tidy()
    assert list(live.segments(recordings.root)) == []
    assert count(recordings)[0] == rows
    with duckdb.connect(str(recordings.database), read_only=True) as connection:
        plan = connection.execute("EXPLAIN ANALYZE SELECT count(*) FROM flows").fetchall()[0][1]
    assert "READ_PARQUET" in plan.upper()
    indexer.close()


def test_slots_are_gathered_and_days_that_are_over_get_files(
    recordings: Recordings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexer_module, "GRACE", 0.0)
    indexer = Indexer(recordings)
    for number in range(indexer_module.GATHER):
        sealed(recordings, 1)
        indexer.add([s for s in sealed_segments(recordings) if s not in indexer.covered()])
        assert len(indexer.slots()) == number + 1
    settle()
    assert indexer.gather() and not indexer.gather()
    settle()
    rows = 5 * indexer_module.GATHER
    assert sum(rows for (rows, _) in [count(recordings)]) == rows
    indexer.tidy()
    assert [slot.rows for slot in indexer.slots() if slot.rows] == [rows]
    old = sealed(recordings, 2, at=time.time() - 3 * DAY)
    indexer.add([s for s in sealed_segments(recordings) if s not in indexer.covered()])
    settle()
    assert indexer.gather()
    settle()
    assert len(list(recordings.index.glob("d-*.parquet"))) >= 1
    indexer.tidy()
    assert count(recordings) == (rows + old, count(recordings)[1])
    slots = len(list(recordings.index.glob("a-*.parquet")))
    sealed(recordings, 1)
    indexer.add([s for s in sealed_segments(recordings) if s not in indexer.covered()])
    assert len(list(recordings.index.glob("a-*.parquet"))) == slots  # empty slots are used again
    indexer.close()


@pytest.mark.parametrize("after", [0, 1])
def test_what_a_crash_interrupts_is_put_in_place_by_the_next(
    recordings: Recordings, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    """A process is killed with some of several files in place: the next one puts the others in place."""
    indexer = Indexer(recordings)
    rows = 0
    for _ in range(indexer_module.GATHER):
        rows += sealed(recordings, 1)
        indexer.add([s for s in sealed_segments(recordings) if s not in indexer.covered()])
    settle()
    replaced = itertools.count()
    real = os.replace

    def replace(source: Path, target: Path) -> None:
        if str(target).endswith(".parquet") and next(replaced) >= after:
            raise KeyboardInterrupt
        real(source, target)

    monkeypatch.setattr(indexer_module.os, "replace", replace)
    with pytest.raises(KeyboardInterrupt):
        indexer.gather()
    monkeypatch.setattr(indexer_module.os, "replace", real)
    indexer.close()
    assert indexer_module.pending(recordings)
    elsewhere = Path.cwd()
    os.chdir("/")
    try:
        Indexer(recordings).close()
    finally:
        os.chdir(elsewhere)
    settle()
    assert count(recordings)[0] == rows and not indexer_module.pending(recordings)


def test_the_index_is_made_anew_while_others_read(recordings: Recordings) -> None:
    rows = sealed(recordings, 4)
    with keeping(recordings):
        indexer = Indexer(recordings)
        indexer.add(list(sealed_segments(recordings)))
        settle()
        seen, stopping = list[int](), threading.Event()

        def poll() -> None:
            while not stopping.is_set():
                seen.append(count(recordings)[0])

        poller = threading.Thread(target=poll)
        poller.start()
        steps = list[int]()
        assert indexer.rebuild(list(sealed_segments(recordings)), steps.append) == rows
        settle()
        stopping.set()
        poller.join()
        indexer.close()
    assert set(seen) == {rows} and steps == [4]
    shutil.rmtree(recordings.root / "index")
    catalog.create(recordings)  # like an update with other columns: SQL reads the journals meanwhile
    assert count(recordings)[0] == rows


REMOVED: dict[str, Callable[[Recordings], object]] = {
    "the folder": lambda r: shutil.rmtree(r.root / "index"),
    "the version's folder": lambda r: shutil.rmtree(r.index),
    "all files": lambda r: [path.unlink() for path in r.index.iterdir()],
    "the first file": lambda r: (r.index / catalog.SEED).unlink(),
    "the rows": lambda r: [path.unlink() for path in r.index.glob("[ad]-*.parquet")],
    "the database": lambda r: r.database.unlink(),
    "all": lambda r: (shutil.rmtree(r.root / "index"), r.database.unlink(), shutil.rmtree(r.live)),
}


@pytest.mark.parametrize("way", ["housekeeping", "start"])
@pytest.mark.parametrize("what", REMOVED)
def test_a_removed_index_is_made_again(recordings: Recordings, what: str, way: str) -> None:
    rows = sealed(recordings, 4)
    assert upkeep.keep_round(recordings, {}, None, [])[1] == []
    settle()
    with keeping(recordings):
        indexer = Indexer(recordings)
        for slot, _ in live.segments(recordings.root):  # as after a while
            live.clear(slot)
        indexer.close()
    assert count(recordings) == (rows, rows)
    REMOVED[what](recordings)
    if way == "start" and what != "the rows":  # a start looks for missing rows with the first round of housekeeping
        catalog.create(recordings)
        assert count(recordings) == (rows, rows)
    problems = upkeep.keep_round(recordings, {}, None, [])[1]
    assert bool(problems) == (way == "housekeeping" or what == "the rows")
    assert count(recordings) == (rows, rows)
    settle()
    assert count(recordings) == (rows, rows)
    assert upkeep.keep_round(recordings, {}, None, [])[1] == []


def test_a_changed_journal_is_not_shown_again_with_a_removed_index(recordings: Recordings) -> None:
    rows = sealed(recordings, 2)
    upkeep.keep_round(recordings, {}, None, [])
    (journal, _) = sorted(recordings.segments.glob("*/*/*.jsonl"))
    journal.write_bytes(journal.read_bytes().replace(b"alice", b"mally"))
    shutil.rmtree(recordings.root / "index")
    shutil.rmtree(recordings.live)
    assert any("differs from its sealed root" in p for p in upkeep.keep_round(recordings, {}, None, [])[1])
    assert count(recordings) == (rows // 2, rows // 2)


def test_a_keeper_holds_others_off_and_waits_for_nobody(recordings: Recordings) -> None:
    with keeping(recordings), pytest.raises(OSError, match="another process maintains"), keeping(recordings):
        pass
    with keeping(recordings):
        shutil.rmtree(recordings.root / "index")
        catalog.create(recordings, kept=True)
    assert count(recordings) == (0, 0)


def test_every_view_is_described_and_nothing_else(recordings: Recordings) -> None:
    with duckdb.connect(str(recordings.database), read_only=True) as connection:
        views = dict(connection.execute("SELECT view_name, comment FROM duckdb_views() WHERE NOT internal").fetchall())
        columns = connection.execute(
            "SELECT table_name, column_name, comment FROM duckdb_columns() WHERE NOT internal"
        ).fetchall()
    assert views == {name: about for name, (about, _) in VIEWS.items()}
    assert {(table, column): comment for table, column, comment in columns} == {
        (name, column): text for name, (_, described) in VIEWS.items() for column, text in described.items()
    }


@pytest.fixture
def dictionary() -> str:
    return (Path(__file__).resolve().parents[2] / "docs/reference/data-dictionary.md").read_text()


def test_the_documentation_has_the_data_dictionary(dictionary: str) -> None:
    for name, (about, columns) in VIEWS.items():
        assert f"**`{name}`** — {about}" in dictionary, name
        for column, text in columns.items():
            assert f"| `{column}` | {text} |" in dictionary, (name, column)


def test_a_torn_segment_is_indexed_after_repair(recordings: Recordings) -> None:
    write_lines(recordings.root, [a_line(n) for n in range(3)], seal=False)
    (flows,) = recordings.segments.glob("*/*/*.mitm")
    with flows.open("ab") as file:
        file.write(b"123:torn")
    assert repair(recordings.root, "w0").segments == 1
    indexer = Indexer(recordings)
    assert indexer.add(list(sealed_segments(recordings))) == 3
    indexer.close()
    json.dumps(count(recordings))


def test_lines_without_the_newest_column_are_indexed_again(recordings: Recordings) -> None:
    """An index of an earlier version is in another folder; this version reads the journals."""
    lines = [a_line(n) for n in range(3)]
    for line in lines:
        line.version = 3
    write_lines(recordings.root, lines)
    shutil.rmtree(recordings.index)
    (recordings.index.parent / "2").mkdir()
    catalog.create(recordings)
    assert count(recordings, "SELECT count(*), min(version), max(len(dropped_headers)) FROM flows") == (3, 3, 0)
