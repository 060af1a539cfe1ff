"""``weir run``: check the configuration, print a summary, and become mitmdump with the bundle."""

import functools
import os
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import weir
from weir.cli.admin import check_port
from weir.cli.bundle import BUNDLE
from weir.cli.fail import fail
from weir.cli.supervise import Supervisor
from weir.policyset.load import folder_path, load
from weir.policyset.model import PolicySet
from weir.recorder.folder import FormatError


def run(
    policies: Annotated[str, typer.Option(help="The policies folder (default: WEIR_POLICIES, or policies).")] = "",
    workers: Annotated[int, typer.Option(min=1, max=64, help="Processes that share the listeners.")] = 1,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Log errors only.")] = False,
) -> None:
    """Start the gateway on the listeners of gateway.yaml.

    Checks the configuration, then becomes mitmdump with the bundle. One process uses one core: use one worker per core.
    If the policies name reviewers, [bold]weir admin[/] runs beside the gateway. Of several processes, one that ends is
    started again while the others serve; five deaths of workers within a minute stop all. Stop the gateway with Ctrl-C
    or SIGTERM; it finishes the requests in progress.

    [bold]Examples[/]

      weir run

      weir run --policies /etc/weir --workers 4
    """
    folder = folder_path(policies)
    loaded = load(folder)
    for listener in loaded.listeners:
        check_port(listener, "listen")
    if loaded.reviewed:
        check_port(loaded.admin.listener, "admin.listen")
    _check_recordings(loaded)
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
    beside = [*admin, *(["-q"] if quiet else [])] if loaded.reviewed else None
    sys.exit(Supervisor([command] * workers, beside).run())


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
