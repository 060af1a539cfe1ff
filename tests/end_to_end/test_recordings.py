"""Recordings of four workers: acknowledged requests survive all failures of a worker or of the disk."""

import contextlib
import hashlib
import http.client
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests import needs, processes
from tests.end_to_end.gateway import (
    MITMDUMP,
    PATIENCE,
    Gateway,
    Upstream,
    free_port,
    recorded_flows,
    token,
    write_policies,
)
from weir.cli.main import app
from weir.recorder.evidence import CHECKPOINT, Signer
from weir.recorder.folder import Recordings
from weir.recorder.verify import check

REQUEST = {"model": "m", "query": "q", "documents": ["a", "b"]}
#: Rounds of kill -9. WEIR_TEST_ROUNDS=50 sets another number.
ROUNDS = int(os.environ.get("WEIR_TEST_ROUNDS", "2"))
SHARED = ("-n", "--set", "weir_listen=true", "--set", "weir_reuse_port=true")


class Load:
    """Callers that run until `stop`, and remember every request that was answered with a ranking."""

    def __init__(self, gateway: Gateway, callers: int = 6) -> None:
        self.answered: list[str] = []
        self.statuses: dict[int, int] = {}
        self._stopping = threading.Event()
        self._gateway = gateway
        self._token = token()
        self._threads = [threading.Thread(target=self._call, daemon=True) for _ in range(callers)]
        for thread in self._threads:
            thread.start()

    def _call(self) -> None:
        while not self._stopping.is_set():
            try:
                answer = self._gateway.call(body=REQUEST, token=self._token)
            except (OSError, http.client.HTTPException):  # the worker was killed, perhaps during an answer
                continue
            self.statuses[answer.status] = self.statuses.get(answer.status, 0) + 1
            if answer.status == 200:
                self.answered.append(answer.headers["x-request-id"])

    def wait_for(self, count: int) -> None:
        """Wait until *count* more requests are answered."""
        until, deadline = len(self.answered) + count, time.monotonic() + PATIENCE
        while len(self.answered) < until:
            assert time.monotonic() < deadline, f"{len(self.answered)} answered, {self.statuses}"
            time.sleep(0.01)

    def stop(self) -> set[str]:
        """Stop the callers. Return the ids of the answered requests."""
        self._stopping.set()
        for thread in self._threads:
            thread.join(PATIENCE)
        return set(self.answered)


@contextlib.contextmanager
def fleet(
    launch: Callable[..., Gateway], folder: Path, upstream: Upstream, more: str = "", workers: int = 4
) -> Iterator[list[Gateway]]:
    """Start workers that share a port and a recordings folder."""
    port = free_port()
    write_policies(folder, port, upstream.port, more)
    gateways = [launch(folder, port, *SHARED) for _ in range(workers)]
    yield gateways
    for gateway in gateways:
        gateway.stop()


def verified(recordings: Path, *kept: bytes) -> list[str]:
    """Return the findings of verification."""
    report = check(recordings, Signer(Recordings(recordings)).key, kept)
    return [f"{finding.where}: {finding.what}" for finding in report.findings]


def opens_in_mitmdump(recordings: Path) -> None:
    """Read every file with stock mitmdump, without an addon of Weir."""
    paths = sorted((recordings / "segments").glob("*/*/*.mitm"))
    for path in random.sample(paths, min(3, len(paths))):
        done = processes.run("mitmdump", "-q", "-nr", path, folder=recordings)
        assert done.returncode == 0, done.stderr
    recorded_flows(recordings)  # read the other files with mitmproxy's reader, which raises if a file is torn


