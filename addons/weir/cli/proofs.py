"""``weir verify`` and ``weir evidence``: verify recordings, and prove them to people who do not trust the operator."""

import functools
import json
import sys
from pathlib import Path
from typing import Annotated

import duckdb
import typer
from rich.progress import Progress, TaskID

from weir.base.text import inert
from weir.cli.fail import fail
from weir.cli.progress import progress_bar
from weir.cli.recordings import JsonOption, PoliciesOption, RecordingsOption, index_of, leave_row, recordings_of
from weir.config.load import load_folder
from weir.policyset.load import folder_path
from weir.recorder import prove as proofs
from weir.recorder.checkpoint import CheckpointError, Key, parse_key
from weir.recorder.evidence import Signer
from weir.recorder.folder import FormatError, Recordings, read_format
from weir.recorder.publish import checkpoints
from weir.recorder.verify import Report, check, sealed_now
from weir.recorder.verify_index import check_index

app = typer.Typer(no_args_is_help=True, help="Print the public key, copy checkpoints, and write proofs.")

_KeyOption = Annotated[str, typer.Option("--key", help="The public key, or a file with it (default: this gateway's).")]


def verify(
    key: _KeyOption = "",
    since: Annotated[
        list[Path] | None,
        typer.Option(help="A checkpoint that was kept elsewhere, or a folder with checkpoints; repeat it."),
    ] = None,
    index: Annotated[
        bool, typer.Option("--index", help="Also compare the index, which SQL reads, row by row.")
    ] = False,
    as_json: JsonOption = False,
    policies: PoliciesOption = "",
    recordings: RecordingsOption = None,
) -> None:
    """Check that no recorded exchange was changed or removed. Needs only the folder and the public key.

    SQL reads the index, which is made from the recordings and not signed. Add [bold]--index[/] if you use SQL.

    Exit code 0: everything is as signed. 1: something differs, and each finding has its place. With checkpoints that
    were kept elsewhere ([bold]--since[/]), the command also finds a log that was cut short or rolled back.

    [bold]Examples[/]

      weir verify

      weir verify --index

      weir verify --recordings /srv/recordings --key gateway.pub --since /mnt/audit/checkpoints
    """
    folder = _folder(policies, recordings)
    public = _key(key, folder)
    kept = [note for path in since or () for note in _kept(path)]
    with progress_bar() as progress:
        task = progress.add_task("Verifying segments", total=None)
        moved = functools.partial(_moved, progress, task)
        report = check(folder.root, public, kept, moved)
        if index:
            progress.update(task, description="Comparing the index", completed=0, total=None)
            try:
                report.findings += check_index(folder, lambda: sealed_now(folder.root, public), moved)
            except (OSError, duckdb.Error) as error:
                report.add("index", f"cannot be compared: {str(error).splitlines()[0]}")
    if as_json:
        print(json.dumps(_document(report), indent=1))
    else:
        _say(report)
    raise typer.Exit(1 if report.findings else 0)


def _moved(progress: Progress, task: TaskID, done: int, total: int) -> None:
    progress.update(task, completed=done, total=total)


@app.command("key")
def key_(policies: PoliciesOption = "", recordings: RecordingsOption = None) -> None:
    """Print the public key for this gateway's signatures. Give it to auditors in a way that they trust.

    [bold]Examples[/]

      weir evidence key > gateway.pub
    """
    print(_key("", _folder(policies, recordings)))


@app.command("checkpoints")
def checkpoints_(
    output: Annotated[Path, typer.Argument(help="A folder, created if absent; it gets one file per log.")],
    policies: PoliciesOption = "",
    recordings: RecordingsOption = None,
) -> None:
    """Copy the last checkpoints, to keep them elsewhere. With `checkpoints:` in gateway.yaml the gateway sends them.

    [bold]Examples[/]

      weir evidence checkpoints /mnt/audit/2026-11-22
    """
    folder = _folder(policies, recordings)
    found = checkpoints(folder.root)
    try:
        output.mkdir(parents=True, exist_ok=True)
        for worker, note in found.items():
            (output / worker).write_bytes(note)
    except OSError as error:
        fail(f"{output}: {error.strerror}")
    print(f"{len(found)} checkpoints in {output}")


