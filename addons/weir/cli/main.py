"""The ``weir`` command. Exit codes: 0 done, 1 it did not work out, 2 the input or configuration is wrong."""

import sys
from typing import Annotated

import typer

import weir
from weir.base.home import HomeError
from weir.base.mistakes import ConfigError
from weir.cli import (
    access,
    admin,
    approvals,
    ca,
    check,
    diff,
    execute,
    explain,
    index,
    keys,
    login,
    masking,
    policy_tests,
    profiles,
    proofs,
    retention,
    revoke,
    run,
    schema,
    sessions,
    sql,
    stop,
    token,
    whoami,
)
from weir.cli.fail import fail
from weir.login.server import LoginError

app = typer.Typer(
    name="weir",
    help="An identity-aware gateway for reranking, search and LLM services, built on mitmproxy.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.command("run")(run.run)
app.command("admin")(admin.admin)
app.command("check")(check.check)
app.command("explain")(explain.explain)
app.command("test")(policy_tests.run_policy_tests)
app.command("diff")(diff.diff)
app.command("schema")(schema.schema)
app.command("stop")(stop.stop)
app.command("start")(stop.start)
app.command("status")(stop.status)
app.command("login")(login.login)
app.command("logout")(login.logout)
app.command("token")(token.token)
app.command("whoami")(whoami.whoami)
app.command("exec")(execute.execute)
app.command("sql")(sql.sql)
app.command("verify")(proofs.verify)
app.command("expire")(retention.expire)
app.command("erase")(retention.erase)
app.add_typer(sessions.app, name="sessions")
app.add_typer(index.app, name="index")
app.add_typer(proofs.app, name="evidence")
app.add_typer(retention.app, name="hold")
app.add_typer(approvals.app, name="approvals")
app.add_typer(access.app, name="access")
app.add_typer(masking.app, name="masking")
app.add_typer(profiles.app, name="profiles")
app.add_typer(keys.app, name="keys")
app.add_typer(ca.app, name="ca")
app.add_typer(revoke.app, name="revoke")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"weir {weir.__version__}")
        raise typer.Exit


@app.callback()
def _weir(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """An identity-aware gateway for reranking, search and LLM services, built on mitmproxy."""


def main() -> None:
    """Run the command; mistakes in the configuration are lines on standard error and exit code 2."""
    try:
        app()
    except (ConfigError, HomeError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except LoginError as error:
        fail(str(error), 1)


if __name__ == "__main__":
    main()