def test_kill_9_loses_nothing_that_was_answered(
    tmp_path: Path, upstream: Upstream, launch: Callable[..., Gateway]
) -> None:
    """Workers are killed one by one under load; each next start repairs the rest, while the others keep writing."""
    write = "writes: allow\nrecord: {intent: always}\n"
    with fleet(launch, tmp_path, upstream, write) as gateways:
        load = Load(gateways[0])
        kept: list[bytes] = []
        for _ in range(ROUNDS):
            load.wait_for(30)
            victim = gateways.pop(random.randrange(len(gateways)))
            victim.stop(signal.SIGKILL)
            gateways.append(launch(tmp_path, victim.port, *SHARED))
            kept += [path.read_bytes() for path in (tmp_path / "recordings/log").glob(f"w*/{CHECKPOINT}")]
        load.wait_for(30)
        answered = load.stop()
        recorded = {row[0] for row in gateways[0].sql("SELECT request_id FROM flows")}
        assert answered <= recorded
    assert len(recorded) == len(gateways[0].sql("SELECT request_id FROM flows"))
    opens_in_mitmdump(tmp_path / "recordings")
    flows = [flow.id for flow in recorded_flows(tmp_path / "recordings")]
    views = [row[0] for row in gateways[0].sql("SELECT request_id FROM flows ORDER BY 1")]
    assert sorted(flows) == views and len(set(views)) == len(views)
    assert gateways[0].sql("SELECT count(*) FROM intents") == [(0,)]
    sent = len(upstream.seen)
    assert len(views) >= sent  # all that reached the upstream, also those without a delivered answer
    assert verified(tmp_path / "recordings", *kept) == []


