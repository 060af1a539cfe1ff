"""A policies folder: every mistake is reported at once, with place and remedy. A half-valid folder is never used."""

from pathlib import Path

import pytest

from weir.base.mistakes import ConfigError
from weir.masking.masker import mask_document
from weir.policyset.load import folder_path, load
from weir.policyset.model import PolicySet
from weir.routing.model import Origin

GATEWAY = """\
version: 1
listen: [http://127.0.0.1:8080]
issuers: [local]
"""
CONNECTION = """\
version: 1
connection: reranker
profile: cohere
upstream: https://api.example/base
match: {path: /reranker}
credential: {header: Authorization, value: "Bearer ${env:KEY}"}
access: {groups: [search]}
"""


def folder(tmp_path: Path, connection: str = CONNECTION, gateway: str = GATEWAY, **others: str) -> Path:
    for name, text in {"gateway": gateway, "reranker": connection, **others}.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


def loaded(path: Path) -> PolicySet:
    return load(path, {"KEY": "sk-secret-key-1"})


def mistakes(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as error:
        loaded(path)
    return [f"{Path(m.file).name}:{m.line}:{m.column}: {m.message}" for m in error.value.mistakes]


def test_a_valid_folder(tmp_path: Path) -> None:
    policies = loaded(folder(tmp_path))
    (connection,) = policies.connections
    assert (connection.name, connection.upstream.origin, connection.upstream.base_path) == (
        "reranker",
        Origin("https", "api.example", 443),
        "/base",
    )
    assert connection.access == {"local/search"} and policies.trusts_local
    assert connection.credential is not None and "sk-secret" not in repr(policies)
    assert policies.table.route("x", 8080, "/reranker/v2/rerank") == (connection, "/v2/rerank")
    assert policies.by_origin(Origin("https", "api.example", 443)) == [connection]


def test_the_version_is_the_settings_not_the_text(tmp_path: Path) -> None:
    first = loaded(folder(tmp_path)).version
    assert loaded(folder(tmp_path, "# a comment\n" + CONNECTION)).version == first
    assert loaded(folder(tmp_path, CONNECTION.replace("[search]", "[other]"))).version != first


def test_without_access_nobody_passes(tmp_path: Path) -> None:
    (connection,) = loaded(folder(tmp_path, CONNECTION.replace("access: {groups: [search]}\n", ""))).connections
    assert connection.access == frozenset()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("profile: cohere", "profil: cohere"), ["reranker.yaml:1:1: 'profile' is missing", "reranker.yaml:3:1: profil: there is no such setting. Did you mean 'profile'?"]),
        (("profile: cohere", "profile: coherent"), ["reranker.yaml:3:1: profile: there is no profile 'coherent'. Did you mean 'cohere'?"]),
        (("version: 1", "version: 2"), ["reranker.yaml:1:1: version: 2 is not one of 1"]),
        (("connection: reranker", "connection: Re Ranker"), ["reranker.yaml:2:1: connection: a name is lower-case letters, digits, '-' and '_', at most 64"]),
        (("https://api.example/base", "api.example"), ["reranker.yaml:4:1: upstream: 'api.example' must be http://host or https://host"]),
        (("https://api.example/base", "https://u:p@api.example"), ["reranker.yaml:4:1: upstream: the upstream's URL must not contain a credential; use `credential`"]),
        (("{path: /reranker}", "{}"), ["reranker.yaml:5:1: match: set `path`, `host` or `port`; otherwise no request reaches this connection"]),
        (("{path: /reranker}", "{path: /a/../b}"), ["reranker.yaml:5:9: match.path: '/a/../b' is not a valid path: the path has empty or dot segments"]),
        (("${env:KEY}", "${env:NOKEY}"), ["reranker.yaml:6:37: credential.value: the environment variable NOKEY is not set; set it before the gateway starts"]),
        (("${env:KEY}", "${file:nokey}"), ["reranker.yaml:6:37: credential.value: nokey cannot be read (No such file or directory); check the path and its owner"]),
        (("${env:KEY}", "${vault:x}"), ["reranker.yaml:6:37: credential.value: 'vault' is not a source; use ${env:NAME} or ${file:path}"]),
        (("${env:KEY}", "sk-plain"), ["reranker.yaml:6:37: credential.value: a policy file must not contain a credential; refer to it with ${env:NAME} or ${file:path}"]),
        (("header: Authorization, ", ""), ["reranker.yaml:6:1: credential: set either `header` or `query`, not both"]),
        (("[search]", "search"), ["reranker.yaml:7:10: access.groups: must be a list; write [one, two]"]),
        (("access:", "acess:"), ["reranker.yaml:7:1: acess: there is no such setting. Did you mean 'access'?"]),
        (("version: 1", "version: 1\nversion: 1"), ["reranker.yaml:2:1: found duplicate key \"version\" with value \"1\" (original value: \"1\")"]),
        (("[search]", "[search"), ["reranker.yaml:8:1: expected ',' or ']', but got '<stream end>'"]),
    ],
)  # fmt: skip
def test_one_mistake(tmp_path: Path, change: tuple[str, str], expected: list[str]) -> None:
    found = mistakes(folder(tmp_path, CONNECTION.replace(*change)))
    if "expected ',' or" in expected[0]:
        assert len(found) == 1 and "reranker.yaml:" in found[0] and "expected ','" in found[0]
    else:
        assert found == expected


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ("limits: [{rate: 60/min}]", "reranker.yaml:8:11: limits[0].rate: '60/min' is not a rate; write e.g. 60/minute (second, minute, hour or day)"),
        ("limits: [{rate: 60/minute, per: person}]", "reranker.yaml:8:28: limits[0].per: 'person' is not a key that a limit can count by; use one of user, group, connection, issuer, client_ip, method, path, hour, weekday, bytes, operation, index, model, documents, top_n, breadth, max_tokens, completions, max_output_tokens, return_documents, stream"),
        ("rules: [{name: a, when: {documents: {gt: 1}}, effect: denied}]", "reranker.yaml:8:47: rules[0].effect: 'denied' is not one of 'deny' or 'require_approval'. Did you mean 'deny'?"),
        ("rules: [{name: a, when: {documents: {gt: x}}, effect: deny}]", "reranker.yaml:8:38: rules[0].when.documents.gt: 'x' is not a number"),
        ("rules: [{name: a, when: {docs: 1}, effect: deny}]", "reranker.yaml:8:26: rules[0].when.docs: there is no fact 'docs'. Did you mean 'documents'?"),
        ("rules: [{name: a, when: {user: x}, effect: deny}, {name: a, when: {user: x}, effect: deny}]", "reranker.yaml:8:52: rules[1].name: 'a' is already the name of a rule above"),
        ("rules: [{name: a, when: {user: x}, effect: deny, mesage: x}]", "reranker.yaml:8:50: rules[0].mesage: there is no such setting. Did you mean 'message'?"),
        ("masks: [{fields: ['$.a', '$.b[?@.c = 1]'], with: hash}]", "reranker.yaml:8:26: masks[0].fields[1]: '$.b[?@.c = 1]' is not a JSONPath of RFC 9535 (unexpected '=', did you mean '=='?); write a name with characters other than letters, digits and _ as ['name']"),
        ("masks: [{fields: ['$.a'], with: rot13}]", "reranker.yaml:8:27: masks[0].with: 'rot13' is not one of 'redact', 'hash', 'partial' or 'drop'"),
        ("masks: [{fields: [], with: hash}]", "reranker.yaml:8:9: masks[0]: hides nothing: name fields, headers or query parameters, or what to detect"),
        ("forward: [X-Team, authorization]", "reranker.yaml:8:19: forward[1]: 'authorization' cannot be forwarded: it can carry the caller's token for the gateway; remove it from the list"),
        ("forward: X-*", "reranker.yaml:8:1: forward[0]: 'X-*' is a pattern; name each header exactly, because a pattern admits unknown ones"),
        ("unknown_operations: maybe", "reranker.yaml:8:1: unknown_operations: 'maybe' is not one of 'refuse' or 'allow'"),
    ],
)  # fmt: skip
def test_one_mistake_further_down(tmp_path: Path, more: str, expected: str) -> None:
    assert expected in mistakes(folder(tmp_path, CONNECTION + more + "\n"))


