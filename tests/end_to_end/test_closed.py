"""No failure lets a request pass: rooms that raise, removed scripts, forged flows, failing disks."""

import os
import shutil
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from tests import needs
from tests.end_to_end.certificates import Authority
from tests.end_to_end.gateway import (
    BUNDLE,
    CONNECTION,
    GATEWAY,
    PATIENCE,
    Gateway,
    Upstream,
    free_port,
    json_answer,
    token,
    write_policies,
)
from weir.path.paths import paths, permit
from weir.path.rooms import Rooms
from weir.tls import ca

REQUEST = {"model": "m", "query": "q", "documents": [{"text": "a", "user_id": "u1"}, {"text": "b", "user_id": "u2"}]}

POLICY = """
limits: [{rate: 100000/minute, per: user}]
masks: [{fields: ["$..user_id"], with: hash}]
"""


def _steps(kind: str, *phases: str) -> list[str]:
    """Every step of the gateway's own lists, as `breaker` names them. A new step is broken, too, without a line here."""
    rooms = Rooms.rehearsed()
    gateway: Any = SimpleNamespace(policies=None, until_ready=None, arrival=None, end_upstream=None, stream_failed=None)
    lists = paths(rooms, gateway, permit(lambda: None, rooms))
    return [f"{kind}.{phase}.{step.name}" for phase in phases for step in lists[kind, phase]]


BEFORE_UPSTREAM = [
    *_steps("request", "head", "request"), "record.record_body", "record.mask_record_head", "record.scrubber",
    "stack.requestheaders", "stack.request",
]  # fmt: skip
AFTER_UPSTREAM = [
    *_steps("request", "response_head", "response"), "credential.scrubbed", "records.write",
    "stack.responseheaders", "stack.response",
]  # fmt: skip
#: Parts without which recording is impossible.
UNRECORDED = {
    "stack.requestheaders",
    "stack.response",
    "records.write",
    "record.record_body",
    "record.mask_record_head",
    "record.scrubber",
}


@pytest.fixture(scope="module")
def breakable(
    tmp_path_factory: pytest.TempPathFactory, launch: Callable[..., Gateway]
) -> Iterator[tuple[Gateway, Upstream, Path]]:
    """Yield a gateway and the file that names the part that raises."""
    folder, upstream, port = tmp_path_factory.mktemp("breakable"), Upstream(), free_port()
    file = folder / "break"
    file.write_text("")
    write_policies(folder, port, upstream.port, POLICY)
    upstream.answer = lambda seen: json_answer(
        {"results": [{"index": 0, "relevance_score": 0.5, "document": {"user_id": "plain-user"}}]}
    )
    gateway = launch(
        folder, port, "-n", "--set", "weir_listen=true",
        scripts=(BUNDLE, Path(__file__).with_name("breaker.py")), environment={"WEIR_BREAK_FILE": str(file)},
    )  # fmt: skip
    yield gateway, upstream, file
    gateway.stop()
    upstream.stop()


#: Code of an extension may also raise what is no `Exception`.
EXITS_BEFORE = [f"{part}!" for part in BEFORE_UPSTREAM if part.endswith((".route", ".judge_request", ".mask_request"))]
EXITS_AFTER = [f"{part}!" for part in AFTER_UPSTREAM if part.endswith((".stream_answer", ".mask_answer"))]


@pytest.mark.parametrize("part", [*BEFORE_UPSTREAM, *EXITS_BEFORE])
def test_a_room_that_raises_before_sending_refuses(breakable: tuple[Gateway, Upstream, Path], part: str) -> None:
    gateway, upstream, file = breakable
    before, recorded = len(upstream.seen), len(gateway.flows())
    file.write_text(part)
    try:
        answer = gateway.call(body=REQUEST, token=token())
    finally:
        file.write_text("")
    assert (answer.status, answer.problem) == (503, "gateway-error")
    assert len(upstream.seen) == before
    if part not in UNRECORDED:
        assert len(gateway.flows()) == recorded + 1
        assert gateway.sql("SELECT problem FROM flows ORDER BY request_id DESC LIMIT 1") == [("gateway-error",)]
    assert gateway.call(body=REQUEST, token=token()).status == 200


@pytest.mark.parametrize("part", [*AFTER_UPSTREAM, *EXITS_AFTER])
def test_a_room_that_raises_after_sending_delivers_nothing(
    breakable: tuple[Gateway, Upstream, Path], part: str
) -> None:
    gateway, _, file = breakable
    recorded = len(gateway.flows())
    file.write_text(part)
    try:
        answer = gateway.call(body=REQUEST, token=token())
    finally:
        file.write_text("")
    if part == "stack.responseheaders":  # this hook only adds refusals; the response is judged without it too
        assert answer.status == 200 and b"plain-user" not in answer.body
        return
    assert (answer.status, answer.problem) == (503, "gateway-error")
    assert b"plain-user" not in answer.body
    if part not in UNRECORDED:
        assert len(gateway.flows()) == recorded + 1
    assert gateway.call(body=REQUEST, token=token()).status == 200


