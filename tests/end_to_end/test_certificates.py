"""TLS on both sides of the gateway: listeners, services, client certificates of callers and gateway, and a proxy."""

import base64
import contextlib
import http.client
import json
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import jwt
import pytest
from cryptography.hazmat.primitives import hashes

from tests.end_to_end.certificates import CLIENT, Authority, Issued
from tests.end_to_end.gateway import CREDENTIAL, MINTED, PATIENCE, Gateway, Upstream, free_port, token, write_policies
from weir.auth import local

REQUEST = {"model": "m", "query": "q", "documents": ["a", "b"]}
BODY = json.dumps(REQUEST).encode()

GATEWAY = """
version: 1
listen:
  - {{{{url: "https://127.0.0.1:{{port}}", tls: {{{{certificate: listener.pem, key: listener.key}}}}}}}}
  - http://127.0.0.1:{plain}
issuers:
  - local
  - mtls: {{{{ca: {people}, subjects: ["spiffe://acme/**", "dns:*.example"], add_groups: [search]}}}}
recordings: {{recordings}}
upstream_proxy: {{{{url: "http://127.0.0.1:{proxy}", user: weir, password: "${{{{env:TEST_PROXY_PASSWORD}}}}", except: ["localhost"]}}}}
"""
CONNECTION = """
version: 1
connection: {name}
profile: cohere
upstream: {upstream}
match: {{path: /{name}}}
credential: {{header: Authorization, value: "Bearer ${{env:TEST_UPSTREAM_KEY}}"}}
access: {{groups: [local/search, mtls/search]}}
{more}
"""


