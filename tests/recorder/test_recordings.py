"""Segments, repair and index on real files: what was acknowledged is there, what is torn goes, readers see it all."""

import asyncio
import os
from pathlib import Path

import duckdb
import msgspec
import pytest
from mitmproxy import io
from mitmproxy.test import tflow

from weir.exchange import RequestRecord, ResponseRecord
from weir.profiles.model import Result
from weir.recorder import index
from weir.recorder.flowfile import FlowEncoder
from weir.recorder.journal import COLUMNS, JournalLine, decode_line, encode_line, timestamp
from weir.recorder.repair import Repairs, repair
from weir.recorder.worker import claim, try_claim
from weir.recorder.writer import RecorderUnavailable, Writer


def a_line(number: int, worker: str = "w0") -> JournalLine:
    return JournalLine(
        request_id=f"id-{number:04d}", time=timestamp(1_800_000_000.25 + number), duration_ms=1.5, worker=worker, connection="c",
        method="POST", path="/v2/rerank", status=200, results=[Result(1, 0.5), Result(0, 0.25)], user="alice",
        session_id="s", documents=2,
    )  # fmt: skip


def a_flow(line: JournalLine) -> bytes:
    encoder, template = FlowEncoder(), tflow.tflow()
    return encoder.flow(
        flow_id=line.request_id, client=encoder.connection(template.client_conn), server=encoder.connection(template.server_conn),
        request=RequestRecord(b"POST", b"http", "h", 80, b"/", (), b"{}"), response=ResponseRecord(200, b"OK", (), b"x" * 500),
        error="", replay="", marked="", comment="", metadata=encode_line(line).decode(), times=(1.0, 2.0, 3.0, 4.0),
    )  # fmt: skip


def write(root: Path, count: int, worker: str = "w0", boot: str = "b") -> None:
    async def run() -> None:
        writer = Writer(root, worker, boot)
        lines = [a_line(n, worker) for n in range(count)]
        await asyncio.gather(*(writer.record("c", lambda line=line: a_flow(line), line) for line in lines))  # type: ignore[misc]
        await asyncio.to_thread(writer.close)

    asyncio.run(run())


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
def test_a_torn_tail_is_cut_and_lost_lines_are_restored(tmp_path: Path, cut_flows: int, cut_lines: int) -> None:
    """As after kill -9 between the flows' write and the lines': any prefix of what was being written."""
    write(tmp_path, 3)
    flows, journal = segment(tmp_path)
    acknowledged = journal.read_bytes()
    complete = flows.stat().st_size
    extra = [a_line(n) for n in range(3, 5)]
    tail = b"".join(map(a_flow, extra))
    with flows.open("ab") as file:
        file.write(tail[: len(tail) - cut_flows] if cut_flows < len(tail) else b"")
    with journal.open("ab") as file:
        file.write(encode_line(extra[0])[:cut_lines])
    repairs = repair(tmp_path, "w0")
    kept = ids_of_flows(flows)
    assert kept[:3] == ["id-0000", "id-0001", "id-0002"]
    assert [line.request_id for line in lines_of(journal)] == kept
    assert journal.read_bytes().startswith(acknowledged)
    for line in lines_of(journal):
        assert flows.read_bytes()[line.offset :][: line.length].endswith(b"}")
    if cut_flows >= len(tail):
        assert flows.stat().st_size == complete
    assert repairs.segments == (1 if cut_flows < len(tail) or cut_lines else 0)
    assert repair(tmp_path, "w0") == Repairs()


def test_repair_keeps_its_hands_off_live_workers(tmp_path: Path) -> None:
    other = try_claim(tmp_path, 1)
    assert other is not None
    write(tmp_path, 2, "w1")
    flows, _ = segment(tmp_path)
    with flows.open("ab") as file:
        file.write(b"999:torn")
    size = flows.stat().st_size
    own = claim(tmp_path)
    assert own.worker == "w0"
    assert repair(tmp_path, own.worker).segments == 0 and flows.stat().st_size == size
    other.release()
    assert repair(tmp_path, own.worker).segments == 1 and ids_of_flows(flows) == ["id-0000", "id-0001"]
    own.release()


def test_the_index_is_current_and_survives_torn_lines(tmp_path: Path) -> None:
    write(tmp_path, 4)
    database = index.create(tmp_path)
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
    assert database.stat().st_mode & 0o777 == 0o444


def test_a_removed_segment_is_noticed_and_a_new_one_begun(tmp_path: Path) -> None:
    async def run() -> None:
        writer = Writer(tmp_path, "w0", "b")
        await writer.record("c", lambda: a_flow(a_line(0)), a_line(0))
        for path in segment(tmp_path):
            path.unlink()
        await asyncio.sleep(0.06)  # longer than a look vouches for
        await writer.record("c", lambda: a_flow(a_line(1)), a_line(1))
        await asyncio.to_thread(writer.close)

    asyncio.run(run())
    assert ids_of_flows(segment(tmp_path)[0]) == ["id-0001"]


def test_what_cannot_be_encoded_or_written_is_not_acknowledged(tmp_path: Path) -> None:
    async def run() -> None:
        writer = Writer(tmp_path, "w0", "b")
        await writer.record("c", lambda: a_flow(a_line(0)), a_line(0))
        with pytest.raises(RecorderUnavailable):
            await writer.record("c", lambda: a_flow(a_line(1))[: 1 // 0], a_line(1))
        await writer.ready()
        await writer.record("c", lambda: a_flow(a_line(2)), a_line(2))
        os.rename(tmp_path / "segments", tmp_path / "gone")
        (tmp_path / "segments").write_text("in the way")
        await asyncio.sleep(0.06)
        with pytest.raises(RecorderUnavailable):
            await writer.record("c", lambda: a_flow(a_line(3)), a_line(3))
        await asyncio.to_thread(writer.close)

    asyncio.run(run())
    (flows,) = sorted((tmp_path / "gone").glob("c/*/*.mitm"))
    assert ids_of_flows(flows) == ["id-0000", "id-0002"]
    assert [line.request_id for line in lines_of(flows.with_suffix(".jsonl"))] == ["id-0000", "id-0002"]


def test_recordings_of_an_earlier_version_are_read(tmp_path: Path) -> None:
    """Neither its journals nor what it left in the index have a column that came later."""
    journal = tmp_path / "segments" / "c" / "2026-01-01" / "w0-b-1.jsonl"
    journal.parent.mkdir(parents=True)
    line = msgspec.json.decode(
        encode_line(JournalLine(request_id="r1", time=timestamp(0), duration_ms=1, worker="w0", method="GET", path="/"))
    )
    del line["token_id"]
    journal.write_bytes(msgspec.json.encode(line) + b"\n")
    (tmp_path / "index").mkdir()
    with duckdb.connect() as connection:
        older = ", ".join(f'NULL::{kind} AS "{name}"' for name, kind in COLUMNS.items() if name != "token_id")
        connection.execute(f"COPY (SELECT {older} LIMIT 0) TO '{tmp_path}/index/empty.parquet' (FORMAT parquet)")
    with duckdb.connect(str(index.create(tmp_path)), read_only=True) as connection:
        assert connection.execute("SELECT request_id, token_id FROM flows").fetchall() == [("r1", None)]
    assert decode_line(journal.read_bytes()).token_id is None
