"""Web pages of other origins: which of them may call a connection, as `tests/corpus/cors.yaml` lists it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.corpora import corpus
from tests.end_to_end.gateway import CONNECTION, Gateway, Upstream, free_port, raw_answer, token, write_policies
from weir.base.mistakes import ConfigError
from weir.policyset.load import load

TABLE = corpus("cors")
SETTINGS = {
    "named": "cors: {origins: ['https://app.example.com', 'http://localhost:3000']}\n",
    "any": "cors: {origins: '*'}\n",
    "cookies": "cors: {origins: https://app.example.com, credentials: true, max_age: 1m}\n",
    "none": "",
}
#: Headers of the service's answers, which allow every page.
ANSWER = "Vary: Accept\r\nAccess-Control-Allow-Origin: *\r\nAccess-Control-Allow-Credentials: true\r\n"


def connection(name: str, upstream: int) -> str:
    return CONNECTION.format(upstream=upstream).replace("reranker", name) + SETTINGS[name]


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, launch: Callable[..., Gateway]
) -> Iterator[tuple[Gateway, Upstream]]:
    folder, upstream, port = tmp_path_factory.mktemp("cors"), Upstream(), free_port()
    write_policies(folder, port, upstream.port, **{name: connection(name, upstream.port) for name in SETTINGS})
    gateway = launch(folder, port, "-n", "--set", "weir_listen=true")
    yield gateway, upstream
    gateway.stop()
    upstream.stop()


@pytest.mark.parametrize("case", TABLE["cases"], ids=lambda case: case["name"])
def test_answers(site: tuple[Gateway, Upstream], case: dict[str, Any]) -> None:
    gateway, upstream = site
    typed, body = (
        ("text/event-stream", b"data: 1\n\n") if case.get("stream") else ("application/json", b'{"results": []}')
    )
    whole = b"" if case.get("closes") else raw_answer(body, headers=f"{ANSWER}Content-Type: {typed}\r\n")
    upstream.answer = lambda seen: whole
    method = case.get("method", "POST")
    fields = {
        **case.get("more", {}),
        "Origin": case.get("origin"),
        "Access-Control-Request-Method": case.get("asks"),
        "Access-Control-Request-Headers": case.get("asks_headers"),
    }
    before = len(upstream.seen)
    answer = gateway.call(
        f"/{case['connection']}/v2/rerank",
        {"model": "m", "query": "q", "documents": ["a"]} if method == "POST" else case.get("body"),
        token=token() if case.get("token", method != "OPTIONS") else None,
        headers={name: value for name, value in fields.items() if value is not None},
        method=method,
    )
    found = {n: v for n, v in answer.headers.items() if n.startswith("access-control-") or n == "vary"}
    assert (answer.status, answer.problem, found) == (case["status"], case.get("problem", ""), case["headers"])
    assert len(upstream.seen) - before == bool(case.get("sent"))
    assert ("content-length" in answer.headers) is (answer.status != 204 and not case.get("stream"))
    request_id = answer.headers["x-request-id"]
    rows = gateway.sql(f"SELECT status, coalesce(problem, ''), connection FROM flows WHERE request_id = '{request_id}'")
    assert rows == [(answer.status, answer.problem, case["connection"])]


@pytest.mark.parametrize("case", TABLE["mistakes"], ids=lambda case: case["cors"])
def test_mistakes(tmp_path: Path, case: dict[str, str]) -> None:
    write_policies(tmp_path, 8080, 1, f"cors: {case['cors']}\n")
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "policies", {"TEST_UPSTREAM_KEY": "k"})
    assert any(case["said"] in str(mistake) for mistake in caught.value.mistakes), caught.value.mistakes
