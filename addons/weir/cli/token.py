"""``weir token``: the token of your login, or, for development, one of the local issuer."""

from typing import Annotated

import typer

from weir.base.duration import seconds
from weir.cli.fail import fail


def token(
    user: Annotated[str | None, typer.Option(help="Mint one of the local issuer for this user (its `sub`).")] = None,
    group: Annotated[list[str] | None, typer.Option(help="A group the user is in; may be given several times.")] = None,
    for_: Annotated[str, typer.Option("--for", help="How long a minted one is valid: 90s, 15m, 1h, 30d.")] = "1h",
    gateway: Annotated[str, typer.Option(help="Whose login (default: WEIR_URL, or the latest).")] = "",
) -> None:
    """Print a token: that of your login, renewed where it has a minute or less to live.

    With [bold]--user[/] it is one of the local issuer instead, accepted only by gateways on this machine whose
    gateway.yaml names [bold]local[/] among its issuers. Its signing key is made on first use in WEIR_HOME.

    [bold]Examples[/]

      curl -H "Authorization: Bearer $(weir token)" https://weir.example/reranker/v2/rerank -d @request.json

      weir token --user alice --group search

      export WEIR_URL=http://127.0.0.1:8080 WEIR_TOKEN=$(weir token --user alice --group search --for 8h)
    """
    if user is None:
        if group:
            fail("--group belongs to --user; a login's groups are its identity provider's")
        from weir.login import session  # noqa: PLC0415  # each way imports only what it needs

        print(session.token(session.which(gateway)))
        return
    if not 0 < len(user) <= 256:
        fail("--user must be 1 to 256 characters")
    from weir.auth.local import mint  # noqa: PLC0415

    try:
        print(mint(user, group or [], seconds(for_)).reveal())
    except ValueError as error:
        fail(str(error))
