"""Fixtures: a separate WEIR_HOME, upstreams, gateways, and the search for leaked secrets after all tests.

Each fixture imports its modules itself: many folders need no gateway, and mitmproxy and DuckDB import slowly (1 s).
"""

from __future__ import annotations

import gc
import os
import signal
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.end_to_end.gateway import Gateway, Upstream

#: The longest test files, longest first. If they began last, one core would still be busy while the others are idle.
LONG = (
    "end_to_end/test_approvals_ending.py", "end_to_end/test_approvals.py", "end_to_end/test_start.py",
    "end_to_end/test_recordings.py", "recorder/test_index.py", "recorder/test_forgery.py", "end_to_end/test_wheel.py",
    "end_to_end/test_bounds.py", "end_to_end/test_websocket.py", "end_to_end/test_identity.py", "end_to_end/test_policy.py", "end_to_end/test_login.py", "end_to_end/test_rerank.py", "end_to_end/test_stream_clients.py",
    "end_to_end/test_replay.py", "end_to_end/test_demo.py", "cli/test_policy_tools.py", "cli/test_cli.py",
    "end_to_end/test_fuzz.py", "end_to_end/test_closed.py", "end_to_end/test_attacks.py", "auth/test_provider.py",
)  # fmt: skip


#: Files with many independent tests, and the number of parts into which each is distributed.
PARTS = {
    "masking/test_stream_shapes.py": 12, "masking/test_disguises.py": 4, "masking/test_masks.py": 3, "end_to_end/test_start.py": 3,
    "end_to_end/test_identity.py": 4, "end_to_end/test_recordings.py": 4,
    "end_to_end/test_login.py": 2, "end_to_end/test_replay.py": 2, "recorder/test_index.py": 2, "recorder/test_forgery.py": 4, "end_to_end/test_masking.py": 3, "policy/test_texts.py": 2,
}  # fmt: skip


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Distribute tests by file like ``--dist loadfile``, but some files in parts, and some by their kind of state."""
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file, _, test = nodeid.partition("::")
            if parts := PARTS.get(file.removeprefix("tests/")):
                name, _, parameters = test.partition("[")
                return f"{file} {zlib.crc32((parameters or name).encode()) % parts}"
            return f"{file} redis" if "[redis" in test else file

    return Scheduling(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With ``-m smoke``, do not import files without smoke tests: they may need packages that are not installed."""
    if config.option.markexpr != "smoke" or not collection_path.name.startswith("test_"):
        return None
    return "pytest.mark.smoke" not in collection_path.read_text() or None


def pytest_configure() -> None:
    """Collect no garbage while tests are imported: the objects stay, and each collection would look at all of them."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Collect garbage again, but leave out what exists now."""
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put long files first. With `--no-loadscope-reorder`, they begin in this order."""
    begun = {Path(__file__).parent / file: n for n, file in enumerate(LONG)}
    items.sort(key=lambda item: begun.get(item.path, len(LONG)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print each reason for skips with its number of tests. If WEIR_SKIPPED is set, write them to this file instead.

    `scripts/test` sets WEIR_SKIPPED, to print the reasons as its last output.
    """
    reasons = Counter(str(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", ()))
    lines = [f"{count} skipped: {reason.removeprefix('Skipped: ')}" for reason, count in sorted(reasons.items())]
    if file := os.environ.get("WEIR_SKIPPED"):
        Path(file).write_text("".join(f"{line}\n" for line in lines))
        return
    for line in lines:
        terminalreporter.write_line(line)


@pytest.fixture(scope="session", autouse=True)
def weir_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Use a separate WEIR_HOME with its own keys, for this process and all processes that it starts."""
    home = tmp_path_factory.mktemp("home")
    os.environ["WEIR_HOME"] = str(home)
    for name in ("WEIR_POLICIES", "WEIR_TOKEN"):
        os.environ.pop(name, None)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # else each process would compile everything again
    yield home
    del os.environ["WEIR_HOME"]


@pytest.fixture(scope="session", autouse=True)
def no_secret_anywhere(weir_home: Path) -> Iterator[list[Gateway]]:
    """Check after all tests that no log or recording has a token or credential, plain or in base64. Bodies are decoded."""
    started: list[Gateway] = []
    yield started
    if not started:
        return
    from tests import leaks
    from tests.end_to_end.gateway import CREDENTIAL, MINTED, recorded_flows

    secrets = [CREDENTIAL, *MINTED]
    assert len(secrets) > 1, "the tests used no token, so this check would prove nothing"
    needles = leaks.forms(secrets)
    places: dict[bytes, Path] = {}  # each word once: the same body is recorded many times
    for gateway in started:
        haystacks = ["".join(gateway.log).encode()]
        haystacks += [p.read_bytes() for p in gateway.recordings.rglob("*") if p.is_file()]
        if any(b"content-encoding" in haystack.lower() for haystack in haystacks):  # else the files have bodies as sent
            for flow in recorded_flows(gateway.recordings):
                haystacks += [m.content for m in (flow.request, flow.response) if m is not None and m.content]
        for haystack in haystacks:
            places |= dict.fromkeys(leaks.words(haystack, needles), gateway.folder)
    assert leaks.find(needles, places) == [], "a secret of the tests is in a log or recording of these folders"


@pytest.fixture(scope="session")
def launch(no_secret_anywhere: list[Gateway]) -> Iterator[Callable[..., Gateway]]:
    """Start gateways like `gateway.start`. All of them are stopped after the tests."""
    from tests.end_to_end.gateway import start

    def launch_one(*arguments: Any, **options: Any) -> Gateway:
        gateway = start(*arguments, **options)
        no_secret_anywhere.append(gateway)
        return gateway

    yield launch_one
    for gateway in no_secret_anywhere:
        if gateway.process.poll() is None:
            gateway.stop(signal.SIGKILL)


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """A fresh upstream."""
    from tests.end_to_end.gateway import Upstream

    server = Upstream()
    yield server
    server.stop()


@pytest.fixture
def gateway(tmp_path: Path, upstream: Upstream, launch: Callable[..., Gateway], request: Any) -> Iterator[Gateway]:
    """A gateway for one test. The test's ``@pytest.mark.policy`` adds settings to its connection."""
    from tests.end_to_end.gateway import free_port, write_policies

    marker = request.node.get_closest_marker("policy")
    port = free_port()
    write_policies(tmp_path, port, upstream.port, marker.args[0] if marker else "")
    running = launch(tmp_path, port, "-n", "--set", "weir_listen=true")
    yield running
    running.stop()
