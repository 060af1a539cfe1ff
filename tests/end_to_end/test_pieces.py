"""Services may answer in any number of pieces, and callers acknowledge each: bounds of callers do not apply."""

import contextlib
import gzip
import json
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
import wsproto
from wsproto.events import BytesMessage, Message, Ping, Request, TextMessage

from tests.end_to_end import http2
from tests.end_to_end.certificates import Authority
from tests.end_to_end.gateway import (
    PATIENCE,
    Gateway,
    Seen,
    Upstream,
    free_port,
    raw_answer,
    token,
    websocket_accept,
    websocket_handshake,
    write_policies,
)

REQUEST = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
BODY = json.dumps(REQUEST).encode()
PATH = "/v1/chat/completions"
PIECES = 20_000

#: Bounds of callers that are far too narrow for the services' answers.
GATEWAY = """
version: 1
listen:
  - http://127.0.0.1:{{port}}
  - {{{{url: "https://127.0.0.1:{secure}", tls: {{{{certificate: listener.pem, key: listener.key}}}}}}}}
issuers: [local]
recordings: {{recordings}}
bounds: {{{{target: 1KiB, head: 2KiB, fields: 20, body: 4KiB, decoded: 4KiB, ratio: 2}}}}
"""
CONNECTION = """
version: 1
connection: {name}
profile: openai
upstream: {upstream}
match: {{path: /{name}}}
access: {{groups: [search]}}
websocket: [/v1/live]
{more}
"""
MASKED = "masks: [{detect: [email], with: redact}]"


def delta(text: str) -> bytes:
    choices = [{"index": 0, "delta": {"content": text}, "finish_reason": None}]
    return f"data: {json.dumps({'id': 'c', 'choices': choices})}\n\n".encode()


#: For each media type, an answer without values to mask, long enough for the number of pieces.
BODIES = {
    "application/json": json.dumps({"id": "c", "choices": [], "note": "x" * 39_960}).encode(),
    "text/plain": b"a\n" * PIECES,  # each is passed on separately
    "text/event-stream": delta("word ") * 400 + b"data: [DONE]\n\n",
}


@dataclass
class Site:
    """A gateway with an HTTP/1.1 and an HTTP/2 service, each with and without masks."""

    gateway: Gateway
    old: Upstream
    new: http2.Service
    secure: int
    trust: ssl.SSLContext

    def ask(self, name: str, speaks: str) -> tuple[int, bytes]:
        if speaks == "http/1.1":
            answer = self.gateway.call(f"/{name}{PATH}", REQUEST, token=token())
            return answer.status, answer.body
        caller = http2.call(self.secure, self.trust)
        caller.eager = True
        pseudo = [(":method", "POST"), (":scheme", "https"), (":authority", "127.0.0.1"), (":path", f"/{name}{PATH}")]
        head = [*pseudo, ("authorization", f"Bearer {token()}"), ("content-type", "application/json")]
        with contextlib.closing(caller):
            found = caller.answer(caller.ask(head, BODY))
            assert caller.ended is None and found.ended, (caller.ended, found.reset, len(found.body))
        return found.status, found.body


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, launch: Callable[..., Gateway]) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("pieces")
    authority = Authority(folder)
    issued = authority.issue("127.0.0.1", "localhost")
    tls = issued.server()
    (folder / "policies").mkdir()
    issued.for_listener(folder / "policies")
    old, new, port, secure = Upstream(), http2.Service(tls), free_port(), free_port()
    urls = {
        "old": f"http://127.0.0.1:{old.port}",
        "new": f"https://localhost:{new.port}\ntls: {{ca: {authority.path}}}",
    }
    others = {
        f"{name}{kind}": CONNECTION.format(name=f"{name}{kind}", upstream=url.replace("\n", f"/{kind}\n", 1) if "\n" in url else f"{url}/{kind}", more=more)
        for name, url in urls.items()
        for kind, more in (("plain", ""), ("masked", MASKED))
    }  # fmt: skip
    write_policies(folder, port, old.port, gateway=GATEWAY.format(secure=secure), **others)
    (folder / "policies/reranker.yaml").unlink()
    gateway = launch(folder, port, "-n", "--set", "weir_listen=true")
    yield Site(gateway, old, new, secure, ssl.create_default_context(cafile=str(authority.path)))
    gateway.stop()
    old.stop()
    new.stop()


