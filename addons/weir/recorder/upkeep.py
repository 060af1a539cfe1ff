"""Maintenance beside the data path: indexes sealed journals, removes old recordings, and publishes checkpoints.

``python -m weir.recorder.upkeep`` reads its input as JSON from standard input, does one round under the keeper's lock,
and prints the seconds until the next round. If another process holds the lock, that process does the work.
"""

import contextlib
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import msgspec

from weir.base.home import HomeError
from weir.recorder import catalog, erasure, live, retention
from weir.recorder.entries import Sealed
from weir.recorder.events import FILE as EVENTS
from weir.recorder.events import now as event
from weir.recorder.evidence import KEEPER, Busy, DamagedLogError, Log, Signer, keepers_lock
from weir.recorder.folder import Recordings
from weir.recorder.indexer import GRACE, Indexer
from weir.recorder.known import drop_links, known_segments
from weir.recorder.publish import publish

#: Seconds between two runs of retention, and the maximum seconds between two rounds.
DAY = 86400.0
HOUR = 3600.0
_LAST = "retention.json"


def keep_round(
    recordings: Recordings,
    keep: Mapping[str, int | None],
    default: int | None,
    targets: list[Mapping[str, Any]],
    bodies: Mapping[str, int | None] = {},
    default_bodies: int | None = None,
) -> tuple[float, list[str]]:
    """Do one round. *keep* and *bodies* have seconds by connection, the defaults those of others.

    Return the seconds until the next round, and problems. Raises `Busy`, OSError, duckdb.Error.
    """
    problems: list[str] = []
    recordings.refuse_links()
    with keepers_lock(recordings):
        if catalog.removed(recordings):  # the index or the whole folder
            catalog.create(recordings, kept=True)
            problems.append("the index was removed; it is made again from the journals")
        indexer = Indexer(recordings)
        try:
            covered = indexer.covered()
            if lost := catalog.read_again(recordings, covered):
                problems.append(f"files of the index were removed; {lost} segments are read again from their journals")
            slots = list(live.segments(recordings.root))
            known = known_segments(recordings)
            problems += drop_links(recordings, slots, known)
            linked = [segment for _, segment in live.segments(recordings.root)]
            indexer.add([segment for segment in linked if segment in known.sealed and segment not in covered])
            while indexer.gather():
                time.sleep(0.01)
            indexer.tidy()
            try:
                log = Log(recordings, KEEPER, Signer(recordings))
            except DamagedLogError as error:  # indexing continues, but nothing is removed
                problems.append(f"nothing is removed: {error}")
            else:
                try:
                    if _due(recordings, log):
                        problems += _retention(recordings, indexer, log, keep, default)
                        problems += _expire_bodies(recordings, log, bodies, default_bodies)
                        recordings.replace(log.folder / _LAST, json.dumps(time.time()).encode())
                    log.checkpoint()
                finally:
                    log.close()
            problems += publish(recordings, targets, time.time())
            soon = any(slot.rows and slot.until < time.time() + DAY for slot in indexer.slots())
            soon = soon or any(segment in known.sealed for _, segment in live.segments(recordings.root))
        finally:
            indexer.close()
    seconds = [HOUR, *(float(target["seconds"]) for target in targets), *([GRACE + 5] if soon else [])]
    return min(seconds), problems


def _retention(
    recordings: Recordings, indexer: Indexer, log: Log, keep: Mapping[str, int | None], default: int | None
) -> list[str]:
    """Finish erasures and remove expired segments. Return problems. Raises OSError, duckdb.Error."""
    erasure.finish(recordings, indexer)
    try:
        removed, problems = retention.retain(recordings, indexer, log, keep, default)
    except ValueError as error:
        return [str(error)]
    _tell(log, removed, "{} segments")
    return problems


def _expire_bodies(recordings: Recordings, log: Log, keep: Mapping[str, int | None], default: int | None) -> list[str]:
    """Remove expired bodies. Return problems. Raises OSError."""
    try:
        found, problems = retention.expire_bodies(recordings, log, keep, default)
    except ValueError as error:
        return [str(error)]
    _tell(log, found, "bodies of {} segments")
    return problems


def _tell(log: Log, removed: list[Sealed], what: str) -> None:
    """Write an event for each connection with *removed* segments."""
    for connection, count in _counted(removed).items():
        line = event(KEEPER, "expired", "retention", subject=connection, message=what.format(count))
        log.write(EVENTS, msgspec.json.encode(line))


def _due(recordings: Recordings, log: Log) -> bool:
    try:
        last = float(json.loads((log.folder / _LAST).read_bytes()))
    except (OSError, ValueError, TypeError):
        last = 0.0
    return not 0 <= time.time() - last < DAY


def _counted(removed: list[Sealed]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for entry in removed:
        connection = entry.segment.partition("/")[0]
        counts[connection] = counts.get(connection, 0) + 1
    return counts


def main() -> None:
    """Do one round with the input from standard input. Exit with code 3 if another process holds the lock."""
    asked = json.loads(sys.stdin.read())
    os.umask(0o077)
    with contextlib.suppress(OSError):
        os.nice(10)
    recordings = Recordings(Path(asked["root"]), asked["readers"])
    try:
        bodies = asked["bodies"], asked["default_bodies"]
        seconds, problems = keep_round(recordings, asked["keep"], asked["default"], asked["publish"], *bodies)
    except Busy:
        sys.exit(3)
    except (OSError, HomeError, duckdb.Error) as error:
        print(json.dumps({"again": 60.0, "problems": [f"{type(error).__name__}: {str(error).splitlines()[0][:300]}"]}))
        return
    print(json.dumps({"again": seconds, "problems": problems}))


if __name__ == "__main__":
    main()
