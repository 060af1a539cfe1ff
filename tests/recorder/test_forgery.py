"""An attacker with write access to the recordings, but not to WEIR_HOME, changes files: the gateway signs no change."""

import asyncio
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.recorder.recording import a_flow, a_line, a_log, a_writer, entry, write_lines

from weir.recorder import catalog, events, heads, live, retention, upkeep
from weir.recorder.adoption import adopt
from weir.recorder.checkpoint import Checkpoint, Size
from weir.recorder.entries import Quarantined, Sealed
from weir.recorder.events import FILE as EVENTS
from weir.recorder.evidence import (
    CHECKPOINT,
    FILE,
    KEEPER,
    DamagedLogError,
    Log,
    Signer,
    entries,
    keeping,
    sealed_segments,
)
from weir.recorder.folder import FORMAT_FILE, Recordings
from weir.recorder.indexer import Indexer
from weir.recorder.journal import JournalLine, encode_line, placed
from weir.recorder.merkle import EMPTY, leaf_hash
from weir.recorder.prove import NoProofError, prove
from weir.recorder.repair import claim, repair
from weir.recorder.verify import Report, check, sealed_now
from weir.recorder.verify_index import check_index
from weir.recorder.writer import RecorderUnavailable

APPROVALS = "approvals.jsonl"


def start(root: Path) -> str:
    """Do what a gateway does with recordings before it serves. Return the worker id that it claims."""
    recordings = Recordings(root)
    signer = Signer(recordings)
    live.prepare(recordings)
    adopt(recordings, signer)
    lock, log = claim(recordings, signer)
    try:
        repair(recordings, signer, log)
        catalog.create(recordings)
        return lock.worker
    finally:
        log.close()
        lock.release()


@pytest.fixture(autouse=True)
def no_second_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the second check, because nothing is written during verification."""
    monkeypatch.setattr("weir.recorder.verify._AGAIN", 0.0)
    monkeypatch.setattr("weir.recorder.verify_index._AGAIN", 0.0)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Make recordings as `recordings` describes, and their WEIR_HOME. Return the folder that each test begins with."""
    folder = tmp_path_factory.mktemp("forgery") / "now"
    folder.mkdir()
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("WEIR_HOME", str(folder / "home"))
        make(folder / "recordings")
        folder.rename(folder.with_name("made"))
        yield folder


@pytest.fixture
def recordings(made: Path) -> Recordings:
    """Four sealed requests, three in the journal of a killed worker, two events and two approvals."""
    shutil.rmtree(made, ignore_errors=True)
    shutil.copytree(made.with_name("made"), made, symlinks=True)
    return Recordings(made / "recordings")


def make(root: Path) -> None:
    root.mkdir()
    write_lines(root, [a_line(n) for n in range(4)])
    found = Recordings(root)
    log = Log(found, "w0", Signer(found))
    for number in range(2):
        log.write(EVENTS, b'{"time":"2027-01-15T08:00:00","worker":"w0","kind":"reload","who":"root %d"}' % number)
        log.write(APPROVALS, b'{"approval_id":"a%d","changed":%d,"outcome":"denied"}' % (number, number))
    log.checkpoint()
    log.close()
    write_lines(root, [a_line(n) for n in range(4, 7)], boot="c", seal=False)
    catalog.create(found)


def checked(recordings: Recordings) -> Report:
    return check(recordings.root, Signer(recordings).key)


def found_in(recordings: Recordings) -> list[str]:
    """Return the findings of verification, including those of the index."""
    report, key = checked(recordings), Signer(recordings).key
    findings = report.findings + check_index(recordings, lambda: sealed_now(recordings.root, key))
    return [f"{finding.where}: {finding.what}" for finding in findings]


def rows(recordings: Recordings, query: str = "SELECT request_id FROM flows ORDER BY 1") -> list[Any]:
    with duckdb.connect(str(recordings.database), read_only=True) as connection:
        return [row[0] if len(row) == 1 else row for row in connection.execute(query).fetchall()]


WRITTEN = [f"id-{n:04d}" for n in range(7)]


def forge(recordings: Recordings, segment: str, *, number: int = 666, link: str = "") -> JournalLine:
    """Make a segment with consistent hashes, like a writer's; *link* is the slot in live/."""
    line = a_line(number, user="mallory")
    flow = a_flow(line)
    base = recordings.segments / segment
    base.parent.mkdir(parents=True, exist_ok=True)
    base.with_name(f"{base.name}.mitm").write_bytes(flow)
    text = placed(encode_line(line), segment, 0, len(flow), hashlib.sha256(flow).hexdigest())
    base.with_name(f"{base.name}.jsonl").write_bytes(text + b"\n")
    if link:
        (recordings.live / link).symlink_to(f"../segments/{segment}.jsonl")
    return line


@pytest.mark.parametrize("link", ["", "w0-77.jsonl", "w9-0.jsonl"])
@pytest.mark.parametrize("name", ["w9-b-000001", "w0-c-000009", "w0-zz-000001", "x"])
def test_a_forged_segment_is_neither_indexed_nor_signed_nor_proven(
    recordings: Recordings, name: str, link: str
) -> None:
    segment = f"c/2027-01-15/{name}"
    line = forge(recordings, segment, link=link)
    assert [f.where for f in checked(recordings).findings] == [f"segments/{segment}"]
    start(recordings.root)
    assert rows(recordings) == WRITTEN
    report = checked(recordings)
    assert report.findings == [] and report.not_vouched == 0
    assert sum(f"segments/{segment}" in notice for notice in report.notices) == 2
    assert not any(isinstance(e, Sealed) and e.segment == segment for _, e in entries(recordings))
    with pytest.raises((NoProofError, OSError)):
        prove(recordings.root, Signer(recordings).key, line.request_id, segment, "w0")
    assert [path.name for path in recordings.quarantine.rglob("*.mitm")] == [f"{name}.mitm"]
    start(recordings.root)  # a second start changes nothing
    assert checked(recordings).findings == [] and rows(recordings) == WRITTEN


