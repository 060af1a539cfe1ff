"""Approvals across policy changes and process ends, on SQLite and a real Redis: none passes wrongly, none is lost."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from tests import needs
from tests.end_to_end.approving import Launch, Site, Waiting, body, free_admin, start_site
from tests.end_to_end.gateway import PATIENCE, Seen, Upstream, free_port, json_answer
from tests.state.test_stores import start_redis


@pytest.fixture
def own(tmp_path: Path, launch: Launch, upstream: Upstream, state: str) -> Iterator[Site]:
    """Yield a site that only this test uses."""
    with free_admin(tmp_path) as admin:
        running = start_site(tmp_path, launch, state, admin, upstream)
        yield running
        running.gateway.stop()


def edit(site: Site, old: str, new: str) -> None:
    path = site.gateway.folder / "policies" / "reranker.yaml"
    text = path.read_text()
    assert old in text
    before = len(site.gateway.log)
    path.write_text(text.replace(old, new))
    deadline = time.monotonic() + PATIENCE
    while not any("reloaded by" in line for line in site.gateway.log[before:]):
        assert time.monotonic() < deadline, site.gateway.log
        time.sleep(0.02)


#: Edits while a request waits: old text, new text, and the result of the request.
EDITS = [
    ("name: wide, when: {documents: {gt: 2}", "name: wide, when: {documents: {gt: 50}", "released"),
    ("effect: require_approval, message: Wide", "effect: deny, message: Wide", "denied-by-rule"),
    ("name: wide, when: {documents: {gt: 2}", "name: wide, when: {documents: {gt: 1}", "asked anew"),
    ("access: {groups: [search]}", "access: {groups: [others]}", "access-denied"),
    ("{name: short, when: {model: short}", "{name: short, when: {model: shorter}", "unrelated"),
]


def test_a_reload_judges_who_waits_again(own: Site, user: str, caller: str, carol: str) -> None:
    for number, (old, new, outcome) in enumerate(EDITS):
        text = f"{user} {number}"
        waiting = Waiting(own.gateway, body=body(text), token=caller)
        asked = own.admin.of(user, carol)
        edit(own, old, new)
        if outcome == "unrelated":
            own.admin.decide(asked["id"], carol)
        if outcome in ("released", "unrelated"):
            assert waiting.result().status == 200 and own.seen(text) == 1
            assert own.admin.get(asked["id"], carol)["state"] == ("void" if outcome == "released" else "used")
        elif outcome == "asked anew":
            deadline = time.monotonic() + PATIENCE
            while own.admin.get(asked["id"], carol)["state"] != "void":
                assert time.monotonic() < deadline
            fresh = own.admin.of(user, carol)
            assert fresh["id"] != asked["id"] and own.admin.decide(asked["id"], carol).status_code == 409
            while own.admin.decide(fresh["id"], carol).status_code == 409:  # until the admin has read the policies too
                assert time.monotonic() < deadline
            assert waiting.result().status == 200 and own.seen(text) == 1
        else:
            assert waiting.result().problem == outcome and own.seen(text) == 0
            assert own.admin.get(asked["id"], carol)["state"] == "void"
        edit(own, new, old)


#: Rules that a reload adds while an answer waits.
NEW_RULES = [
    "{name: later, on: response, when: {query: {contains: forbiddenword}}, effect: deny}",
    "{name: later, on: response, when: {document_text: {contains: document}}, effect: deny}",
    "{name: later, when: {model: x}, effect: deny}",
]


@pytest.mark.parametrize("rule", NEW_RULES)
def test_a_reload_judges_an_answer_that_waits_and_its_request_again(
    own: Site, user: str, caller: str, carol: str, rule: str
) -> None:
    """The facts of the request that new rules need were not read before."""
    own.upstream.answer = lambda seen: json_answer({"results": [{"index": 0, "relevance_score": 0.01}]})
    edit(own, "approval: {hold: 1s}}\nmasks", "approval: {hold: 40s}}\nmasks")
    edit(own, "  - {name: also, when: {query: {contains: also}}, effect: require_approval, approval: {reviewers: [security]}}\n", "")  # fmt: skip
    asked = {**body(user, 1), "model": "x", "note": "forbiddenword"}
    waiting = Waiting(own.gateway, body=asked, token=caller)
    own.admin.of(user, carol)
    edit(own, "  - {name: unsure", f"  - {rule}\n  - {{name: unsure")
    answer, anew = waiting.result(), own.gateway.call(body=asked, token=caller)
    assert (answer.problem, answer.json["rule"]) == ("denied-by-rule", "later")
    assert (anew.problem, anew.json["rule"]) == ("denied-by-rule", "later")


@pytest.mark.parametrize("place", ["header", "body"])
def test_a_kept_answer_has_no_credential_that_was_replaced_meanwhile(
    own: Site, user: str, caller: str, carol: str, place: str
) -> None:
    def answer(seen: Seen) -> bytes:
        shown = seen.headers["authorization"]
        document: dict[str, object] = {"results": [{"index": 0, "relevance_score": 0.01}]}
        if place == "body":
            return json_answer({**document, "debug": shown})
        return json_answer(document, headers=f"X-Debug: {shown}\r\n")

    own.upstream.answer = answer
    asked = {**body(user, 1), "model": "x"}
    pending = own.gateway.call(body=asked, token=caller)
    edit(own, "${env:TEST_UPSTREAM_KEY}", "${env:HOME}/replaced-123456789")
    assert own.admin.decide(pending.json["approval_id"], carol).status_code == 200
    fetched = own.gateway.call(body=asked, token=caller)
    assert fetched.status == 200 and own.seen(user) == 1
    shown = fetched.json["debug"] if place == "body" else fetched.headers["x-debug"]
    assert shown == "Bearer ***"


def test_a_grant_outlives_an_unrelated_edit_and_not_one_of_its_rule(
    own: Site, user: str, caller: str, carol: str
) -> None:
    first, second = ({**body(f"{user} {n}", 1), "model": "short"} for n in (1, 2))
    for request in (first, second):
        own.admin.decide(own.gateway.call(body=request, token=caller).json["approval_id"], carol)
    edit(own, "{name: two, when: {model: two}", "{name: two, when: {model: [two, three]}")
    assert own.gateway.call(body=first, token=caller).status == 200
    edit(own, "{name: short, when: {model: short}", "{name: short, when: {model: [short, shorter]}")
    assert own.gateway.call(body=second, token=caller).problem == "approval-pending"
    assert own.seen(f"{user} 1") == 1 and own.seen(f"{user} 2") == 0


def test_a_gateway_that_stops_lets_nothing_through_and_forgets_nothing(
    own: Site, user: str, caller: str, carol: str, launch: Launch
) -> None:
    waiting = Waiting(own.gateway, body=body(user), token=caller)
    asked = own.admin.of(user, carol)
    began = time.monotonic()
    own.gateway.stop()
    assert waiting.result().problem == "approval-pending" and time.monotonic() - began < 8 and own.seen(user) == 0
    own.admin.decide(asked["id"], carol)
    again = launch(own.gateway.folder, own.gateway.port, "-n", "--set", "weir_listen=true")
    assert again.call(body=body(user), token=caller).status == 200 and own.seen(user) == 1
    again.stop()


def test_a_worker_killed_while_one_waits(own: Site, user: str, caller: str, carol: str, launch: Launch) -> None:
    """SIGKILL between approval and sending: the worker is stopped first, so that it cannot send."""
    waiting = Waiting(own.gateway, body=body(user), token=caller, headers={"Prefer": "wait=3"})
    asked = own.admin.of(user, carol)
    own.gateway.process.send_signal(signal.SIGSTOP)
    own.admin.decide(asked["id"], carol)
    own.gateway.stop(signal.SIGKILL)
    with pytest.raises(AssertionError):
        waiting.result(5)
    again = replace(own, gateway=launch(own.gateway.folder, own.gateway.port, "-n", "--set", "weir_listen=true"))
    deadline = time.monotonic() + PATIENCE
    while own.seen(user) == 0:  # until the waiting caller counts as gone, after its hold time and a grace
        answer = again.gateway.call(body=body(user), token=caller, headers={"Prefer": "wait=0"})
        assert answer.problem in ("", "approval-pending") and time.monotonic() < deadline
        time.sleep(0.2)
    assert answer.status == 200 and own.seen(user) == 1
    assert again.gateway.call(body=body(user), token=caller, headers={"Prefer": "wait=0"}).problem == "approval-pending"
    assert own.seen(user) == 1
    again.gateway.stop()


DYING = """
import dataclasses, os, signal
from mitmproxy import ctx

