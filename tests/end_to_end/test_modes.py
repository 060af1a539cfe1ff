"""All kinds of listeners with the hostile table: no entry reaches a service, and the next request is unaffected."""

import json
import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass

import pytest

from tests.end_to_end import hostile, http2, namespaces
from tests.end_to_end.certificates import Authority
from tests.end_to_end.gateway import (
    BUNDLE,
    CREDENTIAL,
    MINTED,
    MITMDUMP,
    PATIENCE,
    ROOT,
    Gateway,
    Upstream,
    free_port,
    json_answer,
    say,
)
from weir.tls import ca

#: Without namespaces, the tests skip the transparent listeners and use ports of this machine.
WHY_NOT = namespaces.unavailable()
TRANSPARENT = 18082

GATEWAY = """
version: 1
listen:
  - http://{own}:{ports[0]}
  - {{url: "https://{own}:{ports[1]}", tls: {{certificate: listener.pem, key: listener.key}}}}
  - {{url: "http://{own}:{ports[2]}", mode: explicit}}
{transparent}
issuers: [keys]
recordings: {recordings}
"""
CONNECTION = """
version: 1
connection: {name}
profile: cohere
upstream: {upstream}
match: {{path: /{name}}}
addresses: [private, loopback]
{tls}
credential: {{header: Authorization, value: "Bearer ${{env:TEST_UPSTREAM_KEY}}"}}
access: {{groups: [keys/search]}}
"""


@dataclass
class Site:
    """A gateway with every kind of listener, and a plain and a TLS service behind it."""

    gateway: Gateway
    plain: Upstream
    secure: Upstream
    authority: Authority
    key: str
    caller: str  # the namespace of callers; empty if there is none
    own: str  # the gateway's address
    service: str  # the services' address
    ports: tuple[int, int, int]  # ports of the listeners: reverse, reverse with TLS, explicit
    plain_name: str  # the services' host names
    secure_name: str

    def connect(self, host: str, port: int) -> socket.socket:
        def make() -> socket.socket:
            return socket.create_connection((host, port), timeout=PATIENCE)

        return namespaces.within(self.caller, make) if self.caller else make()

    def aim(self, way: str) -> hostile.Aim:
        if way.startswith("reverse"):
            return hostile.Aim(self.key, "gateway.example", "/plain")
        tls = "TLS" in way or "h2" in way
        name, upstream = (self.secure_name, self.secure) if tls else (self.plain_name, self.plain)
        port = upstream.port if upstream.port not in (80, 443) else 0
        host = f"{name}:{port}" if port else name
        if way == "proxy":
            return hostile.Aim(self.key, host, f"http://{host}", proxied=True)
        return hostile.Aim(self.key, host)

    def upstream(self, way: str) -> Upstream:
        """Return the service that a good request of *way* reaches."""
        return self.plain if way.startswith("reverse") or way in ("proxy", "transparent") else self.secure

    def open(self, way: str) -> socket.socket:
        """Open a connection by *way*, ready for a request."""
        name, _, protocol = way.partition(" ")
        if name == "reverse":
            raw = self.connect(self.own, self.ports[1] if protocol else self.ports[0])
            trust, host = ssl.create_default_context(cafile=str(self.authority.path)), "localhost"
        elif name == "proxy":
            return self.connect(self.own, self.ports[2])
        elif name == "tunnel":
            raw, host = self.connect(self.own, self.ports[2]), self.secure_name
            target = f"{host}:{self.secure.port}"
            raw.sendall(
                f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nProxy-Authorization: Bearer {self.key}\r\n\r\n".encode()
            )
            assert raw.recv(65536).startswith(b"HTTP/1.1 200")
            trust = ssl.create_default_context(cafile=str(ca.certificate_path()))
        else:
            raw, host = self.connect(self.service, 443 if protocol else 80), self.secure_name
            trust = ssl.create_default_context(cafile=str(ca.certificate_path()))
        if not protocol:
            return raw
        trust.set_alpn_protocols(["h2"] if protocol == "h2" else ["http/1.1"])
        return trust.wrap_socket(raw, server_hostname=host)


