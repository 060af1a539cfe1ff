"""Random bytes and headers: each request that reaches the service is exactly one that was judged and recorded.

Each input is sent to a real gateway, and the service keeps the received bytes. Two parsers without common code (h11,
strict, and Python's own, lenient) read these bytes. The test compares them with the record of the judged request.
WEIR_TEST_SECONDS sets the seconds per test. ``FOUND`` has the inputs of earlier defects, which are tried first.
"""

import contextlib
import email.parser
import json
import os
import random
import shutil
import socket
import ssl
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import h2.exceptions
import h11
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from tests.end_to_end import http2
from tests.end_to_end.certificates import Authority
from tests.end_to_end.gateway import (
    CREDENTIAL,
    PATIENCE,
    Gateway,
    Seen,
    Upstream,
    free_port,
    recorded_flows,
    token,
    websocket_handshake,
    write_policies,
)

SECONDS = float(os.environ.get("WEIR_TEST_SECONDS", "5"))
SEED = int(os.environ.get("WEIR_TEST_SEED", "0"))
BODY = json.dumps({"model": "m", "query": "q", "documents": ["a", "b"]}).encode()

GATEWAY = """
version: 1
listen:
  - http://127.0.0.1:{{port}}
  - {{{{url: "https://127.0.0.1:{secure}", tls: {{{{certificate: listener.pem, key: listener.key}}}}}}}}
  - {{{{url: "http://127.0.0.1:{explicit}", mode: explicit}}}}
issuers: [local]
recordings: {{recordings}}
bounds: {{{{head_time: 1s, body_time: 1s, first_byte: 1s, idle: 2s}}}}
"""
MORE = "unknown_operations: allow\nwrites: allow\n"
SOCKET = """
version: 1
connection: socket
profile: openai
upstream: http://127.0.0.1:{upstream}
match: {{path: /socket}}
access: {{groups: [search]}}
websocket: [/x]
"""


@dataclass
class Site:
    """A gateway, and a service that keeps the requests that it saw."""

    gateway: Gateway
    upstream: Upstream
    secure: int
    explicit: int
    trust: ssl.SSLContext
    listener: "Listener"


class Listener:
    """A service that keeps the messages of each WebSocket, by the caller's number for it."""

    def __init__(self) -> None:
        self.heard: dict[str, list[bytes]] = {}
        self.server = serve(self._hear, "127.0.0.1", 0, compression=None, close_timeout=1)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.port = int(self.server.socket.getsockname()[1])

    def _hear(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        heard = self.heard.setdefault(connection.request.path.partition("=")[2], [])
        with contextlib.suppress(ConnectionClosed):
            for message in connection:
                heard.append(message.encode() if isinstance(message, str) else message)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, launch: Callable[..., Gateway]) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("fuzz")
    authority = Authority(folder)
    issued = authority.issue("127.0.0.1")
    (folder / "policies").mkdir()
    shutil.copy(issued.certificate, folder / "policies/listener.pem")
    shutil.copy(issued.key, folder / "policies/listener.key")
    upstream, port, secure, explicit = Upstream(), free_port(), free_port(), free_port()
    listener = Listener()
    write_policies(
        folder, port, upstream.port, MORE, gateway=GATEWAY.format(secure=secure, explicit=explicit),
        socket=SOCKET.format(upstream=listener.port),
    )  # fmt: skip
    gateway = launch(folder, port, "-q", "-n", "--set", "weir_listen=true", wait="")
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", explicit), 1).close()
            break
        time.sleep(0.1)
    yield Site(gateway, upstream, secure, explicit, ssl.create_default_context(cafile=str(authority.path)), listener)
    gateway.stop()
    listener.server.shutdown()
    upstream.stop()


def lines(*more: str, line: str = "POST /reranker/v2/rerank HTTP/1.1", host: str = "127.0.0.1") -> bytes:
    fields = [line, f"Host: {host}", "Authorization: Bearer TOKEN", "Content-Type: application/json", *more]
    return ("\r\n".join(fields) + "\r\n\r\n").encode("latin-1")


