"""A condition on texts sees everything that a service could use in a prompt, and no names of the API itself."""

import base64
import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.corpora import corpus, profiles

from weir.approvals.binding import demands
from weir.policyset.load import load
from weir.policyset.model import PolicySet
from weir.profiles.profile import names
from weir.rehearsal.rehearse import Given, Outcome, rehearse

CARRIERS = corpus("carriers")
#: Names of members and values of enumerations that every API has.
ORDINARY = [
    "role", "user", "system", "assistant", "developer", "tool", "content", "type", "function", "object", "string",
    "text", "json", "stream", "model", "auto", "none", "required", "description", "name", "properties", "title",
    "query", "queries", "documents", "document", "index", "id", "input", "inputs", "output", "tools", "parameters",
    "arguments", "items", "enum", "array", "number", "integer", "boolean", "message", "messages", "prompt", "choices",
    "usage", "metadata", "data", "file", "image", "audio", "url", "format", "float", "base64", "search", "rerank",
    "match", "term", "terms", "filter", "field", "fields", "size", "limit", "score", "value", "values", "key",
    "label", "vector", "collection", "detail", "high", "low", "source", "body", "method", "path", "status", "code",
    "settings", "template", "language", "session", "service", "category", "truncate", "start", "order", "desc",
    "should", "must", "nested", "schema", "strict", "json_object", "json_schema", "image_url", "input_text",
    "search_query",
]  # fmt: skip
TERM = "elephant"
GATEWAY = """\
version: 1
listen: [http://127.0.0.1:8080]
issuers: [local]
categories:
  animals: {{terms: [elephant, flood gate]}}
  ordinary: {{terms: [{ordinary}]}}
"""
CONNECTION = """\
version: 1
connection: {profile}
profile: {profile}
upstream: http://127.0.0.1:9
match: {{path: /{profile}}}
access: {{groups: [search]}}
writes: allow
unknown_operations: allow
rules: [{{name: words, when: {when}, effect: deny}}]
"""


class Loaded:
    """Policies with a short representation for failing tests."""

    def __init__(self, folder: Path, when: str) -> None:
        (folder / "gateway.yaml").write_text(GATEWAY.format(ordinary=", ".join(f"'{word}'" for word in ORDINARY)))
        for profile in names():
            (folder / f"{profile}.yaml").write_text(CONNECTION.format(profile=profile, when=when))
        self.policies: PolicySet = load(folder)

    def judge(self, profile: str, path: str, body: Any = None, **more: Any) -> Outcome:
        """Return the outcome of a request: *body* as JSON, or a list under ``lines`` as NDJSON."""
        if "lines" in more:
            content = b"".join(msgspec.json.encode(line) + b"\n" for line in more.pop("lines"))
            more["content_type"] = "application/x-ndjson"
        else:
            content = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
        return rehearse(self.policies, Given(profile, path, body=content, **more))


