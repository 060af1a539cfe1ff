"""The ``weir`` command. Exit codes: 0 done, 1 the command failed, 2 the input or the configuration is wrong.

A command's module is imported when the command runs: together they take more than a second of CPU.
"""

import importlib
import sys
from typing import Annotated, Any, NamedTuple

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

import weir
from weir.base.home import HomeError
from weir.base.mistakes import ConfigError
from weir.cli.fail import fail
from weir.login.model import LoginError


class Command(NamedTuple):
    """A command before it is imported: its name, where it is (``module:attribute`` in weir.cli), and its line in `weir --help`."""

    name: str
    place: str
    help: str


#: In the order of `weir --help`. A help is the first paragraph of the command's own; tests/cli/test_main.py compares.
COMMANDS = (
    Command(
        "init",
        "init:init",
        "Write a policies folder for one service: gateway.yaml and the file of the connection, with comments.",
    ),
    Command("run", "run:run", "Start the gateway on the listeners of gateway.yaml."),
    Command(
        "bundle",
        "bundle:bundle",
        "Print the path of the script that mitmdump loads, in the installed package.",
    ),
    Command(
        "admin",
        "admin:admin",
        "Serve reviewers: the API behind [bold]weir approvals[/] and [bold]weir access[/], and messages to people.",
    ),
    Command(
        "check",
        "check:check",
        "Check the policies folder: every mistake at once, with its place and what was probably meant; then warnings.",
    ),
    Command(
        "explain",
        "explain:explain",
        "Say which rules look at a request, which match, and why the others do not. Nothing is sent or counted.",
    ),
    Command(
        "test",
        "policy_tests:run_policy_tests",
        "Run the cases in tests/*.yaml of the policies folder: given a caller and a request, expect effect, rule, status.",
    ),
    Command(
        "diff",
        "diff:diff",
        "Say in words what a change of policy changes: settings by their names, and the outcomes of policy tests.",
    ),
    Command("schema", "schema:schema", "Print the JSON Schema of a kind of file in the policies folder."),
    Command(
        "stop",
        "stop:stop",
        "Let nothing of this pass, on every worker within a second; what is under way is ended, too.",
    ),
    Command("start", "stop:start", "Take a stop back. What was stopped by several is free once each is taken back."),
    Command(
        "status",
        "stop:status",
        "Show which workers run under which policies, what is stopped, and messages about approvals that were not sent.",
    ),
    Command("login", "login:login", "Log in at a gateway: it names its identity provider, and you agree there."),
    Command("logout", "login:logout", "Forget a login, and have its identity provider revoke the refresh token."),
    Command(
        "token",
        "token:token",
        "Print a token: that of your login, renewed where it has a minute or less to live.",
    ),
    Command(
        "whoami",
        "whoami:whoami",
        "Ask the gateway who you are: issuer, subject, groups, expiry, and the connections you may use, with the reason.",
    ),
    Command(
        "exec",
        "execute:execute",
        "Run a command with your token in WEIR_TOKEN, the gateway in WEIR_URL, and the variables that SDKs read.",
    ),
    Command(
        "sql",
        "sql:sql",
        "Ask the index; it is current while the gateway runs. Without a query, a prompt with completion and history.",
    ),
    Command(
        "verify",
        "proofs:verify",
        "Check that no recorded exchange was changed or removed. Needs only the folder and the public key.",
    ),
    Command(
        "expire",
        "retention:expire",
        "Remove what is older than `record: {keep: …}` says. The gateway does this by itself once a day.",
    ),
    Command(
        "erase",
        "retention:erase",
        "Erase what is on record of a person: as a caller, and wherever recorded bodies name them, as hash tokens too.",
    ),
    Command("sessions", "sessions:app", "Find recorded sessions, read them in order, take them elsewhere."),
    Command("index", "index:app", "The index over recordings: make it anew, or take it elsewhere."),
    Command("evidence", "proofs:app", "Keys, checkpoints and proofs: what shows that recordings are unaltered."),
    Command("hold", "retention:app", "Legal holds: what retention and erasure must leave."),
    Command(
        "approvals",
        "approvals:app",
        "See and decide what waits for reviewers. Uses your login, or WEIR_TOKEN.",
    ),
    Command(
        "access",
        "access:app",
        "Ask for access to a connection for a while; its reviewers decide with [bold]weir approvals[/].",
    ),
    Command("masking", "masking:app", "What masks do, and what they left."),
    Command(
        "profiles",
        "profiles:app",
        "List the profiles: what comes with Weir, and what stands in the policies folder under profiles/.",
    ),
    Command(
        "keys",
        "keys:app",
        "API keys: made, listed and revoked here; accepted where gateway.yaml lists [bold]keys[/] among its issuers.",
    ),
    Command(
        "ca",
        "ca:app",
        "The authority by which callers of explicit and transparent listeners are met as the service that they called.",
    ),
    Command(
        "revoke",
        "revoke:app",
        "Refuse tokens from now on: every worker does within a second, also on requests that are under way.",
    ),
)


class _Unloaded(TyperCommand):
    """Stands for a command in lists of commands, until it is called."""

    def __init__(self, command: Command) -> None:
        super().__init__(command.name, help=command.help)
        self.place = command.place


class _Commands(TyperGroup):
    """A group that imports the module of a command when the command is called."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = {command.name: _Unloaded(command) for command in COMMANDS}

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that *args* name, for a call or for completion of its arguments, and import it."""
        name, command, rest = super().resolve_command(ctx, args)
        if name is not None and isinstance(command, _Unloaded):
            command = self.commands[name] = load(name, command.place)
        return name, command, rest


def load(name: str, place: str) -> Any:
    """Import the command *name*: a function, or a `typer.Typer` with commands of its own."""
    module, _, attribute = place.partition(":")
    found = getattr(importlib.import_module(f"weir.cli.{module}"), attribute)
    around = typer.Typer(add_completion=False, rich_markup_mode="rich")
    if isinstance(found, typer.Typer):
        around.add_typer(found, name=name)
    else:
        around.command(name)(found)
    return get_group(around).commands[name]


app = typer.Typer(
    name="weir",
    cls=_Commands,
    help="An identity-aware gateway for reranking, search and LLM services, built on mitmproxy.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"weir {weir.__version__}")
        raise typer.Exit


@app.callback()
def _weir(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """An identity-aware gateway for reranking, search and LLM services, built on mitmproxy."""


def main() -> None:
    """Run the command. Mistakes in the configuration are lines on standard error, and exit code 2."""
    try:
        app()
    except (ConfigError, HomeError) as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except LoginError as error:
        fail(str(error), 1)


if __name__ == "__main__":
    main()
