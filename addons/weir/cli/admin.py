"""``weir admin``: the process that serves reviewers."""

import asyncio
import logging
from typing import Annotated

import typer

from weir.base import ports
from weir.cli.fail import fail
from weir.policyset.load import folder_path, load
from weir.routing.listener import Listener


def admin(
    policies: Annotated[str, typer.Option(help="The policies folder (default: WEIR_POLICIES, or policies).")] = "",
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Log errors only.")] = False,
) -> None:
    """Serve the API behind [bold]weir approvals[/] and [bold]weir access[/], and send notifications.

    [bold]weir run[/] starts this process if the policies name reviewers. To run it separately, use the machine, user
    and WEIR_HOME of the gateway. While it is down, requests that need approval wait, and reviewers cannot decide.

    [bold]Examples[/]

      weir admin

      weir admin --policies /etc/weir
    """
    from weir.admin.process import Admin  # noqa: PLC0415  # a web server, for this command alone

    logging.basicConfig(format="[%(asctime)s] %(message)s", datefmt="%H:%M:%S", level=logging.WARNING)
    logging.getLogger("weir").setLevel(logging.ERROR if quiet else logging.INFO)
    folder = folder_path(policies)
    check_port(load(folder).admin.listener, "admin.listen")
    try:
        process = Admin(folder)
    except OSError as error:
        fail(str(error), 1)
    asyncio.run(process.run())


def check_port(listener: Listener, setting: str) -> None:
    """End the command if another process uses the port of *listener*. *setting* is the setting to change."""
    # Also a gateway that shares its ports is an obstacle.
    if why := ports.obstacle(listener.host, listener.port):
        fail(
            f"{listener}: cannot listen ({why}); stop the process that uses the port, or change `{setting}:` in "
            "gateway.yaml"
        )
