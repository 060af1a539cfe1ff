"""``when`` works as documented, for every matcher and in three-valued logic; mistakes have their place."""

import re
from typing import Any

import pytest
import re2
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from weir.base.mistakes import SettingError, path_text
from weir.policy.conditions import Compiler, UnreadableFact, compile_when
from weir.policy.facts import ABSENT, Facts
from weir.policy.indexes import outside, touches
from weir.policy.text_filter import TextFilter, term_pattern

FACTS: Facts = {
    "user": "alice", "groups": ["local/ml", "local/search"], "issuer": "local", "connection": "reranker", "client_ip": "10.0.0.1",
    "method": "POST", "path": "/v2/rerank", "operation": "rerank", "index": ABSENT, "model": "rerank-v3.5", "query": ["what is a weir?"],
    "documents": 300, "top_n": 10, "breadth": 300, "bytes": 4000, "max_tokens": ABSENT, "return_documents": False, "stream": ABSENT,
    "document_text": ["first document", "the second\none"], "hour": 13, "weekday": "monday",
    "body": {"stream": False, "temperature": 0.5, "tags": ["a", "b"], "nested": [{"id": 1}, {"id": "1"}], "name": "x", "none": None},
}  # fmt: skip


CATEGORIES = {"rivers": term_pattern(["weir", "flood gate"]), "weapons": term_pattern(["gun", "C++", "刀"])}


def holds(text: str, **facts: Any) -> bool | None:
    return compile_when(YAML(typ="safe").load(text), categories=CATEGORIES).test({**FACTS, **facts})


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
        # texts: any of them
        ("query: {matches: weir}", True), ("query: {matches: '^weir'}", False), ("query: {matches: '^what'}", True),
        ("document_text: {matches: '^first'}", True), ("document_text: {matches: '^second'}", False), ("document_text: {matches: '^one'}", False),
        ("document_text: {matches: '(?m)^one$'}", True), ("document_text: {matches: 'document$'}", True), ("document_text: {matches: 'document\\s+the'}", False),
        ("document_text: {matches: '\\Athe'}", True), ("document_text: {matches: '\\Aone'}", False), ("document_text: {matches: '(?s)second.one\\z'}", True),
        ("document_text: {contains: second}", True), ("document_text: {length: {gt: 14}}", False), ("document_text: {length: {ge: 14}}", True),
        ("not: {document_text: {matches: nothing}}", True), ("document_text: {matches: '^first', contains: nothing}", False),
        ("category: rivers", True), ("category: weapons", False), ("category: [weapons, rivers]", True), ("category: {in: [rivers]}", True), ("not: {category: weapons}", True),
        ("client_ip: 10.0.0.0/8", True), ("client_ip: 10.0.0.1", True), ("client_ip: [192.168.0.0/16, '::1']", False), ("client_ip: {not_in: [10.0.0.0/8]}", False), ("client_ip: {exists: true}", True),
        ("hour: {ge: 9, lt: 17}", True), ("weekday: [saturday, sunday]", False), ("return_documents: false", True), ("stream: true", None), ("max_tokens: {gt: 5}", None),
    ],
)  # fmt: skip
def test_meaning(when: str, expected: bool | None) -> None:
    assert holds(when) is expected


