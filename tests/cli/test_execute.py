"""`weir exec`: the variables that a command gets, those that are removed, and the code that is printed."""

import sys
from pathlib import Path
from typing import Any

import pytest

from weir.base.mistakes import SettingError
from weir.cli import desk
from weir.cli.execute import WITHHELD, Prepared, language_of, prepare, variables
from weir.config.profile_settings import ProfileSettings
from weir.login import server, session
from weir.login.model import LoginError
from weir.profiles.profile import load_profile, names

URL = "https://weir"


def connection(name: str, profile: str = "cohere", url: str = "") -> dict[str, Any]:
    return {"name": name, "profile": profile, "url": url or f"{URL}/{name}"}


def prepared(*profiles: str, language: Any = "python", url: str = URL, **before: str) -> Prepared:
    return prepare(before, url, [connection(p, p, f"{url}/{p}") for p in profiles], "t", language)


def test_variables_of_several_connections(capsys: pytest.CaptureFixture[str]) -> None:
    several = [connection("a"), connection("b", "jina"), connection("c", "of-tomorrow"), connection("d", "openai")]
    assert variables(URL, several, "t") == {
        "CO_API_URL": f"{URL}/a",
        "CO_API_KEY": "t",
        "OPENAI_BASE_URL": f"{URL}/d/v1",
        "OPENAI_API_BASE": f"{URL}/d/v1",
        "OPENAI_API_KEY": "t",
    }
    with pytest.raises(SystemExit):
        variables(URL, [connection("a"), connection("b")], "t")
    assert "both a and b would set CO_API_URL; choose with --connection" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        variables(URL, [connection("a", "openai"), connection("b", "vllm")], "t")
    assert "both a and b would set OPENAI_BASE_URL" in capsys.readouterr().err


