"""The gateway's own folder (``WEIR_HOME``) for keys. Keys are never stored beside policies or recordings.

The folder has mode 0700. Each key is created on first use with mode 0600: written completely under another name, then
linked into place, so that two processes that start together use the same key.
"""

import getpass
import hashlib
import hmac
import os
import secrets
from pathlib import Path

import platformdirs


class HomeError(OSError):
    """The folder or a key in it cannot be used. The message names it and the next action."""


def operator_name() -> str:
    """Return the user of this process, for audit records; the numeric id if the system has no name for it."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())


def home() -> Path:
    """Return ``WEIR_HOME``, or the platform's state folder for ``weir``. Create it if absent. Raises `HomeError`."""
    path = Path(os.environ.get("WEIR_HOME") or platformdirs.user_state_dir("weir"))
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise HomeError(f"{path}: cannot be created ({error.strerror}); set WEIR_HOME to another folder") from None
    return path


def key_file(name: str, make: bytes) -> bytes:
    """Return the content of *name* in the home folder. Create the file with *make* if absent. Raises `HomeError`."""
    path = home() / name
    try:
        if not path.exists():
            fresh = path.with_name(f".{name}.{os.getpid()}.{secrets.token_hex(4)}")
            with os.fdopen(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
                file.write(make)
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(fresh, path)
            except FileExistsError:
                pass  # another process was first; use its key
            finally:
                fresh.unlink()
        if path.stat().st_mode & 0o077:
            raise HomeError(f"{path}: other users can read it; run: chmod 600 {path}")
        return path.read_bytes()
    except HomeError:
        raise
    except OSError as error:
        raise HomeError(f"{path}: cannot be used ({error.strerror}); check its owner, or set WEIR_HOME") from None


def derived_key(purpose: str) -> bytes:
    """Return a 32-byte key for *purpose* (masking, replay), derived from this gateway's master key."""
    master = key_file("master.key", secrets.token_bytes(32))
    if len(master) < 32:
        raise HomeError(f"{home() / 'master.key'}: shorter than 32 bytes; restore it, or remove it to create a new one")
    return hmac.digest(master, b"weir/" + purpose.encode(), hashlib.sha256)
