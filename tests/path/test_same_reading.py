"""Policy reads what the service receives: no request is judged by other facts than those that a service would read.

Random heads and bodies, some of them hostile, are judged like real requests. Each request that passes is read again
from the bytes that would be sent, by three JSON parsers and two ways to normalise paths, like a service would; the
facts must be equal.
"""

import json
import posixpath
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from weir.base.problems import Kind
from weir.path.exchange import Arrived, Matched, Read, Routed
from weir.policy import facts
from weir.policy.facts import Facts
from weir.policy.rules import judge
from weir.policyset.load import load
from weir.policyset.model import PolicySet
from weir.profiles.profile import Operation
from weir.rehearsal.rehearse import Given, Outcome, rehearse

GATEWAY = "version: 1\nlisten: [http://127.0.0.1:8080]\nissuers: [local]\n"
CONNECTION = """\
version: 1
connection: {profile}
profile: {profile}
upstream: http://127.0.0.1:9
match: {{path: /{profile}}}
access: {{groups: [search]}}
writes: allow
rules:
  - {{name: documents, when: {{documents: {{gt: 2}}}}, effect: deny}}
  - {{name: top-n, when: {{top_n: {{gt: 10}}}}, effect: deny}}
  - {{name: query, when: {{query: {{contains: secret}}}}, effect: deny}}
  - {{name: text, when: {{document_text: {{matches: 'secret'}}}}, effect: deny}}
  - {{name: model, when: {{model: large}}, effect: deny}}
  - {{name: index, when: {{index: {{touches: secret}}}}, effect: deny}}
  - {{name: write, when: {{operation: [write, admin]}}, effect: deny}}
  - {{name: debug, when: {{body: {{"$..debug": true}}}}, effect: deny}}
"""


class Loaded:
    """Policies with a short representation for failing tests."""

    def __init__(self, policies: PolicySet) -> None:
        self.policies = policies


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    folder = tmp_path_factory.mktemp("policies")
    (folder / "gateway.yaml").write_text(GATEWAY)
    for profile in ("cohere", "elasticsearch", "vllm"):
        (folder / f"{profile}.yaml").write_text(CONNECTION.format(profile=profile))
    return Loaded(load(Path(folder)))


# Requests, most of them almost valid.

PLAIN = ["a", "b", "c d", "é", "\\u0061", "\\ud83d\\ude00", "x\\ny"]
TEXTS = st.sampled_from(
    [*PLAIN * 3, "secret", "se\\u0063ret", "large", "larg\\u0065", "", "\\ud800", "\\u0000", "x,secret", "*"]
)
NAMES = st.sampled_from(
    [
        "title",
        "text",
        "id",
        "lang",
        "options",
        "query",
        "documents",
        "top_n",
        "model",
        "Query",
        "documents ",
        "top\\u005fn",
        "debug",
        "index",
        "size",
        "text_1",
        "_index",
        "terms",
    ]
)
NUMBERS = st.sampled_from(
    [
        "0",
        "1",
        "2",
        "1",
        "2",
        "3",
        "-0",
        "3.0",
        "3e0",
        "1e400",
        "NaN",
        "Infinity",
        "9007199254740993",
        "99999999999999999999",
        "03",
        "+3",
        "3.",
        "0x3",
        '"3"',
        "true",
        "null",
    ]
)
SMALL = st.sampled_from(["1", "2"])
SPACES = st.sampled_from([*[""] * 8, " ", "\n", "\t", "\ufeff", "/**/", "\u00a0", "\x00"])
TEXT = TEXTS.map(lambda t: f'"{t}"')


def values(depth: int) -> st.SearchStrategy[str]:
    leaf = st.one_of(TEXT, TEXT, NUMBERS)
    if not depth:
        return leaf
    inner = values(depth - 1)
    lists = st.lists(inner, max_size=3).map(lambda v: "[" + ",".join(v) + "]")
    objects = st.lists(st.tuples(NAMES, inner), max_size=3).map(
        lambda v: "{" + ",".join(f'"{n}":{x}' for n, x in v) + "}"
    )
    return st.one_of(leaf, lists, objects)