@pytest.mark.parametrize(
    "url",
    [
        "https://evil/x",
        "https://weir.evil/x",
        "https://weir/$(id)",
        "https://weir/a b",
        "https://weir@evil/",
        "https://weir/\x1b[2J",
    ],
)
def test_a_gateway_does_not_choose_what_a_command_runs_with(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    answer = {**connection("a", url=url), "environment": {"base_url": ["BASH_ENV"], "token": ["LD_PRELOAD"]}}
    with pytest.raises(SystemExit):
        variables(URL, [answer], "t")
    assert "\x1b" not in capsys.readouterr().err
    assert variables(URL, [{**answer, "url": f"{URL}/a"}], "t") == {"CO_API_URL": f"{URL}/a", "CO_API_KEY": "t"}


@pytest.mark.parametrize("profile", [*names(), "of-tomorrow"])
@pytest.mark.parametrize("language", ["python", "other"])
def test_a_token_stands_beside_its_address_or_the_code_is_printed(profile: str, language: Any) -> None:
    made = prepared(profile, language=language)
    own = {name: value for name, value in made.environment.items() if name not in ("WEIR_URL", "WEIR_TOKEN")}
    holders = {name for name, value in own.items() if value == "t"}
    addresses = {name for name, value in own.items() if value.startswith(f"{URL}/{profile}")}
    assert bool(holders) == bool(addresses) == (not made.code)
    assert all(value == WITHHELD for name, value in own.items() if name not in holders | addresses)
    if made.code:
        code = "\n".join(line.removeprefix("    ") for line in made.code[1:])
        compile(code, profile, "exec")
        assert f'"{URL}/{profile}' in code and 'os.environ["WEIR_TOKEN"]' in code


@pytest.mark.parametrize("name", names())
def test_every_snippet_of_a_profile_is_python_with_the_address_and_the_token(name: str) -> None:
    code = load_profile(name).code
    compile(code, name, "exec")
    assert not code or ('"{url}' in code and 'os.environ["WEIR_TOKEN"]' in code)


def test_no_variable_of_these_vendors_is_set() -> None:
    made = prepared("voyage", "jina", "pinecone", "nim", "elasticsearch", "opensearch", "qdrant")
    assert set(made.environment) == {"WEIR_URL", "WEIR_TOKEN"}
    assert made.code[:3] == [
        "no variables are set for voyage: its clients take no address from one. Write:",
        "    import os, voyageai",
        f'    client = voyageai.Client(api_key=os.environ["WEIR_TOKEN"], base_url="{URL}/voyage/v1")',
    ]


def test_what_leads_elsewhere_is_overridden_or_removed_and_named() -> None:
    made = prepared(
        "openai",
        OPENAI_BASE_URL="https://api.openai.com/v1",
        OPENAI_API_BASE="https://other.example/v1",
        OPENAI_API_KEY="sk-of-the-vendor",
        OPENAI_ADMIN_KEY="sk-admin-of-the-vendor",
        OPENAI_PROXY="http://proxy.example",
    )
    assert made.environment == {
        "OPENAI_BASE_URL": f"{URL}/openai/v1",
        "OPENAI_API_BASE": f"{URL}/openai/v1",
        "OPENAI_API_KEY": "t",
        "WEIR_URL": URL,
        "WEIR_TOKEN": "t",
    }
    assert [line.split()[:3] for line in made.warnings] == [
        ["OPENAI_ADMIN_KEY", "is", "removed:"],
        ["OPENAI_PROXY", "is", "removed:"],
    ]


def test_a_key_of_the_vendor_is_kept_with_a_warning() -> None:
    made = prepared("voyage", VOYAGE_API_KEY="pa-of-the-vendor")
    assert made.environment["VOYAGE_API_KEY"] == "pa-of-the-vendor"
    assert made.warnings == [
        "VOYAGE_API_KEY is set: a client of voyage that reads it calls the vendor, past the gateway"
    ]


def test_a_token_in_any_other_variable_is_removed_with_a_warning() -> None:
    """An enclosing `weir exec` for another connection set it, or a person."""
    proxy = "http://me:t@127.0.0.1:3128"  # the gateway's own explicit listener
    made = prepared("jina", JINA_API_KEY="t", OPENAI_API_KEY="t", ANY_NAME="t", HTTPS_PROXY=proxy)
    assert made.environment == {"WEIR_URL": URL, "WEIR_TOKEN": "t", "HTTPS_PROXY": proxy}
    assert [line.split()[0] for line in made.warnings] == ["ANY_NAME", "JINA_API_KEY", "OPENAI_API_KEY"]
    assert prepared("cohere", COHERE_API_KEY="t").environment["COHERE_API_KEY"] == WITHHELD


def test_a_pair_that_only_python_reads_is_for_python(tmp_path: Path) -> None:
    assert prepared("cohere").environment["CO_API_KEY"] == "t"
    made = prepared("cohere", language="other", CO_API_KEY="of-the-vendor")
    assert made.environment == {"WEIR_URL": URL, "WEIR_TOKEN": "t", "CO_API_KEY": "of-the-vendor"}
    assert made.code[0].startswith("CO_API_KEY is not set for cohere: only SDKs in python") and made.warnings
    assert prepared("openai", language="other").environment["OPENAI_API_KEY"] == "t"
    script, other, missing = tmp_path / "script", tmp_path / "other", tmp_path / "missing"
    script.write_text("#!/usr/bin/env python3\n")
    other.write_text("#!/bin/sh\nexec python3\n")
    for each in (script, other):
        each.chmod(0o755)
    found = {word: language_of([word]) for word in ("python", "/x/python3.13", "pypy3", "node", "sh", "pythonic")}
    assert found == {
        "python": "python", "/x/python3.13": "python", "pypy3": "python", "node": "other", "sh": "other",
        "pythonic": "other",
    }  # fmt: skip
    assert [language_of([str(each)]) for each in (script, other, missing)] == ["python", "other", "other"]
    assert language_of([sys.executable]) == "python"


def test_the_gateway_on_loopback_is_never_asked_by_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    local, proxy = "http://127.0.0.1:8080", {"HTTP_PROXY": "http://proxy.example:3128"}
    made = prepared("jina", url=local, **proxy, no_proxy="internal.example").environment
    assert made["no_proxy"] == made["NO_PROXY"] == "internal.example,127.0.0.1"
    assert prepared("jina", url="http://[::1]:8080", **proxy).environment["NO_PROXY"] == "::1,[::1]"
    assert not {"no_proxy", "NO_PROXY"} & {
        *prepared("jina", url=local).environment,
        *prepared("jina", **proxy).environment,
    }
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with server.client_of(local) as client:
        direct = client._transport  # httpx has no public way to ask which transport a URL gets
        assert client._transport_for_url(client.base_url.join(local)) is direct
    with server.client_of("https://weir.example") as client:
        assert client._transport_for_url(client.base_url.join("https://weir.example")) is not client._transport


def test_a_token_is_for_the_gateway_that_stands_beside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEIR_TOKEN", "t")
    monkeypatch.setenv("WEIR_URL", f"{URL}/")
    assert session.token(URL) == "t"
    with pytest.raises(LoginError, match=r"WEIR_TOKEN is for https://weir/ \(WEIR_URL\), not for https://other"):
        session.token("https://other")
    monkeypatch.delenv("WEIR_URL")
    assert session.token("https://other") == "t"


def test_a_policies_folder_does_not_choose_who_gets_the_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WEIR_TOKEN", "t")
    monkeypatch.setenv("WEIR_POLICIES", str(tmp_path))
    file, text = tmp_path / "gateway.yaml", "version: 1\nlisten: [http://127.0.0.1:8080]\nissuers: [keys]\n"
    file.write_text(text + "admin: {listen: http://127.0.0.1:8091}\n")
    assert desk.AdminApi("").url == "http://127.0.0.1:8091"
    file.write_text(text + "admin: {url: https://evil.example}\n")
    with pytest.raises(SystemExit):
        desk.AdminApi("")
    assert "the policies folder says https://evil.example; name it with --admin" in capsys.readouterr().err
    assert desk.AdminApi("https://evil.example").url == "https://evil.example"


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"token": ["X_API_KEY"]}, "`token` needs `base_url`: a client"),
        ({"token": "X_API_KEY", "base_url": []}, "`token` needs `base_url`: a client"),
        ({"path": "/v1"}, "`base_url` is missing"),
        ({"base_url": "X_URL", "token": "X_URL"}, "X_URL is named twice"),
        ({"base_url": "X_URL", "token": "bash env"}, "String should match pattern"),
        ({"base_url": "X_URL", "path": "@evil.example"}, "String should match pattern"),
        ({"base_url": "X_URL", "languages": ["cobol"]}, "Input should be 'python'"),
    ],
)
def test_a_profile_cannot_name_a_token_without_an_address(environment: dict[str, Any], says: str) -> None:
    with pytest.raises((ValueError, SettingError)) as refused:
        ProfileSettings.model_validate({"profile": "x", "title": "X", "extends": "jina", "environment": environment})
    assert says in str(refused.value)