def test_a_log_of_a_worker_that_never_was_counts_for_nothing(recordings: Recordings) -> None:
    """The log has a sealed entry for a forged segment, events, approvals and a checkpoint of another log."""
    line = forge(recordings, "c/2027-01-15/w9-b-000001", link="w9-0.jsonl")
    folder = recordings.make(recordings.log("w9"))
    real = (recordings.log("w0") / FILE).read_bytes().splitlines()[-1]
    (folder / FILE).write_bytes(real.replace(b"w0-b", b"w9-b") + b"\n")
    (folder / EVENTS).write_bytes(b'{"time":"2027-01-15T08:00:00","worker":"w9","kind":"stop","who":"mallory"}\n')
    shutil.copy(recordings.log("w0") / CHECKPOINT, folder / CHECKPOINT)
    strange = recordings.make(recordings.log("strange"))
    (strange / EVENTS).write_bytes(b'{"time":"2027-01-15T08:00:00","worker":"x","kind":"stop","who":"mallory"}\n')
    assert checked(recordings).findings
    start(recordings.root)
    assert checked(recordings).findings == []
    assert line.request_id not in rows(recordings)
    assert rows(recordings, "SELECT DISTINCT who FROM events ORDER BY 1") == ["root 0", "root 1"]


@pytest.mark.parametrize("what", ["flow and line", "line", "flow"])
def test_what_is_added_to_a_journal_after_a_kill_is_quarantined(recordings: Recordings, what: str) -> None:
    (journal,) = recordings.segments.glob("*/*/w0-c-*.jsonl")
    flows = journal.with_suffix(".mitm")
    before = journal.read_bytes(), flows.read_bytes()
    line = a_line(666, user="mallory")
    flow = a_flow(line)
    segment = f"c/2027-01-15/{journal.stem}"
    text = placed(encode_line(line), segment, len(before[1]), len(flow), hashlib.sha256(flow).hexdigest())
    if "flow" in what:
        flows.write_bytes(before[1] + flow)
    if "line" in what:
        journal.write_bytes(before[0] + text + b"\n")
    start(recordings.root)
    assert (journal.read_bytes(), flows.read_bytes()) == before
    assert rows(recordings) == WRITTEN and found_in(recordings) == []
    assert any("beyond" in notice for notice in checked(recordings).notices)


