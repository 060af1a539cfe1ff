"""Evidence: verification finds every change, removal and rollback, and reports no legitimate operation."""

import asyncio
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.recorder.recording import a_line, a_log, a_writer, entry, repair, write_lines

from weir.recorder import catalog, erasure, heads, live, retention
from weir.recorder.checkpoint import Checkpoint, CheckpointError, Size, parse_key, verify
from weir.recorder.entries import Removed
from weir.recorder.events import FILE as EVENTS
from weir.recorder.evidence import CHECKPOINT, FILE, KEEPER, DamagedLogError, Log, Signer, keeping, sealed_segments
from weir.recorder.flows import MissingFlowError, flow_of
from weir.recorder.folder import Recordings
from weir.recorder.indexer import Indexer
from weir.recorder.journal import decode_line
from weir.recorder.merkle import EMPTY, inclusion, leaf_hash, root_from, root_of
from weir.recorder.prove import prove
from weir.recorder.verify import Report, check


@pytest.fixture
def recordings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Recordings:
    """Make ten requests in four sealed segments, and one event."""
    monkeypatch.setattr("weir.recorder.segment.MAX_LINES", 3)
    write_lines(tmp_path, [a_line(n) for n in range(10)])
    found = Recordings(tmp_path)
    with a_log(found) as log:
        for kind in ("gateway_ready", "reload", "stop"):
            log.write(EVENTS, b'{"kind": "%b", "who": "root"}' % kind.encode())
        log.checkpoint()
    return found


def checked(recordings: Recordings, *kept: bytes) -> Report:
    return check(recordings.root, Signer(recordings).key, kept)


def note(recordings: Recordings, worker: str = "w0") -> bytes:
    return (recordings.log(worker) / CHECKPOINT).read_bytes()


@pytest.mark.smoke
def test_what_was_not_touched_verifies(recordings: Recordings) -> None:
    report = checked(recordings, note(recordings))
    assert report.findings == [] and report.not_covered == []
    assert (report.workers, report.segments, report.lines, report.kept) == (1, 4, 10, 1)


def covered_files(recordings: Recordings) -> list[Path]:
    log = recordings.log("w0")
    return [*sorted(recordings.segments.glob("*/*/*.*")), log / FILE, log / EVENTS, log / CHECKPOINT]


