"""Adoption: a recordings folder without heads in this ``WEIR_HOME`` is taken over once, and marked as not vouched for.

Versions before heads sealed and signed every file that they found in the folder, so nothing in it is authenticated.
Its segments are sealed in their present state. Each log records the first entry that the gateway vouches for, and
`verify` and every proof repeat it. A folder that was copied here, or a lost ``WEIR_HOME``, is treated the same way.
"""

import logging
import os
import time
from pathlib import Path

import msgspec

from weir.base.alarms import alarm
from weir.recorder import heads, quarantine
from weir.recorder.checkpoint import Checkpoint, CheckpointError, Size, verify
from weir.recorder.entries import begins, line_hash
from weir.recorder.evidence import CHECKPOINT, COVERED, FILE, KEEPER, Log, Signer, begin_heads, has_data, refuse_copy
from weir.recorder.folder import Recordings
from weir.recorder.merkle import Tree, leaf_hash
from weir.recorder.repair import Repairs, idle_logs, seal, stands
from weir.recorder.retention import HOLDS, Held
from weir.recorder.worker import WORKER_NAME, log_folders, running

#: Seconds to wait for processes that write to a folder before its adoption.
_PATIENCE = 3.0
#: The holds of older versions, a JSON list.
_OLD_HOLDS = "holds.json"


def adopt(recordings: Recordings, signer: Signer) -> None:
    """Adopt the folder, or finish an interrupted adoption. Do nothing if it is adopted already. Raises OSError."""
    recordings.refuse_links()
    with heads.adopting(signer.folder_id):
        pending = [log for log, head in heads.all_of(signer.folder_id) if head.vouched == heads.PENDING]
        folder = heads.folder(signer.folder_id)
        if folder.is_dir():
            refuse_copy(recordings, signer)
            heads.note_root(signer.folder_id, recordings.root)  # the folder may have been moved
            if not pending:
                return
        elif not has_data(recordings):
            begin_heads(recordings, signer)
            return
        deadline = time.monotonic() + _PATIENCE
        while (busy := running(recordings.root)) and not folder.is_dir() and time.monotonic() < deadline:
            time.sleep(0.05)  # a command holds its log for a moment
        if busy and not folder.is_dir():
            raise OSError(
                f"{recordings.root} is still written by a gateway of an older version ({', '.join(busy)}); stop it, "
                "then start this one"
            )
        _refuse_other_id(recordings, signer)
        recordings.raise_format()
        if not folder.is_dir():
            _make_heads(recordings, signer)
            pending = [log for log, _ in heads.all_of(signer.folder_id)]
        count = 0
        for log in idle_logs(recordings, signer):
            if log.head.vouched == heads.PENDING:
                count += _adopt_log(recordings, log)
        alarm(
            "recordings_adopted",
            f"{recordings.root} has no heads in this WEIR_HOME: it was recorded by an older version or elsewhere. "
            f"{count} segments are adopted in their present state and marked as not vouched for",
            level=logging.WARNING,
        )


def _refuse_other_id(recordings: Recordings, signer: Signer) -> None:
    """Raise OSError if the folder's id was changed: the folder was recorded under another id that has heads here."""
    for other in heads.others_of(signer.folder_id, recordings.root):
        raise OSError(
            f"{recordings.root / 'format.json'} states the folder id {signer.folder_id}, but its heads in WEIR_HOME "
            f"belong to {other}; restore format.json"
        )
    for path in recordings.root.glob(f"log/*/{CHECKPOINT}"):
        origin = path.read_bytes().split(b"\n")[0].decode("utf-8", "replace").split("/")
        other = origin[1] if len(origin) == 3 else ""
        if other.isalnum() and other != signer.folder_id and heads.folder(other).is_dir():
            raise OSError(
                f"{recordings.root / 'format.json'} states the folder id {signer.folder_id}, but {path} was signed for "
                f"{other}; restore format.json"
            )


def _make_heads(recordings: Recordings, signer: Signer) -> None:
    """Make a head for each log with the sizes of its files, vouching for nothing yet. One rename puts all in place."""
    names = {path.name for path in log_folders(recordings.root)}
    for path in recordings.segments.glob("*/*/*.mitm"):
        worker = path.name.partition("-")[0]
        if WORKER_NAME.fullmatch(worker):
            names.add(worker)
            recordings.make(recordings.log(worker))
    fresh = heads.folder(f".{signer.folder_id}.new")
    fresh.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in fresh.iterdir():
        path.unlink()
    for name in sorted({*names, KEEPER}):
        checkpoint = _checkpoint(recordings.log(name), signer)
        head = heads.Head(fresh / f"{name}.head")
        for file in (FILE, *COVERED):
            signed = None if checkpoint is None else checkpoint.log if file == FILE else checkpoint.files.get(file)
            if (size := _size(recordings.log(name) / file, signed)).lines:
                head.put(file, size, synced=True)
        head.vouch(heads.PENDING)
        head.close()
    recordings.make(recordings.log(KEEPER))
    fresh.rename(heads.folder(signer.folder_id))
    heads.note_root(signer.folder_id, recordings.root)


def _checkpoint(folder: Path, signer: Signer) -> Checkpoint | None:
    try:
        return verify((folder / CHECKPOINT).read_bytes(), signer.key)
    except (OSError, CheckpointError):
        return None


def _size(path: Path, signed: Size | None) -> Size:
    """Return the size of the complete lines of *path*.

    If they differ from *signed*, return *signed*, so that the log counts as damaged.
    """
    hashed = leaf_hash if path.name == FILE else line_hash
    lines = path.read_bytes().split(b"\n")[:-1] if path.is_file() and not path.is_symlink() else []
    if signed is not None and not begins(lines, signed, hashed):
        return signed
    tree = Tree(map(hashed, lines))
    return Size(tree.size, tree.root())


def _adopt_log(recordings: Recordings, log: Log) -> int:
    """Seal the worker's open segments in their present state and vouch for later ones. Return its segment count."""
    found = [
        stands(recordings, path.relative_to(recordings.segments).with_suffix("").as_posix())
        for path in sorted(recordings.segments.glob(f"*/*/{log.worker}-*.mitm"))
    ]
    seal(recordings, log, [one for one in found if one.segment not in log.sealed], Repairs())
    if log.worker == KEEPER:
        _adopt_holds(recordings, log)
    log.adopt()
    return len(log.sealed)


def _adopt_holds(recordings: Recordings, log: Log) -> None:
    """Take over the holds of older versions. Raises OSError if they are unreadable: then nothing may be removed."""
    path = recordings.root / _OLD_HOLDS
    if not os.path.lexists(path):
        return
    try:
        old = msgspec.json.decode(path.read_bytes(), type=list[dict[str, str]])
        held = [Held(hold=hold.pop("name"), **hold) for hold in old]
    except (msgspec.MsgspecError, KeyError, TypeError):
        raise OSError(f"{path} is not readable; restore it, or remove it if no holds existed") from None
    known = set(log.read(HOLDS))
    for hold in held:
        if (line := msgspec.json.encode(hold)) not in known:
            log.write(HOLDS, line)
    log.append(quarantine.set_aside(recordings, path, "replaced: its holds are in log/keeper/holds.jsonl now"))