@pytest.mark.parametrize("file", [FILE, EVENTS, APPROVALS])
@pytest.mark.parametrize("how", ["rewritten", "reordered", "cut", "emptied", "removed"])
def test_a_log_that_was_changed_is_not_signed_again_until_it_is_restored(
    recordings: Recordings, file: str, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("weir.recorder.indexer.DELAY", 0.05)
    path = recordings.log("w0") / file
    before = path.read_bytes()
    lines = before.splitlines(keepends=True)
    changed = {
        "rewritten": before.replace(b'"kind"', b'"kinD"').replace(b"denied", b"dEnied"),
        "reordered": b"".join(reversed(lines)),
        "cut": b"".join(lines[:-1]),
        "emptied": b"",
        "removed": b"",
    }[how]
    path.write_bytes(changed)
    if how == "removed":
        path.unlink()
    note = (recordings.log("w0") / CHECKPOINT).read_bytes()
    assert start(recordings.root) == "w1"  # the gateway serves and does not use that log
    assert (recordings.log("w0") / CHECKPOINT).read_bytes() == note
    assert any(finding.where.startswith("log/w0") for finding in checked(recordings).findings)
    path.write_bytes(before)
    assert start(recordings.root) == "w0"
    assert checked(recordings).findings == []
    if file == FILE:  # rows that were not in Parquet yet were hidden without the log
        assert any("weir index rebuild" in finding for finding in found_in(recordings))
        indexer = Indexer(recordings)
        indexer.rebuild(list(sealed_segments(recordings)))
        indexer.close()
        time.sleep(0.1)
    assert rows(recordings) == WRITTEN and found_in(recordings) == []


@pytest.mark.parametrize("file", [FILE, EVENTS, APPROVALS])
def test_lines_that_are_added_to_a_log_are_quarantined(recordings: Recordings, file: str) -> None:
    path = recordings.log("w0") / file
    before = path.read_bytes()
    sealed = Sealed(segment="c/2027-01-15/w0-b-000009", lines=1, root="00" * 32, length=1, first="", last="", time="")
    path.write_bytes(before + {FILE: msgspec.json.encode(sealed)}.get(file, before.splitlines()[0]) + b"\n" + b"torn")
    start(recordings.root)
    assert path.read_bytes().startswith(before) and b"torn" not in path.read_bytes()
    with a_log(recordings) as log:
        assert sealed.segment not in log.sealed
    assert found_in(recordings) == []
    assert rows(recordings, "SELECT count(*) FROM events") == [2]


@pytest.mark.parametrize("how", ["older", "removed", "garbage"])
def test_a_checkpoint_that_was_replaced_is_signed_anew_over_what_is_authentic(
    recordings: Recordings, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = recordings.log("w0") / CHECKPOINT
    older = path.read_bytes()
    start(recordings.root)
    assert path.read_bytes() != older
    if how == "removed":
        path.unlink()
    else:
        path.write_bytes(older if how == "older" else b"garbage")
    caplog.clear()
    start(recordings.root)
    assert {"older": "was rolled back", "removed": "is gone", "garbage": "is not readable"}[how] in caplog.text
    assert found_in(recordings) == [] and rows(recordings) == WRITTEN


@pytest.mark.parametrize("how", ["changed", "cut", "removed", "a link"])
def test_a_journal_that_lacks_what_was_written_stays_noticed(recordings: Recordings, how: str, tmp_path: Path) -> None:
    (journal,) = recordings.segments.glob("*/*/w0-c-*.jsonl")
    data = journal.read_bytes()
    if how == "changed":
        journal.write_bytes(data.replace(b"alice", b"mallo", 1))
    elif how == "cut":
        journal.write_bytes(b"".join(data.splitlines(keepends=True)[:-1]))
    else:
        journal.unlink()
        if how == "a link":
            (tmp_path / "elsewhere").write_bytes(data.replace(b"alice", b"mallo", 1))
            journal.symlink_to(tmp_path / "elsewhere")
    start(recordings.root)
    assert rows(recordings) == WRITTEN[:4]
    assert any("w0-c-" in finding.where for finding in checked(recordings).findings)
    assert any("changed" in notice for notice in checked(recordings).notices)
    if how == "a link":
        assert (tmp_path / "elsewhere").exists()


def test_flows_that_were_changed_are_found(recordings: Recordings) -> None:
    (flows,) = recordings.segments.glob("*/*/w0-c-*.mitm")
    flows.write_bytes(flows.read_bytes().replace(b"xxxx", b"yyyy", 1))
    start(recordings.root)
    assert [finding for finding in found_in(recordings) if "was changed" in finding]


def another_boot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "boot_id", lambda: os.urandom(16))


def test_after_a_power_loss_what_was_synced_stays_and_the_rest_is_said_to_be_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a power loss the last lines may be missing: that is a notice, not a finding."""
    recordings = Recordings(tmp_path)

    async def run() -> None:
        writer = a_writer(tmp_path)
        for number in range(3):
            await writer.record(entry(a_line(number)))
        for segment in writer._segments.values():
            segment.sync()
        monkeypatch.setattr(writer, "_sync", lambda: None)
        for number in range(3, 5):
            await writer.record(entry(a_line(number)))
        writer._end = lambda: None  # type: ignore[method-assign]
        await asyncio.to_thread(writer.close)

    asyncio.run(run())
    (journal,) = recordings.segments.glob("*/*/*.jsonl")
    data = journal.read_bytes()
    journal.write_bytes(data[:-10])  # the last line is torn, the line before is complete
    copy = tmp_path.with_name(tmp_path.name + "-copy")
    shutil.copytree(tmp_path, copy, symlinks=True)
    saved = heads.path_of(Signer(recordings).folder_id, "w0").read_bytes()
    another_boot(monkeypatch)
    start(tmp_path)
    report = checked(recordings)
    assert report.findings == [] and any("power loss or removal" in notice for notice in report.notices)
    assert rows(recordings) == ["id-0000", "id-0001", "id-0002"]
    monkeypatch.undo()
    shutil.rmtree(tmp_path)
    copy.rename(tmp_path)
    heads.path_of(Signer(recordings).folder_id, "w0").write_bytes(saved)
    start(tmp_path)  # in the same boot no power loss explains it
    assert checked(recordings).findings


def test_a_restored_home_goes_on_from_what_was_signed(recordings: Recordings, tmp_path: Path) -> None:
    home = heads.folder(Signer(recordings).folder_id)
    backup = tmp_path / "backup"
    shutil.copytree(home, backup)
    start(recordings.root)
    write_lines(recordings.root, [a_line(n) for n in range(10, 13)], boot="d")
    write_lines(recordings.root, [a_line(n, "w3") for n in range(13, 15)], worker="w3", boot="d")
    shutil.rmtree(home)
    shutil.copytree(backup, home)
    start(recordings.root)
    assert rows(recordings) == [*WRITTEN, *(f"id-{n:04d}" for n in range(10, 15))]
    assert checked(recordings).findings == [] and checked(recordings).not_vouched == 0


def test_a_folder_whose_id_was_changed_is_not_adopted(recordings: Recordings) -> None:
    path = recordings.root / FORMAT_FILE
    path.write_text('{"format": 3, "id": "feedfeedfeedfeed"}')
    with pytest.raises(OSError, match=r"restore format\.json"):
        start(recordings.root)
    for checkpoint in recordings.root.glob("log/*/checkpoint"):
        checkpoint.unlink()  # checkpoints contain the id too
    with pytest.raises(OSError, match=r"restore format\.json"):
        start(recordings.root)
    path.unlink()
    with pytest.raises(OSError, match=r"restore format\.json"):
        start(recordings.root)
    path.write_text('{"format": 3, "id": "../../../etc"}')
    with pytest.raises(OSError, match="is not readable"):
        start(recordings.root)


def test_a_copy_is_refused_and_a_folder_that_was_moved_is_not(recordings: Recordings, tmp_path: Path) -> None:
    """Both folders would write the same heads."""
    shutil.copytree(recordings.root, tmp_path / "copy", symlinks=True)
    with pytest.raises(OSError, match="is a copy of"):
        start(tmp_path / "copy")
    with pytest.raises(OSError, match="is a copy of"):
        events.append(Recordings(tmp_path / "copy"), events.now("command", "read", "root"))
    shutil.rmtree(recordings.root)
    start(tmp_path / "copy")
    assert rows(Recordings(tmp_path / "copy")) == WRITTEN and checked(Recordings(tmp_path / "copy")).findings == []


def test_a_folder_that_was_emptied_begins_anew(recordings: Recordings) -> None:
    """Files that are put back later do not belong to the new folder."""
    kept = recordings.root.with_name("kept")
    recordings.root.rename(kept)
    recordings.root.mkdir()
    start(recordings.root)
    assert rows(recordings) == [] and checked(recordings).findings == []
    shutil.copytree(kept / "segments", recordings.segments, dirs_exist_ok=True)
    shutil.copytree(kept / "log" / "w0", recordings.log("w0"), dirs_exist_ok=True)
    start(recordings.root)
    assert rows(recordings) == [] and checked(recordings).findings == []


def as_an_older_version_left_it(recordings: Recordings) -> None:
    """Remove the heads, like a folder that an older version without heads signed."""
    signer = Signer(recordings)
    folder = recordings.log("w0")
    log = Log(recordings, "w0", signer)
    note = log.signed
    assert note is not None
    import dataclasses

    (folder / CHECKPOINT).write_bytes(signer.sign(dataclasses.replace(note, vouched=None)))
    log.close()
    shutil.rmtree(heads.folder(signer.folder_id))


def test_an_older_folder_is_adopted_once_and_not_vouched_for(recordings: Recordings) -> None:
    as_an_older_version_left_it(recordings)
    forge(recordings, "c/2027-01-15/w9-b-000001")  # without heads, the gateway cannot know the former files
    start(recordings.root)
    report = checked(recordings)
    assert report.findings == [] and report.not_vouched == 3 and len(rows(recordings)) == 8
    key = Signer(recordings).key
    (journal,) = recordings.segments.glob("*/*/w0-c-*.jsonl")
    assert not prove(recordings.root, key, "id-0005", f"c/2027-01-15/{journal.stem}", "w0")["vouched"]
    write_lines(recordings.root, [a_line(20)], boot="e")
    (fresh,) = recordings.segments.glob("*/*/w0-e-*.jsonl")
    assert prove(recordings.root, key, "id-0020", f"c/2027-01-15/{fresh.stem}", "w0")["vouched"]
    forge(recordings, "c/2027-01-15/w9-b-000002", number=667)
    start(recordings.root)
    assert "id-0667" not in rows(recordings) and checked(recordings).not_vouched == 3


def test_adoption_that_is_interrupted_goes_on(recordings: Recordings, monkeypatch: pytest.MonkeyPatch) -> None:
    as_an_older_version_left_it(recordings)
    with monkeypatch.context() as patch:
        patch.setattr(Log, "adopt", lambda log: 1 // 0)
        with pytest.raises(ZeroDivisionError):
            start(recordings.root)
    start(recordings.root)
    assert checked(recordings).findings == [] and checked(recordings).not_vouched == 2 and rows(recordings) == WRITTEN


def test_a_damaged_older_log_is_not_adopted(recordings: Recordings) -> None:
    as_an_older_version_left_it(recordings)
    path = recordings.log("w0") / EVENTS
    before = path.read_bytes()
    path.write_bytes(before.replace(b"root", b"toor"))
    assert start(recordings.root) == "w1"
    assert any(finding.where == f"log/w0/{EVENTS}" for finding in checked(recordings).findings)


def test_a_gateway_of_an_older_version_is_waited_for(recordings: Recordings) -> None:
    from weir.recorder.worker import try_claim

    as_an_older_version_left_it(recordings)
    lock = try_claim(recordings, "w0")
    assert lock is not None
    with pytest.raises(OSError, match="stop it, then start this one"):
        start(recordings.root)
    lock.release()
    start(recordings.root)


def test_holds_are_signed_and_nothing_goes_while_they_are_damaged(recordings: Recordings) -> None:
    start(recordings.root)
    hold = retention.Held(hold="h1", session="s", query="", reason="case 4711", by="root", since="")
    with keeping(recordings) as log:
        retention.hold(log, hold)
    path = recordings.log(KEEPER) / retention.HOLDS
    before = path.read_bytes()
    (recordings.root / "holds.json").write_text("[]")  # the holds file of older versions
    for changed in (b"", before.replace(b'"s"', b'"t"')):
        path.write_bytes(changed)
        with pytest.raises(DamagedLogError), keeping(recordings):
            pass
        assert any(finding.where == f"log/{KEEPER}/{retention.HOLDS}" for finding in checked(recordings).findings)
    path.write_bytes(before)
    with keeping(recordings) as log:
        assert retention.holds(log) == [hold]
        assert expired_now(recordings, log) == ([], [])
        retention.hold(log, retention.Released(hold="h1", by="root", time=""))
        assert retention.holds(log) == [] and len(expired_now(recordings, log)[0]) == 2


def expired_now(recordings: Recordings, log: Log) -> tuple[list[Sealed], list[str]]:
    return retention.unheld(recordings, log, {"c": 1}, None, 2e9)


def test_a_hold_is_looked_up_in_the_journals_too(recordings: Recordings) -> None:
    """A changed index cannot make held requests expire."""
    start(recordings.root)
    in_parquet(recordings)
    rewrite(recordings, "SELECT * REPLACE ('other' AS session_id)")
    assert rows(recordings, "SELECT DISTINCT session_id FROM flows") == ["other"]
    with keeping(recordings) as log:
        retention.hold(log, retention.Held(hold="h", session="s", query="", reason="x", by="root", since=""))
        assert expired_now(recordings, log) == ([], [])


def test_a_segment_that_was_changed_is_not_removed(recordings: Recordings) -> None:
    start(recordings.root)
    (journal,) = recordings.segments.glob("*/*/w0-b-*.jsonl")
    journal.write_bytes(journal.read_bytes().replace(b"alice", b"mallo", 1))
    with keeping(recordings) as log:
        found, (problem,) = expired_now(recordings, log)
    assert [entry.segment.partition("/w")[2][:3] for entry in found] == ["0-c"]
    assert "was changed after it was sealed" in problem


def in_parquet(recordings: Recordings) -> None:
    """Index like housekeeping, but let all rows count at once."""
    indexer = Indexer(recordings)
    indexer.add([segment for _, segment in live.segments(recordings.root)])
    indexer.close()
    for slot, _ in live.segments(recordings.root):
        live.clear(slot)
    rewrite(recordings, "SELECT * REPLACE (0::BIGINT AS since)")


def rewrite(recordings: Recordings, select: str, where: str = "true") -> None:
    """Rewrite the rows of each Parquet file of segments."""
    for path in recordings.index.glob("a-*.parquet"):
        with duckdb.connect() as connection:
            connection.execute(f"CREATE TABLE t AS {select} FROM read_parquet('{path}') WHERE {where}")
            connection.execute(f"COPY t TO '{path}' (FORMAT parquet)")


def replace_view(recordings: Recordings, sql: str) -> None:
    recordings.database.chmod(0o600)
    with duckdb.connect(str(recordings.database)) as connection:
        connection.execute(sql)


TAMPERED: dict[str, tuple[Callable[[Recordings], None], str]] = {
    "a user": (lambda r: rewrite(r, "SELECT * REPLACE ('mallory' AS \"user\")"), "differs from its journal line"),
    "a score": (lambda r: rewrite(r, "SELECT * REPLACE ([{'index': 1, 'score': 0.1, 'document': NULL}] AS results)"), "differs"),
    "a row less": (lambda r: rewrite(r, "SELECT *", "request_id IS NULL OR request_id != 'id-0002'"), "id-0002 is on record"),
    "rows that ended": (lambda r: rewrite(r, "SELECT * REPLACE (1::BIGINT AS until)"), "is on record"),
    "a row twice": (lambda r: shutil.copy(next(r.index.glob("a-*.parquet")), r.index / "a-000099.parquet"), "differs"),
    "another segment": (lambda r: rewrite(r, "SELECT * REPLACE ('c/2027-01-15/w9-x-000001' AS segment)"), "is a row of no sealed journal"),
    "a view": (lambda r: replace_view(r, "CREATE OR REPLACE VIEW events AS SELECT 1 AS kind"), "the view events is not"),
    "one view more": (lambda r: replace_view(r, "CREATE VIEW flows2 AS SELECT 1 AS kind"), "the view flows2 is not"),
    "a table": (lambda r: replace_view(r, "CREATE TABLE more (kind VARCHAR)"), "holds the table more"),
    "a function": (lambda r: replace_view(r, "CREATE FUNCTION epoch_us(x) AS 0"), "holds the function epoch_us"),
}  # fmt: skip


@pytest.mark.parametrize("how", TAMPERED)
def test_an_index_that_was_changed_is_found(recordings: Recordings, how: str) -> None:
    start(recordings.root)
    assert found_in(recordings) == []
    in_parquet(recordings)
    assert rows(recordings) == WRITTEN and found_in(recordings) == []
    change, expected = TAMPERED[how]
    change(recordings)
    assert checked(recordings).findings == []
    assert any(expected in finding for finding in found_in(recordings))


def pretend(recordings: Recordings, where: str) -> None:
    """Plant a file that the views read and that no worker wrote."""
    line = forge(recordings, "c/2027-01-15/w9-b-000001")
    journal = recordings.segments / "c/2027-01-15/w9-b-000001.jsonl"
    if where == "a file in live":
        shutil.move(journal, recordings.live / "w9-1.jsonl")
    elif where == "the empty file of live":
        shutil.move(journal, recordings.live / live.EMPTY)
    elif where == "a link out of segments":
        outside = recordings.make(recordings.root / "elsewhere") / "x.jsonl"
        shutil.move(journal, outside)
        (recordings.live / "w0-9.jsonl").symlink_to("../elsewhere/x.jsonl")
    elif where == "deeper in segments":
        deeper = recordings.segments / "c" / "2027-01-15" / "deeper"
        deeper.mkdir()
        shutil.move(journal, deeper / "x.jsonl")
        (recordings.live / "w0-9.jsonl").symlink_to("../segments/c/2027-01-15/deeper/x.jsonl")
    else:
        folder = recordings.make(recordings.log("_none"))
        (folder / EVENTS).write_bytes(b'{"time":"2027-01-15T08:00:00","worker":"x","kind":"stop","who":"m"}\n')
    assert line.request_id == "id-0666"


@pytest.mark.parametrize(
    "where", ["a file in live", "the empty file of live", "a link out of segments", "deeper in segments", "log/_none"]
)
def test_what_views_would_show_and_no_worker_wrote_is_found_and_cleared(recordings: Recordings, where: str) -> None:
    start(recordings.root)
    pretend(recordings, where)
    assert checked(recordings).findings
    start(recordings.root)
    assert checked(recordings).findings == []
    assert rows(recordings) == WRITTEN and rows(recordings, "SELECT count(*) FROM events") == [2]


def test_housekeeping_drops_links_to_what_is_not_ours(recordings: Recordings) -> None:
    """While the gateway runs, SQL shows a planted journal until the next round; verification reports it at once."""
    start(recordings.root)
    forge(recordings, "c/2027-01-15/w9-b-000001", link="w9-0.jsonl")
    (journal,) = recordings.segments.glob("*/*/w0-c-*.jsonl")
    journal.write_bytes(journal.read_bytes().replace(b"alice", b"mallo"))
    assert "id-0666" in rows(recordings) and len(checked(recordings).findings) == 2
    _, problems = upkeep.keep_round(recordings, {}, None, [])
    assert rows(recordings) == WRITTEN[:4] and len(problems) == 2
    assert any("is not ours" in problem for problem in problems)


def test_a_journal_that_vanishes_under_a_name_that_was_begun_is_not_filled_by_another(recordings: Recordings) -> None:
    """A name in the log does not make a file authentic: the head's record states how many lines are."""
    log = Log(recordings, "w0", Signer(recordings))
    segment = "c/2027-01-15/w0-e-000001"
    from weir.recorder.entries import Begun

    log.append(Begun(segment=segment, time=""))
    log.head.put(segment, Size(0, EMPTY))
    log.close()
    forge(recordings, segment, link="w0-5.jsonl")
    start(recordings.root)
    assert rows(recordings) == WRITTEN and found_in(recordings) == []


HOW = ["flip", "rename", "double", "drop", "reorder", "append", "copy", "forge", "link", "unlink"]


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    changes=st.lists(st.tuples(st.sampled_from(HOW), st.integers(0, 99), st.integers(0, 10**6)), min_size=1, max_size=4)
)
def test_whatever_is_done_to_the_folder_no_row_appears_that_was_not_written(
    recordings: Recordings, tmp_path: Path, changes: list[tuple[str, int, int]]
) -> None:
    """An attacker who knows the format makes random changes: bytes, lines, copies, links. Then the gateway starts."""
    saved, home = tmp_path / "saved", heads.folder(Signer(recordings).folder_id)
    if saved.exists():
        for folder, copy in ((recordings.root, saved / "recordings"), (home, saved / "home")):
            shutil.rmtree(folder)
            shutil.copytree(copy, folder, symlinks=True)
    else:
        shutil.copytree(recordings.root, saved / "recordings", symlinks=True)
        shutil.copytree(home, saved / "home")
    query = 'SELECT request_id, "user" FROM flows'
    written = set(rows(recordings, query))
    files = sorted(p for p in (*recordings.segments.rglob("*.*"), *recordings.log("w0").glob("*.jsonl")))
    for how, which, place in changes:
        change(recordings, how, files[which % len(files)], place)
    start(recordings.root)
    assert set(rows(recordings, query)) <= written
    for _, found in entries(recordings):
        assert not isinstance(found, Sealed) or not found.segment.endswith("forged")
    if not checked(recordings).findings:
        assert set(rows(recordings, "SELECT who FROM events")) == {"root 0", "root 1"}
        assert set(rows(recordings, query)) == written


