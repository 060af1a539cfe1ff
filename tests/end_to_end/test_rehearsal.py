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


def _write_case(folder: Path, case: dict[str, object]) -> None:
    tests = folder / "policies" / "tests"
    tests.mkdir(exist_ok=True)
    (tests / "reranker.yaml").write_text(json.dumps([case]))
