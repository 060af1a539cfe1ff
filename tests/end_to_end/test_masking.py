"""Masking as callers, services and readers of the record see it."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.gateway import (
    CREDENTIAL,
    GATEWAY,
    PATIENCE,
    Gateway,
    Seen,
    Upstream,
    free_port,
    json_answer,
    raw_answer,
    token,
    write_policies,
)

CHAT = """
version: 1
connection: chat
profile: openai
upstream: http://127.0.0.1:{upstream}
match: {{path: /chat}}
access: {{groups: [search, support]}}
unknown_operations: allow
masks:
  - {{detect: [all], with: redact, reveal_to: {{groups: [support]}}}}
  - {{fields: ["$.metadata.tenant"], with: hash, hide_from: [upstream]}}
"""
POLICY = """
forward: x-customer
masks:
  - {detect: [email, credit_card], with: redact}
  - {detect: [ip], with: redact, hide_from: [record]}
  - {fields: ["$..salary"], with: drop, in: [response]}
  - {headers: [x-customer], query: [customer], with: hash, hide_from: [record]}
"""
REQUEST = {"query": "mail of alice@example.com", "documents": ["a", "b"]}


@pytest.fixture
def site(tmp_path: Path, upstream: Upstream, launch: Callable[..., Gateway]) -> Iterator[Gateway]:
    port = free_port()
    write_policies(tmp_path, port, upstream.port, POLICY, GATEWAY, chat=CHAT.format(upstream=upstream.port))
    running = launch(tmp_path, port, "-n", "--set", "weir_listen=true")
    yield running
    running.stop()


def chunk(text: str, finish: str | None = None) -> bytes:
    delta = {"content": text} if text else {}
    data = f"data: {json.dumps({'id': 'c', 'choices': [{'index': 0, 'delta': delta, 'finish_reason': finish}]})}\n\n".encode()
    return b"%x\r\n%s\r\n" % (len(data), data)


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
DONE = b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"


def told(body: bytes) -> str:
    """Return the text that a client of a chat stream assembles."""
    events = [line[6:] for line in body.decode().splitlines() if line.startswith("data: {")]
    return "".join(c["delta"].get("content", "") for e in map(json.loads, events) for c in e["choices"])


def ask(gateway: Gateway, *groups: str, path: str = "/chat/v1/chat/completions") -> socket.socket:
    """Send a chat request on a new connection, and read its answer piece by piece."""
    body = json.dumps(
        {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}], "metadata": {"tenant": "acme"}}
    )
    connection = socket.create_connection(("127.0.0.1", gateway.port), timeout=PATIENCE)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{gateway.port}\r\nAuthorization: Bearer {token('alice', *groups)}\r\n"
    )
    connection.sendall(f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
    return connection


def read_until(connection: socket.socket, *ends: bytes) -> bytes:
    data = b""
    while not any(end in data for end in ends):
        piece = connection.recv(65536)
        if not piece:
            break
        data += piece
    return data


@pytest.mark.smoke
def test_a_chat_stream_is_masked_while_it_comes(site: Gateway, upstream: Upstream) -> None:
    seen_first = threading.Event()

    def answer(seen: Seen) -> Iterator[bytes]:
        yield HEAD + chunk("Write to ")
        assert seen_first.wait(PATIENCE)  # the service waits until the caller has the first words
        for piece in ("alice.sm", "ith@exam", "ple.com or", " call +44 20 7946", " 0958 tod", "ay"):
            yield chunk(piece)
        yield chunk("", "stop") + DONE

    upstream.answer = answer
    with ask(site) as connection:
        data = read_until(connection, b"Write to")
        assert b"Write to" in data and b"alice" not in data
        seen_first.set()
        data += read_until(connection, b"\r\n0\r\n\r\n")
    head, _, body = data.partition(b"\r\n\r\n")
    assert told(body) == "Write to [EMAIL] or call [PHONE] today" and b"x-request-id" in head.lower()
    site.wait_for("v1/chat/completions")
    (flow,) = site.flows()
    assert (
        flow.response is not None
        and told(flow.response.content or b"") == told(body)
        and b"[DONE]" in (flow.response.content or b"")
    )
    rows = site.sql("SELECT kind, count, strategy, rule FROM masked_fields WHERE kind != '' ORDER BY kind")
    assert rows == [("email", 1, "redact", "masks[0]"), ("phone", 1, "redact", "masks[0]")]
    assert json.loads(upstream.seen[0].body)["metadata"]["tenant"].startswith("hash:")


def test_what_is_held_is_let_through_in_silence_and_a_value_that_had_begun_ends_the_stream(
    site: Gateway, upstream: Upstream
) -> None:
    came = threading.Event()

    def event(text: str) -> bytes:
        data = f"data: {json.dumps({'note': text})}\n\n".encode()
        return b"%x\r\n%s\r\n" % (len(data), data)

    def answer(seen: Seen) -> Iterator[bytes]:
        yield HEAD + event("mail maria.kel")
        assert came.wait(PATIENCE)
        yield event("ler@example.org ok") + event("more") + b"0\r\n\r\n"

    upstream.answer = answer
    with ask(site, path="/chat/v1/new/operation") as connection:
        asked = time.monotonic()
        data = read_until(connection, b"maria.kel")
        assert 1.5 < time.monotonic() - asked < 8
        came.set()
        data += read_until(connection, b"\r\n0\r\n\r\n")
    assert b"ler@example.org" not in data and b"more" not in data and not data.endswith(b"0\r\n\r\n")
    site.wait_for("v1/new/operation")
    ((problem, error),) = site.sql("SELECT problem, message FROM flows")
    assert (
        problem == "upstream-unreadable"
        and "started in text of $.note that was already passed on" in error
        and "`texts`" in error
    )


def test_those_to_whom_it_is_revealed_see_it_and_the_record_does_not(site: Gateway, upstream: Upstream) -> None:
    upstream.answer = lambda seen: iter([HEAD, chunk("bob@exam"), chunk("ple.com"), chunk("", "stop"), DONE])
    with ask(site, "support") as connection:
        body = read_until(connection, b"\r\n0\r\n\r\n")
    assert told(body) == "bob@example.com"
    site.wait_for("v1/chat/completions")
    (flow,) = site.flows()
    assert told((flow.response and flow.response.content) or b"") == "[EMAIL]"
    answer = json_answer({"choices": [{"message": {"content": "bob@example.com"}}]})
    with upstream.answering(answer):
        body_of = {
            group: site.call(
                "/chat/v1/chat/completions",
                {"model": "m", "messages": [{"role": "user", "content": "hi"}]},
                token=token("carol", group),
            ).body
            for group in ("support", "search")
        }
    assert b"bob@example.com" in body_of["support"] and b"[EMAIL]" in body_of["search"]
    upstream.answer = lambda seen: iter(
        [HEAD, chunk("4111\u2009١١١١&nb"), chunk("sp;1111\u20071\u200b111 "), chunk("", "stop"), DONE]
    )
    with ask(site) as connection:
        assert told(read_until(connection, b"\r\n0\r\n\r\n")) == "[CREDIT_CARD] "


@pytest.mark.parametrize("at_once", [True, False])
def test_a_stream_that_cannot_be_masked_is_cut_and_recorded_so(
    site: Gateway, upstream: Upstream, at_once: bool
) -> None:
    bad = b'data: {"a": 1, "a": "bob@example.com"}\n\n'
    pieces = [HEAD + chunk("fine "), b"%x\r\n%s\r\n" % (len(bad), bad), chunk("never"), DONE]
    upstream.answer = lambda seen: iter([b"".join(pieces)] if at_once else pieces)
    with ask(site) as connection:
        data = read_until(connection, b"\r\n0\r\n\r\n")
    assert b"never" not in data and b"bob@" not in data and not data.endswith(b"\r\n0\r\n\r\n")
    site.wait_for("v1/chat/completions")
    ((problem, error),) = site.sql("SELECT problem, error FROM flows")
    assert problem == "upstream-unreadable" and "cannot be masked" in error
    upstream.answer = lambda seen: json_answer({"results": []})
    assert site.call(body=REQUEST, token=token()).status == 200


def test_a_stream_that_its_service_breaks_off_is_recorded_as_far_as_it_came(site: Gateway, upstream: Upstream) -> None:
    seen_half = threading.Event()

    def answer(seen: Seen) -> Iterator[bytes]:
        yield HEAD + chunk("half so ")
        assert seen_half.wait(PATIENCE)
        yield b""

    upstream.answer = answer
    with ask(site) as connection:
        data = read_until(connection, b"half")
        seen_half.set()
        data += read_until(connection, b"\r\n0\r\n\r\n")
    assert b"half" in data and not data.endswith(b"\r\n0\r\n\r\n")
    site.wait_for("v1/chat/completions")
    ((status, text),) = [
        (f.response.status_code if f.response else 0, told((f.response and f.response.content) or b""))
        for f in site.flows()
    ]
    assert status == 200 and text.strip() in ("half", "half so")


def test_a_credential_in_a_stream_is_scrubbed_across_chunks(site: Gateway, upstream: Upstream) -> None:
    body = f'data: {{"text": "key {CREDENTIAL} end"}}\n\n'.encode()
    pieces = [b"%x\r\n%s\r\n" % (len(body[i : i + 7]), body[i : i + 7]) for i in range(0, len(body), 7)]
    upstream.answer = lambda seen: iter([HEAD, *pieces, b"0\r\n\r\n"])
    answer = site.call(body=REQUEST, token=token())
    assert answer.status == 200 and CREDENTIAL.encode() not in answer.body and b"***" in answer.body
    site.wait_for("sent a credential back")


def test_what_is_masked_in_bodies_is_masked_in_heads_and_errors_too(site: Gateway, upstream: Upstream) -> None:
    upstream.answer = lambda seen: raw_answer(
        b"no account for bob@example.com at 10.1.2.3",
        "503 Unavailable",
        "Content-Type: text/plain\r\nX-Owner: bob@example.com\r\nX-Customer: Al\r\n",
    )
    answer = site.call(
        "/reranker/v2/rerank?customer=Al&to=eve%40example.com", REQUEST, token=token(), headers={"X-Customer": "Al"}
    )
    assert answer.status == 502 and b"bob@" not in answer.body  # `$..salary` has no meaning in a text
    upstream.answer = lambda seen: json_answer(
        {"message": "no bob@example.com at 10.1.2.3", "salary": 9},
        "404 Not Found",
        "X-Owner: bob@example.com\r\nX-Customer: Al\r\n",
    )
    answer = site.call(
        "/reranker/v2/rerank?customer=Al&to=eve%40example.com", REQUEST, token=token(), headers={"X-Customer": "Al"}
    )
    assert (
        answer.status == 404
        and answer.json == {"message": "no [EMAIL] at 10.1.2.3"}
        and answer.headers["x-owner"] == "[EMAIL]"
    )
    seen = upstream.seen[-1]
    assert "customer=Al&to=eve%40example.com" in seen.head.decode() and b"alice@example.com" in seen.body
    flow = site.flows()[-1]
    assert flow.response is not None and flow.response.json() == {"message": "no [EMAIL] at [IP]"}
    assert flow.request.query["customer"].startswith("hash:") and flow.request.query["to"] == "[EMAIL]"
    assert flow.request.headers["X-Customer"].startswith("hash:") and flow.response.headers["X-Customer"].startswith(
        "hash:"
    )
    assert flow.request.json()["query"] == "mail of [EMAIL]"
    stored = b"".join(p.read_bytes() for p in (site.recordings / "segments").rglob("*") if p.is_file())
    assert not any(value in stored for value in (b"alice@example.com", b"eve@", b"bob@example.com", b"10.1.2.3"))


@pytest.mark.parametrize(
    "answer",
    [
        raw_answer(b"\x89PNG", headers="Content-Type: image/png\r\n"),
        raw_answer(b'{"results": [], "results": [1]}', headers="Content-Type: application/json\r\n"),
        raw_answer(b"\x1f\x8bnot gzip", headers="Content-Type: application/json\r\nContent-Encoding: gzip\r\n"),
        raw_answer(b"{}", headers="Content-Type: application/json\r\nContent-Encoding: compress\r\n"),
        raw_answer(b'{"a":', headers="Content-Type: application/json\r\nContent-Range: bytes 0-4/9\r\n", status="206 Partial Content"),
    ],
)  # fmt: skip
def test_what_cannot_be_masked_is_not_delivered_nor_kept(site: Gateway, upstream: Upstream, answer: bytes) -> None:
    with upstream.answering(answer):
        got = site.call(body=REQUEST, token=token())
    assert got.status == 502 and got.problem == "upstream-unreadable"
    site.wait_for("upstream-unreadable")
    (flow,) = site.flows()
    assert (
        flow.response is not None and flow.response.status_code == 502 and b"PNG" not in (flow.response.content or b"")
    )


def test_an_untouched_answer_keeps_its_bytes(site: Gateway, upstream: Upstream) -> None:
    body = b'{ "results" : [ {"index":0, "relevance_score":0.50, "big":123456789012345678901} ], "s":"\\u00e9" }\n'
    with upstream.answering(raw_answer(body, headers="Content-Type: application/json\r\n")):
        assert site.call(body=REQUEST, token=token()).body == body
    touched = body.replace(b'"s":"\\u00e9"', b'"s":"\\u00e9 bob@example.com"')
    with upstream.answering(raw_answer(touched, headers="Content-Type: application/json\r\n")):
        assert site.call(body=REQUEST, token=token()).body == touched.replace(b"bob@example.com", b"[EMAIL]")
