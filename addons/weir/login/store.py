"""Store logins on a person's machine: one per gateway, in ``logins.json`` in WEIR_HOME (mode 0600).

If the package ``keyring`` is installed and the system has a keyring, the refresh token is stored there instead. A lock
file makes refreshing exclusive, because providers that rotate refresh tokens end a login if one is used twice.
"""

import contextlib
import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from weir.base.home import HomeError, home
from weir.login.model import Option

_FILE = "logins.json"
_LOCK = "logins.lock"
_SERVICE = "weir"


@dataclass(frozen=True, slots=True)
class Login:
    """One login. ``expires`` is Unix time in seconds; ``refresh_token`` is empty if none exists."""

    gateway: str
    option: Option
    token: str
    expires: float
    refresh_token: str
    in_keyring: bool = False


@contextlib.contextmanager
def locked() -> Iterator[None]:
    """Lock the logins against other processes within the block. Waits for the lock."""
    descriptor = os.open(home() / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def gateways() -> list[str]:
    """Return the gateways with a login, latest login last."""
    return list(_read())


def load(gateway: str) -> Login | None:
    """Return the login at *gateway*, or None."""
    entry = _read().get(gateway)
    if entry is None:
        return None
    try:
        option = Option(**{**entry["option"], "scopes": tuple(entry["option"]["scopes"])})
        login = Login(**{**entry, "option": option})
    except (KeyError, TypeError):
        raise HomeError(f"{home() / _FILE}: unknown format; remove the file and log in again") from None
    if login.in_keyring:
        keyring = _keyring()
        stored = keyring.get_password(_SERVICE, gateway) if keyring is not None else None
        login = Login(**{**_fields(login), "refresh_token": stored or ""})
    return login


def save(login: Login) -> None:
    """Store *login* and replace an earlier one at its gateway. Call this within `locked`."""
    entries = _read()
    entries.pop(login.gateway, None)
    in_keyring = False
    keyring = _keyring() if login.refresh_token else None
    if keyring is not None:
        with contextlib.suppress(Exception):  # if the keyring is locked or full, the file holds the token
            keyring.set_password(_SERVICE, login.gateway, login.refresh_token)
            in_keyring = True
    kept = {**_fields(login), "in_keyring": in_keyring, "refresh_token": "" if in_keyring else login.refresh_token}
    entries[login.gateway] = {**kept, "option": asdict(login.option)}
    _write(entries)


def forget(gateway: str) -> None:
    """Remove the login at *gateway* from the file and the keyring. Call this within `locked`."""
    entries = _read()
    entry = entries.pop(gateway, None)
    if entry and entry.get("in_keyring") and (keyring := _keyring()) is not None:
        with contextlib.suppress(Exception):
            keyring.delete_password(_SERVICE, gateway)
    _write(entries)


def _fields(login: Login) -> dict[str, Any]:
    return {name: getattr(login, name) for name in Login.__slots__}


def _read() -> dict[str, Any]:
    path = home() / _FILE
    try:
        if path.stat().st_mode & 0o077:
            raise HomeError(f"{path}: other users can read it; run: chmod 600 {path}")
        entries = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError:
        entries = None
    if not isinstance(entries, dict):
        raise HomeError(f"{path}: unknown format; remove the file and log in again")
    return entries


def _write(entries: dict[str, Any]) -> None:
    path = home() / _FILE
    fresh = path.with_name(f".{_FILE}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(fresh, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as file:
        json.dump(entries, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)


def _keyring() -> Any:
    """Return the system's keyring, or None if it has none that stores secrets."""
    try:
        import keyring  # noqa: PLC0415  # an extra, and slow to import
        from keyring.backends import fail, null  # noqa: PLC0415
    except ImportError:
        return None
    backend = keyring.get_keyring()
    return None if isinstance(backend, fail.Keyring | null.Keyring) else backend
