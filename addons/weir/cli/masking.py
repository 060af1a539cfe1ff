"""``weir masking``: try masks on a body, scan recordings for unmasked values, and rotate the masking key."""

import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import duckdb
import typer

from weir.base.duration import seconds
from weir.base.mistakes import did_you_mean
from weir.cli.fail import fail
from weir.cli.progress import progress_bar
from weir.cli.table import moment, print_list
from weir.config.load import load_folder
from weir.masking import coverage
from weir.masking.bodies import UnknownForm
from weir.masking.detectors.engine import GROUPS, KINDS
from weir.masking.detectors.model import Detector
from weir.masking.keys import connection_key, keys, rotate
from weir.masking.walk import MaskingError
from weir.policyset.connection import Connection
from weir.policyset.load import folder_path, load_without_secrets
from weir.policyset.model import PolicySet
from weir.recorder.catalog import confine
from weir.recorder.folder import Recordings

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode="rich", help="Try masks, and find unmasked values in recordings."
)

_Json = Annotated[bool, typer.Option("--json", help="Print a JSON array of objects.")]
_Policies = Annotated[str, typer.Option(help="The policies folder (default: WEIR_POLICIES, or policies).")]
_LINES = "application/x-ndjson"
_TYPES = {".json": "application/json", ".ndjson": _LINES, ".jsonl": _LINES, ".sse": "text/event-stream"}


@app.command("try")
def try_(
    file: Annotated[
        str, typer.Argument(help="A body: .json, .ndjson, .sse or text; - reads JSON from standard input.")
    ],
    connection: Annotated[str, typer.Option(help="The connection with the masks (default: the only one).")] = "",
    request: Annotated[bool, typer.Option("--request", help="Treat the body as a request, not as a response.")] = False,
    view: Annotated[str, typer.Option(help="The view: record, caller (in no group) or upstream.")] = "record",
    as_json: _Json = False,
    policies: _Policies = "",
) -> None:
    """Show the changes of each mask of a connection to a body: the value before, the value after, and the rule.

    The exit code is 1 if the gateway would not deliver such a body.

    [bold]Examples[/]

      weir masking try answer.json

      weir masking try request.json --connection reranker --request --view upstream
    """
    chosen = _connection(load_without_secrets(folder_path(policies))[0], connection)
    if view not in ("record", "caller", "upstream"):
        fail(f"there is no view {view!r}{did_you_mean(view, ['record', 'caller', 'upstream'])}")
    masks = chosen.masks
    if view == "upstream":
        looked = masks.upstream()
    else:
        looked = masks.caller(frozenset()) if view == "caller" else masks.record("request" if request else "response")
    try:
        body = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        fail(f"{file} cannot be read: {error.strerror}")
    content_type = _TYPES.get(Path(file).suffix, "application/json" if file == "-" else "text/plain")
    try:
        acted = list(coverage.tried(looked.masks, looked, body, content_type))
    except (UnknownForm, MaskingError) as error:
        fail(f"such a body is not delivered (502): {error}", 1)
    rows = [(a.rule, a.place, a.kinds, a.before, a.after) for a in acted]
    print_list(("rule", "place", "recognised", "before", "after"), rows, as_json=as_json)


@app.command()
def scan(
    recordings: Annotated[Path | None, typer.Option(help="The recordings folder (default: by the policies).")] = None,
    connection: Annotated[str, typer.Option(help="Only this connection.")] = "",
    requests: Annotated[bool, typer.Option("--requests", help="List each request with unmasked values.")] = False,
    least: Annotated[float, typer.Option(help="Exit with 1 if the coverage is below this share.", min=0, max=1)] = 0.0,
    as_json: _Json = False,
    policies: _Policies = "",
) -> None:
    """Read recordings again with every detector, and count unmasked values. The values are not shown.

    The coverage is the share of recognised values that are masked. Parts that could not be read are listed.

    [bold]Examples[/]

      weir masking scan

      weir masking scan --requests --json

      weir masking scan --recordings /srv/recordings --least 0.99
    """
    root, own, secrets = _where(recordings, policies)
    view = coverage.every_detector(own, secrets)
    paths = [path for path in coverage.segments(root) if connection in ("", path.parts[-3])]
    found: list[coverage.Left | coverage.Unread] = []
    with progress_bar() as progress:
        for path in progress.track(paths, description="Reading recordings"):
            found += coverage.scan(path, view)
    masked = _masked(root, connection)
    left: Counter[tuple[str, str]] = Counter()
    for entry in found:
        if isinstance(entry, coverage.Left):
            left[entry.connection, entry.kind] += entry.count
    for entry in found:
        if isinstance(entry, coverage.Unread):
            where = f"{entry.request_id} ({entry.connection}): the {entry.part}"
            print(f"weir: {where} is not read: {entry.why}", file=sys.stderr)
    if requests:
        rows = [(e.request_id, e.connection, e.part, e.kind, e.count) for e in found if isinstance(e, coverage.Left)]
        print_list(("request_id", "connection", "part", "kind", "left"), rows, as_json=as_json)
    else:
        listed = sorted({*left, *masked})
        table = [(*key, masked[key], left[key], _share(masked[key], left[key])) for key in listed]
        print_list(("connection", "kind", "masked", "left", "coverage"), table, as_json=as_json)
    total = _share(masked.total(), left.total())
    print(f"masked field coverage: {total:.4f} ({masked.total()} masked, {left.total()} left)", file=sys.stderr)
    if total < least:
        raise typer.Exit(1)


