"""Recordings in stock mitmproxy, and replayed through the bundle: as responses (-S) and as requests (-C)."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from mitmproxy.http import HTTPFlow
from mitmproxy.io import FlowReader, FlowWriter

from tests import processes
from tests.end_to_end.gateway import PATIENCE, Gateway, Upstream, free_port, token, write_policies

MASKS = "masks: [{fields: ['$.documents[*].user_id'], with: hash}]\n"
PLAIN = {"model": "m", "query": "weir", "documents": ["a mill", "a weir"]}
MASKED = {"model": "m", "query": "weir", "documents": [{"text": "a mill", "user_id": "user-1111"}]}


@pytest.fixture
def recording(tmp_path: Path, upstream: Upstream, launch: Callable[..., Gateway]) -> Path:
    """Make a recording of a plain, a masked and a refused rerank."""
    port = free_port()
    write_policies(tmp_path, port, upstream.port, MASKS)
    gateway = launch(tmp_path, port, "-n", "--set", "weir_listen=true")
    assert gateway.call(body=PLAIN, token=token()).status == 200
    assert gateway.call(body=PLAIN).status == 401
    assert gateway.call(body=MASKED, token=token()).status == 200
    gateway.stop()
    return sorted((tmp_path / "recordings/segments/reranker").glob("*/*.mitm"))[0]


def restart(
    folder: Path,
    upstream: Upstream,
    launch: Callable[..., Gateway],
    *arguments: str,
    rules: str = "",
    **options: object,
) -> Gateway:
    port = free_port()
    write_policies(folder, port, upstream.port, MASKS + rules)
    return launch(folder, port, *arguments, **options)


def test_stock_mitmdump_reads_it(recording: Path) -> None:
    done = processes.run("mitmdump", "-nr", recording, folder=recording.parent)
    assert done.returncode == 0
    printed = done.stdout
    assert printed.count("<< 200 OK") == 2 and printed.count("<< 401 Unauthorized") == 1


@pytest.mark.smoke
def test_the_bundle_shows_it_without_recording_it_again(
    recording: Path, tmp_path: Path, upstream: Upstream, launch: Callable[..., Gateway]
) -> None:
    reached = len(upstream.seen)
    gateway = restart(tmp_path, upstream, launch, "-nr", str(recording))
    gateway.process.wait(timeout=PATIENCE)
    assert len(gateway.flows()) == 3 and len(upstream.seen) == reached


def test_served_back_while_the_upstream_is_down(
    recording: Path, tmp_path: Path, upstream: Upstream, launch: Callable[..., Gateway]
) -> None:
    upstream.stop()
    gateway = restart(
        tmp_path, upstream, launch, "-n", "--set", "weir_listen=true", "-S", str(recording),
        "--set", "keepserving=true", "--set", "server_replay_extra=404",
    )  # fmt: skip
    assert gateway.call(body=MASKED, token=token()).json["results"][0]["index"] == 1
    assert gateway.call(body=PLAIN).problem == "credentials-required"  # a replay grants no access
    assert gateway.call(body=PLAIN, token=token()).json["results"][0]["relevance_score"] == 0.9
    assert gateway.call(body={**PLAIN, "query": "other"}, token=token()).problem == "not-recorded"
    assert gateway.call(body=PLAIN, token=token()).problem == "not-recorded"  # used up, as stock -S does
    assert gateway.sql("SELECT count(*) FROM flows WHERE replay = 'response' AND status = 200") == [(2,)]
    gateway.stop()


def test_a_replay_never_turns_a_refusal_into_an_answer(
    recording: Path, tmp_path: Path, upstream: Upstream, launch: Callable[..., Gateway]
) -> None:
    """Server replay answers after policy and could replace a refusal with its response; the gate restores the refusal."""
    gateway = restart(
        tmp_path, upstream, launch, "-n", "--set", "weir_listen=true", "-S", str(recording), "--set", "keepserving=true"
    )
    for body in (PLAIN, MASKED):
        answer = gateway.call(body=body, token=token("mallory", "nobodies"))
        assert (answer.status, answer.problem) == (403, "access-denied")
    gateway.stop()


def test_sent_again_by_an_operator(
    recording: Path, tmp_path: Path, upstream: Upstream, launch: Callable[..., Gateway]
) -> None:
    reached = len(upstream.seen)
    gateway = restart(
        tmp_path, upstream, launch, "-n", "-C", str(recording), environment={"WEIR_TOKEN": token("operator")}
    )
    gateway.process.wait(timeout=PATIENCE)
    # The plain request is sent. The refused one has no body left. The masked one differs from the original.
    assert len(upstream.seen) == reached + 1
    assert json.loads(upstream.seen[-1].body) == PLAIN
    assert upstream.seen[-1].headers["authorization"].startswith("Bearer sk-")
    assert "x-weir-replay-key" not in upstream.seen[-1].headers
    assert gateway.sql("SELECT \"user\", status, problem FROM flows WHERE replay = 'request' ORDER BY request_id") == [
        ("operator", 200, None), ("operator", 400, "unreadable-body"), ("operator", 403, "replay-refused")]  # fmt: skip


def test_a_masked_request_is_sent_again_only_when_asked_for_by_name(
    recording: Path, tmp_path: Path, upstream: Upstream, launch: Callable[..., Gateway]
) -> None:
    reached = len(upstream.seen)
    gateway = restart(
        tmp_path, upstream, launch, "-n", "-C", str(recording), "--set", "weir_replay_allow=masked",
        environment={"WEIR_TOKEN": token("operator")},
    )  # fmt: skip
    gateway.process.wait(timeout=PATIENCE)
    assert len(upstream.seen) == reached + 2
    assert json.loads(upstream.seen[-1].body)["documents"][0]["user_id"].startswith("hash:")


def test_the_address_in_a_file_is_not_the_callers(
    recording: Path, tmp_path: Path, upstream: Upstream, launch: Callable[..., Gateway]
) -> None:
    with recording.open("rb") as file:
        flows = list(FlowReader(file).stream())
    with recording.open("wb") as file:
        writer = FlowWriter(file)
        for flow in flows:
            assert isinstance(flow, HTTPFlow)
            flow.client_conn.peername = ("10.1.2.3", 1234)
            writer.add(flow)
    rules = "rules: [{name: inside, when: {not: {client_ip: 10.0.0.0/8}}, effect: deny}]\n"
    reached = len(upstream.seen)
    gateway = restart(
        tmp_path, upstream, launch, "-n", "-C", str(recording), rules=rules,
        environment={"WEIR_TOKEN": token("operator")},
    )  # fmt: skip
    gateway.process.wait(timeout=PATIENCE)
    assert len(upstream.seen) == reached
    rows = gateway.sql("SELECT DISTINCT client_ip, rule FROM flows WHERE replay = 'request' AND rule = 'inside'")
    assert rows == [("127.0.0.1", "inside")]


@pytest.mark.parametrize("operator", [None, "a.b.c", "outsider"])
def test_an_operator_is_judged_like_any_caller(
    recording: Path, tmp_path: Path, upstream: Upstream, launch: Callable[..., Gateway], operator: str | None
) -> None:
    reached = len(upstream.seen)
    value = token("outsider", "nobodies") if operator == "outsider" else operator
    gateway = restart(
        tmp_path, upstream, launch, "-n", "-C", str(recording), environment={"WEIR_TOKEN": value} if value else {}
    )
    gateway.process.wait(timeout=PATIENCE)
    assert len(upstream.seen) == reached
    assert gateway.sql("SELECT count(*) FROM flows WHERE replay = 'request' AND problem IS NOT NULL") == [(3,)]


def test_stock_mitmdump_serves_back_what_was_not_masked(
    recording: Path, tmp_path: Path, upstream: Upstream, launch: Callable[..., Gateway]
) -> None:
    """Without an addon of Weir, stock -S matches, because the recorded request is the one that the upstream received."""
    port, reached = free_port(), upstream.connections
    gateway = launch(
        tmp_path, port, "--mode", f"reverse:http://127.0.0.1:{upstream.port}@127.0.0.1:{port}", "-S", str(recording),
        "--set", "keepserving=true", "--set", "connection_strategy=lazy", "--set", "server_replay_extra=404",
        scripts=(), wait="listening at", environment={"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    answer = gateway.call("/v2/rerank", PLAIN)
    assert answer.status == 200 and answer.json["results"][0]["index"] == 1
    assert upstream.connections == reached
    gateway.stop()