class Proxy:
    """A CONNECT proxy that keeps the heads that it receives."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        self.status = b"200 OK"
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self._socket.accept()[0],), daemon=True).start()

    def _serve(self, caller: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            if not (data := caller.recv(65536)):
                return
            head += data
        self.heads.append(head)
        caller.sendall(b"HTTP/1.1 " + self.status + b"\r\n\r\n")
        if not self.status.startswith(b"200"):
            caller.close()
            return
        host, _, port = head.split()[1].decode().rpartition(":")
        with caller, socket.create_connection((host, int(port))) as service:
            back = threading.Thread(target=self._relay, args=(service, caller), daemon=True)
            back.start()
            self._relay(caller, service)
            back.join()

    @staticmethod
    def _relay(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@dataclass
class Site:
    """A gateway with a TLS listener, and services that request a client certificate."""

    gateway: Gateway
    folder: Path
    services: Authority
    people: Authority
    wanting: Upstream
    open: Upstream
    plain_port: int
    proxy: Proxy
    peers: list[str] = field(default_factory=list)

    def call(
        self,
        path: str = "/open/v2/rerank",
        certificate: Issued | None = None,
        bearer: str = "",
        trust: Authority | None = None,
    ) -> http.client.HTTPResponse:
        context = ssl.create_default_context(cafile=str((trust or self.services).path))
        if certificate is not None:
            context.load_cert_chain(certificate.certificate, certificate.key)
        connection = http.client.HTTPSConnection("127.0.0.1", self.gateway.port, context=context, timeout=PATIENCE)
        head = {"Content-Type": "application/json", **({"Authorization": f"Bearer {bearer}"} if bearer else {})}
        connection.request("POST", path, BODY, head)
        response = connection.getresponse()
        response.read()
        connection.close()
        return response


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, launch: Callable[..., Gateway]) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("certificates")
    services, people = Authority(folder, "Services"), Authority(folder, "People")
    server = services.issue("localhost", "127.0.0.1")
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    asking.load_cert_chain(server.certificate, server.key)
    asking.load_verify_locations(people.path)
    asking.verify_mode = ssl.CERT_REQUIRED
    silent = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    silent.load_cert_chain(server.certificate, server.key)
    wanting, open_, proxy, port, plain = Upstream(tls=asking), Upstream(tls=silent), Proxy(), free_port(), free_port()
    own = people.issue("gateway.example", usage=CLIENT)
    policies = folder / "policies"
    policies.mkdir()
    listener = services.issue("127.0.0.1")
    shutil.copy(listener.certificate, policies / "listener.pem")
    shutil.copy(listener.key, policies / "listener.key")
    trusting = f"ca: {services.path}"
    as_itself = f"tls: {{{trusting}, certificate: {own.certificate}, key: {own.key}}}"
    write_policies(
        folder, port, open_.port, gateway=GATEWAY.format(plain=plain, people=people.path, proxy=proxy.port),
        wanting=CONNECTION.format(name="wanting", upstream=f"https://localhost:{wanting.port}", more=as_itself),
        nobody=CONNECTION.format(name="nobody", upstream=f"https://localhost:{wanting.port}", more=f"tls: {{{trusting}}}"),
        open=CONNECTION.format(name="open", upstream=f"https://localhost:{open_.port}", more=f"tls: {{{trusting}}}"),
        proxied=CONNECTION.format(name="proxied", upstream=f"https://127.0.0.1:{open_.port}", more=f"tls: {{{trusting}}}"),
    )  # fmt: skip
    (policies / "reranker.yaml").unlink()
    environment = {"TEST_PROXY_PASSWORD": CREDENTIAL}
    gateway = launch(folder, port, "-n", "--set", "weir_listen=true", environment=environment)
    yield Site(gateway, folder, services, people, wanting, open_, plain, proxy)
    gateway.stop()
    for server_ in (wanting, open_, proxy):
        server_.stop()


def refuses_tls(context: ssl.SSLContext, port: int) -> None:
    with (
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection,
        pytest.raises((ssl.SSLError, ConnectionError)),
    ):
        context.wrap_socket(connection, server_hostname="127.0.0.1")


def test_a_listener_speaks_tls_and_nothing_else(site: Site) -> None:
    assert site.call(bearer=token()).status == 200
    answer = site.gateway.raw(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ") and b"This port speaks TLS" in answer
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            context.minimum_version = context.maximum_version = version
        refuses_tls(context, site.gateway.port)
    context = ssl.create_default_context(cafile=str(site.services.path))
    refuses_tls(context, site.plain_port)


def test_certificates_of_services_are_verified(site: Site) -> None:
    """Each connection uses its own trust, its own client certificate and its own upstream connections."""
    good = token()
    assert site.call("/wanting/v2/rerank", bearer=good).status == 200
    assert site.call("/nobody/v2/rerank", bearer=good).status == 502  # the service wants a certificate
    seen = len(site.wanting.seen)
    context = ssl.create_default_context(cafile=str(site.services.path))
    connection = http.client.HTTPSConnection("127.0.0.1", site.gateway.port, context=context, timeout=PATIENCE)
    for path, status in [("wanting", 200), ("nobody", 502), ("wanting", 200)]:  # one caller's connection to both
        head = {"Authorization": f"Bearer {good}", "Content-Type": "application/json"}
        connection.request("POST", f"/{path}/v2/rerank", BODY, head)
        response = connection.getresponse()
        response.read()
        assert response.status == status, path
    connection.close()
    assert len(site.wanting.seen) == seen + 2


def test_a_service_that_refuses_and_stays(site: Site) -> None:
    """The service requires a certificate, refuses after the TLS handshake, and does not close: 502 at once."""
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server = site.services.issue("localhost")
    asking.load_cert_chain(server.certificate, server.key)
    asking.load_verify_locations(site.people.path)
    asking.verify_mode = ssl.CERT_REQUIRED
    site.wanting.tls, site.wanting.stays = asking, True
    try:
        began = time.monotonic()
        assert site.call("/nobody/v2/rerank", bearer=token()).status == 502
        assert time.monotonic() - began < 5
    finally:
        site.wanting.stays = False


def test_a_certificate_that_changes_is_used_without_a_restart(site: Site) -> None:
    other = Authority(site.folder, "Other")
    issued, before = other.issue("127.0.0.1"), site.folder / "policies"
    kept = [(before / name).read_bytes() for name in ("listener.pem", "listener.key")]
    (before / "listener.pem").write_bytes(b"half a fi")
    site.gateway.wait_for("the policies were not reloaded, the old ones stay", 20)
    assert site.call(bearer=token()).status == 200
    shutil.copy(issued.certificate, before / "listener.pem")
    shutil.copy(issued.key, before / "listener.key")
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            assert site.call(bearer=token(), trust=other).status == 200
            break
        except ssl.SSLCertVerificationError:
            assert time.monotonic() < deadline
            time.sleep(0.2)
    for name, content in zip(("listener.pem", "listener.key"), kept, strict=True):
        (before / name).write_bytes(content)
    while True:
        try:
            site.call(bearer=token())
            break
        except ssl.SSLCertVerificationError:
            assert time.monotonic() < deadline + 20
            time.sleep(0.2)


def test_callers_that_are_known_by_their_certificate(site: Site) -> None:
    spiffe = site.people.issue("spiffe://acme/ranker", usage=CLIENT)
    assert site.call(certificate=spiffe).status == 200
    assert site.call(certificate=site.people.issue("batch.example", usage=CLIENT)).status == 200
    assert site.call(certificate=site.people.issue("spiffe://evil/ranker", usage=CLIENT)).status == 401
    assert site.call(certificate=site.people.issue("someone@acme.example", usage=CLIENT)).status == 401
    assert site.call(certificate=site.services.issue("spiffe://acme/ranker", usage=CLIENT)).status == 401
    assert site.call().status == 401
    # with a token, the token identifies the caller; a certificate does not make up for a bad token
    assert site.call(certificate=spiffe, bearer=token("alice")).status == 200
    assert site.call(certificate=spiffe, bearer=token("alice")[:-4] + "AAAA").status == 401
    rows = site.gateway.sql(
        "SELECT issuer, user, count(*) FROM flows WHERE status = 200 AND connection = 'open' GROUP BY ALL"
    )
    assert {("mtls", "spiffe://acme/ranker", 1), ("mtls", "dns:batch.example", 1)} <= set(rows)


def bound(certificate: Issued) -> str:
    """Return a token of the local issuer that is bound to *certificate* (RFC 8705)."""
    digest = certificate.x509.fingerprint(hashes.SHA256())
    claim = {"x5t#S256": base64.urlsafe_b64encode(digest).rstrip(b"=").decode()}
    claims = jwt.decode(local.mint("bound", ["search"], 600).reveal(), options={"verify_signature": False})
    headers = {"kid": local.KEY_ID, "typ": "at+jwt"}
    made = jwt.encode({**claims, "cnf": claim}, local._key(), algorithm="ES256", headers=headers)
    MINTED.append(made)
    return made


def test_tokens_that_are_bound_to_a_certificate(site: Site) -> None:
    """A stolen token is useless without the key. The certificate's subject does not matter."""
    mine, others = site.services.issue("x.test", usage=CLIENT), site.services.issue("y.test", usage=CLIENT)
    stolen = bound(mine)
    assert site.call(certificate=mine, bearer=stolen).status == 200
    refused = site.call(certificate=others, bearer=stolen)
    assert refused.status == 401 and "certificate that this connection did not present" in str(
        refused.headers["WWW-Authenticate"]
    )
    assert site.call(bearer=stolen).status == 401
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", site.plain_port, timeout=PATIENCE)) as connection:
        connection.request("POST", "/open/v2/rerank", BODY, {"Authorization": f"Bearer {stolen}"})
        assert connection.getresponse().status == 401


def test_services_are_reached_through_a_proxy(site: Site) -> None:
    assert site.call("/proxied/v2/rerank", bearer=token()).status == 200
    (head,) = site.proxy.heads
    expected = base64.b64encode(f"weir:{CREDENTIAL}".encode()).decode()
    assert head.startswith(f"CONNECT 127.0.0.1:{site.open.port} HTTP/1.1\r\n".encode())
    assert f"Proxy-Authorization: Basic {expected}".encode() in head
    assert b"proxy" not in site.open.seen[-1].head.lower()
    site.proxy.status = b"403 No"
    refused = site.call("/proxied/v2/rerank", bearer=token())
    assert refused.status == 502
    site.proxy.status = b"200 OK"
    assert site.call("/open/v2/rerank", bearer=token()).status == 200  # `except`
    assert len(site.proxy.heads) == 2
