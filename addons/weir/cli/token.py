"""``weir token``: print the token of your login, or mint one of the local issuer for development."""

from typing import Annotated

import typer

from weir.base.duration import seconds
from weir.cli.fail import fail


def token(
    user: Annotated[str | None, typer.Option(help="Mint a token of the local issuer for this user (`sub`).")] = None,
    group: Annotated[list[str] | None, typer.Option(help="A group of the user; repeat it.")] = None,
    for_: Annotated[str, typer.Option("--for", help="How long a minted token is valid: 90s, 15m, 1h, 30d.")] = "1h",
    gateway: Annotated[str, typer.Option(help="The gateway of the login (default: WEIR_URL, or the latest).")] = "",
) -> None:
    """Print the token of your login. It is renewed if it expires within a minute.

    With [bold]--user[/], print a token of the local issuer instead. Only gateways on this machine accept it, if
    gateway.yaml has [bold]local[/] among its issuers. The signing key is created on first use, in WEIR_HOME.

    [bold]Examples[/]

      curl -H "Authorization: Bearer $(weir token)" https://weir.example/reranker/v2/rerank -d @request.json

      weir token --user alice --group search

      export WEIR_URL=http://127.0.0.1:8080 WEIR_TOKEN=$(weir token --user alice --group search --for 8h)
    """
    if user is None:
        if group:
            fail("--group needs --user; the groups of a login come from its identity provider")
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