def change(recordings: Recordings, how: str, path: Path, place: int) -> None:
    data = path.read_bytes() if path.is_file() else b""
    lines = data.splitlines(keepends=True)
    fresh = data
    if how == "flip" and data:
        fresh = (
            data[: place % len(data)]
            + bytes([data[place % len(data)] ^ (1 + place % 255)])
            + data[place % len(data) + 1 :]
        )
    elif how == "rename":
        fresh = data.replace(b"alice", b"mallo").replace(b"root", b"toor")
    elif how == "double":
        fresh = data + data
    elif how == "drop":
        fresh = b"".join(lines[: place % (len(lines) + 1)])
    elif how == "reorder":
        fresh = b"".join(reversed(lines))
    elif how == "append":
        fresh = data + encode_line(forge(recordings, "c/2027-01-15/w0-b-forged")) + b"\n"
    elif how == "copy":
        path.with_name(f"w1-{path.name}").write_bytes(data)
    elif how == "forge" and not (recordings.live / f"w0-{place + 100}.jsonl").is_symlink():
        forge(recordings, f"c/2027-01-15/w0-c-{place}-forged", link=f"w0-{place + 100}.jsonl")
    elif how == "link" and not (recordings.live / f"w1-{place + 100}.jsonl").is_symlink():
        (recordings.live / f"w1-{place + 100}.jsonl").symlink_to(os.path.relpath(path, recordings.live))
    if how == "unlink":
        path.unlink(missing_ok=True)
    elif fresh != data:
        path.write_bytes(fresh)


