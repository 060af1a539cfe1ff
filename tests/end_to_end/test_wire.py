"""Hostile bytes: in every case nothing reaches the upstream, the answer is ours, and the next request is unaffected."""

import gzip
import json
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from tests.end_to_end.gateway import (
    Gateway,
    Seen,
    Upstream,
    free_port,
    json_answer,
    raw_answer,
    token,
    write_policies,
)

REQUEST = {"model": "m", "query": "q", "documents": ["a", "b"]}
BODY = json.dumps(REQUEST).encode()


def head(*lines: str, line: str = "POST /reranker/v2/rerank HTTP/1.1", host: str = "Host: localhost") -> bytes:
    fields = [
        line,
        *([host] if host else []),
        f"Authorization: Bearer {token()}",
        "Content-Type: application/json",
        *lines,
    ]
    return ("\r\n".join(fields) + "\r\n\r\n").encode("latin-1")


LENGTH = f"Content-Length: {len(BODY)}"
BOMB = gzip.compress(b" " * 100_000_000)
HOSTILE = {
    "two lengths": lambda: head(LENGTH, "Content-Length: 1") + BODY,
    "length and chunked": lambda: head(LENGTH, "Transfer-Encoding: chunked") + BODY,
    "odd transfer encoding": lambda: head("Transfer-Encoding: gzip, chunked") + b"2\r\n{}\r\n0\r\n\r\n",
    "obsolete folding": lambda: head(LENGTH, "X-A: b\r\n c") + BODY,
    "bare CR": lambda: head(LENGTH, "X-A: b\rc") + BODY,
    "NUL": lambda: head(LENGTH, "X-A: b\0c") + BODY,
    "absolute target": lambda: head(LENGTH, line="POST http://169.254.169.254/reranker/v2/rerank HTTP/1.1") + BODY,
    "two hosts": lambda: head(LENGTH, "Host: other") + BODY,
    "no host": lambda: head(LENGTH, host="") + BODY,
    "dot segments": lambda: head(LENGTH, line="POST /reranker/../reranker/v2/rerank HTTP/1.1") + BODY,
    "escaped dots": lambda: head(LENGTH, line="POST /reranker/v2/%2e%2e/v2/rerank HTTP/1.1") + BODY,
    "escaped slash": lambda: head(LENGTH, line="POST /reranker/v2%2frerank HTTP/1.1") + BODY,
    "double slash": lambda: head(LENGTH, line="POST /reranker//v2/rerank HTTP/1.1") + BODY,
    "backslash": lambda: head(LENGTH, line="POST /reranker\\v2\\rerank HTTP/1.1") + BODY,
    "path parameter": lambda: head(LENGTH, line="POST /reranker/v2;x/rerank HTTP/1.1") + BODY,
    "overlong UTF-8": lambda: head(LENGTH, line="POST /reranker/%c0%ae%c0%ae/v2/rerank HTTP/1.1") + BODY,
    "path parameters": lambda: head(LENGTH, line="POST /reranker/..;/v2/rerank HTTP/1.1") + BODY,
    "NUL in path": lambda: head(LENGTH, line="POST /reranker/v2/rerank%00 HTTP/1.1") + BODY,
    "raw UTF-8 path": lambda: head(LENGTH, line="POST /reranker/v2/r\xe9rank HTTP/1.1") + BODY,
    "fragment": lambda: head(LENGTH, line="POST /reranker/v2/rerank#x HTTP/1.1") + BODY,
    "lower-case method": lambda: head(LENGTH, line="post /reranker/v2/rerank HTTP/1.1") + BODY,
    "authorization nominated": lambda: head(LENGTH, "Connection: Authorization") + BODY,
    "content type nominated": lambda: head(LENGTH, "Connection: close, content-type") + BODY,
    "websocket": lambda: head("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", line="GET /reranker/v2/rerank HTTP/1.1"),
    "not HTTP": lambda: b"\x16\x03hello\r\n\r\n",
    "half a head": lambda: b"POST /reranker HT\r\n\r\n",
    "CONNECT": lambda: head(line="CONNECT 169.254.169.254:80 HTTP/1.1"),
    "two tokens": lambda: head(LENGTH, f"Authorization: Bearer {token()}") + BODY,
    "duplicate key": lambda: head("Content-Length: 47") + b'{"query":"q","documents":["a"],"documents":[]}'.ljust(47),
    "two values": lambda: head(f"Content-Length: {2 * len(BODY)}") + BODY * 2,
    "UTF-16": lambda: head(f"Content-Length: {len(BODY.decode().encode('utf-16'))}") + BODY.decode().encode("utf-16"),
    "deep": lambda: head("Content-Length: 100000") + b"[" * 100_000,
    "multipart": lambda: head(LENGTH, "Content-Type: multipart/form-data; boundary=x") + BODY,
    "unknown encoding": lambda: head(LENGTH, "Content-Encoding: compress") + BODY,
    "an encoding of encodings": lambda: head(LENGTH, "Content-Encoding: gzip, gzip") + BODY,
    "bomb": lambda: head(f"Content-Length: {len(BOMB)}", "Content-Encoding: gzip") + BOMB,
    "too large": lambda: head("Content-Length: 40000000") + b"x" * 100,
}  # fmt: skip


