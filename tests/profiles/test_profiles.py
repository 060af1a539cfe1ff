"""Every profile reads its API's requests and responses; what should be there and is not, refuses."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from weir.content import ContentError
from weir.profiles.profile import load_profile, names

CASES = YAML(typ="safe").load((Path(__file__).parents[1] / "corpus/profiles/cases.yaml").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['profile']} {case['request']['path']}")
def test_golden_cases(case: dict[str, Any]) -> None:
    request = case["request"]
    operation = load_profile(case["profile"]).operation(request["method"], request["path"])
    assert operation is not None
    call = operation.read_call(request["body"])
    expected = case["call"]
    assert (call.operation, call.query, call.top_n, call.model) == (
        expected["operation"],
        expected["query"],
        expected["top_n"],
        expected["model"],
    )
    assert call.documents is not None and len(call.documents) == expected["documents"]
    ranking = operation.read_ranking(case["response"])
    assert ranking.readable and [[r.index, r.score] for r in ranking.results] == case["ranking"]


def test_every_profile_has_a_case() -> None:
    assert {case["profile"] for case in CASES} == set(names()) == {"cohere", "jina", "tei", "voyage"}


@pytest.mark.parametrize(
    "body",
    [None, [], "x", {}, {"query": "q"}, {"documents": []}, {"query": 1, "documents": []}, {"query": "q", "documents": "abc"},
     {"query": "q", "documents": {"0": "a"}}, {"query": "q", "documents": [], "top_n": "5"}, {"query": "q", "documents": [], "top_n": True},
     {"query": "q", "documents": [], "top_n": 1.5}, {"query": "q", "documents": [], "top_n": -1}, {"query": "q", "documents": [], "top_n": 10**30}, {"query": None, "documents": []},
     {"query": "q", "documents": [], "model": ["m"]}],
)  # fmt: skip
def test_what_cannot_be_read_is_refused(body: Any) -> None:
    operation = load_profile("cohere").operation("POST", "/v2/rerank")
    assert operation is not None
    with pytest.raises(ContentError):
        operation.read_call(body)


@pytest.mark.parametrize("body", [None, {}, {"results": {}}, {"results": [1]}, {"results": [{"index": "0", "relevance_score": 1}]},
                                  {"results": [{"index": 0}]}, {"results": [{"index": 10**30, "relevance_score": 1}]}, {"results": [{"index": 0, "relevance_score": 10**400}]}, {"results": [{"index": True, "relevance_score": 1}]}])  # fmt: skip
def test_a_ranking_of_another_shape_is_said_to_be_unreadable(body: Any) -> None:
    operation = load_profile("cohere").operation("POST", "/v2/rerank")
    assert operation is not None and not operation.read_ranking(body).readable


def test_other_methods_and_paths_are_unknown() -> None:
    profile = load_profile("cohere")
    assert profile.operation("GET", "/v2/rerank") is None
    assert profile.operation("POST", "/v2/rerank/") is None
    assert profile.operation("POST", "/V2/rerank") is None
