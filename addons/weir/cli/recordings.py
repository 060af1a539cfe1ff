"""For commands that read recordings: the folder, a connection to its index, and the event that records the read."""

import base64
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import duckdb
import typer

from weir.base.home import HomeError, operator_name
from weir.cli.fail import fail
from weir.config.load import load_folder
from weir.config.model import GatewaySettings
from weir.login import store
from weir.policyset.load import folder_path
from weir.recorder import events
from weir.recorder.catalog import confine, removed
from weir.recorder.folder import FormatError, Recordings, group_id, read_format

#: Seconds that a command waits for the gateway's own housekeeping.
WAIT = 120.0

PoliciesOption = Annotated[str, typer.Option(help="The policies folder (default: WEIR_POLICIES, or policies).")]
RecordingsOption = Annotated[
    Path | None, typer.Option("--recordings", help="The recordings folder (default: by gateway.yaml).")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def recordings_of(policies: str, folder: Path | None, *, indexed: bool = True) -> Recordings:
    """Return the named recordings folder. Ends the command if it cannot be read, or is not *indexed*."""
    if folder is not None:
        found = Recordings(folder)
    else:
        found = configured(load_folder(folder_path(policies)).gateway.settings)
    try:
        read_format(found.root)
    except FormatError as error:
        fail(str(error))
    if not found.segments.is_dir() and not found.database.is_file():
        fail(f"{found.database} does not exist; start the gateway once, or name the folder with --recordings")
    if indexed and removed(found):
        fail(
            f"the index of {found.root} was removed, so not all requests can be found; a running gateway makes it "
            "again within a minute. If none runs: weir index rebuild",
            1,
        )
    return found


def configured(settings: GatewaySettings) -> Recordings:
    """Return the recordings folder that gateway.yaml names."""
    try:
        readers = group_id(settings.readers) if settings.readers else None
    except KeyError:
        readers = None
    return Recordings(Path(settings.recordings), readers)


#: Statements that only read.
_QUESTIONS = frozenset((duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN))


def check_question(connection: duckdb.DuckDBPyConnection, query: str) -> None:
    """Raise duckdb.Error if *query* does more than read."""
    for statement in connection.extract_statements(query):
        if statement.type not in _QUESTIONS:
            raise duckdb.InvalidInputException(
                f"{statement.type.name} is not allowed: the index is read-only; to export rows, use --json, --csv, "
                "weir sessions export or weir index export"
            )


@contextlib.contextmanager
def index_of(recordings: Recordings) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open the index, read-only. An error of a query ends the command with one line."""
    try:
        with duckdb.connect(str(recordings.database), read_only=True) as connection:
            confine(connection, recordings)
            yield connection
    except duckdb.Error as error:
        fail(said(error))


def said(error: duckdb.Error) -> str:
    """Return the error of a query as one line."""
    hint = "; `weir sql` without a query lists them: .views, .columns flows" if isinstance(error, _UNKNOWN) else ""
    return f"{str(error).splitlines()[0]}{hint}"


_UNKNOWN = (duckdb.BinderException, duckdb.CatalogException)


def reader() -> str:
    """Return the reader's name: the subject of the latest login, if there is one, and the system's user."""
    with contextlib.suppress(HomeError, ValueError, KeyError, IndexError, TypeError):
        login = store.load(store.gateways()[-1])
        if login is not None:
            payload = login.token.split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
            return f"{claims['sub']} ({operator_name()})"
    return operator_name()


def record_read(recordings: Recordings, kind: str, subject: str, message: str) -> None:
    """Write an event into the recordings: who read what. Raises OSError."""
    events.append(recordings, events.now(events.COMMAND, kind, reader(), subject=subject, message=message))


def leave_row(recordings: Recordings, kind: str, subject: str, message: str = "") -> None:
    """Write an event into the recordings: who read what. Ends the command if the event cannot be written."""
    try:
        record_read(recordings, kind, subject, message)
    except OSError as error:
        fail(
            f"each read is recorded as an event, which cannot be written ({error.strerror or error}); run the "
            "command as the gateway's user, with its WEIR_HOME"
        )