def pieces(body: bytes) -> list[bytes]:
    size = max(1, len(body) // PIECES)
    return [body[at : at + size] for at in range(0, len(body), size)]


@pytest.mark.parametrize(("service", "speaks"), [("old", "http/1.1"), ("old", "h2"), ("new", "h2")])
@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.parametrize("masked", ["plain", "masked"])
def test_an_answer_in_20_000_pieces_comes_whole(site: Site, service: str, masked: str, kind: str, speaks: str) -> None:
    body = BODIES[kind]
    assert len(pieces(body)) >= PIECES
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    chunks = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces(body)]
    site.old.answer = lambda seen: head + b"".join(chunks) + b"0\r\n\r\n"
    site.new.piece = len(pieces(body)[0])
    site.new.answer = lambda _: ([(":status", "200"), ("content-type", kind)], body, None)
    assert site.ask(f"{service}{masked}", speaks) == (200, body)


@pytest.mark.parametrize("speaks", ["http/1.1", "h2"])
def test_pieces_that_come_one_by_one(site: Site, speaks: str) -> None:
    """Received pieces are passed on at once, and not kept until more arrive."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"

    def answer(seen: Seen) -> Iterator[bytes]:
        yield head
        for _ in range(6000):  # one write each
            yield b"1\r\nx\r\n"
        yield b"0\r\n\r\n"

    site.old.answer = answer
    assert site.ask("oldplain", speaks) == (200, b"x" * 6000)


def test_bounds_of_callers_do_not_cut_answers(site: Site) -> None:
    """`answer` bounds the bodies, heads and compression ratios of services."""
    body = json.dumps({"id": "c", "choices": [], "note": "x" * 2_000_000}).encode()
    packed = gzip.compress(body)
    fields = "".join(f"X-{n}: {'y' * 200}\r\n" for n in range(80))
    headers = f"Content-Type: application/json\r\nContent-Encoding: gzip\r\n{fields}"
    site.old.answer = lambda seen: raw_answer(packed, headers=headers)
    answer = site.gateway.call(f"/oldplain{PATH}", REQUEST, token=token())
    assert (answer.status, answer.body) == (200, body) and answer.headers["x-79"]
    request = {**REQUEST, "messages": [{"role": "user", "content": "x" * 5000}]}
    assert site.gateway.call(f"/oldplain{PATH}", request, token=token()).status == 413


def test_a_message_in_many_parts(site: Site) -> None:
    """A WebSocket service may send small parts; only empty parts are counted."""
    text = "word " * 2000

    def speak(seen: Seen) -> Iterator[bytes]:
        service = wsproto.connection.Connection(wsproto.ConnectionType.SERVER)
        accept = websocket_accept(seen.head)
        yield (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept}\r\n\r\n"
        ).encode()
        parts = [service.send(TextMessage(c, message_finished=False)) for c in text[:-1]]
        yield b"".join(parts) + service.send(TextMessage(text[-1]))
        yield b"".join(service.send(BytesMessage(b"d")) for _ in range(2000))
        yield service.send(BytesMessage(b"end"))
        yield b"".join(service.send(TextMessage("", message_finished=False)) for _ in range(5000))
        yield b""

    site.old.answer = speak
    with socket.create_connection(("127.0.0.1", site.gateway.port), timeout=PATIENCE) as connection:
        connection.sendall(websocket_handshake("/oldplain/v1/live", token()))
        received = b""
        while b"\r\n\r\n" not in received:
            received += connection.recv(65536)
        caller = wsproto.connection.Connection(wsproto.ConnectionType.CLIENT)
        caller.receive_data(received.partition(b"\r\n\r\n")[2])
        said: list[object] = []
        ended = None
        while ended is None:
            for event in caller.events():
                if isinstance(event, Message):
                    said.append(event.data)
                elif not isinstance(event, Ping | Request):
                    ended = event
            if ended is None:
                caller.receive_data(connection.recv(65536) or None)
    whole = "".join(part for part in said if isinstance(part, str))
    assert whole == text and b"".join(part for part in said if isinstance(part, bytes | bytearray)).count(b"d") == 2001
