"""``weir run``: check the configuration, print a summary, and become mitmdump with the bundle."""

import functools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import weir
from weir.cli.admin import check_port
from weir.cli.bundle import BUNDLE
from weir.cli.fail import fail
from weir.policyset.load import folder_path, load
from weir.policyset.model import PolicySet
from weir.recorder.folder import FormatError

#: Seconds before the admin process is started again. The time doubles with each start, up to the second value. After a
#: process that ran for longer than the second value, it is the first value again.
_ADMIN_AGAIN = 1.0
_ADMIN_STEADY = 30.0


def run(
    policies: Annotated[str, typer.Option(help="The policies folder (default: WEIR_POLICIES, or policies).")] = "",
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes that share the listeners.")] = 1,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Log errors only.")] = False,
) -> None:
    """Start the gateway on the listeners of gateway.yaml.

    Checks the configuration, then becomes mitmdump with the bundle. One process uses one core: use one worker per core.
    If the policies name reviewers, [bold]weir admin[/] runs beside the gateway, and is started again if it ends. Stop
    the gateway with Ctrl-C or SIGTERM; it finishes the requests in progress.

    [bold]Examples[/]

      weir run

      weir run --policies /etc/weir --workers 4
    """
    folder = folder_path(policies)
    loaded = load(folder)
    _check_recordings(loaded)
    for listener in loaded.listeners:
        check_port(listener, "listen")
    if loaded.reviewed:
        check_port(loaded.admin.listener, "admin.listen")
    _banner(loaded, workers)
    command = [*_mitmdump(), "--no-server", "-s", str(BUNDLE)]
    command += ["--set", "weir_listen=true", "--set", f"weir_policies={folder.resolve()}"]
    if quiet:
        command.append("-q")
    if workers == 1 and not loaded.reviewed:
        os.execv(command[0], command)  # noqa: S606
    if workers > 1:
        command += ["--set", "weir_reuse_port=true"]
    admin = [sys.executable, "-m", "weir.cli.main", "admin", "--policies", str(folder.resolve())]
    sys.exit(_supervise([command] * workers, [*admin, *(["-q"] if quiet else [])] if loaded.reviewed else None))


def _mitmdump() -> list[str]:
    """Return the command that starts mitmdump: its script beside this Python, else its entry point."""
    beside = Path(sys.executable).with_name("mitmdump")
    if beside.is_file():
        return [str(beside)]
    return [sys.executable, "-P", "-c", "import sys; from mitmproxy.tools.main import mitmdump; sys.exit(mitmdump())"]


def _check_recordings(policies: PolicySet) -> None:
    root = policies.recordings
    try:
        policies.recorded.identify()
        policies.recorded.probe(root, 4096)
    except FormatError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{root}: cannot be written ({error.strerror}); make it writable, or change `recordings:` in gateway.yaml")


def _banner(policies: PolicySet, workers: int) -> None:
    console = Console(stderr=True, highlight=False)
    say = functools.partial(console.print, markup=False, soft_wrap=True)  # a path must not be broken
    listeners = ", ".join(f"{x}{f' ({x.mode})' if x.mode != 'reverse' else ''}" for x in policies.listeners)
    plural = "s" if workers > 1 else ""
    console.print(f"[bold]weir {weir.__version__}[/]  {workers} worker{plural} on {listeners}", soft_wrap=True)
    issuers = [*(f"{name} ({iss})" for name, iss in policies.namespaces.by_name), *(["keys"] * policies.trusts_keys)]
    say(f"  callers of {', '.join(issuers) or 'no issuer: every caller is refused'}")
    for connection in policies.connections:
        match, origin = connection.match, connection.upstream.origin
        where = " ".join(filter(None, (match.host, f":{match.port}" if match.port else "", match.path))) or "by proxy"
        who = ", ".join(sorted(connection.access)) or "no group"
        say(f"  {connection.name}  {where} -> {origin.scheme}://{origin.authority}  for {who}")
    if policies.reviewed:
        say(f"  reviewers at {policies.admin.url}")
    say(f"  recordings in {policies.recordings.resolve()}, policies {policies.version[:12]}")


def _supervise(workers: list[list[str]], admin: list[str] | None) -> int:
    """Run *workers* until one ends or a signal comes, then end all. Restart *admin* when it ends. Return the code."""
    processes = [subprocess.Popen(command) for command in workers]  # noqa: S603
    beside = subprocess.Popen(admin) if admin else None  # noqa: S603
    stopping = False

    def running() -> Iterator[subprocess.Popen[bytes]]:
        yield from (p for p in (*processes, *([beside] if beside else [])) if p.returncode is None)

    def stop(*_: object) -> None:
        nonlocal stopping
        stopping = True
        for process in running():
            process.send_signal(signal.SIGTERM)

    def hang_up(*_: object) -> None:  # workers read the policies again; the admin watches the files
        for process in processes:
            if process.poll() is None:
                process.send_signal(signal.SIGHUP)

    signal.signal(signal.SIGHUP, hang_up)
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    wait = _ADMIN_AGAIN
    while not any(process.poll() is not None for process in processes):
        began = time.monotonic()
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)
        if ended is not None and ended.si_pid not in {p.pid for p in (*processes, *([beside] if beside else []))}:
            os.waitpid(ended.si_pid, 0)  # an orphan: the first process of a container has to wait for it
            continue
        if beside is None or beside.poll() is None or stopping:
            continue
        wait = _ADMIN_AGAIN if time.monotonic() - began > _ADMIN_STEADY else min(wait * 2, _ADMIN_STEADY)
        print(f"weir: the admin process ended; it is started again in {wait:.0f} s", file=sys.stderr)
        again = time.monotonic() + wait
        while time.monotonic() < again and not any(process.poll() is not None for process in processes):
            time.sleep(0.1)
        if not stopping and not any(process.poll() is not None for process in processes):
            assert admin is not None
            beside = subprocess.Popen(admin)  # noqa: S603
    expected = stopping
    stop()
    codes = [process.wait() for process in processes]
    if beside is not None:
        beside.wait()
    if not expected:
        print("weir: a worker ended, so all were stopped; see its last lines above", file=sys.stderr)
    return 0 if expected else max(1, *(abs(code) for code in codes))