LENGTH = f"Content-Length: {len(BODY)}"
CHUNKED = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
#: Inputs to mutate: requests that pass, each in another form, and pieces that could split one request into two.
CORPUS = [
    lines(LENGTH) + BODY, lines("Transfer-Encoding: chunked") + CHUNKED, lines(line="GET /reranker/v2/models HTTP/1.1"),
    lines(LENGTH, "Connection: keep-alive", "X-A: b", "X-C: d") + BODY, lines(LENGTH, "Expect: 100-continue") + BODY,
    lines("Transfer-Encoding: chunked") + b"5;x=y\r\n%s\r\n%x\r\n%s\r\n0\r\n\r\n" % (BODY[:5], len(BODY) - 5, BODY[5:]),
    lines(LENGTH, line="POST /reranker/v2/rerank?a=b&c=%20d HTTP/1.1") + BODY, lines(LENGTH) + BODY + lines(LENGTH) + BODY,
    lines(line="DELETE /reranker/v2/x/y HTTP/1.1"), lines(LENGTH, line="PUT /reranker/v2/x HTTP/1.0") + BODY,
    lines("Content-Length: 0", line="POST /reranker/v2/x HTTP/1.1"), lines(LENGTH, "Trailer: x") + BODY,
    lines("Transfer-Encoding: chunked") + b"%x\r\n%s\r\n0\r\nX-T: y\r\n\r\n" % (len(BODY), BODY), lines(line="HEAD /reranker/v2/x HTTP/1.1"),
]  # fmt: skip
PIECES = [
    b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b"\x0b", b"\x0c", b":", b";", b",", b"%", b"/", b"//", b"/..", b"\\", b"#", b"?", b"\xff", b"\xc0\xae", b"0", b"-1", b"+1", b"0x10",
    b"\r\n ", b"\r\n\r\n", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding : chunked\r\n", b"Transfer-Encoding:\x0bchunked\r\n", b"transfer-encoding: identity\r\n",
    b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"content-length:  7\r\n", b"Host: evil.example\r\n", b"Connection: Content-Length\r\n", b"Connection: close\r\n", b"Upgrade: h2c\r\n",
    b"Upgrade: websocket\r\n", b"TE: trailers\r\n", b"GET /admin HTTP/1.1\r\nHost: x\r\n\r\n", b"X-Http-Method-Override: DELETE\r\n", b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"0\r\n\r\n", b"1\r\nx\r\n",
]  # fmt: skip
#: Number of simultaneous inputs, which are also the inputs between two checks of the clock.
CALLERS, BATCH = 16, 64
#: Inputs that once passed the gateway unjudged, or that it did not answer.
FOUND: list[bytes] = []


def mutated(chance: random.Random) -> bytes:
    """Return an input of the corpus with a few changes."""
    data = bytearray(chance.choice(CORPUS))
    for _ in range(chance.choice((1, 1, 1, 2, 2, 3, 5))):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(7):
            case 0:
                data[at:at] = chance.choice(PIECES)
            case 1:
                data[at : at + chance.randrange(1, 4)] = chance.choice(PIECES)
            case 2:
                data[at : at + 1] = bytes([chance.randrange(256)])
            case 3:
                del data[at : at + chance.randrange(1, 9)]
            case 4:  # repeat a line in another place
                parts = bytes(data).split(b"\r\n")
                parts.insert(chance.randrange(len(parts) + 1), chance.choice(parts))
                data = bytearray(b"\r\n".join(parts))
            case 5:  # insert at the beginning of a line
                found = [i + 2 for i in range(len(data)) if data[i : i + 2] == b"\r\n"]
                if found:
                    at = chance.choice(found)
                    data[at:at] = chance.choice(PIECES)
            case _:
                data += chance.choice(CORPUS)[: chance.randrange(200)]
    return bytes(data)


def read(seen: Seen) -> tuple[str, str, list[tuple[str, str]], bytes]:
    """Read method, target, headers and body with two parsers, which must agree and leave no bytes."""
    strict = h11.Connection(h11.SERVER)
    strict.receive_data(seen.raw)
    request = strict.next_event()
    assert isinstance(request, h11.Request)
    body = b""
    while isinstance(event := strict.next_event(), h11.Data):
        body += bytes(event.data)
    assert isinstance(event, h11.EndOfMessage) and not event.headers and strict.trailing_data == (b"", False)
    first, _, rest = seen.raw.partition(b"\r\n")
    method, target, version = first.decode("latin-1").split(" ")
    assert version == "HTTP/1.1"
    lenient = email.parser.Parser().parsestr(rest.decode("latin-1"), headersonly=True)
    headers = [(name.lower(), value.strip(" \t\r\n")) for name, value in lenient.raw_items()]
    assert headers == [(n.decode(), v.decode("latin-1")) for n, v in request.headers]
    assert (method, target) == (request.method.decode(), request.target.decode("latin-1"))
    payload = lenient.get_payload()
    assert isinstance(payload, str) and payload.encode("latin-1") == body == seen.body
    return method, target, headers, body