def members(
    needed: dict[str, st.SearchStrategy[str]], optional: dict[str, st.SearchStrategy[str]]
) -> st.SearchStrategy[str]:
    """An object with the usual members, and sometimes an extra, a missing or a repeated one."""
    usual = st.fixed_dictionaries(needed, optional=optional).map(lambda d: list(d.items()))
    more = st.one_of(st.just([]), st.just([]), st.lists(st.tuples(NAMES, values(1)), max_size=2))
    less = st.sampled_from([0, 0, 0, 0, 1])
    parts = st.tuples(usual, more, SPACES, less)
    return parts.map(lambda p: "{" + ",".join(f'"{n}":{v}' for n, v in [*p[0][p[3] :], *p[1]]) + p[2] + "}")


DOCUMENTS = st.lists(st.one_of(TEXT, TEXT, values(1)), max_size=3).map(lambda v: "[" + ",".join(v) + "]")
COUNT = st.one_of(SMALL, SMALL, NUMBERS)
RERANK = members({"query": TEXT, "documents": DOCUMENTS}, {"top_n": COUNT, "model": TEXT})
SCORE = members({"text_1": st.one_of(TEXT, values(1)), "text_2": st.one_of(DOCUMENTS, TEXT)}, {"model": TEXT})
SEARCH = members({}, {"query": values(2), "size": COUNT, "retriever": values(1)})
LINE = st.one_of(members({}, {"index": TEXT}), members({}, {"size": COUNT, "query": values(1)}))
ODD_LINE = st.one_of(LINE, LINE, LINE, LINE, LINE, LINE, st.just(""), st.just("{"), st.just("null"))
ENDS = st.sampled_from([*["\n"] * 6, "\r\n", "\r", "\n\n", "\u2028"])
LINES = st.tuples(st.lists(ODD_LINE, min_size=1, max_size=4), ENDS).map(lambda p: p[1].join(p[0]) + p[1])

PATHS = st.lists(
    st.sampled_from(["docs", "secret", "docs,secret", "docs%2Csecret", "%73ecret", "sec*", "_search", "_msearch", "_all", "_doc", "1", "..", ".", "", "%2e%2e", "%2f", "_bulk", "SECRET", "-secret", "<secret-{now}>", "%3Csecret%3E", "docs;x", "_search/"]),
    min_size=1, max_size=4,
).map(lambda parts: "/" + "/".join(parts))  # fmt: skip
QUERIES = st.lists(
    st.sampled_from(
        [
            "index=secret",
            "index=docs",
            "ind%65x=secret",
            "size=3",
            "size=1",
            "q=secret",
            "q=se%63ret",
            "pretty",
            "source=%7B%7D",
            "size=%33",
            "index=docs&index=secret",
            "a;index=secret",
            "x=%zz",
            "size=+3",
            "index=docs,secret",
        ]
    ),
    max_size=3,
).map("&".join)

REQUESTS = st.one_of(
    st.tuples(st.just("cohere"), st.sampled_from([*["/v2/rerank"] * 4, "/v1/rerank", "/v2/rerank/", "/v2//rerank", "/V2/rerank"]), st.just(""), RERANK, st.just("application/json")),
    st.tuples(st.just("vllm"), st.sampled_from(["/rerank", "/score"]), st.just(""), st.one_of(RERANK, SCORE), st.sampled_from([*["application/json"] * 3, "application/json; charset=utf-8", "application/json; charset=utf-16"])),
    st.tuples(st.just("elasticsearch"), st.one_of(PATHS, st.sampled_from(["/docs/_search", "/docs,docs2/_search"])), QUERIES, SEARCH, st.just("application/json")),
    st.tuples(st.just("elasticsearch"), st.sampled_from(["/_msearch", "/docs/_msearch", "/docs/_msearch", "/_bulk"]), QUERIES, LINES, st.sampled_from(["application/x-ndjson", "application/json"])),
)  # fmt: skip


