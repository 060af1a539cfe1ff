"""HTTP/1 of callers and services, as `tests/corpus/http.yaml` lists it: what is sent, answered and recorded."""

import contextlib
import functools
import gzip
import http.client
import itertools
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mitmproxy.http import HTTPFlow
from mitmproxy.net.http.http1.assemble import assemble_request
from typer.testing import CliRunner

from tests.corpora import corpus
from tests.end_to_end.gateway import (
    CONNECTION,
    PATIENCE,
    Gateway,
    Seen,
    Upstream,
    free_port,
    json_answer,
    token,
    write_policies,
)
from weir.cli.main import app

CORPUS = corpus("http")
BODY = json.dumps({"model": "m", "query": "q", "documents": ["a", "b"]}).encode()


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, launch: Callable[..., Gateway]
) -> Iterator[tuple[Gateway, Upstream]]:
    upstream = Upstream()
    gateway = start(tmp_path_factory.mktemp("http"), upstream, launch)
    yield gateway, upstream
    gateway.stop()
    upstream.stop()


def start(folder: Path, upstream: Upstream, launch: Callable[..., Gateway]) -> Gateway:
    """Start a gateway with four connections to *upstream*."""
    port, connection = free_port(), CONNECTION.format(upstream=upstream.port)
    write_policies(
        folder, port, upstream.port,
        es=connection.replace("reranker", "es").replace("cohere", "elasticsearch"),
        masked=connection.replace("reranker", "masked") + "masks: [{detect: [email], with: redact}]\n",
        bare=connection.replace("reranker", "bare") + "record: {bodies: digest}\n",
    )  # fmt: skip
    return launch(folder, port, "-n", "--set", "weir_listen=true")


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


@dataclass
class Recorded:
    """An exchange as a flow file has it, as a HAR has it, and its answer as stock mitmproxy serves it."""

    flow: HTTPFlow
    har: dict[str, Any]
    served: bytes


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory, launch: Callable[..., Gateway]) -> dict[str, Recorded]:
    """Record the exchanges of the section `lengths`; return each by the name of its case."""
    upstream = Upstream()
    gateway = start(tmp_path_factory.mktemp("lengths"), upstream, launch)
    for case in CORPUS["lengths"]:
        upstream.answer = functools.partial(answer_of, case)
        call(gateway, case)
    gateway.stop()
    upstream.stop()
    files = [("-S", str(file)) for file in (gateway.recordings / "segments").glob("*/*/*.mitm")]
    stock = launch(
        gateway.folder, gateway.port, *itertools.chain(*files), "--mode",
        f"reverse:http://127.0.0.1:{upstream.port}@127.0.0.1:{gateway.port}", "--set", "server_replay_extra=404",
        "--set", "server_replay_ignore_host=true", "--set", "server_replay_ignore_port=true",
        "--set", "connection_strategy=lazy", scripts=(), wait="listening at", environment={"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    exported = ("sessions", "export", "--sql", "true", "--as", "har", "--recordings", str(gateway.recordings))
    entries = json.loads(CliRunner().invoke(app, exported).stdout)["log"]["entries"]
    found = {}
    for case, flow, entry in zip(CORPUS["lengths"], gateway.flows(), entries, strict=True):
        head_only = flow.request.method == "HEAD"
        served = exchanged(stock.port, assemble_request(flow.request), head_only=head_only)
        found[case["name"]] = Recorded(flow, entry, served)
    stock.stop()
    return found


def answer_of(case: dict[str, Any], seen: Seen) -> Iterator[bytes]:
    """Yield the answer of a case of `lengths`."""
    head, _, body = case.get("answer", "200 OK\r\nContent-Length: SIZE\r\n\r\n{}").encode().partition(b"\r\n\r\n")
    body = body.replace(b"GZIP", gzip.compress(b"{}"))
    yield b"HTTP/1.1 " + head.replace(b"SIZE", b"%d" % len(body)) + b"\r\n\r\n" + body
    if case.get("cut"):
        yield b""


def call(gateway: Gateway, case: dict[str, Any]) -> None:
    """Send the request of a case of `lengths`."""
    connection, bearer = case.get("connection", "reranker"), token()
    path, body = f"/{connection}/v2/rerank", {**json.loads(BODY), "query": case["name"]}
    if "document" in case:
        body["documents"] = [case["document"].replace("TOKEN", bearer)]
    if connection == "es":
        path, body = "/es/_cat/indices", None
    with contextlib.suppress(http.client.IncompleteRead):  # a stream that is cut
        gateway.call(path, body, token=bearer if case.get("token", True) else None, method=case.get("method", "POST"))


@pytest.mark.parametrize("case", CORPUS["lengths"], ids=lambda case: case["name"])
def test_lengths(recorded: dict[str, Recorded], case: dict[str, Any]) -> None:
    one = recorded[case["name"]]
    request, response = one.flow.request, one.flow.response
    assert response is not None and response.status_code == case.get("status", 200)
    body = response.raw_content or b""
    assert body == case["recorded"].encode() if "recorded" in case else body or True
    sent = len(request.raw_content or b"")
    assert request.headers.get_all("content-length") == [str(sent)] or (
        sent == 0 and "content-length" not in request.headers
    )
    lengths = [str(len(body))] if case.get("length", True) else []
    assert response.headers.get_all("content-length") == lengths
    fields = one.har["response"]["headers"]
    assert [field["value"] for field in fields if field["name"].lower() == "content-length"] == lengths
    assert one.har["response"]["bodySize"] == len(body)
    head, _, served = one.served.partition(b"\r\n\r\n")
    assert int(head.split()[1]) == response.status_code and served == body
    assert re.findall(rb"(?im)^content-length: (\d+)\r?$", head) == [length.encode() for length in lengths]
