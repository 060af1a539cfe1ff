"""``weir diff``: compare two policies folders."""

import json
from pathlib import Path
from typing import Annotated

import typer

from weir.base.text import inert
from weir.config.load import load_folder
from weir.policyset.load import load_without_secrets
from weir.rehearsal.cases import load_cases, run_cases
from weir.rehearsal.compare import compare, compare_outcomes


def diff(
    old: Annotated[Path, typer.Argument(help="The policies folder before the change.")],
    new: Annotated[Path, typer.Argument(help="The policies folder after the change.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
) -> None:
    """Print what differs between two policies folders: settings by name, and outcomes of policy tests.

    Both folders judge the test cases of both. The exit code is 0, with or without differences.

    [bold]Examples[/]

      weir diff policies /tmp/policies-new

      git worktree add /tmp/main main && weir diff /tmp/main/policies policies
    """
    before, _ = load_without_secrets(old)
    after, _ = load_without_secrets(new)
    changes = list(compare(load_folder(old), load_folder(new)))
    cases = list({(c.settings.connection, c.settings.name): c for c in [*load_cases(old), *load_cases(new)]}.values())
    outcomes = list(compare_outcomes(cases, list(run_cases(before, cases)), list(run_cases(after, cases))))
    if as_json:
        versions = {"old": before.version, "new": after.version}
        print(json.dumps({**versions, "changes": changes, "cases": outcomes}, indent=1))
        return
    for line in changes:
        print(inert(line))
    if outcomes:
        print("policy tests with another outcome:")
    for line in outcomes:
        print(inert(f"  {line}"))
    if not changes and not outcomes:
        print("nothing changes")
    elif not outcomes:
        print(f"all {len(cases)} policy tests have the same outcome")