def judged(
    policies: PolicySet, name: str, method: str, path: str, query: str, body: bytes, content_type: str
) -> Outcome | None:
    """The outcome, where the request passes policy."""
    outcome = rehearse(policies, Given(name, path, method, query, body, content_type, "alice"))
    if outcome.problem is not None and outcome.problem.kind is not Kind.APPROVAL_REQUIRED:
        assert outcome.problem.kind is not Kind.GATEWAY_ERROR, outcome.problem.detail
        return None
    return outcome


def by_json(data: bytes) -> Any:
    return json.loads(data)


def first_of_several(data: bytes) -> Any:
    def first(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in pairs:
            found.setdefault(name, value)
        return found

    return json.loads(data.decode("utf-8-sig"), object_pairs_hook=first)


def by_msgspec(data: bytes) -> Any:
    return msgspec.json.decode(data)


PARSERS = [by_json, first_of_several, by_msgspec]
NORMALISERS = [
    lambda path: posixpath.normpath(unquote(path)),
    lambda path: unquote(posixpath.normpath(path.rstrip("/") or "/")),
]


def as_a_service_reads(outcome: Outcome, operation: Operation, parser: Any, normal: Any) -> Facts:
    """The facts of the bytes that are sent, read with other means than ours."""
    exchange = outcome.exchange
    data, routed = exchange[Read].sent, exchange[Routed]
    if not data:
        body: Any = None
    elif operation.ndjson:
        body = [parser(line) for line in data.splitlines() if line.strip()]
    else:
        body = parser(data)
    parameters: dict[str, list[str]] = {}
    for name, value in parse_qsl(routed.query, keep_blank_values=True):
        parameters.setdefault(name, []).append(value)
    found = routed.connection.profile.paths.find(exchange[Arrived].method, normal(routed.path))
    assert found is not None and found.operation is operation, "another operation"
    call = operation.read_call(body, parameters, found.variables)
    texts = facts.ABSENT if call.documents is None else operation.texts(body, call.documents)
    every = facts.of_texts(operation.reading.read(body, routed.query, found.variables))
    return facts.of_call(call) | every | {"document_text": texts, "body": body}


@settings(max_examples=1500, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(request=REQUESTS, method=st.sampled_from(["POST", "POST", "POST", "GET", "PUT"]))
def test_what_passes_is_read_alike_by_everyone(loaded: Loaded, request: tuple[str, ...], method: str) -> None:
    name, path, query, text, content_type = request
    body = text.encode("utf-8", "surrogatepass")
    outcome = judged(loaded.policies, name, method, path, query, body, content_type)
    operation = outcome.exchange[Matched].operation if outcome is not None else None
    if outcome is None or operation is None:
        return
    for parser in PARSERS:
        for normal in NORMALISERS:
            seen = as_a_service_reads(outcome, operation, parser, normal)
            again = outcome.facts | seen
            assert not judge(outcome.connection.rules, again).deny
            for fact in (*facts.OF_CALL, *facts.OF_TEXTS):
                if fact in seen and fact in outcome.facts:
                    assert seen[fact] == outcome.facts[fact], fact


def test_the_fuzz_is_not_of_refusals_only(loaded: Loaded) -> None:
    """Some generated requests pass, and forbidden ones do not."""
    good = [
        ("cohere", "POST", "/v2/rerank", "", b'{"query":"a","documents":["b"],"top_n":1}', "application/json"),
        ("vllm", "POST", "/score", "", b'{"text_1":"a","text_2":["b","c"]}', "application/json"),
        ("elasticsearch", "GET", "/docs/_search", "q=a&size=1", b'{"query":{"match":{"a":"b"}}}', "application/json"),
        ("elasticsearch", "POST", "/docs/_msearch", "", b'{}\n{"size":1}\n', "application/x-ndjson"),
    ]
    for name, method, path, query, body, content_type in good:
        assert judged(loaded.policies, name, method, path, query, body, content_type) is not None
        for secret in (b"a", b"b"):
            changed = body.replace(b'"%s"' % secret, b'"secret"', 1)
            if changed != body and name != "elasticsearch":
                assert judged(loaded.policies, name, method, path, query, changed, content_type) is None