def die(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)  # the approval is taken, and not a byte is sent

def load(loader):
    lists = ctx.master.addons.get("weir").paths
    lists["request", "request"] = tuple(
        dataclasses.replace(step, call=die) if step.name == "inject_credential" else step
        for step in lists["request", "request"]
    )
"""


def test_a_worker_killed_between_taking_and_sending(
    own: Site, user: str, caller: str, carol: str, launch: Launch, tmp_path: Path
) -> None:
    request = {**body(user, 1), "model": "short"}
    own.admin.decide(own.gateway.call(body=request, token=caller).json["approval_id"], carol)
    own.gateway.stop()
    (tmp_path / "dying.py").write_text(DYING)
    options = ("-n", "--set", "weir_listen=true")
    dying = launch(tmp_path, own.gateway.port, *options, "-s", str(tmp_path / "dying.py"))
    with pytest.raises((ConnectionError, OSError)):
        dying.call(body=request, token=caller)
    assert dying.process.wait(PATIENCE) == -signal.SIGKILL
    again = launch(tmp_path, own.gateway.port, *options)
    assert again.call(body=request, token=caller).problem == "approval-pending"  # at most once: it was taken
    assert own.seen(user) == 0
    again.stop()


def test_what_could_not_be_sent_at_all_is_given_back(own: Site, user: str, caller: str, carol: str) -> None:
    request = {**body(user, 1), "model": "short"}
    approval = own.gateway.call(body=request, token=caller).json["approval_id"]
    own.admin.decide(approval, carol)
    port = own.upstream.port
    own.upstream.stop()
    assert own.gateway.call(body=request, token=caller).problem == "upstream-unreachable"
    assert own.admin.get(approval, carol)["state"] == "approved"
    back = Upstream(port)
    assert own.gateway.call(body=request, token=caller).status == 200
    assert len(back.seen) == 1 and own.admin.get(approval, carol)["state"] == "used"
    back.answer = lambda seen: b""  # the service reads the request and closes without an answer
    second = {**request, "query": f"{user} 2"}
    approval = own.gateway.call(body=second, token=caller).json["approval_id"]
    own.admin.decide(approval, carol)
    assert own.gateway.call(body=second, token=caller).status == 502
    assert own.admin.get(approval, carol)["state"] == "used"  # the service may have done it
    back.stop()


def test_several_workers_send_an_approved_request_once(
    tmp_path: Path, launch: Launch, upstream: Upstream, state: str, user: str, caller: str, carol: str
) -> None:
    with free_admin(tmp_path) as admin:
        site = start_site(tmp_path, launch, state, admin, upstream, "run", "--workers", "2")
        site.gateway.wait_for("weir: admin on")
        admin.ready()  # the process logs this before it listens
        site.gateway.wait_for("as worker w1")
        for n in range(5):
            request = {**body(f"{user} {n}", 1), "model": "short"}
            site.admin.decide(site.gateway.call(body=request, token=caller).json["approval_id"], carol)
            calls = [Waiting(site.gateway, body=request, token=caller, headers={"Prefer": "wait=0"}) for _ in range(8)]
            statuses = sorted(c.result().status for c in calls)
            assert statuses == [200] + [403] * 7 and site.seen(f"{user} {n}") == 1
        site.gateway.stop()


def children(pid: int, command: bytes) -> list[int]:
    """Return the children of *pid* with *command* (arguments end with NUL) in their command line."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # the process has ended
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid and command in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