def check(site: Site) -> None:
    """Check that the service saw exactly the requests that are recorded as sent, and that it saw all answered ones."""
    ours = {"authorization", "content-length", "accept-encoding", "x-weir-replay-key"}
    judged: Counter[Any] = Counter()
    answered = 0
    for flow in site.gateway.flows():
        record = json.loads(flow.metadata["weir"])
        if record.get("upstream_ms") is not None:  # the request was sent
            answered += record.get("upstream_status") is not None
            kept = [(n.decode().lower(), v.decode("latin-1")) for n, v in flow.request.headers.fields]
            rest = tuple(h for h in kept if h[0] not in ours)
            judged[flow.request.method, flow.request.path, rest, flow.request.raw_content or b""] += 1
    for one in site.upstream.seen:
        method, target, headers, body = read(one)
        names = [name for name, _ in headers]
        assert [v for n, v in headers if n == "authorization"] == [f"Bearer {CREDENTIAL}"], one.raw
        assert names.count("host") == 1 and names.count("content-length") <= 1, one.raw
        found = method, target, tuple(h for h in headers if h[0] not in ours), body
        assert judged[found] > 0, one.raw
        judged[found] -= 1
    assert answered <= len(site.upstream.seen)


def exchange(port: int, data: bytes) -> None:
    """Send *data*, and wait until the gateway closes, is silent after an answer, or waits for more."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.4) as connection:
        connection.sendall(data)
        while connection.recv(65536):
            connection.settimeout(0.04)


def test_bytes(site: Site) -> None:
    chance, good = random.Random(SEED or time.time_ns()), token().encode()
    before, count, started = len(site.upstream.seen), 0, time.monotonic()
    with ThreadPoolExecutor(CALLERS) as pool:
        while time.monotonic() - started < SECONDS or count < len(FOUND):
            batch = FOUND if count < len(FOUND) else [mutated(chance) for _ in range(BATCH)]
            list(pool.map(lambda data: exchange(site.gateway.port, data.replace(b"TOKEN", good)), batch))
            count += len(batch)
    assert site.gateway.process.poll() is None
    seen = site.upstream.seen[before:]
    print(f"{count} inputs, of which {len(seen)} requests reached the service")
    assert count > 5 * SECONDS and len(seen) > count // 50
    check(site)


def test_bytes_to_a_proxy(site: Site) -> None:
    """The same test at an explicit listener, where the target contains the service's host."""
    chance, good = random.Random(SEED or time.time_ns()), token().encode()
    host = f"127.0.0.1:{site.upstream.port}".encode()
    before, count, started = len(site.upstream.seen), 0, time.monotonic()

    def proxied(data: bytes) -> bytes:
        data = data.replace(b" /reranker/", b" http://HOST/").replace(b"Host: 127.0.0.1", b"Host: HOST")
        data = data.replace(b"Authorization: Bearer", b"Proxy-Authorization: Bearer")
        return data.replace(b"TOKEN", good).replace(b"HOST", host)

    with ThreadPoolExecutor(CALLERS) as pool:
        while time.monotonic() - started < SECONDS / 2:
            batch = [proxied(mutated(chance)) for _ in range(BATCH)]
            list(pool.map(lambda data: exchange(site.explicit, data), batch))
            count += BATCH
    seen = site.upstream.seen[before:]
    print(f"{count} inputs, of which {len(seen)} requests reached the service")
    assert count > 2 * SECONDS and len(seen) > count // 50
    check(site)


VALUES = [
    "", " ", "x", "a b", "a\r\nX: y", "a\nX: y", "a\0b", "chunked", "close", "trailers", "0", "5", str(len(BODY)), "127.0.0.1", "evil.example", "é", "/admin", "application/json",
    "x" * 5000, "\tx", "x\x0b", ":", "gzip", "100-continue", "websocket",
]  # fmt: skip
NAMES = [
    "x-a", "X-Upper", "host", "connection", "transfer-encoding", "content-length", "te", "upgrade", "expect", "cookie", "x y", "x:y", "", ":path", ":method", ":authority", ":scheme", ":status",
    "content-type", "content-encoding", "keep-alive", "proxy-connection", "x_a", "x\r\ny", "x\0", "authorization", "x-http-method-override", "trailer", "accept",
]  # fmt: skip
PATHS = [
    "/reranker/v2/rerank", "/reranker/v2/x?y=z", "/reranker/v2/r rank", "/reranker/v2/x HTTP/1.1\r\nX: y", "/reranker//x", "/reranker/../x", "/reranker/%2e%2e/x", "*", "", "http://x/",
    "/reranker/v2/é", "/reranker/v2/x#y", "/reranker/v2/x\0", "/reranker/v2/%00", "/reranker/v2/x?\r\ny", "reranker/v2/x", "/reranker/v2/\\x",
]  # fmt: skip


