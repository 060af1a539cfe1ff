"""The scenes of the demo as tests: a caller, a policy and a request; then the request at the upstream, the
caller's answer, and the record."""

import base64
import gzip
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from tests.end_to_end.gateway import (
    CREDENTIAL,
    GATEWAY,
    Gateway,
    Upstream,
    free_port,
    json_answer,
    raw_answer,
    token,
    write_policies,
)

POLICY = """
limits: [{rate: 60/minute, per: user, burst: 5}]
rules:
  - {name: no-huge-reranks, when: {documents: {gt: 1000}}, effect: deny, message: "At most 1,000 documents."}
  - {name: wide-reranks, when: {documents: {gt: 100}}, effect: deny, shadow: true}
  - {name: costly-model, when: {model: expensive, top_n: {gt: 2}}, effect: require_approval, approval: {reviewers: [leads], hold: 1s}}
  - {name: no-debug, when: {body: {"$.options.debug": true}}, effect: deny}
masks:
  - {fields: ["$.documents[*].user_id", "$.results[*].document.user_id"], with: hash}
  - {fields: ["$.documents[*].phone", "$.results[*].document.phone"], with: partial}
  - {fields: ["$.documents[*].secret"], with: drop, hide_from: [upstream]}
"""

DOCUMENTS = [
    {"text": "a mill", "user_id": "user-1111", "phone": "+41 44 668 18 00", "secret": "not for the model"},
    {"text": "a weir", "user_id": "user-2222", "phone": "+41 44 668 18 01"},
    {"text": "a dam", "user_id": "user-1111"},
]
REQUEST = {"model": "m", "query": "weir", "documents": DOCUMENTS, "top_n": 2, "return_documents": True}


def echo(seen: object) -> bytes:
    """Answer as a reranker with the documents in reverse order."""
    documents = json.loads(seen.body)["documents"]  # type: ignore[attr-defined]
    order = reversed(range(len(documents)))
    return json_answer({"id": "r", "results": [
        {"index": i, "relevance_score": round(0.3 + i / 10, 2), "document": documents[i]} for i in order]})  # fmt: skip


pytestmark = pytest.mark.policy(POLICY)


@pytest.fixture(autouse=True)
def _echoing(upstream: Upstream) -> None:
    upstream.answer = echo  # type: ignore[assignment]


@pytest.mark.smoke
def test_a_good_rerank(gateway: Gateway, upstream: Upstream) -> None:
    answer = gateway.call(
        body=REQUEST, token=token(), headers={"X-Request-Id": "mine-1", "Cookie": "a=b", "X-Weir-Judged": "1"}
    )

    (seen,) = upstream.seen
    assert seen.head.startswith(b"POST /v2/rerank HTTP/1.1\r\n")
    assert seen.headers["authorization"] == f"Bearer {CREDENTIAL}"
    assert seen.headers["host"] == f"127.0.0.1:{upstream.port}"
    assert not {"cookie", "x-weir-judged", "x-weir-replay-key", "x-request-id"} & set(seen.headers)
    assert [d["user_id"] for d in json.loads(seen.body)["documents"]] == ["user-1111", "user-2222", "user-1111"]
    assert b"not for the model" not in seen.body

    assert answer.status == 200
    results = answer.json["results"]
    first, second, third = (r["document"]["user_id"] for r in results)
    assert re.fullmatch(r"hash:[\w-]{22}:[\w-]{8}", first) and first == third != second
    assert results[1]["document"]["phone"] == "************8 01"
    assert [r["index"] for r in results] == [2, 1, 0]
    assert re.fullmatch(
        r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", answer.headers["x-request-id"]
    )
    assert re.fullmatch(r"weir;dur=[\d.]+", answer.headers["server-timing"])
    assert answer.headers["ratelimit"] == '"reranker-requests-per-user-1";r=4;t=1'
    assert answer.headers["ratelimit-policy"] == '"reranker-requests-per-user-1";q=60;w=60'

    (flow,) = gateway.flows()
    assert flow.id == answer.headers["x-request-id"]
    assert flow.comment == "allowed: rerank by alice" and flow.marked == ""
    assert flow.request.pretty_url == f"http://127.0.0.1:{upstream.port}/v2/rerank"
    assert "Authorization" not in flow.request.headers and "Cookie" not in flow.request.headers
    recorded = json.loads(flow.request.content or b"")["documents"]
    assert [d["user_id"] for d in recorded] == [first, second, first]
    assert b"user-1111" not in flow.request.content and b"user-1111" not in flow.response.content  # type: ignore
    assert flow.response.content == answer.body  # type: ignore[union-attr]

    assert gateway.sql(
        'SELECT connection, issuer, "user", groups, operation, model, documents, top_n, status, effect, rule, '
        "client_request_id, masked_request FROM flows"
    ) == [("reranker", "local", "alice", ["local/search"], "rerank", "m", 3, 2, 200, "allow", "access", "mine-1", True)]
    assert gateway.sql("SELECT rank, index, score FROM rankings") == [(1, 2, 0.5), (2, 1, 0.4), (3, 0, 0.3)]
    assert gateway.sql("SELECT requests, refused, documents FROM sessions") == [(1, 0, 3)]
    assert ("$.results[*].document.user_id", "hash", 3) in gateway.sql(
        "SELECT path, strategy, count FROM masked_fields"
    )


