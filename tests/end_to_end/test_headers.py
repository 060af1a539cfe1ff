"""Only headers that a list names reach a service; the record names the others."""

import json

import pytest

from tests.cli import inside
from tests.corpora import corpus
from tests.end_to_end.gateway import CREDENTIAL, Gateway, Upstream, token

REQUEST = {"model": "m", "query": "q", "documents": ["a"]}
ENVIRONMENT = {"TEST_UPSTREAM_KEY": CREDENTIAL}
CORPUS = corpus("headers")
DROPPED = {name.lower() for names in CORPUS["dropped"] for name in names}
NOTED = "SELECT dropped_headers FROM flows ORDER BY time DESC LIMIT 1"


@pytest.mark.policy("forward: [X-Team]\n")
def test_a_service_receives_only_named_headers(gateway: Gateway, upstream: Upstream) -> None:
    for names in CORPUS["dropped"]:
        answer = gateway.call(body=REQUEST, token=token(), headers={**dict.fromkeys(names, "root"), "x-team": "search"})
        assert answer.status == 200
        seen = upstream.seen[-1]
        assert not DROPPED & set(seen.headers) and seen.headers["x-team"] == "search" and b"root" not in seen.head
        ((noted,),) = gateway.sql(NOTED)
        assert noted == [name.lower() for name in names]
        flow = gateway.flows()[-1]
        assert flow.request.headers["x-team"] == "search" and not DROPPED & {n.lower() for n in flow.request.headers}


def test_a_request_without_other_headers_notes_none(gateway: Gateway, upstream: Upstream) -> None:
    assert gateway.call(body=REQUEST, token=token(), headers={"X-Request-Id": "1", "X-Session-Id": "s"}).status == 200
    assert gateway.sql(NOTED) == [([],)]


def test_the_record_names_a_bounded_number_of_headers_without_credentials(gateway: Gateway) -> None:
    mine = token()
    names = [f"X-{n}-{'a' * 200}" for n in range(40)]
    headers = dict.fromkeys([f"X-{CREDENTIAL.replace('/', '')}", mine, *names], "v")
    assert gateway.call(body=REQUEST, token=mine, headers=headers).status == 200
    ((noted,),) = gateway.sql(NOTED)
    assert len(noted) == 20 and max(map(len, noted)) <= 64 and not any(mine.lower()[:20] in name for name in noted)


def test_a_refused_request_keeps_no_identity_in_the_record(gateway: Gateway, upstream: Upstream) -> None:
    headers = {"X-Email": "root@example.com", "X-Consumer-Username": "root"}
    for bearer in (None, token("mallory", "others")):
        assert gateway.call(body=REQUEST, token=bearer, headers=headers).status in (401, 403)
        assert not DROPPED & {name.lower() for name in gateway.flows()[-1].request.headers}
    assert not upstream.seen


@pytest.mark.policy("forward: [X-Team, X-Email]\n")
def test_check_reports_recorded_headers_that_are_dropped(gateway: Gateway) -> None:
    headers = {"X-Email": "a@example.com", "X-Userinfo": "root", "X-Team": "search"}
    for _ in range(2):
        assert gateway.call(body=REQUEST, token=token(), headers=headers).status == 200
    said = inside.run(gateway.folder, "check", environment=ENVIRONMENT)
    (note,) = [line for line in said.stdout.splitlines() if "note: " in line]
    assert "x-userinfo (2)" in note and "x-team" not in note and "x-email" not in note
    assert "warning: forward: services may take the caller's identity or rights from 'X-Email'" in said.stdout

    file = gateway.folder / "policies" / "reranker.yaml"
    file.write_text(file.read_text().replace("forward: [X-Team, X-Email]", "forward: []"))
    checked = inside.run(gateway.folder, "check", "--json", environment=ENVIRONMENT)
    rows = json.loads(checked.stdout)
    (found,) = [row["message"] for row in rows if row["level"] == "note"]
    assert "x-userinfo (2)" in found and "x-team (2)" in found and "x-email (2)" in found
    assert gateway.sql("SELECT count(*) FROM events WHERE subject = 'check'")[0][0] == 2


def test_check_says_nothing_about_headers_without_recordings(gateway: Gateway) -> None:
    settings = gateway.folder / "policies" / "gateway.yaml"
    settings.write_text(settings.read_text().replace(str(gateway.recordings), str(gateway.folder / "nowhere")))
    assert "note: " not in inside.run(gateway.folder, "check", environment=ENVIRONMENT).stdout
