"""``weir index``: rebuild or export the index of recordings."""

import sys
import time
from pathlib import Path
from typing import Annotated

import duckdb
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from weir.cli.fail import fail
from weir.cli.progress import progress_bar
from weir.cli.recordings import WAIT, PoliciesOption, RecordingsOption, leave_row, recordings_of
from weir.recorder import catalog
from weir.recorder.catalog import quoted
from weir.recorder.dictionary import VIEWS
from weir.recorder.evidence import as_sealed, entries, erased_lines, keepers_lock, sealed_segments
from weir.recorder.indexer import Indexer

app = typer.Typer(no_args_is_help=True, help="Rebuild or export the index of recordings.")


@app.command()
def rebuild(policies: PoliciesOption = "", recordings: RecordingsOption = None) -> None:
    """Rebuild the index from the journals of all sealed segments, while readers and the gateway continue.

    [bold]Examples[/]

      weir index rebuild

      weir index rebuild --recordings /srv/recordings
    """
    folder = recordings_of(policies, recordings, indexed=False)
    began = time.monotonic()
    try:
        with keepers_lock(folder, wait=WAIT), _bar() as progress:
            sealed = sealed_segments(folder)
            erased = erased_lines(entries(folder))
            segments = [segment for segment, entry in sealed.items() if as_sealed(folder, entry, erased)]
            task = progress.add_task("Reading journals", total=len(segments))
            catalog.create(folder, kept=True)
            indexer = Indexer(folder)
            try:
                count = indexer.rebuild(segments, lambda done: progress.update(task, completed=done))
            finally:
                indexer.close()
    except (OSError, duckdb.Error) as error:
        fail(f"the index was not rebuilt: {str(error).splitlines()[0]}", 1)
    if len(segments) < len(sealed):
        left = len(sealed) - len(segments)
        print(f"{left} segments differ from their sealed state and are left out; see: weir verify", file=sys.stderr)
    print(f"{count} rows from {len(segments)} segments in {time.monotonic() - began:.1f} s")


@app.command()
def export(
    target: Annotated[Path, typer.Argument(help="The DuckDB file to create; it must not exist.")],
    policies: PoliciesOption = "",
    recordings: RecordingsOption = None,
) -> None:
    """Copy every view into a table of a new DuckDB file: a snapshot to share, or for faster queries.

    [bold]Examples[/]

      weir index export /tmp/november.duckdb
    """
    folder = recordings_of(policies, recordings)
    if target.exists():
        fail(f"{target} exists; name another file, or remove it")
    leave_row(folder, "exported", "index", str(target))
    try:
        with duckdb.connect() as connection, _bar() as progress:
            # Not the views in the folder's index: other programs may have changed those.
            for name, query in catalog.views(folder).items():
                connection.execute(f"CREATE VIEW {name} AS {query}")
            connection.execute(f"ATTACH {quoted(str(target))} AS copy (STORAGE_VERSION 'v1.4.0')")
            catalog.confine(connection, folder)
            connection.execute("BEGIN")
            for view in progress.track(list(VIEWS), description="Copying views"):
                order = " ORDER BY time" if "time" in VIEWS[view][1] else ""
                connection.execute(f"CREATE TABLE copy.{view} AS SELECT * FROM {view}{order}")  # noqa: S608
            connection.execute("COMMIT")
            counts = connection.execute("SELECT count(*) FROM copy.flows").fetchall()
        target.chmod(0o600)
    except (OSError, duckdb.Error) as error:
        target.unlink(missing_ok=True)
        fail(f"nothing was copied: {str(error).splitlines()[0]}", 1)
    print(f"{counts[0][0]} requests in {target}")


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return progress_bar(*columns)