WAYS = ["reverse", "reverse TLS", "proxy", "tunnel TLS", "transparent", "transparent TLS"]
WAYS_HTTP2 = ["reverse h2", "tunnel h2", "transparent h2"]
#: Within a tunnel the caller is known. Authorization there is meant for the service, and the gateway removes it.
GOOD_IN_A_TUNNEL = "two tokens"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, launch: Callable[..., Gateway]) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("modes")
    authority = Authority(folder)
    issued = authority.issue("rerank.example", "localhost")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(issued.certificate, issued.key)
    policies = folder / "policies"
    policies.mkdir()
    shutil.copy(issued.certificate, policies / "listener.pem")
    shutil.copy(issued.key, policies / "listener.key")
    ca.save(ca.make(["rerank.example", "plain.example", "localhost"]))
    with ExitStack() as undo:
        caller = inside = ""
        own = at = "127.0.0.1"
        names = "localhost", "localhost"  # every machine resolves this name
        ports = free_port(), free_port(), free_port()
        if not WHY_NOT:
            caller, inside, service = undo.enter_context(namespaces.three())
            own, at = "10.77.1.1", "10.77.2.2"
            names = "plain.example", "rerank.example"
            namespaces.name_hosts(inside, dict.fromkeys(names, at))
            plain = namespaces.within(service, lambda: Upstream(80, None, at))
            secure = namespaces.within(service, lambda: Upstream(443, tls, at))
        else:
            plain, secure = Upstream(), Upstream(tls=tls)
        transparent = f'  - {{url: "http://0.0.0.0:{TRANSPARENT}", mode: transparent}}' if caller else ""
        text = GATEWAY.format(own=own, ports=ports, transparent=transparent, recordings=folder / "recordings")
        (policies / "gateway.yaml").write_text(text)
        for name, upstream in (
            ("plain", f"http://{names[0]}:{plain.port}"),
            ("secure", f"https://{names[1]}:{secure.port}"),
        ):
            trusting = f"tls: {{ca: {authority.path}}}" if name == "secure" else ""
            (policies / f"{name}.yaml").write_text(CONNECTION.format(name=name, upstream=upstream, tls=trusting))
        created = subprocess.run(
            [MITMDUMP.with_name("weir"), "keys", "create", "--name", "modes", "--group", "keys/search", "--policies", policies],
            capture_output=True, text=True, check=True, env={**os.environ, "TEST_UPSTREAM_KEY": CREDENTIAL},
        )  # fmt: skip
        key = created.stdout.strip()
        MINTED.append(key)
        prefix = ["ip", "netns", "exec", inside] if inside else []
        gateway = launch(
            folder, ports[0], "-n", "--set", "weir_listen=true", command=[*prefix, str(MITMDUMP), "-s", str(BUNDLE)]
        )
        if inside:
            rules = [str(ROOT / "scripts/transparent"), "apply", "--port", str(TRANSPARENT), "--interface", "callers"]
            namespaces.run(*rules, inside=inside)
        yield Site(gateway, plain, secure, authority, key, caller, own, at, ports, *names)
        gateway.stop()
        for each in (plain, secure):
            each.stop()


def usable(way: str, site: Site) -> None:
    if not site.caller and way.startswith("transparent"):
        pytest.skip(WHY_NOT)


def good(site: Site, way: str) -> bool:
    """Return whether a good request gets 200."""
    to = site.aim(way)
    with closing(site.open(way)) as connection:
        if way.endswith("h2"):
            caller = http2.Caller(connection)  # type: ignore[arg-type]
            return caller.answer(caller.ask(to.headers(), hostile.BODY)).status == 200
        return say(connection, to.head(hostile.LENGTH) + hostile.BODY).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("way", WAYS)
def test_hostile_requests(site: Site, way: str) -> None:
    usable(way, site)
    to = site.aim(way)
    before = len(site.plain.seen) + len(site.secure.seen)
    assert good(site, way)
    used = site.gateway.memory()
    requests = {name: make(to) for name, make in hostile.HOSTILE.items()}
    for name, (body, fields) in hostile.BODIES.items():
        lines = [f"{n}: {v}" for n, v in fields]
        requests[name] = to.head(*lines, f"Content-Length: {len(body)}") + body
    for name, request in requests.items():
        if name == GOOD_IN_A_TUNNEL and way == "tunnel TLS":
            continue
        with closing(site.open(way)) as connection:
            answer = say(connection, request)
        assert answer == b"" or answer.startswith(b"HTTP/1.1 4"), (name, answer)
        if answer:
            assert b"urn:weir:problem:" in answer, (name, answer)
            assert b"mitmproxy" not in answer.lower(), name
            assert b"<html" not in answer, name
        assert len(site.plain.seen) + len(site.secure.seen) == before + 1, name
    assert good(site, way)
    assert site.gateway.memory() < used + (80 << 20)  # a bomb may take 32 MB of this for a moment, twice


