"""``when`` means what it says, for every matcher and in three-valued logic; mistakes are named with their place."""

from typing import Any

import pytest
from ruamel.yaml import YAML

from weir.config.problems import SettingError, path_text
from weir.policy.conditions import UnreadableFact, compile_when
from weir.policy.model import ABSENT, Facts

FACTS: Facts = {
    "user": "alice", "groups": ["local/ml", "local/search"], "issuer": "local", "connection": "reranker", "client_ip": "10.0.0.1",
    "method": "POST", "path": "/v2/rerank", "operation": "rerank", "index": ABSENT, "model": "rerank-v3.5", "query": "what is a weir?",
    "documents": 300, "top_n": 10, "bytes": 4000,
    "body": {"stream": False, "temperature": 0.5, "tags": ["a", "b"], "nested": [{"id": 1}, {"id": "1"}], "name": "x", "none": None},
}  # fmt: skip


def holds(text: str, **facts: Any) -> bool | None:
    return compile_when(YAML(typ="safe").load(text))({**FACTS, **facts})


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("documents: 300", True), ("documents: 301", False), ("documents: [1, 300]", True), ("documents: {gt: 300}", False),
        ("documents: {ge: 300, lt: 301}", True), ("documents: {le: 299}", False), ("documents: {in: [300]}", True),
        ("documents: {not_in: [300]}", False), ("top_n: {not_in: [1, 2]}", True), ("user: alice", True), ("user: [bob, alice]", True),
        ("groups: local/search", True), ("groups: [local/x]", False), ("groups: {length: 2}", True), ("groups: {starts_with: local/}", True),
        ("groups: {exists: true}", True), ("model: {matches: '^rerank-v\\d'}", True), ("model: {matches: '^v\\d'}", False),
        ("model: {starts_with: rerank}", True), ("query: {contains: weir}", True), ("query: {length: {gt: 10}}", True),
        ("query: {length: 3}", False), ("{documents: {gt: 100}, user: alice}", True), ("{documents: {gt: 100}, user: bob}", False),
        ("any: [{user: bob}, {documents: 300}]", True), ("any: [{user: bob}, {documents: 1}]", False),
        ("all: [{user: alice}, {documents: 300}]", True), ("not: {user: bob}", True), ("not: {not: {user: bob}}", False),
        # absent facts
        ("index: logs", None), ("not: {index: logs}", None), ("index: {exists: false}", True), ("index: {exists: true}", False),
        ("index: {not_in: [logs]}", None), ("any: [{index: logs}, {user: alice}]", True), ("any: [{index: logs}, {user: bob}]", None),
        ("all: [{index: logs}, {user: bob}]", False), ("all: [{index: logs}, {user: alice}]", None),
        # the body
        ("body: {$.stream: false}", True), ("body: {$.temperature: {gt: 0.4}}", True),
        ("body: {'$.tags[*]': b}", True), ("body: {'$.tags[*]': c}", False),         ("body: {'$.nested[*].id': [1, '1']}", True), ("body: {$.none: x}", False), ("body: {$.missing: 1}", None), ("body: {$.missing: {exists: false}}", True),
        ("body: {$.none: null}", True), ("body: {$.none: {exists: true}}", True), ("body: {$.tags: {length: 2}}", True),
        ("body: {$..id: {exists: true}, $.name: x}", True),
    ],
)  # fmt: skip
def test_meaning(when: str, expected: bool | None) -> None:
    assert holds(when) is expected


def test_a_body_that_is_not_there_has_no_fields() -> None:
    assert holds("body: {$.stream: true}", body=ABSENT) is None
    assert holds("body: {$.stream: {exists: false}}", body=ABSENT) is True


@pytest.mark.parametrize(
    ("when", "body"),
    [("body: {$.n: {gt: 100}}", {"n": "1000"}), ("body: {$.n: {gt: 100}}", {"n": True}), ("body: {$.n: {lt: 1}}", {"n": None}),
     ("body: {$.n: {matches: x}}", {"n": 1}), ("body: {$.n: {contains: x}}", {"n": ["x"]}), ("body: {$.n: {length: 1}}", {"n": 5}),
     ("body: {$.n: true}", {"n": "true"}), ("body: {$.n: true}", {"n": 1}), ("body: {$.n: 5}", {"n": "5"}), ("body: {$.n: [a, b]}", {"n": ["a"]}),
     ("body: {'$.n[*].x': 1}", {"n": [{"x": 1}, {"x": "1"}]}), ("body: {$.n: {not_in: [a]}}", {"n": 5})],
)  # fmt: skip
def test_a_value_of_another_type_is_never_just_no_match(when: str, body: Any) -> None:
    with pytest.raises(UnreadableFact):
        holds(when, body=body)


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ("documnts: 1", "there is no fact 'documnts'. Did you mean 'documents'?"),
        ("documents: {gtt: 1}", "documents.gtt: there is no matcher 'gtt'. Did you mean 'gt'?"),
        ("documents: {gte: 1}", "there is no matcher 'gte'. Did you mean 'ge'?"),
        ("documents: {gt: many}", "documents.gt: 'many' is not a number"),
        ("documents: many", "'documents' is a number, 'many' is not"),
        ("documents: {matches: x}", "'documents' is not a text; use gt, ge, lt or le"),
        ("documents: {length: 1}", "'documents' is a number and has no length"),
        ("user: {gt: 1}", "'user' is not a number"),
        ("user: 7", "'user' is a text, 7 is not"),
        ("user: {matches: '('}", "user.matches: not an RE2 expression"),
        ("user: {matches: '(?=x)'}", "not an RE2 expression"),
        ("user: {exists: maybe}", "must be true or false"),
        ("user: {}", "an empty matcher"),
        ("{}", "an empty condition"),
        ("any: []", "any: must be a list of conditions"),
        ("any: [{documents: {gt: x}}]", "any[0].documents.gt: 'x' is not a number"),
        ("not: 1", "not: must be a condition"),
        ("body: {stream: true}", "must start with '$'"),
        ("body: {'$.a[?(@.b)]': 1}", "filters are not supported"),
        ("body: 1", "body: must map JSONPaths to matchers"),
        ("user: {in: alice}", "must be a list of values"),
        ("groups: {exists: true, in: [a]}", "stand alone"),
    ],
)  # fmt: skip
def test_mistakes(when: str, message: str) -> None:
    with pytest.raises(SettingError) as error:
        holds(when)
    assert message in f"{path_text(error.value.location)}: {error.value.message}"
