"""Callers that leave or cancel requests in each phase: the gateway stops their work and records the end."""

import contextlib
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from tests import processes
from tests.auth.misbehaving import Behaviour, Provider
from tests.end_to_end import http2
from tests.end_to_end.certificates import Authority
from tests.end_to_end.gateway import (
    PATIENCE,
    RANKING,
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
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"

GATEWAY = """
version: 1
listen:
  - http://127.0.0.1:{{port}}
  - {{{{url: "https://127.0.0.1:{secure}", tls: {{{{certificate: listener.pem, key: listener.key}}}}}}}}
issuers: [local, {issuers}]
recordings: {{recordings}}
bounds: {{{{body: 1MiB, bodies: 4MiB}}}}
"""
CONNECTION = """
version: 1
connection: {name}
profile: {profile}
upstream: {upstream}
match: {{path: /{name}}}
access: {{groups: [local/search, p0/search, p1/search, p2/search, p3/search]}}
unknown_operations: allow
limits: [{{concurrent: 1, per: user}}]
{more}
"""
FREE = "limits: [{concurrent: 1000, per: user}]"
HELD = """
approval: {reviewers: [local/leads], hold: 60s}
rules: [{name: sure, on: response, when: {top_score: {gt: 0.5}}, effect: require_approval}]
"""

#: Ways to leave, with the recorded error.
HOW = {"reset": "stream reset by client", "close of HTTP/2": "peer closed connection", "close": "Client disconnected."}


class Stalling(Upstream):
    """A service that starts TLS only when the test allows it."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self.go, self.came = threading.Event(), threading.Event()
        super().__init__(tls=tls)

    def _serve(self, connection: socket.socket) -> None:
        self.came.set()
        assert self.go.wait(PATIENCE)
        super()._serve(connection)


@dataclass
class Site:
    """A gateway, services of several kinds, and providers of keys."""

    gateway: Gateway
    secure: int
    trust: ssl.SSLContext
    old: Upstream
    new: http2.Service
    stalling: Stalling
    providers: list[Provider]
    released: threading.Event = field(default_factory=threading.Event)

    def call(self) -> http2.Caller:
        return http2.call(self.secure, self.trust)

    def leave(self, how: str, path: str, bearer: str, when: Callable[[], object], body: bytes = BODY) -> None:
        """Request *path*, and leave when *when* returns."""
        if how == "close":
            with socket.create_connection(("127.0.0.1", self.gateway.port), timeout=PATIENCE) as connection:
                head = f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {bearer}\r\n"
                typed = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
                connection.sendall((head + typed).encode() + body)
                when()
            return
        caller = self.call()
        stream = caller.ask(head_of(path, bearer), body)
        when()
        if how == "reset":
            caller.h2.reset_stream(stream, 8)
            caller.flush()
            # The connection stays open.
            assert caller.answer(caller.ask(head_of("/.well-known/weir/whoami", token(), method="GET"))).status == 200
        caller.close()

    def recorded(self, user: str) -> list[tuple[int, str | None, str | None]]:
        """Wait for a record of *user*, and return its status, problem and error."""
        query = f"SELECT status, problem, error FROM flows WHERE \"user\" = '{user}'"
        eventually(lambda: bool(self.gateway.sql(query)))
        return self.gateway.sql(query)  # type: ignore[return-value]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, launch: Callable[..., Gateway]) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("leaving")
    authority = Authority(folder)
    issued = authority.issue("127.0.0.1", "localhost")
    tls = issued.server()
    h2_tls = issued.server()
    (folder / "policies").mkdir()
    issued.for_listener(folder / "policies")
    old, new, stalling, port, secure = Upstream(), http2.Service(h2_tls), Stalling(tls), free_port(), free_port()
    new.answer = lambda body: (
        [(":status", "200"), ("content-type", "application/json")], json.dumps(RANKING).encode(), None,
    )  # fmt: skip
    providers = [Provider() for _ in range(4)]
    issuers = ", ".join(f"{{name: p{n}, issuer: {p.url}, audience: weir}}" for n, p in enumerate(providers))
    trusting = f"tls: {{ca: {authority.path}}}"
    write_policies(
        folder, port, old.port,
        gateway=GATEWAY.format(secure=secure, issuers=issuers.replace("{", "{{").replace("}", "}}")),
        old=CONNECTION.format(name="old", profile="cohere", upstream=f"http://127.0.0.1:{old.port}/old", more=""),
        free=CONNECTION.format(name="free", profile="cohere", upstream=f"http://127.0.0.1:{old.port}/free", more="").replace("limits: [{concurrent: 1, per: user}]", FREE),
        chat=CONNECTION.format(name="chat", profile="openai", upstream=f"http://127.0.0.1:{old.port}/chat", more=""),
        held=CONNECTION.format(name="held", profile="cohere", upstream=f"http://127.0.0.1:{old.port}/held", more=HELD),
        new=CONNECTION.format(name="new", profile="cohere", upstream=f"https://localhost:{new.port}", more=trusting),
        stalling=CONNECTION.format(name="stalling", profile="cohere", upstream=f"https://localhost:{stalling.port}", more=trusting),
    )  # fmt: skip
    (folder / "policies/reranker.yaml").unlink()
    gateway = launch(folder, port, "-n", "--set", "weir_listen=true")
    trust = ssl.create_default_context(cafile=str(authority.path))
    site = Site(gateway, secure, trust, old, new, stalling, providers)
    yield site
    site.released.set()
    stalling.go.set()
    gateway.stop()
    for server in (old, new, stalling, *providers):
        server.stop()


@pytest.fixture(autouse=True)
def _answers(site: Site) -> Iterator[None]:
    site.released = threading.Event()
    site.old.answer = lambda seen: json_answer(RANKING)
    yield
    site.released.set()


def head_of(path: str, bearer: str, *more: tuple[str, str], method: str = "POST") -> http2.Headers:
    pseudo = [(":method", method), (":scheme", "https"), (":authority", "127.0.0.1"), (":path", path)]
    return [*pseudo, ("authorization", f"Bearer {bearer}"), ("content-type", "application/json"), *more]


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def slowly(site: Site, *pieces: bytes) -> tuple[Callable[[Seen], Iterator[bytes]], threading.Event]:
    """Return an answer that sends *pieces* and then pauses until the test ends, and an event for the last piece."""
    said = threading.Event()

    def answer(seen: Seen) -> Iterator[bytes]:
        yield from pieces
        said.set()
        site.released.wait(PATIENCE)
        yield b""

    return answer, said


@pytest.mark.parametrize("how", HOW)
def test_while_the_caller_is_identified(site: Site, how: str) -> None:
    user, provider, seen = f"identity-{how}", site.providers[list(HOW).index(how)], len(site.old.seen)
    assert site.gateway.call("/old/v2/rerank", REQUEST, token=provider.token()).status == 200
    provider.rotate("k2")
    fetched = provider.count("/jwks")
    with provider.behaving("/jwks", Behaviour(delay=0.7)):
        bearer = provider.token(user)
        site.leave(how, "/old/v2/rerank", bearer, lambda: eventually(lambda: provider.count("/jwks") > fetched))
        assert site.recorded(user) == [(0, None, HOW[how])]
    assert len(site.old.seen) == seen + 1
    assert site.gateway.call("/old/v2/rerank", REQUEST, token=provider.token(user)).status == 200


@pytest.mark.parametrize("how", HOW)
def test_while_the_service_is_dialled(site: Site, how: str) -> None:
    """When the connection is established, the gateway sends nothing on it."""
    user, stalling = f"dialling-{how}", site.stalling
    stalling.go.clear()
    stalling.came.clear()
    seen = len(stalling.seen)
    site.leave(how, "/stalling/v2/rerank", token(user), lambda: stalling.came.wait(PATIENCE))
    time.sleep(0.3)  # nothing shows when the gateway has noticed that the caller left
    stalling.go.set()
    assert site.recorded(user) == [(0, None, HOW[how])]
    assert site.gateway.call("/stalling/v2/rerank", REQUEST, token=token(user)).status == 200
    assert len(stalling.seen) == seen + 1


def test_a_caller_revoked_while_the_service_is_dialled(site: Site) -> None:
    """The request is not sent when the connection is established, and its approvals and limits are given back."""
    user, stalling = "dialling-revoked", site.stalling
    stalling.go.clear()
    stalling.came.clear()
    seen, got = len(stalling.seen), []
    caller = threading.Thread(
        target=lambda: got.append(site.gateway.call("/stalling/v2/rerank", REQUEST, token=token(user)))
    )
    caller.start()
    assert stalling.came.wait(PATIENCE)
    arguments = ("revoke", "subject", user, "--issuer", "local", "--reason", "left us")
    done = processes.run("weir", *arguments, folder=site.gateway.folder, environment={"TEST_UPSTREAM_KEY": "sk-x"})
    assert done.returncode == 0, done.stderr
    eventually(lambda: site.gateway.call("/old/v2/rerank", REQUEST, token=token(user)).problem == "revoked")
    time.sleep(1)  # the shared state is read every half second
    stalling.go.set()
    caller.join(PATIENCE)
    assert [answer.problem for answer in got] == ["revoked"] and len(stalling.seen) == seen
    rows = site.gateway.sql(f"SELECT upstream_ms FROM flows WHERE \"user\" = '{user}' AND connection = 'stalling'")
    assert rows == [(None,)]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize(
    "pieces",
    [(), (b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{",)],
    ids=["nothing", "a part"],
)
def test_while_the_service_answers(site: Site, how: str, pieces: tuple[bytes, ...]) -> None:
    """The service's connection is closed, and the record has no answer."""
    user = f"answering-{len(pieces)}-{how}"
    site.old.answer, said = slowly(site, *pieces)
    site.leave(how, "/old/v2/rerank", token(user), lambda: said.wait(PATIENCE))
    assert site.recorded(user) == [(0, None, HOW[how])]
    eventually(lambda: site.gateway.connections(site.old.port) == 0)
    site.old.answer = lambda seen: json_answer(RANKING)
    assert site.gateway.call("/old/v2/rerank", REQUEST, token=token(user)).status == 200


@pytest.mark.parametrize("how", HOW)
def test_while_a_stream_comes(site: Site, how: str) -> None:
    """The record has the delivered part and the error."""
    body = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}).encode()
    user = f"streaming-{how}"
    site.old.answer, said = slowly(site, STREAM_HEAD + b"a\r\ndata: {}\n\n\r\n")
    site.leave(how, "/chat/v1/chat/completions", token(user), lambda: said.wait(PATIENCE) and time.sleep(0.2), body)
    assert site.recorded(user) == [(200, None, HOW[how])]
    assert site.gateway.sql(f"SELECT outcome FROM flows WHERE \"user\" = '{user}'") == [("left_by_caller",)]
    eventually(lambda: site.gateway.connections(site.old.port) == 0)


