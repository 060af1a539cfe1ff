"""The commands about policies: check, explain, test, diff, schema, profiles."""

import json
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML
from tests import processes
from tests.auth.test_tokens import JWKS
from tests.cli import inside

from weir.base.mistakes import path_text
from weir.config.model import GatewaySettings
from weir.policyset.load import load
from weir.rehearsal.review import review_listeners

POLICIES = Path(__file__).parents[2] / "policies"
PROFILES = Path(__file__).parents[2] / "addons/weir/profiles/data"

GATEWAY = "version: 1\nlisten: [http://127.0.0.1:8080]\nissuers: [local]\n"
CONNECTION = """\
version: 1
connection: c
profile: {profile}
upstream: http://127.0.0.1:9
match: {{path: /c}}
access: {{groups: [search]}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies/gateway.yaml").write_text(GATEWAY)
    (tmp_path / "policies/c.yaml").write_text(CONNECTION.format(profile="cohere"))
    return tmp_path


def weir(folder: Path, *arguments: str, code: int = 0) -> str:
    """Run the command in this process and return its output."""
    done = inside.run(folder, *arguments)
    text = done.stdout + done.stderr
    assert done.returncode == code, text
    return text


def started(folder: Path, *arguments: str, code: int = 0) -> str:
    """As `weir`, in a process of its own: each command at least once."""
    done = processes.run("weir", *arguments, folder=folder)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


# weir check


def warnings(folder: Path, rules: str, profile: str = "cohere", code: int = 0) -> list[str]:
    (folder / "policies/c.yaml").write_text(CONNECTION.format(profile=profile) + rules)
    found = json.loads(weir(folder, "check", "--json", code=code))
    return [f"{w['line']}: {w['message']}" for w in found]


@pytest.mark.parametrize(
    ("rules", "profile", "expected"),
    [
        ("rules: [{name: a, when: {documents: {gt: 5}}, effect: deny}]", "cohere", []),
        ("rules: [{name: a, when: {documents: {gt: 5}}, effect: deny}, {name: b, when: {documents: {gt: 10}}, effect: deny}]", "cohere",
         ["7: the rule 'b' never decides: 'a' (line 7) matches everything that it matches"]),
        ("rules: [{name: a, when: {documents: {gt: 10}}, effect: deny}, {name: b, when: {documents: {gt: 5}}, effect: deny}]", "cohere", []),
        ("rules: [{name: b, when: {documents: {gt: 10}, user: x}, effect: require_approval, approval: {reviewers: [leads]}}, {name: a, when: {documents: {ge: 10}}, effect: deny}]", "cohere",
         ["7: the rule 'b' never decides: 'a' (line 7) matches everything that it matches"]),
        ("rules: [{name: b, when: {model: x}, effect: require_approval, approval: {reviewers: [leads]}}, {name: a, when: {model: x}, effect: deny}]", "cohere",
         ["7: the rule 'b' contradicts 'a' (line 7), which asks for deny under the same condition"]),
        ("rules: [{name: b, when: {model: x}, effect: require_approval, approval: {reviewers: [leads]}}, {name: a, when: {model: [x, y]}, effect: deny}]", "cohere",
         ["7: the rule 'b' never decides: 'a' (line 7) matches everything that it matches"]),
        ("rules: [{name: b, when: {model: x}, effect: require_approval, shadow: true, approval: {reviewers: [leads]}}, {name: a, when: {model: x}, effect: deny}]", "cohere", []),
        ("rules: [{name: a, when: {model: x}, effect: deny, shadow: true}, {name: b, when: {model: x}, effect: deny}]", "cohere", []),
        ("rules: [{name: a, when: {documents: {gt: 10, lt: 5}}, effect: deny}]", "cohere", ["7: the rule 'a' can never match: its conditions on 'documents' conflict"]),
        ("rules: [{name: a, when: {documents: {gt: 10, le: 11}}, effect: deny}]", "cohere", []),
        ("rules: [{name: a, when: {all: [{model: x}, {model: y}]}, effect: deny}]", "cohere", ["7: the rule 'a' can never match: its conditions on 'model' conflict"]),
        ("rules: [{name: a, when: {operation: write}, effect: deny}]", "cohere",
         ["7: the rule 'a' can never match: the profile 'cohere' has no operation write; it has chat, embed, read, rerank"]),
        ("rules: [{name: a, when: {index: {touches: x}}, effect: deny}]", "cohere", ["7: the rule 'a' can never match: no operation of the profile 'cohere' has the fact 'index'"]),
        ("rules: [{name: a, on: response, when: {top_score: {lt: 1}}, effect: deny}]", "weaviate",
         ["1: the profile 'weaviate' has operations that write, and no rule names them: they need approval; set `writes: require_approval`, or choose `deny` or `allow`",
          "7: the rule 'a' can never match: no operation of the profile 'weaviate' has the fact 'top_score'"]),
        ("writes: deny\nrules: [{name: a, when: {max_tokens: {gt: 1000}}, effect: deny}]", "openai",
         ["8: the rule 'a' limits the tokens of one completion, but a request may ask for several (n, best_of, a list of prompts); use max_output_tokens, the limit of all together"]),
        ("writes: deny\nrules: [{name: a, when: {max_tokens: {gt: 1000}}, effect: deny}, {name: b, when: {completions: {gt: 1}}, effect: deny}]", "openai", []),
        ("writes: deny\nrules: [{name: a, when: {max_output_tokens: {gt: 1000}}, effect: deny}]", "openai", []),
        ("rules: [{name: a, when: {max_tokens: {gt: 1000}}, effect: deny}]", "cohere", []),
        ("writes: allow", "weaviate", []),
        ("rules: [{name: a, when: {operation: [write, admin]}, effect: deny}]", "weaviate", []),
        ("rules: [{name: a, when: {model: {exists: false}}, effect: deny}]", "weaviate",
         ["1: the profile 'weaviate' has operations that write, and no rule names them: they need approval; set `writes: require_approval`, or choose `deny` or `allow`"]),
    ],
)  # fmt: skip
def test_warnings(folder: Path, rules: str, profile: str, expected: list[str]) -> None:
    assert warnings(folder, rules, profile) == expected


def test_check_reports_all_mistakes_of_all_files_at_once(folder: Path) -> None:
    policies = folder / "policies"
    (policies / "c.yaml").write_text(
        CONNECTION.format(profile="coher") + "rules: [{name: a, when: {documnts: 1}, effect: dny}]\n"
    )
    (policies / "profiles").mkdir()
    (policies / "profiles/p.yaml").write_text("profile: p\ntitle: t\noperations: [{paths: /x, operation: rank}]\n")
    (policies / "profiles/q.yaml").write_text(
        "profile: cohere\ntitle: t\noperations: [{paths: x, operation: rerank}]\n"
    )
    (policies / "tests").mkdir()
    (policies / "tests/t.yaml").write_text(
        "- name: n\n  connection: c\n  request: {path: /x}\n  expect: {efect: deny}\n"
    )
    (policies / "gateway.yaml").write_text(
        GATEWAY + "timezone: Mars\ncategories: {empty: {terms: []}}\nlimits: sqlite\n"
    )
    said = started(folder, "check", code=2)
    for expected in (
        "policies/c.yaml:3:1: profile: there is no profile 'coher'. Did you mean 'cohere'?",
        "policies/c.yaml:7:26: rules[0].when.documnts: there is no fact 'documnts'. Did you mean 'documents'?",
        "policies/c.yaml:7:40: rules[0].effect: 'dny' is not one of 'deny' or 'require_approval'. Did you mean 'deny'?",
        "policies/profiles/p.yaml:3:26: operations[0].operation: 'rank' is not one of",
        "policies/profiles/q.yaml:1:1: profile: 'cohere' is the name of a built-in profile; choose another, and `extends: cohere`",
        "policies/profiles/q.yaml:3:14: operations[0]: 'x' must start with '/'",
        "policies/tests/t.yaml:4:12: [0].expect.efect: there is no such setting. Did you mean 'effect'?",
        "policies/gateway.yaml:4:1: timezone: 'Mars' is not a time zone; write e.g. Europe/Berlin",
        "policies/gateway.yaml:5:14: categories.empty: has no terms",
        "policies/gateway.yaml:6:1: limits: 'sqlite' is not a store; write memory, or redis://host:6379/0",
    ):
        assert expected in said, said


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("other.yml", "version: 1\n", ["policies/other.yml:1:1: is not read; rename it to other.yaml"]),
        ("profiles/p.yml", "x", ["policies/profiles/p.yml:1:1: is not read; rename it to p.yaml"]),
        ("d.yaml", CONNECTION.format(profile="pets").replace("c\n", "d\n", 1).replace("/c", "/d"), ["policies/d.yaml:3:1: profile: there is no profile 'pets'"]),
        ("c.yaml", CONNECTION.format(profile="cohere") + "limits: [{rate: 60}]\n", ["policies/c.yaml:7:11: limits[0].rate: must be a text"]),
        ("c.yaml", CONNECTION.format(profile="cohere") + "limits: [{concurrent: 0}]\n", ["policies/c.yaml:7:11: limits[0].concurrent: 0: input should be greater than or equal to 1"]),
        ("c.yaml", CONNECTION.format(profile="cohere") + "limits: [{concurrent: 2, rate: 1/minute}]\n", ["policies/c.yaml:7:10: limits[0]: write either a `rate`, e.g. 60/minute, or `concurrent`, a number of requests in progress"]),
        ("c.yaml", CONNECTION.format(profile="cohere") + "rules: [{name: access, when: {user: x}, effect: deny}]\n", ["policies/c.yaml:7:10: rules[0].name: 'access' is reserved for decisions of the gateway itself; choose another"]),
        ("c.yaml", CONNECTION.format(profile="elasticsearch") + "rules: [{name: a, on: response, when: {operation: write}, effect: require_approval, approval: {reviewers: [leads]}}]\n", ["policies/c.yaml:7:19: rules[0].on: a write is done before its response can be approved; use `on: request`"]),
        ("c.yaml", CONNECTION.format(profile="cohere") + "trip: {errors: half}\n", ["policies/c.yaml:7:8: trip.errors: 'half' is not a share; write e.g. 50%"]),
        ("c.yaml", CONNECTION.format(profile="cohere") + "rules:\n- name: a\n when: {user: x}\n", ["check the indentation and the brackets"]),
        ("gateway.yaml", GATEWAY + "limits: redis://:hunter2@localhost:notaport/0\n", ["policies/gateway.yaml:4:1: limits: is not a URL of a Redis"]),
        ("tests/t.yaml", "- {name: n, connection: d, request: {path: /}, expect: {status: 200}}\n", ["policies/tests/t.yaml:1:1: there is no connection 'd'"]),
        ("tests/t.yaml", "- {name: n, connection: c, request: {path: /}, expect: {}}\n", ["name at least one expectation: effect, rule, status, shadow or problem"]),
        ("profiles/shop.yaml", "profile: shops\ntitle: t\nextends: shops\n", ["policies/profiles/shop.yaml:3:1: extends: 'shops' extends itself"]),
        ("profiles/shop.yaml", "profile: shop\ntitle: t\noperations: [{paths: '/{a}b{c}', operation: read}]\n", ["'{a}b{c}' is not {name}, {name}suffix or {name...}"]),
        ("profiles/shop.yaml", "profile: shop\ntitle: t\noperations: [{paths: /x, operation: read, request: {query: '$.a[?@.b = 1]'}}]\n", ["operations[0]: '$.a[?@.b = 1]' is not a JSONPath of RFC 9535"]),
    ],
)  # fmt: skip
def test_one_mistake_is_said_once_and_where_it_stands(folder: Path, file: str, text: str, expected: list[str]) -> None:
    path = folder / "policies" / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    said = weir(folder, "check", code=2).splitlines()
    assert len(said) == len(expected), said
    for line, part in zip(said, expected, strict=True):
        assert part in line


def test_a_variable_that_is_not_set_is_a_warning_for_check_only(folder: Path) -> None:
    (folder / "policies/c.yaml").write_text(
        CONNECTION.format(profile="cohere") + "credential: {header: A, value: 'x ${env:NOT_SET_HERE}'}\n"
    )
    assert "warning: the environment variable NOT_SET_HERE is not set here; the gateway needs it" in weir(
        folder, "check"
    )
    started(folder, "check", "--strict", code=1)
    assert "NOT_SET_HERE is not set" in started(folder, "run", code=2)


# weir explain


def explained(folder: Path, text: str, *arguments: str, code: int = 0) -> str:
    (folder / "request").write_text(text)
    return weir(folder, "explain", "request", *arguments, code=code)


CURL = """curl -sS 'http://gateway.example/c/v2/rerank?x=1' -X POST -H 'content-type: application/json' \\
  --data-raw '{"query": "q", "documents": ["a", "b"]}' -o out.json
