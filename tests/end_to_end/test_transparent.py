"""Unchanged callers in their own network: three namespaces, real TLS, real rules of the kernel."""

import json
import os
import ssl
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import needs
from tests.end_to_end import namespaces
from tests.end_to_end.certificates import CLIENT, Authority, Issued
from tests.end_to_end.gateway import BUNDLE, CREDENTIAL, MINTED, MITMDUMP, PATIENCE, RANKING, ROOT, Gateway, Upstream
from weir.tls import ca

WHY_NOT = namespaces.unavailable() or needs.missing("curl")
WHY_NOT_NFT = "" if WHY_NOT else namespaces.nft_unavailable()
pytestmark = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)

PORT = 8082
REQUEST = json.dumps({"model": "m", "query": "q", "documents": ["a", "b"]})
RERANK = "https://rerank.example/v2/rerank"

GATEWAY = """
version: 1
listen:
  - {{url: "http://0.0.0.0:8082", mode: transparent}}
issuers:
  - keys
  - mtls: {{ca: {ca}, groups: {{"spiffe://acme/search/*": [search]}}}}
  - network: {{name: lab, sources: [10.77.1.3/32], add_groups: [bench]}}
recordings: {recordings}
pass: [{{to: "pinned.example:443", addresses: [private]}}]
"""
CONNECTION = """
version: 1
connection: {name}
profile: cohere
upstream: {upstream}
addresses: [private]
{more}
credential: {{header: Authorization, value: "Bearer ${{env:TEST_UPSTREAM_KEY}}"}}
access: {{groups: [keys/search, mtls/search, lab/bench]}}
"""


@dataclass
class Site:
    """The three namespaces, and the processes in them."""

    caller: str
    inside: str
    gateway: Gateway
    rerank: Upstream
    plain: Upstream
    pinned: Upstream
    unknown: Upstream
    services: Authority
    people: Authority
    key: str

    def curl(
        self, url: str, *more: str, at: str = "10.77.2.2", trust: Path | None = None, key: bool = True
    ) -> subprocess.CompletedProcess[str]:
        """Run curl in the caller's network, optionally with another address for the host."""
        host = url.split("/")[2]
        command = ["curl", "-sS", "-m", "10", "-w", "\n%{http_code}", "--cacert", str(trust or ca.certificate_path())]
        command += ["--resolve", f"{host}:443:{at}", "--resolve", f"{host}:80:{at}"]
        command += ["-H", f"Authorization: Bearer {self.key}"] if key else []
        command += ["-H", "Content-Type: application/json", "-d", REQUEST, url, *more]
        return namespaces.run(*command, inside=self.caller, check=False)

    def status(self, url: str, *more: str, at: str = "10.77.2.2", key: bool = True) -> int:
        """Return its status; 0 if the connection was closed without an answer."""
        return int(self.curl(url, *more, at=at, key=key).stdout.rpartition("\n")[2])

    def client(self, issued: Issued) -> list[str]:
        return ["--cert", str(issued.certificate), "--key", str(issued.key)]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, launch: Callable[..., Gateway]) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("transparent")
    services, people = Authority(folder, "Services"), Authority(folder, "People")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued = services.issue("rerank.example", "pinned.example", "unknown.example")
    tls.load_cert_chain(issued.certificate, issued.key)
    ca.save(ca.make(["rerank.example", "127.0.0.1"]))
    with namespaces.three() as (caller, inside, service):
        namespaces.name_hosts(
            inside, {"rerank.example": "10.77.2.2", "plain.example": "10.77.2.2", "pinned.example": "10.77.2.3"}
        )
        made = [
            namespaces.within(service, lambda at=at, port=port, tls=context: Upstream(port, tls, at))  # type: ignore[misc]
            for at, port, context in [("10.77.2.2", 443, tls), ("10.77.2.2", 80, None), ("10.77.2.3", 443, tls), ("10.77.2.4", 443, tls)]
        ]  # fmt: skip
        policies = folder / "policies"
        policies.mkdir()
        (policies / "gateway.yaml").write_text(GATEWAY.format(ca=people.path, recordings=folder / "recordings"))
        for name, upstream, more in (
            ("rerank", "https://rerank.example", f"tls: {{ca: {services.path}}}"),
            ("plain", "http://plain.example", ""),
        ):
            (policies / f"{name}.yaml").write_text(CONNECTION.format(name=name, upstream=upstream, more=more))
        weir = str(MITMDUMP.with_name("weir"))
        created = subprocess.run(
            [weir, "keys", "create", "--name", "transparent", "--group", "keys/search", "--policies", str(policies)],
            capture_output=True, text=True, check=True, env={**os.environ, "TEST_UPSTREAM_KEY": CREDENTIAL},
        )  # fmt: skip
        key = created.stdout.strip()
        MINTED.append(key)
        gateway = launch(
            folder, PORT, "-n", "--set", "weir_listen=true",
            command=["ip", "netns", "exec", inside, str(MITMDUMP), "-s", str(BUNDLE)],
        )  # fmt: skip
        redirect("apply", inside)
        yield Site(caller, inside, gateway, *made, services, people, key)
        gateway.stop()
        for upstream in made:
            upstream.stop()


