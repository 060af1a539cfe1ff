"""`weir init`: the files that it writes are valid for every profile, and it never changes a file."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from tests.cli import inside

from weir.profiles.profile import names


def init(folder: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Run `weir init` for Cohere in *folder*; later options replace those before them."""
    done = inside.run(folder, "init", "--upstream", "https://api.cohere.com", "--profile", "cohere", *arguments)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def connection(folder: Path, name: str = "cohere") -> Any:
    """The settings in the connection's file."""
    return YAML(typ="safe", pure=True).load((folder / "policies" / f"{name}.yaml").read_text())


@pytest.mark.parametrize("profile", names())
def test_the_files_pass_check_for_every_profile(tmp_path: Path, profile: str) -> None:
    init(tmp_path, "--profile", profile)
    value = connection(tmp_path, profile)["credential"]["value"]
    variable = value.partition("${env:")[2].removesuffix("}")
    done = inside.run(tmp_path, "check", "--strict", environment={variable: "key"})
    assert (done.returncode, done.stdout) == (0, ""), done.stdout
    text = (tmp_path / "policies" / f"{profile}.yaml").read_text() + (tmp_path / "policies/gateway.yaml").read_text()
    settings = [line for line in text.splitlines() if line and not line.startswith(("#", " "))]
    before = [text.splitlines()[text.splitlines().index(line) - 1] for line in settings]
    assert all(line.startswith("#") for line in before), "each setting has a comment above it"


def test_the_example_of_the_readme(tmp_path: Path) -> None:
    done = init(tmp_path)
    assert done.stdout == "policies/gateway.yaml\npolicies/cohere.yaml\n"
    assert "export COHERE_API_KEY=" in done.stderr and "weir run\n" in done.stderr
    assert connection(tmp_path) == {
        "version": 1,
        "connection": "cohere",
        "profile": "cohere",
        "upstream": "https://api.cohere.com",
        "match": {"path": "/cohere"},
        "credential": {"header": "Authorization", "value": "Bearer ${env:COHERE_API_KEY}"},
        "access": {"groups": ["users"]},
    }
    assert "warning: the environment variable COHERE_API_KEY is not set here" in inside.run(tmp_path, "check").stdout


def test_the_examples_in_the_comments_are_valid(tmp_path: Path) -> None:
    init(tmp_path)
    file = tmp_path / "policies/cohere.yaml"
    text = file.read_text()
    for setting in ("addresses", "limits", "rules", "masks"):
        assert f"\n# {setting}: " in text
        text = text.replace(f"\n# {setting}: ", f"\n{setting}: ")
    file.write_text(text)
    done = inside.run(tmp_path, "check", "--strict", environment={"COHERE_API_KEY": "key"})
    assert (done.returncode, done.stdout) == (0, "")


def test_options(tmp_path: Path) -> None:
    folder = tmp_path / "etc" / "weir"
    done = init(tmp_path, "--name", "rerank", "--path", "/v/rerank", "--credential-env", "KEY", str(folder))
    assert f"weir run --policies {folder}" in done.stderr and "http://127.0.0.1:8080/v/rerank/" in done.stderr
    written = YAML(typ="safe", pure=True).load((folder / "rerank.yaml").read_text())
    assert (written["connection"], written["match"]) == ("rerank", {"path": "/v/rerank"})
    assert written["credential"]["value"] == "Bearer ${env:KEY}"
    init(tmp_path, "--no-credential")
    assert "credential" not in connection(tmp_path)


@pytest.mark.parametrize(
    ("upstream", "addresses"),
    [
        ("https://api.cohere.com", None),
        ("http://127.0.0.1:9400", None),
        ("http://[::1]:9400", None),
        ("http://localhost:9400", None),
        ("http://10.1.2.3:9400", None),
        ("http://rerank.localhost:9400", ["loopback"]),
        ("http://reranker:8080", ["private"]),
        ("http://host.docker.internal:8080", ["private"]),
        ("http://tei.models.svc.cluster.local", ["private"]),
        ("https://search.lan/base", ["private"]),
    ],
)
def test_addresses_for_hosts_that_are_not_public(tmp_path: Path, upstream: str, addresses: list[str] | None) -> None:
    done = init(tmp_path, "--upstream", upstream)
    written = connection(tmp_path)
    assert (written["upstream"], written.get("addresses")) == (upstream, addresses)
    assert "note:" not in done.stderr


def test_a_key_without_tls_is_noted(tmp_path: Path) -> None:
    assert "has no TLS, so the network can read the key" in init(tmp_path, "--upstream", "http://api.cohere.com").stderr


@pytest.mark.parametrize("existing", ["gateway.yaml", "cohere.yaml"])
def test_existing_files_are_not_changed(tmp_path: Path, existing: str) -> None:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / existing).write_text("mine")
    done = init(tmp_path, code=2)
    assert f"weir: policies/{existing} exists; nothing was written" in done.stderr and done.stdout == ""
    assert [(p.name, p.read_text()) for p in (tmp_path / "policies").iterdir()] == [(existing, "mine")]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--profile", "coher"], "--profile: there is no profile 'coher'. Did you mean 'cohere'?"),
        (["--upstream", "api.cohere.com"], "--upstream: 'api.cohere.com' must be http://host or https://host"),
        (
            ["--upstream", "https://user:secret@api.cohere.com"],
            "--upstream: the upstream's URL must not contain a credential",
        ),
        (["--name", "No Name"], "--name: 'No Name' is not a name"),
        (["--name", "gateway"], "--name: 'gateway' is not a name"),
        (["--path", "rerank"], "match.path: 'rerank' must start with '/'"),
        (["--path", "/a//b"], "match.path: '/a//b' is not a valid path"),
        (["--path", "/a b"], "match.path: '/a b' is not a valid path"),
        (["--credential-env", "${env:X}"], "--credential-env: '${env:X}' is not the name of an environment variable"),
        (["--credential-env", "X", "--no-credential"], "choose one of --credential-env and --no-credential"),
    ],
)
def test_mistakes_are_one_line_and_nothing_is_written(tmp_path: Path, arguments: list[str], expected: str) -> None:
    done = init(tmp_path, *arguments, code=2)
    assert expected in done.stderr and done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
