"""HTTP/2 callers and services: each stream is judged separately, and no protocol feature evades that."""

import contextlib
import json
import shutil
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import h2.exceptions
import pytest

from tests.end_to_end import http2
from tests.end_to_end.certificates import Authority
from tests.end_to_end.gateway import (
    CREDENTIAL,
    PATIENCE,
    RANKING,
    Gateway,
    Upstream,
    free_port,
    json_answer,
    token,
    write_policies,
)

REQUEST = {"model": "m", "query": "q", "documents": ["a", "b"]}
BODY = json.dumps(REQUEST).encode()
PATH = "/old/v2/rerank"

GATEWAY = """
version: 1
listen: [{{url: "https://127.0.0.1:{port}", tls: {{certificate: listener.pem, key: listener.key}}}}]
issuers: [local]
recordings: {recordings}
"""
CONNECTION = """
version: 1
connection: {name}
profile: cohere
upstream: {upstream}
match: {{path: /{name}}}
credential: {{header: Authorization, value: "Bearer ${{env:TEST_UPSTREAM_KEY}}"}}
access: {{groups: [search]}}
{more}
"""
FEW = "rules: [{name: few, when: {documents: {gt: 3}}, effect: deny}]"
HELD = """
approval: {reviewers: [leads], hold: 60s}
rules: [{name: held, when: {documents: {gt: 0}}, effect: require_approval}]
"""


@dataclass
class Site:
    """A gateway with a TLS listener, and three services: HTTP/1.1, HTTP/2, and one that is down."""

    gateway: Gateway
    old: Upstream
    new: http2.Service
    trust: ssl.SSLContext

    callers: list[http2.Caller] = field(default_factory=list)

    def call(self) -> http2.Caller:
        self.callers.append(http2.call(self.gateway.port, self.trust))
        return self.callers[-1]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, launch: Callable[..., Gateway]) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("http2")
    authority = Authority(folder)
    issued = authority.issue("localhost", "127.0.0.1")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(issued.certificate, issued.key)
    old, new, port = Upstream(), http2.Service(tls), free_port()
    new.answer = lambda body: (
        [(":status", "200"), ("content-type", "application/json")],
        json.dumps(RANKING).encode(),
        None,
    )
    policies = folder / "policies"
    policies.mkdir()
    shutil.copy(issued.certificate, policies / "listener.pem")
    shutil.copy(issued.key, policies / "listener.key")
    trusting = f"tls: {{ca: {authority.path}}}"
    write_policies(
        folder, port, old.port, gateway=GATEWAY,
        old=CONNECTION.format(name="old", upstream=f"http://127.0.0.1:{old.port}", more=FEW),
        new=CONNECTION.format(name="new", upstream=f"https://localhost:{new.port}", more=trusting),
        held=CONNECTION.format(name="held", upstream=f"http://127.0.0.1:{old.port}/held", more=HELD),
        down=CONNECTION.format(name="down", upstream=f"http://127.0.0.1:{free_port()}", more=""),
    )  # fmt: skip
    gateway = launch(folder, port, "-n", "--set", "weir_listen=true", "--set", "body_size_limit=1m")
    site = Site(gateway, old, new, ssl.create_default_context(cafile=str(authority.path)))
    yield site
    for caller in site.callers:
        caller.close()
    gateway.stop()
    old.stop()
    new.stop()


def head(path: str = PATH, bearer: str = "", *more: tuple[str, str], **pseudo: str) -> http2.Headers:
    given = {"method": "POST", "scheme": "https", "authority": "127.0.0.1", "path": path, **pseudo}
    fields = [("authorization", f"Bearer {bearer}")] if bearer else []
    return [
        *((f":{n}", v) for n, v in given.items() if v != "none"),
        *fields,
        ("content-type", "application/json"),
        *more,
    ]


def test_streams_are_judged_one_by_one(site: Site) -> None:
    """Several callers share one connection at the same time: each gets its own answer."""
    caller, alice, mallory = site.call(), token(), token("mallory", "others")
    many = json.dumps({**REQUEST, "documents": ["a"] * 4}).encode()
    asked = [
        (caller.ask(head(bearer=alice), BODY), 200), (caller.ask(head(bearer=mallory), BODY), 403),
        (caller.ask(head(), BODY), 401), (caller.ask(head(bearer=alice), many), 403),
        (caller.ask(head("/new/v2/rerank", alice), BODY), 200), (caller.ask(head("/nowhere", alice), BODY), 404),
        (caller.ask(head("/down/v2/rerank", alice), BODY), 502), (caller.ask(head(bearer=alice), BODY), 200),
    ]  # fmt: skip
    for stream, status in asked:
        answered = caller.answer(stream)
        assert answered.status == status and answered.headers["x-request-id"], (stream, answered)
        assert json.loads(answered.body) == RANKING if status == 200 else json.loads(answered.body)["status"] == status
        assert b"mitmproxy" not in answered.body and "connection" not in answered.headers
    seen = site.old.seen[-1]
    assert seen.head.startswith(b"POST /v2/rerank HTTP/1.1\r\nHost: 127.0.0.1:") and seen.body == BODY
    assert seen.headers["authorization"] == f"Bearer {CREDENTIAL}" and "127.0.0.1" in seen.headers["host"]
    headers, body = site.new.seen[-1]
    assert dict(headers)[":authority"] == f"localhost:{site.new.port}" and body == BODY
    assert dict(headers)["authorization"] == f"Bearer {CREDENTIAL}" and dict(headers)[":path"] == "/v2/rerank"