def redirect(action: str, namespace: str, *more: str) -> None:
    namespaces.run(str(ROOT / "scripts/transparent"), action, "--port", str(PORT), "--interface", "callers", *more, inside=namespace)  # fmt: skip


def test_a_caller_that_knows_nothing_is_judged_and_recorded(site: Site) -> None:
    done = site.curl(RERANK)
    assert done.stdout == json.dumps(RANKING) + "\n200", done.stderr
    seen = site.rerank.seen[-1]
    assert seen.head.startswith(b"POST /v2/rerank HTTP/1.1\r\nHost: rerank.example\r\n")
    assert seen.headers["authorization"] == f"Bearer {CREDENTIAL}"
    assert site.curl("http://plain.example/v2/rerank").stdout.endswith("200")
    assert site.plain.seen[-1].headers["host"] == "plain.example"
    assert site.gateway.sql("SELECT connection, issuer, user, client_ip, path FROM flows WHERE status = 200 ORDER BY time LIMIT 2") == [
        ("rerank", "keys", "transparent", "10.77.1.2", "/v2/rerank"),
        ("plain", "keys", "transparent", "10.77.1.2", "/v2/rerank"),
    ]  # fmt: skip


def test_who_a_caller_is(site: Site) -> None:
    """A token, a certificate or, weakest, the network identifies a caller, in this order; otherwise there is none."""
    assert site.status(RERANK, key=False) == 401
    vendor = ["-H", "Authorization: Bearer of-the-vendor"]
    assert site.status(RERANK, *vendor, key=False) == 401
    lab = ["--interface", "10.77.1.3"]
    assert site.status(RERANK, *lab, key=False) == 200  # its own credential for the service does not matter
    assert site.status(RERANK, *lab, *vendor, key=False) == 200
    assert b"of-the-vendor" not in site.rerank.seen[-1].raw
    good = site.client(site.people.issue("spiffe://acme/search/ranker", usage=CLIENT))
    assert site.status(RERANK, *good, *vendor, key=False) == 200
    others = {
        "of another group": site.people.issue("spiffe://acme/other/ranker", usage=CLIENT),
        "for servers": site.people.issue("spiffe://acme/search/ranker"),
        "expired": site.people.issue("spiffe://acme/search/ranker", usage=CLIENT, begins=-3, ends=-1),
        "of tomorrow": site.people.issue("spiffe://acme/search/ranker", usage=CLIENT, begins=1),
        "of another authority": site.services.issue("spiffe://acme/search/ranker", usage=CLIENT),
        "of two": site.people.issue("spiffe://acme/search/a", "spiffe://acme/search/b", usage=CLIENT),
    }
    before = len(site.rerank.seen)
    for name, issued in others.items():
        assert site.status(RERANK, *site.client(issued), key=False) == (403 if "group" in name else 401), name
        # an untrusted certificate is refused: the network does not identify its caller instead
        assert site.status(RERANK, *site.client(issued), *lab, key=False) in (401, 403), name
    assert len(site.rerank.seen) == before
    query = "SELECT DISTINCT issuer, user FROM flows WHERE status = 200 AND issuer <> 'keys' ORDER BY ALL"
    assert site.gateway.sql(query) == [("lab", "10.77.1.3"), ("mtls", "spiffe://acme/search/ranker")]


