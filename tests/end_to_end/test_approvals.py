"""Approvals over HTTP, on SQLite and on a real Redis: held requests, decisions and their results."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import processes
from tests.end_to_end.approving import CAROL, Launch, Site, Waiting, body, free_admin, start_site, token_of, weir
from tests.end_to_end.gateway import PATIENCE, Seen, Upstream, json_answer, websocket_accept, websocket_handshake


@pytest.fixture(scope="module")
def service() -> Iterator[Upstream]:
    server = Upstream()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def state() -> str:
    """`test_approvals_ending` tests the behaviour that depends on the store with both stores."""
    return "sqlite"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, launch: Launch, service: Upstream, state: str) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("approvals")
    with free_admin(folder) as admin:
        running = start_site(folder, launch, state, admin, service)
        yield running
        running.gateway.stop()


def block(site: Site, user: str) -> None:
    """Do what `weir revoke subject USER --block` does."""
    with site.store() as store:
        store.revoke("subject", "urn:weir:local", user, time.time(), block=True)


@contextlib.contextmanager
def stopped(site: Site, user: str) -> Iterator[None]:
    """Do what `weir stop --user USER` does, and undo it at the end, because other test files may share the state."""
    with site.store() as store:
        store.stop("user", "urn:weir:local", user, time.time(), "incident")
    yield
    with site.store() as store:
        store.start("user", "urn:weir:local", user)


def ask_access(site: Site, who: str, seconds: int) -> Any:
    """Request access to the connection ``window``."""
    answer = site.admin.ask(
        "POST", "/v1/access", who, json={"connection": "window", "seconds": seconds, "reason": "debugging"}
    )
    assert answer.status_code == 200, answer.text
    return answer.json()


def passes(
    site: Site, user: str, caller: str, reviewers: list[str], request: Any, path: str = "/reranker/v2/rerank"
) -> None:
    """Let a request of *user* wait, and pass after the last of *reviewers* has approved."""
    waiting = Waiting(site.gateway, path, request, token=caller)
    asked = site.admin.of(user, reviewers[0])
    for n, reviewer in enumerate(reviewers):
        assert site.seen(request["query"]) == 0, "nothing goes upstream before enough have said yes"
        after = site.admin.decide(asked["id"], reviewer).json()
        assert after["state"] == ("approved" if n == len(reviewers) - 1 else "pending"), after
    assert waiting.result().status == 200 and site.seen(request["query"]) == 1


# Holding and deciding.


def test_a_stream_is_approved_with_the_option_that_the_gateway_sets(
    site: Site, service: Upstream, user: str, caller: str, carol: str
) -> None:
    request = {"model": "m", "stream": True, "messages": [{"role": "user", "content": user}]}
    waiting = Waiting(site.gateway, "/talk/v1/chat/completions", request, token=caller)
    asked = site.admin.of(user, carol)
    assert "include_usage" in json.dumps(asked["shown"]), "reviewers see the request as it is sent"
    assert site.admin.decide(asked["id"], carol).json()["state"] == "approved"
    assert waiting.result().status == 200
    sent = [json.loads(seen.body) for seen in service.seen if user.encode() in seen.body]
    assert sent == [{**request, "stream_options": {"include_usage": True}}]


def test_a_request_waits_and_is_released(site: Site, user: str, caller: str, carol: str) -> None:
    request = body(user)
    waiting = Waiting(site.gateway, body=request, token=caller)
    asked = site.admin.of(user, carol)
    assert asked["waits"] and asked["you_may_decide"] and asked["missing"] == "1 of local/leads"
    assert asked["shown"]["documents"] == 3 and asked["shown"]["query"] == [user]
    assert site.seen(user) == 0
    answer = site.admin.decide(asked["id"], carol, reason="known batch job")
    decided = time.monotonic()
    assert answer.status_code == 200 and waiting.result().status == 200 and site.seen(user) == 1
    assert waiting.done - decided < 1.0
    columns = "effect, rule, message, approvals, problem"
    assert site.row(waiting.result(), columns) == (
        "require_approval", "wide", "approved by local/carol: known batch job", [asked["id"]], None)  # fmt: skip
    flow = next(f for f in site.gateway.flows() if f.id == waiting.result().headers["x-request-id"])
    assert flow.comment == f"allowed: rerank by {user}, approved by local/carol: known batch job ({asked['id']})"
    (row,) = site.gateway.sql(
        "SELECT outcome, decided_by, reason, rules, latency, used_by, documents, break_glass, kind "
        f"FROM approvals WHERE approval_id = '{asked['id']}'"
    )
    assert row[:4] == ("used", ["local/carol"], "known batch job", ["wide"]) and 0 < row[4] < 10
    assert row[5:] == (flow.id, 3, False, "request")
    assert not site.gateway.sql(f"SELECT * FROM violations WHERE request_id = '{flow.id}'")


def test_a_denied_request_says_by_whom_and_why_and_is_not_asked_again(
    site: Site, user: str, caller: str, carol: str
) -> None:
    waiting = Waiting(site.gateway, body=body(user), token=caller)
    asked = site.admin.of(user, carol)
    assert (
        site.admin.decide(asked["id"], carol, "deny", reason="").json()["detail"]
        == "Refused: give a reason; the caller sees it."
    )
    assert site.admin.decide(asked["id"], carol, "deny", reason="ask for fewer").json()["state"] == "denied"
    answer = waiting.result()
    assert (answer.status, answer.problem, answer.json["rule"]) == (403, "approval-denied", "wide")
    assert (
        answer.json["message"] == "local/carol denied this: ask for fewer."
        and answer.json["approval_id"] == asked["id"]
    )
    again = site.gateway.call(body=body(user), token=caller)
    assert (again.problem, again.json["approval_id"]) == ("approval-denied", asked["id"])
    assert site.seen(user) == 0 and site.row(answer, "approvals") == ([asked["id"]],)


def test_past_the_hold_the_same_request_passes_once_after_approval(
    site: Site, user: str, caller: str, carol: str
) -> None:
    request = {**body(user, 1), "model": "short"}
    answer = site.gateway.call(body=request, token=caller)
    assert (answer.status, answer.problem) == (403, "approval-pending") and int(answer.headers["retry-after"]) > 0
    approval, url = answer.json["approval_id"], answer.json["status_url"]
    own = url.partition(str(site.gateway.port))[2]
    assert site.gateway.call(own, token=caller, method="GET").json["status"] == "pending"
    assert site.gateway.call(own, token=token_of("mallory", "search"), method="GET").problem == "unknown-approval"
    assert site.gateway.call(body=request, token=caller).json["approval_id"] == approval  # in the first one's place
    assert not site.admin.get(approval, carol)["waits"]
    site.admin.decide(approval, carol)
    assert site.gateway.call(own, token=caller, method="GET").json["status"] == "approved"
    assert site.gateway.call(body=request, token=caller).status == 200 and site.seen(user) == 1
    third = site.gateway.call(body=request, token=caller)
    assert third.problem == "approval-pending" and third.json["approval_id"] != approval and site.seen(user) == 1


@pytest.mark.parametrize("change", ["body", "space", "query", "type", "path", "principal", "encoding"])
def test_a_request_that_was_changed_after_approval_is_another(
    site: Site, user: str, caller: str, carol: str, change: str
) -> None:
    import gzip

    data = json.dumps({**body(user, 1), "model": "short"}).encode()
    approval = site.gateway.call(body=data, token=caller).json["approval_id"]
    site.admin.decide(approval, carol)
    path, headers, who = "/reranker/v2/rerank", {}, caller
    if change == "body":
        data = data.replace(b"document 0", b"document 9")
    elif change == "space":
        data = data.replace(b": ", b":  ", 1)
    elif change == "query":
        path += "?x=1"
    elif change == "type":
        headers = {"Content-Type": "application/json; charset=utf-8"}
    elif change == "path":
        path = "/reranker/v1/rerank"
    elif change == "principal":
        who = token_of(f"{user}-other", "search")
    else:
        data, headers = gzip.compress(data), {"Content-Encoding": "gzip"}
    answer = site.gateway.call(path, data, token=who, headers=headers)
    assert answer.problem == "approval-pending" and answer.json["approval_id"] != approval
    assert site.seen(user) == 0


def test_who_asks_does_not_decide(site: Site, carol: str) -> None:
    """The requester cannot decide: not as themselves, not with another identity, and not with an API key."""
    mine = token_of("alice", "search", "leads")
    waiting = Waiting(site.gateway, body=body("self"), token=mine)
    asked = site.admin.of("alice", carol)
    for who in (mine, token_of("alice-admin", "leads")):
        refused = site.admin.decide(asked["id"], who)
        assert refused.status_code == 409 and refused.json()["detail"] == "Refused: nobody decides their own request."
    for who in (token_of("mallory", "search"), token_of("erin", "security")):
        assert site.admin.decide(asked["id"], who).status_code == 404  # for them the approval does not exist
    said = weir(site, "keys", "create", "--name", f"ci-{asked['id'][-6:]}", "--group", "local/leads")
    made = next(word for word in said.split() if word.startswith("weir_"))
    from tests.end_to_end import gateway as gateways

    gateways.MINTED.append(made)
    deadline = time.monotonic() + PATIENCE
    while (answer := site.admin.decide(asked["id"], made)).status_code == 401:  # until the admin has read the new key
        assert time.monotonic() < deadline
    assert answer.status_code == 404
    weir(site, "keys", "revoke", f"ci-{asked['id'][-6:]}")
    assert site.seen("self") == 0
    site.admin.decide(asked["id"], carol, "deny")
    assert waiting.result().problem == "approval-denied"


@pytest.mark.parametrize(
    ("model", "reviewers"),
    [
        ("two", [CAROL, ("dave", "leads")]),
        ("both", [CAROL, ("erin", "security")]),
        ("both", [("both", "leads", "security"), CAROL]),
        ("on-call", [CAROL]),
    ],
)
def test_how_many_and_who_must_say_yes(
    site: Site, user: str, caller: str, model: str, reviewers: list[tuple[str, ...]]
) -> None:
    passes(site, user, caller, [token_of(*r) for r in reviewers], {**body(user, 1), "model": model})


def test_each_rule_that_asks_is_answered(site: Site, caller: str, user: str, carol: str) -> None:
    passes(site, user, caller, [carol, token_of("erin", "security")], body(f"{user} also"))


def test_after_a_while_others_may_decide(site: Site, user: str, caller: str, carol: str) -> None:
    head = token_of("head", "heads")
    waiting = Waiting(site.gateway, body={**body(user, 1), "model": "escalates"}, token=caller)
    asked = site.admin.of(user, carol)
    assert site.admin.decide(asked["id"], head).status_code == 404
    deadline = time.monotonic() + PATIENCE
    while (answer := site.admin.decide(asked["id"], head)).status_code == 404 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert answer.status_code == 200 and waiting.result().status == 200


def test_breaking_the_glass_is_flagged_everywhere(site: Site, user: str, caller: str) -> None:
    sam = token_of("sam", "sre")
    waiting = Waiting(site.gateway, body={**body(user, 1), "model": "two"}, token=caller)
    asked = site.admin.of(user, sam)
    assert site.admin.decide(asked["id"], sam).status_code == 409  # without break_glass
    assert site.admin.decide(asked["id"], sam, break_glass=True, reason="").status_code == 409
    assert site.admin.decide(asked["id"], sam, break_glass=True, reason="incident 42").json()["state"] == "approved"
    assert waiting.result().status == 200
    message = f"approved by local/sam: incident 42 (break-glass)"  # noqa: F541
    assert site.row(waiting.result(), "message") == (message,)
    assert any("broke the glass" in line and asked["id"] in line for line in site.admin.log)
    assert site.gateway.sql(f"SELECT break_glass FROM approvals WHERE approval_id = '{asked['id']}'") == [(True,)]
    assert site.gateway.sql(f"SELECT who, message FROM events WHERE kind = 'break_glass' AND subject = '{asked['id']}'") == [
        ("local/sam", "incident 42")]  # fmt: skip


def test_an_approval_covers_later_requests_where_the_rule_says_so(
    site: Site, user: str, caller: str, carol: str
) -> None:
    passes(site, user, caller, [carol], {**body(user, 1), "model": "again"})
    deadline = time.monotonic() + PATIENCE
    while True:  # the worker sees it within its interval
        later = site.gateway.call(
            body={**body(f"{user} later", 2), "model": "again"}, token=caller, headers={"Prefer": "wait=0"}
        )
        if later.status == 200 or time.monotonic() > deadline:
            break
    assert later.status == 200
    (first,) = site.gateway.sql(
        f"SELECT approvals[1] FROM flows WHERE \"user\" = '{user}' AND status = 200 ORDER BY time LIMIT 1"
    )
    assert site.row(later, "approvals") == ([first[0]],)
    other = token_of(f"{user}-other", "search")
    asks = {"body": {**body(user, 1), "model": "again"}, "headers": {"Prefer": "wait=0"}}
    assert site.gateway.call(token=other, **asks).problem == "approval-pending"
    assert site.admin.ask("POST", f"/v1/approvals/{first[0]}/revoke", carol).json()["state"] == "revoked"
    deadline = time.monotonic() + PATIENCE
    while (answer := site.gateway.call(token=caller, **asks)).status == 200:
        assert time.monotonic() < deadline
    assert answer.problem == "approval-pending"


def test_what_nobody_decided_in_time_is_over(site: Site, user: str, caller: str, carol: str) -> None:
    request = {**body(user, 1), "model": "runs-out"}
    waiting = Waiting(site.gateway, body=request, token=caller)
    asked = site.admin.of(user, carol)
    answer = waiting.result()
    assert answer.problem in ("approval-required", "approval-pending"), answer.json
    deadline = time.monotonic() + PATIENCE
    while time.time() < asked["expires"] and time.monotonic() < deadline:
        time.sleep(0.05)
    refused = site.admin.decide(asked["id"], carol)
    assert refused.status_code == 409 and "expired" in refused.json()["detail"]
    fresh = Waiting(site.gateway, body=request, token=caller)
    assert site.admin.of(user, carol)["id"] != asked["id"]
    fresh.result()
    assert site.seen(user) == 0


@pytest.mark.parametrize(
    ("prefer", "status"),
    [("wait=1", 403), ("respond-async", 202), ("respond-async, wait=1", 202)],
)
def test_prefer(site: Site, user: str, caller: str, carol: str, prefer: str, status: int) -> None:
    began = time.monotonic()
    answer = site.gateway.call(body=body(user), token=caller, headers={"Prefer": prefer})
    assert answer.status == status and time.monotonic() - began < 30  # the rule holds requests for 45 s
    assert answer.headers["location"] == answer.json["status_url"]
    site.admin.decide(answer.json["approval_id"], carol)
    assert site.gateway.call(body=body(user), token=caller, headers={"Prefer": prefer}).status == 200
    assert site.seen(user) == 1


# Other ends of a wait.


def test_a_caller_who_leaves_withdraws(site: Site, user: str, caller: str, carol: str) -> None:
    data = json.dumps(body(user)).encode()
    head = (
        f"POST /reranker/v2/rerank HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {caller}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", site.gateway.port)) as connection:
        connection.sendall(head.encode() + data)
        asked = site.admin.of(user, carol)
    deadline = time.monotonic() + PATIENCE
    while site.admin.get(asked["id"], carol)["state"] == "pending":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert site.admin.get(asked["id"], carol)["state"] == "withdrawn"
    refused = site.admin.decide(asked["id"], carol)
    assert refused.status_code == 409 and "withdrawn already" in refused.json()["detail"]
    found: list[Any] = []
    while not found and time.monotonic() < deadline:
        found = site.gateway.sql(f"SELECT problem, upstream_status FROM flows WHERE \"user\" = '{user}'")
    assert found == [("withdrawn", None)] and site.seen(user) == 0
    assert site.gateway.sql(f"SELECT outcome FROM approvals WHERE approval_id = '{asked['id']}'") == [("withdrawn",)]


def test_who_is_revoked_while_they_wait_is_refused_at_once(site: Site, user: str, caller: str, carol: str) -> None:
    waiting = Waiting(site.gateway, body=body(user), token=caller)
    asked = site.admin.of(user, carol)
    began = time.monotonic()
    block(site, user)
    assert waiting.result().problem == "revoked" and waiting.done - began < 5
    assert site.admin.decide(asked["id"], carol).status_code == 409 and site.seen(user) == 0


def test_a_stop_ends_a_wait(site: Site, user: str, caller: str, carol: str) -> None:
    waiting = Waiting(site.gateway, body=body(user), token=caller)
    site.admin.of(user, carol)
    with stopped(site, user):
        assert waiting.result().problem == "stopped" and site.seen(user) == 0


@pytest.mark.parametrize("how", ["revoked", "left the group"])
def test_the_rights_of_reviewers_are_looked_at_again_at_release(
    site: Site, user: str, caller: str, carol: str, how: str
) -> None:
    request = {**body(user, 1), "model": "short"}
    approval = site.gateway.call(body=request, token=caller).json["approval_id"]
    reviewer = f"{user}-reviewer"
    assert site.admin.decide(approval, token_of(reviewer, "leads")).json()["state"] == "approved"
    if how == "revoked":
        block(site, reviewer)
        time.sleep(0.5)  # every worker reads it within this time
    else:
        time.sleep(1.1)  # a token's time of issue is in whole seconds
        assert site.admin.ask("GET", "/v1/approvals", token_of(reviewer, "others")).status_code == 200
        assert site.admin.decide(approval, token_of(reviewer, "leads")).status_code in (404, 409)
    answer = site.gateway.call(body=request, token=caller)
    assert answer.problem == "approval-pending" and answer.json["approval_id"] != approval and site.seen(user) == 0


def test_an_approval_by_who_has_left_the_group_is_refused(site: Site, user: str, caller: str, carol: str) -> None:
    waiting = Waiting(site.gateway, body={**body(user, 1), "model": "short"}, token=caller)
    asked = site.admin.of(user, carol)
    former = token_of(f"{user}-former", "leads")
    time.sleep(1.1)
    site.admin.ask("GET", "/v1/approvals", token_of(f"{user}-former", "others"))  # a newer token without the group
    assert site.admin.decide(asked["id"], former).status_code == 404
    assert waiting.result().problem == "approval-pending"


# The view of reviewers.


def test_what_reviewers_see_is_masked_inert_and_cut(site: Site, user: str, caller: str, carol: str) -> None:
    nasty = "\x1b[31mred\u202eevil\u2066<script>alert(1)</script>\r\n\x07"
    documents: list[Any] = [{"text": nasty, "email": "bob@example.com"}, "x" * 2_000_000, *["more"] * 300]
    waiting = Waiting(
        site.gateway, body={**body(user), "query": f"{user} {nasty}", "documents": documents}, token=caller
    )
    asked = site.admin.get(site.admin.of(user, carol)["id"], carol)
    text = json.dumps(asked["shown"], ensure_ascii=False)
    assert all(c.isprintable() for c in text) and "bob@example.com" not in text and "[REDACTED]" in text
    assert "<script>" in asked["shown"]["query"][0]  # JSON is not HTML; a page that shows it must escape it
    assert asked["shown"]["documents"] == 302 and len(asked["shown"]["first_documents"]) == 5
    assert (len(text) < 20_000 and asked["shown"]["cut"] == [
        "documents 2: the first 1000 of 2000000 characters", "documents: the first 5 of 302"]) or sorted(asked["shown"]["cut"]) == sorted([
        "documents 2: the first 1000 of 2000000 characters", "documents: the first 5 of 302"])  # fmt: skip
    printed = weir(site, "approvals", "show", asked["id"], who=carol)
    assert "\x1b" not in printed and "\u202e" not in printed and "302" in printed and "the first 5 of 302" in printed
    for path in [*site.gateway.recordings.glob("log/*/*.jsonl"), *Path(os.environ["WEIR_HOME"]).glob("state.db*")]:
        assert b"bob@example.com" not in path.read_bytes()
    site.admin.decide(asked["id"], carol, "deny")
    waiting.result()


def test_the_change_that_a_write_would_make(site: Site, user: str, caller: str, carol: str) -> None:
    stored = {"_source": {"title": "old", "salary": 100, "tags": ["a", "b"]}}

    def answer(seen: Seen) -> bytes:
        return json_answer(stored if seen.head.startswith(b"GET") else {"result": "updated"})

    before = site.upstream.answer
    site.upstream.answer = answer
    try:
        waiting = Waiting(
            site.gateway, "/search/docs/_update/7", {"doc": {"title": "new", "salary": 900}}, token=caller
        )
        asked = site.admin.of(user, carol)
        seen = len(site.upstream.seen)
        assert "changes" not in site.admin.get(asked["id"], carol) and len(site.upstream.seen) == seen
        shown = site.admin.get(asked["id"], carol, changes="true")
        assert shown["changes"] == [{"path": '$["title"]', "before": '"old"', "after": '"new"'}]
        asked_for = site.upstream.seen[-1]
        assert asked_for.head.startswith(b"GET /docs/_doc/7 ") and "sk-upstream" in asked_for.headers["authorization"]
        assert "900" not in json.dumps(shown["shown"]) or "[REDACTED]" in shown["shown"]["body"]
        mine = site.admin.get(asked["id"], caller, changes="true")
        assert "changes" not in mine  # callers with write access only do not see the stored data
        site.admin.decide(asked["id"], carol, "deny")
        waiting.result()
    finally:
        site.upstream.answer = before


# Responses.


def test_a_response_waits_and_is_what_the_repeated_request_receives(
    site: Site, user: str, caller: str, carol: str
) -> None:
    ranking = {"results": [{"index": 1, "relevance_score": 0.05}, {"index": 0, "relevance_score": 0.01}]}
    with site.upstream.answering(json_answer(ranking)):
        answer = site.gateway.call(body=body(user, 2), token=caller)
    assert answer.problem == "approval-pending" and answer.json["rule"] == "unsure" and site.seen(user) == 1
    shown = site.admin.get(answer.json["approval_id"], carol)["shown"]
    assert [(r["rank"], r["index"], r["score"], r["text"]) for r in shown["ranking"]] == [
        (1, 1, 0.05, "document 1"), (2, 0, 0.01, "document 0")]  # fmt: skip
    site.admin.decide(answer.json["approval_id"], carol)
    again = site.gateway.call(body=body(user, 2), token=caller)
    assert again.status == 200 and again.json == ranking and site.seen(user) == 1, "the service is not asked twice"
    assert site.row(again, "rule, approvals, upstream_status") == ("unsure", [answer.json["approval_id"]], 200)
    third = site.gateway.call(body=body(user, 2), token=caller)  # now the service certainly answers as before
    assert third.status == 200 and site.seen(user) == 2


def test_a_denied_response_is_not_asked_for_again(site: Site, user: str, caller: str, carol: str) -> None:
    with site.upstream.answering(json_answer({"results": [{"index": 0, "relevance_score": 0.05}]})):
        waiting = Waiting(site.gateway, body=body(user, 1), token=caller)
        asked = site.admin.of(user, carol)
        site.admin.decide(asked["id"], carol, "deny", reason="nonsense")
        assert waiting.result().problem == "approval-denied"
        again = site.gateway.call(body=body(user, 1), token=caller)
    assert again.problem == "approval-denied" and site.seen(user) == 1
    assert all(
        b"0.05" not in (f.response.content or b"")
        for f in site.gateway.flows()
        if f.response and user in (f.comment or "")
    )


# Access windows.


def test_access_for_a_while(site: Site, user: str, caller: str, carol: str) -> None:
    small = {"model": "w", "query": user, "documents": ["d"]}

    def call(path: str = "/window/v2/rerank") -> Any:
        return site.gateway.call(path, small, token=caller)

    assert call().problem == "access-denied"
    who = site.gateway.call("/.well-known/weir/whoami", token=caller, method="GET").json
    assert who["on_request"] == ["window"] and who["admin_url"] == site.admin.url
    assert "at most 2h" in weir(
        site, "access", "request", "--connection", "window", "--for", "3h", "--reason", "x", who=caller, code=1
    )
    asked = weir(
        site,
        "access",
        "request",
        "--connection",
        "window",
        "--for",
        "1h",
        "--reason",
        "debugging",
        "--json",
        who=caller,
    )
    assert site.admin.decide(asked["id"], caller).status_code == 409
    assert site.admin.decide(asked["id"], carol).json()["state"] == "approved"
    deadline = time.monotonic() + PATIENCE
    while (answer := call()).status != 200:
        assert time.monotonic() < deadline
    assert site.row(answer, "message")[0].startswith("access given by local/carol until")
    who = site.gateway.call("/.well-known/weir/whoami", token=caller, method="GET").json
    (window,) = [c for c in who["connections"] if c["name"] == "window"]
    assert window["given_by"] == "local/carol" and 3500 < window["until"] - time.time() <= 3600
    assert "revoked" in weir(site, "access", "revoke", asked["id"][-8:], who=caller)  # the caller's own window
    while (answer := call()).status == 200:
        assert time.monotonic() < deadline
    assert answer.problem == "access-denied"
    assert site.gateway.sql(f"SELECT outcome, kind, asked_because FROM approvals WHERE approval_id = '{asked['id']}'") == [
        ("revoked", "access", "debugging")]  # fmt: skip


def test_a_window_ends_on_time(site: Site, user: str, caller: str, carol: str) -> None:
    small = {"model": "w", "query": user, "documents": ["d"]}
    asked = ask_access(site, caller, 2)
    until = site.admin.decide(asked["id"], carol).json()["until"]
    statuses = []
    while (now := time.time()) < until + 0.5:
        statuses.append((now - until, site.gateway.call("/window/v2/rerank", small, token=caller).status))
    assert 200 in {status for _, status in statuses}
    assert all(status == 403 for late, status in statuses if late > 0)


# The API.


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer nonsense"}, 401),
        ({"Authorization": "Basic YWxpY2U6eA=="}, 401),
        ({"Cookie": "token=x"}, 401),
        ({"Authorization": "Bearer {carol}", "Origin": "https://evil.example"}, 403),
        ({"Authorization": "Bearer {carol}", "Origin": "null"}, 403),
        ({"Authorization": "Bearer {carol}", "Origin": "{own}"}, 200),
        ({"Authorization": "Bearer {carol}"}, 200),
    ],
)
def test_who_is_let_in_to_the_api(site: Site, carol: str, headers: dict[str, str], status: int) -> None:
    import httpx

    sent = {name: value.format(carol=carol, own=site.admin.url) for name, value in headers.items()}
    answer = httpx.get(f"{site.admin.url}/v1/approvals", headers=sent)
    assert answer.status_code == status and "set-cookie" not in answer.headers
    assert answer.headers["content-type"] == ("application/json" if status == 200 else "application/problem+json")


@pytest.mark.parametrize(
    ("content_type", "data", "status"),
    [
        ("text/plain", b'{"reason": "x"}', 415),  # a form on another site could send this
        ("application/x-www-form-urlencoded", b"reason=x", 415),
        ("application/json", b'{"reason": "x", "who": "me"}', 400),
        ("application/json", b"{", 400),
        ("application/json", b'{"reason": "' + b"x" * 20_000 + b'"}', 413),
        ("application/json", b'{"reason": 5}', 400),
        ("application/json", b"{}", 404),
    ],
)
def test_what_the_api_does_not_take(site: Site, carol: str, content_type: str, data: bytes, status: int) -> None:
    import httpx

    url = f"{site.admin.url}/v1/approvals/019fa1c2-7a51-7cc3-b1b5-3f8d9a1f0c11/approve"
    answer = httpx.post(url, content=data, headers={"Authorization": f"Bearer {carol}", "Content-Type": content_type})
    assert answer.status_code == status and answer.json()["type"].startswith("urn:weir:problem:")


def test_the_api_describes_itself(site: Site) -> None:
    import httpx

    description = httpx.get(f"{site.admin.url}/openapi.json").json()
    assert description["openapi"].startswith("3.1") and description["servers"] == [{"url": site.admin.url}]
    for path in description["paths"]:
        concrete = path.replace("{id}", "019fa1c2-7a51-7cc3-b1b5-3f8d9a1f0c11")
        for method in description["paths"][path]:
            assert (
                httpx.request(method, f"{site.admin.url}{concrete}").status_code == 401
            )  # people with access can see it


def test_the_commands(site: Site, user: str, caller: str, carol: str) -> None:
    waiting = Waiting(site.gateway, body=body(user), token=caller)
    asked = site.admin.of(user, carol)
    watching = subprocess.Popen(
        [str(processes.BIN / "weir"), "approvals", "watch", "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, "WEIR_TOKEN": carol, "WEIR_ADMIN_URL": site.admin.url}, cwd=site.gateway.folder,
    )  # fmt: skip
    assert watching.stdout is not None
    ids = set()
    while asked["id"] not in ids:
        ids.add(json.loads(watching.stdout.readline())["id"])
    assert asked["id"][-8:] in weir(site, "approvals", "list", who=carol)
    assert [a["id"] for a in weir(site, "approvals", "list", "--json", who=caller)] == [asked["id"]]
    assert "you are not one" not in weir(site, "approvals", "show", asked["id"][-8:], who=carol)
    assert "nobody decides their own" in weir(site, "approvals", "approve", asked["id"], who=caller, code=1)
    assert "is approved" in weir(site, "approvals", "approve", asked["id"][-8:], "--reason", "fine", who=carol)
    while json.loads(watching.stdout.readline())["state"] == "pending":
        pass
    watching.send_signal(signal.SIGINT)
    watching.wait(PATIENCE)
    watching.stdout.close()
    assert waiting.result().status == 200
    late = weir(site, "approvals", "deny", asked["id"], "--reason", "late", who=carol, code=1)
    assert "approved already" in late or "used already" in late


def test_two_reviewers_click_at_the_same_instant(site: Site, user: str, caller: str, carol: str) -> None:
    """This test uses HTTP; a test of the store does the same a thousand times."""
    dave = token_of("dave", "leads")
    for n in range(20):
        data = {**body(f"{user} {n}", 1), "model": "short"}
        approval = site.gateway.call(body=data, token=caller, headers={"Prefer": "respond-async"}).json["approval_id"]
        answers: list[int] = []

        def click(who: str, what: str, approval: str = approval, answers: list[int] = answers) -> None:
            answers.append(site.admin.decide(approval, who, what).status_code)

        clicks = [
            threading.Thread(target=click, args=a) for a in ((carol, "approve"), (dave, "deny"), (carol, "approve"))
        ]
        for thread in clicks:
            thread.start()
        for thread in clicks:
            thread.join()
        final = site.admin.get(approval, carol)
        assert sorted(answers) == [200, 409, 409] and len(final["votes"]) == 1
        passed = site.gateway.call(body=data, token=caller, headers={"Prefer": "wait=0"}).status == 200
        assert passed == (final["state"] == "approved")


def test_too_many_of_one_caller(site: Site, user: str, caller: str) -> None:
    waiting = [
        Waiting(site.gateway, body={**body(f"{user} {n}", 1), "model": "short"}, token=caller) for n in range(25)
    ]
    answers = [w.result() for w in waiting]
    problems = [a.problem for a in answers]
    assert problems.count("too-many-held") == 5 and problems.count("approval-pending") == 20, problems
    assert all(a.status == 429 and "retry-after" in a.headers for a in answers if a.problem == "too-many-held")


# Attacks.


def test_pasted_tokens_are_not_kept(site: Site, user: str, caller: str, carol: str) -> None:
    approval = site.gateway.call(body=body(user), token=caller, headers={"Prefer": "wait=0"}).json["approval_id"]
    answer = site.admin.decide(approval, carol, "deny", reason=f"see {carol} and weir_0123456789abcdefghijkl_x")
    assert answer.json()["votes"][0]["reason"] == "see *** and ***"


def test_a_stopped_reviewer_does_not_decide(site: Site, user: str, caller: str) -> None:
    approval = site.gateway.call(body=body(user), token=caller, headers={"Prefer": "wait=0"}).json["approval_id"]
    fred = token_of(f"{user}-fred", "leads")
    assert site.admin.ask("GET", f"/v1/approvals/{approval}", fred).status_code == 200
    with stopped(site, f"{user}-fred"):
        deadline = time.monotonic() + PATIENCE
        while (answer := site.admin.ask("GET", f"/v1/approvals/{approval}", fred)).status_code == 200:
            assert time.monotonic() < deadline
        assert (
            answer.json()["type"] == "urn:weir:problem:stopped" and site.admin.decide(approval, fred).status_code == 503
        )


def test_reviewers_see_parameters_and_the_rest_of_the_body(site: Site, user: str, caller: str, carol: str) -> None:
    request = {**body(user), "options": {"debug": True}}
    path = "/reranker/v2/rerank?refresh=true&api_key=sk-secret"
    approval = site.gateway.call(path, request, token=caller, headers={"Prefer": "wait=0"}).json["approval_id"]
    shown = site.admin.get(approval, carol)["shown"]
    assert shown["parameters"] == "refresh=true&api_key=***"
    assert json.loads(shown["body"]) == {"model": "m", "options": {"debug": True}}


def test_a_revoked_reviewers_reuse_and_windows_end(site: Site, user: str, caller: str) -> None:
    reviewer = f"{user}-reviewer"
    lead = token_of(reviewer, "leads")
    again = {**body(user, 1), "model": "again"}
    passes(site, user, caller, [lead], again)
    asked = ask_access(site, caller, 3600)
    site.admin.decide(asked["id"], lead)
    small = {"model": "w", "query": user, "documents": ["d"]}

    def calls() -> list[int]:
        """Call with the reusable approval and with the access window."""
        return [
            site.gateway.call(body=again, token=caller, headers={"Prefer": "wait=0"}).status,
            site.gateway.call("/window/v2/rerank", small, token=caller).status,
        ]

    deadline = time.monotonic() + PATIENCE
    while calls() != [200, 200]:
        assert time.monotonic() < deadline
    block(site, reviewer)
    while calls() != [403, 403]:
        assert time.monotonic() < deadline


def test_a_caller_who_floods_while_they_wait_is_cut_off(site: Site, user: str, caller: str, carol: str) -> None:
    data = json.dumps(body(user)).encode()
    head = (
        f"POST /reranker/v2/rerank HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {caller}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    sent = 0
    with socket.create_connection(("127.0.0.1", site.gateway.port)) as connection:
        connection.sendall(head.encode() + data)
        asked = site.admin.of(user, carol)
        with contextlib.suppress(OSError):
            while sent < 64 << 20:
                sent += connection.send(b"x" * 65536)
    assert sent < 32 << 20  # including the kernel's own buffers
    deadline = time.monotonic() + PATIENCE
    while site.admin.get(asked["id"], carol)["state"] == "pending":
        assert time.monotonic() < deadline
    assert site.admin.get(asked["id"], carol)["state"] == "withdrawn" and site.seen(user) == 0


def test_asking_and_leaving_does_not_keep_others_waiting(site: Site, user: str, caller: str) -> None:
    """One caller requests a large write and leaves, many times: others are answered without delay."""
    data = json.dumps({"text": "x" * 60_000}).encode()
    head = (
        f"PUT /search/docs/_doc/1 HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {caller}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    )
    until = time.monotonic() + 4

    def ask_and_leave() -> None:
        while time.monotonic() < until:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", site.gateway.port)) as one:
                one.sendall(head.encode() + data)
                one.settimeout(0.1)
                one.recv(1)

    threads = [threading.Thread(target=ask_and_leave) for _ in range(6)]
    for thread in threads:
        thread.start()
    other, statuses = token_of(f"{user}-other", "search"), set()
    while time.monotonic() < until:
        statuses.add(site.gateway.call(body=body(f"{user} other", 1), token=other).status)
    for thread in threads:
        thread.join()
    assert statuses == {200}


def test_a_websocket_is_held_until_it_is_approved(site: Site, user: str, caller: str, carol: str) -> None:
    """The handshake waits like any request, and the service's messages are masked as usual."""
    said = b'{"secret": "hidden"}'

    def answer(seen: Seen) -> Iterator[bytes]:
        head = (
            f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {websocket_accept(seen.head)}\r\n\r\n"
        )
        yield b"HTTP/1.1 101 Switching Protocols\r\n" + head.encode() + bytes([0x81, len(said)]) + said

    before, site.upstream.answer = site.upstream.answer, answer
    try:
        with socket.create_connection(("127.0.0.1", site.gateway.port), timeout=PATIENCE) as connection:
            connection.sendall(websocket_handshake(f"/talk/x?for={user}", caller))
            asked = site.admin.of(user, carol)
            assert not any(user.encode() in seen.head for seen in site.upstream.seen)
            assert site.admin.decide(asked["id"], carol).status_code == 200
            received = b""
            while b"}" not in received and (chunk := connection.recv(65536)):
                received += chunk
    finally:
        site.upstream.answer = before
    assert received.startswith(b"HTTP/1.1 101 ")
    assert b"secret" in received and b"hidden" not in received
    assert any(user.encode() in seen.head for seen in site.upstream.seen)
