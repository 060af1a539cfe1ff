"""Callers with only HTTPS_PROXY and the CA: judged like all others, and their TLS ends at the gateway."""

import base64
import http.client
import json
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cohere
import httpx
import openai
import pytest
import requests

from tests import needs
from tests.cli import inside
from tests.end_to_end import npm
from tests.end_to_end.certificates import Authority
from tests.end_to_end.gateway import (
    CREDENTIAL,
    MINTED,
    PATIENCE,
    RANKING,
    Gateway,
    Upstream,
    free_port,
    json_answer,
    token,
    write_policies,
)
from weir.auth.local import mint
from weir.tls import ca

REQUEST = {"model": "rerank-v3.5", "query": "q", "documents": ["a", "b"]}
FETCHING = Path(__file__).parent / "fetching"
CHAT = {
    "id": "1",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}],
}

GATEWAY = """
version: 1
listen:
  - http://127.0.0.1:{{port}}
  - {{{{url: "http://127.0.0.1:{explicit}", mode: explicit}}}}
  - {{{{url: "https://127.0.0.1:{secure}", mode: explicit, tls: {{{{certificate: {certificate}, key: {key}}}}}}}}}
issuers: [local]
recordings: {{recordings}}
pass: ["localhost:{passed}", "nowhere.invalid:443", {{{{to: "localhost:1", addresses: [public]}}}}]
"""
CONNECTION = """
version: 1
connection: {name}
profile: {profile}
upstream: {upstream}
credential: {{header: Authorization, value: "Bearer ${{env:TEST_UPSTREAM_KEY}}"}}
access: {{groups: [{group}]}}
{more}
"""


@dataclass
class Site:
    """A gateway that is also an explicit proxy, a service behind it, and a service with passed tunnels."""

    gateway: Gateway
    service: Upstream
    plain: Upstream
    passed: Upstream
    explicit: int
    secure: int
    authority: Path
    bundle: Path

    @property
    def url(self) -> str:
        return f"https://localhost:{self.service.port}"

    def proxy(self, token: str, port: int = 0, scheme: str = "http") -> str:
        return f"{scheme}://alice:{token}@127.0.0.1:{port or self.explicit}"

    def environment(self, token: str) -> dict[str, str]:
        """The environment of such a caller."""
        pem = str(ca.certificate_path())
        return {
            **os.environ,
            "HTTPS_PROXY": self.proxy(token), "https_proxy": self.proxy(token), "NO_PROXY": "", "no_proxy": "",
            "SSL_CERT_FILE": pem, "REQUESTS_CA_BUNDLE": pem, "CURL_CA_BUNDLE": pem, "NODE_EXTRA_CA_CERTS": pem,
        }  # fmt: skip

    def connect(self, target: str, *headers: str, send: bytes = b"") -> tuple[bytes, socket.socket]:
        """Send a CONNECT as bytes. Return the head of the answer, and the connection."""
        connection = socket.create_connection(("127.0.0.1", self.explicit), timeout=PATIENCE)
        lines = "".join(f"{header}\r\n" for header in headers)
        connection.sendall(f"CONNECT {target} HTTP/1.1\r\n{lines}\r\n".encode() + send)
        received = b""
        while b"\r\n\r\n" not in received and (data := connection.recv(65536)):
            received += data
        return received, connection

    def tunnel(self, token: str, target: str, sni: str | None) -> ssl.SSLSocket:
        """Start TLS within a tunnel. The gateway presents a certificate for the host."""
        head, connection = self.connect(target, f"Proxy-Authorization: Bearer {token}")
        assert head.startswith(b"HTTP/1.1 200"), head
        context = ssl.create_default_context(cafile=str(ca.certificate_path()))
        context.check_hostname = False
        return context.wrap_socket(connection, server_hostname=sni)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, launch: Callable[..., Gateway]) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("explicit")
    authority = Authority(folder)
    certificate = authority.issue("localhost", "127.0.0.1")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate.certificate, certificate.key)
    service, plain, passed = Upstream(tls=tls), Upstream(), Upstream(tls=tls)
    ca.save(ca.make(["localhost", "127.0.0.1"]))
    port, explicit, secure = free_port(), free_port(), free_port()
    settings = GATEWAY.format(
        explicit=explicit, secure=secure, passed=passed.port, certificate=certificate.certificate, key=certificate.key
    )
    trusting = f"tls: {{ca: {authority.path}}}"
    url = f"https://localhost:{service.port}"
    write_policies(
        folder, port, plain.port, gateway=settings,
        secure=CONNECTION.format(name="secure", profile="cohere", upstream=url, group="search", more=trusting),
        chat=CONNECTION.format(name="chat", profile="openai", upstream=f"{url}/openai", group="search", more=trusting),
        untrusted=CONNECTION.format(
            name="untrusted", profile="cohere", upstream=f"https://127.0.0.1:{service.port}", group="search", more=""
        ),
    )  # fmt: skip
    gateway = launch(folder, port, "-n", "--set", "weir_listen=true")
    service.answer = lambda seen: json_answer(CHAT if b"/openai/" in seen.head else RANKING)
    bundle = folder / "bundle.pem"
    bundle.write_bytes(authority.path.read_bytes() + ca.certificate_path().read_bytes())
    yield Site(gateway, service, plain, passed, explicit, secure, authority.path, bundle)
    gateway.stop()
    for upstream in (service, plain, passed):
        upstream.stop()


