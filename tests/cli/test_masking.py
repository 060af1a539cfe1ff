"""The ``weir masking`` commands, with policies and recordings for each test."""

import json
import subprocess
from pathlib import Path

import pytest
from mitmproxy import io
from mitmproxy.test import tflow
from tests.cli import inside

from weir.recorder import catalog
from weir.recorder.folder import Recordings

GATEWAY = (
    "version: 1\nlisten: [http://127.0.0.1:8080]\nissuers: [local]\ndetectors: {ticket: {pattern: 'TCK-[0-9]{5}'}}\n"
)
CONNECTION = """
version: 1
connection: reranker
profile: cohere
upstream: http://127.0.0.1:9
match: {path: /r}
access: {groups: [a]}
masks:
  - {fields: ["$.results[*].document.user_id"], with: hash, hide_from: [record]}
  - {detect: [email, ticket], with: redact}
"""
BODY = {
    "results": [{"index": 0, "document": {"user_id": "u1", "text": "mail bob@example.com, TCK-12345"}}],
    "eve@example.com": 1,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "gateway.yaml").write_text(GATEWAY)
    (tmp_path / "policies" / "reranker.yaml").write_text(CONNECTION)
    (tmp_path / "body.json").write_text(json.dumps(BODY))
    return tmp_path


def weir(folder: Path, *arguments: str, code: int = 0, stdin: str = "") -> subprocess.CompletedProcess[str]:
    done = inside.run(folder, "masking", *arguments, stdin=stdin)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def test_try_says_which_mask_did_what(folder: Path) -> None:
    rows = json.loads(weir(folder, "try", "body.json", "--json").stdout)
    assert [(r["rule"], r["place"], r["recognised"]) for r in rows] == [
        ("masks[0]", '$["results"][0]["document"]["user_id"]', ""),
        ("masks[1]", '$["results"][0]["document"]["text"]', "email, ticket"),
        ("masks[1]", '$["eve@example.com"] (the name)', "email, ticket"),
    ]
    assert rows[1]["after"] == '"mail [EMAIL], [TICKET]"' and rows[0]["before"] == '"u1"'
    callers = json.loads(weir(folder, "try", "-", "--view", "caller", "--json", stdin=json.dumps(BODY)).stdout)
    assert {r["rule"] for r in callers} == {"masks[1]"}
    assert "such a body is not delivered (502)" in weir(folder, "try", "policies/gateway.yaml", code=1).stderr
    assert "Did you mean 'reranker'" in weir(folder, "try", "body.json", "--connection", "rerankr", code=2).stderr


def test_scan_reports_what_is_left_without_showing_it(folder: Path) -> None:
    flow = tflow.tflow(resp=True)
    flow.request.path = "/v2/rerank?to=eve%40example.com"
    flow.request.headers["content-type"] = flow.response.headers["content-type"] = "application/json"  # type: ignore[union-attr]
    flow.request.content = b'{"query": "[EMAIL] or 192.168.1.77"}'
    flow.response.content = b'{"results": [], "password": "Tr0ub4dor&3"}'  # type: ignore[union-attr]
    segments = folder / "recordings" / "segments" / "reranker" / "2026-01-01"
    segments.mkdir(parents=True)
    with (segments / "w0-x-1.mitm").open("wb") as file:
        io.FlowWriter(file).add(flow)
    catalog.create(Recordings(folder / "recordings"))
    done = weir(folder, "scan", "--requests", "--json")
    assert [(r["part"], r["kind"], r["left"]) for r in json.loads(done.stdout)] == [
        ("request target", "email", 1), ("request body", "ip", 1), ("response body", "password", 1)]  # fmt: skip
    assert not any(value in done.stdout + done.stderr for value in ("eve", "192.168", "Tr0ub"))
    assert "masked field coverage: 0.0000 (0 masked, 3 left)" in done.stderr
    weir(folder, "scan", "--least", "0.9", code=1)
    assert "holds no recordings" in weir(folder, "scan", "--recordings", "nowhere", code=2).stderr


def test_detectors_are_listed(folder: Path) -> None:
    rows = {row["kind"]: row for row in json.loads(weir(folder, "detectors", "--json").stdout)}
    assert (
        rows["email"]["from"] == "weir" and rows["ticket"]["from"] == "policies" and "secrets" in rows["jwt"]["also as"]
    )


def test_keys_are_rotated_with_overlap(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_HOME", str(folder / "home"))
    before = json.loads(weir(folder, "try", "body.json", "--json").stdout)[0]["after"]
    assert len(json.loads(weir(folder, "rotate", "--json").stdout)) == 2
    after = json.loads(weir(folder, "try", "body.json", "--json").stdout)[0]["after"]
    assert before != after
    (folder / "masked.json").write_text(json.dumps({"results": [{"document": {"user_id": json.loads(before)}}]}))
    assert json.loads(weir(folder, "try", "masked.json", "--json").stdout) == [], (
        "a token of the replaced key is still recognised"
    )
    assert len(json.loads(weir(folder, "rotate", "--json").stdout)) == 3
    assert "--keep" in weir(folder, "rotate", "--keep", "soon", code=2).stderr
    assert (folder / "home" / "masking.json").stat().st_mode & 0o077 == 0
