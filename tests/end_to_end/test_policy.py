"""Policy with real requests: the effects of rules, limits, stops, breakers and reloads, and their records."""

import functools
import json
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import needs
from tests.approvals.samples import window
from tests.cli import inside
from tests.end_to_end.gateway import (
    CREDENTIAL,
    PATIENCE,
    Answer,
    Gateway,
    Seen,
    Upstream,
    free_port,
    json_answer,
    raw_answer,
    token,
    write_policies,
)
from weir.approvals.model import Person
from weir.policyset.load import load_without_secrets
from weir.state.database import Database

RERANKER = """
limits:
  - {rate: 1000/minute, per: user}
rules:
  - name: document-cap
    when: {documents: {gt: 5}}
    effect: deny
    message: At most five.
  - name: watched
    when: {any: [{query: {matches: '^watch '}}, {body: {"$.secret": {exists: true}}}]}
    effect: deny
    shadow: true
  - name: broken-ranking
    on: response
    when: {invalid_results: {gt: 0}}
    effect: deny
  - name: asked-for-hidden                     # the request's rules have other patterns over the same texts
    on: response
    when: {query: {matches: hidden}}
    effect: deny
  - name: top-score-watched
    on: response
    when: {top_score: {lt: 0.5}}
    effect: deny
    shadow: true
masks:
  - {fields: ["$.secret", "$.results[*].note"], with: redact}
"""

SEARCH = """
version: 1
connection: search
profile: elasticsearch
upstream: http://127.0.0.1:{upstream}
match: {{path: /search}}
access: {{groups: [search]}}
rules:
  - name: protected
    when: {{index: {{touches: secret-*}}}}
    effect: deny
masks:
  - {{fields: ["$[*].query.match.email"], with: redact, hide_from: [upstream, caller, record]}}
  - {{fields: ["$[*].index"], with: redact, hide_from: [record]}}
"""

LIMITED = """
version: 1
connection: limited
profile: openai
upstream: http://127.0.0.1:{upstream}
match: {{path: /limited}}
access: {{groups: [search]}}
limits:
  - {{rate: 100/hour, count: tokens, per: user}}
  - {{concurrent: 2, per: user}}
"""

TRIPS = """
version: 1
connection: trips
profile: cohere
upstream: http://127.0.0.1:{upstream}
match: {{path: /trips}}
access: {{groups: [search]}}
trip: {{errors: 50%, over: 2s, least: 4}}
"""

WINDOW = """
version: 1
connection: window
profile: cohere
upstream: http://127.0.0.1:{upstream}
match: {{path: /window}}
access: {{groups: [nobody], on_request: {{reviewers: [leads], at_most: 1h}}}}
"""

OTHERS = {"search": SEARCH, "limited": LIMITED, "trips": TRIPS, "window": WINDOW}
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}


@pytest.fixture(scope="module")
def service() -> Iterator[Upstream]:
    server = Upstream()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def policed(
    tmp_path_factory: pytest.TempPathFactory, service: Upstream, launch: Callable[..., Gateway]
) -> Iterator[Gateway]:
    folder, port = tmp_path_factory.mktemp("policed"), free_port()
    others = {name: text.format(upstream=service.port) for name, text in OTHERS.items()}
    write_policies(folder, port, service.port, RERANKER, **others)
    gateway = launch(folder, port, "-n", "--set", "weir_listen=true")
    yield gateway
    gateway.stop()


def rerank(
    gateway: Gateway,
    documents: int = 2,
    query: str = "q",
    user: str = "alice",
    path: str = "/reranker/v2/rerank",
    **more: Any,
) -> Answer:
    body = {"query": query, "documents": [f"d{i}" for i in range(documents)], **more}
    return gateway.call(path, body, token=_token(user))


@functools.cache
def _token(user: str) -> str:
    """Return one token per user, which outlives the tests."""
    return token(user)


def row(gateway: Gateway, answer: Answer, columns: str) -> Any:
    (found,) = gateway.sql(f"SELECT {columns} FROM flows WHERE request_id = '{answer.headers['x-request-id']}'")
    return found if len(found) > 1 else found[0]