def test_connections_to_services_are_used_again(site: Site) -> None:
    """Sequential streams share one HTTP/1.1 connection; simultaneous ones use as many as they need."""
    caller, alice = site.call(), token()
    before = site.old.connections
    for _ in range(20):
        assert caller.answer(caller.ask(head(bearer=alice), BODY)).status == 200
    assert site.old.connections == before + 1
    site.old.answer = lambda seen: time.sleep(0.3) or json_answer(RANKING)  # type: ignore[func-returns-value]
    began = time.monotonic()
    streams = [caller.ask(head(bearer=alice), BODY) for _ in range(40)]
    assert [caller.answer(stream).status for stream in streams] == [200] * 40
    assert time.monotonic() - began < 4  # in sequence they take 12 s, in groups of five at least 2.4 s
    site.old.answer = lambda seen: json_answer(RANKING)
    used = site.old.connections
    for _ in range(20):
        assert caller.answer(caller.ask(head(bearer=alice), BODY)).status == 200
    assert site.old.connections == used
    before = site.new.connections
    streams = [caller.ask(head("/new/v2/rerank", alice), BODY) for _ in range(40)]
    assert [caller.answer(stream).status for stream in streams] == [200] * 40
    assert site.new.connections == before + 1


def test_bodies_and_heads_that_are_too_large(site: Site) -> None:
    caller, good = site.call(), token()
    before = len(site.old.seen)
    told = caller.answer(caller.ask(head(PATH, good, ("content-length", "2000000")), b"x" * 100, end=False))
    assert told.status == 413 and json.loads(told.body)["type"] == "urn:weir:problem:request-too-large"
    untold = caller.answer(caller.ask(head(PATH, good), b"x" * 1_500_000))
    assert untold.status == 413 and json.loads(untold.body)["status"] == 413
    trailed = caller.answer(caller.ask(head(PATH, good), BODY, [("x-trailer", "y")]))
    assert trailed.status == 400
    assert caller.answer(caller.ask(head(PATH, good), BODY)).status == 200
    many = caller.answer(caller.ask(head(PATH, good, *((f"x-{i}", "y") for i in range(300))), BODY))
    assert many.status == 431
    caller.ask(head(PATH, good, *((f"x-{i}", "y" * 1000) for i in range(100))), BODY)
    while caller.ended is None and caller.read():
        pass
    assert caller.ended is not None  # headers are limited to 64 kB
    assert len(site.old.seen) == before + 1


def test_answers_of_services_are_brought_over(site: Site) -> None:
    """Features that only HTTP/2 or only HTTP/1.1 has are translated."""
    caller, good = site.call(), token()
    body = json.dumps(RANKING).encode()
    plain = [(":status", "200"), ("content-type", "application/json")]
    site.new.answer = lambda _: (plain, body, [("x-checksum", "1")])
    trailed = caller.answer(caller.ask(head("/new/v2/rerank", good), BODY))
    assert trailed.status == 200 and trailed.body == body and trailed.ended
    site.new.answer = lambda _: ([(":status", "500"), ("server", "x")], b"", None)
    assert caller.answer(caller.ask(head("/new/v2/rerank", good), BODY)).status == 500
    site.new.answer = lambda _: (plain, body, None)
    chunked = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nKeep-Alive: x\r\n\r\n"
    )
    site.old.answer = lambda _: chunked + b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    unchunked = caller.answer(caller.ask(head(PATH, good), BODY))
    assert (
        unchunked.body == body
        and "transfer-encoding" not in unchunked.headers
        and "keep-alive" not in unchunked.headers
    )
    site.old.answer = lambda _: json_answer(RANKING)