@pytest.fixture(scope="module")
def animals(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return Loaded(tmp_path_factory.mktemp("animals"), "{category: animals}")


@pytest.fixture(scope="module")
def ordinary(tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    return Loaded(tmp_path_factory.mktemp("ordinary"), "{category: ordinary}")


def slots(value: Any, place: str = "$") -> Iterator[tuple[str, Any, Any]]:
    """Yield every text with its container and key."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        there = f"{place}[{key}]" if isinstance(key, int) else f"{place}.{key}"
        if isinstance(inner, str):
            yield there, value, key
        elif isinstance(inner, dict | list):
            yield from slots(inner, there)


def objects(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from objects(inner)


def sent(loaded: Loaded, case: dict[str, Any], body: Any) -> str:
    kind = "lines" if "lines" in case else "body"
    return loaded.judge(case["profile"], case["path"], method=case.get("method", "POST"), **{kind: body}).effect


@pytest.mark.parametrize("case", CARRIERS, ids=[case["name"] for case in CARRIERS])
def test_a_term_is_seen_wherever_it_stands(animals: Loaded, case: dict[str, Any]) -> None:
    body = copy.deepcopy(case.get("lines", case.get("body")))
    assert sent(animals, case, body) == "allow"
    passing = []
    for place, holder, key in list(slots(body)):
        before = holder[key]
        holder[key] = f"an {TERM} in a sentence"
        assert sent(animals, case, body) == "deny", place
        holder[key] = TERM
        if sent(animals, case, body) != "deny":
            passing.append(place)
        holder[key] = before
    assert sorted(passing) == sorted(case["identifiers"])
    for holder in list(objects(body)):
        for unknown in (
            {"zz": TERM},
            {"zz": [{"zz": [TERM]}]},
            {f"an {TERM}": 1},
            {"zz": {f"{TERM} ": None}},
            {"zz": f'{{"a": "\\u0065{TERM[1:]}"}}'},
        ):
            holder.update(unknown)
            assert sent(animals, case, body) == "deny", (unknown, holder)
            for name in unknown:
                del holder[name]
    assert sent(animals, case, body) == "allow"


def golden() -> Iterator[Any]:
    for profile, table in profiles().items():
        for case in table["cases"]:
            if "refused" not in case:
                yield pytest.param(profile, case["request"], id=f"{profile}: {case['name']}")
        for line in table.get("operations") or {}:
            method, _, target = line.partition(" ")
            target, _, query = target.partition("?")
            yield pytest.param(profile, {"method": method, "path": target, "query": query}, id=f"{profile}: {line}")
    for case in CARRIERS:
        request = {name: case[name] for name in ("path", "body", "lines") if name in case}
        yield pytest.param(
            case["profile"], {"method": case.get("method", "POST"), **request}, id=f"carrier: {case['name']}"
        )


#: In these, the text contains an ordinary word: in a query language, in a template, or in a parameter name.
SAID = (
    "process.name", "SELECT ", "title:weir", '"title": "{{t}}"', "FROM books", "FROM ?", "FROM a, (", "from books", "LIMIT ", "wrapper", "?source", "id > 5", "id in [",
    "{ title _add", "source=books", "sequence [", "title: t", "a low dam", "prompt_name", "{{ messages }}",
)  # fmt: skip


@pytest.mark.parametrize(("profile", "request_"), list(golden()))
def test_ordinary_words_in_the_places_of_the_api_are_no_text(
    ordinary: Loaded, profile: str, request_: dict[str, Any]
) -> None:
    kind = {name: request_[name] for name in ("body", "lines", "query") if name in request_}
    outcome = ordinary.judge(profile, request_["path"], method=request_["method"], **kind)
    written = json.dumps(request_, ensure_ascii=False).replace('\\"', '"')
    if any(said in written for said in SAID):
        assert outcome.rule == "words", "leave it out of SAID"
    elif any(tokens in written for tokens in ("[9906", "[101, 2054")):
        assert outcome.effect == "refuse"
    else:  # some operations need a body, but lines of `operations` have none
        assert outcome.effect == "allow" or (outcome.effect == "refuse" and not kind.keys() & {"body", "lines"})


CHAT = "/v1/chat/completions"


def message(content: Any, **more: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": content, **more}]}


def encoded(text: str, media: str = "text/plain") -> str:
    return f"data:{media};base64,{base64.b64encode(text.encode()).decode()}"


IMAGE = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 4).decode()


@pytest.mark.parametrize(
    "body",
    [
        message([{"type": "text", "text": "an ele"}, {"type": "text", "text": "phant"}]),
        message([{"type": "text", "text": "an ele", "zz": "x"}, {"type": "text", "text": "phant", "zz": "y"}]),
        message(["an ele", {"type": "text", "text": "phant"}]),
        message(["e", "l", "e", "p", "h", "a", "n", "t"]),
        message([{"type": "text", "text": "flood"}, {"type": "text", "text": "gate"}]),
        message([{"type": "text", "text": {"value": "ele", "annotations": []}}, {"type": "text", "text": {"value": "phant"}}]),
        message("a", tool_calls=[{"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a":"\\u0065lephant"}'}}]),
        message("a", function_call={"name": "f", "arguments": '{"\\u0065lephant":1}'}),
        message('Result: {"a": "b\\nelephant"} and more'),
        message('"{\\"a\\": \\"\\\\u0065lephant\\"}"'),
        message("\\u005cu005cu0065lephant"),
        message([{"type": "image_url", "image_url": {"url": encoded("an elephant")}}]),
        message([{"type": "image_url", "image_url": {"url": encoded("an elephant", "image/png")}}]),
        message([{"type": "image_url", "image_url": {"url": "data:image/svg+xml,%3Ctext%3Eele%70hant"}}]),
        message([{"type": "image_url", "image_url": {"url": "data:image/png;name=elephant;base64," + IMAGE}}]),
        message([{"type": "image_url", "image_url": {"url": "https://example.com/elephant.png"}}]),
        message([{"type": "file", "file": {"file_data": encoded("\ufeffan elephant".encode("utf-16-le").decode("latin-1"), "text/plain;charset=utf-16")}}]),
        message([{"type": "file", "file": {"file_data": base64.b64encode(b"\xff" + b"an elephant in a long text " * 4).decode()}}]),
        message(encoded("an elephant")),
        message("data:text/plain,an%20eleph%61nt"),
        message(" DATA:;base64,YW4gZWxlcGhhbnQ="),
        message([{"type": "elephant", "text": "a"}]),
        message("a", role="elephant"),
        message("a") | {"model": "an elephant"},
        message("a") | {"user": "x" * 65 + " elephant"},
        message("a") | {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"elephant": {}}}}}]},
        message("a") | {"metadata": {"elephant": "a"}},
        message("a") | {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": {"properties": {"elephant": {}}}}}}}]},
    ],
    ids=repr,
)  # fmt: skip
def test_a_term_in_disguise_is_seen(animals: Loaded, body: Any) -> None:
    outcome = animals.judge("openai", CHAT, body)
    assert (outcome.effect, outcome.rule) == ("deny", "words")


@pytest.mark.parametrize(
    "body",
    [
        message("an ele phant, elephants, an-ele\nphant"),
        {"model": "elephant", "messages": [{"role": "user", "content": "an ele"}, {"role": "assistant", "content": "phant"}]},
        message([{"type": "image_url", "image_url": {"url": "data:image/png;base64," + IMAGE, "detail": "low"}}]),
        message([{"type": "input_audio", "input_audio": {"data": IMAGE, "format": "wav"}}]),
        message("a") | {"logit_bias": {"50256": -100}, "stop_token_ids": [1, 2], "seed": 1},
        message("a") | {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"n": {"type": "integer", "enum": [1, 2]}}}}}]},
        message("C:\\users\\new \\u00 and \\\\ \\"),
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_text_and_what_is_not_joined_passes(animals: Loaded, body: Any) -> None:
    assert animals.judge("openai", CHAT, body).effect == "allow"


@pytest.mark.parametrize(
    ("profile", "path", "body"),
    [
        ("openai", CHAT, message("a") | {"prompt_token_ids": [9906, 1917]}),
        ("openai", CHAT, message([9906, 1917])),
        ("openai", CHAT, message("a") | {"zz": {"ids": [[9906.0], [1917, 5]]}}),
        ("vllm", "/v1/completions", {"model": "m", "prompt": "a", "prompt_embeds": "UEsDBA=="}),
        ("openai", "/v1/embeddings", {"model": "m", "input": [9906, 1917]}),
        ("tei", "/embed", {"inputs": [[101, 2054], [102]]}),
        ("vllm", "/score", {"text_1": "a", "text_2": [[9906, 1917]]}),
        ("openai", CHAT, message("\\" * 2000)),
        ("openai", CHAT, message([[[[[[[["a", "b"], "c"], "d"], "e"], "f"], "g"], "h"], "i"])),
    ],
    ids=repr,
)  # fmt: skip
def test_a_prompt_that_cannot_be_read_is_refused_where_a_rule_asks(
    animals: Loaded, profile: str, path: str, body: Any
) -> None:
    outcome = animals.judge(profile, path, body)
    assert outcome.effect == "refuse" and outcome.problem is not None
    assert outcome.problem.kind.slug == "unreadable-body"


def test_without_a_rule_on_texts_what_cannot_be_read_passes(tmp_path: Path) -> None:
    loaded = Loaded(tmp_path, "{user: mallory}")
    assert loaded.judge("openai", "/v1/embeddings", {"model": "m", "input": [9906, 1917]}).effect == "allow"
    assert loaded.judge("openai", CHAT, message("a") | {"prompt_token_ids": [1, 2]}).effect == "allow"


def test_a_rule_on_texts_that_does_not_apply_to_the_caller_does_not_refuse(tmp_path: Path) -> None:
    loaded = Loaded(tmp_path, "{user: mallory, category: animals}")
    body = message("a") | {"prompt_token_ids": [1, 2]}
    assert loaded.judge("openai", CHAT, body).effect == "allow"
    assert loaded.judge("openai", CHAT, body, user="mallory").effect == "refuse"


@pytest.mark.parametrize(
    ("profile", "path", "more", "effect"),
    [
        ("elasticsearch", "/books/_search", {"method": "GET", "query": "q=title:elephant"}, "deny"),
        ("elasticsearch", "/books/_search", {"method": "GET", "query": "q=title:eleph%61nt&size=5"}, "deny"),
        ("elasticsearch", "/books/_search", {"method": "GET", "query": "zz=elephant"}, "deny"),
        ("elasticsearch", "/books/_search", {"method": "GET", "query": "elephant=1"}, "deny"),
        ("elasticsearch", "/elephant/_search", {"method": "GET", "query": "routing=elephant"}, "allow"),
        ("elasticsearch", "/books/_doc/an%20elephant", {"method": "GET"}, "deny"),
        ("openai", CHAT, {"body": message("a"), "query": "system=an+elephant"}, "deny"),
        ("openai", CHAT, {"body": message("a"), "query": "a;elephant"}, "deny"),
        ("openai", "/v1/unknown", {"body": {"zz": "an elephant"}}, "deny"),
        ("openai", "/v1/unknown", {"body": ["an elephant"]}, "deny"),
        ("openai", "/v1/unknown", {"body": "an elephant"}, "deny"),
        ("openai", "/v1/say/an%20elephant", {"body": {}}, "deny"),
        ("openai", "/v1/unknown", {"body": {"tokens": [1, 2]}}, "refuse"),
        ("elasticsearch", "/_msearch", {"lines": [{}, {"query": {"match": {"a": "b"}}}, {"zz": "elephant"}, {}]}, "deny"),
        ("elasticsearch", "/books/_search", {"body": {"query": {"wrapper": {"query": base64.b64encode(b'{"match": {"a": "\\u0065lephant"}}').decode()}}}}, "deny"),
        ("elasticsearch", "/books/_search", {"body": {"query": {"zz": {"wrapper": {"query": base64.b64encode(b'{"match": {"a": "elephant"}}').decode()}}}}}, "deny"),
        ("qdrant", "/collections/docs/points/search", {"body": {"vector": [1, 0], "limit": 3}}, "allow"),
        ("cohere", "/v2/rerank", {"body": {"query": "q", "documents": [{"text": "a", "pages": [1, 2]}]}}, "allow"),
        ("cohere", "/v2/rerank", {"body": {"query": "q", "documents": ["an ele", "phant"]}}, "allow"),
        ("cohere", "/v2/rerank", {"body": {"query": "q", "documents": [{"elephant": "a"}]}}, "deny"),
    ],
)  # fmt: skip
def test_other_carriers(animals: Loaded, profile: str, path: str, more: dict[str, Any], effect: str) -> None:
    assert animals.judge(profile, path, **more).effect == effect


RERANK: dict[str, Any] = {"query": "a short one", "documents": ["first", "second"], "zz": "the third"}


@pytest.mark.parametrize(
    ("when", "denied"),
    [
        ("{query: {contains: third}}", True), ("{query: {contains: second}}", False), ("{query: {matches: '^the'}}", True), ("{query: the third}", True),
        ("{query: {in: [the third]}}", True), ("{query: {starts_with: the}}", True), ("{document_text: {contains: third}}", True),
        ("{document_text: {contains: short}}", False), ("{text: {contains: short}}", True), ("{text: {contains: second}}", True), ("{text: {matches: third}}", True),
        ("{query: {length: {gt: 11}}}", False), ("{query: {length: {ge: 9}}}", True), ("{query: {length: {lt: 10}}}", False), ("{query: {not_in: [a short one]}}", False),
        ("{text: {length: {gt: 20}}}", False), ("{text: {exists: true}}", True), ("{query: {contains: third, length: {lt: 10}}}", True),
        # Under `not`, a text in an unknown member must not disable a rule.
        ("{not: {query: {contains: third}}}", True), ("{not: {query: {contains: short}}}", False), ("{not: {document_text: {matches: third}}}", True),
        ("{not: {category: animals}}", True), ("{not: {not: {query: {contains: third}}}}", True), ("{not: {any: [{query: {contains: third}}]}}", True),
    ],
)  # fmt: skip
def test_where_conditions_look(tmp_path: Path, when: str, denied: bool) -> None:
    assert Loaded(tmp_path, when).judge("cohere", "/v2/rerank", RERANK).effect == ("deny" if denied else "allow")


def test_a_term_elsewhere_does_not_satisfy_what_must_not_be_missing(tmp_path: Path) -> None:
    loaded = Loaded(tmp_path, "{not: {category: animals}}")
    assert loaded.judge("cohere", "/v2/rerank", RERANK | {"zz": TERM}).effect == "deny"
    assert loaded.judge("cohere", "/v2/rerank", RERANK | {"query": TERM}).effect == "allow"


ANSWER: dict[str, Any] = {
    "id": "chatcmpl-1", "object": "chat.completion", "model": "gpt-4.1",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi", "refusal": None}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 19, "completion_tokens": 10, "total_tokens": 29},
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "effect"),
    [
        ({}, "allow"), ({"zz": TERM}, "deny"), ({"zz": {"an elephant": 1}}, "deny"), ({"id": TERM}, "allow"), ({"id": "an elephant"}, "deny"),
        ({"choices": [{"index": 0, "message": {"role": "assistant", "content": None, "reasoning_content": TERM}}]}, "deny"),
        ({"choices": [{"index": 0, "message": {"content": "a"}, "text": TERM}]}, "deny"),
        ({"choices": [{"index": 0, "message": {"tool_calls": [{"function": {"arguments": '{"a": "\\u0065lephant"}'}}]}}]}, "deny"),
        ({"choices": [{"index": 0, "message": {"content": [{"text": "ele"}, {"text": "phant"}]}}]}, "deny"),
    ],
)  # fmt: skip
def test_answers_are_read_alike(tmp_path: Path, change: dict[str, Any], effect: str) -> None:
    loaded = Loaded(tmp_path, "{category: animals}, on: response")
    answer = msgspec.json.encode(ANSWER | change)
    outcome = loaded.judge("openai", CHAT, message("a"), status=200, response=answer)
    assert outcome.effect == effect


def test_a_request_that_a_rule_for_answers_could_not_read_is_not_sent(tmp_path: Path) -> None:
    loaded = Loaded(tmp_path, "{category: animals}, on: response")
    outcome = loaded.judge("openai", CHAT, message("a") | {"prompt_token_ids": [1, 2]})
    assert outcome.effect == "refuse" and outcome.problem is not None and outcome.problem.kind.slug == "unreadable-body"


def test_one_approval_covers_only_requests_with_the_same_texts(tmp_path: Path) -> None:
    loaded = Loaded(tmp_path, "{category: animals}")
    file = tmp_path / "cohere.yaml"
    file.write_text(
        file.read_text().replace("effect: deny", "effect: require_approval, approval: {reviewers: [leads], reuse: 30m}")
    )
    policies = load(tmp_path)
    rule = next(c for c in policies.connections if c.name == "cohere").rules.rules[0]

    def covers(body: Any) -> str:
        outcome = rehearse(policies, Given("cohere", "/v2/rerank", body=msgspec.json.encode(body)))
        assert outcome.effect == "require_approval"
        principal = outcome.exchange.principal
        assert principal is not None
        return demands(b"k", [rule], principal, "cohere", outcome.facts)[0].covers

    body = RERANK | {"zz": TERM}
    assert covers(body) == covers(body | {"model": "other"}) != covers(body | {"zz": f"another {TERM}"})
    assert loaded.judge("cohere", "/v2/rerank", body).effect == "deny"


def test_ordinary_words_of_an_answer_are_no_text(tmp_path: Path) -> None:
    loaded = Loaded(tmp_path, "{category: ordinary}, on: response")
    outcome = loaded.judge("openai", CHAT, message("a"), status=200, response=msgspec.json.encode(ANSWER))
    assert outcome.effect == "allow"