def test_a_lock_that_is_replaced_gives_no_worker_away(recordings: Recordings) -> None:
    """An attacker can replace the locks in the recordings, but not the lock on the head."""
    signer = Signer(recordings)
    lock, log = claim(recordings, signer)
    segment = "c/2027-01-15/w0-d-000001"
    log.head.put(segment, Size(0, EMPTY))
    (recordings.log("w0") / "lock").unlink()
    assert start(recordings.root) == "w1"
    assert log.head.segments[-1] == segment
    with pytest.raises(heads.HeadBusyError, match="another process writes this log"):
        Log(recordings, "w0", signer)
    log.close()
    lock.release()


def test_a_record_that_a_crash_tears_leaves_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "w0.head"
    head = heads.Head(path)
    head.put("events.jsonl", Size(1, b"1" * 32))
    head.put("c/2027-01-15/w0-b-000001", Size(5, b"5" * 32), synced=True)
    head.put("events.jsonl", Size(2, b"2" * 32))
    head.drop("c/2027-01-15/w0-b-000001")
    head.put("d/2027-01-15/w0-b-000002", Size(7, b"7" * 32))
    head.close()
    data = path.read_bytes()
    assert len(data) == 2048  # the dropped record is used again
    again = heads.Head(path)
    assert again.get("events.jsonl").now == Size(2, b"2" * 32) and again.segments == ["d/2027-01-15/w0-b-000002"]
    again.close()
    torn = bytearray(data)
    newest = 0 if data[16:24] > data[528:536] else 512
    torn[newest + 100] ^= 1
    path.write_bytes(torn)
    again = heads.Head(path)
    assert again.get("events.jsonl").now == Size(1, b"1" * 32)
    again.close()
    path.write_bytes(os.urandom(1024))
    with pytest.raises(OSError, match="is damaged"):
        heads.Head(path)