@pytest.mark.parametrize(
    ("when", "names", "expected"),
    [
        ("index: {touches: secret}", ["secret"], True), ("index: {touches: secret}", ["secrets"], False), ("index: {touches: secret}", ["docs", "secret"], True),
        ("index: {touches: secret}", ["sec*"], True), ("index: {touches: secret}", ["*"], True), ("index: {touches: secret}", ["_all"], True),
        ("index: {touches: secret}", ["docs*"], False), ("index: {touches: 'secret-*'}", ["*-2024"], True), ("index: {touches: 'secret-*'}", ["s*t"], True), ("index: {touches: 'secret-*'}", ["t*"], False),
        ("index: {touches: 'secret-*'}", ["secret-2024"], True), ("index: {touches: ['a', 'secret-*']}", ["public", "a"], True), ("index: {touches: secret}", ["other:secret"], True),
        ("index: {touches: secret}", ["*:*"], True), ("index: {touches: secret}", ["secret::failures"], True), ("index: {touches: secret}", ["docs,secret"], False),
        ("index: {touches: secret}", ["*", "-secret"], True), ("index: {touches: secret}", ["-secret"], True), ("index: {touches: 'secret-*'}", ["<s\\ecret-1>"], True), ("index: {touches: 'secret-*'}", ["c:<secret-{now/d{yyyy|+12:00}}>"], True), ("index: {touches: secret}", [""], True), ("index: {outside: 'docs-*'}", ["docs-*", "-docs-1"], False), ("index: {touches: 'secret-*'}", ["<secret-{now/d}>"], True),
        ("index: {touches: 'logs-*'}", ["<secret-{now/d{yyyy}}>"], False), ("index: {touches: secret}", ["SECRET"], True), ("index: {touches: secret}", ["+secret"], True), ("index: {touches: secret}", ["secre?"], True),
        ("index: {outside: 'docs-*'}", ["docs-1"], False), ("index: {outside: 'docs-*'}", ["docs-*"], False), ("index: {outside: 'docs-*'}", ["docs-*-a"], False), ("index: {outside: 'docs-*'}", ["docs*"], True),
        ("index: {outside: ['docs-*', news]}", ["docs-1", "news"], False), ("index: {outside: ['docs-*', news]}", ["docs-1", "new*"], True), ("index: {outside: 'docs-*'}", ["_all"], True), ("index: {outside: 'docs-*'}", ["*"], True),
        ("index: {outside: 'docs-*'}", ["other:docs-1"], True), ("index: {outside: '*'}", ["anything", "*"], False), ("index: {outside: 'logs-*'}", ["logs-eu:payroll"], True), ("index: {outside: 'logs-*'}", ["logs-*:payroll"], True), ("index: {outside: 'eu:logs-*'}", ["eu:logs-1"], False), ("index: {outside: 'docs-*'}", ["docs-1::failures"], False), ("index: {outside: 'docs-*'}", ["<docs-{now/d}>"], False), ("index: {outside: 'a*b'}", ["a*"], True), ("index: {outside: 'a*b'}", ["axb", "a*xb"], False),
    ],
)  # fmt: skip
def test_what_an_index_expression_could_reach(when: str, names: list[str], expected: bool) -> None:
    assert holds(when, index=names) is expected


@pytest.mark.parametrize(
    ("when", "names", "expected"),
    [("index: {touches: secret}", ["secret"], True), ("index: {touches: secret}", ["-secret"], False), ("index: {touches: secret}", ["sec*"], False), ("index: {touches: 'secret*'}", ["secret-1"], True),
     ("index: {touches: secret}", ["*"], True), ("index: {outside: [public]}", ["-public"], True), ("index: {outside: [public]}", ["public,public"], True), ("index: {outside: [public]}", ["public"], False),
     ("index: {outside: [public]}", ["*"], True), ("index: {outside: ['']}", [""], False)],
)  # fmt: skip
def test_where_an_index_is_nothing_but_a_name(when: str, names: list[str], expected: bool) -> None:
    compiler = Compiler("request", expressions=False)
    if "''" in when:
        with pytest.raises(SettingError, match="must be an index name"):
            compiler.compile(YAML(typ="safe").load(when))
        return
    assert compiler.compile(YAML(typ="safe").load(when)).test({**FACTS, "index": names}) is expected


@given(st.text("ab*", max_size=6), st.text("ab*", max_size=6), st.text("ab", max_size=6))
def test_no_name_is_reached_that_was_said_not_to_be(expression: str, pattern: str, name: str) -> None:
    def matches(glob: str) -> bool:
        return re.fullmatch(".*".join(map(re.escape, glob.split("*"))), name) is not None

    if matches(expression) and matches(pattern):
        assert touches(expression, (pattern,)) or expression == ""
    if matches(expression) and not matches(pattern):
        assert outside(expression, (pattern,))


