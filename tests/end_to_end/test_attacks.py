"""Attacks that once worked, each with the required result."""

import gzip
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from mitmproxy import io
from mitmproxy.http import HTTPFlow

from tests.end_to_end.gateway import (
    CREDENTIAL,
    PATIENCE,
    Gateway,
    Upstream,
    free_port,
    json_answer,
    raw_answer,
    token,
    write_policies,
)

REQUEST = {"model": "m", "query": "q", "documents": ["a", "b"]}
SETTINGS = """
unknown_operations: allow
rules: [{name: few, when: {documents: {gt: 2}}, effect: deny}]
masks: [{fields: ["$.ssn", "$.model", "$.results[*].relevance_score"], with: redact}]
"""


@pytest.fixture(scope="module")
def shared(
    tmp_path_factory: pytest.TempPathFactory, launch: Callable[..., Gateway]
) -> Iterator[tuple[Gateway, Upstream]]:
    folder, upstream, port = tmp_path_factory.mktemp("attacks"), Upstream(), free_port()
    write_policies(folder, port, upstream.port, SETTINGS)
    gateway = launch(folder, port, "-n", "--set", "weir_listen=true")
    yield gateway, upstream
    gateway.stop()
    upstream.stop()


def longest_stall(gateway: Gateway, attack: Callable[[], object]) -> float:
    """Return the seconds of the slowest other request while *attack* ran."""
    slowest, stop = 0.0, threading.Event()

    def ping() -> None:
        nonlocal slowest
        while not stop.is_set():
            started = time.monotonic()
            gateway.call("/nowhere")
            slowest = max(slowest, time.monotonic() - started)

    pinger = threading.Thread(target=ping)
    pinger.start()
    attack()
    stop.set()
    pinger.join()
    return slowest


def test_a_doctored_recording_cannot_send_the_credential_elsewhere(
    tmp_path: Path, upstream: Upstream, launch: Callable[..., Gateway]
) -> None:
    port, evil = free_port(), Upstream()
    write_policies(tmp_path, port, upstream.port)
    gateway = launch(tmp_path, port, "-n", "--set", "weir_listen=true")
    assert gateway.call(body=REQUEST, token=token()).status == 200
    gateway.stop()
    (flow,) = gateway.flows()
    flow.server_conn.via = ("http", ("127.0.0.1", evil.port))
    flow.server_conn.address = ("127.0.0.1", evil.port)
    doctored = tmp_path / "doctored.mitm"
    with doctored.open("wb") as file:
        io.FlowWriter(file).add(flow)
    replayed = launch(tmp_path, port, "-n", "-C", str(doctored), environment={"WEIR_TOKEN": token("operator")})
    replayed.process.wait(PATIENCE)
    assert evil.connections == 0 and len(upstream.seen) == 2
    evil.stop()


def test_a_recording_is_judged_by_its_own_connection_or_not_at_all(
    tmp_path: Path, upstream: Upstream, launch: Callable[..., Gateway]
) -> None:
    port = free_port()
    lenient = (
        f"version: 1\nconnection: a-lenient\nprofile: cohere\nupstream: http://127.0.0.1:{upstream.port}\n"
        "match: {path: /lenient}\naccess: {groups: [search]}\n"
    )
    write_policies(tmp_path, port, upstream.port, SETTINGS, lenient=lenient)
    gateway = launch(tmp_path, port, "-n", "--set", "weir_listen=true")
    assert gateway.call(body={**REQUEST, "documents": ["a"] * 3}, token=token()).json["rule"] == "few"
    gateway.stop()
    recording = sorted((tmp_path / "recordings/segments/reranker").glob("*/*.mitm"))[0]
    unnamed = tmp_path / "unnamed.mitm"
    with recording.open("rb") as source, unnamed.open("wb") as target:
        for flow in io.FlowReader(source).stream():
            assert isinstance(flow, HTTPFlow)
            flow.metadata.clear()
            io.FlowWriter(target).add(flow)
    for file in (recording, unnamed):
        options = ("--set", "weir_replay_allow=masked,writes")
        launch(tmp_path, port, "-n", "-C", str(file), *options, environment={"WEIR_TOKEN": token()}).process.wait(
            PATIENCE
        )
    assert upstream.connections == 0
    assert gateway.sql("SELECT problem FROM flows WHERE replay = 'request' ORDER BY request_id") == [
        ("denied-by-rule",), ("replay-refused",)]  # fmt: skip


