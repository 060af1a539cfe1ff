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
    """A command that is not imported yet: its name, its place in weir.cli (``module:attribute``), and its help."""

    name: str
    place: str
    help: str


#: In the order of `weir --help`. The help is the first paragraph of the command's own; tests/cli/test_main.py compares.
COMMANDS = (
    Command(
        "init",
        "init:init",
        "Write a policies folder for one service: gateway.yaml and the file of the connection, with comments.",
    ),
    Command("run", "run:run", "Start the gateway on the listeners of gateway.yaml."),
    Command("bundle", "bundle:bundle", "Print the path of the script that mitmdump loads, in the installed package."),
    Command(
        "admin",
        "admin:admin",
        "Serve the API behind [bold]weir approvals[/] and [bold]weir access[/], and send notifications.",
    ),
    Command(
        "check",
        "check:check",
        "Check the policies folder: report every mistake with its place and a suggestion, then warnings.",
    ),
    Command(
        "explain",
        "explain:explain",
        "Show which rules match a request, which do not, and why. Nothing is sent or counted.",
    ),
    Command("test", "policy_tests:run_policy_tests", "Run the policy tests in the policies folder (tests/*.yaml)."),
    Command(
        "diff",
        "diff:diff",
        "Print what differs between two policies folders: settings by name, and outcomes of policy tests.",
    ),
    Command("schema", "schema:schema", "Print the JSON Schema of a kind of file in the policies folder."),
    Command(
        "stop",
        "stop:stop",
        "Refuse requests of a connection, user or session, on every worker within a second; end those in progress.",
    ),
    Command("start", "stop:start", "Undo a stop. Requests that several stops cover pass after all of them are undone."),
    Command(
        "status",
        "stop:status",
        "Show the workers with their policies, the stops, and notifications that could not be sent.",
    ),
    Command("login", "login:login", "Log in at a gateway, with the identity provider that it names."),
    Command("logout", "login:logout", "Forget a login, and ask its identity provider to revoke the refresh token."),
    Command("token", "token:token", "Print the token of your login. It is renewed if it expires within a minute."),
    Command(
        "whoami",
        "whoami:whoami",
        "Show how the gateway identifies you: issuer, subject, groups, expiry, and the connections you may use.",
    ),
    Command(
        "exec",
        "execute:execute",
        "Run a command with your token in WEIR_TOKEN, the gateway in WEIR_URL, and the variables that SDKs read.",
    ),
    Command(
        "sql", "sql:sql", "Query the index of recordings. Without a query, start a prompt with completion and history."
    ),
    Command(
        "verify",
        "proofs:verify",
        "Check that no recorded exchange was changed or removed. Needs only the folder and the public key.",
    ),
    Command(
        "expire",
        "retention:expire",
        "Remove recordings that are older than `record: {keep: …}`. The gateway also does this, once a day.",
    ),
    Command(
        "erase",
        "retention:erase",
        "Erase a person from recordings: as a caller, and in recorded bodies, also as hash tokens.",
    ),
    Command("sessions", "sessions:app", "Find, show and export recorded sessions."),
    Command("index", "index:app", "Rebuild or export the index of recordings."),
    Command("evidence", "proofs:app", "Print the public key, copy checkpoints, and write proofs."),
    Command("hold", "retention:app", "Legal holds: protect recordings from retention and erasure."),
    Command("approvals", "approvals:app", "List and decide approvals. Uses your login, or WEIR_TOKEN."),
    Command(
        "access",
        "access:app",
        "Request temporary access to a connection. Its reviewers decide with [bold]weir approvals[/].",
    ),
    Command("masking", "masking:app", "Try masks, and find unmasked values in recordings."),
    Command("profiles", "profiles:app", "List the profiles of Weir, and those in profiles/ of the policies folder."),
    Command(
        "keys",
        "keys:app",
        "Create, list and revoke API keys. The gateway accepts them if its issuers include [bold]keys[/].",
    ),
    Command(
        "ca",
        "ca:app",
        "Manage the authority that signs certificates of services, for callers of explicit and transparent listeners.",
    ),
    Command(
        "revoke",
        "revoke:app",
        "Refuse tokens from now on, on every worker within a second, also for requests in progress.",
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
