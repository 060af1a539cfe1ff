"""``weir check``: report mistakes and warnings in the policies folder."""

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

import typer

from weir.base.mistakes import ConfigError, Mistake, did_you_mean
from weir.base.text import inert
from weir.cli.recorded_headers import dropped_in_recordings
from weir.cli.recordings import configured
from weir.config.load import Document, load_folder
from weir.config.model import ConnectionSettings
from weir.policyset.connection import Connection
from weir.policyset.extensions import DETECTORS, PROFILES, SOURCES, Part
from weir.policyset.load import folder_path, load_without_secrets
from weir.policyset.model import PolicySet
from weir.recorder.folder import Recordings
from weir.rehearsal.cases import load_cases
from weir.rehearsal.reach import advice, look_up
from weir.rehearsal.review import review, review_listeners


def check(
    folder: Annotated[str, typer.Argument(help="The policies folder, instead of --policies.")] = "",
    policies: Annotated[str, typer.Option(help="The policies folder (default: WEIR_POLICIES, or policies).")] = "",
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if there are warnings.")] = False,
    offline: Annotated[bool, typer.Option("--offline", help="Do not resolve the names of services.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array of objects.")] = False,
) -> None:
    """Check the policies folder: report every mistake with its place and a suggestion, then warnings.

    Warnings are for rules that never decide, contradict another rule or use a fact that the profile does not have, for
    operations that change data and have no rule, for listeners on which tokens travel unencrypted, and for names of
    services that resolve to addresses which the gateway may not dial. Notes name headers in recorded requests that
    services do not receive. The exit code is 2 if the folder cannot be used.

    [bold]Examples[/]

      weir check

      weir check --policies /etc/weir --strict --json
    """
    path = folder_path(folder or policies)
    names: set[str] = set()
    extensions: tuple[Part, ...] = ()
    mistakes: list[Mistake] = []
    warnings: list[Mistake] = []
    notes: list[Mistake] = []
    try:
        loaded, unset = load_without_secrets(path)
        for name in dict.fromkeys(unset):
            if ":" in name:
                text, written = f"the source has no secret {name} here; the gateway needs it", f"${{{name}}}"
            else:
                text = f"the environment variable {name} is not set here; the gateway needs it"
                written = f"${{env:{name}}}"
            warnings.append(Mistake(*_place(path, written), text))
        documents = load_folder(path)
        files = {d.settings.connection: d for d in documents.connections}
        plain = review_listeners(documents.gateway.settings, documents.gateway.line)
        warnings += [Mistake(documents.gateway.file, oddity.line, 1, str(oddity)) for oddity in plain]
        extensions = loaded.extensions
        names = {connection.name for connection in loaded.connections}
        intercepts = any(listener.mode != "reverse" for listener in loaded.listeners)
        for one, other in loaded.destinations.twins() if intercepts else ():
            text = (
                f"upstream: {one.name!r} has the same one, so callers of a proxy reach neither; give one of them "
                "another path, or the port of its listener (`match: {port: …}`)"
            )
            warnings.append(Mistake(other.file, files[other.name].line("upstream"), 1, text))
        if loaded.leaves is None and intercepts:
            text = "a listener intercepts TLS, and there is no CA here; run: weir ca create"
            warnings.append(Mistake(*_place(path, "mode: "), text))
        if not offline:
            warnings += _unreachable(path, loaded, files)
        for connection in loaded.connections:
            says_writes = "writes" in files[connection.name].settings.model_fields_set
            found = review(connection, files[connection.name].line, says_writes=says_writes)
            warnings += [Mistake(connection.file, oddity.line, 1, str(oddity)) for oddity in found]
        notes = _dropped_headers(path, configured(documents.gateway.settings), loaded.connections, files)
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
    levels = {"error": mistakes, "warning": warnings, "note": notes}
    listed = [(level, mistake) for level, found in levels.items() for mistake in sorted(found)]
    loads = [f"{p.extension} {p.version}: {_PARTS[p.group]} {p.name} ({p.origin})" for p in extensions]
    if as_json:
        rows = [
            {"level": level, "file": m.file, "line": m.line, "column": m.column, "message": m.message}
            for level, m in listed
        ]
        file, line, column = _place(path, "extensions:")
        rows += [{"level": "info", "file": file, "line": line, "column": column, "message": text} for text in loads]
        print(json.dumps(rows, indent=1))
    else:
        for text in loads:
            print(inert(f"extension {text}"))
        for level, mistake in listed:
            text = f"{mistake.file}:{mistake.line}:{mistake.column}: "
            print(inert(text + ("" if level == "error" else f"{level}: ") + mistake.message))
        if not mistakes:
            count = len(loaded.connections)
            connections = f"{count} connection{'' if count == 1 else 's'}"
            print(f"{path}: {connections}, {len(warnings)} warnings; policies {loaded.version[:12]}", file=sys.stderr)
    if mistakes or (strict and warnings):
        raise typer.Exit(2 if mistakes else 1)


def _unreachable(path: Path, loaded: PolicySet, files: Mapping[str, Document[ConnectionSettings]]) -> list[Mistake]:
    """Return a warning for each upstream and each host in `pass` that the gateway would refuse to dial."""
    proxy, passes = loaded.upstream_proxy, [p for p in loaded.destinations.passes if p.host and "*" not in p.host]
    direct = [c for c in loaded.connections if proxy is None or not proxy.serves(c.upstream.origin.host)]
    known = look_up([*(c.upstream.origin.host for c in direct), *(p.host for p in passes)])
    found = []
    for connection in direct:
        host = connection.upstream.origin.host
        if text := advice(host, connection.dial.addresses, known.get(host)):
            line = files[connection.name].line("upstream")
            found.append(Mistake(connection.file, line, 1, f"upstream: {text}"))
    texts = {entry.host: advice(entry.host, entry.dial.addresses, known.get(entry.host)) for entry in passes}
    return found + [Mistake(*_place(path, host), f"pass: {text}") for host, text in texts.items() if text]


def _dropped_headers(
    path: Path,
    recordings: Recordings,
    connections: Iterable[Connection],
    files: Mapping[str, Document[ConnectionSettings]],
) -> list[Mistake]:
    """Return a note for each connection with headers in *recordings* that do not reach its service."""
    try:
        found = list(dropped_in_recordings(recordings, connections))
    except OSError as error:
        text = f"the recorded headers were not compared: the read cannot be recorded ({error.strerror or error})"
        return [Mistake(*_place(path, "recordings:"), text)]
    return [Mistake(c.file, files[c.name].line("forward"), 1, text) for c, text in found]


#: The groups of entry points, as people read them.
_PARTS = {DETECTORS: "detector", SOURCES: "credential source", PROFILES: "profile"}


def _place(folder: Path, text: str) -> tuple[str, int, int]:
    """Return the file, line and column of the first *text* in the folder's files."""
    for file in sorted(folder.glob("*.yaml")):
        for number, line in enumerate(file.read_text().splitlines(), 1):
            if text in line:
                return str(file), number, line.index(text) + 1
    return str(folder), 1, 1