def test_what_a_masked_recording_says_of_itself_is_not_believed(
    tmp_path: Path, upstream: Upstream, launch: Callable[..., Gateway]
) -> None:
    port = free_port()
    write_policies(tmp_path, port, upstream.port, "masks: [{fields: ['$.model'], with: hash}]\n")
    gateway = launch(tmp_path, port, "-n", "--set", "weir_listen=true")
    assert gateway.call(body=REQUEST, token=token()).status == 200
    gateway.stop()
    (flow,) = gateway.flows()
    flow.metadata["weir"] = flow.metadata["weir"].replace('"masked_request":true', '"masked_request":false')
    doctored = tmp_path / "doctored.mitm"
    with doctored.open("wb") as file:
        io.FlowWriter(file).add(flow)
    launch(tmp_path, port, "-n", "-C", str(doctored), environment={"WEIR_TOKEN": token()}).process.wait(PATIENCE)
    assert len(upstream.seen) == 1
    assert gateway.sql("SELECT problem FROM flows WHERE replay = 'request'") == [("replay-refused",)]


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json; charset = utf-7",
        "application/json; charset*=utf-7",
        "application/json; charset=utf-8; charset=utf-7",
    ],
)
def test_no_charset_but_the_one_that_was_read(shared: tuple[Gateway, Upstream], content_type: str) -> None:
    gateway, upstream = shared
    reached = upstream.connections
    answer = gateway.call(body=REQUEST, token=token(), headers={"Content-Type": content_type})
    assert answer.status == 415 and upstream.connections == reached
    assert (
        gateway.call(body=REQUEST, token=token(), headers={"Content-Type": "application/json; Charset=UTF-8"}).status
        == 200
    )
    assert upstream.seen[-1].headers["content-type"] == "application/json"


def test_members_that_differ_in_case_and_paths_that_resemble_known_ones(shared: tuple[Gateway, Upstream]) -> None:
    gateway, upstream = shared
    reached = upstream.connections
    for odd in ({"Documents": ["a"] * 9}, {"document\u017f": ["a"] * 9}, {"TOP_N": 100}):
        assert gateway.call(body={**REQUEST, **odd}, token=token()).problem == "unreadable-body"
    assert (
        gateway.call(body={"query": "q", "documents": ["a"], "Model": "x"}, token=token()).problem == "unreadable-body"
    )
    for method, path in (("POST", "/v2/rerank/"), ("POST", "/V2/Rerank")):
        assert gateway.call(f"/reranker{path}", REQUEST, token=token(), method=method).problem == "unknown-operation"
    wide = {**REQUEST, "documents": ["a"] * 9}
    for method in ("POST", "PUT", "PATCH"):  # judged alike
        assert gateway.call("/reranker/v2/rerank", wide, token=token(), method=method).problem == "denied-by-rule"
    assert upstream.connections == reached
    assert gateway.call("/reranker/v2/rerank", None, token=token(), method="DELETE").problem == ""
    assert upstream.seen[-1].head.startswith(b"DELETE /v2/rerank ")
    assert gateway.call("/reranker/v2/models", None, token=token(), method="GET").problem in ("", "upstream-unreadable")


@pytest.mark.parametrize("size", [9_000, 30_000, 20_000_000])
def test_a_long_request_line_stalls_nobody(shared: tuple[Gateway, Upstream], size: int) -> None:
    gateway, _ = shared
    line = b"GET /" + b"eyJ" * size + b" HTTP/1.1\r\nHost: x\r\n\r\n"

    def attack() -> None:
        try:
            assert gateway.raw(line)[:12] in (b"HTTP/1.1 414", b"")
        except (ConnectionResetError, BrokenPipeError):
            pass  # refused before it was sent

    assert longest_stall(gateway, attack) < 1.0
    assert gateway.sql("SELECT count(*) > 0 FROM flows") == [(True,)]


