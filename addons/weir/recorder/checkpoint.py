"""Checkpoints: signed statements of the contents of a worker's log at one moment.

The text is a tlog-checkpoint in a signed note (C2SP): origin, number of log entries, root over them; then one line
for each journal that is still written, ``live <segment> <lines> <root>``, and for each administrative file, ``file
<name> <lines> <root>``; then ``vouched <entries>`` and ``time <UTC>``. The signature is Ed25519.

``vouched`` is the number of the first log entry that the gateway vouches for: it compared the recordings with its own
record (`heads`) before it signed the entry. Older versions signed every file that they found; their checkpoints lack
the line.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

_ED25519 = b"\x01"
#: Spaces separate names and newlines separate lines, so names must not contain them.
_NAME = re.compile(r"[^\s\x00-\x1f\x7f]+")
_DASH = "\N{EM DASH}"


class CheckpointError(ValueError):
    """A checkpoint or key is unreadable or does not verify; the message gives the reason."""


@dataclass(frozen=True, slots=True)
class Size:
    """A number of lines, and the Merkle root over them (32 bytes)."""

    lines: int
    root: bytes


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The contents of a checkpoint. ``live`` and ``files`` are keyed by name."""

    origin: str
    log: Size
    time: str
    live: Mapping[str, Size] = field(default_factory=dict)
    files: Mapping[str, Size] = field(default_factory=dict)
    vouched: int | None = None  # number of the first log entry that the gateway vouches for; None: it vouches for none

    @property
    def worker(self) -> str:
        """The worker whose log this is."""
        return self.origin.rpartition("/")[2]

    def text(self) -> str:
        """Return the text to sign, with its last newline. Raises `CheckpointError` if a name cannot be written."""
        named = [("live", name, size) for name, size in sorted(self.live.items())]
        named += [("file", name, size) for name, size in sorted(self.files.items())]
        if any(not _NAME.fullmatch(name) for name in (self.origin, *self.live, *self.files)):
            raise CheckpointError("contains a name with a space or a control character")
        lines = [self.origin, str(self.log.lines), _base64(self.log.root)]
        lines += [f"{kind} {name} {size.lines} {_base64(size.root)}" for kind, name, size in named]
        lines += [] if self.vouched is None else [f"vouched {self.vouched}"]
        return "\n".join([*lines, f"time {self.time}"]) + "\n"


@dataclass(frozen=True, slots=True)
class Key:
    """A public key and the name that it signs under."""

    name: str
    public: bytes  # 32 bytes

    @property
    def hash(self) -> bytes:
        """The four bytes that identify this key in a signature."""
        return hashlib.sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.hash.hex()}+{_base64(_ED25519 + self.public)}"


def parse_key(text: str) -> Key:
    """Parse a key that `Key.__str__` wrote. Raises `CheckpointError`."""
    try:
        name, hash_, encoded = text.strip().split("+", 2)
        raw = base64.b64decode(encoded, validate=True)
        key = Key(name, raw[1:])
        if raw[:1] != _ED25519 or len(raw) != 33 or key.hash.hex() != hash_:
            raise ValueError("its parts do not match")
        return key
    except ValueError:
        raise CheckpointError("is not a public key of weir; `weir evidence key` prints it: name+hash+base64") from None


def public_key(name: str, private: Ed25519PrivateKey) -> Key:
    """Return the public key of *private*, which signs under *name*."""
    return Key(name, private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))


def sign(checkpoint: Checkpoint, name: str, private: Ed25519PrivateKey) -> bytes:
    """Return *checkpoint* as a signed note."""
    text = checkpoint.text()
    signature = public_key(name, private).hash + private.sign(text.encode())
    return f"{text}\n{_DASH} {name} {_base64(signature)}\n".encode()


def verify(note: bytes, key: Key) -> Checkpoint:
    """Return the checkpoint in *note* if *key* signed it. Raises `CheckpointError`."""
    try:
        text, _, signatures = note.decode().rpartition("\n\n")
        text += "\n"
        signed, names = False, list[str]()
        for line in signatures.removesuffix("\n").split("\n"):
            dash, name, encoded = line.split(" ")
            raw = base64.b64decode(encoded, validate=True)
            if dash != _DASH or encoded != _base64(raw) or not signatures.endswith("\n"):
                raise ValueError("written in another way")
            names.append(name)
            if name == key.name and raw[:4] == key.hash:
                Ed25519PublicKey.from_public_bytes(key.public).verify(raw[4:], text.encode())
                signed = True
        if not signed:
            other = "" if key.name in names else f"; it is signed as {', '.join(names)}, but the key is for {key.name}"
            raise CheckpointError(f"is not signed by this key{other}")
        found = _parse(text)
        if found.text() != text:
            raise ValueError("written in another way")
        return found
    except InvalidSignature:
        raise CheckpointError("has a signature that does not match its text") from None
    except CheckpointError:
        raise
    except ValueError:
        raise CheckpointError("is not readable as a checkpoint") from None


def _parse(text: str) -> Checkpoint:
    origin, size, root, *more, time = text.rstrip("\n").split("\n")
    named: dict[str, dict[str, Size]] = {"live": {}, "file": {}}
    vouched = None
    if more and more[-1].startswith("vouched "):
        vouched = int(more.pop().removeprefix("vouched "))
    for line in more:
        kind, name, lines, hash_ = line.split(" ")
        if kind not in named:
            raise ValueError("unknown kind of line")
        named[kind][name] = Size(int(lines), base64.b64decode(hash_, validate=True))
    if not time.startswith("time "):
        raise ValueError("no time")
    log = Size(int(size), base64.b64decode(root, validate=True))
    return Checkpoint(origin, log, time[5:], named["live"], named["file"], vouched)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