@settings(max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_any_byte_that_is_flipped_is_found(recordings: Recordings, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(covered_files(recordings)))
    before = path.read_bytes()
    place = data.draw(st.integers(0, len(before) - 1))
    flipped = bytearray(before)
    flipped[place] ^= data.draw(st.integers(1, 255))
    try:
        path.write_bytes(flipped)
        assert checked(recordings).findings, f"byte {place} of {path.name}"
    finally:
        path.write_bytes(before)
    assert not checked(recordings).findings


def changed_lines(lines: list[bytes], how: str) -> list[bytes]:
    return {
        "first removed": lines[1:],
        "last removed": lines[:-1],
        "middle removed": lines[:1] + lines[2:],
        "reordered": [lines[1], lines[0], *lines[2:]],
        "doubled": [*lines, lines[-1]],
        "all removed": [],
    }[how]


@pytest.mark.parametrize(
    "how", ["first removed", "last removed", "middle removed", "reordered", "doubled", "all removed"]
)
@pytest.mark.parametrize("which", ["segment", "log", "events"])
def test_lines_removed_and_reordered_are_found(recordings: Recordings, how: str, which: str) -> None:
    log = recordings.log("w0")
    path = {"segment": next(recordings.segments.glob("*/*/*1.jsonl")), "log": log / FILE, "events": log / EVENTS}[which]
    lines = path.read_bytes().splitlines(keepends=True)
    fresh = b"".join(changed_lines(lines, how))
    path.write_bytes(fresh)
    report = checked(recordings)
    grown = how == "doubled" and which != "segment"  # growing files may hold lines that no checkpoint covers yet
    assert bool(report.findings) != grown


@pytest.mark.parametrize("suffixes", [("mitm",), ("jsonl",), ("mitm", "jsonl")])
def test_a_segment_that_is_gone_is_found(recordings: Recordings, suffixes: tuple[str, ...]) -> None:
    for suffix in suffixes:
        next(recordings.segments.glob(f"*/*/*2.{suffix}")).unlink()
    (finding,) = checked(recordings).findings
    assert "no tombstone says why" in finding.what


def test_segments_swapped_and_strangers_are_found(recordings: Recordings) -> None:
    first, second = sorted(recordings.segments.glob("*/*/*.mitm"))[:2]
    for suffix in (".mitm", ".jsonl"):
        a, b = first.with_suffix(suffix), second.with_suffix(suffix)
        kept = a.read_bytes()
        a.write_bytes(b.read_bytes())
        b.write_bytes(kept)
    assert len(checked(recordings).findings) >= 2
    shutil.copy(first, first.with_name("w0-b-000099.mitm"))
    assert any("no log knows of it" in finding.what for finding in checked(recordings).findings)


def test_another_key_is_told_apart(
    recordings: Recordings, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = Signer(recordings).key
    assert parse_key(str(ours)) == ours
    monkeypatch.setenv("WEIR_HOME", str(tmp_path_factory.mktemp("other")))
    assert "not signed by this key" in checked(recordings).findings[0].what
    with pytest.raises(CheckpointError):
        parse_key(str(ours).replace("+", "-"))


def test_a_tail_cut_off_and_signed_again_is_found_with_a_kept_checkpoint(recordings: Recordings) -> None:
    """With ``WEIR_HOME`` one can make a shorter log that verifies, but none that agrees with a kept checkpoint."""
    kept = note(recordings)
    last = sorted(recordings.segments.glob("*/*/*.mitm"))[-1]
    last.unlink()
    last.with_suffix(".jsonl").unlink()
    path = recordings.log("w0") / FILE
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    with pytest.raises(DamagedLogError, match="7 lines, 8 were written"):
        Log(recordings, "w0", Signer(recordings))
    (recordings.log("w0") / CHECKPOINT).unlink()
    shutil.rmtree(heads.folder(Signer(recordings).folder_id))
    repair(recordings.root, "w0")
    report = checked(recordings)
    assert report.findings == [] and report.not_vouched == 3
    assert any("was rolled back" in finding.what for finding in checked(recordings, kept).findings)


def test_a_whole_folder_put_back_to_an_earlier_day_is_found_with_a_kept_checkpoint(
    recordings: Recordings, tmp_path_factory: pytest.TempPathFactory
) -> None:
    earlier = tmp_path_factory.mktemp("backup") / "recordings"
    shutil.copytree(recordings.root, earlier, symlinks=True)
    write_lines(recordings.root, [a_line(n) for n in range(20, 24)], boot="c")
    kept = note(recordings)
    assert checked(recordings, kept).findings == []
    back = Recordings(earlier)
    assert checked(back).findings == []
    assert any("was rolled back" in finding.what for finding in checked(back, kept).findings)
    shutil.rmtree(back.log("w0"))
    assert any("is gone" in finding.what for finding in checked(back, kept).findings)


def test_a_journal_that_is_still_written_is_covered(tmp_path: Path) -> None:
    """Between two checkpoints: signed lines must not change, and later lines are reported as not covered."""
    recordings = Recordings(tmp_path)

    async def run() -> bytes:
        writer = a_writer(tmp_path)
        for number in range(3):
            await writer.record(entry(a_line(number)))
        for segment in writer._segments.values():
            segment.sync()
        writer._sign()
        kept = note(recordings)
        report = checked(recordings, kept)
        assert report.findings == [] and report.lines == 3
        await writer.record(entry(a_line(3)))
        assert len(checked(recordings).not_covered) == 1
        await asyncio.to_thread(writer.close)
        return kept

    kept = asyncio.run(run())
    (journal,) = recordings.segments.glob("*/*/*.jsonl")
    assert checked(recordings, kept).findings == []
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([lines[1], lines[0], *lines[2:]]))
    assert len(checked(recordings, kept).findings) == 2  # one for the sealed segment, one for the signed lines


def test_a_live_segment_that_vanishes_while_the_gateway_is_down_stays_noticed(tmp_path: Path) -> None:
    recordings = Recordings(tmp_path)

    async def run() -> None:
        writer = a_writer(tmp_path)
        await writer.record(entry(a_line(0)))
        for segment in writer._segments.values():
            segment.sync()
        writer._sign()
        writer._end = lambda: None  # type: ignore[method-assign]
        await asyncio.to_thread(writer.close)

    asyncio.run(run())
    for path in list(recordings.segments.glob("*/*/*.*")):
        path.unlink()
    repair(tmp_path, "w0")
    assert "no tombstone says why" in checked(recordings).findings[0].what


def test_retention_leaves_tombstones_that_verify(recordings: Recordings) -> None:
    kept = note(recordings)
    catalog.create(recordings)
    for slot, _ in live.segments(recordings.root):
        live.clear(slot)
    with keeping(recordings) as log:
        indexer = Indexer(recordings)
        removed, problems = retention.retain(recordings, indexer, log, {"c": 1}, None, now=lambda: 1_800_000_005.0 + 1)
        indexer.close()
    assert 0 < len(removed) < 4 and problems == []
    report = checked(recordings, kept)
    assert report.findings == [] and report.removed == len(removed)
    assert {path.stem for path in recordings.segments.glob("*/*/*")}.isdisjoint(
        entry.segment.rpartition("/")[2] for entry in removed
    )
    (recordings.log(KEEPER) / FILE).write_bytes(b"")
    assert any("no tombstone" in finding.what for finding in checked(recordings, kept).findings)


def without_links(recordings: Recordings) -> None:
    catalog.create(recordings)
    for slot, _ in live.segments(recordings.root):
        live.clear(slot)


def test_bodies_expire_before_rows_and_what_is_left_verifies(recordings: Recordings) -> None:
    kept = note(recordings)
    without_links(recordings)
    before = [
        line for path in sorted(recordings.segments.glob("*/*/*.jsonl")) for line in path.read_bytes().splitlines()
    ]
    with keeping(recordings) as log:
        found, problems = retention.expire_bodies(recordings, log, {"c": 1}, None, now=lambda: 1_800_000_005.0 + 1)
        assert 0 < len(found) < 4 and problems == []
        assert retention.expire_bodies(recordings, log, {"c": 1}, None, now=lambda: 1_800_000_005.0 + 1) == ([], [])
    report = checked(recordings, kept)
    assert report.findings == [] and (report.expired, report.segments, report.removed) == (len(found), 4, 0)
    assert len(list(recordings.segments.glob("*/*/*.mitm"))) == 4 - len(found)
    after = [
        line for path in sorted(recordings.segments.glob("*/*/*.jsonl")) for line in path.read_bytes().splitlines()
    ]
    assert after == before
    assert repair(recordings.root, "w0").segments == 0  # a start changes nothing
    (journal,) = (recordings.segments / f"{entry.segment}.jsonl" for entry in found[:1])
    worker = journal.name.partition("-")[0]
    request = decode_line(journal.read_bytes().splitlines()[0])
    assert prove(recordings.root, Signer(recordings).key, request.request_id, found[0].segment, worker)["line"]
    with pytest.raises(MissingFlowError, match=r"the bodies of .* have expired"):
        flow_of(recordings, {"segment": found[0].segment, "offset": request.offset, "request_id": request.request_id})
    with keeping(recordings) as log:  # rows expire later
        indexer = Indexer(recordings)
        removed, problems = retention.retain(recordings, indexer, log, {"c": 1}, None, now=lambda: 1_800_000_005.0 + 1)
        indexer.close()
    assert {entry.segment for entry in removed} == {entry.segment for entry in found} and problems == []
    report = checked(recordings, kept)
    assert report.findings == [] and (report.expired, report.removed) == (0, len(found))


def test_flows_that_are_gone_need_a_tombstone_and_cannot_come_back(recordings: Recordings) -> None:
    without_links(recordings)
    with keeping(recordings) as log:
        (first, *_), _ = retention.expire_bodies(recordings, log, {"c": 1}, None, now=lambda: 1_800_000_005.0 + 1)
    flows = recordings.segments / f"{first.segment}.mitm"
    flows.write_bytes(b"other data")
    assert any("flow" in finding.what for finding in checked(recordings).findings)
    flows.unlink()
    assert checked(recordings).findings == []
    next(recordings.segments.glob("*/*/*.mitm")).unlink()
    assert "its .mitm is gone, and no tombstone says why" in [finding.what for finding in checked(recordings).findings]


def test_a_hold_keeps_bodies_and_a_crash_is_finished(recordings: Recordings) -> None:
    without_links(recordings)
    with keeping(recordings) as log:
        hold = retention.Held(hold="h", session="s", query="", reason="x", by="root", since="")
        retention.hold(log, hold)
        assert retention.expire_bodies(recordings, log, {"c": 1}, None, now=lambda: 2e9) == ([], [])
        retention.hold(log, retention.Released(hold="h", by="root", time=""))
        flows = sorted(recordings.segments.glob("*/*/*.mitm"))
        data = [path.read_bytes() for path in flows]
        assert len(retention.expire_bodies(recordings, log, {"c": 1}, None, now=lambda: 2e9)[0]) == 4
        for path, content in zip(flows, data, strict=True):  # as before the files were removed
            path.write_bytes(content)
        report = checked(recordings)
        assert report.findings == [] and len(report.not_covered) == 4
        assert retention.expire_bodies(recordings, log, {"c": 1}, None, now=lambda: 2e9) == ([], [])
    assert not any(path.exists() for path in flows) and checked(recordings).not_covered == []


def test_lines_without_bodies_can_be_erased(recordings: Recordings) -> None:
    without_links(recordings)
    with keeping(recordings) as log:
        retention.expire_bodies(recordings, log, {"c": 1}, None, now=lambda: 2e9)
        indexer = Indexer(recordings)
        found = erasure.find(
            recordings, list(sealed_segments(recordings)), lambda _: (), lambda line: line.user == "alice", ()
        )
        assert found.count > 0
        erasure.erase(recordings, indexer, log, found)
        indexer.close()
    assert checked(recordings).findings == [] and checked(recordings).erased == found.count


def test_a_tombstone_by_somebody_else_explains_nothing(recordings: Recordings) -> None:
    target = next(recordings.segments.glob("*/*/*2.jsonl"))
    segment = target.relative_to(recordings.segments).with_suffix("").as_posix()
    with a_log(recordings) as log:
        sealed = log.sealed[segment]
    forged = Removed(segment=segment, lines=sealed.lines, root=sealed.root, why="retention", time=sealed.time)
    import msgspec

    folder = recordings.make(recordings.log(KEEPER))
    (folder / FILE).write_bytes(msgspec.json.encode(forged) + b"\n")
    target.unlink()
    target.with_suffix(".mitm").unlink()
    assert any("no tombstone says why" in finding.what for finding in checked(recordings).findings)


@given(st.integers(0, 70), st.data())
def test_paths_lead_from_every_leaf_to_the_root_and_no_other_leaf(size: int, data: st.DataObject) -> None:
    hashes = [leaf_hash(b"%d" % n) for n in range(size)]
    assert (root_of(hashes) == EMPTY) == (size == 0)
    if not size:
        return
    index = data.draw(st.integers(0, size - 1))
    path = inclusion(hashes, index)
    assert root_from(hashes[index], index, size, path) == root_of(hashes)
    other = data.draw(st.integers(0, size - 1))
    if other != index:
        assert root_from(hashes[other], index, size, path) != root_of(hashes)
        assert root_from(hashes[index], other, size, path) != root_of(hashes)
    assert root_from(hashes[index], index, size, [*path, b"0" * 32]) is None


@pytest.mark.smoke
def test_the_root_is_that_of_rfc_6962() -> None:
    """Test vectors of the Certificate Transparency project's reference trees."""
    leaves = [b"", b"\x00", b"\x10", b" !", b"01", b"@ABC", b"PQRSTUVW", b"`abcdefghijklmno"]
    assert root_of(map(leaf_hash, leaves)).hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"
    assert (
        root_of(map(leaf_hash, leaves[:3])).hex() == "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"
    )


def test_a_checkpoint_says_what_it_was_told() -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from weir.recorder.checkpoint import public_key, sign

    private = Ed25519PrivateKey.generate()
    told = Checkpoint(
        "weir/x/w0",
        Size(3, os.urandom(32)),
        "2026-01-01T00:00:00.000000",
        {"c/d/s": Size(1, EMPTY)},
        {"events.jsonl": Size(2, EMPTY)},
    )
    signed = sign(told, "weir/x", private)
    key = public_key("weir/x", private)
    assert verify(signed, key) == told and told.worker == "w0"
    for broken in (
        signed.replace(b"3\n", b"4\n", 1),
        signed[:-2],
        signed.replace(b"weir/x ", b"weir/y "),
        b"",
        b"\xff",
        signed + b"x",
    ):
        with pytest.raises(CheckpointError):
            verify(broken, key)