def test_heads_without_end_are_refused_at_64_kilobytes(shared: tuple[Gateway, Upstream]) -> None:
    gateway, _ = shared
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=PATIENCE) as connection:
        sent = 0
        try:
            while sent < 5_000_000:
                sent += connection.send(b"X-A: b\r\n" * 1000 if sent else b"GET / HTTP/1.1\r\n")
        except OSError:
            pass
        assert sent < 5_000_000 or connection.recv(100).startswith(b"HTTP/1.1 431")
    many = b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 500 + b"\r\n"
    assert gateway.raw(many).startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    "body",
    [
        b'{"query":"q","documents":["a"],"x":[' + b"{}," * 5_000_000 + b"{}]}",
        b'{"query":"q","documents":["a"],"model":"' + b"m" * 30_000_000 + b'"}',
    ],
)
def test_small_bodies_that_grow_are_refused_at_once(shared: tuple[Gateway, Upstream], body: bytes) -> None:
    gateway, upstream = shared
    reached, bomb = upstream.connections, gzip.compress(body)
    answers = []
    stall = longest_stall(
        gateway, lambda: answers.append(gateway.call(body=bomb, token=token(), headers={"Content-Encoding": "gzip"}))
    )
    assert answers[0].problem == "unreadable-body" and upstream.connections == reached and stall < 1.0


def test_the_index_holds_whatever_was_sent(shared: tuple[Gateway, Upstream]) -> None:
    gateway, upstream = shared
    with upstream.answering(json_answer({"results": [{"index": 10**30, "relevance_score": 10**400}]})):
        assert gateway.call(body={**REQUEST, "model": "m" * 3_000_000}, token=token()).status == 200
    assert gateway.call(body={**REQUEST, "top_n": 2**63}, token=token()).problem == "unreadable-body"
    assert gateway.call("/" + "a" * 60_000).problem == "target-too-long"
    assert gateway.call("/" + "a" * 8_000).problem == "unknown-connection"
    assert gateway.sql("SELECT max(length(path)) < 2000, max(length(model)) < 2000 FROM flows") == [(True, True)]


@pytest.mark.parametrize(
    "answer",
    [
        raw_answer(b'"123-45-6789"', "206 Partial Content", "Content-Type: application/json\r\n"),
        raw_answer(b'"123-45-6789"', headers="Content-Type: application/json\r\n"),
        raw_answer(b'ssn: 123-45-6789', headers="Content-Type: text/plain\r\n"),
        raw_answer(b'{"ssn":"123-45-6789"}', headers="Content-Type: application/json\r\nContent-Type: text/plain\r\n"),
        b'{"ssn":"123-45-6789"}\r\n\r\n',
        b'HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n{"ssn":"123-45-6789"}',
        b'HTTP/1.1 200 OK\r\nContent-Length: "123-45-6789"\r\n\r\n',
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n123-45-6789\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-Trailer: 123-45-6789\r\n\r\n",
        b"HTTP/1.1 200 123-45-6789\r\nX-A: a\x00b\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X-A: 123-45-6789\r\n" * 8000 + b"\r\n",
    ],
)  # fmt: skip
def test_nothing_unmasked_is_delivered_logged_or_recorded(shared: tuple[Gateway, Upstream], answer: bytes) -> None:
    gateway, upstream = shared
    with upstream.answering(answer):
        refused = gateway.call(body=REQUEST, token=token(), headers={"Range": "bytes=1-3"})
    assert refused.status == (200 if b"X-Trailer" in answer else 502)  # trailers are dropped, also with HTTP/2
    assert b"123-45-6789" not in refused.body and "123-45-6789" not in str(refused.headers)
    assert "range" not in upstream.seen[-1].headers
    assert "123-45-6789" not in "".join(gateway.log)
    for path in (gateway.recordings / "segments").rglob("*.*"):
        assert b"123-45-6789" not in path.read_bytes()


