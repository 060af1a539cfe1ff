"""``weir token``: a token of the local issuer, for development on this machine."""

from typing import Annotated

import typer

from weir.auth.local import mint
from weir.cli.fail import fail
from weir.duration import seconds


def token(
    user: Annotated[str, typer.Option(help="Who the token is for (its `sub`).")],
    group: Annotated[list[str] | None, typer.Option(help="A group the user is in; may be given several times.")] = None,
    for_: Annotated[str, typer.Option("--for", help="How long it is valid: 90s, 15m, 1h, 30d.")] = "1h",
) -> None:
    """Print a token of the local issuer.

    It is accepted only by gateways on this machine whose gateway.yaml names [bold]local[/] among its issuers.
    The signing key is made on first use in WEIR_HOME.

    [bold]Examples[/]

      weir token --user alice --group search

      export CO_API_KEY=$(weir token --user alice --group search --for 8h)
    """
    try:
        lifetime = seconds(for_)
    except ValueError as error:
        fail(str(error))
    if not user or len(user) > 256:
        fail("--user must be 1 to 256 characters")
    try:
        print(mint(user, group or [], lifetime).reveal())
    except ValueError as error:
        fail(str(error))