@pytest.mark.parametrize("way", WAYS_HTTP2)
def test_hostile_streams(site: Site, way: str) -> None:
    """The gateway refuses or closes the connection; other streams are not affected."""
    usable(way, site)
    to = site.aim(way)
    assert good(site, way)
    before = len(site.plain.seen) + len(site.secure.seen)
    asked = {name: (make(to), hostile.BODY) for name, make in hostile.HOSTILE_HTTP2.items()}
    asked |= {f"a body, {name}": (to.headers(*fields), body) for name, (body, fields) in hostile.BODIES.items()}
    for name, (headers, body) in asked.items():
        with closing(site.open(way)) as connection:
            caller = http2.Caller(connection)  # type: ignore[arg-type]
            answered = caller.answer(caller.ask(headers, body))
        assert answered.status in (0, 400, 403, 404, 413, 415, 421, 431), (name, answered)
        assert answered.status or caller.ended is not None or answered.reset is not None, f"{name} hangs"
        assert len(site.plain.seen) + len(site.secure.seen) == before, name
    assert good(site, way)


@pytest.mark.parametrize("way", [*WAYS, *WAYS_HTTP2])
def test_hostile_answers(site: Site, way: str) -> None:
    """Forbidden answers of a service do not reach a caller, and neither does the credential that the service got."""
    usable(way, site)
    to, upstream = site.aim(way), site.upstream(way)
    echo = json_answer({"results": [], "echo": CREDENTIAL}, headers=f"X-Echo: Bearer {CREDENTIAL}\r\n")
    moved = b"HTTP/1.1 307 T\r\nLocation: http://evil.example/x\r\nContent-Length: 0\r\n\r\n"
    for name, (status, said) in {**hostile.ANSWERS, "an echo": (200, echo), "a redirect": (307, moved)}.items():
        asked = site.plain.connections, site.secure.connections, len(upstream.seen)
        with upstream.answering(said), closing(site.open(way)) as connection:
            if way.endswith("h2"):
                caller = http2.Caller(connection)  # type: ignore[arg-type]
                answered = caller.answer(caller.ask(to.headers(), hostile.BODY))
                got, everything = answered.status, json.dumps(answered.headers).encode() + answered.body
            else:
                everything = say(connection, to.head(hostile.LENGTH) + hostile.BODY)
                got = int(everything[9:12] or b"0")
        assert got == status, (name, everything)
        assert CREDENTIAL.encode() not in everything, name
        assert f":{upstream.port}".encode() not in everything, name
        assert not any(hidden in everything for hidden in hostile.HIDDEN), (name, everything)
        assert len(upstream.seen) == asked[2] + 1, f"{name}: it was followed, or asked again"
    assert upstream.seen[-1].headers["authorization"] == f"Bearer {CREDENTIAL}"
    assert upstream.seen[-1].body == hostile.BODY
    assert not [line for line in site.gateway.log if "failed on a connection" in line]
    assert site.key.encode() not in b"".join(seen.raw for seen in upstream.seen)
    assert good(site, way)


def test_a_second_request_is_judged_by_itself(site: Site) -> None:
    """A second request on the same connection has another token, except in tunnels, where the tunnel's token counts."""
    for way in ("reverse", "reverse TLS", "proxy", "transparent", "transparent TLS"):
        if not site.caller and way.startswith("transparent"):
            continue
        to = site.aim(way)
        nobody = hostile.Aim("weir_nobody", to.host, to.base, to.proxied)
        with closing(site.open(way)) as connection:
            assert say(connection, to.head(hostile.LENGTH) + hostile.BODY).startswith(b"HTTP/1.1 200 "), way
            answer = say(connection, nobody.head(hostile.LENGTH) + hostile.BODY)
            assert answer.startswith((b"HTTP/1.1 401 ", b"HTTP/1.1 407 ")), (way, answer)
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["status"] in (401, 407)


def test_what_the_services_have_seen_is_recorded(site: Site) -> None:
    """There is one record for each request, for every kind of listener."""
    seen = len(site.plain.seen) + len(site.secure.seen)
    (count,) = site.gateway.sql("SELECT count(*) FROM flows WHERE upstream_ms IS NOT NULL")[0]
    assert count == seen