def test_all_mistakes_at_once_in_order(tmp_path: Path) -> None:
    bad = (
        CONNECTION.replace("cohere", "nope").replace("[search]", "[a/b/c]")
        + "rules: [{name: a, when: {user: {gt: 1}}, effect: deny}]\n"
    )
    broken = CONNECTION.replace("reranker", "other").replace("access", "acess")
    found = mistakes(folder(tmp_path, bad, GATEWAY.replace("127.0.0.1", "0.0.0.0"), other=broken))
    places = [line.partition(": ")[0] for line in found]
    assert places == [
        "gateway.yaml:3:11",
        "other.yaml:7:1",
        "reranker.yaml:3:1",
        "reranker.yaml:7:19",
        "reranker.yaml:8:33",
    ]


def issuer(settings: str) -> str:
    return GATEWAY.replace("[local]", f"[{{name: a, {settings}}}]")


def twice(one: str, other: str) -> str:
    """Return a file with two entries for one issuer, with these audiences."""
    entries = (
        f"{{name: {name}, issuer: https://i.example, audience: {of}}}" for name, of in (("a", one), ("b", other))
    )
    return GATEWAY.replace("[local]", f"[{', '.join(entries)}]")


@pytest.mark.parametrize(
    ("gateway", "expected"),
    [
        (GATEWAY.replace("127.0.0.1", "0.0.0.0"), "'local' admits everyone with this machine's key; it is refused unless every listener is on loopback"),
        (GATEWAY.replace("http://127.0.0.1:8080", "127.0.0.1:8080"), "listen[0]: '127.0.0.1:8080' is not a listener; write e.g. http://127.0.0.1:8080"),
        (GATEWAY.replace("[local]", "[{name: a, issuer: i, audience: w, jwks: nokeys.json}]"), "issuers[0].jwks: nokeys.json cannot be read (No such file or directory); check the path, or use a URL"),
        (GATEWAY.replace("[local]", "[{name: a, issuer: i, audience: w, jwks: http://idp.example/keys}]"), "issuers[0].jwks: a provider's URL must be https (http only on loopback), without user name and fragment"),
        (GATEWAY.replace("[local]", "[{name: local, issuer: i, audience: w, jwks: https://idp.example/keys}]"), "issuers[0].name: 'local' is the name of a built-in issuer; choose another name"),
        (GATEWAY.replace("[local]", "[local, local]"), "issuers[1]: 'local' has the name of an issuer above"),
        (GATEWAY.replace("[local]", "[keys, keys]"), "issuers: 'keys' is listed twice"),
        (GATEWAY.replace("[local]", "[lokal]"), "issuers[0]: 'lokal' is not one of 'local' or 'keys'. Did you mean 'local'?"),
        (issuer("issuer: https://i.example, aud: w"), "issuers[0].aud: there is no such setting. Did you mean 'audience'?"),
        (issuer("issuer: https://i.example, audience: w, leeway: 30"), "issuers[0].leeway: 30 has no unit; write e.g. 30s, 30m or 30h"),
        (issuer("issuer: https://i.example/.well-known/openid-configuration, audience: w"), "issuers[0].issuer: write the URL without /.well-known/"),
        (issuer("issuer: https://i.example, audience: w, groups: $.cognito:groups"), "write a name with characters other than letters, digits and _ as ['name']"),
        (GATEWAY + "public_url: weir.example\n", "public_url: 'weir.example' is not the gateway's URL; write e.g. https://weir.example"),
        (GATEWAY + "state: redis\n", "state: 'redis' is not a store; write sqlite, or redis://host:6379/0"),
        (issuer("audience: w"), "issuers[0]: 'issuer' is missing: write the exact `iss` of its tokens"),
        (issuer("issuer: urn:x, audience: w"), "issuers[0].issuer: a provider's URL must be https (http only on loopback), without user name and fragment; discovery needs such a URL; or set `jwks`"),
        (issuer("issuer: https://i.example, audience: w, algorithms: [RS256, HS256]"), "issuers[0].algorithms[1]: 'HS256' is not one of"),
        (issuer("issuer: https://i.example, audience: w, leeway: 1h"), "issuers[0].leeway: the leeway may be at most 300 s"),
        (issuer("issuer: https://i.example, audience: w, max_stale: soon"), "issuers[0].max_stale: 'soon' is not a duration; write e.g. 90s, 15m, 1h or 30d"),
        (issuer("issuer: https://i.example, audience: w, token: refresh"), "issuers[0].token: 'refresh' is not one of 'access', 'id' or 'jwt'"),
        (issuer("issuer: https://i.example, audience: w, groups: groups"), "issuers[0].groups: 'groups' is not a JSONPath: it must start with '$'"),
        (GATEWAY + "admin: {listen: https://127.0.0.1:8081}\n", "admin.listen: https needs a certificate: {url: https://…, tls: {certificate: file.pem, key: file.key}}"),
        (GATEWAY + "admin: {listen: {url: https://127.0.0.1:8081}}\n", "admin.listen.url: https needs a certificate"),
        (GATEWAY + "admin: {listen: {url: https://127.0.0.1:8081, tls: {certificate: no.pem, key: no.key}}}\n", "admin.listen.tls.certificate: no.pem cannot be read"),
        (GATEWAY + "admin: {listen: {url: http://127.0.0.1:8081, tls: {certificate: no.pem, key: no.key}}}\n", "admin.listen.url: a listener with `tls` must have an https:// URL"),
        (GATEWAY + "admin: {listen: {url: http://127.0.0.1:8081, mode: explicit}}\n", "admin.listen.mode: reviewers call `weir admin` itself"),
        (twice("w", "[v, w]"), "issuers[1]: 'b' has the issuer and the audience 'w' of 'a' above; give them different audiences"),
        (twice("{client_id: [c, w]}", "{client_id: c}"), "issuers[1]: 'b' has the issuer and the audience 'c' of 'a' above; give them different audiences"),
        (twice("w", "v, introspection: {client_id: c, client_secret: '${env:KEY}', audience: optional}"), "issuers[1]: 'b' has the issuer of 'a' above, so opaque tokens need an audience; set `introspection.audience: required`"),
        (issuer("issuer: https://i.example, audience: {client_id: c}, token: id"), "issuers[0].audience: ID tokens have an audience; name your client id as `audience`"),
        (issuer("issuer: https://i.example, audience: {client_id: []}"), "issuers[0].audience.client_id: must not be empty"),
        (issuer("issuer: https://i.example, audience: {client: c}"), "issuers[0].audience.client: there is no such setting. Did you mean 'client_id'?"),
        (issuer("issuer: https://i.example, audience: w, machines: {claims: {'$[': x}}"), "issuers[0].machines.claims"),
        (issuer("issuer: https://i.example, audience: []"), "issuers[0].audience: must not be empty"),
        (issuer("issuer: https://i.example, audience: w, add_groups: a/b"), "issuers[0].add_groups[0]: 'a/b': write the group's bare name; it becomes a/…"),
        (issuer("issuer: https://i.example, audience: w, tls: {ca: no.pem}"), "issuers[0].tls.ca: no.pem cannot be read (No such file or directory); check the path and its owner"),
        (issuer("issuer: https://i.example, audience: w, tls: {ca: gateway.yaml}"), "issuers[0].tls.ca: gateway.yaml has no certificate in PEM format"),
        (issuer("issuer: https://i.example, audience: w, introspection: {client_id: c, client_secret: plain}"), "issuers[0].introspection.client_secret: a policy file must not contain a credential"),
        (issuer("issuer: https://i.example, audience: w, introspection: {client_id: c, client_secret: '${env:KEY}', endpoint: http://i.example/i}"), "issuers[0].introspection.endpoint: a provider's URL must be https"),
        (issuer("preset: github-actions, audience: w"), "issuers[0].require: anyone on GitHub can get a token for your audience: require one of repository_id, repository_owner_id"),
        (issuer("preset: github-actions, audience: w, require: {ref: refs/heads/main}"), "issuers[0].require: anyone on GitHub can get a token for your audience"),
        (issuer("preset: github-actions, audience: w, require: {repository_owner_id: 9919}"), "issuers[0].require.repository_owner_id: GitHub's ids are strings in its tokens; put the number in quotes"),
    ],
)  # fmt: skip
def test_the_gateways_file(tmp_path: Path, gateway: str, expected: str) -> None:
    assert any(expected in line for line in mistakes(folder(tmp_path, gateway=gateway)))