@pytest.fixture(scope="module")
def shared(
    tmp_path_factory: pytest.TempPathFactory, launch: Callable[..., Gateway]
) -> Iterator[tuple[Gateway, Upstream]]:
    """One gateway for all cases: the next request must be unaffected."""
    folder, upstream, port = tmp_path_factory.mktemp("wire"), Upstream(), free_port()
    write_policies(folder, port, upstream.port)
    gateway = launch(folder, port, "-n", "--set", "weir_listen=true")
    yield gateway, upstream
    gateway.stop()
    upstream.stop()


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_requests(shared: tuple[Gateway, Upstream], case: str) -> None:
    gateway, upstream = shared
    reached = upstream.connections
    answer = gateway.raw(HOSTILE[case]())
    status = answer[:12]
    assert status.startswith(b"HTTP/1.1 4") or answer == b"", answer
    if answer:
        assert b"urn:weir:problem:" in answer and b"mitmproxy" not in answer.lower() and b"<html" not in answer
    assert upstream.connections == reached
    assert gateway.call(body=REQUEST, token=token()).status == 200


def test_what_a_header_claims_has_no_effect(shared: tuple[Gateway, Upstream]) -> None:
    gateway, upstream = shared
    headers = {
        "X-HTTP-Method-Override": "DELETE", "X-Original-URL": "/admin", "X-Forwarded-User": "root", "X_Forwarded_User": "root",
        "X-Weir-Replay-Key": "x", "Proxy-Authorization": "Basic eDp5", "Upgrade": "h2c", "HTTP2-Settings": "AAM", "Expect": "",
    }  # fmt: skip
    assert gateway.call(body=REQUEST, token=token(), headers=headers).status == 200
    assert not {name.lower() for name in headers} & set(upstream.seen[-1].headers)


def test_a_token_does_not_go_upstream_in_another_header(shared: tuple[Gateway, Upstream]) -> None:
    gateway, upstream = shared
    mine = token()
    assert gateway.call(body=REQUEST, token=mine, headers={"X-Copy": f"it is {mine}!", "X-Kept": "y"}).status == 200
    assert mine.encode() not in upstream.seen[-1].raw and upstream.seen[-1].headers["x-kept"] == "y"


def test_a_compressed_request_is_judged_and_sent_decoded(shared: tuple[Gateway, Upstream]) -> None:
    gateway, upstream = shared
    answer = gateway.call(body=gzip.compress(BODY), token=token(), headers={"Content-Encoding": "gzip"})
    assert answer.status == 200
    assert upstream.seen[-1].body == BODY and "content-encoding" not in upstream.seen[-1].headers


def test_each_request_on_a_connection_is_judged_by_itself(shared: tuple[Gateway, Upstream]) -> None:
    gateway, upstream = shared
    reached = len(upstream.seen)
    other = head(LENGTH).replace(b"Authorization: Bearer", b"X-Nothing: Bearer") + BODY
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
        statuses = []
        for request in (head(LENGTH) + BODY, other, head(LENGTH) + BODY):
            connection.sendall(request)
            received = b""
            while b"\r\n\r\n" not in received or not received.rstrip().endswith(b"}"):
                received += connection.recv(65536)
            statuses.append(received[9:12])
    assert statuses == [b"200", b"401", b"200"] and len(upstream.seen) == reached + 2


