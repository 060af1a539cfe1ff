"""Callers that send too much, too slowly or too often: each bound has its answer, and memory does not grow."""

import contextlib
import gzip
import http.client
import json
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.end_to_end import http2
from tests.end_to_end.certificates import Authority
from tests.end_to_end.gateway import (
    PATIENCE,
    RANKING,
    Gateway,
    Upstream,
    free_port,
    json_answer,
    raw_answer,
    token,
    write_policies,
)

REQUEST = {"model": "m", "query": "q", "documents": ["a", "b"]}
BODY = json.dumps(REQUEST).encode()
HEAD = "POST /reranker/v2/rerank HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"

GATEWAY = """
version: 1
listen:
  - http://127.0.0.1:{{port}}
  - {{{{url: "https://127.0.0.1:{secure}", tls: {{{{certificate: listener.pem, key: listener.key}}}}}}}}
  - {{{{url: "http://127.0.0.1:{explicit}", mode: explicit}}}}
issuers: [local]
recordings: {{recordings}}
pass: ["127.0.0.1:{{port}}"]
bounds:
  {{{{target: 2KiB, head: 16KiB, fields: 50, body: 1MiB, decoded: 2MiB, ratio: 5, answer: 2MiB, bodies: 4MiB, unread: 1MiB,
    first_byte: 2s, head_time: 2s, body_time: 3s, send_time: 3s, idle: 3s, per_address: 40, requests: 30}}}}
"""


@dataclass
class Site:
    """A gateway with narrow bounds."""

    gateway: Gateway
    upstream: Upstream
    secure: int
    explicit: int
    trust: ssl.SSLContext

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.gateway.port), timeout=PATIENCE)

    def sockets(self) -> int:
        """Return the number of open sockets of the gateway's process."""
        found = 0
        for descriptor in Path(f"/proc/{self.gateway.process.pid}/fd").iterdir():
            with contextlib.suppress(OSError):  # the descriptor was closed meanwhile
                found += str(descriptor.readlink()).startswith("socket:")
        return found

    def works(self) -> bool:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if self.gateway.call(body=REQUEST, token=token()).status == 200:
                    return True
            time.sleep(0.2)
        return False


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, launch: Callable[..., Gateway]) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("bounds")
    authority = Authority(folder)
    issued = authority.issue("127.0.0.1")
    (folder / "policies").mkdir()
    shutil.copy(issued.certificate, folder / "policies/listener.pem")
    shutil.copy(issued.key, folder / "policies/listener.key")
    upstream, port, secure, explicit = Upstream(), free_port(), free_port(), free_port()
    write_policies(folder, port, upstream.port, gateway=GATEWAY.format(secure=secure, explicit=explicit))
    gateway = launch(folder, port, "-n", "--set", "weir_listen=true")
    yield Site(gateway, upstream, secure, explicit, ssl.create_default_context(cafile=str(authority.path)))
    gateway.stop()
    upstream.stop()


def within(limit: float, true: Callable[[], bool]) -> bool:
    """Return whether a condition becomes true within *limit* seconds."""
    deadline = time.monotonic() + limit
    while not true() and time.monotonic() < deadline:
        time.sleep(0.05)
    return true()


def received(connection: socket.socket) -> bytes:
    """Return all bytes until the gateway closes."""
    data = b""
    with contextlib.suppress(ConnectionError):
        while chunk := connection.recv(65536):
            data += chunk
    return data


