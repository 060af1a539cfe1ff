"""HTTP/1 of callers and services, as `tests/corpus/http.yaml` lists it: what is sent, answered and recorded."""

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.corpora import corpus
from tests.end_to_end.gateway import (
    CONNECTION,
    PATIENCE,
    Gateway,
    Upstream,
    free_port,
    json_answer,
    token,
    write_policies,
)

CORPUS = corpus("http")
BODY = json.dumps({"model": "m", "query": "q", "documents": ["a", "b"]}).encode()


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, launch: Callable[..., Gateway]
) -> Iterator[tuple[Gateway, Upstream]]:
    folder, upstream, port = tmp_path_factory.mktemp("http"), Upstream(), free_port()
    es = CONNECTION.format(upstream=upstream.port).replace("reranker", "es").replace("cohere", "elasticsearch")
    masked = CONNECTION.format(upstream=upstream.port).replace("reranker", "masked")
    masked += "masks: [{detect: [email], with: redact}]\n"
    write_policies(folder, port, upstream.port, es=es, masked=masked)
    gateway = launch(folder, port, "-n", "--set", "weir_listen=true")
    yield gateway, upstream
    gateway.stop()
    upstream.stop()


def exchanged(port: int, data: bytes, *, head_only: bool) -> bytes:
    """Send *data* and return everything until the final answer is complete, or the connection is closed."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.settimeout(PATIENCE)
        connection.sendall(data)
        received = b""
        while True:
            final = received.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
            head, end, body = final.partition(b"\r\n\r\n")
            length = next(
                (int(f.split(b":")[1]) for f in head.lower().split(b"\r\n") if f.startswith(b"content-length")), 0
            )
            if end and (head_only or len(body) >= length):
                return received
            if not (piece := connection.recv(65536)):
                return received
            received += piece


@pytest.mark.parametrize("case", CORPUS["requests"], ids=lambda case: case["name"])
def test_requests(site: tuple[Gateway, Upstream], case: dict[str, Any]) -> None:
    gateway, upstream = site
    method = case.get("method", "POST")
    upstream.answer = lambda seen: (
        json_answer({"results": []}).partition(b"{")[0] if method == "HEAD" else json_answer({"results": []})
    )
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
    body = (
        case.get("body", "BODY")
        .encode()
        .replace(b"BODY", BODY)
        .replace(b"CHUNKS", chunks)
        .replace(b"SIZE", b"%x" % len(BODY))
    )
    fields = case.get("head", "Content-Length: LENGTH").replace("LENGTH", str(len(BODY)))
    bearer = f"Authorization: Bearer {token()}\r\n" if case.get("token", True) else ""
    typed = "Content-Type: application/json\r\n" if method == "POST" else ""
    line = f"{method} {case.get('path', '/reranker/v2/rerank')} {case.get('version', 'HTTP/1.1')}\r\nHost: x\r\n"
    before, recorded = len(upstream.seen), len(gateway.flows())
    data = f"{case.get('before', '')}{line}{bearer}{typed}{fields}\r\n\r\n".encode() + body
    received = exchanged(gateway.port, data, head_only=method == "HEAD")
    assert received.startswith(b"HTTP/1.1 100 ") == case.get("continued", False)
    final = received.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert int(final.split()[1]) == case["status"], received
    assert len(upstream.seen) - before == case.get("sent", False)
    deadline = time.monotonic() + PATIENCE
    while len(gateway.flows()) == recorded:  # what was never a request is recorded after its answer
        assert time.monotonic() < deadline
    row = gateway.sql("SELECT status, problem FROM flows ORDER BY request_id DESC LIMIT 1")
    assert row == [(case["status"], case.get("problem"))]
    if case.get("sent") and "path" in case:
        sent = upstream.seen[-1].head.split()[1].decode()
        assert sent == case["path"].removeprefix("/es")


@pytest.mark.parametrize("case", CORPUS["answers"], ids=lambda case: str(case["status"]))
def test_answers(site: tuple[Gateway, Upstream], case: dict[str, Any]) -> None:
    gateway, upstream = site
    upstream.answer = lambda seen: (
        f"HTTP/1.1 {case['status']} Some reason\r\nRetry-After: 7\r\nContent-Type: application/json\r\n"
        "Content-Length: 13\r\n\r\n".encode()
        + b'{"error": ""}'
    )
    answer = gateway.call(body=json.loads(BODY), token=token())
    assert answer.status == case["delivered"]
    row = gateway.sql("SELECT status, upstream_status FROM flows ORDER BY request_id DESC LIMIT 1")
    assert row == [(case["delivered"], case["status"])]
    if case["delivered"] == case["status"]:
        assert answer.body == b'{"error": ""}' and answer.headers["retry-after"] == "7"
    assert gateway.call(body=json.loads(BODY), token=token()).status == case["delivered"]  # the connections still agree


@pytest.mark.parametrize("case", CORPUS["streams"], ids=lambda case: case["name"])
def test_streams(site: tuple[Gateway, Upstream], case: dict[str, Any]) -> None:
    """Each piece is delivered before the next one is sent; trailers are dropped, and the record has everything."""
    gateway, upstream = site
    received, took = b"", threading.Semaphore(0)
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {case['type']}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()

    def pieces() -> Iterator[bytes]:
        yield head
        for piece in case["pieces"]:
            yield b"%x\r\n%b\r\n" % (len(piece), piece.encode())
            assert took.acquire(timeout=PATIENCE)
        yield b"0\r\nX-Trailer: 1\r\n\r\n"

    upstream.answer = lambda seen: pieces()
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=PATIENCE)
    path = "/masked/v2/rerank" if case.get("masked") else "/reranker/v2/rerank"
    connection.request("POST", path, BODY, {"Authorization": f"Bearer {token()}", "Content-Type": "application/json"})
    answer = connection.getresponse()
    for piece in case.get("received", case["pieces"]):
        received += answer.read(len(piece))
        assert received.endswith(piece.encode())
        took.release()
    assert answer.read() == b"" and answer.status == 200
    connection.close()
    row = gateway.sql("SELECT outcome, response_bytes FROM flows ORDER BY request_id DESC LIMIT 1")
    assert row == [("complete", len(received))]
