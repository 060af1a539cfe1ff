"""A client that asks a service for the addresses of its nodes stays at the gateway, also behind a proxy."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.end_to_end.gateway import Gateway, Upstream, free_port, json_answer, raw_answer, token, write_policies

GATEWAY = """
version: 1
listen:
  - http://127.0.0.1:{{port}}
  - {{{{url: "http://127.0.0.1:{explicit}", mode: explicit}}}}
issuers: [local]
recordings: {{recordings}}
"""
CONNECTION = """
version: 1
connection: {name}
profile: opensearch
upstream: http://127.0.0.1:{upstream}{base}
match: {match}
access: {{groups: [search]}}
"""
SNIFF = "/_nodes/_all/http"


def nodes(address: str) -> dict[str, Any]:
    return {"cluster_name": "c", "nodes": {"n1": {"name": "a", "http": {"publish_address": address}}}}


@dataclass
class Site:
    """A gateway with one search service in connections by host and by path, and two services with one connection each."""

    gateway: Gateway
    service: Upstream
    based: Upstream
    proxied: Upstream  # of the only connection that leads to it
    explicit: int

    def at(self, host: str, path: str = SNIFF, method: str = "GET") -> httpx.Response:
        """Send a request to the reverse listener, with *host* as its name."""
        url = f"http://127.0.0.1:{self.gateway.port}{path}"
        return httpx.request(method, url, headers={"Host": host, "Authorization": f"Bearer {token()}"})

    def through_proxy(self, service: Upstream, path: str) -> httpx.Response:
        """Send a request for *service* to the gateway as a proxy."""
        with httpx.Client(proxy=f"http://{token()}:@127.0.0.1:{self.explicit}") as client:
            return client.get(f"http://127.0.0.1:{service.port}{path}")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, launch: Callable[..., Gateway]) -> Iterator[Site]:
    folder, port, explicit = tmp_path_factory.mktemp("discovery"), free_port(), free_port()
    service, based, proxied = Upstream(), Upstream(), Upstream()
    for upstream in (service, based, proxied):
        upstream.answer = lambda seen: json_answer(nodes("10.0.0.5:9200"))
    search = CONNECTION.format(name="search", upstream=service.port, base="", match="{host: search.test}")
    others = {
        "below": CONNECTION.format(name="below", upstream=service.port, base="", match="{path: /es}"),
        "both": CONNECTION.format(name="both", upstream=service.port, base="", match="{host: both.test, path: /es}"),
        "based": CONNECTION.format(name="based", upstream=based.port, base="/es", match="{host: based.test}"),
        "proxied": CONNECTION.format(name="proxied", upstream=proxied.port, base="", match="{host: proxied.test}"),
        "masked": CONNECTION.format(name="masked", upstream=service.port, base="", match="{host: masked.test}")
        + "masks: [{detect: [email], with: redact}]\n",
    }
    write_policies(folder, port, service.port, gateway=GATEWAY.format(explicit=explicit), **others, search=search)
    (folder / "policies" / "reranker.yaml").unlink()
    yield Site(launch(folder, port, "-n", "--set", "weir_listen=true"), service, based, proxied, explicit)
    for upstream in (service, based, proxied):
        upstream.stop()


@pytest.mark.parametrize("host", ["search.test", "masked.test", "based.test"])
@pytest.mark.parametrize("path", [SNIFF, "/_nodes", "/_nodes/n1", "/_nodes/n1/http,os?pretty"])
def test_a_client_of_a_host_continues_at_that_host(site: Site, host: str, path: str) -> None:
    assert site.at(f"{host}:9200", path).json() == nodes(f"{host}:9200")


def test_a_host_without_a_port_means_the_default_port(site: Site) -> None:
    assert site.at("search.test").json() == nodes("search.test:80")


def test_the_scheme_of_the_public_url_decides_the_default_port(
    tmp_path: Path, upstream: Upstream, launch: Callable[..., Gateway]
) -> None:
    port = free_port()
    settings = GATEWAY.format(explicit=free_port()) + "public_url: https://weir.example\n"
    search = CONNECTION.format(name="search", upstream=upstream.port, base="", match="{host: search.test}")
    write_policies(tmp_path, port, upstream.port, gateway=settings, search=search)
    upstream.answer = lambda seen: json_answer(nodes("10.0.0.5:9200"))
    gateway = launch(tmp_path, port, "-n", "--set", "weir_listen=true")
    answer = gateway.call(SNIFF, token=token(), headers={"Host": "search.test"}, method="GET")
    assert answer.json == nodes("search.test:443")
    gateway.stop()


@pytest.mark.parametrize("host", ["127.0.0.1", "both.test"])
def test_below_a_path_prefix_the_client_is_told_which_option_to_switch_off(site: Site, host: str) -> None:
    before = len(site.service.seen)
    refused = site.at(host, f"/es{SNIFF}")
    assert refused.status_code == 403
    assert refused.json()["type"] == "urn:weir:problem:discovery-refused"
    assert "/es" in refused.json()["detail"] and "sniff_on_start" in refused.json()["detail"]
    assert len(site.service.seen) == before


@pytest.mark.parametrize("path", ["/_cluster/state", "/_cat/nodes", "/_nodes/stats", "/_nodes/n1/stats/http"])
def test_administrators_read_the_real_addresses(site: Site, path: str) -> None:
    assert site.at("search.test", path).json() == nodes("10.0.0.5:9200")
    assert site.at("127.0.0.1", f"/es{path}").json() == nodes("10.0.0.5:9200")


def test_a_client_of_a_proxy_continues_at_the_address_that_the_proxy_judges(site: Site) -> None:
    assert site.through_proxy(site.proxied, SNIFF).json() == nodes(f"127.0.0.1:{site.proxied.port}")


def test_a_service_below_a_path_is_a_prefix_for_clients_of_a_proxy(site: Site) -> None:
    refused = site.through_proxy(site.based, f"/es{SNIFF}")
    assert refused.json()["type"] == "urn:weir:problem:discovery-refused"


@pytest.mark.parametrize(
    "answer",
    [
        raw_answer(b"nodes:\n  n1: {http: {publish_address: 10.0.0.5:9200}}\n", headers="Content-Type: application/yaml\r\n"),
        raw_answer(b'{"nodes": {}, "nodes": {"n1": {"http": {"publish_address": "10.0.0.5:9200"}}}}', headers="Content-Type: application/json\r\n"),
    ],
    ids=["YAML", "JSON with a member twice"],
)  # fmt: skip
def test_an_answer_that_cannot_be_read_is_not_shown(site: Site, answer: bytes) -> None:
    with site.service.answering(answer):
        refused = site.at("search.test", f"{SNIFF}?format=yaml")
    assert refused.status_code == 502 and "Ask for JSON" in refused.json()["detail"]


def test_errors_and_answers_without_addresses_pass(site: Site) -> None:
    with site.service.answering(raw_answer(b"unavailable", "503 Service Unavailable", "Content-Type: text/plain\r\n")):
        assert site.at("search.test").text == "unavailable"
    with site.service.answering(json_answer({"nodes": {"n1": {"os": {"name": "Linux"}}}})):
        assert site.at("search.test", "/_nodes/os").json() == {"nodes": {"n1": {"os": {"name": "Linux"}}}}
    assert site.at("search.test", method="HEAD").status_code == 200


def test_the_record_holds_the_answer_that_the_caller_received(site: Site) -> None:
    answer = site.at("search.test:9201")
    recorded = site.gateway.flows()[-1].response
    assert recorded is not None and recorded.content == answer.content
