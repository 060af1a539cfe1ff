"""Identity end to end: good and faulty providers, opaque tokens, API keys, revocation, challenges."""

import base64
import contextlib
import hashlib
import http.client
import json
import secrets
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.auth.misbehaving import Behaviour, Provider
from tests.cli.test_cli import weir
from tests.end_to_end import gateway as gateways
from tests.end_to_end.gateway import (
    PATIENCE,
    RANKING,
    Gateway,
    Seen,
    Upstream,
    free_port,
    json_answer,
    token,
    write_policies,
)

BODY = {"model": "m", "query": "q", "documents": ["a", "b"]}


@pytest.fixture
def idp() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.stop()


Running = Callable[..., Gateway]


@pytest.fixture
def running(tmp_path: Path, upstream: Upstream, launch: Callable[..., Gateway]) -> Iterator[Running]:
    """Run a gateway with *issuers* as lines of YAML, and with further settings of the connection."""
    started: list[Gateway] = []

    def run(issuers: str, more: str = "", *, extra: str = "", workers: int = 1, access: str = "search") -> Gateway:
        port = free_port()
        text = gateways.GATEWAY.replace(
            "issuers: [local]", "issuers:\n" + issuers.replace("{", "{{").replace("}", "}}")
        )
        write_policies(tmp_path, port, upstream.port, more, gateway=text + extra)
        file = tmp_path / "policies" / "reranker.yaml"
        file.write_text(file.read_text().replace("[search]", f"[{access}]"))
        if workers == 1:
            gateway = launch(tmp_path, port, "-n", "--set", "weir_listen=true")
        else:
            gateway = launch(tmp_path, port, "run", "--workers", str(workers), program="weir")
            gateway.wait_for("ready as worker w1")
        started.append(gateway)
        return gateway

    yield run
    for gateway in started:
        gateway.stop()


def acme(idp: Provider, more: str = "") -> str:
    return f"  - {{name: acme, issuer: {idp.url}, audience: weir{more}}}\n"


def test_any_provider_by_its_issuer_and_an_audience(running: Running, idp: Provider, upstream: Upstream) -> None:
    """Discovery finds the keys. They rotate: a caller with a new key waits for one fetch and passes."""
    gateway = running(acme(idp))
    first = idp.token()
    assert gateway.call(body=BODY, token=first).status == 200
    idp.rotate("k2")
    fetched = idp.count("/jwks")
    assert gateway.call(body=BODY, token=idp.token("bob")).status == 200
    assert idp.count("/jwks") == fetched + 1
    assert gateway.call(body=BODY, token=token()).problem == "invalid-token"  # the local issuer is not trusted here
    assert gateway.call(body=BODY, token=idp.token("eve", groups=["other"])).problem == "access-denied"
    rows = gateway.sql('SELECT issuer, "user", groups, token_id FROM flows WHERE status = 200 ORDER BY time')
    assert [row[:3] for row in rows] == [("acme", "alice", ["acme/search"]), ("acme", "bob", ["acme/search"])]
    assert all(
        "authorization" not in seen.headers or "eyJ" not in seen.headers["authorization"] for seen in upstream.seen
    )


def test_a_provider_that_is_down_is_503_and_comes_back_by_itself(running: Running, idp: Provider) -> None:
    with idp.behaving("/jwks", Behaviour(503)):
        gateway = running(acme(idp))
        answer = gateway.call(body=BODY, token=idp.token())
        assert (answer.status, answer.problem) == (503, "identity-unavailable") and answer.headers["retry-after"] == "5"
        assert "keys of issuer 'acme' were not refreshed" in gateway.wait_for("no token of this issuer can be verified")
    deadline = time.monotonic() + PATIENCE
    while gateway.call(body=BODY, token=idp.token()).status != 200:
        assert time.monotonic() < deadline