TUNNEL = [
    "wire.next_layer", "wire.arrival", *_steps("tunnel", "request"), "tls.caller", "tls.service",
    *_steps("request", "head", "request"), "stack.http_connect", "connections.tls_start_client",
    "connections.tls_start_server", "stack.requestheaders", "stack.request", "records.write",
]  # fmt: skip


@pytest.fixture(scope="module")
def tunnelled(
    tmp_path_factory: pytest.TempPathFactory, launch: Callable[..., Gateway]
) -> Iterator[tuple[Gateway, Upstream, Path, int]]:
    """Yield the same gateway as a proxy for a TLS service."""
    folder, port, explicit = tmp_path_factory.mktemp("tunnelled"), free_port(), free_port()
    authority = Authority(folder)
    issued = authority.issue("localhost")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(issued.certificate, issued.key)
    upstream = Upstream(tls=tls)
    ca.save(ca.make(["localhost", "127.0.0.1"]))
    file = folder / "break"
    file.write_text("")
    listen = f"listen: [http://127.0.0.1:{{port}}, {{{{url: 'http://127.0.0.1:{explicit}', mode: explicit}}}}]"
    secure = CONNECTION.replace("http://127.0.0.1:", "https://localhost:").format(upstream=upstream.port)
    write_policies(
        folder, port, 1, gateway=GATEWAY.replace("listen: [http://127.0.0.1:{port}]", listen),
        secure=secure.replace("reranker", "secure") + f"tls: {{ca: {authority.path}}}\n",
    )  # fmt: skip
    gateway = launch(
        folder, port, "-n", "--set", "weir_listen=true",
        scripts=(BUNDLE, Path(__file__).with_name("breaker.py")), environment={"WEIR_BREAK_FILE": str(file)},
    )  # fmt: skip
    yield gateway, upstream, file, explicit
    gateway.stop()
    upstream.stop()


@pytest.mark.parametrize("part", TUNNEL)
def test_a_tunnel_through_what_is_broken_leads_nowhere(
    tunnelled: tuple[Gateway, Upstream, Path, int], part: str
) -> None:
    gateway, upstream, file, explicit = tunnelled
    proxy = f"http://alice:{token()}@127.0.0.1:{explicit}"
    context = ssl.create_default_context(cafile=str(ca.certificate_path()))

    def status() -> int:
        try:
            with httpx.Client(proxy=proxy, verify=context) as client:
                return client.post(f"https://localhost:{upstream.port}/v2/rerank", json=REQUEST).status_code
        except httpx.HTTPError:
            return 0

    before = len(upstream.seen)
    file.write_text(part)
    try:
        assert status() in (0, 502, 503)
    finally:
        file.write_text("")
    assert len(upstream.seen) == before + (part == "records.write")  # its answer is withheld
    assert status() == 200
    assert not [line for line in gateway.log if "sk-secret-in-a-message" in line and part.startswith(("wire", "tls"))]


def test_what_a_room_was_working_on_is_not_logged(breakable: tuple[Gateway, Upstream, Path]) -> None:
    gateway, _, file = breakable
    file.write_text("request.request.judge_request")
    try:
        gateway.call(body=REQUEST, token=token())
    finally:
        file.write_text("")
    assert "judge_request" in gateway.wait_for("ZeroDivisionError in judge_request at")
    assert not [line for line in gateway.log if "sk-secret-in-a-message" in line and "judge_request" in line]


@pytest.mark.parametrize("damage", ["broken", "deleted"])
def test_the_script_may_break_or_vanish_under_live_reload(
    tmp_path: Path, upstream: Upstream, launch: Callable[..., Gateway], damage: str
) -> None:
    script, port = tmp_path / "gateway.py", free_port()
    shutil.copy(BUNDLE, script)
    write_policies(tmp_path, port, upstream.port)
    gateway = launch(tmp_path, port, "-n", "--set", "weir_listen=true", scripts=(script,))
    if damage == "broken":
        script.write_text("this is not Python")
        os.utime(script, (time.time() + 10, time.time() + 10))
        gateway.wait_for("error in script")
    else:
        script.unlink()
        gateway.wait_for("Un-loading script")
    assert gateway.call(body=REQUEST).problem == "credentials-required"
    assert upstream.seen == []
    assert gateway.call(body=REQUEST, token=token()).status == 200
    assert len(gateway.flows()) == 2
    gateway.stop()