def weir(gateway: Gateway, *arguments: str, code: int = 0) -> str:
    done = inside.run(gateway.folder, *arguments, environment={"TEST_UPSTREAM_KEY": CREDENTIAL})
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


# Rules.


def test_a_denied_request_says_by_which_rule_and_the_record_says_why(policed: Gateway, service: Upstream) -> None:
    before = len(service.seen)
    answer = rerank(policed, 6)
    assert (answer.status, answer.problem, answer.json["rule"], answer.json["detail"]) == (
        403,
        "denied-by-rule",
        "document-cap",
        "At most five.",
    )
    assert len(service.seen) == before
    effect, would, rule, file, line, shadow, trace = row(
        policed, answer, "effect, shadow_effect, rule, rule_file, rule_line, shadow, trace"
    )
    assert (effect, would, rule, shadow) == ("deny", "deny", "document-cap", [])
    lines = Path(policed.folder, "policies/reranker.yaml").read_text().splitlines()
    assert file.endswith("reranker.yaml") and lines[line - 1].strip() == "- name: document-cap"
    assert trace[0] == {
        "rule": "document-cap",
        "clause": "documents: {gt: 5}",
        "outcome": "true",
        "saw": "6",
        "shadow": False,
    }
    assert [t["outcome"] for t in trace[1:]] == ["false", "false"]


def test_a_rule_in_shadow_changes_nothing_and_is_recorded_with_what_it_would_have_done(policed: Gateway) -> None:
    answer = rerank(policed, query="watch out")
    assert answer.status == 200
    assert row(policed, answer, "effect, rule, shadow, shadow_effect") == ("allow", "access", ["watched"], "deny")
    violations = policed.sql(
        f"SELECT rule, effect, enforced FROM violations WHERE request_id = '{answer.headers['x-request-id']}'"
    )
    assert violations == [("watched", "deny", False)]


def test_the_trace_is_masked_as_the_record_is_and_holds_no_secret(policed: Gateway) -> None:
    own = token("mallory")
    body = {"query": f"watch {own} {CREDENTIAL}", "documents": ["a", "b"], "secret": "4111-1111"}
    answer = policed.call("/reranker/v2/rerank", body, token=own)
    trace = row(policed, answer, "trace")
    assert [t["saw"] for t in trace if "secret" in t["clause"]] == ["[REDACTED]"]
    assert "4111" not in str(trace) and CREDENTIAL not in str(trace)


def test_a_response_rule_refuses_what_the_service_answered(policed: Gateway, service: Upstream) -> None:
    with service.answering(json_answer({"results": [{"index": 7, "relevance_score": 0.9}]})):
        before = len(service.seen)
        answer = rerank(policed)
    assert (answer.status, answer.json["rule"]) == (403, "broken-ranking") and len(service.seen) == before + 1
    effect, status, upstream, trace, results = row(policed, answer, "effect, status, upstream_status, trace, results")
    assert (effect, status, upstream) == ("deny", 403, 200)
    assert {
        "rule": "broken-ranking",
        "clause": "invalid_results: {gt: 0}",
        "outcome": "true",
        "saw": "1",
        "shadow": False,
    } in trace
    assert results == [{"index": 7, "score": 0.9, "document": None}]
    flow = next(f for f in policed.flows() if f.id == answer.headers["x-request-id"])
    assert flow.response is not None and b"relevance_score" not in (flow.response.content or b"")


def test_a_response_rule_on_the_query_has_its_own_patterns(policed: Gateway) -> None:
    assert rerank(policed, query="hidden").json["rule"] == "asked-for-hidden"
    assert rerank(policed, query="watch out").status == 200


