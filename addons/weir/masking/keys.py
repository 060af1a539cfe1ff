"""The keys of the ``hash`` strategy. They are stored in the gateway's folder, never beside recordings.

Each connection has its own key, derived from these, so tokens of one connection reveal nothing about another. The
newest key makes new tokens. Tokens of older keys are recognised while those keys are kept.
"""

import base64
import hmac
import json
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from weir.base.home import HomeError, derived_key, home, key_file

FILE = "masking.json"


@dataclass(frozen=True, slots=True)
class MaskingKey:
    """One key: its creation time (Unix seconds) and its 32 bytes."""

    made: float
    secret: bytes


def keys() -> list[MaskingKey]:
    """Return all stored keys, the newest first. Raises `HomeError`."""
    return _read()


def connection_key(secret: bytes, connection: str) -> bytes:
    """Derive the key for one connection's tokens."""
    return hmac.digest(secret, connection.encode(), "sha256")


def rotate(keep: float, now: float | None = None) -> list[MaskingKey]:
    """Add a new key and delete keys that were replaced over *keep* seconds ago. Return the keys, the newest first."""
    moment = time.time() if now is None else now
    keys = [MaskingKey(moment, secrets.token_bytes(32)), *_read()]
    kept = [key for i, key in enumerate(keys) if i == 0 or moment - keys[i - 1].made < keep]
    _write(kept)
    return kept


def _read() -> list[MaskingKey]:
    first = json.dumps([{"made": 0, "secret": base64.b64encode(derived_key("masking")).decode()}])
    content = key_file(FILE, first.encode())
    try:
        keys = [MaskingKey(float(k["made"]), base64.b64decode(k["secret"], validate=True)) for k in json.loads(content)]
        if not keys or any(len(key.secret) != 32 for key in keys):
            raise ValueError("no keys, or short ones")
        return keys
    except (ValueError, KeyError, TypeError):
        raise HomeError(f"{home() / FILE}: not a valid key file; restore it, or delete it to create new keys") from None


def _write(keys: list[MaskingKey]) -> None:
    path: Path = home() / FILE
    fresh = path.with_name(f".{FILE}.{os.getpid()}.{secrets.token_hex(4)}")
    content = json.dumps([{"made": k.made, "secret": base64.b64encode(k.secret).decode()} for k in keys])
    with os.fdopen(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