def test_with_several_issuers_a_group_says_whose(tmp_path: Path) -> None:
    two = GATEWAY.replace(
        "[local]", "[local, {name: acme, issuer: https://a.example, audience: w, jwks: https://a.example/keys}]"
    )
    expected = (
        "reranker.yaml:7:19: access.groups[0]: the group 'search' is ambiguous; write one of local/search, acme/search"
    )
    assert expected in mistakes(folder(tmp_path, gateway=two))
    (connection,) = loaded(folder(tmp_path, CONNECTION.replace("[search]", "[acme/search]"), two)).connections
    assert connection.access == {"acme/search"}


@pytest.mark.parametrize(
    ("issuers", "group", "means"),
    [
        ("[local]", "search", "local/search"), ("[local]", "local/search", "local/search"), ("[local]", "/search/leads", "local//search/leads"),
        ("[local]", "local/search/leads", "local/search/leads"), ("[local]", "other/search", "no issuer is named 'other'; if the group is called so, write local/other/search"),
        ("[local]", "keys/search", "no issuer is named 'keys'"), ("[local, keys]", "search", "local/search"), ("[local, keys]", "keys/ci", "keys/ci"),
        ("[keys]", "search", "keys/search"), ("[]", "search", "no issuer is configured, so no group has members"),
    ],
)  # fmt: skip
def test_whose_group_it_is(tmp_path: Path, issuers: str, group: str, means: str) -> None:
    path = folder(tmp_path, CONNECTION.replace("[search]", f"[{group}]"), GATEWAY.replace("[local]", issuers))
    if "/" in means and " " not in means:
        assert loaded(path).connections[0].access == {means}
    else:
        assert means in mistakes(path)[0]