def test_sizes(site: Site) -> None:
    good = f"Authorization: Bearer {token()}\r\n"
    length = f"Content-Length: {len(BODY)}\r\n"
    bomb = gzip.compress(json.dumps({**REQUEST, "query": " " * 3_000_000}).encode())
    assert len(bomb) < 10_000
    before = len(site.upstream.seen)
    for status, request in {
        414: f"POST /reranker/v2/rerank?x={'y' * 3000} HTTP/1.1\r\nHost: x\r\n{good}{length}\r\n".encode() + BODY,
        431: (HEAD + good + length + "".join(f"x-{i}: y\r\n" for i in range(60)) + "\r\n").encode() + BODY,
        413: (HEAD + good + "Content-Length: 2000000\r\n\r\n").encode() + b"x" * 1000,
    }.items():
        assert site.gateway.raw(request).startswith(b"HTTP/1.1 %d " % status), status
    assert site.gateway.raw(f"POST /{'y' * 20_000} HTTP/1.1\r\n\r\n".encode()).startswith(b"HTTP/1.1 414 ")
    assert site.gateway.raw((HEAD + good + f"x: {'y' * 20_000}\r\n").encode()).startswith(b"HTTP/1.1 431 ")
    chunked = (
        (HEAD + good + "Transfer-Encoding: chunked\r\n\r\n").encode()
        + b"100000\r\n"
        + b"x" * 0x100000
        + b"\r\n1\r\nx\r\n"
    )
    assert site.gateway.raw(chunked).startswith(b"HTTP/1.1 413 ")
    coded = (HEAD + good + f"Content-Encoding: gzip\r\nContent-Length: {len(bomb)}\r\n\r\n").encode() + bomb
    assert site.gateway.raw(coded).startswith((b"HTTP/1.1 413 ", b"HTTP/1.1 400 "))
    assert len(site.upstream.seen) == before
    assert site.works()


def test_an_answer_that_grows(site: Site) -> None:
    """A decompression bomb from a service gives 502, within the memory bound."""
    bomb = gzip.compress(b'{"results": ["' + b" " * 200_000_000 + b'"]}')
    headers = "Content-Type: application/json\r\nContent-Encoding: gzip\r\n"
    before = site.gateway.memory()
    site.upstream.answer = lambda seen: raw_answer(bomb, "200 OK", headers)
    try:
        assert site.gateway.call(body=REQUEST, token=token()).status == 502
    finally:
        site.upstream.answer = lambda seen: json_answer(RANKING)
    assert site.gateway.memory() - before < 20_000_000