def test_masked_facts_are_masked_in_the_journal_too(shared: tuple[Gateway, Upstream]) -> None:
    gateway, upstream = shared
    with upstream.answering(json_answer({"results": [{"index": 0, "relevance_score": 0.987654}], "ssn": "1"})):
        answer = gateway.call(body={**REQUEST, "model": "SECRETMODEL"}, token=token())
    assert answer.json["results"][0]["relevance_score"] == 0  # a number stays a number
    for path in (gateway.recordings / "segments").rglob("*.*"):
        assert b"SECRETMODEL" not in path.read_bytes() and b"0.987654" not in path.read_bytes()


@pytest.mark.parametrize("spelling", ["\\u0073k-", "%73k", "&#x2F;", "hex"])
def test_a_credential_spelled_otherwise_does_not_come_back(shared: tuple[Gateway, Upstream], spelling: str) -> None:
    gateway, upstream = shared
    spelled = {
        "\\u0073k-": CREDENTIAL.replace("s", "\\u0073").replace("/", "\\u002f"),
        "%73k": CREDENTIAL.replace("/", "%2f"),
        "&#x2F;": CREDENTIAL.replace("/", "&#x2F;"),
        "hex": CREDENTIAL.encode().hex(),
    }[spelling]
    with upstream.answering(
        raw_answer(b'{"message":"' + spelled.encode() + b'","n":1}', headers="Content-Type: application/json\r\n")
    ):
        answer = gateway.call(body=REQUEST, token=token())
    assert answer.status == 200 and "***" in answer.json["message"]
    assert CREDENTIAL not in str(answer.json)