def test_what_the_head_cannot_hold_is_not_acknowledged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk of WEIR_HOME is full: the request is refused, and no file has more than the head's record."""
    full = False

    def pwrite(descriptor: int, data: bytes, offset: int, real: Callable[[int, bytes, int], int] = os.pwrite) -> int:
        if full:
            raise OSError(28, "No space left on device")
        return real(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)

    async def run() -> None:
        nonlocal full
        writer = a_writer(tmp_path)
        await writer.record(entry(a_line(0)))
        full = True
        with pytest.raises(RecorderUnavailable, match="full"):
            await writer.record(entry(a_line(1)))
        full = False
        await writer.record(entry(a_line(2)))
        await asyncio.to_thread(writer.close)

    asyncio.run(run())
    recordings = Recordings(tmp_path)
    catalog.create(recordings)
    assert rows(recordings) == ["id-0000", "id-0002"] and checked(recordings).findings == []


def test_quarantined_data_of_a_person_can_be_erased(recordings: Recordings) -> None:
    from weir.recorder import erasure

    forge(recordings, "c/2027-01-15/w9-b-000001")
    start(recordings.root)
    with keeping(recordings) as log:
        found = erasure.find(recordings, [], lambda connection: [b"mallory"], lambda line: False, ())
        assert len(found.quarantined) == 2 and found.count == 2
        indexer = Indexer(recordings)
        erasure.erase(recordings, indexer, log, found)
        indexer.close()
    assert not any(b"mallory" in path.read_bytes() for path in recordings.quarantine.rglob("*") if path.is_file())
    assert checked(recordings).findings == []
    assert any(isinstance(e, Quarantined) for _, e in entries(recordings))


