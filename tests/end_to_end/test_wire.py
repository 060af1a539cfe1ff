"""False claims of callers and services have no effect, and each answer belongs to its request."""

import gzip
import json
import socket
import time
from collections.abc import Callable, Iterator

import pytest

from tests.end_to_end.gateway import (
    PATIENCE,
    Gateway,
    Seen,
    Upstream,
    free_port,
    json_answer,
    token,
    write_policies,
)

REQUEST = {"model": "m", "query": "q", "documents": ["a", "b"]}
BODY = json.dumps(REQUEST).encode()
LENGTH = f"Content-Length: {len(BODY)}"


def head(*lines: str, line: str = "POST /reranker/v2/rerank HTTP/1.1", host: str = "Host: localhost") -> bytes:
    fields = [
        line,
        *([host] if host else []),
        f"Authorization: Bearer {token()}",
        "Content-Type: application/json",
        *lines,
    ]
    return ("\r\n".join(fields) + "\r\n\r\n").encode("latin-1")


@pytest.fixture(scope="module")
def shared(
    tmp_path_factory: pytest.TempPathFactory, launch: Callable[..., Gateway]
) -> Iterator[tuple[Gateway, Upstream]]:
    """Yield one gateway for all cases, because the next request must be unaffected."""
    folder, upstream, port = tmp_path_factory.mktemp("wire"), Upstream(), free_port()
    write_policies(folder, port, upstream.port)
    gateway = launch(folder, port, "-n", "--set", "weir_listen=true")
    yield gateway, upstream
    gateway.stop()
    upstream.stop()


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
    assert (
        gateway.call(body=REQUEST, token=mine, headers={"X-Client-Name": f"it is {mine}!", "Prefer": "y"}).status == 200
    )
    assert mine.encode() not in upstream.seen[-1].raw and upstream.seen[-1].headers["prefer"] == "y"


@pytest.mark.smoke
def test_a_compressed_request_is_judged_and_sent_decoded(shared: tuple[Gateway, Upstream]) -> None:
    gateway, upstream = shared
    answer = gateway.call(body=gzip.compress(BODY), token=token(), headers={"Content-Encoding": "gzip"})
    assert answer.status == 200
    assert upstream.seen[-1].body == BODY and "content-encoding" not in upstream.seen[-1].headers


@pytest.mark.smoke
def test_each_request_on_a_connection_is_judged_by_itself(shared: tuple[Gateway, Upstream]) -> None:
    gateway, upstream = shared
    reached = len(upstream.seen)
    other = head(LENGTH).replace(b"Authorization: Bearer", b"X-Nothing: Bearer") + BODY
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=PATIENCE) as connection:
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
    deadline = time.monotonic() + PATIENCE
    while gateway.sql(query)[0][0] == before:
        assert time.monotonic() < deadline


def ask(connection: socket.socket, query: str) -> bytes:
    """Send a request on a persistent connection, and return its answer with the head."""
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
    """The answer still belongs to its own request."""
    gateway, upstream = shared

    def answer(seen: Seen) -> Iterator[bytes]:
        yield early
        time.sleep(0.2)
        yield json_answer({"id": json.loads(seen.body)["query"], "results": []})

    before = upstream.answer
    upstream.answer = answer
    try:
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=PATIENCE) as connection:
            for query in ("one", "two", "three"):
                received = ask(connection, query)
                assert received.startswith(b"HTTP/1.1 200 ") and f'"{query}"'.encode() in received
    finally:
        upstream.answer = before


def test_upstream_cookies_and_alternatives_do_not_reach_the_caller(shared: tuple[Gateway, Upstream]) -> None:
    gateway, upstream = shared
    with upstream.answering(
        json_answer({"results": []}, headers='Set-Cookie: session=upstreams-own\r\nAlt-Svc: h3=":443"\r\nX-Kept: 1\r\n')
    ):
        answer = gateway.call(body=REQUEST, token=token())
    assert "set-cookie" not in answer.headers and "alt-svc" not in answer.headers and answer.headers["x-kept"] == "1"
    assert not [f for f in gateway.flows() if f.response and "set-cookie" in f.response.headers]