@pytest.mark.parametrize("how", HOW)
def test_while_an_answer_waits_for_approval(site: Site, how: str) -> None:
    user = f"shelf-{how}".replace(" ", "-")
    asked = f"SELECT outcome FROM approvals WHERE \"user\" = '{user}'"
    site.leave(
        how, "/held/v2/rerank", token(user), lambda: eventually(lambda: site.gateway.sql(asked) == [("pending",)])
    )
    assert [row[:2] for row in site.recorded(user)] == [(499, "withdrawn")]
    assert site.gateway.sql(asked) == [("withdrawn",)]


@pytest.mark.parametrize(
    ("pieces", "status"),
    [
        ((b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{", b""), 502),
        ((b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{", b""), 502),
        ((STREAM_HEAD, b"9\r\ndata: 1\n\n\r\n", b""), 200),
        ((b"",), 502),
    ],
    ids=["a length", "chunks", "a stream", "nothing"],
)
def test_a_service_that_cuts_its_answer(site: Site, pieces: tuple[bytes, ...], status: int) -> None:
    """The record and the log name the end: a part of a stream is not a complete answer."""
    user = f"cut-{len(pieces)}-{len(pieces[0])}"
    path, request = "old/v2/rerank", REQUEST
    if status == 200:
        path, request = (
            "chat/v1/chat/completions",
            {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]},
        )
    site.old.answer = lambda seen: iter(pieces)  # type: ignore[assignment,return-value]
    with contextlib.suppress(OSError, http.client.HTTPException):
        site.gateway.call(f"/{path}", request, token=token(user))
    query = f"SELECT status, outcome FROM flows WHERE \"user\" = '{user}'"
    eventually(lambda: bool(site.gateway.sql(query)))
    assert site.gateway.sql(query) == [(status, "cut_by_service" if pieces[0] else "failed")]
    line = next(line for line in site.gateway.log if repr(user) in line)
    assert line.rstrip().endswith("cut_by_service" if status == 200 else "upstream-unreachable")


def test_a_stream_of_http2_at_the_service(site: Site) -> None:
    """A stream reset by the service does not count as a caller that leaves; a caller's reset reaches the service."""
    user, before = "h2-service", site.new.answer
    begun, on = threading.Event(), site.released

    def answer(body: bytes) -> tuple[http2.Headers, bytes, http2.Headers | None]:
        begun.set()
        on.wait(PATIENCE)
        return before(body)

    site.new.answer = answer
    site.leave("reset", "/new/v2/rerank", token(user), lambda: begun.wait(PATIENCE))
    assert site.recorded(user) == [(0, None, HOW["reset"])]
    on.set()
    site.new.resets = True
    with contextlib.closing(site.call()) as caller:
        answered = caller.answer(caller.ask(head_of("/new/v2/rerank", token("h2-reset")), BODY))
    assert answered.status == 502
    assert [row[:2] for row in site.recorded("h2-reset")] == [(502, "upstream-unreachable")]
    site.new.resets, site.new.answer = False, before


def rapid(caller: http2.Caller, bearer: str, path: str = "/free/v1/x", *more: tuple[str, str]) -> int:
    """Prepare a complete request without sending it."""
    stream = caller.h2.get_next_available_stream_id()
    caller.answers[stream] = http2.Answered()
    caller.h2.send_headers(stream, head_of(path, bearer, *more, method="GET"), end_stream=True)
    return stream


def test_a_request_and_its_reset_in_one_write(site: Site) -> None:
    """Also a request and the end of its connection: the service receives nothing, and both are recorded."""
    seen = len(site.old.seen)
    with contextlib.closing(site.call()) as caller:
        caller.h2.reset_stream(rapid(caller, token("at-once")), 8)
        caller.flush()
        assert site.recorded("at-once") == [(0, None, HOW["reset"])]
        (path,) = site.gateway.sql("SELECT path FROM flows WHERE \"user\" = 'at-once'")[0]
        assert path == "/free/v1/x"
        rapid(caller, token("at-once-goaway"))
        caller.h2.close_connection()
        caller.flush()
        assert [row[:2] for row in site.recorded("at-once-goaway")] == [(0, None)]
    assert len(site.old.seen) == seen


def frame(kind: int, stream: int, payload: bytes = b"", flags: int = 0) -> bytes:
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


_MOST = (2**31 - 1).to_bytes(4)
#: Ways to cause a stream reset, by either side (CVE-2023-44487, CVE-2025-8671).
RESETS: dict[str, Callable[[int], bytes]] = {
    "a reset": lambda n: frame(3, n, b"\0\0\0\x08"),
    "a reset with an unknown code": lambda n: frame(3, n, b"\0\0\xff\xff"),
    "a window too large": lambda n: frame(8, n, _MOST),
    "a window of nothing": lambda n: frame(8, n, b"\0\0\0\0"),
    "data after the end": lambda n: frame(0, n, b"x" * 100),
    "headers after the end": lambda n: frame(1, n, b"\x82", 5),
    "a stream that depends on itself": lambda n: frame(2, n, n.to_bytes(4) + b"\x10"),
    "a frame of no size": lambda n: frame(3, n, b"\0"),
}


@pytest.mark.parametrize("name", RESETS)
def test_rapid_resets_end_the_connection(site: Site, name: str) -> None:
    """For each kind of reset, few streams begin, none reaches the service, and no other caller waits."""
    seen, user, begun = len(site.old.seen), f"rapid-{name}".replace(" ", "-"), 0
    bearer = token(user)
    with contextlib.closing(site.call()) as caller:
        with contextlib.suppress(OSError):
            for _ in range(60):
                data = b""
                for _ in range(10):
                    begun += 1
                    stream = 2 * begun - 1
                    fields = [(n.encode(), v.encode()) for n, v in head_of("/free/v1/x", bearer, method="GET")]
                    data += frame(1, stream, caller.h2.encoder.encode(fields), 5) + RESETS[name](stream)
                caller.connection.sendall(data)
        with contextlib.suppress(ConnectionError, ssl.SSLError):  # it is closed; a timeout would fail
            while caller.connection.recv(65536):
                pass
    assert site.gateway.call("/free/v2/rerank", REQUEST, token=token("other")).status == 200
    assert len(site.old.seen) == seen + 1
    rows = site.gateway.sql(f"SELECT status, count(*) FROM flows WHERE \"user\" = '{user}' GROUP BY status")
    assert all(status == 0 and count <= 130 for status, count in rows), rows


def test_callers_that_take_some_back_are_not_punished(site: Site) -> None:
    """Browsers that leave a page do this, and clients that have read enough of a stream."""
    with contextlib.closing(site.call()) as caller:
        bearer = token("browser")
        for _ in range(4):
            streams = [caller.ask(head_of("/free/v2/rerank", bearer), BODY) for _ in range(80)]
            for stream in streams[:40]:
                with contextlib.suppress(Exception):  # the stream may have been answered already
                    caller.h2.reset_stream(stream, 8)
            caller.flush()
            assert [caller.answer(stream).status for stream in streams[40:]] == [200] * 40
        assert caller.ended is None


def test_streams_count_until_their_work_has_ended(site: Site) -> None:
    """Reset streams count while the gateway works for them: others are refused, and may be sent again."""
    provider = site.providers[3]
    assert site.gateway.call("/free/v2/rerank", REQUEST, token=provider.token()).status == 200
    provider.rotate("k2")
    bearer, good = provider.token("crowd"), token("after")
    with provider.behaving("/jwks", Behaviour(delay=1.5)), contextlib.closing(site.call()) as caller:
        fetched = provider.count("/jwks")
        resets = "SELECT count(*) FROM flows WHERE error = 'stream reset by client' AND coalesce(\"user\", 'crowd') = 'crowd'"
        ((before,),) = site.gateway.sql(resets)
        streams = [caller.ask(head_of("/free/v2/rerank", bearer), BODY) for _ in range(60)]
        eventually(lambda: provider.count("/jwks") > fetched)
        for stream in streams:
            caller.h2.reset_stream(stream, 8)
        more = [caller.ask(head_of("/free/v2/rerank", good), BODY) for _ in range(60)]
        found = [caller.answer(stream) for stream in more]
        assert {answered.status for answered in found if answered.reset is None} == {200}
        assert [answered.reset for answered in found if answered.reset is not None] == [7] * 20  # REFUSED_STREAM
        # A stream that is reset before its caller is known is recorded without a user.
        eventually(lambda: site.gateway.sql(resets) == [(before + 60,)])
        again = [caller.ask(head_of("/free/v2/rerank", good), BODY) for _ in range(100)]
        assert [caller.answer(stream).status for stream in again] == [200] * 100


def test_what_was_refused_is_not_kept(site: Site) -> None:
    """After its refusal, a large body takes no memory from others, even if its caller stays connected."""
    with contextlib.closing(site.call()) as caller:
        for _ in range(2):
            time.sleep(1.2)  # `bodies` is counted once a second
            streams = [
                caller.ask(head_of("/old/v2/rerank", token("large")), b" " * 1_100_000, end=False) for _ in range(3)
            ]
            assert [caller.answer(stream).status for stream in streams] == [413] * 3
