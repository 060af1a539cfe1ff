"""Every profile reads the requests and responses of its API; a missing required part is refused."""

import copy
from typing import Any

import msgspec
import pytest
from tests.corpora import profiles

from weir.base.content import ContentError
from weir.base.mistakes import SettingError
from weir.config.profile_settings import ProfileSettings
from weir.path.steps.reading import read_body, read_parameters
from weir.profiles.discovery import address_like
from weir.profiles.model import Call
from weir.profiles.paths import Paths
from weir.profiles.profile import Operation, compile_profile, load_profile, names
from weir.routing.model import Origin

CORPUS = profiles()
#: The address of the gateway in the corpus of discovery.
GATEWAY = Origin("https", "gateway.example", 8443)


def of(kind: str) -> list[Any]:
    return [
        pytest.param(profile, entry, id=f"{profile}: {entry['name'] if isinstance(entry, dict) else entry}")
        for profile, table in CORPUS.items()
        for entry in table.get(kind) or ()
    ]


def operation_of(profile: str, method: str, path: str) -> tuple[Operation, dict[str, str]]:
    found = load_profile(profile).paths.find(method, path)
    assert found is not None, f"{method} {path} is unknown to {profile}"
    return found.operation, found.variables


def body_of(request: dict[str, Any], operation: Operation) -> Any:
    if "lines" in request:
        body = b"".join(msgspec.json.encode(line) + b"\n" for line in request["lines"])
        return read_body(body, "application/x-ndjson", operation)
    if "body" in request:
        return read_body(msgspec.json.encode(request["body"]), "application/json", operation)
    return None


def read(profile: str, request: dict[str, Any]) -> tuple[Operation, Any, Call]:
    operation, variables = operation_of(profile, request["method"], request["path"])
    parameters = read_parameters(load_profile(profile), request.get("query", ""))
    body = body_of(request, operation)
    return operation, body, operation.read_call(body, parameters, variables)


@pytest.mark.parametrize(("profile", "case"), of("cases"))
def test_cases(profile: str, case: dict[str, Any]) -> None:
    if "refused" in case:
        with pytest.raises(ContentError) as refused:
            read(profile, case["request"])
        assert case["refused"] in str(refused.value)
        return
    operation, body, call = read(profile, case["request"])
    found = {name: getattr(call, name) for name in call.__slots__ if getattr(call, name) not in (None, ())}
    documents = found.get("documents")
    if documents is not None:
        found["documents"] = len(documents)
        try:
            texts: Any = operation.texts(body, documents)
        except ContentError:
            texts = "unreadable"
        if texts:
            found["texts"] = texts
    for name in ("query", "indexes"):
        if name in found:
            found[name] = list(found[name])
    assert found == case["call"]
    if "response" in case:
        ranking = operation.answer.read_ranking(case["response"], call.documents)
        assert ranking.readable
        assert [[r.index, r.score] for r in ranking.results] == case["ranking"]
        assert [s for s in ranking.sources if s is not None] == case.get("sources", [])
        assert operation.answer.texts(ranking) == case.get("result_texts", [])
        assert operation.answer.read_tokens(case["response"]) == case.get("tokens")


@pytest.mark.parametrize(
    ("profile", "line", "expected"),
    [
        pytest.param(p, line, what, id=f"{p}: {line}")
        for p, c in CORPUS.items()
        for line, what in (c.get("operations") or {}).items()
        if what
    ],
)
def test_operations(profile: str, line: str, expected: str) -> None:
    method, _, target = line.partition(" ")
    path, _, query = target.partition("?")
    name, *indexes = expected.split()
    operation, variables = operation_of(profile, method, path)
    parameters = read_parameters(load_profile(profile), query)
    assert (operation.name, [*operation.index.read(None, parameters, variables)]) == (name, indexes)


@pytest.mark.parametrize(("profile", "line"), of("unknown"))
def test_what_is_unknown(profile: str, line: str) -> None:
    assert load_profile(profile).paths.find(*line.split(" ")) is None


@pytest.mark.parametrize(("profile", "case"), of("discovery"))
def test_discovery(profile: str, case: dict[str, Any]) -> None:
    discovery = operation_of(profile, *case["request"].split(" "))[0].discovery
    assert discovery is not None
    document = copy.deepcopy(case.get("answer"))
    replaced = discovery.readdress(document, GATEWAY)
    assert document == case.get("delivered")
    assert replaced == (document != case.get("answer"))


