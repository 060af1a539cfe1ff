"""Fixtures: a home of the tests' own, upstreams, gateways, and the search for leaked secrets at the end."""

import base64
import os
import re
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end import gateway as gateways
from tests.end_to_end.gateway import CREDENTIAL, Gateway, Upstream, free_port, recorded_flows, start, write_policies

#: What takes longest, from the longest on: begun last, it would keep one core busy while the others have nothing left.
LONG = (
    "end_to_end/test_approvals_ending.py", "end_to_end/test_approvals.py", "end_to_end/test_start.py",
    "end_to_end/test_recordings.py", "recorder/test_index.py", "end_to_end/test_wheel.py",
    "end_to_end/test_bounds.py", "end_to_end/test_websocket.py", "end_to_end/test_identity.py", "end_to_end/test_policy.py", "end_to_end/test_login.py", "end_to_end/test_rerank.py", "end_to_end/test_stream_clients.py",
    "end_to_end/test_replay.py", "end_to_end/test_demo.py", "cli/test_policy_tools.py", "cli/test_cli.py",
    "end_to_end/test_fuzz.py", "end_to_end/test_closed.py", "end_to_end/test_attacks.py", "auth/test_provider.py",
)  # fmt: skip

#: What a token or a credential consists of, and what it looks like in base64.
SECRET = rb"[A-Za-z0-9_.~+/=-]"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first; `--no-loadscope-reorder` has them begun in this order."""
    begun = {Path(__file__).parent / file: n for n, file in enumerate(LONG)}
    items.sort(key=lambda item: begun.get(item.path, len(LONG)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print each reason for skips with the number of its tests; into the file WEIR_SKIPPED if that is set.

    `scripts/test` sets it, to print the reasons as its last output.
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
    """Keys of the tests' own, for this process and every one that it starts."""
    home = tmp_path_factory.mktemp("home")
    os.environ["WEIR_HOME"] = str(home)
    for name in ("WEIR_POLICIES", "WEIR_TOKEN"):
        os.environ.pop(name, None)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # each of the many processes would compile everything again
    yield home
    del os.environ["WEIR_HOME"]


@pytest.fixture(scope="session", autouse=True)
def no_secret_anywhere(weir_home: Path) -> Iterator[list[Gateway]]:
    """After all tests: no token and no credential in any log or recording, bodies decoded, base64 too."""
    started: list[Gateway] = []
    yield started
    secrets = [CREDENTIAL, *gateways.MINTED]
    assert len(secrets) > 1 or not started, "the tests used no token, so this check would prove nothing"
    needles = {s.encode() for s in secrets} | {base64.b64encode(s.encode()).rstrip(b"=")[:-1] for s in secrets}
    needles |= {s.rpartition(".")[2].encode() for s in secrets}  # a JWT's signature alone
    assert all(re.fullmatch(SECRET + rb"+", needle) for needle in needles), "a secret that could not be found"
    word = re.compile(SECRET + b"{%d,}" % min(map(len, needles)))  # a needle is always within one of these
    words: dict[bytes, Path] = {}  # each once: the same body a thousand times is searched once for thousands of secrets
    for gateway in started:
        haystacks = ["".join(gateway.log).encode()]
        haystacks += [p.read_bytes() for p in gateway.recordings.rglob("*") if p.is_file()]
        for flow in recorded_flows(gateway.recordings):
            haystacks += [m.content for m in (flow.request, flow.response) if m is not None and m.content]
        for haystack in haystacks:
            words |= dict.fromkeys(word.findall(haystack), gateway.folder)
    text = b"\n".join(words)
    for needle in needles:
        found = needle in text and next(folder for one, folder in words.items() if needle in one)
        assert not found, f"a secret of the tests is in a log or recording of {found}"


@pytest.fixture(scope="session")
def launch(no_secret_anywhere: list[Gateway]) -> Iterator[Callable[..., Gateway]]:
    """`gateway.start`, with everything that was started ended at the end."""

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
    server = Upstream()
    yield server
    server.stop()


@pytest.fixture
def gateway(tmp_path: Path, upstream: Upstream, launch: Callable[..., Gateway], request: Any) -> Iterator[Gateway]:
    """A gateway of the test's own; its connection's further settings are the test's ``@pytest.mark.policy``."""
    marker = request.node.get_closest_marker("policy")
    port = free_port()
    write_policies(tmp_path, port, upstream.port, marker.args[0] if marker else "")
    running = launch(tmp_path, port, "-n", "--set", "weir_listen=true")
    yield running
    running.stop()