def test_times(site: Site) -> None:
    """Nothing sent, half a head, half a body, a missing second request; with TLS as well."""
    good = f"Authorization: Bearer {token()}\r\nContent-Length: {len(BODY)}\r\n"
    whole = (HEAD + good + "\r\n").encode() + BODY
    stories = {
        "nothing": (b"", b"", 2), "half a head": ((HEAD + good).encode(), b"HTTP/1.1 408 ", 2), "half a line": (b"POST /rer", b"HTTP/1.1 408 ", 2),
        "half a body": (whole[:-5], b"HTTP/1.1 408 ", 3), "and no more": (whole, b"HTTP/1.1 200 ", 3), "and half another": (whole + b"POST", b"HTTP/1.1 200 ", 2),
    }  # fmt: skip
    found: dict[str, tuple[bytes, float]] = {}

    def tell(name: str, data: bytes, *, tls: bool) -> None:
        began = time.monotonic()
        raw = socket.create_connection(("127.0.0.1", site.secure if tls else site.gateway.port), timeout=PATIENCE)
        with site.trust.wrap_socket(raw, server_hostname="127.0.0.1") if tls else raw as connection:
            connection.sendall(data)
            found[f"{name} {tls}"] = (received(connection), time.monotonic() - began)

    site.trust.set_alpn_protocols(["http/1.1"])
    threads = [
        threading.Thread(target=tell, args=(name, data), kwargs={"tls": tls})
        for name, (data, _, _) in stories.items()
        for tls in (False, True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name, (_, answer, seconds) in stories.items():
        for tls in (False, True):
            data, took = found[f"{name} {tls}"]
            assert data.startswith(answer) and bool(data) == bool(answer), (name, tls, data[:100])
            assert seconds - 1 <= took <= seconds + 4, (name, tls, took)
    with socket.create_connection(("127.0.0.1", site.secure), timeout=PATIENCE) as raw:  # a handshake that never ends
        raw.sendall(b"\x16\x03\x01\xff\xff" + b"x" * 100)
        assert received(raw)[:1] in (b"", b"\x15")
    rows = site.gateway.sql("SELECT count(*) FROM flows WHERE status = 408")
    assert rows == [(2,)]  # only requests are recorded: the two with a body


def test_a_service_may_take_its_time(site: Site) -> None:
    """Bounds apply to callers: a caller that waits for its answer is not cut, not even in a passed tunnel."""
    site.upstream.answer = lambda seen: time.sleep(5) or json_answer(RANKING)  # type: ignore[func-returns-value]
    bearer = f"Bearer {token()}"
    try:
        answer = http.client.HTTPConnection("127.0.0.1", site.explicit, timeout=PATIENCE)
        target = f"http://127.0.0.1:{site.upstream.port}/v2/rerank"
        head = {"Proxy-Authorization": bearer, "Content-Type": "application/json"}
        answer.request("POST", target, BODY, head)
        with socket.create_connection(("127.0.0.1", site.explicit), timeout=PATIENCE) as passed:
            passed.sendall(
                f"CONNECT 127.0.0.1:{site.gateway.port} HTTP/1.1\r\nProxy-Authorization: {bearer}\r\n\r\n".encode()
            )
            assert passed.recv(65536).startswith(b"HTTP/1.1 200 ")
            for _ in range(8):  # the gateway's own listener serves as the service
                passed.sendall(b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n")
                assert passed.recv(65536).startswith(b"HTTP/1.1 404 ")
                time.sleep(0.6)
        response = answer.getresponse()
        assert response.status == 200 and json.loads(response.read()) == RANKING
        answer.close()
    finally:
        site.upstream.answer = lambda seen: json_answer(RANKING)


def test_dripping_does_not_help(site: Site) -> None:
    """Sending one byte at a time counts like sending none."""
    began = time.monotonic()
    with site.connect() as connection:
        connection.settimeout(0.1)
        answer = b""
        for byte in (HEAD + "x-slow: " + "y" * 10_000).encode():
            try:
                connection.sendall(bytes([byte]))
                answer = connection.recv(65536)
                break
            except TimeoutError:
                continue
            except OSError:
                break
    assert time.monotonic() - began < 8 and answer.startswith(b"HTTP/1.1 408 ")


def test_times_of_http2(site: Site) -> None:
    """An endless stream is answered; the others and the connection go on until they are idle."""
    caller = http2.call(site.secure, site.trust)
    pseudo = [(":method", "POST"), (":scheme", "https"), (":authority", "127.0.0.1"), (":path", "/reranker/v2/rerank")]
    head = [*pseudo, ("authorization", f"Bearer {token()}"), ("content-type", "application/json")]
    slow = caller.ask(head, BODY[:10], end=False)
    assert caller.answer(caller.ask(head, BODY)).status == 200
    assert caller.answer(slow).status == 408
    assert caller.answer(caller.ask(head, BODY)).status == 200
    began = time.monotonic()
    while caller.read():
        pass
    assert time.monotonic() - began < 8
    caller.close()


def test_how_many(site: Site) -> None:
    with contextlib.ExitStack() as open_:
        many = [open_.enter_context(site.connect()) for _ in range(60)]
        time.sleep(0.5)
        told = 0
        for connection in many:
            connection.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                told += connection.recv(65536).startswith(b"HTTP/1.1 503 ")
        assert 15 <= told <= 25
    assert site.works()
    with site.connect() as connection:
        request = (HEAD + f"Authorization: Bearer {token()}\r\nContent-Length: {len(BODY)}\r\n\r\n").encode() + BODY
        answers = b""
        for number in range(30):
            connection.sendall(request)
            while answers.count(b"HTTP/1.1 200 ") <= number or not answers.endswith(b"}"):
                answers += connection.recv(65536)
        assert answers.count(b"Connection: close") == 1 and connection.recv(65536) == b""


def test_what_is_under_way_is_bounded(site: Site) -> None:
    """More bodies at once than the worker accepts: some are refused, and its memory does not grow with them."""
    good = f"Authorization: Bearer {token()}\r\nContent-Length: 1000000\r\n\r\n"
    with contextlib.ExitStack() as open_:
        many = [open_.enter_context(site.connect()) for _ in range(30)]
        before = site.gateway.memory()
        for connection in many:
            with contextlib.suppress(OSError):
                connection.sendall((HEAD + good).encode() + b" " * 900_000)
        time.sleep(1)
        assert site.gateway.memory() - before < 20_000_000
        answers = [received(connection) for connection in many]
    told = [answer.split(b" ")[1] for answer in answers if answer]
    assert told.count(b"503") >= 20 and set(told) <= {b"503", b"408"}
    assert site.works()


def test_a_hello_without_end(site: Site) -> None:
    """A ClientHello announces 16 MB: the socket is closed long before that, and no other caller waits."""
    hello = b"\x01" + (16_000_000).to_bytes(3) + b"\x03\x03" + b"x" * 16_000
    record = b"\x16\x03\x01" + len(hello).to_bytes(2) + hello
    for _ in range(5):
        sent = 0
        connect = socket.create_connection(("127.0.0.1", site.secure), timeout=5)
        with connect as connection, contextlib.suppress(ConnectionError):  # a timeout is not a ConnectionError
            while sent < 5_000_000:
                connection.sendall(record)
                sent += len(record)
        assert sent < 5_000_000
    assert site.works()


def test_bodies_of_nobody_are_not_kept(site: Site) -> None:
    """Requests that are refused by their heads take no share of the bodies that others may send."""
    with contextlib.ExitStack() as open_:
        many = [open_.enter_context(site.connect()) for _ in range(30)]
        for connection in many:
            connection.sendall(HEAD.encode() + b"Content-Length: 1000000\r\n\r\n" + b" " * 900_000)
        time.sleep(0.5)
        assert site.gateway.call(body={**REQUEST, "query": "q" * 500_000}, token=token()).status == 200
    assert site.works()


def test_what_is_sent_while_an_answer_is_waited_for(site: Site) -> None:
    """A client may pipeline requests up to a bound, and no other client waits for that."""
    site.upstream.answer = lambda seen: time.sleep(3) or json_answer(RANKING)  # type: ignore[func-returns-value]
    request = (HEAD + f"Authorization: Bearer {token()}\r\nContent-Length: {len(BODY)}\r\n\r\n").encode() + BODY
    before, slowest = site.gateway.memory(), 0.0
    with site.connect() as connection, contextlib.suppress(OSError):
        connection.sendall(request)
        connection.settimeout(1)
        for _ in range(100):
            connection.sendall(b"x" * 1_000_000)
            began = time.monotonic()
            assert site.gateway.call("/nowhere").status == 404
            slowest = max(slowest, time.monotonic() - began)
        raise AssertionError("all of it was taken")
    assert slowest < 1 and site.gateway.memory() - before < 30_000_000
    site.upstream.answer = lambda seen: json_answer(RANKING)
    assert site.works()


def test_an_answer_that_is_never_taken_is_dropped(site: Site) -> None:
    """HTTP/1.1: requests in sequence, with more answers than the system buffers, but fewer bytes than `unread`."""
    site.upstream.answer = lambda seen: json_answer({"results": ["x" * 300_000]})
    request = (HEAD + f"Authorization: Bearer {token()}\r\nContent-Length: {len(BODY)}\r\n\r\n").encode() + BODY
    assert site.works()  # recording has its files open
    time.sleep(0.5)  # until its sockets are closed
    before = site.sockets()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connection.connect(("127.0.0.1", site.gateway.port))
        for _ in range(60):
            time.sleep(0.15)  # simultaneous requests have another bound
            asked = len(site.upstream.seen)
            connection.sendall(request)
            if not within(2, lambda asked=asked: len(site.upstream.seen) > asked):  # type: ignore[misc]
                break  # the gateway reads no more from the caller
        assert site.sockets() > before
        assert within(10, lambda: site.sockets() <= before)
    site.upstream.answer = lambda seen: json_answer(RANKING)
    assert site.works()


def test_an_answer_that_is_not_taken_ends(site: Site) -> None:
    """An HTTP/2 caller opens no window, and the service does not stop sending."""
    caller = http2.call(site.secure, site.trust)
    caller.h2.update_settings({4: 0})  # the initial window
    caller.flush()
    site.upstream.answer = lambda seen: json_answer({"results": ["x" * 900_000]})
    pseudo = [(":method", "POST"), (":scheme", "https"), (":authority", "127.0.0.1"), (":path", "/reranker/v2/rerank")]
    head = [*pseudo, ("authorization", f"Bearer {token()}"), ("content-type", "application/json")]
    for _ in range(3):
        caller.ask(head, BODY)
    began = time.monotonic()
    while caller.read():
        pass
    assert time.monotonic() - began < 8
    site.upstream.answer = lambda seen: json_answer(RANKING)
    caller.close()
    assert site.works()