def test_one_mistake_is_one_line(tmp_path: Path) -> None:
    """An unusable issuer must not cause further mistakes, such as an unknown group or an unknown word."""
    for settings in (
        "issuer: http://i.example, audience: w",
        "issuer: https://i.example, audience: w, leeway: 30",
        "audience: w",
    ):
        assert len(mistakes(folder(tmp_path, gateway=issuer(settings)))) == 1


def test_a_misspelt_issuer_before_a_group(tmp_path: Path) -> None:
    two = GATEWAY.replace("[local]", "[local, {name: acme, issuer: https://a.example, audience: w}]")
    (mistake,) = mistakes(folder(tmp_path, CONNECTION.replace("[search]", "[amce/search]"), two))
    assert mistake.endswith("access.groups[0]: no issuer is named 'amce'. Did you mean 'acme'?")


def test_two_connections_cannot_have_one_name_or_one_match(tmp_path: Path) -> None:
    assert "is already the name of the connection in" in mistakes(folder(tmp_path, other=CONNECTION))[0]
    twin = CONNECTION.replace("connection: reranker", "connection: other")
    assert "match: is also the match of 'other'; change one of them" in mistakes(folder(tmp_path, other=twin))[0]


def test_missing_folders_and_files(tmp_path: Path) -> None:
    assert "); create it, or set another one with --policies, --set weir_policies=DIR" in mistakes(tmp_path / "none")[0]
    assert "gateway.yaml:1:1: there is no such file" in mistakes(tmp_path)[0]
    (tmp_path / "gateway.yaml").write_text(GATEWAY)
    assert "no connection is configured" in mistakes(tmp_path)[0]
    (tmp_path / "gateway.yaml").write_bytes(b"\xff")
    assert "is not UTF-8" in mistakes(tmp_path)[0]
    for text in ("", "[]", "just text"):
        (tmp_path / "gateway.yaml").write_text(text)
        assert mistakes(tmp_path)


def test_which_folder() -> None:
    assert folder_path("given", {"WEIR_POLICIES": "env"}) == Path("given")
    assert folder_path("", {"WEIR_POLICIES": "env"}) == Path("env")
    assert folder_path("", {}) == Path("policies")


def test_the_shipped_policies_are_valid_and_do_what_they_say(monkeypatch: pytest.MonkeyPatch) -> None:
    policies = load(Path(__file__).parents[2] / "policies", {"RERANKER_API_KEY": "sk-anything"})
    (connection,) = policies.connections
    assert [rule.name for rule in connection.rules.rules] == ["no-huge-reranks", "wide-reranks", "future-cap"]
    document = {"results": [{"document": {"user_id": "u"}}]}
    assert mask_document(connection.masks.caller(frozenset()), document) != document