@app.command()
def detectors(as_json: _Json = False, policies: _Policies = "") -> None:
    """List the kinds of values that masks can detect, their groups, and the policies' own kinds.

    [bold]Examples[/]

      weir masking detectors

      weir masking detectors --json
    """
    own = load_folder(folder_path(policies)).gateway.settings.detectors if folder_path(policies).is_dir() else {}
    rows = [(kind, [name for name, kinds in GROUPS.items() if kind in kinds], "weir") for kind in KINDS]
    rows += [(kind, ["all"], "policies") for kind in own]
    print_list(("kind", "also as", "from"), rows, as_json=as_json)


@app.command("rotate")
def rotate_(
    keep: Annotated[str, typer.Option(help="How long tokens of replaced keys are recognised.")] = "90d",
    as_json: _Json = False,
) -> None:
    """Create a new key for hash tokens. Running gateways use it after their next reload (SIGHUP).

    Equal values have equal tokens under one key only, so joins over recordings end at a rotation. Tokens of a replaced
    key are recognised as masked for the time of --keep.

    [bold]Examples[/]

      weir masking rotate

      weir masking rotate --keep 30d
    """
    try:
        rotate(seconds(keep))
    except ValueError as error:
        fail(f"--keep: {error}")
    rows = [(i == 0, moment(key.made) if key.made else "at first") for i, key in enumerate(keys())]
    print_list(("new tokens", "made"), rows, as_json=as_json)


def _connection(policies: PolicySet, name: str) -> Connection:
    names = [c.name for c in policies.connections]
    if not name and len(names) == 1:
        return policies.connections[0]
    if name not in names:
        what = f"there is no connection {name!r}{did_you_mean(name, names)}" if name else "name one with --connection"
        fail(f"{what}; there are {', '.join(names)}")
    return policies.connections[names.index(name)]


def _where(recordings: Path | None, policies: str) -> tuple[Path, dict[str, tuple[Detector, ...]], list[bytes]]:
    """Return the recordings folder, the policies' own detectors, and every key that tokens may have."""
    path = folder_path(policies)
    own: dict[str, tuple[Detector, ...]] = {}
    secrets: list[bytes] = []
    root = recordings
    if path.is_dir():
        loaded, _ = load_without_secrets(path)
        own, root = dict(loaded.detectors), recordings or loaded.recordings
        secrets = [connection_key(key.secret, c.name) for key in keys() for c in loaded.connections]
    if root is None or not (root / "segments").is_dir():
        fail(f"{root or path} holds no recordings; name the folder with --recordings")
    return root, own, secrets


def _masked(root: Path, connection: str) -> Counter[tuple[str, str]]:
    """Count the masked values in the index by connection and kind. A named field is its own kind."""
    counts: Counter[tuple[str, str]] = Counter()
    query = "SELECT connection, kind, path, sum(count) FROM masked_fields WHERE $1 IN ('', connection) GROUP BY ALL"
    with duckdb.connect(str(root / "index.duckdb"), read_only=True) as index:
        confine(index, Recordings(root))
        for name, kind, path, count in index.execute(query, [connection]).fetchall():
            counts[name, kind or path] += int(count)
    return counts


def _share(masked: int, left: int) -> float:
    return round(masked / (masked + left), 4) if masked + left else 1.0