@pytest.mark.smoke
def test_without_a_token(gateway: Gateway, upstream: Upstream) -> None:
    answer = gateway.call(body=REQUEST)
    assert (answer.status, answer.problem) == (401, "credentials-required")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert answer.json["message"] == answer.json["detail"] == answer.json["error"]["message"]
    assert answer.json["request_id"] == answer.headers["x-request-id"]
    assert upstream.connections == 0
    (flow,) = gateway.flows()
    assert flow.request.content == b"" and flow.marked == ":no_entry:"
    assert gateway.sql('SELECT "user", problem, status FROM flows') == [(None, "credentials-required", 401)]


def test_another_issuers_or_a_damaged_token(gateway: Gateway, upstream: Upstream) -> None:
    good = token()
    for bad in (
        good + "x",
        good[:-4] + "AAAA",
        good + ".x",
        "x" * 20000,
        "not-a-token",
        good.partition(".")[0] + "..x",
    ):
        answer = gateway.call(body=REQUEST, token=bad)
        assert (answer.status, answer.problem) == (401, "invalid-token")
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert upstream.connections == 0


@pytest.mark.smoke
def test_the_wrong_group(gateway: Gateway, upstream: Upstream) -> None:
    answer = gateway.call(body=REQUEST, token=token("bob", "finance"))
    assert (answer.status, answer.problem, answer.json["rule"]) == (403, "access-denied", "access")
    assert upstream.connections == 0
    assert gateway.sql('SELECT "user", effect, rule FROM flows') == [("bob", "deny", "access")]


@pytest.mark.smoke
def test_too_many_documents(gateway: Gateway, upstream: Upstream) -> None:
    answer = gateway.call(body={**REQUEST, "documents": DOCUMENTS[:1] * 5000}, token=token())
    assert (answer.status, answer.problem) == (403, "denied-by-rule")
    assert (answer.json["rule"], answer.json["detail"]) == ("no-huge-reranks", "At most 1,000 documents.")
    assert upstream.connections == 0
    (flow,) = gateway.flows()
    assert flow.comment == "refused by no-huge-reranks: denied-by-rule (alice)" and flow.marked == ":no_entry:"
    assert len(json.loads(flow.request.content or b"")["documents"]) == 5000
    assert b"user-1111" not in (flow.request.content or b"")
    assert gateway.sql("SELECT rule, enforced FROM violations ORDER BY rule") == [
        ("no-huge-reranks", True), ("wide-reranks", False)]  # fmt: skip


def test_a_rule_in_shadow_is_recorded_and_not_enforced(gateway: Gateway) -> None:
    assert gateway.call(body={**REQUEST, "documents": DOCUMENTS[:1] * 101}, token=token()).status == 200
    assert gateway.sql("SELECT effect, shadow FROM flows") == [("allow", ["wide-reranks"])]


