"""The exported script: whom it calls, and that it is safe to run."""

from pathlib import Path

import pytest
from mitmproxy.test import tflow, tutils

from weir.cli.curl import script
from weir.policyset.load import load_without_secrets

GATEWAY = """
version: 1
listen: [{listen}]
issuers: [local]
recordings: {folder}/recordings
{more}
"""
CONNECTION = """
version: 1
connection: c
profile: cohere
upstream: https://service.example/base
{match}
access: {{groups: [search]}}
"""
PLAIN, PROXY = "http://127.0.0.1:8080", "{url: http://127.0.0.1:3128, mode: explicit}"


@pytest.mark.parametrize(("listen", "match", "more", "called"), [
    (PLAIN, "match: {path: /r}", "", '"${WEIR_URL:-http://127.0.0.1:8080}"/r/v2/rerank'),
    (PLAIN, "match: {path: /r}", "public_url: https://weir.example", '"${WEIR_URL:-https://weir.example}"/r/v2/rerank'),
    (PLAIN, "match: {host: search.example}", "", '"${WEIR_URL:-http://search.example:8080}"/v2/rerank'),
    (f"{PLAIN}, 'http://[::1]:8081'", "match: {path: /r, port: 8081}", "", '"${WEIR_URL:-http://[::1]:8081}"/r/v2/rerank'),
    (PROXY, "", "", '-x "${WEIR_URL:-http://127.0.0.1:3128}" --proxy-header "Proxy-Authorization: Bearer $TOKEN" https://service.example/base/v2/rerank'),
])  # fmt: skip
def test_where_it_calls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listen: str, match: str, more: str, called: str
) -> None:
    monkeypatch.setenv("WEIR_HOME", str(tmp_path / "home"))  # without an authority that other tests made
    (tmp_path / "gateway.yaml").write_text(
        GATEWAY.format(listen=listen, folder=tmp_path, more=more)
        .replace("[corp]", "[local]")
        .replace("0.0.0.0", "127.0.0.1")
    )
    (tmp_path / "c.yaml").write_text(CONNECTION.format(match=match))
    policies, _ = load_without_secrets(tmp_path)
    request = tutils.treq(
        method=b"POST", scheme=b"https", host="service.example", port=443, path=b"/base/v2/rerank", content=b"{'a': 1}"
    )
    made = script(
        [({"time": "t", "user": "al\nice", "status": 200, "connection": "c"}, tflow.tflow(req=request))], policies
    )
    command = made.decode().splitlines()[-1]
    assert command.startswith("curl -X POST") and command.endswith(called), command
    assert ("Authorization: Bearer $TOKEN" in command) and b"al\\nice" in made


def test_a_connection_that_is_gone(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text(GATEWAY.format(listen=PLAIN, folder=tmp_path, more=""))
    (tmp_path / "c.yaml").write_text(CONNECTION.format(match="match: {path: /r}"))
    policies, _ = load_without_secrets(tmp_path)
    made = script([({"time": "t", "user": None, "status": 200, "connection": "gone"}, tflow.tflow())], policies)
    assert b"# not sent: no connection 'gone' in the policies" in made and b"curl" not in made