@app.command()
def prove(
    request_id: Annotated[str, typer.Argument(help="The id of the request (X-Request-Id).")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="The file (default: standard output).")] = None,
    key: _KeyOption = "",
    policies: PoliciesOption = "",
    recordings: RecordingsOption = None,
) -> None:
    """Write a small file that proves the record of one request; docs/evidence/check_proof.py checks the file.

    The file has the request's journal line, not the body. The line has the SHA-256 of the flow with the body.

    [bold]Examples[/]

      weir evidence prove 01934e7e-7a7c-7d52-8b1f-3b1f3f0c9a10 -o proof.json
    """
    folder = recordings_of(policies, recordings)
    public = _key(key, folder)
    with index_of(folder) as database:
        rows = database.execute("SELECT segment, worker FROM flows WHERE request_id = ?", [request_id]).fetchall()
    leave_row(folder, "exported", "evidence prove", request_id)
    if not rows:
        fail(f"no request {request_id} is on record in {folder.root}", 1)
    try:
        proof = proofs.prove(folder.root, public, request_id, *rows[0])
        if not proof["vouched"]:
            print(
                f"not vouched for: {request_id} was adopted from an older version or elsewhere; the proof states it",
                file=sys.stderr,
            )
        if output is None:
            print(json.dumps(proof, indent=1, ensure_ascii=False))
        else:
            proofs.write(output, proof)
    except (proofs.NoProofError, CheckpointError) as error:
        fail(f"there is no proof of {request_id}: {error}", 1)
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}", 1)


def _folder(policies: str, recordings: Path | None) -> Recordings:
    """Return the named recordings folder. Only its format is read without verification."""
    root = recordings or Path(load_folder(folder_path(policies)).gateway.settings.recordings)
    if not root.is_dir():
        fail(f"{root} does not exist; name the recordings folder with --recordings")
    try:
        read_format(root)
    except FormatError as error:
        fail(str(error))
    return Recordings(root)


def _key(text: str, folder: Recordings) -> Key:
    if not text:
        try:
            return Signer(folder).key
        except OSError as error:
            fail(f"this gateway's key cannot be read ({error}); name the public key with --key")
    try:
        path = Path(text)
        return parse_key(path.read_text(encoding="utf-8") if "+" not in text or path.is_file() else text)
    except (OSError, UnicodeDecodeError):
        fail(f"{text}: cannot be read; name the public key, or a file with it")
    except CheckpointError as error:
        fail(f"{text}: {error}")


def _kept(path: Path) -> list[bytes]:
    try:
        files = sorted(p for p in path.rglob("*") if p.is_file() and ".git" not in p.parts) if path.is_dir() else [path]
        notes = [file.read_bytes() for file in files]
    except OSError as error:
        fail(f"{path}: {error.strerror}")
    if not notes:
        fail(f"{path} holds no checkpoints")
    return notes


def _say(report: Report) -> None:
    for finding in report.findings:
        print(inert(f"{finding.where}: {finding.what}"))
    for line in report.not_covered[:20]:
        print(inert(f"not covered by a checkpoint yet: {line}"), file=sys.stderr)
    if len(report.not_covered) > 20:
        print(f"and {len(report.not_covered) - 20} more", file=sys.stderr)
    for line in report.notices[:20]:
        print(inert(f"notice: {line}"), file=sys.stderr)
    if len(report.notices) > 20:
        print(f"and {len(report.notices) - 20} more notices (--json has all)", file=sys.stderr)
    if report.not_vouched:
        print(f"not vouched for: {report.not_vouched} segments were adopted from an older version or from elsewhere")
    what = f"{report.lines} lines in {report.segments} segments of {report.workers} logs"
    gone = (
        f"; {report.removed} segments removed, bodies of {report.expired} segments expired, and {report.erased} lines "
        "erased, each with a tombstone"
    )
    kept = f"; compared with {report.kept} checkpoints kept elsewhere" if report.kept else ""
    if report.findings:
        count = len(report.findings)
        print(f"NOT as signed: {count} finding{'' if count == 1 else 's'} ({what}{kept})")
    else:
        print(f"as signed, up to {report.latest}Z: {what}{gone}{kept}")
        if not report.kept:
            print("(a log that was cut short is found only with a checkpoint that was kept elsewhere: --since)")


def _document(report: Report) -> dict[str, object]:
    return {
        "as_signed": not report.findings,
        "findings": [{"where": f.where, "what": f.what} for f in report.findings],
        "logs": report.workers,
        "segments": report.segments,
        "lines": report.lines,
        "removed": report.removed,
        "bodies_expired": report.expired,
        "erased": report.erased,
        "not_covered": report.not_covered,
        "not_vouched": report.not_vouched,
        "notices": report.notices,
        "kept_checkpoints": report.kept,
        "latest": report.latest or None,
    }