def test_a_log_folder_cannot_put_words_into_what_is_signed(recordings: Recordings) -> None:
    """A line feed in a log's name would put an attacker's root into the second line of a signed checkpoint."""
    evil = recordings.root / "log" / "w0\n1\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
    others = [evil, recordings.root / "log" / ("a" * 253), recordings.root / "log" / "w7 1", recordings.log("strange")]
    for path in others:
        path.mkdir()
    os.mkdir(os.fsencode(recordings.root) + b"/log/\xff")
    assert len(checked(recordings).findings) == 5
    assert start(recordings.root) == "w0"
    names = {path.name for path in (recordings.root / "log").iterdir()}
    assert names == {"_none", "w0", KEEPER} and found_in(recordings) == []
    assert {name for name, _ in heads.all_of(Signer(recordings).folder_id)} == {"w0", KEEPER}
    with pytest.raises(OSError, match="not the name of a log"):
        Log(recordings, "w0\n1", Signer(recordings))
    with pytest.raises(ValueError, match="space or a control character"):
        Checkpoint("weir/x/w0\n1", Size(0, EMPTY), "").text()


@pytest.mark.parametrize("folder", ["segments", "live", "log", "quarantine", "index"])
def test_nothing_is_moved_or_written_through_a_link(recordings: Recordings, tmp_path: Path, folder: str) -> None:
    """If segments/ is a link to WEIR_HOME, its files are not segments, and repair would quarantine them."""
    home, path = tmp_path / "elsewhere", recordings.root / folder
    home.mkdir()
    (home / "evidence.key").write_bytes(b"k")
    if path.exists():
        path.rename(tmp_path / "old")
    path.symlink_to(home)
    with pytest.raises(OSError, match="is a link"):
        start(recordings.root)
    assert [p.name for p in home.iterdir()] == ["evidence.key"]
    assert any(finding.what == "is a link" for finding in checked(recordings).findings)


def a_hold(recordings: Recordings) -> None:
    hold = retention.Held(hold="h1", session="s", query="", reason="case 4711", by="root", since="")
    with keeping(recordings) as log:
        retention.hold(log, hold)


def test_a_view_in_the_folder_reads_nothing_when_a_hold_is_looked_up(recordings: Recordings, tmp_path: Path) -> None:
    start(recordings.root)
    a_hold(recordings)
    (tmp_path / "secret").write_text("secret")
    replace_view(recordings, "DROP VIEW flows")
    replace_view(
        recordings,
        f"CREATE VIEW flows AS SELECT error(content) AS segment, '' AS request_id, 's' AS session_id "
        f"FROM read_text('{tmp_path / 'secret'}')",
    )
    with keeping(recordings) as log:
        assert expired_now(recordings, log) == ([], [])


def erased_form(path: Path) -> None:
    lines = path.read_bytes().split(b"\n")[:-1]
    path.write_bytes(b"".join(b'{"erased":"%b"}\n' % leaf_hash(line).hex().encode() for line in lines))