def test_the_admin_process_is_started_again_and_nothing_passes_meanwhile(
    tmp_path: Path, launch: Launch, upstream: Upstream, state: str, user: str, caller: str, carol: str
) -> None:
    with free_admin(tmp_path) as admin:
        site = start_site(tmp_path, launch, state, admin, upstream, "run")
        site.gateway.wait_for("weir: admin on")
        admin.ready()
        waiting = Waiting(site.gateway, body=body(user), token=caller)
        asked = site.admin.of(user, carol)
        (pid,) = children(site.gateway.process.pid, b"weir.cli.main\0admin")
        os.kill(pid, signal.SIGKILL)
        site.gateway.wait_for("weir: admin process")
        assert site.seen(user) == 0
        deadline = time.monotonic() + PATIENCE
        answer = None
        while answer is None and time.monotonic() < deadline:
            with contextlib.suppress(httpx.HTTPError):
                answer = site.admin.decide(asked["id"], carol)
        assert answer is not None and answer.json()["state"] == "approved"
        assert waiting.result().status == 200 and site.seen(user) == 1
        site.gateway.stop()


def test_a_redis_that_dies_lets_nothing_through_and_comes_back(
    tmp_path: Path, launch: Launch, upstream: Upstream, user: str, caller: str, carol: str
) -> None:
    needs.skip_without("redis-server")
    port = free_port()
    (tmp_path / "redis").mkdir()
    redis = start_redis(tmp_path / "redis", port)
    with free_admin(tmp_path) as admin:
        site = start_site(tmp_path, launch, f"redis://127.0.0.1:{port}/0", admin, upstream)
        waiting = Waiting(site.gateway, body=body(user), token=caller)
        asked = admin.of(user, carol)
        redis.kill()
        redis.wait()
        assert admin.decide(asked["id"], carol).status_code == 503
        refused = site.gateway.call(body=body(f"{user} 2"), token=caller)
        assert refused.problem == "state-unavailable" and site.seen(user) == 0
        redis = start_redis(tmp_path / "redis", port)
        deadline = time.monotonic() + PATIENCE
        while (answer := admin.decide(asked["id"], carol)).status_code == 503:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert answer.json()["state"] == "approved" and waiting.result().status == 200 and site.seen(user) == 1
        site.gateway.stop()
        redis.terminate()
        redis.wait()


