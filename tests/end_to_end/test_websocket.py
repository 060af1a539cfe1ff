"""WebSockets: judged by policy, masked and recorded per message, and closed when their caller loses access."""

import contextlib
import json
import signal
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from mitmproxy.http import HTTPFlow
from openai import OpenAI
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import Server, ServerConnection, serve

from tests import processes
from tests.cli import inside
from tests.end_to_end.certificates import Authority
from tests.end_to_end.gateway import (
    BUNDLE,
    CREDENTIAL,
    KEY,
    PATIENCE,
    Gateway,
    free_port,
    json_answer,
    recorded_flows,
    say,
    token,
    websocket_accept,
    websocket_handshake,
    write_policies,
)
from weir.auth.local import mint
from weir.tls import ca

PATH = "/realtime/v1/realtime"
GATEWAY = """
version: 1
listen:
  - http://127.0.0.1:{{port}}
  - {{{{url: "http://127.0.0.1:{explicit}", mode: explicit}}}}
issuers: [local]
recordings: {{recordings}}
bounds: {{{{body: 256KiB, first_byte: 1s, idle: 2s}}}}
"""
REALTIME = """
version: 1
connection: {name}
profile: openai
upstream: {upstream}
match: {{path: /{name}}}
{tls}
credential: {{header: Authorization, value: "Bearer ${{env:TEST_UPSTREAM_KEY}}"}}
access: {{groups: [search]}}
websocket: [/v1/realtime]
rules:
  - name: no-old-model
    effect: deny
    when: {{operation: websocket, model: gpt-old}}
masks:
  - {{detect: [email], with: {{replace: (mail)}}, hide_from: [caller, upstream, record]}}
  - {{fields: ["$.secret"], with: {{replace: x}}}}
"""
MORE = """
limits: [{concurrent: 1, per: user}]
record: {bodies: digest}
"""
ENVIRONMENT = {"TEST_UPSTREAM_KEY": CREDENTIAL}
MESSAGE = json.dumps({"text": "hello " * 2000})


@dataclass
class Service:
    """A real WebSocket server that answers with *say* and keeps the received messages."""

    say: Callable[[ServerConnection, Any], None] = lambda connection, message: connection.send(message)
    heads: list[dict[str, str]] = field(default_factory=list)
    heard: list[Any] = field(default_factory=list)
    closed: list[int | None] = field(default_factory=list)
    server: Server | None = None

    def start(self, tls: ssl.SSLContext | None = None) -> "Service":
        self.server = serve(
            self._handle, "127.0.0.1", 0, select_subprotocol=lambda _, offered: offered[0] if offered else None, ssl=tls
        )
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    @property
    def port(self) -> int:
        assert self.server is not None
        return int(self.server.socket.getsockname()[1])

    def _handle(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.heads.append({name.lower(): value for name, value in connection.request.headers.raw_items()})
        with contextlib.suppress(ConnectionClosed):
            for message in connection:
                self.heard.append(message)
                self.say(connection, message)
        self.closed.append(connection.close_code)


@dataclass
class Site:
    gateway: Gateway
    service: Service
    secure: Service
    explicit: int
    broken: Path  # names the part that raises

    def open(self, query: str = "?model=gpt-new", **more: Any) -> ClientConnection:
        headers = {"Authorization": f"Bearer {token()}", **more.pop("additional_headers", {})}
        url = f"ws://127.0.0.1:{self.gateway.port}{more.pop('path', PATH)}{query}"
        return connect(url, additional_headers=headers, proxy=None, **more)

    def opens(self) -> bool:
        """Return whether a WebSocket can be opened now."""
        with contextlib.suppress(InvalidStatus), self.open():
            return True
        return False

    def recorded(self, opened: str, what: str) -> list[HTTPFlow]:
        """Return the recorded messages, or the end, of one WebSocket."""
        wanted = [f for f in recorded_flows(self.gateway.recordings) if f.comment == f"{what} of {opened}"]
        return sorted(wanted, key=lambda f: f.id)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, launch: Callable[..., Gateway]) -> Iterator[Site]:
    folder, port, explicit = tmp_path_factory.mktemp("websocket"), free_port(), free_port()
    authority = Authority(folder)
    certificate = authority.issue("localhost")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate.certificate, certificate.key)
    service, secure = Service().start(), Service().start(tls)
    ca.save(ca.make(["localhost", "127.0.0.1"]))
    policies = {
        "realtime": REALTIME.format(name="realtime", upstream=f"http://127.0.0.1:{service.port}", tls=""),
        "secure": REALTIME.format(
            name="secure", upstream=f"https://localhost:{secure.port}", tls=f"tls: {{ca: {authority.path}}}"
        ),
    }
    write_policies(folder, port, 1, gateway=GATEWAY.format(explicit=explicit), **policies)
    broken = folder / "break"
    broken.write_text("")
    gateway = launch(
        folder, port, "-n", "--set", "weir_listen=true",
        scripts=(BUNDLE, Path(__file__).with_name("breaker.py")), environment={"WEIR_BREAK_FILE": str(broken)},
    )  # fmt: skip
    yield Site(gateway, service, secure, explicit, broken)
    gateway.stop()
    for each in (service, secure):
        assert each.server is not None
        each.server.shutdown()