def test_a_caller_that_leaves_is_recorded(shared: tuple[Gateway, Upstream]) -> None:
    gateway, _ = shared
    query = "SELECT count(*) FROM flows WHERE error = 'HTTP/1 protocol error' AND problem IS NULL AND status = 0"
    before = gateway.sql(query)[0][0]
    with socket.create_connection(("127.0.0.1", gateway.port)) as connection:
        connection.sendall(head("Content-Length: 1000") + b"only a part")
    deadline = time.monotonic() + 10
    while gateway.sql(query)[0][0] == before:
        assert time.monotonic() < deadline


@pytest.mark.parametrize(
    "answer", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
               b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: tcp\r\n\r\nraw",
               b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Encoding: zip\r\nContent-Length: 2\r\n\r\n{}"],
)  # fmt: skip
def test_an_upstream_that_does_not_speak_http_is_a_502_of_ours(shared: tuple[Gateway, Upstream], answer: bytes) -> None:
    gateway, upstream = shared
    with upstream.answering(answer):
        refused = gateway.call(body=REQUEST, token=token())
    assert refused.status == 502 and refused.problem.startswith(("upstream-", "response-"))
    assert str(upstream.port).encode() not in refused.body
    assert gateway.call(body=REQUEST, token=token()).status == 200


def ask(connection: socket.socket, query: str) -> bytes:
    """One request on a connection that stays; its answer, head and all."""
    body = json.dumps({**REQUEST, "query": query}).encode()
    connection.sendall(head(f"Content-Length: {len(body)}") + body)
    received = b""
    while b"\r\n\r\n" not in received or len(received.partition(b"\r\n\r\n")[2]) < int(
        received.lower().partition(b"content-length: ")[2].partition(b"\r")[0]
    ):
        data = connection.recv(65536)
        assert data, received
        received += data
    return received


@pytest.mark.parametrize(
    "early", [b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 102 P\r\n\r\n" * 3]
)  # fmt: skip
def test_what_a_service_says_before_its_answer_is_passed_over(shared: tuple[Gateway, Upstream], early: bytes) -> None:
    """And its answer is that of the request that it is of."""
    gateway, upstream = shared

    def answer(seen: Seen) -> Iterator[bytes]:
        yield early
        time.sleep(0.2)
        yield json_answer({"id": json.loads(seen.body)["query"], "results": []})

    before = upstream.answer
    upstream.answer = answer
    try:
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
            for query in ("one", "two", "three"):
                received = ask(connection, query)
                assert received.startswith(b"HTTP/1.1 200 ") and f'"{query}"'.encode() in received
    finally:
        upstream.answer = before


@pytest.mark.parametrize(
    "answer",
    [b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\nhello", b"HTTP/1.1 102 x\r\n\r\n" * 50],
)  # fmt: skip
def test_a_service_that_breaks_its_word_is_let_go(shared: tuple[Gateway, Upstream], answer: bytes) -> None:
    gateway, upstream = shared
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection, upstream.answering(answer):
        assert ask(connection, "one").startswith(b"HTTP/1.1 502 ")
    assert gateway.call(body=REQUEST, token=token()).status == 200
    assert not [line for line in gateway.log if "failed on a connection" in line]


def test_a_challenge_of_another_proxy_is_not_handed_on(shared: tuple[Gateway, Upstream]) -> None:
    gateway, upstream = shared
    challenge = raw_answer(b"", "407 Proxy Authentication Required", "Proxy-Authenticate: Basic realm=x\r\n")
    with upstream.answering(challenge):
        assert gateway.call(body=REQUEST, token=token()).status == 502


def test_upstream_cookies_and_alternatives_do_not_reach_the_caller(shared: tuple[Gateway, Upstream]) -> None:
    gateway, upstream = shared
    with upstream.answering(
        json_answer({"results": []}, headers='Set-Cookie: session=upstreams-own\r\nAlt-Svc: h3=":443"\r\nX-Kept: 1\r\n')
    ):
        answer = gateway.call(body=REQUEST, token=token())
    assert "set-cookie" not in answer.headers and "alt-svc" not in answer.headers and answer.headers["x-kept"] == "1"
    assert not [f for f in gateway.flows() if f.response and "set-cookie" in f.response.headers]
