"""The wheel, installed without the checkout: `weir init`, `weir check`, `weir run` and mitmdump with `weir bundle`."""

import importlib.util
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

from tests.end_to_end.gateway import CREDENTIAL, MINTED, RANKING, ROOT, Gateway, Upstream, free_port

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