@pytest.mark.skipif(bool(needs.root("-")), reason=needs.root("mounting a small disk"))
def test_a_folder_that_takes_no_more_refuses_and_recovers(
    tmp_path: Path, upstream: Upstream, launch: Callable[..., Gateway]
) -> None:
    """Four workers use one small disk: it becomes full, then read-only; then the folder is moved away, then emptied."""
    disk = tmp_path / "disk"
    disk.mkdir()
    needs.mount("-t", "tmpfs", "-o", "size=16m", "tmpfs", str(disk))
    recordings, elsewhere = disk / "recordings", disk / "elsewhere"
    (tmp_path / "recordings").symlink_to(recordings)
    recordings.mkdir()
    try:
        with fleet(launch, tmp_path, upstream) as gateways:
            load = Load(gateways[0])
            load.wait_for(30)

            with (disk / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
                while True:
                    file.write(b"x" * 65536)
            refused(load)
            reached = len(upstream.seen)
            time.sleep(0.3)
            assert len(upstream.seen) == reached
            (disk / "filler").unlink()
            load.wait_for(30)

            # A second mount hides the first, which cannot be made read-only because files in it are open.
            assert os.system(f"mount --bind '{recordings}' '{recordings}'") == 0
            assert os.system(f"mount -o remount,ro,bind '{recordings}'") == 0
            refused(load)
            assert os.system(f"umount '{recordings}'") == 0
            load.wait_for(30)

            recordings.rename(elsewhere)
            refused(load)
            elsewhere.rename(recordings)
            load.wait_for(30)
            for gateway in gateways:
                gateway.wait_for("cannot record")
            before = set(load.answered)
            recorded = {row[0] for row in gateways[0].sql("SELECT request_id FROM flows")}
            assert before <= recorded
            opens_in_mitmdump(recordings)
            assert verified(recordings) == []

            shutil.rmtree(recordings / "segments")
            gateways[0].wait_for("was removed while it was written")
            refused_or_not = set(load.answered)
            load.wait_for(30)
            answered = load.stop() - refused_or_not
        after = {row[0] for row in gateways[0].sql("SELECT request_id FROM flows")}
        assert len(answered - after) <= 6  # requests that were answered during the removal
        assert any("no tombstone says why" in finding for finding in verified(recordings))
    finally:
        os.system(f"umount -l '{disk}'")


def refused(load: Load) -> None:
    """Wait until every request is refused."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        before = len(load.answered)
        time.sleep(0.4)
        if len(load.answered) == before and load.statuses.get(503):
            return
    raise AssertionError(f"still answered: {load.statuses}")


def test_what_is_sent_or_streams_is_on_record_before(
    tmp_path: Path, upstream: Upstream, launch: Callable[..., Gateway]
) -> None:
    """A write is recorded before it is sent, a stream before its first byte; after a kill, both are visible."""
    port = free_port()
    write_policies(tmp_path, port, upstream.port, "unknown_operations: allow\nwrites: allow\n")
    gateway = launch(tmp_path, port, "-n", "--set", "weir_listen=true")
    seen: list[Any] = []

    def answer(request: Any) -> Iterator[bytes]:
        seen.append(gateway.sql("SELECT operation, path FROM intents"))
        yield b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        yield b"d\r\ndata: first\n\n\r\n"
        time.sleep(20)

    upstream.answer = answer
    caller = threading.Thread(target=lambda: _quietly(lambda: gateway.call(body=REQUEST, token=token())), daemon=True)
    caller.start()
    deadline = time.monotonic() + PATIENCE
    while not gateway.sql("SELECT count(*) FROM intents")[0][0] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert seen == [[]]  # a ranking has no intent before it is sent; a stream has one before its first byte
    assert gateway.sql("SELECT operation FROM intents") == [("rerank",)]
    gateway.stop(signal.SIGKILL)
    again = launch(tmp_path, port, "-n", "--set", "weir_listen=true")
    again.wait_for("interrupted")
    ((status, error),) = again.sql("SELECT status, error FROM flows")
    assert status == 0 and error.startswith("interrupted")
    (flow,) = again.flows()
    assert flow.marked == ":warning:" and "interrupted" in flow.comment
    again.stop()
    assert verified(tmp_path / "recordings") == []


def test_a_restart_signs_nothing_that_the_gateway_did_not_write(
    tmp_path: Path, upstream: Upstream, launch: Callable[..., Gateway]
) -> None:
    """After a kill, an attacker with write access to the folder, but without a key, plants false exchanges."""
    port = free_port()
    write_policies(tmp_path, port, upstream.port)
    gateway = launch(tmp_path, port, *SHARED)
    ids = [gateway.call(body=REQUEST, token=token()).headers["x-request-id"] for _ in range(3)]
    gateway.stop(signal.SIGKILL)
    recordings = tmp_path / "recordings"
    (journal,) = (recordings / "segments").glob("*/*/*.jsonl")
    flows = journal.with_suffix(".mitm")
    real = flows.read_bytes(), journal.read_bytes()
    line = json.loads(real[1].splitlines()[0])
    flow = real[0][line["offset"] :][: line["length"]].replace(ids[0].encode(), ids[0][:-4].encode() + b"beef")
    forged_id = ids[0][:-4] + "beef"

    def forged(segment: str, offset: int) -> bytes:
        place = {"segment": segment, "offset": offset, "sha256": hashlib.sha256(flow).hexdigest()}
        return json.dumps({**line, **place, "request_id": forged_id, "user": "mallory"}).encode() + b"\n"

    stranger = journal.with_name(journal.name.replace("w0-", "w7-", 1))
    stranger.with_suffix(".mitm").write_bytes(flow)
    name = stranger.relative_to(recordings / "segments").with_suffix("").as_posix()
    stranger.write_bytes(forged(name, 0))
    (recordings / "live" / "w7-0.jsonl").symlink_to(f"../segments/{name}.jsonl")
    flows.write_bytes(real[0] + flow)
    journal.write_bytes(real[1] + forged(line["segment"], len(real[0])))
    assert "no log knows of it" in weir(tmp_path, "verify", code=1)
    again = launch(tmp_path, port, *SHARED)
    again.wait_for("quarantine")
    assert "1 finding" not in weir(tmp_path, "verify", "--index")
    assert {row[0] for row in again.sql("SELECT request_id FROM flows")} == set(ids)
    assert (flows.read_bytes(), journal.read_bytes()) == real
    assert "no request" in weir_output(tmp_path, "evidence", "prove", forged_id)
    assert json.loads(weir(tmp_path, "evidence", "prove", ids[0]))["vouched"] is True
    (note, *_) = [
        n for n in json.loads(weir(tmp_path, "verify", "--json"))["notices"] if n.startswith(f"segments/{name}")
    ]
    assert "unknown" in note
    again.stop()
    assert verified(recordings) == []
    opens_in_mitmdump(recordings)


def _quietly(call: Callable[[], Any]) -> None:
    with contextlib.suppress(Exception):
        call()


def test_bodies_may_be_left_out(tmp_path: Path, upstream: Upstream, launch: Callable[..., Gateway]) -> None:
    """With digests, equal bodies are recognisable; without recording, only refusals are written."""
    port = free_port()
    write_policies(tmp_path, port, upstream.port, "record: {bodies: digest, durability: synced}\n")
    gateway = launch(tmp_path, port, "-n", "--set", "weir_listen=true")
    for query in ("q", "q", "other"):
        assert gateway.call(body={**REQUEST, "query": query}, token=token()).status == 200
    rows = gateway.sql("SELECT request_digest, response_digest, query_digest FROM flows ORDER BY time")
    assert rows[0] == rows[1] and rows[0][0] != rows[2][0] and rows[0][1] == rows[2][1] and rows[0][2] != rows[2][2]
    assert all(not flow.request.content and not flow.response.content for flow in gateway.flows() if flow.response)
    assert not any("X-Weir-Replay-Key" in flow.request.headers for flow in gateway.flows())
    documents = gateway.sql("SELECT rank, index, document FROM rankings ORDER BY time, rank")
    assert documents[0][1:] == (1, documents[2][2]) and documents[0][2] != documents[1][2]
    write_policies(tmp_path, port, upstream.port, "record: {enabled: false}\n")
    gateway.process.send_signal(signal.SIGHUP)
    gateway.wait_for("reloaded by SIGHUP")
    assert gateway.call(body=REQUEST, token=token()).status == 200
    assert gateway.call(body=REQUEST, token=token("eve", "nobody")).status == 403
    assert gateway.sql("SELECT count(*) FROM flows") == [(4,)]
    gateway.stop()


def weir(folder: Path, *arguments: str, code: int = 0) -> str:
    """Run a command and return its output."""
    done = CliRunner().invoke(app, [*arguments, "--recordings", str(folder / "recordings")])
    assert done.exit_code == code, done.output
    return done.stdout


def weir_output(folder: Path, *arguments: str) -> str:
    """Return the output of a command, even if it fails."""
    return CliRunner().invoke(app, [*arguments, "--recordings", str(folder / "recordings")]).output


def check_script(gateway: Gateway, upstream: Upstream) -> None:
    """Run the exported script: the gateway gets all requests again, with the token, and no service is named."""
    policies = ["--policies", str(gateway.folder / "policies"), "--as", "curl", "--sql", "true"]
    script = weir(gateway.folder, "sessions", "export", *policies)
    assert script.count("curl -X") == 3 and str(upstream.port) not in script
    environment = {"PATH": os.environ["PATH"], "TOKEN": token("alice", "search")}
    before = gateway.sql("SELECT count(*) FROM flows")[0][0]
    done = subprocess.run(["sh", "-c", script], env=environment, capture_output=True, timeout=60, check=True)
    assert done.stdout.count(b'"results"') == 2 and b"denied-by-rule" in done.stdout
    paths = f"SELECT DISTINCT status, path FROM (FROM flows ORDER BY time DESC LIMIT {before})"
    assert set(gateway.sql(paths)) == set(gateway.sql("SELECT DISTINCT status, path FROM flows"))
    assert gateway.sql("SELECT count(*) FROM flows")[0][0] == 2 * before
    missing = subprocess.run(["sh", "-c", script], env={"PATH": os.environ["PATH"]}, capture_output=True, check=False)
    assert missing.returncode != 0 and b"set the token first" in missing.stderr


def test_recordings_are_found_read_and_taken_elsewhere(
    tmp_path: Path, upstream: Upstream, launch: Callable[..., Gateway]
) -> None:
    port = free_port()
    more = 'masks: [{fields: ["$.documents[*].user"], with: hash}]\nrules: [{name: small, when: {documents: {gt: 2}}, effect: deny}]\n'
    write_policies(tmp_path, port, upstream.port, more)
    gateway = launch(tmp_path, port, "-n", "--set", "weir_listen=true")
    body = {
        "model": "m",
        "query": "merger papers",
        "documents": [{"text": "one", "user": "bob"}, {"text": "two", "user": "eve"}],
    }
    first = gateway.call(body=body, token=token(), headers={"X-Session-Id": "case-1"})
    assert (
        gateway.call(body={**REQUEST, "documents": ["a"] * 3}, token=token(), headers={"X-Session-Id": "case-1"}).status
        == 403
    )
    assert gateway.call(body=REQUEST, token=token("carol", "search")).status == 200
    request_id = first.headers["x-request-id"]
    sessions = json.loads(weir(tmp_path, "sessions", "list", "--user", "alice", "--json"))
    assert [(s["requests"], s["refused"]) for s in sessions] == [(2, 1)]
    assert len(json.loads(weir(tmp_path, "sessions", "list", "--text", "MERGER", "--json"))) == 1
    assert len(json.loads(weir(tmp_path, "sessions", "list", "--text", "relevance_score", "--json"))) == 2  # of answers
    assert json.loads(weir(tmp_path, "sessions", "list", "--decision", "deny", "--status", "403", "--json")) == sessions
    shown = weir(tmp_path, "sessions", "show", sessions[0]["session"])
    assert "merger papers" in shown and "small" in shown and "2 exchanges" in shown and "0.9000" in shown
    assert "hash:" in shown and "bob" not in shown
    document = json.loads(weir(tmp_path, "sessions", "show", request_id, "--json"))[0]
    assert document["request"]["query"] == "merger papers" and document["results"][0]["score"] == 0.9
    target = tmp_path / "out.mitm"
    weir(tmp_path, "sessions", "export", sessions[0]["session"], "-o", str(target))
    assert subprocess.run([MITMDUMP, "-q", "-nr", target], check=False, timeout=60).returncode == 0
    assert target.stat().st_mode & 0o077 == 0
    har = json.loads(weir(tmp_path, "sessions", "export", request_id, "--as", "har"))
    assert har["log"]["entries"][0]["response"]["status"] == 200
    assert json.loads(weir(tmp_path, "sessions", "export", request_id, "--as", "jsonl"))["request_id"] == request_id
    check_script(gateway, upstream)
    assert (
        "nothing on record matches"
        in processes.run(
            "weir", "sessions", "show", "no-such", "--recordings", tmp_path / "recordings", folder=tmp_path
        ).stderr
    )
    script = "SELECT count(*) AS n\nFROM flows;\n.json\nSELECT 1 AS one;\n.views\nSELECT nonsense;\n.quit\n"
    done = processes.run("weir", "sql", "--recordings", tmp_path / "recordings", folder=tmp_path, input=script)
    assert done.returncode == 0
    assert (
        "│ 6 │" in done.stdout
        and '"one": 1' in done.stdout
        and "masked_fields" in done.stdout
        and "nonsense" in done.stderr
    )
    weir(tmp_path, "index", "export", str(tmp_path / "copy.duckdb"))
    kinds = {row[0] for row in gateway.sql("SELECT kind FROM events WHERE worker = 'command'")}
    assert kinds == {"read", "exported"}
    who = {row[0] for row in gateway.sql("SELECT who FROM events WHERE worker = 'command'")}
    assert len(who) == 1 and who.pop()
    shutil.rmtree(tmp_path / "recordings" / "index")
    assert "the index of" in weir_output(tmp_path, "sql", "SELECT 1") and gateway.wait_for("the index was removed")
    while (said := weir_output(tmp_path, "sql", "SELECT count(*) FROM flows", "--json")).startswith("weir: the index"):
        time.sleep(0.1)
    assert "6" in said
    gateway.stop()
    assert verified(tmp_path / "recordings") == []
    for path in (tmp_path / "recordings").rglob("*"):
        if not path.is_symlink():
            assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.policy("record: {keep: 90d, bodies: {keep: 1s}}\n")
def test_bodies_expire_and_rows_stay(gateway: Gateway) -> None:
    request_id = gateway.call(body=REQUEST, token=token()).headers["x-request-id"]
    folder, policies = gateway.folder, ("--policies", str(gateway.folder / "policies"))
    gateway.stop()  # seals the segment
    while not (planned := json.loads(weir(folder, "expire", "--dry-run", "--json", *policies))):
        time.sleep(0.1)
    assert planned[0]["removed"] == "bodies" and len(list(gateway.recordings.glob("segments/*/*/*.mitm"))) == 1
    assert json.loads(weir(folder, "expire", "--json", *policies)) == planned
    assert not list(gateway.recordings.glob("segments/*/*/*.mitm"))
    assert json.loads(weir(folder, "expire", "--json", *policies)) == []
    (shown,) = json.loads(weir(folder, "sessions", "show", request_id, "--json"))
    assert shown["status"] == 200 and "have expired" in shown["missing"] and shown["results"][0]["score"] == 0.9
    assert json.loads(weir(folder, "evidence", "prove", request_id))["vouched"] is True
    weir(folder, "sessions", "export", request_id, "--as", "mitm", code=1)
    assert "1 of 1 exchanges have expired" in weir_output(folder, "sessions", "export", request_id, "--as", "har")
    assert json.loads(weir(folder, "sessions", "export", request_id, "--as", "jsonl"))["status"] == 200
    assert verified(gateway.recordings) == []
    assert json.loads(weir(folder, "verify", "--index", "--json"))["bodies_expired"] == 1


def test_erasure_leaves_nothing_of_a_person_and_what_is_left_verifies(
    tmp_path: Path, upstream: Upstream, launch: Callable[..., Gateway]
) -> None:
    port = free_port()
    write_policies(tmp_path, port, upstream.port, 'masks: [{fields: ["$.documents[*].user"], with: hash}]\n')
    gateway = launch(tmp_path, port, "-n", "--set", "weir_listen=true")

    def send(who: str, about: str, session: str) -> str:
        body = {
            "model": "m",
            "query": "q",
            "documents": [{"text": "x", "user": about}, {"text": "y", "user": "nobody-else"}],
        }
        return gateway.call(body=body, token=token(who, "search"), headers={"X-Session-Id": session}).headers[
            "x-request-id"
        ]

    as_caller = send("mallory@example.com", "x", "s1")
    named = send("alice", "mallory@example.com", "s2")
    held = send("mallory@example.com", "x", "s3")
    other = send("alice", "bob@example.com", "s4")
    live = weir(tmp_path, "erase", "--subject", "mallory@example.com", "--dry-run")
    assert "0 rows" in live  # the journal is still written
    gateway.stop()
    weir(tmp_path, "hold", "add", "--sql", f"request_id = '{held}'", "--reason", "case 4711")
    kept = [path.read_bytes() for path in (tmp_path / "recordings/log").glob(f"*/{CHECKPOINT}")]
    weir(tmp_path, "erase", "--subject", "mallory@example.com", "--reason", "asked to")
    ids = {row[0] for row in gateway.sql("SELECT request_id FROM flows")}
    assert ids == {held, other}
    flows = {flow.id: flow for flow in gateway.flows()}
    assert as_caller not in flows and named not in flows and {held, other} <= set(flows)
    opens_in_mitmdump(tmp_path / "recordings")
    assert verified(tmp_path / "recordings", *kept) == []
    weir(tmp_path, "hold", "remove", json.loads(weir(tmp_path, "hold", "list", "--json"))[0]["hold"])
    weir(tmp_path, "erase", "--subject", "mallory@example.com", "--reason", "asked to")
    for path in (tmp_path / "recordings").rglob("*"):
        if path.is_file() and path.name != "events.jsonl":
            assert b"mallory" not in path.read_bytes(), path
    assert verified(tmp_path / "recordings", *kept) == []
    proof = json.loads(weir(tmp_path, "evidence", "prove", other))
    assert proof["request_id"] == other


def test_the_program_in_the_documentation_checks_a_proof(
    tmp_path: Path, upstream: Upstream, launch: Callable[..., Gateway]
) -> None:
    """The page needs only Python's standard library, and refuses a changed proof."""
    port = free_port()
    write_policies(tmp_path, port, upstream.port)
    gateway = launch(tmp_path, port, "-n", "--set", "weir_listen=true")
    ids = [gateway.call(body=REQUEST, token=token()).headers["x-request-id"] for _ in range(5)]
    program = Path(__file__).resolve().parents[2] / "docs/evidence/check_proof.py"
    key = weir(tmp_path, "evidence", "key").strip()

    def checked(proof: dict[str, Any]) -> bool:
        (tmp_path / "proof.json").write_text(json.dumps(proof))
        done = subprocess.run(
            [sys.executable, "-I", program, tmp_path / "proof.json", key],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode in (0, 1), done.stderr
        return done.returncode == 0

    deadline = time.monotonic() + PATIENCE
    while "no checkpoint covers it yet" in weir_output(tmp_path, "evidence", "prove", ids[2]):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    live = json.loads(weir(tmp_path, "evidence", "prove", ids[2]))
    assert "log" not in live and checked(live)
    gateway.stop()
    sealed = json.loads(weir(tmp_path, "evidence", "prove", ids[3]))
    assert "log" in sealed and checked(sealed)
    for proof in (live, sealed):
        assert not checked({**proof, "line": proof["line"].replace("alice", "mallory")})
        assert not checked({**proof, "checkpoint": proof["checkpoint"].replace("time 2", "time 3")})
        assert not checked({**proof, "journal": {**proof["journal"], "index": 0}})
    assert not checked({**sealed, "entry": sealed["entry"].replace('"lines":5', '"lines":6')})


def test_a_disk_that_refuses_writes_and_shows_nothing_is_noticed_by_the_first_failure(
    tmp_path: Path, upstream: Upstream, launch: Callable[..., Gateway]
) -> None:
    """The kernel refuses every write of the process (RLIMIT_FSIZE), while `stat` and `statvfs` show nothing."""
    with fleet(launch, tmp_path, upstream, workers=1) as gateways:
        load = Load(gateways[0])
        load.wait_for(30)
        pid = gateways[0].process.pid
        limits = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, limits[1]))
        refused(load)
        reached = len(upstream.seen)
        time.sleep(0.5)
        assert len(upstream.seen) == reached
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
        load.wait_for(30)
        answered = load.stop()
        recorded = [row[0] for row in gateways[0].sql("SELECT request_id FROM flows")]
        log = "".join(gateways[0].log)
    assert answered <= set(recorded) and len(set(recorded)) == len(recorded)
    sent = gateways[0].sql("SELECT count(*) FROM flows WHERE status = 200 OR error LIKE 'interrupted%'")
    assert sent == [(len(upstream.seen),)]  # also the requests that were on their way when the disk failed
    assert (log.count("cannot record"), log.count("recording works again")) == (1, 1)
    assert verified(tmp_path / "recordings") == []
