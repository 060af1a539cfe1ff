"""What commands that read recordings share: which folder, a connection to its index, and the row that says who read."""

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
from weir.login import store
from weir.policyset.load import folder_path
from weir.recorder import events
from weir.recorder.catalog import confine
from weir.recorder.folder import FormatError, Recordings, group_id, read_format

#: Seconds that a command waits for the gateway's own housekeeping.
WAIT = 120.0

PoliciesOption = Annotated[str, typer.Option(help="The policies folder that names the recordings.")]
RecordingsOption = Annotated[Path | None, typer.Option("--recordings", help="The recordings folder, instead.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def recordings_of(policies: str, folder: Path | None) -> Recordings:
    """The recordings folder that was named. Ends the command where it cannot be read."""
    if folder is not None:
        found = Recordings(folder)
    else:
        settings = load_folder(folder_path(policies)).gateway.settings
        try:
            readers = group_id(settings.readers) if settings.readers else None
        except KeyError:
            readers = None
        found = Recordings(Path(settings.recordings), readers)
    try:
        read_format(found.root)
    except FormatError as error:
        fail(str(error))
    if not found.database.is_file():
        fail(f"{found.database} does not exist; start the gateway once, or name the folder with --recordings")
    return found


#: Statements that ask, and neither write nor set anything.
_QUESTIONS = frozenset((duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN))


def check_question(connection: duckdb.DuckDBPyConnection, query: str) -> None:
    """Raise duckdb.Error where *query* does more than ask."""
    for statement in connection.extract_statements(query):
        if statement.type not in _QUESTIONS:
            raise duckdb.InvalidInputException(
                f"{statement.type.name} is not a question, and the index is read only; rows go elsewhere with --json, "
                "--csv, weir sessions export and weir index export"
            )


@contextlib.contextmanager
def index_of(recordings: Recordings) -> Iterator[duckdb.DuckDBPyConnection]:
    """The index, read-only; what is wrong with a query ends the command with one line."""
    try:
        with duckdb.connect(str(recordings.database), read_only=True) as connection:
            confine(connection, recordings)
            yield connection
    except duckdb.Error as error:
        fail(said(error))


def said(error: duckdb.Error) -> str:
    """What is wrong with a query, in one line."""
    hint = "; `weir sql` without a query lists them: .views, .columns flows" if isinstance(error, _UNKNOWN) else ""
    return f"{str(error).splitlines()[0]}{hint}"


_UNKNOWN = (duckdb.BinderException, duckdb.CatalogException)


def reader() -> str:
    """Who reads: the subject of the latest login, if there is one, and the system's user."""
    with contextlib.suppress(HomeError, ValueError, KeyError, IndexError, TypeError):
        login = store.load(store.gateways()[-1])
        if login is not None:
            payload = login.token.split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
            return f"{claims['sub']} ({operator_name()})"
    return operator_name()


def leave_row(recordings: Recordings, kind: str, subject: str, message: str = "") -> None:
    """Write into the recordings' events that they were read. Ends the command where that cannot be written."""
    try:
        events.append(recordings, events.now(events.COMMAND, kind, reader(), subject=subject, message=message))
    except OSError as error:
        fail(
            f"reading leaves a row in the recordings' events, which cannot be written ({error.strerror or error}); "
            f"run it as the gateway's user, with its WEIR_HOME"
        )