def test_a_token_that_expires_while_its_request_waits_is_not_let_through(
    running: Running, idp: Provider, upstream: Upstream
) -> None:
    gateway = running(acme(idp, ", leeway: 0s"))
    assert gateway.call(body=BODY, token=idp.token()).status == 200
    idp.rotate("k2")
    with idp.behaving("/jwks", Behaviour(delay=3)):
        answer = gateway.call(body=BODY, token=idp.token(exp=int(time.time()) + 2))
    assert answer.problem == "invalid-token" and "expired while the request waited" in answer.json["detail"]
    assert len(upstream.seen) == 1


def test_stale_keys_serve_until_the_hard_limit(
    running: Running, idp: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = running(acme(idp, ", max_stale: 3s"))
    good = idp.token()
    assert gateway.call(body=BODY, token=good).status == 200
    with idp.behaving("/jwks", Behaviour(503)):
        assert gateway.call(body=BODY, token=good).status == 200
        deadline = time.monotonic() + PATIENCE
        while (answer := gateway.call(body=BODY, token=good)).status == 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert answer.problem == "identity-unavailable"


def test_several_issuers_speak_for_nobody_but_their_own(running: Running, idp: Provider) -> None:
    """Two issuers with the same subject, group and key id: two principals, and neither can sign for the other."""
    other = Provider()
    issuers = acme(idp) + f"  - {{name: partner, issuer: {other.url}, audience: weir}}\n"
    gateway = running(issuers, "limits: [{rate: 1/day, per: user}]\n", access="acme/search, partner/search")
    assert gateway.call(body=BODY, token=idp.token(email="a@x.example")).status == 200
    assert gateway.call(body=BODY, token=idp.token(email="a@x.example")).status == 429
    assert gateway.call(body=BODY, token=other.token(email="a@x.example")).status == 200
    for forged in (idp.token(iss=other.url), other.token(iss=idp.url)):
        assert gateway.call(body=BODY, token=forged).problem == "invalid-token"
    rows = gateway.sql('SELECT issuer, "user", groups FROM flows WHERE status = 200 ORDER BY time')
    assert rows == [("acme", "alice", ["acme/search"]), ("partner", "alice", ["partner/search"])]
    other.stop()


def test_opaque_tokens(running: Running, idp: Provider) -> None:
    secret = ", introspection: {client_id: 'we:ir', client_secret: '${env:TEST_UPSTREAM_KEY}'}"
    gateway = running(acme(idp, secret))
    good = idp.opaque("opaque-token-of-alice-7f3a", jti="t1")
    assert [gateway.call(body=BODY, token=good).status for _ in range(5)] == [200] * 5
    (asked,) = [a for a in idp.asked if a.path == "/introspect"]  # once, then remembered
    scheme, _, credentials = asked.headers["authorization"].partition(" ")
    user, _, password = base64.b64decode(credentials).decode().partition(":")
    assert (scheme, user, password) == ("Basic", "we%3Air", "sk-upstream-c2VjcmV0%2F4f9e81d0")
    refused = {
        "unknown-to-the-provider-1": None,
        "inactive-token-000000001": {"active": False}, "active-as-text-0000000001": {"active": "true"},
        "another-audience-00000001": {"aud": "other"}, "without-an-audience-00001": {"aud": ...},
        "another-issuer-0000000001": {"iss": "https://evil.example"}, "expired-token-00000000001": {"exp": 1},
        "a-refresh-token-000000001": {"token_use": "refresh_token"}, "a-bound-token-00000000001": {"cnf": {"jkt": "x"}},
        "without-a-subject-0000001": {"sub": ..., "client_id": 7}, "a-dpop-token-000000000001": {"token_type": "DPoP"},
    }  # fmt: skip
    for text, claims in refused.items():
        if claims is not None:
            idp.opaque(text, **claims)
        assert gateway.call(body=BODY, token=text).problem == "invalid-token", text
    before = idp.count("/introspect")
    for hostile in ("a.b.c.d", "eyJhbGciOiJub25lIn0", "weir_0000000000_nothing-of-the-kind", "x" * 20_000):
        assert gateway.call(body=BODY, token=hostile).status == 401
    assert gateway.call(body=BODY, token="unknown-to-the-provider-1").status == 401
    assert idp.count("/introspect") == before  # the gateway sent no further introspection request
    assert gateway.sql("SELECT token_id FROM flows WHERE status = 200 LIMIT 1") == [("t1",)]


def test_a_flood_of_opaque_tokens_does_not_crowd_out_other_addresses(running: Running, idp: Provider) -> None:
    secret = ", introspection: {client_id: weir, client_secret: '${env:TEST_UPSTREAM_KEY}'}"
    gateway = running(acme(idp, secret))
    good = [idp.opaque(f"opaque-token-of-alice-{i:04}") for i in range(13)]
    over = threading.Event()

    def call(bearer: str, address: str) -> int:
        connection = http.client.HTTPConnection(
            "127.0.0.1", gateway.port, timeout=PATIENCE, source_address=(address, 0)
        )
        headers = {"Authorization": f"Bearer {bearer}", "Content-Type": "application/json"}
        with contextlib.closing(connection):
            connection.request("POST", "/reranker/v2/rerank", json.dumps(BODY), headers)
            return connection.getresponse().status

    def flood() -> None:
        while not over.is_set():
            with contextlib.suppress(OSError):
                call(secrets.token_urlsafe(24), "127.0.0.9")

    with idp.behaving("/introspect", Behaviour(delay=1.0)), ThreadPoolExecutor(64 + 13) as pool:
        for _ in range(64):
            pool.submit(flood)
        time.sleep(0.5)
        try:
            assert list(pool.map(lambda bearer: call(bearer, "127.0.0.2"), good)) == [200] * 13
        finally:
            over.set()


def test_a_provider_that_cannot_be_asked_denies_opaque_tokens(running: Running, idp: Provider) -> None:
    secret = ", introspection: {client_id: weir, client_secret: '${env:TEST_UPSTREAM_KEY}'}"
    gateway = running(acme(idp, secret))
    good = idp.opaque("opaque-token-of-alice-7f3b")
    for behaviour in (Behaviour(500), Behaviour(body=b"<html>"), Behaviour(302, b"", {"Location": "/introspect"})):
        with idp.behaving("/introspect", behaviour):
            assert gateway.call(body=BODY, token=good).problem == "identity-unavailable"
    assert gateway.call(body=BODY, token=good).status == 200  # the timeout is not cached


def key(gateway: Gateway, name: str, *more: str) -> str:
    done = weir("keys", "create", "--name", name, "--group", "search", *more, folder=gateway.folder)
    assert done.returncode == 0, done.stderr
    gateways.MINTED.append(done.stdout.strip())
    return done.stdout.strip()


def eventually(condition: Callable[[], bool], seconds: float = 1.0) -> float:
    """Return the seconds until *condition* is true. Fail if it is not within *seconds*."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds
        time.sleep(0.01)
    return time.monotonic() - began


def test_api_keys(running: Running) -> None:
    gateway = running("  - local\n  - keys\n")
    ci = key(gateway, "ci", "--expires", "1h")
    eventually(lambda: gateway.call(body=BODY, token=ci).status == 200)
    assert gateway.call(body=BODY, token=token()).status == 200
    assert gateway.call(body=BODY, token=ci[:-1]).problem == "invalid-token"
    assert gateway.call(body=BODY, token=key(gateway, "short", "--expires", "1s")).status in (200, 401)
    again = weir("keys", "create", "--name", "ci", "--group", "search", folder=gateway.folder)
    assert again.returncode == 2 and "there is a key named 'ci' already" in again.stderr

    def listed() -> Any:
        return json.loads(weir("keys", "list", "--json", folder=gateway.folder).stdout)

    eventually(lambda: any(k["name"] == "ci" and k["last_used"] for k in listed()), 15)
    assert (listed()[0]["name"], listed()[0]["groups"]) == ("ci", ["local/search"])
    assert weir("keys", "revoke", "ci", folder=gateway.folder).returncode == 0
    eventually(lambda: gateway.call(body=BODY, token=ci).status == 401)
    assert [k["name"] for k in listed()] in ([], ["short"])
    rows = gateway.sql(
        'SELECT DISTINCT issuer, "user", groups, token_id FROM flows WHERE status = 200 AND issuer = \'keys\' ORDER BY "user"'
    )
    assert rows[0][:3] == ("keys", "ci", ["local/search"]) and rows[0][3] == ci.split("_")[1]


def test_api_keys_are_refused_where_they_are_not_switched_on(running: Running) -> None:
    gateway = running("  - local\n")
    made = key(gateway, "unused")
    time.sleep(0.6)
    assert gateway.call(body=BODY, token=made).problem == "invalid-token"


def test_a_remembered_token_is_refused_within_a_second_on_two_workers(running: Running, idp: Provider) -> None:
    gateway = running(acme(idp), workers=2)

    def statuses(text: str) -> set[int]:
        return {gateway.call(body=BODY, token=text).status for _ in range(12)}

    stolen, session, bob, other = idp.token(jti="t1"), idp.token(sid="s1"), idp.token("bob"), idp.token("carol")
    for good in (stolen, session, bob, other):
        assert statuses(good) == {200}
    for words, refused in (
        (("jti", "t1"), stolen),
        (("session", "s1"), session),
        (("subject", "bob", "--reason", "left"), bob),
    ):
        assert weir("revoke", *words, folder=gateway.folder).returncode == 0
        assert eventually(lambda refused=refused: statuses(refused) == {401}) < 1  # type: ignore[misc]
        assert gateway.call(body=BODY, token=refused).problem == "revoked"
    assert statuses(other) == {200} and statuses(idp.token()) == {200}
    later = int(time.time()) + 31  # a token that is issued later is not revoked
    assert gateway.call(body=BODY, token=idp.token("bob", iat=later - 5)).problem == "revoked"  # within the leeway
    listed = json.loads(weir("revoke", "list", "--json", folder=gateway.folder).stdout)
    (number,) = [r["number"] for r in listed if r["value"] == "bob" and r["iss"] == idp.url]
    assert weir("revoke", "lift", str(number), folder=gateway.folder).returncode == 0
    eventually(lambda: statuses(bob) == {200})
    workers = {row[0] for row in gateway.sql("SELECT DISTINCT worker FROM flows")}
    assert workers == {"w0", "w1"}


def test_a_request_that_waits_for_its_service_ends_with_its_token(running: Running, upstream: Upstream) -> None:
    """A revocation while the service is silent or answers slowly: the caller gets the refusal within a second."""
    gateway = running("  - local\n")
    release = threading.Event()

    def silent(seen: Seen) -> bytes:
        release.wait(PATIENCE)
        return json_answer(RANKING)

    def half(seen: Seen) -> bytes:
        return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"

    for user, answer in (("rita", silent), ("rob", half)):
        upstream.answer = answer
        before = len(upstream.seen)
        outcome: list[tuple[Any, float]] = []
        good = token(user)
        caller = threading.Thread(
            target=lambda g=good, o=outcome: o.append((gateway.call(body=BODY, token=g), time.monotonic()))
        )  # type: ignore[misc]
        caller.start()
        eventually(lambda before=before: len(upstream.seen) > before, 5)  # type: ignore[misc]
        revoked = time.monotonic()
        assert weir("revoke", "subject", user, "--issuer", "local", folder=gateway.folder).returncode == 0
        caller.join(PATIENCE)
        assert outcome[0][0].problem == "revoked" and outcome[0][1] - revoked < 5
    release.set()
    assert gateway.sql("SELECT \"user\", problem, status FROM flows WHERE problem = 'revoked' ORDER BY time") == [
        ("rita", "revoked", 401), ("rob", "revoked", 401)]  # fmt: skip
    upstream.answer = lambda seen: json_answer(RANKING)
    assert gateway.call(body=BODY, token=token("carol")).status == 200


def test_state_that_is_gone_lets_nobody_in(running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("WEIR_HOME", str(home))
    gateway = running("  - local\n")
    good = token()
    assert gateway.call(body=BODY, token=good).status == 200
    assert weir("revoke", "jti", "x", folder=gateway.folder).returncode == 0
    time.sleep(1)
    backup = home / "backup.db"
    with contextlib.closing(sqlite3.connect(home / "state.db")) as connection:
        connection.execute("VACUUM INTO ?", (str(backup),))
    backup.chmod(0o600)

    def remove() -> None:
        for name in ("state.db", "state.db-wal", "state.db-shm"):
            (home / name).unlink(missing_ok=True)

    remove()
    eventually(lambda: gateway.call(body=BODY, token=good).problem == "state-unavailable", 15)
    gateway.wait_for("the shared state cannot be read")
    assert not (home / "state.db").exists()  # a new file would have no revocations
    listed = weir("revoke", "list", folder=gateway.folder)
    assert (
        listed.returncode == 2
        and "it was removed; to start without" in listed.stderr
        and not (home / "state.db").exists()
    )
    (home / "state.db.made").unlink()  # to start with a new file, the operator restarts the gateway
    assert weir("revoke", "list", folder=gateway.folder).returncode == 0 and (home / "state.db").exists()
    time.sleep(1)
    assert gateway.call(body=BODY, token=good).problem == "state-unavailable"
    remove()
    backup.rename(home / "state.db")
    eventually(lambda: gateway.call(body=BODY, token=good).status == 200, 5)


def test_challenges_and_metadata(running: Running, idp: Provider) -> None:
    gateway = running(acme(idp, ", login: {client_id: weir-cli}"))
    base = f"http://127.0.0.1:{gateway.port}"
    missing = gateway.call(body=BODY)
    url = f"{base}/.well-known/oauth-protected-resource/reranker"
    assert (
        missing.status == 401
        and missing.headers["www-authenticate"] == f'Bearer realm="weir", resource_metadata="{url}"'
    )
    bad = gateway.call(body=BODY, token=idp.token(aud="other"))
    assert (
        'error="invalid_token", error_description="the token is for another audience"'
        in bad.headers["www-authenticate"]
    )
    document = gateway.call("/.well-known/oauth-protected-resource/reranker", method="GET")
    assert (document.status, document.headers["content-type"]) == (200, "application/json")
    assert document.json["resource"] == f"{base}/reranker" and document.json["authorization_servers"] == [idp.url]
    whole = gateway.call("/.well-known/oauth-protected-resource", method="GET").json
    assert whole["resource"] == base and whole["weir_login"][0]["client_id"] == "weir-cli"
    for path in (
        "/.well-known/oauth-protected-resource/nothing",
        "/.well-known/weir/other",
        "/.well-known/oauth-protected-resources",
    ):
        assert gateway.call(path, method="GET").status == 404
    assert gateway.call("/.well-known/oauth-protected-resource", method="POST", body={}).status == 404
    me = gateway.call("/.well-known/weir/whoami", method="GET", token=idp.token())
    assert (me.json["subject"], me.json["groups"]) == ("alice", ["acme/search"])
    assert me.json["connections"][0]["url"] == f"{base}/reranker" and me.json["connections"][0]["by_groups"] == [
        "acme/search"
    ]
    nobody = gateway.call("/.well-known/weir/whoami", method="GET", token=idp.token("eve", groups=[])).json
    assert nobody["connections"] == []
    assert gateway.call("/.well-known/weir/whoami", method="GET").status == 401
    assert gateway.sql("SELECT count(*) FROM flows WHERE path LIKE '/.well-known/%' AND status = 200") == [(4,)]


def test_login_options_of_a_desktop_client(running: Running, idp: Provider) -> None:
    gateway = running(acme(idp, ", login: {client_id: app, client_secret: GOCSPX-public, redirect_port: 8765}"))
    (option,) = gateway.call("/.well-known/oauth-protected-resource", method="GET").json["weir_login"]
    assert (option["client_id"], option["client_secret"], option["redirect_port"]) == ("app", "GOCSPX-public", 8765)


def test_the_public_url_is_what_clients_are_told(running: Running, idp: Provider) -> None:
    gateway = running(acme(idp), extra="public_url: https://weir.example/\n")
    assert 'resource_metadata="https://weir.example/.well-known/' in gateway.call(body=BODY).headers["www-authenticate"]


def test_tokens_in_other_places(running: Running, upstream: Upstream) -> None:
    gateway = running("  - local\n", "token_in: [x-api-key, token, basic]\n")
    good = token()
    basic = base64.b64encode(f"anyone:{good}".encode()).decode()
    gateways.MINTED.append(basic)
    for headers in (
        {"X-Api-Key": good}, {"Authorization": f"Token {good}"}, {"Authorization": f"Basic {basic}"},
        {"Authorization": f"bearer {good}"}, {"Authorization": f"Bearer {good}", "api-key": "not a place, and stripped"},
    ):  # fmt: skip
        assert gateway.call(body=BODY, headers=headers).status == 200, headers
        assert good not in upstream.seen[-1].raw.decode() and "not a place" not in upstream.seen[-1].raw.decode()
    for headers in (
        {"api-key": good}, {"Authorization": f"ApiKey {good}"}, {"Authorization": "Basic !!"}, {"Authorization": "Basic YTpi"[:10]},
        {"X-Api-Key": ""}, {"Authorization": ""}, {"Authorization": good},
    ):  # fmt: skip
        assert gateway.call(body=BODY, headers=headers).status == 401, headers
    for headers in (
        {"X-Api-Key": good, "Authorization": f"Bearer {good}"},
        {"X-Api-Key": good, "Authorization": "Basic x"},
    ):
        assert gateway.call(body=BODY, headers=headers).problem == "two-credentials"
    challenged = gateway.raw(
        f"POST /reranker/v2/rerank HTTP/1.1\r\nHost: 127.0.0.1:{gateway.port}\r\nContent-Length: 0\r\n\r\n".encode()
    )
    assert (
        b'WWW-Authenticate: Bearer realm="weir"' in challenged and b'WWW-Authenticate: Basic realm="weir"' in challenged
    )


def test_overage_is_no_group_and_says_so(running: Running, idp: Provider) -> None:
    gateway = running(acme(idp, ", add_groups: search"))
    assert gateway.call(body=BODY, token=idp.token(groups=[])).status == 200  # the group is added for every caller
    overage = idp.token(groups=..., _claim_names={"groups": "src1"})
    answer = gateway.call(body=BODY, token=overage)
    assert answer.problem == "access-denied" and "only a reference to them" in answer.json["detail"]


def test_github_and_kubernetes_presets(running: Running, idp: Provider) -> None:
    """Only a workflow of this owner on these branches, and only a pod in this namespace, have access."""
    other = Provider()
    idp.rotate("gh", algorithm="RS256")
    issuers = (
        f"  - {{name: github, preset: github-actions, issuer: {idp.url}, audience: weir, add_groups: ci, "
        'require: {repository_owner_id: "9919", ref: [refs/heads/main, refs/heads/release]}}\n'
        f"  - {{name: cluster, preset: kubernetes, issuer: {other.url}, audience: weir}}\n"
    )
    gateway = running(issuers, access="github/ci, cluster/search")

    def workflow(**claims: Any) -> str:
        now = int(time.time())
        github = {
            "repository_owner_id": "9919", "repository_id": "740193", "ref": "refs/heads/main", "jti": "j", "nbf": now - 300,
            "groups": ..., "exp": now + 300, "repository": "octo/app", "job_workflow_ref": "octo/app/.github/workflows/ci.yml@refs/heads/main",
        }  # fmt: skip
        return idp.token("repo:octo/app:ref:refs/heads/main", **{**github, **claims})

    assert gateway.call(body=BODY, token=workflow()).status == 200
    for claims in (
        {"repository_owner_id": "991"}, {"repository_owner_id": 9919}, {"repository_owner_id": ["9919"]}, {"repository_owner_id": ...},
        {"ref": "refs/heads/main2"}, {"ref": "refs/pull/1/merge"}, {"ref": ...}, {"exp": int(time.time()) + 7200},
    ):  # fmt: skip
        assert gateway.call(body=BODY, token=workflow(**claims)).problem == "invalid-token", claims

    def pod(sub: str, namespace: str) -> str:
        inner = {
            "namespace": namespace,
            "serviceaccount": {"name": "indexer", "uid": "u"},
            "pod": {"name": "p", "uid": "v"},
        }
        return other.token(sub, groups=..., aud=["weir", "https://kubernetes.default.svc"], **{"kubernetes.io": inner})

    assert gateway.call(body=BODY, token=pod("system:serviceaccount:search:indexer", "search")).status == 200
    assert gateway.call(body=BODY, token=pod("system:serviceaccount:other:indexer", "other")).problem == "access-denied"
    for sub in ("system:node:search", "system:serviceaccount:search", "system:serviceaccount:search:a:b", "admin"):
        assert gateway.call(body=BODY, token=pod(sub, "search")).problem == "invalid-token", sub
    groups = gateway.sql("SELECT groups FROM flows WHERE status = 200 ORDER BY time")
    assert groups == [(["github/740193", "github/ci"],), (["cluster/search"],)]
    other.stop()


def test_bound_tokens_need_a_proof_for_each_request(running: Running, idp: Provider) -> None:
    import jwt
    from cryptography.hazmat.primitives.asymmetric import ec
    from jwt.algorithms import ECAlgorithm

    from weir.auth.dpop import _thumbprint

    gateway = running(acme(idp), workers=2)
    holder = ec.generate_private_key(ec.SECP256R1())
    public = ECAlgorithm.to_jwk(holder.public_key(), as_dict=True)
    url = f"http://127.0.0.1:{gateway.port}/reranker/v2/rerank"
    bound = idp.token(cnf={"jkt": _thumbprint(public)})
    number = iter(range(1000))

    def proof(text: str = bound, key: Any = holder, jwk: Any = public, **claims: Any) -> str:
        ath = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        standard = {"jti": f"p{next(number)}", "htm": "POST", "htu": url, "iat": int(time.time()), "ath": ath}
        return jwt.encode({**standard, **claims}, key, "ES256", {"typ": "dpop+jwt", "jwk": jwk})

    def call(text: str = bound, *proofs: str, scheme: str = "DPoP") -> str:
        answer = gateway.call(
            body=BODY, headers={"Authorization": f"{scheme} {text}", **({"DPoP": proofs[0]} if proofs else {})}
        )
        return answer.problem or str(answer.status)

    used = proof()
    assert call(bound, used) == "200"
    assert {call(bound, used) for _ in range(8)} == {"invalid-token"}  # on both workers
    assert [call(bound, proof()) for _ in range(4)] == ["200"] * 4
    assert call(bound, scheme="Bearer") == "invalid-token" and call(bound, proof(), scheme="Bearer") == "invalid-token"
    assert call(bound) == "invalid-token" and call(bound, proof(htm="GET")) == "invalid-token"
    elsewhere = proof(htu="http://other.example/reranker/v2/rerank")  # made for another service, which replays it here
    stolen = {"Authorization": f"DPoP {bound}", "DPoP": elsewhere, "Host": "other.example"}
    assert gateway.call(body=BODY, headers=stolen).problem == "invalid-token"
    slow = proof(iat=int(time.time()) - 58)  # used again with a body slower than the memory of its first use
    assert call(bound, slow) == "200"
    request = (
        f"POST /reranker/v2/rerank HTTP/1.1\r\nHost: 127.0.0.1:{gateway.port}\r\nAuthorization: DPoP {bound}\r\nDPoP: {slow}\r\n"
        "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{"
    ).encode()
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=PATIENCE) as connection:
        connection.sendall(request)
        time.sleep(3)
        connection.sendall(b"}")
        assert b"the DPoP proof is too old" in connection.recv(65536)
    thief = ec.generate_private_key(ec.SECP256R1())
    assert call(bound, proof(key=thief, jwk=ECAlgorithm.to_jwk(thief.public_key(), as_dict=True))) == "invalid-token"
    plain = idp.token()
    assert call(plain, proof(plain)) == "invalid-token" and call(plain, scheme="Bearer") == "200"
