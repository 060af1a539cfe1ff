"""The wheel, installed without the checkout: `weir init`, `weir check`, `weir run` and mitmdump with `weir bundle`."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.end_to_end.gateway import (
    CREDENTIAL,
    MINTED,
    RANKING,
    ROOT,
    Gateway,
    Upstream,
    free_port,
    json_answer,
)

REQUEST = {"model": "m", "query": "q", "documents": ["a", "b"]}

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec(package) is None, reason=f"not installed: {package}; run: scripts/setup"
    )
    for package in ("pip", "setuptools")
]


@dataclass(frozen=True)
class Installed:
    """A venv with the wheel. It also sees the packages of this environment, but not the checkout."""

    wheel: Path
    binaries: Path

    def run(self, folder: Path, *command: str, code: int = 0, **environment: str) -> str:
        """Run *command* of the venv in *folder* and return its output. The exit code must be *code*."""
        line = [str(self.binaries / command[0]), *command[1:]]
        env = {**os.environ, **self.environment, **environment}
        done = subprocess.run(line, cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    @property
    def environment(self) -> dict[str, str]:
        """Variables with which nothing but the venv is found."""
        return {"PATH": f"{self.binaries}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": ""}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """Build the wheel from a copy of the sources and install it, without network."""
    folder = tmp_path_factory.mktemp("wheel")
    sources = folder / "sources"
    sources.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, sources)
    shutil.copytree(ROOT / "addons", sources / "addons", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    options = ["--no-deps", "--no-index", "--no-cache-dir"]
    build = [*pip, "wheel", *options, "--no-build-isolation", "--wheel-dir", str(folder), str(sources)]
    subprocess.run(build, check=True)
    (wheel,) = folder.glob("*.whl")
    venv.create(folder / "venv", symlinks=True)
    binaries = folder / "venv" / "bin"
    (inside,) = (folder / "venv" / "lib").glob("python*/site-packages")
    # As plain paths: their own .pth files, of which one names the checkout, are not read.
    others = [path for path in sys.path if Path(path).name == "site-packages"]
    (inside / "others.pth").write_text("".join(f"{path}\n" for path in others))
    mitmdump = Path(sysconfig.get_path("scripts")) / "mitmdump"  # as pip writes it, with the interpreter of the venv
    text = re.sub(r"^#!.*", f"#!{binaries / 'python'}", mitmdump.read_text(), count=1)
    (binaries / "mitmdump").write_text(text)
    (binaries / "mitmdump").chmod(0o755)
    subprocess.run([*pip, "--python", str(binaries / "python"), "install", *options, str(wheel)], check=True)
    return Installed(wheel, binaries)


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    """One upstream for all tests of this module."""
    server = Upstream()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def started(installed: Installed, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """Return a folder in which `weir init` wrote policies, and the port of their listener."""
    folder, port = tmp_path_factory.mktemp("started"), free_port()
    said = installed.run(
        folder, "weir", "init", "--upstream", f"http://127.0.0.1:{upstream.port}", "--profile", "cohere",
        "--name", "reranker", "--credential-env", "TEST_UPSTREAM_KEY",
    )  # fmt: skip
    assert said.startswith("policies/gateway.yaml\npolicies/reranker.yaml\nnext:\n")
    file = folder / "policies" / "gateway.yaml"
    file.write_text(file.read_text().replace("127.0.0.1:8080", f"127.0.0.1:{port}"))
    return folder, port


def test_the_wheel_has_every_file_of_the_package(installed: Installed) -> None:
    package = ROOT / "addons" / "weir"
    files = {path.relative_to(package.parent).as_posix() for path in package.rglob("*") if path.is_file()}
    expected = {file for file in files if "__pycache__" not in file}
    assert {"weir/bundle.py", "weir/py.typed", "weir/profiles/data/cohere.yaml"} <= expected
    assert {name for name in zipfile.ZipFile(installed.wheel).namelist() if ".dist-info/" not in name} == expected


def test_the_installed_package_is_the_one_that_runs(installed: Installed, tmp_path: Path) -> None:
    bundle = installed.run(tmp_path, "weir", "bundle").splitlines()
    assert len(bundle) == 1 and Path(bundle[0]).is_file()
    assert Path(bundle[0]).is_relative_to(installed.binaries.parent)
    assert installed.run(tmp_path, "weir", "profiles", "show", "cohere", "--yaml").startswith("profile: cohere\n")


def test_the_written_policies_pass_check(installed: Installed, started: tuple[Path, int]) -> None:
    folder, _ = started
    said = installed.run(folder, "weir", "check", "--strict", TEST_UPSTREAM_KEY=CREDENTIAL)
    assert "policies: 1 connection, 0 warnings" in said


@pytest.mark.parametrize(
    "command",
    [["weir", "run"], ["sh", "-c", 'exec mitmdump --no-server --set weir_listen=true -s "$(weir bundle)"']],
    ids=["weir run", "mitmdump"],
)
def test_a_request_passes(
    installed: Installed,
    started: tuple[Path, int],
    upstream: Upstream,
    launch: Callable[..., Gateway],
    command: list[str],
) -> None:
    folder, port = started
    token = installed.run(folder, "weir", "token", "--user", "alice", "--group", "users").strip()
    MINTED.append(token)
    line = [shutil.which(command[0], path=installed.environment["PATH"]) or command[0], *command[1:]]
    gateway = launch(folder, port, command=line, environment=installed.environment)
    try:
        upstream.seen.clear()
        answer = gateway.call(body=REQUEST, token=token)
        assert (answer.status, answer.json) == (200, RANKING)
        assert upstream.seen[0].headers["authorization"] == f"Bearer {CREDENTIAL}"
        assert gateway.call(body=REQUEST).status == 401
    finally:
        assert gateway.stop() == 0
    assert len([flow for flow in gateway.flows() if flow.response and flow.response.status_code == 200]) >= 1


@pytest.fixture(scope="module")
def extended(installed: Installed, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """Return a folder whose policies use the example extension, which is installed in the venv, and a port."""
    sources = tmp_path_factory.mktemp("extension") / "extension"
    shutil.copytree(ROOT / "examples" / "extension", sources)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    options = ["--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run(
        [*pip, "--python", str(installed.binaries / "python"), "install", *options, str(sources)], check=True
    )
    folder, port = tmp_path_factory.mktemp("extended"), free_port()
    policies = folder / "policies"
    (policies / "vault" / "search").mkdir(parents=True)
    (policies / "vault" / "search" / "key").write_text(f"{CREDENTIAL}\n")
    (policies / "gateway.yaml").write_text(
        f"version: 1\nlisten: [http://127.0.0.1:{port}]\nissuers: [local]\nextensions: [acme-weir]\n"
    )
    (policies / "reranker.yaml").write_text(
        "version: 1\nconnection: reranker\nprofile: cohere\nmatch: {path: /reranker}\n"
        f"upstream: http://127.0.0.1:{upstream.port}\naccess: {{groups: [users]}}\n"
        "credential: {header: Authorization, value: 'Bearer ${acme:search/key}'}\n"
        "masks:\n  - {detect: [acme_badge], with: redact}\n"
    )
    return folder, port


def test_check_lists_an_extension_and_its_origin(installed: Installed, extended: tuple[Path, int]) -> None:
    folder, _ = extended
    said = installed.run(folder, "weir", "check", "--strict").splitlines()
    assert "extension acme-weir 1.0: detector acme_badge (acme_weir.badges:detector)" in said
    assert "extension acme-weir 1.0: credential source acme (acme_weir.vault:secret)" in said
    rows = json.loads(installed.run(folder, "weir", "check", "--json").partition("\n]")[0] + "]")
    assert [row["level"] for row in rows] == ["info", "info"]
    (folder / "policies" / "vault" / "search" / "key").rename(folder / "key")
    try:
        said = installed.run(folder, "weir", "check")
        assert any("the source has no secret acme:search/key here" in line for line in said.splitlines())
    finally:
        (folder / "key").rename(folder / "policies" / "vault" / "search" / "key")


def test_an_extension_masks_and_gives_the_credential(
    installed: Installed, extended: tuple[Path, int], upstream: Upstream, launch: Callable[..., Gateway]
) -> None:
    folder, port = extended
    token = installed.run(folder, "weir", "token", "--user", "alice", "--group", "users").strip()
    MINTED.append(token)
    weir = str(installed.binaries / "weir")
    gateway = launch(folder, port, command=[weir, "run"], environment=installed.environment)
    ranked = {"results": [{"index": 0, "relevance_score": 0.5, "document": {"text": "badge AC-204817-2, AC-204817-3"}}]}
    upstream.answer = lambda seen: json_answer(ranked)
    try:
        upstream.seen.clear()
        answer = gateway.call(body=REQUEST, token=token)
        assert answer.json["results"][0]["document"]["text"] == "badge [ACME_BADGE], AC-204817-3"
        assert upstream.seen[0].headers["authorization"] == f"Bearer {CREDENTIAL}"
        inside = next((installed.binaries.parent / "lib").glob("python*/site-packages/acme_weir/badges.py"))
        working = inside.read_text()
    finally:
        upstream.answer = lambda seen: json_answer(RANKING)
        assert gateway.stop() == 0
    inside.write_text(
        working.replace("digits = [int", "raise OSError('the registry of badges is down')\n    digits = [int")
    )
    broken = launch(folder, port, command=[weir, "run"], environment=installed.environment)
    upstream.answer = lambda seen: json_answer(ranked)
    try:
        answer = broken.call(body=REQUEST, token=token)
        assert (answer.status, answer.problem) == (502, "upstream-unreadable") and b"AC-204817" not in answer.body
    finally:
        inside.write_text(working)
        upstream.answer = lambda seen: json_answer(RANKING)
        assert broken.stop() == 0


def test_mistakes_of_extensions_have_their_place(
    installed: Installed, extended: tuple[Path, int], tmp_path: Path
) -> None:
    folder, _ = extended
    shutil.copytree(folder / "policies", tmp_path / "policies")
    file = tmp_path / "policies" / "gateway.yaml"
    for name, why in (
        ("nothing-of-this-name", "the package 'nothing-of-this-name' is not installed beside Weir"),
        ("msgspec", "'msgspec' has no entry points in weir.detectors"),
    ):
        file.write_text(file.read_text().replace("[acme-weir]", f"[acme-weir, {name}]"))
        said = installed.run(tmp_path, "weir", "check", code=2)
        assert f"policies/gateway.yaml:4:25: extensions[1]: {why}" in said
        file.write_text(file.read_text().replace(f"[acme-weir, {name}]", "[acme-weir]"))