def test_rules_on_model_top_n_and_body(gateway: Gateway, upstream: Upstream) -> None:
    costly = gateway.call(
        body={**REQUEST, "model": "expensive", "top_n": None}, token=token()
    )  # absent means all three
    assert (costly.status, costly.problem, costly.json["rule"]) == (403, "approval-pending", "costly-model")
    assert gateway.call(body={**REQUEST, "options": {"debug": True}}, token=token()).json["rule"] == "no-debug"
    assert upstream.connections == 0
    assert gateway.call(body={**REQUEST, "model": "expensive"}, token=token()).status == 200


@pytest.mark.policy(POLICY.replace("60/minute", "30/minute"))
def test_a_burst_is_limited_per_user(gateway: Gateway, upstream: Upstream) -> None:
    alice, answered, began = token(), 0, time.monotonic()
    while (refused := gateway.call(body=REQUEST, token=alice)).status == 200:
        answered += 1
        assert answered <= 5 + (time.monotonic() - began) / 2  # on a busy machine, one more every two seconds
    assert answered >= 5
    assert (refused.status, refused.problem) == (429, "rate-limited")
    assert refused.headers["ratelimit"].startswith('"reranker-requests-per-user-1";r=0;')
    assert len(upstream.seen) == answered
    assert gateway.call(body=REQUEST, token=token("carol")).status == 200
    time.sleep(int(refused.headers["retry-after"]))  # the time that the answer states
    assert gateway.call(body=REQUEST, token=alice).status == 200


def test_what_is_not_configured(gateway: Gateway, upstream: Upstream) -> None:
    assert gateway.call("/elsewhere", REQUEST, token=token()).problem == "unknown-connection"
    assert gateway.call("/rerankerx/v2/rerank", REQUEST, token=token()).problem == "unknown-connection"
    assert gateway.call("/reranker/v2/datasets", REQUEST, token=token()).problem == "unknown-operation"
    assert gateway.call("/reranker/v2/rerank", None, token=token(), method="GET").problem == "unknown-operation"
    assert upstream.connections == 0
    assert gateway.sql("SELECT count(*) FROM flows WHERE connection IS NULL") == [(2,)]


def test_an_upstream_that_is_down_is_not_named(gateway: Gateway, upstream: Upstream) -> None:
    upstream.stop()
    answer = gateway.call(body=REQUEST, token=token())
    assert (answer.status, answer.problem) == (502, "upstream-unreachable")
    assert str(upstream.port).encode() not in answer.body and b"127.0.0.1" not in answer.body
    assert gateway.sql("SELECT status, problem, error IS NOT NULL FROM flows") == [(502, "upstream-unreachable", True)]
    assert gateway.flows()[0].id == answer.json["request_id"]


def test_a_reflected_credential_is_scrubbed_and_alarmed(gateway: Gateway, upstream: Upstream) -> None:
    for spelling in (CREDENTIAL, quote(CREDENTIAL, safe=""), base64.b64encode(f"x:{CREDENTIAL}".encode()).decode()):
        upstream.answer = lambda seen, s=spelling: json_answer(
            {"message": f"bad key {s}."}, "401 Unauthorized", f"X-Echo: {s}\r\n"
        )  # type: ignore[misc]
        answer = gateway.call(body=REQUEST, token=token())
        assert answer.status == 401 and "***" in answer.json["message"] and "***" in answer.headers["x-echo"]
        assert spelling not in answer.body.decode() + str(answer.headers)
    gateway.wait_for("sent a credential back")


def test_a_gzipped_answer_is_read_masked_and_recorded(gateway: Gateway, upstream: Upstream) -> None:
    body = gzip.compress(
        json.dumps({"results": [{"index": 0, "relevance_score": 1, "document": DOCUMENTS[0]}]}).encode()
    )
    upstream.answer = lambda seen: raw_answer(
        body, headers="Content-Type: application/json\r\nContent-Encoding: gzip\r\n"
    )
    answer = gateway.call(body=REQUEST, token=token())
    assert "content-encoding" not in answer.headers
    assert answer.json["results"][0]["document"]["user_id"].startswith("hash:")


