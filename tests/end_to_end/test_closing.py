"""An HTTP/1 connection stays open or closes as its caller asked, for every kind of listener and every answer.

RFC 9112, 9.3 and 9.6; RFC 9110, 7.6.1.
"""

import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.end_to_end.certificates import Authority
from tests.end_to_end.gateway import (
    PATIENCE,
    RANKING,
    Gateway,
    Seen,
    Upstream,
    free_port,
    json_answer,
    raw_answer,
    token,
    write_policies,
)
from weir.base.well_known import WHOAMI
from weir.tls import ca

BODY = json.dumps({"model": "m", "query": "q", "documents": ["a", "b"]})
CHAT = json.dumps({"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]})

GATEWAY = """
version: 1
listen:
  - http://127.0.0.1:{{port}}
  - {{{{url: "https://127.0.0.1:{secure}", tls: {{{{certificate: listener.pem, key: listener.key}}}}}}}}
  - {{{{url: "http://127.0.0.1:{explicit}", mode: explicit}}}}
issuers: [local]
recordings: {{recordings}}
bounds: {{{{body: 1MiB}}}}
"""
CONNECTION = """
version: 1
connection: {name}
profile: {profile}
upstream: {upstream}
match: {{path: /{name}}}
access: {{groups: [search]}}
unknown_operations: allow
{more}
"""
HELD = """
approval: {reviewers: [leads], hold: 60s}
rules: [{name: held, when: {documents: {gt: 0}}, effect: require_approval}]
"""
FEW = "limits: [{rate: 1/day, per: user}]"
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENTS = [b"data: {}\n\n", b"data: [DONE]\n\n"]


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)


def answer(seen: Seen) -> bytes | Iterator[bytes]:
    """Answer as the service: the last part of the path selects the answer."""
    path = seen.head.split()[1].partition(b"?")[0].rpartition(b"/")[2].decode()
    match path:
        case "completions":
            return iter([STREAM + chunked(EVENTS[0]), chunked(EVENTS[1]) + b"0\r\n\r\n"])
        case "cut":
            return iter([STREAM + chunked(EVENTS[0]), b"5\r\nda", b""])
        case "204" | "304":
            return f"HTTP/1.1 {path} x\r\n\r\n".encode()
        case "unlimited":
            return iter([b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{}", b""])
        case "last":
            return json_answer(RANKING, headers="Connection: Close\r\n")
        case "last-stream":
            head = STREAM.replace(b"chunked\r\n", b"chunked\r\nConnection: keep-alive, CLOSE\r\n")
            return head + chunked(*EVENTS) + b"0\r\n\r\n"
        case "trailed":
            return STREAM + chunked(*EVENTS) + b"0\r\nX-Checksum: 1\r\n\r\n"
        case "old":
            return json_answer(RANKING).replace(b"HTTP/1.1", b"HTTP/1.0")
    if seen.head.startswith(b"HEAD"):
        return b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    return json_answer(RANKING)


@dataclass
class Site:
    """A gateway with three listeners, and services with and without TLS."""

    gateway: Gateway
    plain: Upstream
    service: Upstream
    secure: int
    explicit: int
    trust: ssl.SSLContext

    def connect(self, way: str) -> socket.socket:
        port = {"reverse": self.gateway.port, "reverse, TLS": self.secure}.get(way, self.explicit)
        connection = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        if way == "tunnel":
            connect = f"CONNECT localhost:{self.service.port} HTTP/1.1\r\nProxy-Authorization: Bearer {token()}\r\n\r\n"
            connection.sendall(connect.encode())
            head = connection.recv(65536)
            assert head.startswith(b"HTTP/1.1 200") and b"onnection: close" not in head
            trust = ssl.create_default_context(cafile=str(ca.certificate_path()))
            return trust.wrap_socket(connection, server_hostname="localhost", suppress_ragged_eofs=False)
        if way == "reverse, TLS":
            return self.trust.wrap_socket(connection, server_hostname="127.0.0.1", suppress_ragged_eofs=False)
        return connection

    def head(
        self, way: str, target: str, *lines: str, method: str = "POST", version: str = "1.1", bearer: str = "", body: str = BODY
    ) -> bytes:  # fmt: skip
        """Return a request for *target*, a connection's name with a path below it, in the form of *way*."""
        name, _, path = target.strip("/").partition("/")
        base = {"proxy": f"http://127.0.0.1:{self.plain.port}/{name}/", "tunnel": f"/{name}/"}.get(way, f"/{name}/")
        if target.startswith("/.well-known"):
            base, path = (f"http://127.0.0.1:{self.plain.port}" if way == "proxy" else ""), target
        host = {"proxy": f"127.0.0.1:{self.plain.port}", "tunnel": f"localhost:{self.service.port}"}.get(way, "x")
        secret = token() if bearer == "" else bearer
        field = "Proxy-Authorization" if way == "proxy" else "Authorization"
        length = [f"Content-Length: {len(body)}", "Content-Type: application/json"] if method == "POST" else []
        fields = [f"Host: {host}", *([f"{field}: Bearer {secret}"] if secret != "none" else []), *length, *lines]
        content = body if method == "POST" else ""
        return ("\r\n".join([f"{method} {base}{path} HTTP/{version}", *fields]) + "\r\n\r\n" + content).encode()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, launch: Callable[..., Gateway]) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("closing")
    authority = Authority(folder)
    issued = authority.issue("127.0.0.1", "localhost")
    tls = issued.server()
    (folder / "policies").mkdir()
    issued.for_listener(folder / "policies")
    ca.save(ca.make(["localhost", "127.0.0.1"]))
    plain, service = Upstream(), Upstream(tls=tls)
    plain.answer = service.answer = answer
    port, secure, explicit = free_port(), free_port(), free_port()
    at = {"http": f"http://127.0.0.1:{plain.port}", "https": f"https://localhost:{service.port}"}
    trusting = f"tls: {{ca: {authority.path}}}"
    # Proxies select a connection by its upstream; the upstream's path is the same as in reverse mode.
    names = {"rank": ("cohere", ""), "chat": ("openai", ""), "held": ("cohere", HELD), "few": ("cohere", FEW)}
    others = {
        f"{name}{'s' * (scheme == 'https')}": CONNECTION.format(
            name=name if scheme == "http" else f"tls-{name}", profile=profile, upstream=f"{url}/{name}",
            more=more + (f"\n{trusting}" if scheme == "https" else ""),
        ).replace(f"connection: {name}" if scheme == "http" else f"connection: tls-{name}", f"connection: {scheme}-{name}")
        for name, (profile, more) in names.items()
        for scheme, url in at.items()
    }  # fmt: skip
    down = CONNECTION.format(name="down", profile="cohere", upstream=f"http://127.0.0.1:{free_port()}", more="")
    write_policies(
        folder, port, plain.port, gateway=GATEWAY.format(secure=secure, explicit=explicit), down=down, **others
    )
    (folder / "policies/reranker.yaml").unlink()
    gateway = launch(folder, port, "-n", "--set", "weir_listen=true")
    yield Site(gateway, plain, service, secure, explicit, ssl.create_default_context(cafile=str(authority.path)))
    gateway.stop()
    plain.stop()
    service.stop()


def until_closed(connection: socket.socket) -> bytes:
    """Return all bytes until the gateway closes; with TLS, it must close properly (RFC 8446, 6.1)."""
    data = b""
    while chunk := connection.recv(65536):
        data += chunk
    return data


def head_of(answer: bytes) -> tuple[int, dict[str, str]]:
    lines = answer.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    fields = [line.partition(":") for line in lines[1:]]
    assert sum(name.lower() == "connection" for name, _, _ in fields) <= 1, lines
    return int(lines[0].split()[1]), {name.lower(): value.strip() for name, _, value in fields}


WAYS = ("reverse", "reverse, TLS", "proxy", "tunnel")

#: Header lines that end a connection, by HTTP version.
CLOSING = [
    ("1.1", "Connection: close"), ("1.1", "connection: CLOSE"), ("1.1", "Connection: keep-alive, Close"), ("1.1", "Connection:close,keep-alive"),
    ("1.1", "Connection: , close ,"), ("1.1", "Connection: te,\tcLoSe\t"), ("1.1", "Connection: keep-alive\r\nConnection: close"),
    ("1.1", "Connection: close\r\nConnection: keep-alive"), ("1.1", "Proxy-Connection: close"), ("1.1", "Proxy-Connection: keep-alive\r\nConnection: close"),
    ("1.0", "X-Nothing: x"), ("1.0", "Connection: close"), ("1.0", "Connection: keep-alive, close"), ("1.0", "Connection: te"),
    ("1.0", "Proxy-Connection: keep-alive"), ("1.0", "Keep-Alive: timeout=5"), ("1.0", "Connection: keep-alive\r\nProxy-Connection: Close"),
]  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_a_caller_that_closes_is_closed(site: Site, way: str) -> None:
    """The answer announces the close, the connection ends, and later requests on it are not served."""
    for version, lines in CLOSING:
        seen = len(site.plain.seen) + len(site.service.seen)
        first, second = site.head(way, "/rank/v2/rerank", lines, version=version), site.head(way, "/rank/v2/rerank")
        with site.connect(way) as connection:
            connection.sendall(first + second)
            received = until_closed(connection)
        status, fields = head_of(received)
        assert (status, fields["connection"]) == (200, "close"), (lines, received)
        assert received.count(b"HTTP/1.") == 1 and "transfer-encoding" not in fields
        assert json.loads(received.partition(b"\r\n\r\n")[2]) == RANKING
        assert len(site.plain.seen) + len(site.service.seen) == seen + 1


#: Requests, with the status of the answer.
ANSWERS: dict[str, tuple[int, Callable[[Site, str, str], bytes]]] = {
    "nobody": (401, lambda s, w, c: s.head(w, "/rank/v2/rerank", c, bearer="none")),
    "one of another group": (403, lambda s, w, c: s.head(w, "/rank/v2/rerank", c, bearer=token("mallory", "others"))),
    "too often": (429, lambda s, w, c: s.head(w, "/few/v2/rerank", c, bearer=token("often"))),
    "too much": (413, lambda s, w, c: s.head(w, "/rank/v2/rerank", c, method="GET") [:-2] + b"Content-Length: 2000000\r\n\r\n"),
    "a held request": (202, lambda s, w, c: s.head(w, "/held/v2/rerank", c, "Prefer: respond-async")),
    "ambiguous": (400, lambda s, w, c: s.head(w, "/rank/v2/rerank", c, "X-Twice: 1", "X-Request-Id: 1", "X-Request-Id: 2")),
    "a HEAD": (200, lambda s, w, c: s.head(w, "/rank/v1/anything", c, method="HEAD")),
    "no content": (204, lambda s, w, c: s.head(w, "/rank/204", c)),
    "nothing new": (304, lambda s, w, c: s.head(w, "/rank/304", c, method="GET")),
    "an answer until the end": (200, lambda s, w, c: s.head(w, "/rank/unlimited", c)),
    "who is asking": (200, lambda s, w, c: s.head(w, WHOAMI, c, method="GET")),
    "a stream": (200, lambda s, w, c: s.head(w, "/chat/v1/chat/completions", c, body=CHAT)),
}  # fmt: skip

#: The caller that opened a tunnel is the caller within it.
OTHERWISE = {("nobody", "proxy"): 407, ("nobody", "tunnel"): 200, ("one of another group", "tunnel"): 200}


@pytest.mark.parametrize("way", WAYS)
def test_every_answer_says_whether_it_is_the_last(site: Site, way: str) -> None:
    for name, (status, request) in ANSWERS.items():
        expected = OTHERWISE.get((name, way), status)
        if name == "who is asking" and way == "proxy":
            continue  # a proxy's caller cannot address it
        for closing in ("Connection: close", "X-Nothing: x"):
            asked = request(site, way, closing)
            if name == "too often":
                with site.connect(way) as connection:
                    connection.sendall(site.head(way, "/few/v2/rerank", "Connection: close", bearer=token("often")))
                    until_closed(connection)
            with site.connect(way) as connection:
                connection.sendall(asked + site.head(way, "/rank/v2/rerank", "Connection: close"))
                received = until_closed(connection)
            found, fields = head_of(received)
            last = closing == "Connection: close" or name == "too much"
            assert found == expected, (name, received)
            assert fields.get("connection") == ("close" if last else None), (name, received)
            assert received.count(b"HTTP/1.1 ") == (1 if last else 2), (name, received)


def test_a_service_that_is_down_and_a_tunnel_that_is_refused(site: Site) -> None:
    for way, request, expected in (
        ("reverse", site.head("reverse", "/down/v2/rerank", "Connection: close"), 502),
        ("reverse", site.head("reverse", "/nowhere/x", "Connection: close"), 404),
        ("proxy", b"CONNECT evil.example:443 HTTP/1.1\r\nConnection: close\r\n\r\n", 407),
        ("proxy", b"CONNECT evil.example:443 HTTP/1.0\r\n\r\n", 407),
        ("reverse", b"CONNECT evil.example:443 HTTP/1.1\r\nConnection: close\r\n\r\n", 400),
    ):
        with site.connect(way) as connection:
            connection.sendall(request + site.head(way, "/rank/v2/rerank"))
            received = until_closed(connection)
        status, fields = head_of(received)
        assert (status, fields["connection"]) == (expected, "close"), received
        assert received.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("way", WAYS)
def test_a_caller_of_http_1_0_that_wants_to_go_on(site: Site, way: str) -> None:
    """ApacheBench does this with `-k`. A proxy does not keep such a connection open (RFC 9112, 9.3)."""
    for spelling in (
        "Connection: Keep-Alive",
        "connection: te, KEEP-ALIVE",
        "Connection: te\r\nConnection: keep-alive",
    ):
        with site.connect(way) as connection:
            asked = [
                site.head(way, "/rank/v2/rerank", spelling, version="1.0"),
                site.head(way, "/rank/v1/anything", spelling, version="1.0", method="HEAD"),
                site.head(way, "/rank/204", spelling, version="1.0"),
                site.head(way, "/rank/v2/rerank", spelling, version="1.0", bearer="none"),
                site.head(way, "/chat/v1/chat/completions", spelling, version="1.0", body=CHAT),
            ]
            connection.sendall(b"".join(asked) + asked[0])
            received = until_closed(connection)
        found = [
            head_of(part)[1]["connection"]
            for part in received.split(b"HTTP/1.1 ")[1:]
            for part in [b"HTTP/1.1 " + part]
        ]
        assert found == (["close"] if way == "proxy" else ["keep-alive"] * 4 + ["close"]), received  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_a_stream_for_http_1_0_comes_as_it_is(site: Site, way: str) -> None:
    """The answer has no chunks, which such a caller cannot read; it ends with the connection."""
    with site.connect(way) as connection:
        asked = site.head(way, "/chat/v1/chat/completions", version="1.0", body=CHAT)
        connection.sendall(asked)
        received = until_closed(connection)
    status, fields = head_of(received)
    assert status == 200 and fields["connection"] == "close"
    assert not {"transfer-encoding", "content-length"} & set(fields)
    assert received.partition(b"\r\n\r\n")[2] == b"".join(EVENTS)


@pytest.mark.parametrize("way", WAYS)
def test_a_stream_for_http_1_0_that_is_cut_does_not_end_well(site: Site, way: str) -> None:
    """Otherwise a caller would take a part for the whole answer (RFC 9112, 8)."""
    with site.connect(way) as connection:
        connection.sendall(site.head(way, "/chat/v1/cut", version="1.0", body=CHAT))
        with pytest.raises((ConnectionResetError, ssl.SSLError)):
            until_closed(connection)


def test_http_1_0_is_not_told_to_continue(site: Site) -> None:
    """Expect has no meaning in HTTP/1.0 (RFC 9110, 10.1.1)."""
    for version, answers in (("1.0", 1), ("1.1", 2)):
        with site.connect("reverse") as connection:
            asked = site.head(
                "reverse", "/rank/v2/rerank", "Expect: 100-continue", "Connection: close", version=version
            )
            connection.sendall(asked)
            received = until_closed(connection)
        assert received.count(b"HTTP/1.1 ") == answers and received.count(b"onnection: close") == 1, received


@pytest.mark.parametrize("path", ["/rank/last", "/chat/v1/last-stream", "/rank/old", "/rank/unlimited"])
def test_what_a_service_says_of_its_connection_is_for_the_gateway(site: Site, path: str) -> None:
    """The service's connection is not used again and not kept; the caller's connection stays open."""
    connections = site.plain.connections
    body = CHAT if path.startswith("/chat") else BODY
    with site.connect("reverse") as connection:
        for _ in range(3):
            connection.sendall(site.head("reverse", path, body=body))
            received = b""
            while not (b"[DONE]" in received and received.endswith(b"\r\n0\r\n\r\n")) and not received.endswith(b"}"):
                data = connection.recv(65536)
                assert data, received
                received += data
            assert head_of(received)[0] == 200 and b"onnection: " not in received.partition(b"\r\n\r\n")[0]
        assert site.plain.connections == connections + 3
        deadline = time.monotonic() + PATIENCE
        while (kept := site.gateway.connections(site.plain.port)) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert kept == 0


def test_a_slow_caller_that_closes_gets_all_of_its_answer(site: Site) -> None:
    """While the caller reads its answer, the connection is closed only for new requests."""
    large = b'{"note": "' + b"x" * 12_000_000 + b'"}'
    with (
        site.plain.answering(raw_answer(large, headers="Content-Type: application/json\r\n")),
        socket.socket() as connection,
    ):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        connection.settimeout(PATIENCE)
        connection.connect(("127.0.0.1", site.gateway.port))
        connection.sendall(site.head("reverse", "/rank/v1/large", version="1.0"))
        received = connection.recv(1000)
        time.sleep(5.5)
        received += until_closed(connection)
    assert received.partition(b"\r\n\r\n")[2] == large


def test_trailers_of_a_service_go_nowhere(site: Site) -> None:
    """Trailers are dropped, and the answer is complete (RFC 9110, 6.5.1)."""
    with site.connect("reverse") as connection:
        connection.sendall(site.head("reverse", "/chat/v1/trailed", "Connection: close", body=CHAT))
        received = until_closed(connection)
    assert received.endswith(b"[DONE]\n\n\r\n0\r\n\r\n") and b"hecksum" not in received


def test_options_of_a_connection_that_are_no_options(site: Site) -> None:
    """An unknown connection option is refused, and a `close` beside it still counts."""
    with site.connect("reverse") as connection:
        connection.sendall(site.head("reverse", "/rank/v2/rerank", "Connection: close, x-tenant") * 2)
        received = until_closed(connection)
    assert head_of(received)[0] == 400 and received.count(b"HTTP/1.1 ") == 1