@pytest.mark.parametrize(
    ("terms", "text", "expected"),
    [(["gun"], "a GUN here", True), (["gun"], "begun", False), (["gun"], "gun", True), (["gun"], "guns", False), (["flood gate"], "flood\n gate!", True),
     (["C++"], "in c++, yes", True), (["C++"], "xc++", False), (["刀"], "买刀吗", True), (["über"], "ÜBER uns", True), (["über"], "xüber", False), (["a.b"], "axb", False)],
)  # fmt: skip
def test_terms(terms: list[str], text: str, expected: bool) -> None:
    text_filter = TextFilter()
    text_filter.add(term_pattern(terms))
    assert bool(text_filter.hits([text])) is expected
    text_filter.close()
    assert bool(text_filter.hits(["first", text, "last"])) is expected


PATTERNS = [
    "^a",
    "a$",
    "b+c",
    "(?i)AB",
    "a.b",
    "[^a]b",
    r"\bab\b",
    r"\Aab",
    r"ab\z",
    "(?s)a.b",
    "(?m)^b$",
    "^$",
    "c|^ab$",
    "(?-s)a.b",
    "b*",
]


@given(st.lists(st.sampled_from(PATTERNS), min_size=1, max_size=6), st.lists(st.text("abc \n", max_size=8), max_size=5))
def test_the_filter_finds_what_each_pattern_alone_finds(patterns: list[str], texts: list[str]) -> None:
    text_filter = TextFilter()
    numbers = {pattern: text_filter.add(pattern) for pattern in patterns}
    text_filter.close()
    found = text_filter.hits(texts)
    for pattern, number in numbers.items():
        alone = re2.compile(pattern)
        assert (number in found) is any(alone.search(text) is not None for text in texts)


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
        ("body: {'$.a[?@.b = 1]': 1}", "is not a JSONPath of RFC 9535"),
        ("body: 1", "body: must map JSONPaths to matchers"),
        ("user: {in: alice}", "must be a list of values"),
        ("status: 500", "status: 'status' is a fact of responses; add `on: response` to the rule"),
        ("query: {matches: '(?=x)'}", "query.matches: not an RE2 expression"),
        ("user: {touches: x}", "user.touches: 'touches' is for the fact 'index' only"),
        ("index: {touches: []}", "index.touches: must be an index name or pattern"),
        ("category: rivrs", "category: there is no category 'rivrs'. Did you mean 'rivers'?"),
        ("return_documents: 'true'", "'return_documents' is true or false, 'true' is not"),
        ("query: {exists: true, contains: x}", "stand alone"),
        ("weekday: sat", "weekday: 'sat' is no weekday. Did you mean 'saturday'?"),
        ("weekday: Saturday", "'Saturday' is no weekday. Did you mean 'saturday'?"),
        ("method: post", "'post' is no method. Did you mean 'POST'?"),
        ("operation: [rerank, update]", "'update' is no operation; there are rerank, score"),
        ("path: v2/rerank", "'v2/rerank' is not a path: it must start with '/'"),
        ("client_ip: 10.0.0.0/33", "client_ip: '10.0.0.0/33' is not an address or network"),
        ("documents: {gt: .nan}", "documents.gt: nan is not a number"),
        ("documents: {gt: 1,000}", "documents[0]: there is no matcher 0; a number is written without commas"),
        ("{documents: 1,000}", "there is no fact 0; a number is written without commas"),
        ('query: {matches: "\\ba"}', "query.matches: has a control character; in YAML, write a pattern in single quotes"),
        ('user: {matches: "\\ba"}', "user.matches: has a control character"),
        ("document: {matches: x}", "there is no fact 'document'. Did you mean 'document_text'?"),
        ("or: [{user: x}]", "there is no fact 'or'. Did you mean 'any'?"),
        ("unless: {user: x}", "there is no fact 'unless'. Did you mean 'not'?"),
        ("index: {touches: a, exists: true}", "stand alone"),
        ("groups: {exists: true, in: [a]}", "stand alone"),
    ],
)  # fmt: skip
def test_mistakes(when: str, message: str) -> None:
    with pytest.raises(SettingError) as error:
        holds(when)
    assert message in f"{path_text(error.value.location)}: {error.value.message}"