@pytest.fixture(autouse=True)
def _echo(site: Site) -> Iterator[None]:
    site.service.say = lambda connection, message: connection.send(message)
    yield
    for line in site.gateway.log:
        assert "crashed" not in line, line


def until(true: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := true()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def closed(client: ClientConnection) -> tuple[int | None, str | None]:
    """Return the code and reason of the gateway's close, and drop earlier messages."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            client.recv(timeout=PATIENCE)
    return client.close_code, client.close_reason


def test_a_handshake_forwards_only_named_headers(site: Site) -> None:
    headers = {"X-Consumer-Username": "root", "OpenAI-Beta": "realtime=v1", "Range": "bytes=0-1"}
    with site.open(subprotocols=["realtime"], additional_headers=headers) as client:
        assert client.response is not None
        opened = client.response.headers["X-Request-Id"]
    head = site.service.heads[-1]
    assert head["openai-beta"] == "realtime=v1" and not {"x-consumer-username", "range"} & set(head)
    noted = site.gateway.sql(f"SELECT dropped_headers FROM flows WHERE request_id = '{opened}'")
    assert noted == [(["x-consumer-username", "range"],)]


def test_messages(site: Site) -> None:
    """Each message is masked for its receiver, and recorded before it is delivered."""
    with site.open(subprotocols=["realtime"]) as client:
        assert client.subprotocol == "realtime"
        assert client.response is not None
        opened = client.response.headers["X-Request-Id"]
        client.send(json.dumps({"text": "write to eva@example.com"}))
        assert json.loads(client.recv(timeout=PATIENCE)) == {"text": "write to (mail)"}
        assert json.loads(site.service.heard[-1]) == {"text": "write to (mail)"}
        said = site.recorded(opened, "message")  # while the WebSocket is open
        assert [m.from_client for f in said for m in f.websocket.messages] == [True, False]  # type: ignore[union-attr]
        site.service.say = lambda connection, message: connection.send('{"secret": "s", "a": 1}')
        client.send("[1]")
        assert json.loads(client.recv(timeout=PATIENCE)) == {"secret": "x", "a": 1}
    head = site.service.heads[-1]
    assert head["authorization"] == f"Bearer {CREDENTIAL}"
    assert "sec-websocket-extensions" not in head
    (end,) = until(lambda: site.recorded(opened, "close"))
    assert end.websocket is not None
    assert (end.websocket.close_code, end.websocket.closed_by_client) == (1000, True)
    everything = b"".join(m.content for f in site.recorded(opened, "message") for m in f.websocket.messages)  # type: ignore[union-attr]
    assert b"eva@" not in everything
    assert b'"s"' not in everything
    rows = site.gateway.sql(f"SELECT operation, request_bytes, response_bytes, session_id, \"user\" FROM flows WHERE websocket = '{opened}' ORDER BY request_id")  # fmt: skip
    assert [row[0] for row in rows] == ["message"] * 4 + ["close"]
    shown = inside.run(site.gateway.folder, "sessions", "show", str(rows[0][3]), environment=ENVIRONMENT).stdout
    assert 'caller   {"text": "write to (mail)"}' in shown
    assert "with its handshake" in shown
    assert "refused" not in shown
    files = [str(path) for path in (site.gateway.recordings / "segments").rglob("*.mitm")]
    for file in files:
        done = processes.run("mitmdump", "--flow-detail", "3", "-nr", file, folder=site.gateway.folder)
        assert done.returncode == 0
        read = done.stdout
        assert "write to (mail)" in read or "realtime" not in file
        assert "Error" not in read
    (handshake,) = site.gateway.sql(f"SELECT operation, status, model, session_id, \"user\" FROM flows WHERE request_id = '{opened}'")  # fmt: skip
    assert handshake[:3] == ("websocket", 101, "gpt-new")
    assert {row[3:] for row in rows} == {handshake[3:]}


def test_a_text_that_is_told_in_pieces(site: Site) -> None:
    """A value that is recognised in the complete text does not pass in parts; withheld text is sent before the end."""

    def say(connection: ServerConnection, message: Any) -> None:
        for piece in ("Write to ev", "a@exa", "mple.com tod", "ay or 12"):
            connection.send(json.dumps({"type": "response.text.delta", "item_id": "i", "delta": piece}))
        connection.send(json.dumps({"type": "response.text.done", "item_id": "i"}))
        connection.close(1000, "bye eva@example.com")

    site.service.say = say
    with site.open() as client:
        client.send("{}")
        said = []
        with contextlib.suppress(ConnectionClosed):
            while True:
                said.append(json.loads(client.recv(timeout=PATIENCE)))
        text = "".join(s.get("delta", "") for s in said)
        assert text == "Write to (mail) today or 12"
        assert said[-1]["type"] == "response.text.done"
        assert (client.close_code, client.close_reason) == (1000, "bye (mail)")


def test_who_may_open_one(site: Site) -> None:
    for why, status, more in (
        ("a rule", 403, {"query": "?model=gpt-old"}),
        ("two models", 400, {"query": "?model=gpt-new&model=gpt-old"}),
        ("another path", 403, {"path": "/realtime/v1/models"}),
        ("a connection without", 403, {"path": "/reranker/v2/rerank", "query": ""}),
        ("nobody's token", 401, {"additional_headers": {"Authorization": "Bearer x.y.z"}}),
        ("another site's page", 400, {"origin": "https://evil.example"}),
    ):
        before = len(site.service.heads)
        with pytest.raises(InvalidStatus) as refused, site.open(**more):  # type: ignore[arg-type]
            pass
        assert refused.value.response.status_code == status, why
        assert refused.value.response.headers["Content-Type"] == "application/problem+json"
        assert len(site.service.heads) == before
    with site.open(origin=f"http://127.0.0.1:{site.gateway.port}") as client:  # type: ignore[arg-type]
        client.send("{}")
        assert client.recv(timeout=PATIENCE) == "{}"


def handshake(*lines: str, key: str = KEY, method: str = "GET") -> bytes:
    """Send a handshake as bytes."""
    return websocket_handshake(f"{PATH}?model=m", token(), *lines, key=key, method=method)


def test_half_a_handshake(site: Site) -> None:
    before = len(site.service.heads)
    for request in (
        handshake(method="POST"),
        handshake(key="short"),
        handshake("Sec-WebSocket-Version: 13"),
        handshake("Sec-WebSocket-Key: BAAAAAAAAAAAAAAAAAAAAA=="),
        handshake("Upgrade: h2c"),
        handshake("Content-Length: 5") + b"hello",
        handshake("Sec-WebSocket-Protocol: a b"),
        handshake().replace(b" HTTP/1.1", b" HTTP/1.0"),
        handshake().replace(b"Connection: Upgrade\r\n", b""),
        handshake().replace(b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Version: 8"),
    ):
        assert site.gateway.raw(request).startswith(b"HTTP/1.1 400 "), request
    assert len(site.service.heads) == before


@pytest.mark.parametrize(
    "answer",
    [
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAA",
        "Upgrade: tcp\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}",
        "Upgrade: websocket\r\nSec-WebSocket-Accept: {accept}",
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Extensions: x",
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: x",
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Accept: AAAA",
    ],
)
def test_answers_that_open_none(answer: str, deaf: "Deaf") -> None:
    deaf.answer = answer
    plain = handshake().replace(b"Upgrade: websocket\r\n", b"").replace(b"/v1/realtime", b"/v1/models")
    with socket.create_connection(("127.0.0.1", deaf.gateway.port), timeout=PATIENCE) as connection:
        for request, status in ((handshake(), 502), (plain, 200), (handshake(), 502)):
            reply = say(connection, request)
            assert reply.startswith(b"HTTP/1.1 %d " % status), reply
            assert b"after" not in reply


@dataclass
class Deaf:
    """A service that sends its own 101, and bytes after it."""

    gateway: Gateway
    answer: str = ""


@pytest.fixture(scope="module")
def deaf(tmp_path_factory: pytest.TempPathFactory, launch: Callable[..., Gateway]) -> Iterator[Deaf]:
    folder, port = tmp_path_factory.mktemp("deaf"), free_port()
    listener = socket.create_server(("127.0.0.1", 0))
    write_policies(
        folder,
        port,
        1,
        gateway=GATEWAY.format(explicit=free_port()),
        realtime=REALTIME.format(name="realtime", upstream=f"http://127.0.0.1:{listener.getsockname()[1]}", tls=""),
    )
    found = Deaf(launch(folder, port, "-n", "--set", "weir_listen=true"))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    head = connection.recv(65536).decode()
                    if "Sec-WebSocket-Key" not in head or "Upgrade" not in head:
                        connection.sendall(json_answer({"data": []}))
                        continue
                    said = found.answer.format(accept=websocket_accept(head.encode()))
                    connection.sendall(
                        f"HTTP/1.1 101 Switching Protocols\r\n{said}\r\n\r\n".encode() + b"\x81\x05after"
                    )
                    time.sleep(0.2)

    threading.Thread(target=serve, daemon=True).start()
    yield found
    found.gateway.stop()
    listener.close()


def test_what_cannot_be_masked_closes(site: Site) -> None:
    """Binary messages and ambiguous JSON are neither passed on nor recorded."""
    for message in (b"\x00\x01binary", '{"secret": 1, "secret": 2}', "not JSON"):
        with site.open() as client:
            assert client.response is not None
            opened = client.response.headers["X-Request-Id"]
            before = len(site.service.heard)
            client.send(message)
            code, reason = closed(client)
            assert code == 1008
            assert "cannot be masked" in str(reason)
            assert len(site.service.heard) == before
        (end,) = until(lambda opened=opened: site.recorded(opened, "close"))  # type: ignore[misc]
        assert end.websocket is not None
        assert end.websocket.closed_by_client is None
        assert site.recorded(opened, "message") == []
    errors = site.gateway.sql("SELECT error FROM flows WHERE operation = 'close' AND error IS NOT NULL")
    assert len(errors) == 3


def test_a_caller_that_reads_late_learns_that_its_message_is_too_big(site: Site) -> None:
    """It sends all of its message before it reads: the rest must not make the gateway reset the connection."""
    with socket.create_connection(("127.0.0.1", site.gateway.port), timeout=PATIENCE) as caller:
        caller.sendall(websocket_handshake(PATH, token()))
        with caller.makefile("rb") as received:
            assert b" 101 " in received.readline()
            while received.readline() != b"\r\n":
                pass
            caller.sendall(b"\x81\xff" + struct.pack(">Q", 40 << 20) + b"\0\0\0\0")
            for _ in range(40):
                caller.sendall(b" " * (1 << 20))
            assert received.read(4) == b"\x88\x18" + struct.pack(">H", 1009)
            caller.sendall(b"\x88\x82\0\0\0\0" + struct.pack(">H", 1009))
            assert received.read() == b"the message is too big"  # and a regular end


@pytest.mark.parametrize(
    "after", [b"\x81\x82\0\0\0\0{}", b"\x88\x80\0\0\0\0", b"\x89\x80\0\0\0\0" * 20_000, b"\xff" * 300],
    ids=["a message", "a close", "pings", "no frames"],
)  # fmt: skip
def test_what_follows_a_message_that_is_too_big_is_dropped(site: Site, after: bytes) -> None:
    heard, alarms = len(site.service.heard), len(site.gateway.log)
    with socket.create_connection(("127.0.0.1", site.gateway.port), timeout=PATIENCE) as caller:
        caller.sendall(websocket_handshake(PATH, token()))
        size = (256 << 10) + 1
        caller.sendall(b"\x81\xff" + struct.pack(">Q", size) + b"\0\0\0\0" + b" " * size + after)
        with caller.makefile("rb") as received:
            assert received.read().endswith(struct.pack(">H", 1009) + b"the message is too big")
    assert len(site.service.heard) == heard
    assert not [line for line in site.gateway.log[alarms:] if "refused a WebSocket" in line or "failed" in line]


def test_bounds(site: Site) -> None:
    """A message larger than `body`, a message in tiny fragments, and endless pings."""
    with site.open() as client:
        client.send(json.dumps(["x" * 300_000]))
        assert closed(client)[0] == 1009
    for crumbs in ("parts", "pings"):
        with site.open() as client:
            assert client.response is not None
            opened = client.response.headers["X-Request-Id"]
            with contextlib.suppress(ConnectionClosed):
                if crumbs == "parts":
                    client.send(iter(["["] + [" "] * 3000))  # type: ignore[arg-type]
                for _ in range(3000):
                    client.ping()
            closed(client)
        (end,) = until(lambda opened=opened: site.recorded(opened, "close"))  # type: ignore[misc]
        assert end.websocket is not None
        assert (end.websocket.close_code, end.websocket.closed_by_client) == (1008, None)
        assert end.websocket.close_reason in ("too many frames with little content", "too many pings")


def test_a_flood(site: Site) -> None:
    """Messages arrive faster than recording, from either side: the gateway reads no faster, and a stop acts at once."""
    mine = mint("flooder", ["search"], 600).reveal()
    before = len(site.service.heard)
    with site.open(additional_headers={"Authorization": f"Bearer {mine}"}) as client:

        def flood() -> None:
            with contextlib.suppress(ConnectionClosed, OSError):
                for _ in range(100_000):
                    client.send(MESSAGE)

        site.service.say = lambda connection, message: None
        used, flooding = site.gateway.memory(), threading.Thread(target=flood)
        flooding.start()
        time.sleep(2)
        assert site.gateway.memory() < used + (20 << 20)
        heard = len(site.service.heard)
        assert heard > before + 50
        inside.run(site.gateway.folder, "revoke", "subject", "flooder", environment=ENVIRONMENT)
        closed(client)
        flooding.join()
        after = len(site.service.heard)
        time.sleep(1)
        assert len(site.service.heard) == after

    def say(connection: ServerConnection, message: Any) -> None:
        with contextlib.suppress(ConnectionClosed):
            for _ in range(600):
                connection.send(MESSAGE)

    site.service.say = say
    with site.open(close_timeout=1) as client:
        used = site.gateway.memory()
        client.send("{}")
        time.sleep(2)  # read nothing
        assert site.gateway.memory() < used + (20 << 20)
        client.recv(timeout=PATIENCE)


def test_a_value_without_end(site: Site) -> None:
    """A caller's text may become one value, over many messages."""
    with site.open() as client, contextlib.suppress(ConnectionClosed):
        client.send(json.dumps({"a": "-----BEGIN PRIVATE KEY-----"}))
        for number in range(1000):
            client.send(json.dumps({"a": f"M{number}Q", "pad": "x" * 64}))
    assert closed(client)[0] in (1008, 1006)
    errors = site.gateway.sql("SELECT error FROM flows WHERE operation = 'close' AND error LIKE '%documents are held%'")
    assert len(errors) == 1


def test_a_message_is_held_no_longer_than_a_while(site: Site) -> None:
    """A possible piece of a text waits for more, but only for a short time."""
    site.service.say = lambda connection, message: connection.send(json.dumps({"said": message.upper()}))
    with site.open() as client:
        for text in ("one", "and two"):
            asked = time.monotonic()
            client.send(json.dumps({"text": text}))
            assert json.loads(json.loads(client.recv(timeout=PATIENCE))["said"]) == {"TEXT": text.upper()}
            assert 0.2 < time.monotonic() - asked < 3  # withheld text is sent after a quarter of a second of silence


def test_crumbs_of_a_service(site: Site) -> None:
    """Empty frames delay no other caller."""
    site.service.say = lambda connection, message: connection.send(["["] + [""] * 20_000)
    with site.open() as client:
        client.send("{}")
        began = time.monotonic()
        assert site.gateway.call("/.well-known/weir/whoami", method="GET", token=token()).status == 200
        assert time.monotonic() - began < 3
        assert closed(client)[0] == 1008


def test_it_may_be_silent(site: Site) -> None:
    """The bounds on the first byte and between requests do not apply, and pings reach the other side."""
    with site.open() as client:
        time.sleep(4)
        assert client.ping("what is in it stays here").wait(PATIENCE)
        client.send("{}")
        assert client.recv(timeout=PATIENCE) == "{}"


def test_the_caller_goes(site: Site) -> None:
    before = len(site.service.closed)
    with site.open() as client:
        client.send("{}")
        client.recv(timeout=PATIENCE)
        client.socket.shutdown(socket.SHUT_RDWR)
    assert until(lambda: 1001 in site.service.closed[before:])


def test_a_credential_that_comes_back(site: Site) -> None:
    spelt = "".join(f"\\u{ord(c):04x}" for c in CREDENTIAL)
    for said in (f'["{CREDENTIAL}"]', f'["{spelt}"]'):
        site.service.say = lambda connection, message, said=said: connection.send(said)  # type: ignore[misc]
        with site.open() as client:
            client.send("{}")
            assert CREDENTIAL not in json.loads(client.recv(timeout=PATIENCE))[0]


def test_through_the_proxy(site: Site) -> None:
    """An explicit caller opens the WebSocket in its tunnel."""
    tls = ssl.create_default_context(cafile=str(ca.certificate_path()))
    proxy = f"http://user:{token()}@127.0.0.1:{site.explicit}"
    with connect(f"wss://localhost:{site.secure.port}/v1/realtime?model=m", proxy=proxy, ssl=tls) as client:
        client.send('{"a": "eva@example.com"}')
        assert json.loads(client.recv(timeout=PATIENCE)) == {"a": "(mail)"}
        time.sleep(3)
        client.send("{}")
        assert client.recv(timeout=PATIENCE) == "{}"


@pytest.mark.filterwarnings("ignore:connect:DeprecationWarning")  # the library calls a deprecated function
def test_the_openai_sdk(site: Site) -> None:
    """A real client of a real API, with only its base URL changed."""

    def say(connection: ServerConnection, message: Any) -> None:
        connection.send(json.dumps({"type": "response.done", "event_id": "e", "response": {"id": "eva@example.com"}}))

    site.service.say = say
    url = f"ws://127.0.0.1:{site.gateway.port}/realtime/v1"
    client = OpenAI(api_key=token(), websocket_base_url=url, base_url=url.replace("ws", "http"))
    with client.realtime.connect(model="gpt-new") as connection:
        connection.send({"type": "response.create"})
        event = connection.recv()
        assert event.type == "response.done"
        assert event.response.id == "(mail)"
    assert json.loads(site.service.heard[-1]) == {"type": "response.create"}


@pytest.mark.parametrize(
    "part",
    [
         "websockets.websocket_message", "conversations.message_maskers", "records.websocket_message",
        "websocket.message.permit", "websocket.message.scrub_message", "websocket.message.mask_message",
        "websocket.message.record_message", "messages.scrubbed", "messages.scrubber", "websockets.begin",
        "answer.mask_answer_fields", "request.open.open_websocket", "request.open.settle_limits",
    ],
)  # fmt: skip
def test_a_room_that_raises_closes(site: Site, part: str) -> None:
    """A message that a room has not processed does not pass, and the next WebSocket works as before."""
    site.service.say = lambda connection, message: connection.send('{"secret": "unmasked"}')
    heard = len(site.service.heard)
    at_once = part.startswith(("conversations.", "websockets.begin", "answer.", "request."))
    status, said = 101, []
    try:
        if at_once:
            site.broken.write_text(part)
        with site.open() as client:
            site.broken.write_text(part)
            with contextlib.suppress(ConnectionClosed):
                client.send("{}")
                while True:
                    said.append(client.recv(timeout=PATIENCE))
            assert client.close_code == 1011
    except InvalidStatus as refused:
        status = refused.response.status_code
    finally:
        site.broken.write_text("")
    assert status in ((101, 503) if at_once else (101,))
    assert not any("unmasked" in message for message in said)
    if part != "messages.scrubbed":  # this part handles only the service's messages
        assert len(site.service.heard) == heard
    with site.open() as client:
        client.send("{}")
        assert json.loads(client.recv(timeout=PATIENCE)) == {"secret": "x"}


def test_who_is_let_in_no_longer(site: Site) -> None:
    """After a revocation or a stop, the WebSocket is closed within seconds, and the end is recorded."""
    folder = site.gateway.folder
    ends: dict[str, tuple[int, Callable[[], object]]] = {
        "Revoked": (1008, lambda: inside.run(folder, "revoke", "subject", "leaver-1008-R", environment=ENVIRONMENT)),
        "Stopped": (
            1008,
            lambda: inside.run(folder, "stop", "--connection", "realtime", "--reason", "r", environment=ENVIRONMENT),
        ),
    }
    for reason, (code, end) in ends.items():
        mine = mint(f"leaver-{code}-{reason[0]}", ["search"], 600).reveal()
        with site.open(additional_headers={"Authorization": f"Bearer {mine}"}) as client:
            client.send("{}")
            assert client.recv(timeout=PATIENCE) == "{}"
            end()
            assert closed(client) == (code, reason)
        if reason == "Stopped":
            inside.run(folder, "start", "--connection", "realtime", environment=ENVIRONMENT)
            assert until(site.opens)


def test_the_policies_change(site: Site) -> None:
    file = site.gateway.folder / "policies/realtime.yaml"
    with site.open() as client:
        file.write_text(file.read_text().replace("gpt-old", "gpt-older"))
        assert closed(client) == (1012, "the policies have changed; connect again")


def test_the_gateway_stops(tmp_path: Path, launch: Callable[..., Gateway]) -> None:
    """A stop closes WebSockets and records their end; after a kill, the handshake and the messages are recorded."""
    service, port = Service().start(), free_port()
    realtime = REALTIME.format(name="realtime", upstream=f"http://127.0.0.1:{service.port}", tls="")
    write_policies(tmp_path, port, 1, gateway=GATEWAY.format(explicit=free_port()), realtime=realtime + MORE)
    for how, ended in ((signal.SIGTERM, 1), (signal.SIGKILL, 0)):
        gateway = launch(tmp_path, port, "-n", "--set", "weir_listen=true")
        site = Site(gateway, service, service, 0, tmp_path)
        with site.open() as client:
            assert client.response is not None
            opened = client.response.headers["X-Request-Id"]
            client.send("{}")
            assert client.recv(timeout=PATIENCE) == "{}"
            with pytest.raises(InvalidStatus) as refused, site.open():
                pass
            assert refused.value.response.status_code == 429  # the limit of one counts while the WebSocket is open
            gateway.stop(how)
            if ended:
                assert closed(client) == (1001, "the gateway stops")
        assert len(site.recorded(opened, "message")) == 2
        assert len(site.recorded(opened, "close")) == ended
    again = launch(tmp_path, port, "-n", "--set", "weir_listen=true")
    assert again.sql(f"SELECT count(*) FROM flows WHERE '{opened}' IN (request_id, websocket)") == [(3,)]
    again.stop()
    assert service.server is not None
    service.server.shutdown()
