"""Segments, repair and index on real files: acknowledged lines stay, torn ones go, and readers see everything."""

import asyncio
import hashlib
import os
from pathlib import Path

import duckdb
import msgspec
import pytest
from mitmproxy import io
from tests.recorder.recording import a_flow, a_line, a_log, a_writer, entry, repair, write_lines

from weir.recorder import catalog, live
from weir.recorder.evidence import Signer
from weir.recorder.folder import FormatError, Recordings
from weir.recorder.journal import (
    COLUMNS,
    SCHEMA_VERSION,
    JournalLine,
    decode_line,
    encode_line,
)
from weir.recorder.repair import Repairs, claim
from weir.recorder.worker import try_claim
from weir.recorder.writer import Entry, RecorderUnavailable


def write(root: Path, count: int, worker: str = "w0", boot: str = "b", *, seal: bool = False) -> None:
    """Write *count* flows. Without *seal*, leave them like a killed process."""
    write_lines(root, [a_line(n, worker) for n in range(count)], worker, boot, seal=seal)


def segment(root: Path) -> tuple[Path, Path]:
    (flows,) = sorted((root / "segments").glob("c/*/*.mitm"))
    return flows, flows.with_suffix(".jsonl")


def ids_of_flows(path: Path) -> list[str]:
    with path.open("rb") as file:
        return [flow.id for flow in io.FlowReader(file).stream()]


def lines_of(path: Path) -> list[JournalLine]:
    return [decode_line(line) for line in path.read_bytes().splitlines()]


def test_lines_say_where_their_flows_are(tmp_path: Path) -> None:
    write(tmp_path, 5)
    flows, journal = segment(tmp_path)
    data = flows.read_bytes()
    for line in lines_of(journal):
        assert line.segment == f"c/{flows.parent.name}/{flows.stem}"
        assert line.request_id.encode() in data[line.offset : line.offset + line.length]
    assert flows.stat().st_mode & 0o777 == journal.stat().st_mode & 0o777 == 0o600
    assert flows.parent.stat().st_mode & 0o777 == 0o700


def test_columns_are_the_lines_fields() -> None:
    assert [f.encode_name for f in msgspec.structs.fields(JournalLine)] == list(COLUMNS)


@pytest.mark.parametrize("cut_flows", [0, 1, 300, 10_000])
@pytest.mark.parametrize("cut_lines", [0, 1, 200])
def test_a_torn_tail_is_quarantined_and_what_was_acknowledged_stays(
    tmp_path: Path, cut_flows: int, cut_lines: int
) -> None:
    """The state after kill -9 between writing the flows and the lines: any prefix of the written bytes."""
    write(tmp_path, 3)
    flows, journal = segment(tmp_path)
    acknowledged, complete = journal.read_bytes(), flows.read_bytes()
    extra = [a_line(n) for n in range(3, 5)]
    tail = b"".join(map(a_flow, extra))
    tail = tail[: len(tail) - cut_flows] if cut_flows < len(tail) else b""
    torn = encode_line(extra[0])[:cut_lines]
    with flows.open("ab") as file:
        file.write(tail)
    with journal.open("ab") as file:
        file.write(torn)
    repairs = repair(tmp_path, "w0")
    assert (journal.read_bytes(), flows.read_bytes()) == (acknowledged, complete)
    kept = {path.name: path.read_bytes() for path in (tmp_path / "quarantine").rglob("*.tail")}
    expected = {f"{flows.name}.tail": tail, f"{journal.name}.tail": torn}
    assert kept == {name: data for name, data in expected.items() if data}
    assert repairs == Repairs(segments=1 if kept else 0, quarantined=len(tail) + len(torn))
    assert repair(tmp_path, "w0") == Repairs()


def test_repair_keeps_its_hands_off_live_workers(tmp_path: Path) -> None:
    other = try_claim(Recordings(tmp_path), "w1")
    assert other is not None
    write(tmp_path, 2, "w1")
    flows, _ = segment(tmp_path)
    with flows.open("ab") as file:
        file.write(b"999:torn")
    size = flows.stat().st_size
    recordings = Recordings(tmp_path)
    own, log = claim(recordings, Signer(recordings))
    assert own.worker == log.worker == "w0"
    log.close()
    assert repair(tmp_path, own.worker).segments == 0 and flows.stat().st_size == size
    other.release()
    assert repair(tmp_path, own.worker).segments == 1 and ids_of_flows(flows) == ["id-0000", "id-0001"]
    own.release()