@pytest.mark.parametrize(("profile", "line"), of("no_discovery"))
def test_what_is_no_discovery(profile: str, line: str) -> None:
    assert operation_of(profile, *line.split(" "))[0].discovery is None


@pytest.mark.parametrize(
    ("written", "at_default_port", "at_another"),
    [
        ("http://10.0.0.5:6335/", "https://gw.example", "http://[fd00::1]:8080"),
        ("10.0.0.5:9200", "gw.example:443", "[fd00::1]:8080"),
        ("es-1/10.0.0.5:9200", "gw.example:443", "[fd00::1]:8080"),
        ("[::1]:9200", "gw.example:443", "[fd00::1]:8080"),
        ("inet[/10.0.0.5:9200]", "gw.example", "[fd00::1]:8080"),
        ("books.svc.example", "gw.example", "[fd00::1]:8080"),
        ("fd00::5", "gw.example", "[fd00::1]:8080"),
        ("", "gw.example", "[fd00::1]:8080"),
    ],
)
def test_an_address_keeps_its_form(written: str, at_default_port: str, at_another: str) -> None:
    assert address_like(written, Origin("https", "gw.example", 443)) == at_default_port
    assert address_like(written, Origin("http", "fd00::1", 8080)) == at_another


@pytest.mark.parametrize(
    ("settings", "mistake"),
    [
        ({"discovery": {"addresses": "$", "advice": "a"}}, "name the members that are addresses"),
        ({"discovery": {"addresses": "nodes", "advice": "a"}}, "it must start with '\\$'"),
        ({"request": {"documents": {"path": "$.a", "also": "$.b[*]"}}}, "`also` is for plain paths to lists"),
        ({"request": {"documents": {"path": "$.a[*]", "also": "$.b"}}}, "`also` is for plain paths to lists"),
    ],
)
def test_mistakes_in_a_profile(settings: dict[str, Any], mistake: str) -> None:
    profile = {"profile": "own", "title": "Own", "operations": [{"paths": "/x", "operation": "read", **settings}]}
    with pytest.raises(SettingError, match=mistake):
        compile_profile(ProfileSettings.model_validate(profile), {})


@pytest.mark.parametrize("profile", names())
def test_every_path_of_every_profile_is_in_the_corpus(profile: str) -> None:
    templates: Paths[str] = Paths()
    named = {template for entry in load_profile(profile).settings.operations for template in entry.paths}
    for entry in load_profile(profile).settings.operations:
        for template in entry.paths:
            for method in entry.methods:
                templates.add(method, template, template)
    table = CORPUS[profile]
    lines = [f"{c['request']['method']} {c['request']['path']}" for c in table["cases"]]
    lines += [line.partition("?")[0] for line in table.get("operations") or {}]
    found = [templates.find(*line.split(" ")) for line in lines]
    assert named - {f.operation for f in found if f} == set()


@pytest.mark.parametrize(
    "body",
    [None, [], "x", {}, {"query": "q"}, {"documents": []}, {"query": 1, "documents": []}, {"query": "q", "documents": "abc"},
     {"query": "q", "documents": {"0": "a"}}, {"query": "q", "documents": [], "top_n": "5"}, {"query": "q", "documents": [], "top_n": True},
     {"query": "q", "documents": [], "top_n": 1.5}, {"query": "q", "documents": [], "top_n": -1}, {"query": "q", "documents": [], "top_n": 10**30}, {"query": None, "documents": []},
     {"query": "q", "documents": [], "model": ["m"]}],
)  # fmt: skip
def test_what_cannot_be_read_is_refused(body: Any) -> None:
    operation, _ = operation_of("cohere", "POST", "/v2/rerank")
    with pytest.raises(ContentError):
        operation.read_call(body)


@pytest.mark.parametrize("body", [None, {}, {"results": {}}, {"results": [1]}, {"results": [{"index": "0", "relevance_score": 1}]},
                                  {"results": [{"index": 0}]}, {"results": [{"index": 10**30, "relevance_score": 1}]}, {"results": [{"index": 0, "relevance_score": 10**400}]}, {"results": [{"index": True, "relevance_score": 1}]}])  # fmt: skip
def test_a_ranking_of_another_shape_is_said_to_be_unreadable(body: Any) -> None:
    operation, _ = operation_of("cohere", "POST", "/v2/rerank")
    assert not operation.answer.read_ranking(body).readable
