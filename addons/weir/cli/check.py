"""``weir check``: everything that is wrong, and what is odd, in the policies folder."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from weir.base.mistakes import ConfigError, Mistake, did_you_mean
from weir.base.text import inert
from weir.config.load import load_folder
from weir.policyset.load import folder_path, load_without_secrets
from weir.rehearsal.cases import load_cases
from weir.rehearsal.review import review


def check(
    folder: Annotated[str, typer.Argument(help="The policies folder, instead of --policies.")] = "",
    policies: Annotated[str, typer.Option(help="The policies folder (default: WEIR_POLICIES, or policies).")] = "",
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 where there are warnings.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array of objects.")] = False,
) -> None:
    """Check the policies folder: every mistake at once, with its place and what was probably meant; then warnings.

    Warnings are of rules that can never count, that contradict others, or that ask what the profile cannot tell, and
    of operations that change something and that no rule speaks of. Exits with 2 where the folder cannot be used.

    [bold]Examples[/]

      weir check

      weir check --policies /etc/weir --strict --json
    """
    path = folder_path(folder or policies)
    names: set[str] = set()
    mistakes: list[Mistake] = []
    warnings: list[Mistake] = []
    try:
        loaded, unset = load_without_secrets(path)
        for name in dict.fromkeys(unset):
            text = f"the environment variable {name} is not set here; the gateway needs it"
            warnings.append(Mistake(*_place(path, f"${{env:{name}}}"), text))
        files = {d.settings.connection: d for d in load_folder(path).connections}
        names = {connection.name for connection in loaded.connections}
        intercepts = any(listener.mode != "reverse" for listener in loaded.listeners)
        for one, other in loaded.destinations.twins() if intercepts else ():
            text = (
                f"upstream: {one.name!r} leads to the same, so callers of a proxy reach neither; name another path in "
                "one of the two, or the listener that it is for (`match: {port: …}`)"
            )
            warnings.append(Mistake(other.file, files[other.name].line("upstream"), 1, text))
        if loaded.leaves is None and intercepts:
            text = "callers are intercepted, and there is no CA here; the gateway needs one: weir ca create"
            warnings.append(Mistake(*_place(path, "mode: "), text))
        for connection in loaded.connections:
            says_writes = "writes" in files[connection.name].settings.model_fields_set
            found = review(connection, files[connection.name].line, says_writes=says_writes)
            warnings += [Mistake(connection.file, oddity.line, 1, str(oddity)) for oddity in found]
    except ConfigError as error:
        mistakes += error.mistakes
    try:
        for case in load_cases(path):
            if names and case.settings.connection not in names:
                name = case.settings.connection
                text = f"there is no connection {name!r}{did_you_mean(name, names)}"
                mistakes.append(Mistake(case.file, case.line, 1, text))
    except ConfigError as error:
        mistakes += error.mistakes
    listed = [("error", m) for m in sorted(mistakes)] + [("warning", m) for m in sorted(warnings)]
    if as_json:
        rows = [
            {"level": level, "file": m.file, "line": m.line, "column": m.column, "message": m.message}
            for level, m in listed
        ]
        print(json.dumps(rows, indent=1))
    else:
        for level, mistake in listed:
            text = f"{mistake.file}:{mistake.line}:{mistake.column}: "
            print(inert(text + ("warning: " if level == "warning" else "") + mistake.message))
        if not mistakes:
            count = len(loaded.connections)
            connections = f"{count} connection{'' if count == 1 else 's'}"
            print(f"{path}: {connections}, {len(warnings)} warnings; policies {loaded.version[:12]}", file=sys.stderr)
    if mistakes or (strict and warnings):
        raise typer.Exit(2 if mistakes else 1)


def _place(folder: Path, text: str) -> tuple[str, int, int]:
    """Where *text* first stands in the folder's files."""
    for file in sorted(folder.glob("*.yaml")):
        for number, line in enumerate(file.read_text().splitlines(), 1):
            if text in line:
                return str(file), number, line.index(text) + 1
    return str(folder), 1, 1
