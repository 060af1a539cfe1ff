"""Bad input at start gives one clear line, a non-zero exit code, no traceback and no listener. Also workers and stop."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from mitmproxy.http import HTTPFlow

from tests import processes
from tests.end_to_end.gateway import (
    BUNDLE,
    CONNECTION,
    CREDENTIAL,
    PATIENCE,
    RANKING,
    Gateway,
    Seen,
    Upstream,
    free_port,
    json_answer,
    token,
    write_policies,
)
from tests.processes import Program

WEIR = Path(sys.executable).with_name("weir")
REQUEST = {"model": "m", "query": "q", "documents": ["a", "b"]}


def run(folder: Path, program: Program, *arguments: str, **environment: str) -> tuple[int, str]:
    """Run a program that is expected to end. Return its exit code and all output."""
    env = {"TEST_UPSTREAM_KEY": CREDENTIAL, **environment}
    done = processes.run(program, *arguments, folder=folder, environment=env)
    return done.returncode, done.stdout + done.stderr


def executed(folder: Path, program: Program, *arguments: str, **environment: str) -> tuple[int, str]:
    """As `run`, but execute the installed command instead of forking."""
    env = {**os.environ, "TEST_UPSTREAM_KEY": CREDENTIAL, **environment}
    command = [str(processes.BIN / program), *arguments]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=PATIENCE, check=False)
    return done.returncode, done.stdout + done.stderr


def both(folder: Path, port: int, expected: str, how: Callable[..., tuple[int, str]] = run, **environment: str) -> None:
    """Check that `weir run` and mitmdump refuse to start, and that both print the reason in one line."""
    for program, *arguments in (["weir", "run"], ["mitmdump", "-n", "--set", "weir_listen=true", "-s", str(BUNDLE)]):
        code, output = how(folder, program, *arguments, **environment)
        assert code == (2 if program == "weir" else 1), output
        assert sum(expected in line for line in output.splitlines()) == 1, output
        assert "Traceback" not in output
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()


def test_no_policies(tmp_path: Path) -> None:
    both(
        tmp_path, free_port(), "create it, or set another one with --policies, --set weir_policies=DIR or WEIR_POLICIES", executed
    )  # fmt: skip


@pytest.mark.smoke
def test_an_invalid_file(tmp_path: Path) -> None:
    port = free_port()
    write_policies(tmp_path, port, 1, "acces: {}\n")
    both(tmp_path, port, "policies/reranker.yaml:9:1: acces: there is no such setting. Did you mean 'access'?")


def test_an_unset_variable(tmp_path: Path) -> None:
    port = free_port()
    write_policies(tmp_path, port, 1)
    both(
        tmp_path,
        port,
        "the environment variable TEST_UPSTREAM_KEY is not set; set it before the gateway starts",
        TEST_UPSTREAM_KEY="",
    )


def test_an_unreadable_key(tmp_path: Path) -> None:
    port, home = free_port(), tmp_path / "home"
    write_policies(tmp_path, port, 1)
    home.mkdir()
    (home / "local-issuer.pem").write_text("not a key")
    (home / "local-issuer.pem").chmod(0o644)
    both(tmp_path, port, "local-issuer.pem: other users can read it; run: chmod 600", WEIR_HOME=str(home))
    (home / "local-issuer.pem").chmod(0o600)
    both(tmp_path, port, "policies/gateway.yaml:4:11: issuers[0]: ", WEIR_HOME=str(home))


@pytest.mark.parametrize(("program", "arguments"), [
    ("weir", ["run"]),
    ("weir", ["run", "--workers", "2"]),
    ("mitmdump", ["-n", "--set", "weir_listen=true"]),
    ("mitmdump", ["-n", "--set", "weir_listen=true", "--set", "weir_reuse_port=true"]),
    ("mitmdump", ["--listen-port", "0"]),
    ("mitmdump", ["--mode", "reverse:http://weir.invalid@127.0.0.1:{port}"]),
    ("mitmdump", ["--mode", "reverse:http://weir.invalid@{port}"]),
])  # fmt: skip
def test_an_occupied_port(tmp_path: Path, program: Program, arguments: list[str]) -> None:
    """The message names the address and the process; nothing is recorded."""
    port, user = free_port(), f"process {os.getpid()} ("
    write_policies(tmp_path, port, 1)
    script = ["-s", str(BUNDLE)] if program == "mitmdump" else []
    with socket.create_server(("127.0.0.1", port)):
        code, output = run(tmp_path, program, *(a.format(port=port) for a in arguments), *script)
    assert code == (2 if program == "weir" else 1)
    (line,) = (line for line in output.splitlines() if "weir: " in line)
    assert f":{port}" in line and "cannot listen" in line and "Address already in use by " in line and user in line
    assert "; stop the process that uses the port, or change `listen:`" in line
    assert "Traceback" not in output
    assert not any(path.is_file() for path in (tmp_path / "recordings").rglob("*"))


def test_an_occupied_port_of_mitmproxy_itself(tmp_path: Path) -> None:
    write_policies(tmp_path, free_port(), 1)
    with socket.create_server(("", 0)) as other:
        port = other.getsockname()[1]
        code, output = run(tmp_path, "mitmdump", "--listen-port", str(port), "-s", str(BUNDLE))
    assert code == 1 and f"weir: cannot listen on *:{port} (" in output
    assert "add --no-server --set weir_listen=true" in output


def test_unwritable_recordings(tmp_path: Path) -> None:
    port = free_port()
    write_policies(tmp_path, port, 1)
    (tmp_path / "recordings").write_text("a file is in the way")
    both(tmp_path, port, "make it writable, or change `recordings:` in gateway.yaml")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--set", "wier_policies=x"], "there is no option wier_policies"),
        (["--set", "stream_large_bodies=1m"], "the option stream_large_bodies is refused: a streamed request reaches the upstream before it is judged"),
        (["--set", "ssl_insecure=true"], "the option ssl_insecure is refused"),
        (["-w", "flows.mitm"], "the option save_stream_file is refused: it would write unmasked flows"),
        (["--ignore-hosts", ".*"], "the option ignore_hosts is refused"),
        (["--set", "modify_headers=/~q/Authorization/x"], "the option modify_headers is refused"),
        (["--mode", "socks5@0"], "--mode socks5@0 is not supported"),
        (["--mode", "regular@0"], "listens beyond loopback while the issuer 'local' is trusted"),
        (["--mode", "upstream:http://127.0.0.1:1@0"], "is not supported; use reverse:http://weir.invalid@HOST:PORT"),
        (["--mode", "reverse:http://weir.invalid@0.0.0.0:0"], "listens beyond loopback while the issuer 'local' is trusted"),
        (["--set", "weir_replay_allow=everything"], "weir_replay_allow: 'everything' is not one of writes, masked"),
    ],
)  # fmt: skip
def test_options_that_would_open_it(tmp_path: Path, arguments: list[str], expected: str) -> None:
    write_policies(tmp_path, free_port(), 1)
    code, output = run(tmp_path, "mitmdump", "--listen-port", str(free_port()), *arguments, "-s", str(BUNDLE))
    assert code == 1 and expected in output and "Traceback" not in output


def test_options_that_closedness_needs_are_set_whatever_was_asked_for(
    tmp_path: Path, upstream: Upstream, launch: Callable[..., Gateway]
) -> None:
    port = free_port()
    write_policies(tmp_path, port, upstream.port)
    mode = f"reverse:http://127.0.0.1:{upstream.port}@127.0.0.1:{port}"
    gateway = launch(
        tmp_path, port, "--mode", mode, "--set", "connection_strategy=eager", "--set", "rawtcp=true", "--set", "validate_inbound_headers=false",
    )  # fmt: skip
    with socket.create_connection(("127.0.0.1", port)):
        assert gateway.call(body=REQUEST).problem == "credentials-required"
        assert upstream.connections == 0  # a gateway that connects early would have connected
    assert gateway.call(body=REQUEST, token=token()).status == 200
    gateway.stop()


@pytest.mark.smoke
def test_weir_run_names_what_runs_and_stops_on_a_signal(
    tmp_path: Path, upstream: Upstream, launch: Callable[..., Gateway]
) -> None:
    port = free_port()
    write_policies(tmp_path, port, upstream.port)
    gateway = launch(tmp_path, port, command=[str(WEIR), "run"])
    banner = "".join(gateway.log)
    assert f"http://127.0.0.1:{port}" in banner and "reranker  /reranker -> http://127.0.0.1" in banner
    assert str(gateway.recordings) in banner and "for local/search" in banner
    assert gateway.call(body=REQUEST, token=token()).status == 200
    assert gateway.stop() == 0


def test_workers_share_a_port_and_stop_together(
    tmp_path: Path, upstream: Upstream, launch: Callable[..., Gateway]
) -> None:
    port = free_port()
    write_policies(tmp_path, port, upstream.port)
    gateway = launch(tmp_path, port, "run", "--workers", "2", program="weir", wait="weir: ready as worker w1")
    gateway.wait_for("weir: ready as worker w0")
    for _ in range(60):
        assert gateway.call(body=REQUEST, token=token()).status == 200
    assert gateway.sql("SELECT count(*), count(DISTINCT request_id), count(DISTINCT worker) FROM flows") == [
        (60, 60, 2)
    ]
    assert gateway.stop() == 0
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()


def test_a_killed_worker_is_started_again_while_the_others_serve(
    tmp_path: Path, upstream: Upstream, launch: Callable[..., Gateway]
) -> None:
    port = free_port()
    write_policies(tmp_path, port, upstream.port)
    gateway = launch(tmp_path, port, "run", "--workers", "2", program="weir", wait="weir: ready as worker w1")
    gateway.wait_for("weir: ready as worker w0")
    ready = gateway.wait_for("weir: ready as worker w1")
    pid = ready.partition("process ")[2].partition(",")[0]
    os.kill(int(pid), signal.SIGKILL)
    gateway.wait_for(f"weir: worker process {pid} was killed by SIGKILL; it is started again in 1 s")
    assert gateway.call(body=REQUEST, token=token()).status == 200
    while sum("weir: ready as worker w1" in line for line in list(gateway.log)) < 2:
        assert gateway.call(body=REQUEST, token=token()).status == 200
    while gateway.sql("SELECT count(DISTINCT worker) FROM flows") != [(2,)]:
        assert gateway.call(body=REQUEST, token=token()).status == 200
    assert gateway.stop() == 0


def test_a_stopping_gateway_finishes_what_is_in_flight(gateway: Gateway, upstream: Upstream) -> None:
    arrived, release = threading.Event(), threading.Event()

    def slow(seen: object) -> bytes:
        arrived.set()
        assert release.wait(PATIENCE)
        return json_answer({"results": [{"index": 0, "relevance_score": 1.0}]})

    upstream.answer = slow  # type: ignore[assignment]
    answers = []
    caller = threading.Thread(target=lambda: answers.append(gateway.call(body=REQUEST, token=token())))
    caller.start()
    assert arrived.wait(PATIENCE)
    gateway.process.send_signal(signal.SIGTERM)
    gateway.wait_for("stopped")
    release.set()
    caller.join(PATIENCE)
    assert gateway.process.wait(PATIENCE) == 0
    assert [a.status for a in answers] == [200]
    assert gateway.sql("SELECT status FROM flows") == [(200,)]


def test_a_gateway_that_cannot_wait_longer_still_records_what_it_sent(gateway: Gateway, upstream: Upstream) -> None:
    arrived, over = threading.Event(), threading.Event()

    def never(seen: object) -> bytes:
        arrived.set()
        over.wait(PATIENCE)
        return b""

    upstream.answer = never  # type: ignore[assignment]

    def call() -> None:
        try:
            gateway.call(body=REQUEST, token=token())
        except (OSError, http.client.HTTPException):
            pass

    caller = threading.Thread(target=call)
    caller.start()
    assert arrived.wait(PATIENCE)
    gateway.process.send_signal(signal.SIGTERM)
    assert gateway.process.wait(PATIENCE) == 0
    over.set()
    caller.join(PATIENCE)
    assert gateway.sql("SELECT error, request_bytes > 0 FROM flows") == [("not ended when the gateway stopped", True)]
    assert len(gateway.flows()) == 1


def test_a_stopping_gateway_delivers_nothing_after_its_record(
    tmp_path: Path, upstream: Upstream, launch: Callable[..., Gateway]
) -> None:
    """Answers, request bodies and a stream that come when it can wait no longer: each is recorded once, as it ended."""
    port, stopped = free_port(), threading.Event()
    chat = CONNECTION.format(upstream=upstream.port).replace("reranker", "chat").replace("cohere", "openai")
    write_policies(tmp_path, port, upstream.port, chat=chat)
    gateway = launch(tmp_path, port, "-n", "--set", "weir_listen=true")
    began = 0.0

    def answer(seen: Seen) -> Iterator[bytes]:
        if b"/completions " in seen.head:
            yield b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
            for n in range(500):
                yield b'data: {"choices": [{"index": 0, "delta": {"content": "word %d, "}}]}\n\n' % n
                time.sleep(0.05)
        elif b"late" in seen.body:
            assert stopped.wait(PATIENCE)
            time.sleep(max(0.0, began + 9.8 + int(json.loads(seen.body)["query"][4:]) * 0.02 - time.monotonic()))
            yield json_answer(RANKING)
        else:
            yield json_answer(RANKING)

    upstream.answer = answer  # type: ignore[assignment]
    got: dict[str, tuple[int, bytes]] = {}

    def call(name: str, path: str, body: dict[str, object]) -> None:
        with contextlib.suppress(OSError), httpx.stream(
            "POST", f"http://127.0.0.1:{port}{path}", json=body, timeout=PATIENCE,
            headers={"Authorization": f"Bearer {token(name)}"},
        ) as reply:  # fmt: skip
            got[name] = reply.status_code, b""
            with contextlib.suppress(httpx.RemoteProtocolError, httpx.ReadError):
                for piece in reply.iter_raw():
                    got[name] = reply.status_code, got[name][1] + piece

    stream = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "x"}]}
    calls = [(f"late{n}", "/reranker/v2/rerank", {**REQUEST, "query": f"late{n}"}) for n in range(20)]
    threads = [
        threading.Thread(target=call, args=args)
        for args in [*calls, ("streaming", "/chat/v1/chat/completions", stream)]
    ]
    for thread in threads:
        thread.start()
    data = json.dumps(REQUEST).encode()
    slow = [socket.create_connection(("127.0.0.1", port)) for _ in range(20)]
    for n, connection in enumerate(slow):
        head = f"POST /reranker/v2/rerank HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token(f'slow{n}')}\r\n"
        fields = f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
        connection.sendall((head + fields).encode() + data[:-1])
    while len(upstream.seen) < 21 or "streaming" not in got:
        time.sleep(0.02)
    began = time.monotonic()
    gateway.process.send_signal(signal.SIGTERM)
    stopped.set()
    for n, connection in enumerate(slow):
        time.sleep(max(0.0, began + 9.8 + n * 0.02 - time.monotonic()))
        with contextlib.suppress(OSError):
            connection.sendall(data[-1:])
    for n, connection in enumerate(slow):
        connection.settimeout(PATIENCE)
        with contextlib.suppress(OSError):
            if received := connection.recv(1000):
                got[f"slow{n}"] = int(received.split()[1]), b""
        connection.close()
    for thread in threads:
        thread.join(PATIENCE)
    assert gateway.process.wait(PATIENCE) == 0

    records: dict[str, HTTPFlow] = {}
    for flow in gateway.flows():
        user = json.loads(flow.metadata["weir"])["user"]
        assert user not in records, "recorded twice"
        records[user] = flow
    assert len(records) == 41
    for user, (status, delivered) in got.items():
        response = records[user].response
        assert response is not None and response.status_code == status, user
        assert response.raw_content is not None and response.raw_content.startswith(delivered), user
    sent = sum(json.loads(seen.body).get("query") == "q" for seen in upstream.seen)
    slowly = [json.loads(flow.metadata["weir"]) for user, flow in records.items() if user.startswith("slow")]
    assert 0 < sent <= sum(line.get("upstream_ms") is not None for line in slowly)