def test_a_response_rule_in_shadow_is_added_to_the_decision(policed: Gateway, service: Upstream) -> None:
    with service.answering(json_answer({"results": [{"index": 0, "relevance_score": 0.1, "note": "private"}]})):
        answer = rerank(policed, query="watch this")
    assert answer.status == 200 and answer.json["results"][0]["note"] == "[REDACTED]"
    assert row(policed, answer, "effect, shadow, shadow_effect") == ("allow", ["watched", "top-score-watched"], "deny")


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"results": 1}',
        b"<html>",
        b'{"results": [{"index": "0", "relevance_score": 1}]}',
        b'{"results": [], "results": []}',
    ],
)
def test_an_answer_that_response_rules_cannot_read_is_not_shown(
    policed: Gateway, service: Upstream, body: bytes
) -> None:
    with service.answering(raw_answer(body, headers="Content-Type: application/json\r\n")):
        answer = rerank(policed)
    assert (answer.status, answer.problem) == (502, "upstream-unreadable")


def test_an_answer_without_a_body_needs_none(policed: Gateway, service: Upstream) -> None:
    with service.answering(b"HTTP/1.1 204 No Content\r\n\r\n"):
        answer = policed.call("/reranker/v1/models", token=token(), method="GET")
    assert answer.status == 204
    with service.answering(raw_answer(b"")):
        assert rerank(policed).problem == "upstream-unreadable"