def test_a_token_in_odd_places_is_not_kept(shared: tuple[Gateway, Upstream]) -> None:
    gateway, _ = shared
    own = token()
    assert gateway.call(body={**REQUEST, "model": own, "user": own}, token=own).status == 200
    gateway.raw(f"{own} / HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    gateway.raw(f"GET / HTTP/1.1\r\nHost: {own}\r\n\r\n".encode())
    gateway.raw(f"GET /?x={own} HTTP/1.1\r\nHost: x\r\nUser-Agent: {own}\r\n\r\n".encode())
    gateway.raw(f"GET /{own} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {own}\r\n\r\n".encode())
    signature = own.rpartition(".")[2].encode()
    for path in (gateway.recordings / "segments").rglob("*.*"):
        assert signature not in path.read_bytes()
    assert signature.decode() not in "".join(gateway.log)


def test_undecodable_and_huge_tokens_are_401_and_recorded(shared: tuple[Gateway, Upstream]) -> None:
    gateway, _ = shared
    for value in (b"\xff\xfe\xfd\xfc\xfb\xfa\xf9", b"x" * 50_000):
        before = gateway.sql("SELECT count(*) FROM flows WHERE problem = 'invalid-token'")[0][0]
        head = (
            b"POST /reranker/v2/rerank HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "
            + value
            + b"\r\nContent-Length: 0\r\n\r\n"
        )
        assert gateway.raw(head).startswith(b"HTTP/1.1 401")
        assert gateway.sql("SELECT count(*) FROM flows WHERE problem = 'invalid-token'") == [(before + 1,)]


def test_trailers_of_a_request_are_a_clean_refusal(shared: tuple[Gateway, Upstream]) -> None:
    gateway, upstream = shared
    reached = upstream.connections
    head = f"POST /reranker/v2/rerank HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token()}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    body = json.dumps(REQUEST).encode()
    answer = gateway.raw(head.encode() + b"%x\r\n%b\r\n0\r\nX-Trailer: 1\r\n\r\n" % (len(body), body))
    assert answer.startswith(b"HTTP/1.1 400") and b"malformed-request" in answer and upstream.connections == reached


def test_an_upstream_whose_certificate_is_not_trusted_gets_no_request(
    tmp_path: Path, launch: Callable[..., Gateway]
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(1), now + timedelta(1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (tmp_path / "self-signed.pem").write_bytes(private + certificate.public_bytes(pem))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "self-signed.pem")
    received: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
                with connection, context.wrap_socket(connection, server_side=True) as secure:
                    received.append(secure.recv(65536))
            except ssl.SSLError:
                continue
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        port = free_port()
        write_policies(tmp_path, port, 1)
        file = tmp_path / "policies" / "reranker.yaml"
        file.write_text(
            file.read_text().replace("http://127.0.0.1:1", f"https://localhost:{listener.getsockname()[1]}")
        )
        gateway = launch(tmp_path, port, "-n", "--set", "weir_listen=true")
        answer = gateway.call(body=REQUEST, token=token())
        assert (answer.status, answer.problem) == (502, "upstream-unreachable")
        gateway.stop()
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(5)
    assert b"".join(received) == b""


def test_a_redirect_is_handed_to_the_caller_and_not_followed(shared: tuple[Gateway, Upstream]) -> None:
    gateway, upstream = shared
    elsewhere = Upstream()
    with upstream.answering(
        json_answer({}, "307 Temporary Redirect", f"Location: http://127.0.0.1:{elsewhere.port}/\r\n")
    ):
        answer = gateway.call(body=REQUEST, token=token())
    assert answer.status == 307 and answer.headers["location"].endswith(f":{elsewhere.port}/")
    assert elsewhere.connections == 0
    elsewhere.stop()


@pytest.mark.parametrize("body", [b"1\r\na\r\n" * 200_000 + b"0\r\n\r\n", b"1;" + b"x" * 20_000_000])
def test_crumbs_of_chunks_and_endless_chunk_lines_stall_nobody(shared: tuple[Gateway, Upstream], body: bytes) -> None:
    gateway, upstream = shared
    reached = upstream.connections
    head = b"POST /reranker/v2/rerank HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"

    def attack() -> None:
        try:
            assert gateway.raw(head + body)[:12] in (b"HTTP/1.1 401", b"")
        except (ConnectionResetError, BrokenPipeError):
            pass  # refused before it was sent

    assert longest_stall(gateway, attack) < 1.0 and upstream.connections == reached
    small = json.dumps(REQUEST).encode()
    chunked = b"".join(b"1\r\n%c\r\n" % byte for byte in small) + b"0\r\n\r\n"
    authorised = head[:-2] + f"Authorization: Bearer {token()}\r\nContent-Type: application/json\r\n\r\n".encode()
    assert gateway.raw(authorised + chunked).startswith(b"HTTP/1.1 200")


def test_a_recording_answers_only_for_its_own_connection(
    tmp_path: Path, upstream: Upstream, launch: Callable[..., Gateway]
) -> None:
    port = free_port()
    other = (
        f"version: 1\nconnection: other\nprofile: cohere\nupstream: http://127.0.0.1:{upstream.port}\n"
        "match: {host: other.test, path: /reranker}\naccess: {groups: [others]}\n"
    )
    write_policies(tmp_path, port, upstream.port, other=other)
    gateway = launch(tmp_path, port, "-n", "--set", "weir_listen=true")
    upstream.answer = lambda seen: json_answer(
        {"results": [], "secret": "ONLY-A"}, headers="Date: Mon, 01 Jan 99999 00:00:00 GMT\r\n"
    )
    assert gateway.call(body=REQUEST, token=token()).status == 200
    gateway.stop()
    upstream.stop()
    recording = sorted((tmp_path / "recordings/segments/reranker").glob("*/*.mitm"))[0]
    gateway = launch(
        tmp_path, port, "-n", "--set", "weir_listen=true", "-S", str(recording), "--set", "keepserving=true"
    )
    stranger = gateway.call(body=REQUEST, token=token("bob", "others"), headers={"Host": "other.test"})
    assert stranger.status == 502 and b"ONLY-A" not in stranger.body
    assert gateway.call(body=REQUEST, token=token()).json["secret"] == "ONLY-A"  # its date does not matter
    gateway.stop()


@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_nothing_follows_a_head_that_has_no_body(shared: tuple[Gateway, Upstream], status: str) -> None:
    gateway, upstream = shared
    with upstream.answering(raw_answer(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nEVIL", status)):
        answer = gateway.call(body=REQUEST, token=token())
    assert answer.body == b"" and gateway.call(body=REQUEST, token=token()).status == 200