"""


def test_a_curl_command_is_explained(folder: Path) -> None:
    (folder / "policies/c.yaml").write_text(
        CONNECTION.format(profile="cohere")
        + "rules: [{name: cap, when: {documents: {gt: 1}, not: {user: alice}}, effect: deny}]\n"
    )
    said = explained(folder, CURL, "--user", "bob")
    assert said.startswith("deny by cap (policies/c.yaml:7)\n  the caller sees 403 denied-by-rule")
    assert "true       all of" in said and "true       documents: {gt: 1}   saw 2" in said
    assert "false      user: alice   saw bob" in said
    assert explained(folder, CURL, "--user", "alice").startswith("allowed by access")
    assert explained(folder, CURL, "--group", "other").startswith("deny by access")
    assert json.loads(explained(folder, CURL, "--json"))["rule"] == "cap"


ANIMALS = """{"connection": "c", "request": {"path": "/v2/rerank", "query": "x=1", "body": {"query": "q", "documents": ["a"],
  "zz": {"an elephant": [{"b": "{\\"c\\": \\"far away in the woods there was once a \\\\u0065lephant and it lived there for a long time\\"}"}]}}}}"""


def test_where_a_term_was_found_is_explained(folder: Path) -> None:
    gateway = folder / "policies/gateway.yaml"
    gateway.write_text(gateway.read_text() + "categories: {animals: {terms: [elephant]}}\n")
    (folder / "policies/c.yaml").write_text(
        CONNECTION.format(profile="cohere")
        + "rules: [{name: animals, when: {category: animals}, effect: deny}, {name: q, when: {query: {contains: elephant}}, effect: deny}, {name: t, when: {document_text: {matches: tiger}}, effect: deny}]\n"
    )
    said = explained(folder, ANIMALS)
    assert "true       category: animals   saw every text" in said
    name, value = "the name of $.zz['an elephant']", "$.zz['an elephant'][0].b"
    assert f"in {name}: an elephant\n" in said
    assert f"in {value} (unescaped): …" in said and "once a elephant and it lived" in said
    assert "false      document_text: {matches: tiger}   saw a\n" in said
    animals, q, tiger = json.loads(explained(folder, ANIMALS, "--json"))["clauses"]
    assert {one["place"]: one["read"] for one in animals["found"]} == {name: "", value: "unescaped"}
    assert q["found"][0]["text"] == "an elephant" and tiger["found"] == []
    assert {"$.query", "$.documents[0]", "the query parameter x"} <= set(animals["read"])
    assert all(len(one["text"]) < 100 for one in animals["found"])


def test_what_a_browser_copies_is_understood(folder: Path) -> None:
    copied = '$ curl \'http://gateway/c/v2/rerank\' --compressed -H \'Content-Type: application/json\' --data-binary $\'{\\n "query": "it\\\'s", "documents": ["\\u00fc"]}\''
    assert explained(folder, copied).startswith("allowed by access")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("curl -d 'a=1' http://gateway/c/v2/rerank", "refused before any rule was asked\n  the caller sees 415 unsupported-content"),
        ("curl http://gateway/c/v2/rerank", "refused before any rule was asked\n  the caller sees 403 unknown-operation"),
        ('curl --json \'{"query": "q", "documents": ["a"], "documents": []}\' http://gateway/c/v2/rerank', "refused before any rule was asked\n  the caller sees 400 unreadable-body"),
        ('{"connection": "c", "request": {"path": "/v2/../rerank"}}', "refused before any rule was asked\n  the caller sees 400 ambiguous-request"),
    ],
)  # fmt: skip
def test_what_never_reaches_a_rule_is_said_to(folder: Path, text: str, expected: str) -> None:
    assert explained(folder, text).startswith(expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("curl -F a=b http://gateway/c/v2/rerank", "curl's -F is not understood here"),
        ("curl http://gateway/other", "no connection has the path /other; name one with --connection"),
        ("curl 'http://x", "the curl command cannot be read"),
        ("{", "is neither JSON nor a curl command"),
        ("[]", "must be an object with `connection` and `request`"),
        ('{"connection": "d", "request": {"path": "/v2/rerank"}}', "there is no connection 'd'; there are c"),
        ('{"connection": "c"}', "request: Field required"),
    ],
)  # fmt: skip
def test_what_cannot_be_explained(folder: Path, text: str, expected: str) -> None:
    assert expected in explained(folder, text, code=2)


def test_an_unknown_id_or_file_says_so(folder: Path) -> None:
    assert "cannot be read" in started(folder, "explain", "nothing.json", code=2)
    weir(folder, "explain", "019fa1c2-7a51-7cc3-b1b5-3f8d9a1f0c11", code=2)


# weir test


def test_cases_pass_fail_and_are_reported(folder: Path) -> None:
    tests = folder / "policies/tests"
    tests.mkdir()
    (tests / "t.yaml").write_text(
        "- {name: passes, connection: c, request: {path: /v2/rerank, body: {query: q}, documents: 1}, expect: {effect: allow}}\n"
        "- {name: fails, connection: c, groups: [x], request: {path: /v2/rerank, body: {query: q}, documents: 1}, expect: {effect: allow, status: 200}}\n"
        "- {name: lost, connection: d, request: {path: /}, expect: {effect: allow}}\n"
    )
    said = weir(folder, "test", "--fail-only", "--junit", "report.xml", code=1)
    assert "passes" not in said and "FAIL  fails  (policies/tests/t.yaml:2)" in said
    assert (
        "effect: expected 'allow', found 'deny' (None of your groups" in said
        and "status: expected 200, found 403" in said
    )
    assert "there is no connection 'd'" in said and "3 cases, 2 failed" in said
    report = ET.parse(folder / "report.xml").getroot()
    assert report.attrib["failures"] == "2" and len(report.findall("testcase/failure")) == 2
    assert "1 cases, 0 failed" in started(folder, "test", "passes")
    assert "no case has 'nothing' in its name" in weir(folder, "test", "nothing", code=2)


def test_times_are_of_the_gateways_zone(folder: Path) -> None:
    (folder / "policies/gateway.yaml").write_text(GATEWAY + "timezone: Asia/Tokyo\n")
    (folder / "policies/c.yaml").write_text(
        CONNECTION.format(profile="cohere")
        + "rules: [{name: night, when: {hour: {lt: 6}, weekday: monday}, effect: deny}]\n"
    )
    tests = folder / "policies/tests"
    tests.mkdir()
    case = "{{name: '{0}', connection: c, at: {0}, request: {{path: /v2/rerank, body: {{query: q}}, documents: 1}}, expect: {{effect: {1}}}}}"
    moments = [
        ("2026-01-04T20:00:00Z", "deny"),
        ("2026-01-05 05:00:00", "deny"),
        ("2026-01-05T05:00:00+01:00", "allow"),
        ("2026-01-06 05:00:00", "allow"),
    ]
    (tests / "t.yaml").write_text("".join(f"- {case.format(*m)}\n" for m in moments))
    assert "4 cases, 0 failed" in weir(folder, "test")


# weir diff, schema, profiles


def test_diff_says_what_changes(folder: Path) -> None:
    new = folder / "new"
    shutil.copytree(POLICIES / "guardrails", folder / "old")
    shutil.copytree(POLICIES / "guardrails", new)
    reranker = (new / "reranker.yaml").read_text()
    reranker = (
        reranker.replace("{gt: 1000}", "{gt: 50}")
        .replace("burst: 20", "burst: 10")
        .replace("[search, ml-platform]", "[search, ml-platform, ads]", 1)
    )
    (new / "reranker.yaml").write_text(reranker.replace("    effect: deny\n    shadow: true\n", "    effect: deny\n"))
    (new / "chat.yaml").unlink()
    (new / "tests/chat.yaml").unlink()
    said = weir(folder, "diff", "old", "new")
    for expected in (
        "the connection chat is gone",
        "the connection reranker: access.groups gains ads",
        "the connection reranker: limits loses {rate: '60/minute', per: user, count: requests, burst: 20}",
        "the connection reranker: the rule document-cap: when was {documents: {gt: 1000}} and is now {documents: {gt: 50}}",
        "the connection reranker: the rule reranker-does-nothing is now enforced",
        "  'an ordinary rerank passes' (reranker): allow -> deny by document-cap",
    ):
        assert expected in said, said
    assert started(folder, "diff", "old", "old") == "nothing changes\n"
    assert json.loads(weir(folder, "diff", "old", "new", "--json"))["cases"]


SHIPPED = {
    "connection": [
        p for f in (POLICIES, POLICIES / "guardrails") for p in f.glob("*.yaml") if p.name != "gateway.yaml"
    ],
    "gateway": [POLICIES / "gateway.yaml", POLICIES / "guardrails/gateway.yaml"],
    "profile": [*POLICIES.glob("guardrails/profiles/*.yaml"), *PROFILES.glob("*.yaml")],
    "tests": [*POLICIES.glob("tests/*.yaml"), *POLICIES.glob("guardrails/tests/*.yaml")],
}


@pytest.mark.parametrize("what", SHIPPED)
def test_schemas_accept_what_is_shipped_and_not_what_is_misspelt(folder: Path, what: str) -> None:
    schema = json.loads(started(folder, "schema", what))
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    assert SHIPPED[what]
    for path in SHIPPED[what]:
        text = path.read_text()
        document = YAML(typ="safe", pure=True).load(text)
        assert not [error.message for error in validator.iter_errors(_as_json(document))], path
        for word, wrong in (
            ("documents:", "documnts:"),
            ("connection:", "conection:"),
            ("listen:", "lisen:"),
            ("operation:", "opration:"),
        ):
            if word in text:
                assert list(
                    validator.iter_errors(_as_json(YAML(typ="safe", pure=True).load(text.replace(word, wrong, 1))))
                ), path


def _as_json(document: Any) -> Any:
    """Return *document* as an editor reads it: an unquoted time is a text."""
    return json.loads(json.dumps(document, default=str))


def test_profiles_are_listed_and_shown_with_the_folders_own(folder: Path) -> None:
    listed = json.loads(weir(folder, "profiles", "--json", "--policies", str(POLICIES / "guardrails")))
    assert {"cohere", "elasticsearch", "shop-search"} <= {p["profile"] for p in listed}
    shown = json.loads(
        weir(folder, "profiles", "show", "shop-search", "--json", "--policies", str(POLICIES / "guardrails"))
    )
    assert shown[0]["path"] == "/shop/{index}/suggest" and "index" in shown[0]["facts"]
    assert {"/_bulk", "/{index}/_search"} <= {row["path"] for row in shown}
    assert "there is no profile 'coher'. Did you mean 'cohere'?" in started(folder, "profiles", "show", "coher", code=2)
    (folder / "policies/profiles").mkdir()
    (folder / "policies/profiles/mine.yaml").write_text(
        weir(folder, "profiles", "show", "cohere", "--yaml").replace("profile: cohere", "profile: mine")
    )
    (folder / "policies/c.yaml").write_text(CONNECTION.format(profile="mine"))
    assert "1 connection, 0 warnings" in weir(folder, "check")


@pytest.mark.parametrize(
    ("options", "method"),
    [
        ("-sSXPUT --connect-timeout 5", "PUT"),
        ("-sX PUT -o /dev/null -w '%{http_code}'", "PUT"),
        ("-XPUT --retry=3 -k", "PUT"),
        ("-I", "HEAD"),
    ],
)
def test_curls_options_are_read_as_curl_does(folder: Path, options: str, method: str) -> None:
    said = explained(folder, f"curl {options} -H 'Content-Type: application/json' http://gateway/c/v9/x -d '{{}}'")
    assert f"{method} /v9/x is not an operation" in said


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("curl http://h:99999/c", "is not a URL"), ("curl 'http://[::1'", "is not a URL"), ("curl --wat http://gateway/c", "curl's --wat is not understood here"),
        ("curl http://gateway/c -X", "curl's -X has no value"),
    ],
)  # fmt: skip
def test_curl_commands_that_are_not_understood_say_so(folder: Path, command: str, expected: str) -> None:
    assert expected in explained(folder, command, code=2)


def test_what_cannot_be_written_or_sent_is_said(folder: Path) -> None:
    tests = folder / "policies/tests"
    tests.mkdir()
    (tests / "t.yaml").write_text(
        '- {name: n, connection: c, request: {path: /v2/rerank, text: "\\ud800"}, expect: {status: 400}}\n'
    )
    assert "this text is not valid Unicode and cannot be sent" in weir(folder, "test", code=1)
    (tests / "t.yaml").write_text(
        "- {name: n, connection: c, request: {path: /v1/models, method: GET}, response: {text: '<html>'}, expect: {status: 200}}\n"
    )
    assert "cannot be written" in weir(folder, "test", "--junit", "nowhere/x.xml", code=2)


def test_someone_is_started_again_whatever_became_of_their_issuer(folder: Path) -> None:
    started(folder, "stop", "--user", "gone-user", "--issuer", "https://gone.example", "--reason", "left")
    assert "gone-user" in started(folder, "status")
    assert "started the user gone-user" in started(folder, "start", "--user", "gone-user")
    weir(folder, "start", "--user", "gone-user", "--issuer", "https://gone.example", code=1)


@pytest.mark.parametrize(
    ("settings", "warned"),
    [
        ("listen: [http://127.0.0.1:8080, 'http://[::1]:8080', http://localhost:8081]", []),
        ("listen: [http://0.0.0.0:8080]", ["listen[0]"]),
        ("listen: [http://127.0.0.1:8080, 'http://[::]:8080']", ["listen[1]"]),
        ("listen: [http://10.0.0.1:8080, http://weir.internal:8080]", ["listen[0]", "listen[1]"]),
        ("listen: [{url: 'https://0.0.0.0:8443', tls: {certificate: a, key: b}}]", []),
        ("listen: [http://0.0.0.0:8080]\npublic_url: https://weir.example", []),  # TLS ends before it
        ("listen: [http://0.0.0.0:8080]\npublic_url: http://weir.example", ["listen[0]"]),
        ("listen: [{url: 'http://0.0.0.0:3128', mode: explicit}]\npublic_url: https://weir.example", ["listen[0]"]),
        ("listen: [{url: 'http://0.0.0.0:8082', mode: transparent}]", []),  # callers of a service, not of the gateway
        ("listen: [http://127.0.0.1:8080]\nadmin: {listen: http://0.0.0.0:8081}", ["admin.listen"]),
        ("listen: [http://127.0.0.1:8080]\nadmin: {listen: {url: 'http://0.0.0.0:8081'}}", ["admin.listen"]),
        ("listen: [http://127.0.0.1:8080]\nadmin: {listen: http://0.0.0.0:8081, url: https://desk.example}", []),
    ],
)  # fmt: skip
def test_tokens_that_would_travel_unencrypted(settings: str, warned: list[str]) -> None:
    document = GatewaySettings.model_validate({"version": 1, **YAML(typ="safe").load(settings)})
    places: list[str] = []

    def line_of(*location: str | int) -> int:
        places.append(path_text(location))
        return 1

    assert all("tokens travel unencrypted" in oddity for oddity in review_listeners(document, line_of))
    assert places == warned


def test_a_plain_listener_is_a_warning_of_check(tmp_path: Path) -> None:
    policies = tmp_path / "policies"
    policies.mkdir()
    (policies / "keys.json").write_text(json.dumps(JWKS))
    (policies / "gateway.yaml").write_text(
        "version: 1\nlisten: [http://0.0.0.0:8080]\n"
        "issuers: [{name: acme, issuer: https://idp.example, audience: weir, jwks: keys.json}]\n"
    )
    (policies / "c.yaml").write_text(CONNECTION.format(profile="cohere"))
    said = weir(tmp_path, "check")
    assert "policies/gateway.yaml:2:1: warning: http://0.0.0.0:8080: tokens travel unencrypted to this listener" in said
    assert weir(tmp_path, "check", "--strict", code=1)


def test_headers_of_a_profile_of_ones_own(folder: Path) -> None:
    profiles = folder / "policies/profiles"
    profiles.mkdir()
    (folder / "policies/c.yaml").write_text(CONNECTION.format(profile="shop"))
    own = "profile: shop\ntitle: Shop\nextends: openai\nheaders: [Shop-Version, {}]\n"
    (profiles / "shop.yaml").write_text(own.format("Cookie"))
    assert "shop.yaml:4:25: headers[1]: 'Cookie' cannot be forwarded: it can carry the caller's credentials" in weir(
        folder, "check", code=2
    )
    (profiles / "shop.yaml").write_text(own.format("X-Shop-User"))
    assert "c.yaml:3:1: warning: profile: services may take the caller's identity or rights from 'x-shop-user'" in weir(
        folder, "check"
    )
    (profiles / "shop.yaml").write_text(own.format("x-shop"))
    forwarding = load(folder / "policies", {}).connections[0].forwarding
    assert {b"shop-version", b"x-shop", b"openai-organization"} <= forwarding.passes
