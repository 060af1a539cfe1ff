"""A service closes a pooled connection while a request is on its way: `tests/corpus/repeats.yaml` lists what is repeated."""

import http.client
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.corpora import corpus
from tests.end_to_end.gateway import (
    CONNECTION,
    PATIENCE,
    Gateway,
    Seen,
    Upstream,
    free_port,
    json_answer,
    token,
    write_policies,
)

CASES = corpus("repeats")["cases"]
RERANK = {"model": "m", "query": "q", "documents": ["a", "b"]}
OK = json_answer({"results": []})


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, launch: Callable[..., Gateway]
) -> Iterator[tuple[Gateway, Upstream]]:
    folder, upstream, port = tmp_path_factory.mktemp("repeats"), Upstream(), free_port()
    es = CONNECTION.format(upstream=upstream.port).replace("reranker", "es").replace("cohere", "elasticsearch")
    write_policies(folder, port, upstream.port, es=f"{es}writes: allow\nunknown_operations: allow\n")
    gateway = launch(folder, port, "-n", "--set", "weir_listen=true")
    yield gateway, upstream
    gateway.stop()
    upstream.stop()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_requests(site: tuple[Gateway, Upstream], case: dict[str, Any]) -> None:
    gateway, upstream = site
    method, prefix = case.get("method", "POST"), case["path"].split("/")[1]
    body = case.get("body", RERANK if method == "POST" else None)
    pending = iter(case["answers"])

    def answer(seen: Seen) -> bytes | Iterator[bytes]:
        if seen.headers.get("user-agent") == "first":
            return OK
        said = next(pending)
        upstream.resets = said == "RST"
        if said == "OK":
            return OK.partition(b"{")[0] if method == "HEAD" else OK
        return iter((b"" if upstream.resets else said.encode(), b""))

    upstream.answer = answer
    connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=PATIENCE)
    headers = {"Authorization": f"Bearer {token()}", "Content-Type": "application/json"}
    if not case.get("fresh"):
        path = f"/{prefix}/v2/rerank" if prefix == "reranker" else f"/{prefix}/books/_search"
        earlier = RERANK if prefix == "reranker" else {"query": {"match": {"title": "first"}}}
        connection.request("POST", path, json.dumps(earlier), {**headers, "User-Agent": "first"})
        assert connection.getresponse().read()
    before, connections = len(upstream.seen), upstream.connections
    connection.request(method, case["path"], json.dumps(body) if body else None, headers)
    response = connection.getresponse()
    problem = json.loads(response.read() or b"{}").get("type", "").removeprefix("urn:weir:problem:")
    connection.close()
    assert (response.status, problem) == (case["status"], case.get("problem", ""))
    received = upstream.seen[before:]
    assert len(received) == case["sent"] and len({seen.raw for seen in received}) == 1
    assert upstream.connections - connections == case["sent"] - (not case.get("fresh"))
    (row,) = gateway.sql(
        "SELECT status, coalesce(problem, ''), repeated, outcome FROM flows WHERE request_id = "
        f"'{response.headers['x-request-id']}'"
    )
    outcome = case.get("outcome", "failed" if problem else "complete")
    assert row == (response.status, problem, case["sent"] == 2, outcome)