def test_a_stream_that_a_service_refuses_ends_alone(site: Site) -> None:
    """The connection stays open, so the request is not sent again, and other streams get their answers."""
    caller, good = site.call(), token()
    assert caller.answer(caller.ask(head("/new/v2/rerank", good), BODY)).status == 200
    site.new.refuses = b"unwelcome"
    before = len(site.new.seen)
    bodies = [BODY, json.dumps({"model": "m", "query": "unwelcome", "documents": ["a"]}).encode(), BODY]
    streams = [caller.ask(head("/new/v2/rerank", good), body) for body in bodies]
    assert [caller.answer(stream).status for stream in streams] == [200, 502, 200]
    assert len(site.new.seen) - before == 3
    site.new.refuses = b""


def test_a_caller_that_asks_and_takes_back_is_let_go(site: Site) -> None:
    caller, good = site.call(), token()
    for _ in range(400):
        stream = caller.ask(head(PATH, good), b"x", end=False)
        caller.h2.reset_stream(stream)
        try:
            caller.flush()
        except OSError:
            break
    while caller.ended is None and caller.read():
        pass
    assert caller.ended == 11  # ENHANCE_YOUR_CALM
    again = site.call()
    assert again.answer(again.ask(head(bearer=good), BODY)).status == 200


FLOODS = {
    "pings": (6, b"12345678"), "settings": (4, b""), "priorities": (2, b"\0\0\0\0\x10"), "windows": (8, b"\0\0\0\1"),
    "unknown frames": (77, b""), "crumbs": (0, b"x"), "nothing": (0, b""),
}  # fmt: skip


@pytest.mark.parametrize("name", FLOODS)
def test_frames_that_say_little(site: Site, name: str) -> None:
    """Thousands of small frames end the connection, and no other caller waits for that."""
    kind, payload = FLOODS[name]
    caller, good, slowest = site.call(), token(), 0.0
    stream = caller.ask(head(bearer=good), b"", end=False) if kind in (0, 2) else 0
    if kind == 8:
        stream = 0
    frame = len(payload).to_bytes(3) + bytes([kind, 0]) + stream.to_bytes(4) + payload
    other = site.call()
    with contextlib.suppress(OSError):
        for _ in range(40):
            caller.connection.sendall(frame * 5000)
            began = time.monotonic()
            assert other.answer(other.ask(head(bearer=good), BODY)).status == 200
            slowest = max(slowest, time.monotonic() - began)
        raise AssertionError("all of them were taken")
    assert slowest < 1.5
    other.close()


def test_strangers_are_let_go(site: Site) -> None:
    """A connection without an identified caller ends after a while; one with an identified caller stays open."""
    caller = site.call()
    for _ in range(150):
        if caller.ended is not None:
            break
        with contextlib.suppress(OSError, h2.exceptions.ProtocolError):
            caller.answer(caller.ask(head("/nowhere"), BODY))
    assert caller.ended == 0
    known, good = site.call(), token()
    for _ in range(2):
        for _ in range(60):
            assert known.answer(known.ask(head("/nowhere"), BODY)).status == 404
        assert known.answer(known.ask(head(bearer=good), BODY)).status == 200


def test_a_held_request_that_is_taken_back_is_withdrawn(site: Site) -> None:
    caller, before = site.call(), len(site.old.seen)
    stream = caller.ask(head("/held/v2/rerank", token("impatient", "search")), BODY)
    eventually(lambda: site.gateway.sql("SELECT outcome FROM approvals WHERE user = 'impatient'") == [("pending",)])
    caller.h2.reset_stream(stream, 8)
    caller.flush()
    eventually(lambda: site.gateway.sql("SELECT outcome FROM approvals WHERE user = 'impatient'") == [("withdrawn",)])
    eventually(lambda: site.gateway.sql("SELECT status FROM flows WHERE user = 'impatient'") == [(499,)])
    assert len(site.old.seen) == before
    assert caller.answer(caller.ask(head(bearer=token()), BODY)).status == 200


def test_a_request_that_is_taken_back_at_once_asks_no_reviewer(site: Site) -> None:
    caller, before = site.call(), len(site.old.seen)
    stream = caller.h2.get_next_available_stream_id()
    caller.h2.send_headers(stream, head("/held/v2/rerank", token("hasty", "search")))
    caller.h2.send_data(stream, BODY, end_stream=True)
    caller.h2.reset_stream(stream, 8)
    caller.flush()
    query = "SELECT status, problem, error FROM flows WHERE user = 'hasty'"
    eventually(lambda: site.gateway.sql(query) == [(0, None, "stream reset by client")])
    assert site.gateway.sql("SELECT count(*) FROM approvals WHERE user = 'hasty'") == [(0,)]
    assert len(site.old.seen) == before


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_plain_http2_is_not_spoken(site: Site) -> None:
    assert not site.gateway.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").startswith(b"\0")
