"""``weir diff``: what a change of policy changes."""

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
    old: Annotated[Path, typer.Argument(help="The policies folder as it was.")],
    new: Annotated[Path, typer.Argument(help="The policies folder as it would be.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON object.")] = False,
) -> None:
    """Say in words what a change of policy changes: settings by their names, and the outcomes of policy tests.

    The cases of both folders' tests are judged by both. Exits with 0, whether or not anything has changed.

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
        print("of the policy tests, another outcome has:")
    for line in outcomes:
        print(inert(f"  {line}"))
    if not changes and not outcomes:
        print("nothing changes")
    elif not outcomes:
        print(f"of {len(cases)} policy tests, none has another outcome")
