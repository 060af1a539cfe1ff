"""Checkpoints are sent to real targets, and recordings are readable for a group."""

import grp
import http.server
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests import needs
from tests.recorder.recording import a_line, write_lines

from weir.recorder import catalog, live
from weir.recorder.checkpoint import verify
from weir.recorder.evidence import Signer
from weir.recorder.folder import Recordings
from weir.recorder.publish import checkpoints, publish
from weir.recorder.upkeep import keep_round
from weir.recorder.verify import check


@pytest.fixture
def recordings(tmp_path: Path) -> Recordings:
    found = Recordings(tmp_path / "recordings")
    found.identify()
    live.prepare(found)
    write_lines(found.root, [a_line(n) for n in range(3)])
    return found


class Receiver:
    """A webhook that keeps the bodies that it receives, or refuses."""

    def __init__(self) -> None:
        self.received: list[tuple[str, bytes]] = []
        self.status = 200
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.received.append((self.headers["X-Weir-Worker"], body))
                self.send_response(receiver.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Log nothing."""

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/checkpoints"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.server.shutdown()
    found.server.server_close()


def test_a_webhook_is_sent_each_checkpoint_once(recordings: Recordings, receiver: Receiver) -> None:
    target = {"webhook": receiver.url, "seconds": 60}
    assert publish(recordings, [target], 1000.0) == []
    assert receiver.received == list(checkpoints(recordings.root).items())
    assert publish(recordings, [target], 2000.0) == [] and len(receiver.received) == 1  # no checkpoint is new
    write_lines(recordings.root, [a_line(9)], boot="c")
    assert publish(recordings, [target], 1030.0) == [] and len(receiver.received) == 1  # the target is not due yet
    assert publish(recordings, [target], 1061.0) == [] and len(receiver.received) == 2
    report = check(recordings.root, Signer(recordings).key, [note for _, note in receiver.received])
    assert report.findings == [] and report.kept == 2


def test_a_webhook_that_fails_is_told_of_and_tried_again(recordings: Recordings, receiver: Receiver) -> None:
    target = {"webhook": receiver.url, "seconds": 60}
    receiver.status = 500
    assert publish(recordings, [target], 1000.0) == ["checkpoints: the webhook answered 500"]
    receiver.status = 200
    assert publish(recordings, [target], 1001.0) == [] and len(receiver.received) == 2
    gone = {"webhook": "http://127.0.0.1:1/", "seconds": 60}
    assert "cannot be reached" in publish(recordings, [gone], 1000.0)[0]


def test_a_git_remote_gets_a_commit_each_time(recordings: Recordings, tmp_path: Path) -> None:
    remote = tmp_path / "audit.git"
    needs.skip_without("git")
    subprocess.run(["git", "init", "--quiet", "--bare", remote], check=True)
    target = {"git": str(remote), "branch": "checkpoints", "seconds": 1}
    catalog.create(recordings)
    for number in range(2):
        write_lines(recordings.root, [a_line(20 + number)], boot=f"g{number}")
        assert keep_round(recordings, {}, None, [{**target, "seconds": 0}])[1] == []
    log = subprocess.run(
        ["git", "-C", remote, "log", "--oneline", "checkpoints"], capture_output=True, text=True, check=True
    )
    assert len(log.stdout.splitlines()) == 2
    show = subprocess.run(["git", "-C", remote, "show", "checkpoints:w0"], capture_output=True, check=True)
    assert verify(show.stdout, Signer(recordings).key).worker == "w0"
    assert "failed" in publish(recordings, [{**target, "git": str(tmp_path / "none.git")}], 5000.0)[0]


def test_an_object_store_gets_objects_that_are_never_written_over(recordings: Recordings, tmp_path: Path) -> None:
    pytest.importorskip("obstore", reason="the extra `store` is not installed; run: scripts/setup")
    (tmp_path / "store").mkdir()
    target = {"store": (tmp_path / "store").as_uri(), "seconds": 0}
    assert publish(recordings, [target], 1000.0) == []
    write_lines(recordings.root, [a_line(9)], boot="c")
    assert publish(recordings, [target], 1001.0) == []
    kept = [path.read_bytes() for path in sorted((tmp_path / "store" / "w0").iterdir())]
    assert len(kept) == 2 and check(recordings.root, Signer(recordings).key, kept).findings == []


@pytest.mark.skipif(bool(needs.root("-")), reason=needs.root("giving files to another group"))
def test_a_readers_group_may_read_and_nobody_else(tmp_path: Path) -> None:
    group = next(g.gr_gid for g in grp.getgrall() if g.gr_gid not in (0, os.getgid()))
    recordings = Recordings(tmp_path / "recordings", group)
    recordings.identify()
    live.prepare(recordings)
    write_lines(recordings.root, [a_line(n) for n in range(3)], recordings=recordings)
    catalog.create(recordings)
    assert keep_round(recordings, {}, None, [])[1] == []
    seen = 0
    for path in (recordings.root, *recordings.root.rglob("*")):
        if path.is_symlink() or path.name == "lock" or "keeper" in path.parts:
            continue
        mode, seen = path.stat().st_mode & 0o777, seen + 1
        assert path.stat().st_gid == group, path
        assert mode == (0o750 if path.is_dir() else 0o440 if path.name == "index.duckdb" else 0o640), path
    assert seen > 12


@pytest.mark.skipif(bool(needs.root("-")), reason=needs.root("giving files to another group"))
def test_a_group_that_is_named_later_is_let_in_and_one_that_is_not_any_more_is_not(recordings: Recordings) -> None:
    catalog.create(recordings)
    group = next(g.gr_gid for g in grp.getgrall() if g.gr_gid not in (0, os.getgid()))
    Recordings(recordings.root, group).settle_modes()
    journal = next(recordings.segments.glob("*/*/*.jsonl"))
    assert (journal.stat().st_gid, journal.stat().st_mode & 0o777) == (group, 0o640)
    assert (recordings.root.stat().st_gid, recordings.root.stat().st_mode & 0o777) == (group, 0o750)
    assert recordings.database.stat().st_mode & 0o777 == 0o440
    recordings.settle_modes()
    assert {path.stat().st_mode & 0o077 for path in recordings.root.rglob("*") if not path.is_symlink()} == {0}