def test_a_request_before_the_gateway_is_ready_is_refused(
    tmp_path: Path, upstream: Upstream, launch: Callable[..., Gateway]
) -> None:
    hold, port = tmp_path / "hold", free_port()
    hold.touch()
    slow = tmp_path / "slow.py"
    slow.write_text(
        "import asyncio, pathlib\n"
        f"hold = pathlib.Path({str(hold)!r})\n"
        "async def running():\n"
        "    while hold.exists():\n"
        "        await asyncio.sleep(0.01)\n"
    )
    write_policies(tmp_path, port, upstream.port)
    mode = f"reverse:http://127.0.0.1:{upstream.port}@127.0.0.1:{port}"
    gateway = launch(tmp_path, port, "--mode", mode, scripts=(BUNDLE, slow), wait="listening at")
    answer = gateway.call(body=REQUEST, token=token())
    assert (answer.status, answer.problem, answer.headers["retry-after"]) == (503, "gateway-not-ready", "1")
    assert upstream.seen == []
    hold.unlink()
    gateway.wait_for("weir: ready")
    assert gateway.call(body=REQUEST, token=token()).status == 200
    gateway.stop()


def test_nothing_in_a_flow_file_gives_authority(
    tmp_path: Path, upstream: Upstream, launch: Callable[..., Gateway]
) -> None:
    """A forged recording is sent with -C without an operator's token, and by a script that marks live flows."""
    port = free_port()
    write_policies(tmp_path, port, upstream.port)
    doctor = tmp_path / "doctor.py"
    doctor.write_text(
        "def requestheaders(flow):\n"
        '    flow.metadata.update(weir=\'{"effect": "allow"}\', approved=True, judged=True, recorded=True)\n'
        "    flow.comment = 'allowed: rerank by alice'\n"
    )
    gateway = launch(tmp_path, port, "-n", "--set", "weir_listen=true", scripts=(BUNDLE, doctor))
    assert gateway.call(body=REQUEST).problem == "credentials-required"
    assert gateway.call(body=REQUEST, token=token()).status == 200
    gateway.stop()
    recording = sorted((tmp_path / "recordings/segments/reranker").glob("*/*.mitm"))[0]
    reached = len(upstream.seen)
    replayed = launch(tmp_path, port, "-n", "-C", str(recording), wait="credentials-required")
    replayed.process.wait(timeout=PATIENCE)
    assert len(upstream.seen) == reached == 1


@pytest.mark.skipif(bool(needs.root("-")), reason=needs.root("mounting a small disk"))
def test_a_full_disk_refuses_and_recovers_by_itself(
    tmp_path: Path, upstream: Upstream, launch: Callable[..., Gateway]
) -> None:
    recordings, port = tmp_path / "recordings", free_port()
    recordings.mkdir()
    needs.mount("-t", "tmpfs", "-o", "size=3m", "tmpfs", str(recordings))
    try:
        write_policies(tmp_path, port, upstream.port)
        gateway = launch(tmp_path, port, "-n", "--set", "weir_listen=true")
        assert gateway.call(body=REQUEST, token=token()).status == 200
        filler = recordings / "filler"
        with filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * 65536)
            except OSError:
                pass
        gateway.wait_for("weir: ready")
        reached = _refused_soon(gateway, upstream)
        answer = gateway.call(body=REQUEST, token=token())
        assert (answer.status, answer.problem) == (503, "recorder-unavailable")
        assert len(upstream.seen) == reached
        filler.unlink()
        assert gateway.call(body=REQUEST, token=token()).status == 200
        assert "full" in gateway.wait_for("cannot record")
        gateway.stop()
        delivered = [f for f in gateway.flows() if f.response and f.response.status_code == 200]
        assert len(delivered) == 2
    finally:
        os.system(f"umount -l '{recordings}'")


def test_a_recordings_folder_that_vanishes_refuses_and_recovers_by_itself(gateway: Gateway, upstream: Upstream) -> None:
    assert gateway.call(body=REQUEST, token=token()).status == 200
    gateway.recordings.rename(gateway.folder / "elsewhere")
    reached = _refused_soon(gateway, upstream)
    assert gateway.call(body=REQUEST, token=token()).problem == "recorder-unavailable"
    assert len(upstream.seen) == reached
    (gateway.folder / "elsewhere").rename(gateway.recordings)
    assert gateway.call(body=REQUEST, token=token()).status == 200
    assert "gone" in gateway.wait_for("cannot record")


def _refused_soon(gateway: Gateway, upstream: Upstream) -> int:
    """Call until the recorder notices (at most 50 ms). Return how many requests reached the upstream."""
    deadline = time.monotonic() + PATIENCE
    while gateway.call(body=REQUEST, token=token()).problem != "recorder-unavailable":
        assert time.monotonic() < deadline, "the recorder never noticed"
    return len(upstream.seen)