def test_the_index_is_current_and_survives_torn_lines(tmp_path: Path) -> None:
    write(tmp_path, 4)
    catalog.create(Recordings(tmp_path))
    database = tmp_path / "index.duckdb"
    _, journal = segment(tmp_path)
    with duckdb.connect(str(database), read_only=True) as connection:
        query = 'SELECT count(*), min(time)::VARCHAR, any_value("user") FROM flows'
        assert connection.execute(query).fetchall() == [(4, "2027-01-15 08:00:00.25", "alice")]
        with journal.open("ab") as file:
            file.write(encode_line(a_line(9)) + b'\n{"request_id": "torn')
        assert connection.execute(query).fetchall()[0][0] == 5
        assert connection.execute("SELECT count(*), min(rank), max(rank) FROM rankings").fetchall() == [(10, 1, 2)]
        assert connection.execute("SELECT session_id, requests, documents FROM sessions").fetchall() == [("s", 5, 10)]
        assert connection.execute("SELECT count(*) FROM violations").fetchall() == [(0,)]
        assert connection.execute("SELECT count(*) FROM masked_fields").fetchall() == [(0,)]
    assert database.stat().st_mode & 0o777 == 0o400


def test_a_removed_segment_is_noticed_and_a_new_one_begun(tmp_path: Path) -> None:
    async def run() -> None:
        writer = a_writer(tmp_path, "w0", "b")
        await writer.record(entry(a_line(0)))
        for path in segment(tmp_path):
            path.unlink()
        await asyncio.sleep(0.06)  # longer than `FRESH`, so that the next write checks again
        await writer.record(entry(a_line(1)))
        await asyncio.to_thread(writer.close)

    asyncio.run(run())
    assert ids_of_flows(segment(tmp_path)[0]) == ["id-0001"]


