"""Proofs that one request was recorded in this form. A check needs neither the recordings nor weir.

A proof holds the journal line, the path from it to the root of its journal, and the signed checkpoint. If the journal
is sealed, it also holds the log's entry for the journal and the path from that entry to the log's root. The checkpoint
states the first log entry that the gateway vouches for. For a request from an adopted folder, ``vouched`` is false: the
proof then shows only that the request was in the folder at its adoption.
"""

import json
from pathlib import Path
from typing import Any

from weir.recorder.checkpoint import Key, Size, verify
from weir.recorder.entries import Sealed, begins, decode_entry, line_hash
from weir.recorder.evidence import CHECKPOINT, FILE
from weir.recorder.journal import decode_line
from weir.recorder.merkle import inclusion, leaf_hash


class NoProofError(Exception):
    """No proof is possible, at least for now; the message gives the reason."""


def prove(root: Path, key: Key, request_id: str, segment: str, worker: str) -> dict[str, Any]:
    """Return the proof of *request_id*, which is in *segment* of *worker*.

    Raises `NoProofError`, `CheckpointError`, OSError.
    """
    folder = root / "log" / worker
    note = (folder / CHECKPOINT).read_bytes()
    checkpoint = verify(note, key)
    entries = (folder / FILE).read_bytes().split(b"\n")[:-1] if (folder / FILE).exists() else []
    entries = entries[: checkpoint.log.lines]
    lines = (root / "segments" / f"{segment}.jsonl").read_bytes().split(b"\n")[:-1]
    position = next((i for i, entry in enumerate(entries) if _seals(entry, segment)), None)
    if position is None:
        size = checkpoint.live.get(segment)
        if size is None:
            raise NoProofError("no checkpoint covers it yet; ask again in a few seconds")
        lines = lines[: size.lines]
    index = next((i for i, line in enumerate(lines) if _is_end(line, request_id)), None)
    if index is None:
        raise NoProofError("no checkpoint covers it yet, or it was erased; ask again in a few seconds")
    covered = _sealed_size(entries[position]) if position is not None else checkpoint.live[segment]
    if len(lines) != covered.lines or not begins(lines, covered, line_hash):
        raise NoProofError("its journal differs from the signed journal; see: weir verify")
    if not begins(entries, checkpoint.log, leaf_hash):
        raise NoProofError("the log differs from the signed log; see: weir verify")
    vouched = checkpoint.vouched is not None and (position is None or position >= checkpoint.vouched)
    proof: dict[str, Any] = {
        "format": 1,
        "request_id": request_id,
        "vouched": vouched,
        "line": lines[index].decode(),
        "journal": _path([line_hash(line) for line in lines], index, segment),
        "checkpoint": note.decode(),
        "key": str(key),
    }
    if position is not None:
        proof["entry"] = entries[position].decode()
        proof["log"] = _path([leaf_hash(entry) for entry in entries], position, worker)
    return proof


def write(path: Path, proof: dict[str, Any]) -> None:
    """Write *proof* to *path*. Raises OSError."""
    path.write_text(json.dumps(proof, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _path(hashes: list[bytes], index: int, name: str) -> dict[str, Any]:
    return {"name": name, "index": index, "size": len(hashes), "path": [h.hex() for h in inclusion(hashes, index)]}


def _sealed_size(entry: bytes) -> Size:
    found = decode_entry(entry)
    assert isinstance(found, Sealed)
    return Size(found.lines, bytes.fromhex(found.root))


def _seals(entry: bytes, segment: str) -> bool:
    found = decode_entry(entry)
    return isinstance(found, Sealed) and found.segment == segment


def _is_end(line: bytes, request_id: str) -> bool:
    if request_id.encode() not in line or line.startswith(b'{"erased"'):
        return False
    read = decode_line(line)
    return read.request_id == request_id and not read.intent
