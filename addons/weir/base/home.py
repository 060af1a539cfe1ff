"""The gateway's own folder (``WEIR_HOME``): keys that never lie beside policies or recordings.

Created 0700; each key is made on first use, 0600, by creating it whole under another name and
linking it into place, so that two processes starting at once end up with one key.
"""

import getpass
import hashlib
import hmac
import os
import secrets
from pathlib import Path

import platformdirs


class HomeError(OSError):
    """The folder or a key in it cannot be used; the message says which and what to do."""


def operator_name() -> str:
    """Who runs this process, for records of who did what; a number where the system has no name for them."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return str(os.getuid())


def home() -> Path:
    """``WEIR_HOME``, or the platform's state folder for ``weir``; made if absent."""
    path = Path(os.environ.get("WEIR_HOME") or platformdirs.user_state_dir("weir"))
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise HomeError(f"{path}: cannot be created ({error.strerror}); set WEIR_HOME elsewhere") from None
    return path


def key_file(name: str, make: bytes) -> bytes:
    """The content of *name* in the home folder, which becomes *make* if it does not exist yet."""
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
                pass  # another process was first: its key counts
            finally:
                fresh.unlink()
        if path.stat().st_mode & 0o077:
            raise HomeError(f"{path}: readable by others; run: chmod 600 {path}")
        return path.read_bytes()
    except HomeError:
        raise
    except OSError as error:
        raise HomeError(f"{path}: cannot be used ({error.strerror}); check its owner, or set WEIR_HOME") from None


def derived_key(purpose: str) -> bytes:
    """A 32 byte key for *purpose* (masking, replay), derived from one master key of this gateway."""
    master = key_file("master.key", secrets.token_bytes(32))
    if len(master) < 32:
        raise HomeError(f"{home() / 'master.key'}: shorter than 32 bytes; restore it or remove it to start anew")
    return hmac.digest(master, b"weir/" + purpose.encode(), hashlib.sha256)
