"""``weir profiles``: the APIs that Weir supports, and the facts that it reads from their requests."""

from typing import Annotated

import typer

from weir.base.mistakes import ConfigError, SettingError
from weir.cli.fail import fail
from weir.cli.table import print_list
from weir.config.load import load_folder
from weir.policyset.load import folder_path, load_profiles
from weir.profiles.profile import Profile, load_profile, names, source
from weir.rehearsal.review import yields

app = typer.Typer(no_args_is_help=False, rich_markup_mode="rich", invoke_without_command=True)

_Json = Annotated[bool, typer.Option("--json", help="Print a JSON array of objects.")]
_Policies = Annotated[
    str, typer.Option(help="The policies folder with further profiles (default: WEIR_POLICIES, or policies).")
]


@app.callback()
def profiles(context: typer.Context, as_json: _Json = False, policies: _Policies = "") -> None:
    """List the profiles of Weir, and those in profiles/ of the policies folder.

    [bold]Examples[/]

      weir profiles

      weir profiles show cohere
    """
    if context.invoked_subcommand is not None:
        return
    own = _own(policies)
    rows = []
    for name in sorted({*names(), *own}):
        profile = own.get(name) or load_profile(name)
        operations = sorted({operation.name for operation in profile.operations})
        rows.append((name, profile.settings.title, operations, "policies" if name in own else "weir"))
    print_list(("profile", "title", "operations", "from"), rows, as_json=as_json)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="The profile's name.")],
    as_json: _Json = False,
    policies: _Policies = "",
    as_yaml: Annotated[bool, typer.Option("--yaml", help="Print the profile's file, as a start for your own.")] = False,
) -> None:
    """Show the operations of a profile: methods, paths, and the facts that rules can use.

    [bold]Examples[/]

      weir profiles show cohere

      weir profiles show elasticsearch --json

      weir profiles show cohere --yaml > policies/profiles/mine.yaml
    """
    own = _own(policies)
    if as_yaml:
        if name not in names():
            fail(f"weir has no profile {name!r}; it has {', '.join(names())}")
        print(source(name), end="")
        return
    try:
        profile = own.get(name) or load_profile(name)
    except SettingError as error:
        fail(error.message)
    rows = []
    for operation in profile.operations:
        facts = sorted(yields(operation) - {"operation", "status"})
        methods = " ".join(operation.methods)
        rows += [(operation.name, methods, template, facts) for template in operation.templates]
    print_list(("operation", "methods", "path", "facts"), rows, as_json=as_json)


def _own(policies: str) -> dict[str, Profile]:
    """Return the folder's own profiles; none if the default folder cannot be used."""
    try:
        return load_profiles(load_folder(folder_path(policies)))
    except ConfigError as error:
        if policies:
            raise
        del error
        return {}