@pytest.mark.parametrize(
    "body", [b"<html>oops</html>", b'{"results": [], "results": [1]}', b'{"results": NaN}', b"\x1f\x8b\x08truncated"]
)
def test_what_cannot_be_masked_is_not_delivered(gateway: Gateway, upstream: Upstream, body: bytes) -> None:
    encoding = "Content-Encoding: gzip\r\n" if body[:1] == b"\x1f" else ""
    upstream.answer = lambda seen: raw_answer(body, "500 Oops", f"Content-Type: application/json\r\n{encoding}")
    answer = gateway.call(body=REQUEST, token=token())
    assert (answer.status, answer.problem) == (502, "upstream-unreadable")
    assert body not in answer.body
    assert gateway.sql("SELECT upstream_status, problem FROM flows") == [(500, "upstream-unreadable")]


def test_the_cohere_sdk_with_nothing_changed_but_base_url_and_token(gateway: Gateway) -> None:
    import cohere
    from cohere.core.api_error import ApiError

    with httpx.Client() as http:
        client = cohere.ClientV2(token(), base_url=f"http://127.0.0.1:{gateway.port}/reranker", httpx_client=http)
        ranking = client.rerank(model="m", query="weir", documents=["a mill", "a weir"], top_n=2)
        assert [r.index for r in ranking.results] == [1, 0]
        with pytest.raises(ApiError) as refused:
            client.rerank(model="m", query="weir", documents=["x"] * 1001)
    assert refused.value.status_code == 403 and refused.value.body["message"] == "At most 1,000 documents."


def test_text_embeddings_inference(tmp_path: Path, upstream: Upstream, launch: Callable[..., Gateway]) -> None:
    port = free_port()
    tei = (
        f"version: 1\nconnection: tei\nprofile: tei\nupstream: http://127.0.0.1:{upstream.port}\n"
        "match: {host: tei.example}\naccess: {groups: [search]}\n"
        "credential: {query: api_key, value: '${file:key}'}\n"
        "rules: [{name: few, when: {documents: {gt: 2}}, effect: deny}]\n"
    )
    write_policies(tmp_path, port, upstream.port, tei=tei)
    (tmp_path / "policies" / "key").write_text(f"{CREDENTIAL}\n")
    upstream.answer = lambda seen: json_answer([{"index": 1, "score": 0.8}, {"index": 0, "score": 0.1}])
    gateway = launch(tmp_path, port, "-n", "--set", "weir_listen=true")
    host = {"Host": "TEI.example:80"}
    body = {"query": "q", "texts": ["a", "b"]}
    assert gateway.call("/rerank?api_key=callers-own&x=1", body, token=token(), headers=host).status == 200
    assert upstream.seen[0].head.startswith(b"POST /rerank?x=1&api_key=sk-upstream-c2VjcmV0%2F4f9e81d0 HTTP/1.1\r\n")
    assert gateway.call("/rerank", {**body, "texts": ["a"] * 3}, token=token(), headers=host).json["rule"] == "few"
    assert gateway.sql("SELECT rank, index, score FROM rankings ORDER BY rank") == [(1, 1, 0.8), (2, 0, 0.1)]
    gateway.stop()


def test_a_listeners_port_can_choose_the_connection(
    tmp_path: Path, upstream: Upstream, launch: Callable[..., Gateway]
) -> None:
    port, other = free_port(), free_port()
    by_port = (
        f"version: 1\nconnection: by-port\nprofile: cohere\nupstream: http://127.0.0.1:{upstream.port}/base\n"
        f"match: {{port: {other}}}\naccess: {{groups: [search]}}\n"
    )
    both = GATEWAY.replace(":{port}]", f":{{port}}, http://127.0.0.1:{other}]")
    write_policies(tmp_path, port, upstream.port, gateway=both, by_port=by_port)
    gateway = launch(tmp_path, port, "-n", "--set", "weir_listen=true")
    gateway.port = other
    assert gateway.call("/v2/rerank", REQUEST, token=token(), headers={"X-Session-Id": "mine"}).status == 200
    assert upstream.seen[-1].head.startswith(b"POST /base/v2/rerank ")
    gateway.port = port
    assert gateway.call("/v2/rerank", REQUEST, token=token()).problem == "unknown-connection"
    assert gateway.call(body=REQUEST, token=token()).status == 200
    assert gateway.sql("SELECT connection, split_part(session_id, '~', 1) FROM flows WHERE status = 200 ORDER BY time")[0] == (
        "by-port", "mine")  # fmt: skip
    gateway.stop()