def test_only_the_kernel_is_believed(site: Site) -> None:
    """The called address alone selects the service; Host and SNI must agree with it."""
    before = [len(u.seen) for u in (site.rerank, site.plain, site.pinned, site.unknown)], site.unknown.connections
    assert site.status(RERANK, "-H", "Host: evil.example") == 421
    assert site.status(RERANK, "-H", "Host: plain.example") == 421
    assert site.status("https://evil.example/v2/rerank") == 0  # the address is known, the name is not
    assert site.status(RERANK, at="10.77.2.4") == 0  # the name is known, the address is not
    assert site.status(RERANK, at="10.77.2.3") == 0  # the address of another service
    assert site.status("https://unknown.example/v2/rerank", at="10.77.2.4") == 0
    assert site.status("http://plain.example/v2/rerank", "-H", "Host: rerank.example") == 421
    assert site.status("http://rerank.example/v2/rerank", at="10.77.2.4") in (0, 403, 421)
    assert site.status("https://10.77.2.2/v2/rerank", "-k") in (0, 421)
    # the gateway's own port reaches no service, and not the gateway either
    assert site.status("http://plain.example/v2/rerank", "--connect-to", f"::10.77.1.1:{PORT}") == 0
    assert (
        [len(u.seen) for u in (site.rerank, site.plain, site.pinned, site.unknown)],
        site.unknown.connections,
    ) == before
    line = site.gateway.wait_for("10.77.2.4 port 443 as 'rerank.example' was closed")
    assert "10.77.1.2" in line


def test_what_is_passed_keeps_its_own_certificate(site: Site) -> None:
    pinned = "https://pinned.example/anything"
    assert site.curl(pinned, at="10.77.2.3").returncode != 0  # not the gateway's certificate
    done = site.curl(pinned, at="10.77.2.3", trust=site.services.path)
    assert done.stdout.endswith("200") and b"/anything" in site.pinned.seen[-1].head
    deadline = time.monotonic() + PATIENCE
    query = "SELECT who, subject FROM events WHERE kind = 'tunnel' AND message NOT LIKE '%, 0 received%'"
    while not (rows := site.gateway.sql(query)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert ("10.77.1.2", "10.77.2.3:443") in rows


def test_rules_are_removed(site: Site) -> None:
    redirect("remove", site.inside)
    connections = site.rerank.connections
    assert site.curl(RERANK, trust=site.services.path, key=False).stdout.endswith("200")  # without the gateway
    assert site.rerank.connections == connections + 1
    redirect("apply", site.inside)
    redirect("apply", site.inside)  # applying twice has no further effect
    rules = namespaces.run("iptables", "-t", "nat", "-S", inside=site.inside).stdout
    assert rules.count("--to-ports 8082") == 1


@pytest.mark.skipif(bool(WHY_NOT or WHY_NOT_NFT), reason=WHY_NOT or WHY_NOT_NFT or "-")
def test_rules_of_nftables(site: Site) -> None:
    redirect("remove", site.inside)
    redirect("apply", site.inside, "--nft", "--source", "10.77.1.0/24", "--destination", "10.77.2.0/24")
    assert site.status(RERANK) == 200 and b"weir" not in site.rerank.seen[-1].raw
    assert site.rerank.seen[-1].headers["authorization"] == f"Bearer {CREDENTIAL}"
    redirect("remove", site.inside, "--nft")
    redirect("apply", site.inside)


def test_a_caller_that_closes_is_closed(site: Site) -> None:
    """With and without TLS, HTTP/1.1 and 1.0: otherwise curl would wait for more."""
    for url in (RERANK, "http://plain.example/v2/rerank"):
        for asked in (
            ["--http1.1", "-H", "Connection: Close"],
            ["--http1.0"],
            ["--http1.0", "-H", "Connection: keep-alive"],
        ):
            head, _, rest = site.curl(url, "-i", *asked).stdout.replace("\r\n", "\n").partition("\n\n")
            kept = asked[-1].endswith("keep-alive")
            assert head.startswith("HTTP/1.1 200") and rest.endswith("\n200"), head
            assert f"\nConnection: {'keep-alive' if kept else 'close'}\n" in f"{head}\n" and "chunked" not in head