def test_what_looks_erased_needs_a_tombstone(recordings: Recordings) -> None:
    """A hash replaces a line only if a tombstone names it: not for a hold in force, nor for a request under a hold."""
    start(recordings.root)
    a_hold(recordings)
    path = recordings.log(KEEPER) / retention.HOLDS
    before = path.read_bytes()
    erased_form(path)
    with keeping(recordings) as log, pytest.raises(OSError, match="has no tombstone"):
        expired_now(recordings, log)
    path.write_bytes(before)
    for journal in recordings.segments.rglob("*.jsonl"):
        erased_form(journal)
    with keeping(recordings) as log:
        found, problems = expired_now(recordings, log)
        assert found == [] and len(problems) == 2


def test_a_link_is_not_sent_as_a_checkpoint(recordings: Recordings, tmp_path: Path) -> None:
    from weir.recorder.publish import checkpoints

    start(recordings.root)
    (tmp_path / "secret").write_text("secret")
    for name in ("x", "w7"):
        (recordings.log(name)).mkdir()
        (recordings.log(name) / CHECKPOINT).symlink_to(tmp_path / "secret")
    assert checkpoints(recordings.root).keys() == {"w0", KEEPER}


def test_a_hidden_file_in_live_and_a_second_link_are_found_and_cleared(recordings: Recordings) -> None:
    start(recordings.root)
    _, segment = next(live.segments(recordings.root))
    (recordings.live / "w7-1.jsonl").symlink_to(f"../segments/{segment}.jsonl")
    line = forge(recordings, "c/2027-01-15/w9-b-000001")
    shutil.move(recordings.segments / "c/2027-01-15/w9-b-000001.jsonl", recordings.live / ".x.jsonl")
    said = [finding.what for finding in checked(recordings).findings]
    assert any("more than once" in what for what in said) and any("not a link" in what for what in said)
    start(recordings.root)
    assert line.request_id not in rows(recordings) and rows(recordings) == WRITTEN and found_in(recordings) == []


def test_what_stands_in_the_place_of_an_erased_flow_is_found(recordings: Recordings) -> None:
    from weir.recorder import erasure

    start(recordings.root)
    (segment,) = (s for s in sealed_segments(recordings) if "w0-b" in s)
    with keeping(recordings) as log:
        indexer = Indexer(recordings)
        erasure.erase(recordings, indexer, log, erasure.Found(lines={segment: [3]}))
        indexer.close()
    assert checked(recordings).findings == []
    journal = recordings.segments / f"{segment}.jsonl"
    *lines, last, _ = journal.read_bytes().split(b"\n")
    journal.write_bytes(b"\n".join([*lines, last.partition(b",")[0] + b"}", b""]))  # without a flow position
    assert checked(recordings).findings


def test_a_changed_journal_is_not_proven(recordings: Recordings) -> None:
    start(recordings.root)
    (segment,) = (s for s in sealed_segments(recordings) if "w0-b" in s)
    journal = recordings.segments / f"{segment}.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b"alice", b"mallo"))
    with pytest.raises(NoProofError, match="differs from the signed"):
        prove(recordings.root, Signer(recordings).key, "id-0001", segment, "w0")


@pytest.mark.parametrize("file", [FILE, CHECKPOINT, EVENTS, "w7"])
def test_a_pipe_holds_nobody_up(recordings: Recordings, file: str) -> None:
    path = recordings.make(recordings.log("w7")) / FILE if file == "w7" else recordings.log("w0") / file
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    start(recordings.root)
    checked(recordings)


def test_a_head_that_was_lost_vouches_for_no_more_than_before(recordings: Recordings) -> None:
    as_an_older_version_left_it(recordings)
    start(recordings.root)
    before = checked(recordings).not_vouched
    heads.path_of(Signer(recordings).folder_id, "w0").unlink()
    start(recordings.root)
    assert checked(recordings).not_vouched == before == 2


def test_a_folder_is_adopted_once_nobody_writes_any_log_of_it(
    recordings: Recordings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines that an older version's processes write after heads are made would not be authentic."""
    from weir.recorder.worker import try_claim

    monkeypatch.setattr("weir.recorder.adoption._PATIENCE", 0.0)
    as_an_older_version_left_it(recordings)
    signer = Signer(recordings)
    live.prepare(recordings)
    for name in ("w3", "admin", KEEPER, "command"):
        busy = try_claim(recordings, name)
        assert busy is not None
        with pytest.raises(OSError, match="stop it"):
            adopt(recordings, signer)
        busy.release()
    adopt(recordings, signer)


def test_an_adoption_that_is_unfinished_keeps_no_second_worker_away(recordings: Recordings) -> None:
    """The first worker runs. One log was busy when it adopted the others."""
    from weir.recorder.worker import try_claim

    as_an_older_version_left_it(recordings)
    adopt(recordings, Signer(recordings))
    head = heads.Head(heads.path_of(Signer(recordings).folder_id, KEEPER))
    head.vouch(heads.PENDING)
    head.close()
    first = try_claim(recordings, "w0")
    assert first is not None
    assert start(recordings.root) == "w1"
    first.release()


def test_a_closed_head_writes_nowhere(tmp_path: Path) -> None:
    head = heads.Head(tmp_path / "w0.head")
    head.close()
    head.close()
    other = os.open(tmp_path / "other", os.O_RDWR | os.O_CREAT)  # it has the descriptor of the closed head now
    for write in (lambda: head.put("x", Size(1, EMPTY)), head.sync):
        with pytest.raises(OSError, match="is closed"):
            write()
    assert os.fstat(other).st_size == 0
    os.close(other)