def test_a_redis_that_has_forgotten_is_not_believed(
    tmp_path: Path, launch: Launch, upstream: Upstream, user: str, caller: str, carol: str
) -> None:
    """An older copy must not make a used approval usable again."""
    needs.skip_without("redis-server")
    port = free_port()
    (tmp_path / "redis").mkdir()
    redis = start_redis(tmp_path / "redis", port)
    with free_admin(tmp_path) as admin:
        site = start_site(tmp_path, launch, f"redis://127.0.0.1:{port}/0", admin, upstream)
        request = {**body(user, 1), "model": "short"}
        admin.decide(site.gateway.call(body=request, token=caller).json["approval_id"], carol)
        copy = {p: p.read_bytes() for p in (tmp_path / "redis").rglob("*") if p.is_file()}
        assert site.gateway.call(body=request, token=caller).status == 200 and site.seen(user) == 1
        redis.kill()
        redis.wait()
        for path, data in copy.items():
            path.write_bytes(data)
        redis = start_redis(tmp_path / "redis", port)
        for _ in range(30):
            assert site.gateway.call(body=request, token=caller, headers={"Prefer": "wait=0"}).status in (403, 503)
            time.sleep(0.05)
        assert site.seen(user) == 1
        site.gateway.stop()
        redis.terminate()
        redis.wait()


def test_a_response_that_was_lost_is_asked_for_and_approved_anew(
    own: Site, user: str, caller: str, carol: str, launch: Launch
) -> None:
    with own.upstream.answering(json_answer({"results": [{"index": 0, "relevance_score": 0.05}]})):
        first = own.gateway.call(body=body(user, 1), token=caller).json["approval_id"]
        own.admin.decide(first, carol)
        own.gateway.stop()
        again = launch(own.gateway.folder, own.gateway.port, "-n", "--set", "weir_listen=true")
        assert own.admin.get(first, carol)["state"] == "void"
        second = again.call(body=body(user, 1), token=caller)
        assert second.problem == "approval-pending" and second.json["approval_id"] != first
        again.stop()


def test_a_response_that_another_worker_keeps_is_not_asked_for_twice(
    tmp_path: Path, launch: Launch, upstream: Upstream, state: str, user: str, caller: str, carol: str
) -> None:
    with free_admin(tmp_path) as admin:
        site = start_site(tmp_path, launch, state, admin, upstream, "run", "--workers", "2")
        site.gateway.wait_for("weir: admin on")
        admin.ready()
        site.gateway.wait_for("as worker w1")
        with upstream.answering(json_answer({"results": [{"index": 0, "relevance_score": 0.05}]})):
            approval = site.gateway.call(body=body(user, 1), token=caller).json["approval_id"]
            admin.decide(approval, carol)
            deadline = time.monotonic() + PATIENCE
            while (answer := site.gateway.call(body=body(user, 1), token=caller)).status != 200:
                assert answer.problem == "approval-pending" and answer.headers["connection"] == "close"
                assert time.monotonic() < deadline
        assert site.seen(user) == 1
        site.gateway.stop()