def random_headers(chance: random.Random, good: str) -> http2.Headers:
    """Return an HTTP/2 request that is mostly valid."""
    path = chance.choice(PATHS) if chance.random() < 0.2 else PATHS[0]
    method = chance.choice(("POST",) * 9 + ("GET", "PUT", "DELETE", "post", "G T", "", "POST / HTTP/1.1\r\nX:"))
    headers = [(":method", method), (":scheme", "https"), (":authority", "127.0.0.1"), (":path", path)]
    headers += [("authorization", f"Bearer {good}"), ("content-type", "application/json")]
    for _ in range(chance.choice((0, 0, 1, 1, 2, 3))):
        headers.insert(chance.randrange(2, len(headers) + 1), (chance.choice(NAMES), chance.choice(VALUES)))
    if chance.random() < 0.1:
        del headers[chance.randrange(len(headers))]
    return headers


def test_headers_of_http2(site: Site) -> None:
    chance, good = random.Random(SEED or time.time_ns()), token()
    before, count, started = len(site.upstream.seen), 0, time.monotonic()
    caller: http2.Caller | None = None
    while time.monotonic() - started < SECONDS:
        caller = caller or http2.call(site.secure, site.trust)
        with contextlib.suppress(OSError, h2.exceptions.ProtocolError, UnicodeError):
            body = chance.choice((BODY, BODY, b"", BODY[:-1]))
            trailers = [("x-t", "y")] if chance.random() < 0.05 else None
            stream = caller.ask(random_headers(chance, good), body, trailers)
            answered = caller.answer(stream)
            count += 1
            if answered.ended:
                continue
        caller.close()
        caller = None
    if caller is not None:
        caller.close()
    seen = site.upstream.seen[before:]
    print(f"{count} inputs, of which {len(seen)} requests reached the service")
    assert count > 10 * SECONDS and len(seen) > count // 50
    check(site)
    assert not [line for line in site.gateway.log if "crashed" in line or "Traceback" in line]


def random_frames(chance: random.Random) -> bytes:
    """Return WebSocket frames of a caller that are mostly valid."""
    data = b""
    for _ in range(chance.randrange(1, 8)):
        opcode = chance.choice((1,) * 6 + (2, 2, 0, 0, 8, 9, 10, 3, 11))
        head = opcode | (0 if chance.random() < 0.2 else 0x80) | (0x40 if chance.random() < 0.02 else 0)
        body = chance.choice(
            (b'{"a": "b"}', b"x" * 130, b"", b"\xff\xfe", b"\x03\xe8bye", b"x" * 70_000, "é".encode()[:1])
        )
        size = len(body) + (chance.choice((-1, 1, 7)) if chance.random() < 0.03 else 0)
        masked = 0 if chance.random() < 0.03 else 0x80
        mask = bytes(chance.randrange(256) for _ in range(4)) if masked else b""
        if size < 126:
            length = bytes([masked | max(0, size)])
        elif size < 1 << 16 and chance.random() < 0.95:
            length = bytes([masked | 126]) + struct.pack("!H", size)
        else:
            length = bytes([masked | 127]) + struct.pack("!Q", size)
        data += bytes([head]) + length + mask
        data += bytes(byte ^ mask[i % 4] for i, byte in enumerate(body)) if mask else body
    if chance.random() < 0.1:
        place = chance.randrange(len(data))
        data = data[:place] + bytes([chance.randrange(256)]) + data[place + 1 :]
    return data


def test_frames_of_a_websocket(site: Site) -> None:
    """The service receives exactly the recorded messages, in order."""
    chance, good = random.Random(SEED or time.time_ns()), token()
    count, started, before = 0, time.monotonic(), len(recorded_flows(site.gateway.recordings))

    def say(number: int, frames: bytes) -> None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", site.gateway.port), 2) as connection:
            connection.settimeout(1)
            connection.sendall(websocket_handshake(f"/socket/x?n={number}", good))
            assert connection.recv(65536).startswith(b"HTTP/1.1 101 ")
            connection.sendall(frames)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass

    with ThreadPoolExecutor(CALLERS) as pool:
        while time.monotonic() - started < SECONDS:
            batch = [(count + i, random_frames(chance)) for i in range(BATCH)]
            list(pool.map(lambda each: say(*each), batch))
            count += BATCH
    assert site.gateway.process.poll() is None
    time.sleep(1)
    recorded: dict[str, list[bytes]] = {}
    for flow in recorded_flows(site.gateway.recordings)[before:]:
        number = flow.request.path.partition("=")[2]
        if flow.websocket is not None and flow.comment.startswith("message of "):
            recorded.setdefault(number, []).extend(m.content for m in flow.websocket.messages if m.from_client)
    heard = {number: messages for number, messages in site.listener.heard.items() if messages}
    print(f"{count} inputs, of which {sum(map(len, heard.values()))} messages reached the service")
    assert count > 2 * SECONDS
    assert len(heard) > count // 5
    for number, messages in heard.items():
        assert recorded[number][: len(messages)] == messages, number
    assert not [line for line in site.gateway.log if "crashed" in line or "Traceback" in line]