def check_last(site: Site, path: str = "/v2/rerank") -> None:
    """Check that the service saw the gateway's credential, and that the record has the caller's request."""
    seen = site.service.seen[-1]
    assert seen.head.startswith(f"POST {path} HTTP/1.1\r\nHost: localhost:{site.service.port}\r\n".encode())
    assert seen.headers["authorization"] == f"Bearer {CREDENTIAL}"
    assert b"of-the-vendor" not in seen.raw and b"proxy" not in seen.head.lower()


def test_curl(site: Site) -> None:
    needs.skip_without("curl")
    command = [
        "curl",
        "-sS",
        f"{site.url}/v2/rerank",
        "-d",
        json.dumps(REQUEST),
        "-H",
        "Content-Type: application/json",
    ]
    done = subprocess.run(command, env=site.environment(token()), capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == RANKING
    check_last(site)


def test_requests(site: Site) -> None:
    proxies = {"https": site.proxy(token())}
    with requests.Session() as session:
        for _ in range(2):  # the second request uses the same tunnel
            answer = session.post(
                f"{site.url}/v2/rerank",
                json=REQUEST,
                headers={"Authorization": "Bearer of-the-vendor"},
                proxies=proxies,
                verify=str(ca.certificate_path()),
            )
            assert answer.status_code == 200 and answer.json() == RANKING
            check_last(site)


def test_httpx(site: Site) -> None:
    context = ssl.create_default_context(cafile=str(ca.certificate_path()))
    with httpx.Client(proxy=site.proxy(token()), verify=context) as client:
        before = site.service.connections
        answers = [client.post(f"{site.url}/v2/rerank", json=REQUEST) for _ in range(3)]
    assert [a.json() for a in answers] == [RANKING] * 3
    assert site.service.connections == before + 1  # one tunnel uses one upstream connection
    check_last(site)


def test_the_sdks_know_of_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in site.environment(token()).items():
        monkeypatch.setenv(name, value)
    with cohere.ClientV2("of-the-vendor", base_url=site.url) as client:
        ranking = client.rerank(model="rerank-v3.5", query="q", documents=["a", "b"])
    assert [r.index for r in ranking.results] == [1, 0]
    check_last(site)
    with openai.OpenAI(api_key="of-the-vendor", base_url=f"{site.url}/openai/v1") as llm:
        chat = llm.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
    assert chat.choices[0].message.content == "hello"
    check_last(site, "/openai/v1/chat/completions")
    assert site.gateway.sql("SELECT connection, user, path FROM flows ORDER BY time DESC LIMIT 2") == [
        ("chat", "alice", "/openai/v1/chat/completions"),
        ("secure", "alice", "/v2/rerank"),
    ]


def test_fetch_in_node(site: Site) -> None:
    npm.install(FETCHING)
    command = ["node", str(FETCHING / "fetch.js"), f"{site.url}/v2/rerank", json.dumps(REQUEST)]
    done = subprocess.run(command, env=site.environment(token()), capture_output=True, text=True, check=True)
    assert done.stdout.startswith("200 "), done.stdout + done.stderr
    check_last(site)
    refused = subprocess.run(command, env=site.environment("no-token"), capture_output=True, text=True, check=True)
    assert refused.stdout.startswith("failed"), refused.stdout


def test_a_proxy_that_is_spoken_to_by_tls(site: Site) -> None:
    needs.skip_without("curl")
    done = subprocess.run(
        ["curl", "-sS", "-x", site.proxy(token(), site.secure, "https"), "--proxy-cacert", str(site.authority),
         "--cacert", str(ca.certificate_path()), f"{site.url}/v2/rerank", "-d", json.dumps(REQUEST),
         "-H", "Content-Type: application/json"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout) == RANKING
    check_last(site)


def test_plain_http_by_the_proxy(site: Site) -> None:
    url = f"http://127.0.0.1:{site.plain.port}/v2/rerank"
    answer = requests.post(url, json=REQUEST, proxies={"http": site.proxy(token())})
    assert answer.json() == RANKING
    assert site.plain.seen[-1].head.startswith(b"POST /v2/rerank HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"proxy" not in site.plain.seen[-1].head.lower()
    refused = requests.post(url, json=REQUEST, proxies={"http": f"http://127.0.0.1:{site.explicit}"})
    assert refused.status_code == 407 and "Proxy-Authenticate" in refused.headers


def basic(text: str) -> str:
    return "Proxy-Authorization: Basic " + base64.b64encode(text.encode()).decode()


def test_who_opens_a_tunnel(site: Site) -> None:
    target = f"localhost:{site.service.port}"
    good = token()
    for header in (
        f"Proxy-Authorization: Bearer {good}",
        f"proxy-authorization: bearer {good}",
        basic(f"any:{good}"),
        basic(f"{good}:"),
    ):
        head, connection = site.connect(target, header)
        connection.close()
        assert head == b"HTTP/1.1 200 Connection established\r\n\r\n"
    for headers in (
        (),
        (basic("a:b"),),
        ("Proxy-Authorization: Basic %%%",),
        (f"Authorization: Bearer {good}",),
        ("Proxy-Authorization: Digest x",),
    ):
        head, connection = site.connect(target, *headers)
        assert head.startswith(b"HTTP/1.1 407 ") and b"\r\nProxy-Authenticate: Basic " in head
        connection.sendall(f"CONNECT {target} HTTP/1.1\r\nProxy-Authorization: Bearer {good}\r\n\r\n".encode())
        with connection:  # after the challenge, the client repeats it on the same connection
            received = b""
            while b"200 Connection established" not in received:
                data = connection.recv(65536)
                assert data, received
                received += data
    head, connection = site.connect(
        target, f"Proxy-Authorization: Bearer {good}", f"Proxy-Authorization: Bearer {good}"
    )
    connection.close()
    assert head.startswith(b"HTTP/1.1 400 ")


def test_where_tunnels_do_not_lead(site: Site) -> None:
    """A host that no connection names is refused before the gateway dials, in any spelling."""
    good = f"Proxy-Authorization: Bearer {token()}"
    service = site.service.port
    refused = {
        f"localhost:{site.plain.port}": 403, "example.com:443": 403, f"localhost.:{service}": 403, f"LOCALHOST.:{service}": 403,
        f"2130706433:{service}": 403, f"0x7f000001:{service}": 403, f"127.1:{service}": 403, f"[::ffff:127.0.0.1]:{service}": 403,
        "169.254.169.254:80": 403, "[fd00:ec2::254]:443": 403, "localhost:1": 403, "nowhere.invalid:443": 502,
        "localhost": 400, "localhost:": 400, "localhost:0": 400, "localhost:99999": 400, f"a b:{service}": 400, "": 400,
        f"/localhost:{service}": 400, f"alice@localhost:{service}": 400, f"localhost:{service}/x": 400,
    }  # fmt: skip
    before = [u.connections for u in (site.service, site.plain, site.passed)]
    for target, status in refused.items():
        head, connection = site.connect(target, good)
        connection.close()
        assert head.startswith(b"HTTP/1.1 %d " % status), (target, head)
    head, connection = site.connect(f"127.0.0.1:{site.plain.port}", good)
    with connection:
        while b"wss:// only" not in head:
            more = connection.recv(65536)
            assert more, head
            head += more
    for headers in (
        (f"Host: evil.example:{service}",),
        ("Content-Length: 3",),
        ("Transfer-Encoding: chunked",),
        ("Host: localhost:1",),
    ):
        head, connection = site.connect(f"localhost:{service}", good, *headers)
        connection.close()
        assert head.startswith(b"HTTP/1.1 400 "), (headers, head)
    assert [u.connections for u in (site.service, site.plain, site.passed)] == before
    rows = site.gateway.sql("SELECT path, status, user FROM flows WHERE method = 'CONNECT'")
    assert ("example.com:443", 403, "alice") in rows and ("169.254.169.254:80", 403, "alice") in rows


def request_within(tunnel: socket.socket, host: str, head: str = "") -> http.client.HTTPResponse:
    body = json.dumps(REQUEST)
    tunnel.sendall(
        f"POST /v2/rerank HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n{head}\r\n{body}".encode()
    )
    response = http.client.HTTPResponse(tunnel)
    response.begin()
    response.read()
    return response


def test_names_that_differ(site: Site) -> None:
    """CONNECT, SNI and Host must agree; a difference gets 421 and reaches no service."""
    host = f"localhost:{site.service.port}"
    good, before = token(), len(site.service.seen)
    for sni, header, status in [
        ("localhost", host, 200), ("LOCALHOST", host, 200), (None, host, 200), ("evil.example", host, 421),
        ("localhost", "evil.example", 421), ("localhost", "localhost", 421), ("localhost", f"127.0.0.1:{site.service.port}", 421),
    ]:  # fmt: skip
        with site.tunnel(good, host, sni) as tunnel:
            assert request_within(tunnel, header).status == status, (sni, header)
    assert len(site.service.seen) == before + 3
    query = "SELECT DISTINCT \"user\" FROM flows WHERE status = 421 AND method = 'POST'"
    assert site.gateway.sql(query) == [("alice",)]  # the caller that opened the tunnel
    for line in (
        f"GET https://evil.example/ HTTP/1.1\r\nHost: {host}",
        f"GET https://{host}/ HTTP/1.1\r\nHost: {host}",
        f"CONNECT {host} HTTP/1.1\r\nHost: {host}",
    ):
        with site.tunnel(good, host, "localhost") as tunnel:
            tunnel.sendall(f"{line}\r\n\r\n".encode())
            assert tunnel.recv(65536).startswith(b"HTTP/1.1 400 "), line
    plain = f"http://127.0.0.1:{site.plain.port}"
    for target, header, status in [
        (plain, "evil.example", 421),
        (f"https://{host}", host, 421),
        ("", f"localhost:{site.plain.port}", 403),
    ]:
        with socket.create_connection(("127.0.0.1", site.explicit), timeout=PATIENCE) as connection:
            connection.sendall(
                f"GET {target}/v2/rerank HTTP/1.1\r\nHost: {header}\r\nProxy-Authorization: Bearer {good}\r\n\r\n".encode()
            )
            assert connection.recv(65536).startswith(b"HTTP/1.1 %d " % status), (target, header)


def test_a_tunnel_that_is_not_tls_is_closed(site: Site) -> None:
    target, good = f"localhost:{site.service.port}", f"Proxy-Authorization: Bearer {token()}"
    before = site.service.connections
    for data in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"SSH-2.0-x\r\n", b"\x16\x09\x09\x00\x00", b"\x00" * 100):
        head, connection = site.connect(target, good)
        with connection:
            assert head.startswith(b"HTTP/1.1 200")
            connection.sendall(data)
            assert connection.recv(65536) == b""
    assert site.service.connections == before


def test_each_request_within_a_tunnel_is_judged(site: Site) -> None:
    """The tunnel's caller has access, each request is judged separately, and the tunnel ends with its token."""
    host = f"localhost:{site.service.port}"
    with site.tunnel(token("mallory", "others"), host, "localhost") as tunnel:
        assert request_within(tunnel, host).status == 403
        # Another token within the tunnel neither grants access nor reaches the service.
        assert request_within(tunnel, host, f"Authorization: Bearer {token()}\r\n").status == 403
    brief = mint("brief", ["search"], -27).reveal()  # expired, but within the leeway for clocks
    MINTED.append(brief)
    with site.tunnel(brief, host, "localhost") as tunnel:
        assert request_within(tunnel, host).status == 200
        deadline = time.monotonic() + PATIENCE
        while (status := request_within(tunnel, host).status) == 200 and time.monotonic() < deadline:
            time.sleep(0.5)
        assert status == 401


def test_an_upstream_that_cannot_be_verified(site: Site) -> None:
    """Without a certificate of a public authority: 502, and never plain HTTP."""
    host, before = f"127.0.0.1:{site.service.port}", len(site.service.seen)
    with site.tunnel(token(), host, None) as tunnel:
        assert request_within(tunnel, host).status == 502
    assert len(site.service.seen) == before


def test_headers_that_state_identity_stay_at_the_proxy(site: Site) -> None:
    """Those of a CONNECT go nowhere, and within a tunnel only named ones reach the service."""
    good = token("carrier", "search")
    identity = "X-Consumer-Username: root"
    head, connection = site.connect("example.com:443", f"Proxy-Authorization: Bearer {good}", identity)
    connection.close()
    assert head.startswith(b"HTTP/1.1 403 ")
    (refused,) = [
        f for f in site.gateway.flows() if f.request.method == "CONNECT" and b"carrier" in str(f.metadata).encode()
    ]
    assert "x-consumer-username" not in refused.request.headers
    with site.tunnel(good, f"localhost:{site.service.port}", "localhost") as tunnel:
        host = f"localhost:{site.service.port}"
        assert request_within(tunnel, host, f"{identity}\r\nX-Client-Name: me\r\n").status == 200
    seen = site.service.seen[-1].headers
    assert "x-consumer-username" not in seen and seen["x-client-name"] == "me"


def test_what_is_passed_is_not_read(site: Site) -> None:
    """A pinned client sees the service's own certificate, and the gateway only counts bytes."""
    good = token("pinned", "search")
    head, connection = site.connect(f"localhost:{site.passed.port}", f"Proxy-Authorization: Bearer {good}")
    assert head.startswith(b"HTTP/1.1 200")
    context = ssl.create_default_context(cafile=str(site.authority))
    with context.wrap_socket(connection, server_hostname="localhost") as tunnel:
        assert request_within(tunnel, "whatever.example").status == 200
    assert site.passed.seen[-1].headers["host"] == "whatever.example"
    deadline = time.monotonic() + PATIENCE
    query = "SELECT who, subject, message FROM events WHERE kind = 'tunnel' AND who = 'pinned'"
    while not (rows := site.gateway.sql(query)) and time.monotonic() < deadline:
        time.sleep(0.1)
    ((who, subject, message),) = rows
    assert (who, subject) == ("pinned", f"localhost:{site.passed.port}")
    assert "bytes sent" in message and "0 bytes sent" not in message.split(",")[0].split()[0:1]


def test_a_tunnel_that_is_passed_ends_with_its_callers_right(site: Site) -> None:
    """The gateway cannot judge the traffic in a passed tunnel, but it can end the tunnel."""
    head, connection = site.connect(
        f"localhost:{site.passed.port}", f"Proxy-Authorization: Bearer {token('leaver', 'search')}"
    )
    assert head.startswith(b"HTTP/1.1 200")
    context = ssl.create_default_context(cafile=str(site.authority))
    with context.wrap_socket(connection, server_hostname="localhost") as tunnel:
        assert request_within(tunnel, "x").status == 200
        inside.run(site.gateway.folder, "revoke", "subject", "leaver", environment={"TEST_UPSTREAM_KEY": CREDENTIAL})
        tunnel.settimeout(PATIENCE)
        try:
            left = tunnel.recv(100)
        except ConnectionError:
            left = b""
        assert left == b""


def test_tunnels_end_with_their_callers(site: Site) -> None:
    """Many simultaneous tunnels, some of them cut by their callers, leave no connections behind."""
    host, good = f"localhost:{site.service.port}", token()

    def call() -> None:
        with site.tunnel(good, host, "localhost") as tunnel:
            assert request_within(tunnel, host).status == 200

    threads = [threading.Thread(target=call) for _ in range(10)]
    for thread in threads:
        thread.start()
    _, left = site.connect(host, f"Proxy-Authorization: Bearer {good}", send=b"\x16\x03\x01")
    left.close()
    for thread in threads:
        thread.join(PATIENCE)
    assert site.gateway.call("/nowhere").status == 404