def test_existence_can_be_asked_where_there_are_response_rules(policed: Gateway, service: Upstream) -> None:
    folder = policed.folder / "policies"
    text = (folder / "search.yaml").read_text()
    rule = "  - {name: empty, on: response, when: {results: 0}, effect: deny}\n"
    (folder / "search.yaml").write_text(text.replace("masks:", f"{rule}masks:"))
    with service.answering(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n"):
        wait(lambda: sum("reloaded by" in line for line in policed.log) > 0)
        assert policed.call("/search/docs", token=token(), method="HEAD").status == 200
    with service.answering(json_answer({"hits": {"hits": []}})):
        wait(lambda: policed.call("/search/docs/_search", {}, token=token()).problem == "denied-by-rule")
    seen = sum("reloaded by" in line for line in policed.log)
    (folder / "search.yaml").write_text(text)
    wait(lambda: sum("reloaded by" in line for line in policed.log) > seen)


def test_errors_of_the_service_pass_response_rules(policed: Gateway, service: Upstream) -> None:
    with service.answering(json_answer({"message": "too many"}, "429 Too Many Requests")):
        assert rerank(policed).status == 429


# Requests to a search cluster.


def test_ndjson_reaches_the_service_as_it_was_sent(policed: Gateway, service: Upstream) -> None:
    body = b'{"index":"docs"}\n{"query":{"match_all":{}},"size":1}\n'
    answer = policed.call("/search/_msearch", body, token=token(), headers={"Content-Type": "application/x-ndjson"})
    assert answer.status == 200 and service.seen[-1].body == body
    assert service.seen[-1].headers["content-type"] == "application/x-ndjson"
    assert row(policed, answer, "operation, indexes, top_n") == ("search", ["[REDACTED]"], 1), "as its record has it"


def test_masked_ndjson_is_still_ndjson(policed: Gateway, service: Upstream) -> None:
    body = b'{"index":"docs"}\n{"query":{"match":{"email":"a@b.example"}}}\n'
    policed.call("/search/_msearch", body, token=token(), headers={"Content-Type": "application/x-ndjson"})
    assert service.seen[-1].body == b'{"index":"docs"}\n{"query":{"match":{"email":"[REDACTED]"}}}\n'


@pytest.mark.parametrize(
    ("path", "body", "content_type", "problem"),
    [
        ("/search/_msearch", b'{"index":"docs"}\n{"index":"secret-1"\n', "application/x-ndjson", "unreadable-body"),
        ("/search/_msearch", b'{"index":"docs"}\n\n{"size":1}\n', "application/x-ndjson", "unreadable-body"),
        ("/search/_msearch", b'{"index":"docs"}\n{"size":1,"size":9}\n', "application/x-ndjson", "unreadable-body"),
        ("/search/_msearch", b'{"index":"docs"}\n{"size":1}\n', "text/plain", "unsupported-content"),
        ("/search/_msearch", b'{"index":"docs"}\n{}\n{"index":"secret-1"}\n{}\n', "application/x-ndjson", "denied-by-rule"),
        ("/search/docs/_search", b'{"size":1}{"size":2}', "application/json", "unreadable-body"),
        ("/search/docs/_search", b'{"size":1}', "multipart/form-data; boundary=x", "unreadable-body"),
        ("/search/docs/_search?index=secret-1", b"{}", "application/json", "denied-by-rule"),
        ("/search/docs/_search?index=secret%2D1", b"{}", "application/json", "denied-by-rule"),
        ("/search/docs/_search?size=5;index=secret-1", b"{}", "application/json", "unreadable-body"),
        ("/search/docs/_search?source=%7B%7D", b"", "application/json", "unreadable-body"),
        ("/search/docs%2Csecret-1/_search", b"{}", "application/json", "denied-by-rule"),
        ("/search/docs,s*/_search", b"{}", "application/json", "denied-by-rule"),
        ("/search/_search", b"{}", "application/json", "denied-by-rule"),
        ("/search/,/_search", b"{}", "application/json", "denied-by-rule"),
        ("/search/_search?index=", b"{}", "application/json", "denied-by-rule"),
        ("/search/docs/_msearch", b'{"index":[]}\n{}\n', "application/x-ndjson", "denied-by-rule"),
        ("/search/docs/_msearch", b'{"index":""}\n{}\n', "application/x-ndjson", "denied-by-rule"),
        ("/search/docs/_search?index=%3Cs%5Cecret-1%3E", b"{}", "application/json", "denied-by-rule"),
        ("/search/_query", b'{"query":"FROM docs | LOOKUP JOIN/**/secret-1 ON x"}', "application/json", "denied-by-rule"),
        ("/search/_query", b'{"query":"SET a=\\"b\\"; FROM secret-1"}', "application/json", "denied-by-rule"),
        ("/search/_query", b'{"query":"FROM docs | ENRICH policy"}', "application/json", "denied-by-rule"),
        ("/search/docs/_rank_eval", b'{"templates":[{"id":"a","template":{"source":"x"}}]}', "application/json", "denied-by-rule"),
        ("/search/docs/_search", b'{"query":{"wrapper":{"query":"e30="}}}', "application/json", "denied-by-rule"),
        ("/search/docs/_search/template", b'{"source":"{}"}', "application/json", "denied-by-rule"),
        ("/search/docs/_search/", b"{}", "application/json", "unknown-operation"),
        ("/search//secret-1/_search", b"{}", "application/json", "ambiguous-request"),
        ("/search/docs/../secret-1/_search", b"{}", "application/json", "ambiguous-request"),
        ("/search/docs/_search?size=x", b"{}", "application/json", "unreadable-body"),
        ("/search/docs/_search?q=%zz", b"{}", "application/json", "unreadable-body"),
        ("/search/docs/_doc/1", b"{}", "application/json", "approval-required"),
        ("/search/docs/_bulk", b'{"index":{}}\n{"a":1}\n', "application/x-ndjson", "approval-required"),
    ],
)  # fmt: skip
def test_what_is_refused_never_reaches_the_service(
    policed: Gateway, service: Upstream, path: str, body: bytes, content_type: str, problem: str
) -> None:
    before = len(service.seen)
    answer = policed.call(path, body, token=token(), headers={"Content-Type": content_type})
    assert answer.problem == problem and len(service.seen) == before
    assert row(policed, answer, "problem") == problem


# Limits.


def test_tokens_are_charged_as_the_response_says(policed: Gateway, service: Upstream) -> None:
    with service.answering(json_answer({"choices": [], "usage": {"total_tokens": 130}})):
        first = policed.call("/limited/v1/chat/completions", CHAT, token=token("tokens"))
        second = policed.call("/limited/v1/chat/completions", CHAT, token=token("tokens"))
    assert first.status == 200 and row(policed, first, "tokens") == 130
    assert (second.status, second.problem) == (429, "rate-limited")
    assert 31 * 36 - 3 <= int(second.headers["retry-after"]) <= 31 * 36, "30 beyond what there is, and one more to pass"
    assert second.headers["ratelimit"].startswith('"limited-tokens-per-user-1";r=0;t=46')
    assert '"limited-concurrent-per-user-2";q=2;qu="concurrent-requests"' in second.headers["ratelimit-policy"]


def test_a_stream_says_its_tokens_at_its_end_and_one_that_does_not_is_estimated(
    policed: Gateway, service: Upstream
) -> None:
    events = 'data: {"choices":[{"delta":{"content":"hi"}}]}\n\ndata: {"choices":[],"usage":{"total_tokens":7}}\n\ndata: [DONE]\n\n'
    with service.answering(raw_answer(events.encode(), headers="Content-Type: text/event-stream\r\n")):
        answer = policed.call("/limited/v1/chat/completions", {**CHAT, "stream": True}, token=token("streams"))
    assert row(policed, answer, "tokens") == 7
    with service.answering(json_answer({"choices": [{"text": "x" * 400}]})):
        policed.call("/limited/v1/chat/completions", CHAT, token=token("silent"))
        after = policed.call("/limited/v1/chat/completions", CHAT, token=token("silent"))
    assert after.status == 429, "four bytes are taken for a token where none are told"


def test_an_answer_that_is_refused_has_been_paid_for(policed: Gateway, service: Upstream) -> None:
    with service.answering(raw_answer(b"x" * 900, headers="Content-Encoding: compress\r\n")):
        first = policed.call("/limited/v1/chat/completions", CHAT, token=token("unlucky"))
    assert first.problem == "upstream-unreadable"
    answer = policed.call("/limited/v1/chat/completions", CHAT, token=token("unlucky"))
    assert int(answer.headers["ratelimit"].partition("r=")[2].partition(";")[0]) < 100 - len(json.dumps(CHAT)) // 4


def test_concurrency_counts_what_is_under_way(policed: Gateway, service: Upstream) -> None:
    release, arrived = threading.Event(), threading.Semaphore(0)

    def slowly(seen: Seen) -> bytes:
        arrived.release()
        release.wait(PATIENCE)
        return json_answer({"choices": [], "usage": {"total_tokens": 1}})

    before, service.answer = service.answer, slowly
    try:
        answers: list[Answer] = []
        threads = [
            threading.Thread(
                target=lambda: answers.append(policed.call("/limited/v1/chat/completions", CHAT, token=token("busy")))
            )
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        assert all(arrived.acquire(timeout=PATIENCE) for _ in threads)
        third = policed.call("/limited/v1/chat/completions", CHAT, token=token("busy"))
        assert (third.status, third.json["rule"], third.headers["retry-after"]) == (
            429,
            "limited-concurrent-per-user-2",
            "1",
        )
        release.set()
        for thread in threads:
            thread.join(PATIENCE)
        assert [a.status for a in answers] == [200, 200]
        assert policed.call("/limited/v1/chat/completions", CHAT, token=token("busy")).status == 200
    finally:
        release.set()
        service.answer = before


# Circuit breaker, access windows, emergency stop.


def test_a_breaker_opens_at_errors_and_closes_after_a_success(policed: Gateway, service: Upstream) -> None:
    with service.answering(json_answer({}, "500 Internal Server Error")):
        assert [rerank(policed, path="/trips/v2/rerank").status for _ in range(4)] == [500] * 4
        refused = rerank(policed, path="/trips/v2/rerank")
    assert (refused.status, refused.problem) == (503, "circuit-open") and 1 <= int(refused.headers["retry-after"]) <= 2
    policed.wait_for("connection trips refuses requests for 2 s")
    deadline = time.monotonic() + PATIENCE
    while rerank(policed, path="/trips/v2/rerank").status != 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert rerank(policed, path="/reranker/v2/rerank").status == 200
    with service.answering(raw_answer(b"x", headers="Content-Encoding: compress\r\n")):
        found = {rerank(policed, path="/trips/v2/rerank").problem for _ in range(6)}
    assert found == {"upstream-unreadable"}, "what only the gateway cannot read says nothing of the service"


def test_an_access_window_lets_in_until_it_ends(policed: Gateway) -> None:
    refused = rerank(policed, path="/window/v2/rerank", user="guest")
    assert (refused.status, refused.problem) == (403, "access-denied") and "reviewers" in refused.json["detail"]
    now = time.time()
    database = Database()
    guest, other = (Person("local", "urn:weir:local", sub) for sub in ("guest", "too-long"))
    loaded, _ = load_without_secrets(policed.folder / "policies")
    (digest,) = [c.on_request.digest for c in loaded.connections if c.on_request is not None]
    database.add_approval(window(guest, "window", now, now + 3600, digest=digest), 9)
    database.add_approval(window(other, "window", now - 7200, now + 3600, "longer than at_most", digest), 9)
    wrong = window(Person("local", "urn:weir:local", "other"), "window", now, now + 3600, "other terms", "other")
    database.add_approval(wrong, 9)
    database.close()
    deadline = time.monotonic() + PATIENCE
    while (answer := rerank(policed, path="/window/v2/rerank", user="guest")).status != 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert row(policed, answer, "message").startswith("access given by local/lead until")
    assert rerank(policed, path="/window/v2/rerank", user="too-long").status == 403
    assert rerank(policed, path="/window/v2/rerank", user="other").status == 403


@pytest.mark.parametrize(
    ("what", "others"),
    [
        (("--connection", "reranker"), "/search/docs/_search"),
        (("--user", "stopped"), ""),
        (("--session",), ""),
        (("--all",), ""),
    ],
)
def test_a_stop_counts_within_a_second_and_is_undone(policed: Gateway, what: tuple[str, ...], others: str) -> None:
    def call(path: str = "/reranker/v2/rerank") -> Answer:
        body: Any = {} if "search" in path else {"query": "q", "documents": ["d", "e"]}
        return policed.call(path, body, token=token("stopped"), headers={"X-Session-Id": "s-1"})

    first = call()
    assert first.status == 200
    if what == ("--session",):
        what += (row(policed, first, "session_id"),)
    weir(policed, "stop", *what, "--reason", "incident 42")
    began = time.monotonic()
    while (answer := call()).status == 200:
        assert time.monotonic() - began < 1, "a stop counts within a second"
    assert (answer.status, answer.problem) == (503, "stopped") and "incident 42" in answer.json["detail"]
    if others:
        assert call(others).status == 200
    assert "incident 42" in weir(policed, "status")
    weir(policed, "start", *what)
    began = time.monotonic()
    while call().status != 200:
        assert time.monotonic() - began < 1
    assert weir(policed, "status").splitlines()[1:] == ["nothing is stopped"]
    kinds = policed.sql("SELECT kind, message FROM events WHERE kind IN ('stop', 'start') ORDER BY time DESC LIMIT 2")
    assert kinds == [("start", ""), ("stop", "incident 42")]


def test_a_stop_ends_what_is_under_way(policed: Gateway, service: Upstream) -> None:
    arrived, release = threading.Event(), threading.Event()

    def never(seen: Seen) -> bytes:
        arrived.set()
        release.wait(PATIENCE)
        return b""

    before, service.answer = service.answer, never
    answers: list[Answer] = []
    thread = threading.Thread(target=lambda: answers.append(rerank(policed, user="waiting")))
    try:
        thread.start()
        assert arrived.wait(PATIENCE)
        weir(policed, "stop", "--user", "waiting", "--reason", "runaway")
        thread.join(5)
        assert [a.problem for a in answers] == ["stopped"]
    finally:
        release.set()
        service.answer = before
        thread.join(PATIENCE)
        weir(policed, "start", "--user", "waiting")


# Explaining decisions.


def test_a_recorded_request_is_explained_and_made_a_case(policed: Gateway) -> None:
    answer = rerank(policed, 6)
    request_id = answer.headers["x-request-id"]
    said = weir(policed, "explain", request_id)
    assert "recorded: deny by document-cap" in said and "now, by policies" in said
    assert "true       documents: {gt: 5}   saw 6" in said
    tests = policed.folder / "policies/tests"
    tests.mkdir(exist_ok=True)
    (tests / "made.yaml").write_text(weir(policed, "test", "--create", request_id))
    report = json.loads(weir(policed, "test", "--json"))
    assert report["failed"] == 0 and report["cases"][0]["rule"] == "document-cap"
    weir(policed, "test", "--coverage", code=1)
    shutil.rmtree(tests)


# Reload.


@pytest.fixture
def folder(policed: Gateway) -> Iterator[Path]:
    """Yield the policies folder of the running gateway, and restore it at the end."""
    path = policed.folder / "policies" / "reranker.yaml"
    text = path.read_text()
    yield path
    if path.read_text() != text:
        seen = len([line for line in policed.log if "reloaded by" in line])
        path.write_text(text)
        wait(lambda: len([line for line in policed.log if "reloaded by" in line]) > seen)


def wait(condition: Callable[[], bool], seconds: float = PATIENCE) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)


def test_a_change_counts_without_a_restart_and_leaves_an_event(policed: Gateway, folder: Path) -> None:
    version = row(policed, rerank(policed), "policy_version")
    folder.write_text(folder.read_text().replace("{gt: 5}", "{gt: 1}"))
    wait(lambda: rerank(policed, 2).status == 403)
    answer = rerank(policed, 2)
    after = row(policed, answer, "policy_version")
    assert after != version
    kind, old, new, by = policed.sql(
        "SELECT kind, old, new, who FROM events WHERE kind = 'reload' ORDER BY time DESC LIMIT 1"
    )[0]
    assert (kind, old, new) == ("reload", version, after) and by


@pytest.mark.parametrize("broken", ["rules: [", "limitz: []\n", ""])
def test_a_broken_file_keeps_the_old_policy_and_raises_an_alarm(policed: Gateway, folder: Path, broken: str) -> None:
    text, seen = folder.read_text(), sum("were not reloaded" in line for line in policed.log)
    folder.write_text(text.replace("{gt: 5}", "{gt: 1}") + broken if broken else "")
    wait(lambda: sum("were not reloaded" in line for line in policed.log) > seen)
    assert rerank(policed, 5).status == 200 and rerank(policed, 6).status == 403
    (worker,) = json.loads(weir(policed, "status", "--json"))["workers"]
    assert worker["policies"] == row(policed, rerank(policed), "policy_version")
    assert "reranker.yaml" in worker["refused"]
    refused = "SELECT count(*) FROM events WHERE kind = 'reload_refused' AND contains(message, 'reranker.yaml')"
    assert policed.sql(refused)[0][0] >= 1


def test_limits_are_not_forgotten_by_a_reload(policed: Gateway, folder: Path, service: Upstream) -> None:
    with service.answering(json_answer({"choices": [], "usage": {"total_tokens": 200}})):
        policed.call("/limited/v1/chat/completions", CHAT, token=token("spender"))
    folder.write_text(folder.read_text().replace("{gt: 5}", "{gt: 4}"))
    wait(lambda: rerank(policed, 5).status == 403)
    assert policed.call("/limited/v1/chat/completions", CHAT, token=token("spender")).status == 429


def test_sighup_reads_again_and_listeners_stay(policed: Gateway, folder: Path) -> None:
    gateway_file = folder.parent / "gateway.yaml"
    text, seen = gateway_file.read_text(), sum("reloaded by SIGHUP" in line for line in policed.log)
    policed.process.send_signal(signal.SIGHUP)
    wait(lambda: sum("reloaded by SIGHUP" in line for line in policed.log) > seen)
    gateway_file.write_text(text.replace("listen: [", f"listen: [http://127.0.0.1:{free_port()}, "))
    policed.wait_for("listen: changes only with a restart")
    gateway_file.write_text(text)
    assert rerank(policed).status == 200


def test_no_request_fails_while_policies_change_under_load(policed: Gateway, folder: Path) -> None:
    stop, statuses = threading.Event(), []

    def call() -> None:
        while not stop.is_set():
            statuses.append(rerank(policed, user="load").status)

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    text = folder.read_text()
    for cap in (7, 8, 9):
        seen = sum("reloaded by" in line for line in policed.log)
        folder.write_text(text.replace("{gt: 5}", f"{{gt: {cap}}}"))
        wait(lambda: sum("reloaded by" in line for line in policed.log) > seen)  # noqa: B023
    stop.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(statuses) > 10 and set(statuses) == {200}


def test_a_stop_and_a_reload_reach_every_worker(
    tmp_path: Path, upstream: Upstream, launch: Callable[..., Gateway]
) -> None:
    port = free_port()
    write_policies(tmp_path, port, upstream.port, "rules: [{name: cap, when: {documents: {gt: 5}}, effect: deny}]\n")
    gateway = launch(tmp_path, port, "run", "--workers", "2", program="weir")
    gateway.wait_for("ready as worker w1")

    def statuses(documents: int = 2) -> set[int]:
        return {rerank(gateway, documents).status for _ in range(12)}

    assert statuses() == {200}
    weir(gateway, "stop", "--connection", "reranker", "--reason", "wrong")
    began = time.monotonic()
    while (found := statuses()) != {503}:
        assert time.monotonic() - began < 1 or found == {503}
    weir(gateway, "start", "--connection", "reranker")
    wait(lambda: statuses() == {200})
    file = tmp_path / "policies/reranker.yaml"
    file.write_text(file.read_text().replace("gt: 5", "gt: 1"))
    wait(lambda: statuses() == {403})
    assert gateway.sql("SELECT DISTINCT worker FROM events WHERE kind = 'reload' ORDER BY worker") == [("w0",), ("w1",)]
    gateway.process.send_signal(signal.SIGHUP)
    wait(lambda: sum("reloaded by SIGHUP" in line for line in gateway.log) == 2)  # their lines do not mix
    assert gateway.stop() == 0


# Limits in Redis.


def test_limits_in_redis_are_shared_and_its_absence_lets_nobody_through(
    tmp_path: Path, upstream: Upstream, launch: Callable[..., Gateway]
) -> None:
    needs.skip_without("redis-server")
    redis_port = free_port()
    arguments = ["redis-server", "--port", str(redis_port), "--save", "", "--dir", str(tmp_path)]
    redis = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
    gateways = []
    try:
        text = (
            "\nversion: 1\nlisten: [http://127.0.0.1:{port}]\nissuers: [local]\nrecordings: {recordings}\n"
            + f"limits: redis://127.0.0.1:{redis_port}/0\n"
        )
        for name in ("one", "two"):
            port = free_port()
            write_policies(tmp_path / name, port, upstream.port, "limits: [{rate: 3/hour, per: user}]\n", gateway=text)
            gateways.append(launch(tmp_path / name, port, "-n", "--set", "weir_listen=true"))
        one, two = gateways
        assert [rerank(g).status for g in (one, two, one)] == [200, 200, 200]
        refused = rerank(two)
        assert refused.status == 429 and 1190 <= int(refused.headers["retry-after"]) <= 1200
        assert rerank(two, user="bob").status == 200
        redis.terminate()
        redis.wait(PATIENCE)
        closed = rerank(one, user="carol")
        assert (closed.status, closed.problem) == (503, "limits-unavailable") and closed.headers["retry-after"] == "5"
        one.wait_for("the limits' store does not answer")
        redis = subprocess.Popen(arguments, stdout=subprocess.DEVNULL)
        wait(lambda: rerank(one, user="carol").status == 200)
    finally:
        redis.terminate()
        redis.wait(PATIENCE)
        for gateway in gateways:
            gateway.stop()