def test_what_cannot_be_encoded_or_written_is_not_acknowledged(tmp_path: Path) -> None:
    async def run() -> None:
        writer = a_writer(tmp_path, "w0", "b")
        await writer.record(entry(a_line(0)))
        with pytest.raises(RecorderUnavailable):
            await writer.record(entry(a_line(1), lambda: bytes(1 // 0)))
        await writer.ready()
        await writer.record(entry(a_line(2)))
        os.rename(tmp_path / "segments", tmp_path / "gone")
        (tmp_path / "segments").write_text("in the way")
        await asyncio.sleep(0.06)
        with pytest.raises(RecorderUnavailable):
            await writer.record(entry(a_line(3)))
        await asyncio.to_thread(writer.close)

    asyncio.run(run())
    (flows,) = sorted((tmp_path / "gone").glob("c/*/*.mitm"))
    assert ids_of_flows(flows) == ["id-0000", "id-0002"]
    assert [line.request_id for line in lines_of(flows.with_suffix(".jsonl"))] == ["id-0000", "id-0002"]


def as_before_evidence(line: JournalLine, flow: bytes, segment: str) -> bytes:
    """Return *line* as the first format version wrote it: with all of its columns, and without later ones."""
    later = ("intent", "query_digest", "request_digest", "response_digest")
    columns = {f.encode_name: getattr(line, f.name) for f in msgspec.structs.fields(JournalLine)}
    place = {"segment": segment, "offset": 0, "length": len(flow), "sha256": hashlib.sha256(flow).hexdigest()}
    kept = {name: value for name, value in columns.items() if name not in later}
    return msgspec.json.encode({**kept, **place, "version": 1, "results": [{"index": 1, "score": 0.5}]}) + b"\n"


def test_recordings_of_an_earlier_version_are_adopted(tmp_path: Path) -> None:
    """They have no links, no logs, and an index with fewer columns: all requests are found, and sealed now."""
    segment, line = "c/2026-01-01/w0-b-000001", a_line(1)
    journal = tmp_path / "segments" / f"{segment}.jsonl"
    journal.parent.mkdir(parents=True)
    flow = a_flow(line)
    journal.with_suffix(".mitm").write_bytes(flow)
    journal.write_bytes(as_before_evidence(line, flow, segment))
    (tmp_path / "index").mkdir()
    with duckdb.connect() as connection:
        older = ", ".join(f'NULL::{kind} AS "{name}"' for name, kind in COLUMNS.items() if name != "token_id")
        connection.execute(f"COPY (SELECT {older} LIMIT 0) TO '{tmp_path}/index/empty.parquet' (FORMAT parquet)")
    recordings = Recordings(tmp_path)
    live.prepare(recordings)
    assert repair(tmp_path, "w0") == Repairs()
    catalog.create(recordings)
    with duckdb.connect(str(recordings.database), read_only=True) as connection:
        rows = connection.execute("SELECT request_id, token_id, query_digest, results[1].score FROM flows").fetchall()
    assert rows == [("id-0001", None, None, 0.5)]
    with a_log(recordings) as log:
        sealed = log.sealed[segment]
    assert (sealed.lines, sealed.length) == (1, len(flow))


def test_what_a_newer_version_wrote_is_left_alone(tmp_path: Path) -> None:
    """A newer journal is neither read nor cut, and a newer folder is not written to."""
    lines = [a_line(n) for n in range(2)]
    for line in lines:
        line.version = SCHEMA_VERSION + 1
    write_lines(tmp_path, lines, seal=False)
    flows, journal = segment(tmp_path)
    newer = journal.read_bytes()
    recordings = Recordings(tmp_path)
    repair(tmp_path, "w0")
    assert journal.read_bytes() == newer and len(ids_of_flows(flows)) == 2
    catalog.create(recordings)
    with duckdb.connect(str(recordings.database), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM flows").fetchall() == [(0,)]
    (tmp_path / "format.json").write_text('{"format": 4, "id": "x"}')
    with pytest.raises(FormatError, match="written by a newer weir"):
        recordings.identify()


def test_what_was_let_go_and_has_no_end_is_given_one_that_says_so(tmp_path: Path) -> None:
    """A process is killed between sending and recording: the index has the request at once, and repair adds a flow."""

    async def run() -> None:
        writer = a_writer(tmp_path, "w0", "b")
        lines = [a_line(n) for n in range(3)]
        for line in lines:
            line.intent = True
            await writer.record(Entry("c", line.request_id, line.time, encode_line(line)))
        await writer.record(entry(a_line(1)))
        writer._end = lambda: None  # type: ignore[method-assign]
        await asyncio.to_thread(writer.close)

    asyncio.run(run())
    recordings = Recordings(tmp_path)
    catalog.create(recordings)
    with duckdb.connect(str(recordings.database), read_only=True) as connection:
        assert connection.execute("SELECT request_id FROM flows").fetchall() == [("id-0001",)]
        open_ = "SELECT request_id FROM intents ORDER BY 1"
        assert connection.execute(open_).fetchall() == [("id-0000",), ("id-0002",)]
        assert repair(tmp_path, "w0") == Repairs(segments=1, interrupted=2)
        assert connection.execute(open_).fetchall() == []
        ended = connection.execute("SELECT request_id, status, error FROM flows ORDER BY 1").fetchall()
    assert [(row[0], row[1]) for row in ended] == [("id-0000", 0), ("id-0001", 200), ("id-0002", 0)]
    assert ended[0][2].startswith("interrupted") and ended[1][2] is None
    assert sorted(ids_of_flows(segment(tmp_path)[0])) == ["id-0000", "id-0001", "id-0002"]
    assert repair(tmp_path, "w0") == Repairs()


def test_segments_end_by_lines_and_what_is_open_moves_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("weir.recorder.segment.MAX_LINES", 3)

    async def run() -> None:
        writer = a_writer(tmp_path, "w0", "b")
        stream = a_line(0)
        stream.intent = True
        await writer.record(Entry("c", stream.request_id, stream.time, encode_line(stream)))
        for number in range(1, 8):
            await writer.record(entry(a_line(number)))
        await writer.record(entry(a_line(0)))
        await asyncio.to_thread(writer.close)

    asyncio.run(run())
    journals = sorted((tmp_path / "segments").glob("c/*/*.jsonl"))
    assert len(journals) > 2 and all(len(lines_of(path)) <= 3 for path in journals)
    assert [line.request_id for line in lines_of(journals[-1]) if line.intent] in ([], ["id-0000"])
    assert [lines_of(path)[0].intent for path in journals[:2]] == [True, True]
    with a_log(Recordings(tmp_path)) as log:
        assert [s.rpartition("/")[2] for s in log.sealed] == [path.stem for path in journals]
    assert repair(tmp_path, "w0") == Repairs()
