"""The lines of a worker's log: the fate of each segment and file of the recordings folder.

Entries outlive the data that they describe, so they never name a person.
"""

from collections.abc import Callable, Sequence

import msgspec

from weir.recorder.checkpoint import Size
from weir.recorder.heads import Record
from weir.recorder.merkle import Tree, leaf_hash, root_of


class Begun(msgspec.Struct, frozen=True, tag="begun", tag_field="kind", kw_only=True):
    """A segment that is about to be written. Signed before its files exist, so that no other file passes for it."""

    segment: str
    time: str


class Sealed(msgspec.Struct, frozen=True, tag="sealed", tag_field="kind", kw_only=True):
    """A complete segment: its number of lines, their root (hexadecimal), and the bytes of its flows."""

    segment: str
    lines: int
    root: str
    length: int
    first: str  # earliest time of its lines
    last: str  # latest time of its lines
    time: str


class Removed(msgspec.Struct, frozen=True, tag="removed", tag_field="kind", kw_only=True):
    """The tombstone of a segment that retention removed."""

    segment: str
    lines: int
    root: str
    why: str
    time: str


class Expired(msgspec.Struct, frozen=True, tag="expired", tag_field="kind", kw_only=True):
    """The tombstone of the flows of a segment, ``length`` bytes with all bodies. Its journal and its rows stay."""

    segment: str
    length: int
    why: str
    time: str


class Erased(msgspec.Struct, frozen=True, tag="erased", tag_field="kind", kw_only=True):
    """The tombstone of single lines of a segment or of ``<worker>/<file>``. Line numbers start at 0."""

    segment: str = ""
    file: str = ""
    lines: list[int]
    why: str
    time: str


class Quarantined(msgspec.Struct, frozen=True, tag="quarantined", tag_field="kind", kw_only=True):
    """Data that the gateway cannot authenticate, moved from ``origin`` to ``path``, both below the recordings folder.

    ``offset`` is its position in the original file, and ``sha256`` the digest of its ``length`` bytes.
    """

    path: str
    origin: str
    offset: int = 0
    length: int
    sha256: str
    why: str
    time: str


class Lost(msgspec.Struct, frozen=True, tag="lost", tag_field="kind", kw_only=True):
    """Lines that were written to ``file``, a path below the recordings folder, and were missing after a restart."""

    file: str
    lines: int
    why: str
    time: str


class Adopted(msgspec.Struct, frozen=True, tag="adopted", tag_field="kind", kw_only=True):
    """Adoption of a log: the first ``entries`` were not checked; the gateway vouches for the later ones."""

    entries: int
    time: str


Entry = Begun | Sealed | Removed | Expired | Erased | Quarantined | Lost | Adopted
_decoder: msgspec.json.Decoder[Entry] = msgspec.json.Decoder(Entry)


def decode_entry(line: bytes) -> Entry:
    """Parse one line of a log. Raises `msgspec.MsgspecError`."""
    try:
        return _decoder.decode(line)
    except UnicodeDecodeError:
        raise msgspec.DecodeError("not UTF-8") from None


class ErasedLine(msgspec.Struct):
    """Replaces an erased line: its hash, and the place of its flow."""

    erased: str
    offset: int = 0
    length: int = 0


def erased_line(line: bytes) -> ErasedLine | None:
    """Parse the remains of an erased line; None if *line* is not erased."""
    if not line.startswith(b'{"erased":"'):
        return None
    try:
        found = msgspec.json.decode(line, type=ErasedLine)
        return found if len(bytes.fromhex(found.erased)) == 32 else None
    except (msgspec.MsgspecError, ValueError):
        return None


def line_hash(line: bytes) -> bytes:
    """Return the leaf hash of *line*. An erased line states the hash of its original."""
    erased = erased_line(line)
    return leaf_hash(line) if erased is None else bytes.fromhex(erased.erased)


def begins(lines: Sequence[bytes], size: Size, hashed: Callable[[bytes], bytes]) -> bool:
    """Return whether the first ``size.lines`` of *lines* have the root of *size*."""
    return len(lines) >= size.lines and root_of(map(hashed, lines[: size.lines])) == size.root


def authentic(
    lines: Sequence[bytes], record: Record, signed: Size | None, hashed: Callable[[bytes], bytes], *, this_boot: bool
) -> int | None:
    """Return how many of the first *lines* the gateway wrote; None if a line that it wrote is missing or changed.

    *record* is the gateway's own record of the file. *signed* is the size in its last checkpoint, which is larger than
    the record if ``WEIR_HOME`` was restored from a backup. After a reboot, lines since the last sync may be missing,
    because a power loss can explain that.
    """
    sizes = [record.now, record.synced, *([signed] if signed is not None else [])]
    tree, best = Tree(), 0
    roots = {0: tree.root()}
    ends = {size.lines for size in sizes}
    for line in lines[: max(ends)]:
        tree.add(hashed(line))
        if tree.size in ends:
            roots[tree.size] = tree.root()
    best = max((size.lines for size in sizes if roots.get(size.lines) == size.root), default=0)
    if signed is not None and best < signed.lines:
        return None
    if best >= record.now.lines or (not this_boot and best >= record.synced.lines):
        return best
    return None
