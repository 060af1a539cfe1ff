"""`weir explain` and `weir test` say what the gateway does, because they run its steps."""

import json
from pathlib import Path

import pytest

from tests.cli import inside
from tests.end_to_end.gateway import CREDENTIAL, Gateway, Upstream, token

ENVIRONMENT = {"TEST_UPSTREAM_KEY": CREDENTIAL}
REQUEST = {"model": "m", "query": "q", "documents": ["a", "b"]}
MASK = 'masks: [{fields: ["$.model"], with: redact, hide_from: [upstream], in: [request]}]\n'


@pytest.mark.policy(MASK)
def test_a_mask_that_changes_a_judged_fact_is_refused_everywhere_alike(gateway: Gateway, upstream: Upstream) -> None:
    """The gateway, `weir explain` and `weir test` give the same refusal; `weir check` warns before."""
    answer = gateway.call(body=REQUEST, token=token())
    assert (answer.status, answer.problem) == (503, "mask-changes-fact")
    assert "masks[0]" in answer.json["detail"] and "'model'" in answer.json["detail"]
    assert answer.json["rule"] == "masks[0]" and upstream.seen == []
    rows = gateway.sql("SELECT problem, effect, message FROM flows")
    assert rows[0][0] == "mask-changes-fact"

    request = {"connection": "reranker", "request": {"path": "/v2/rerank", "body": REQUEST}}
    (gateway.folder / "request.json").write_text(json.dumps(request))
    said = inside.run(gateway.folder, "explain", "request.json", "--json", environment=ENVIRONMENT)
    explained = json.loads(said.stdout)
    assert (explained["status"], explained["problem"]) == (503, "mask-changes-fact")
    assert explained["detail"] == answer.json["detail"]

    case = {**request, "name": "a model", "expect": {"status": 503, "problem": "mask-changes-fact"}}
    _write_case(gateway.folder, case)
    tested = inside.run(gateway.folder, "test", environment=ENVIRONMENT)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    _write_case(gateway.folder, {**case, "expect": {"effect": "allow"}})
    assert inside.run(gateway.folder, "test", environment=ENVIRONMENT).returncode == 1

    checked = inside.run(gateway.folder, "check", environment=ENVIRONMENT)
    assert "warning: masks[0] hides the fact 'model' from the service" in checked.stdout


def test_a_rehearsed_answer_passes_the_same_steps_as_a_real_one(gateway: Gateway, upstream: Upstream) -> None:
    """A response that the gateway would not deliver is refused in a rehearsal, too."""
    request = {
        "connection": "reranker",
        "request": {"path": "/v2/rerank", "body": REQUEST},
        "response": {"status": 407, "body": {}},
    }
    (gateway.folder / "request.json").write_text(json.dumps(request))
    said = inside.run(gateway.folder, "explain", "request.json", "--json", environment=ENVIRONMENT)
    assert json.loads(said.stdout)["problem"] == "upstream-unreadable"


LONG = {"path": "/v2/rerank", "body": {**REQUEST, "query": "q" * 300_000}}


@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ({"request": LONG}, "request-too-large"),
        ({"request": {"path": f"/v2/rerank?a={'b' * 9000}", "body": REQUEST}}, "target-too-long"),
        ({"response": {"status": 200, "body": {"results": ["r" * 300_000]}}}, "response-too-large"),
    ],
)
def test_bounds_are_rehearsed(gateway: Gateway, parts: dict[str, object], problem: str) -> None:
    settings = gateway.folder / "policies" / "gateway.yaml"
    settings.write_text(settings.read_text() + "bounds: {body: 256KiB, answer: 256KiB}\n")
    request = {"connection": "reranker", "request": {"path": "/v2/rerank", "body": REQUEST}, **parts}
    (gateway.folder / "request.json").write_text(json.dumps(request))
    said = inside.run(gateway.folder, "explain", "request.json", "--json", environment=ENVIRONMENT)
    assert json.loads(said.stdout)["problem"] == problem


def test_a_path_of_another_connection_is_a_mistake(gateway: Gateway) -> None:
    policies = gateway.folder / "policies"
    inner = (policies / "reranker.yaml").read_text().replace("reranker", "inner").replace("/inner", "/reranker/v2")
    (policies / "inner.yaml").write_text(inner)
    request = {"connection": "reranker", "request": {"path": "/v2/rerank", "body": REQUEST}}
    (gateway.folder / "request.json").write_text(json.dumps(request))
    said = inside.run(gateway.folder, "explain", "request.json", environment=ENVIRONMENT)
    assert said.returncode != 0 and "go to the connection 'inner'" in said.stdout + said.stderr


def _write_case(folder: Path, case: dict[str, object]) -> None:
    tests = folder / "policies" / "tests"
    tests.mkdir(exist_ok=True)
    (tests / "reranker.yaml").write_text(json.dumps([case]))
