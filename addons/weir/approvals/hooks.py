"""Compile ``notify:`` of gateway.yaml to hooks for approval notifications. Pure, except for reading secrets."""

import base64
import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from weir.auth.urls import check_url
from weir.base.mistakes import SettingError, did_you_mean, placed
from weir.base.secret import Secret
from weir.config.model import EmailSettings, HookSettings
from weir.config.sources import resolve
from weir.routing.model import is_loopback

HookKind = Literal["webhook", "slack", "teams", "email", "command"]
_NONE = Secret("")
_KINDS: tuple[HookKind, ...] = ("webhook", "slack", "teams", "email", "command")


@dataclass(frozen=True, slots=True, repr=False)
class Mail:
    """The server, sender and recipients of mail."""

    host: str
    port: int
    implicit_tls: bool
    sender: str
    to: tuple[str, ...]
    user: str
    password: Secret


@dataclass(frozen=True, slots=True, repr=False)
class Hook:
    """One receiver of notifications: its address (usually a URL), its events, and its connections (empty: all)."""

    name: str  # identifies the hook in the log and the store, without its address
    kind: HookKind
    on: frozenset[str]
    connections: frozenset[str]
    url: Secret = _NONE
    secret: Secret = _NONE
    mail: Mail | None = None
    command: tuple[str, ...] = ()


def compile_hook(
    settings: HookSettings, folder: Path, environment: Mapping[str, str], connections: Collection[str]
) -> Hook:
    """Compile a hook. Paths are relative to *folder*. Raises `SettingError`."""
    kinds = [kind for kind in _KINDS if getattr(settings, kind) is not None]
    if len(kinds) != 1:
        raise SettingError(f"name one of {', '.join(_KINDS)}")
    (kind,) = kinds
    if settings.secret is not None and kind != "webhook":
        raise SettingError("only webhooks are signed", "secret")
    for i, name in enumerate(settings.connections):
        if name not in connections:
            message = f"there is no connection {name!r}{did_you_mean(name, connections)}"
            raise SettingError(message, "connections", i)
    url = secret = _NONE
    mail: Mail | None = None
    command: tuple[str, ...] = ()
    if kind == "email":
        assert settings.email is not None
        with placed("email"):
            mail = _mail(settings.email, folder, environment)
        where = f"{mail.host} {' '.join(mail.to)}"
    elif kind == "command":
        command = tuple(settings.command or ())
        if not command:
            raise SettingError("name a program, and its arguments", "command")
        if "/" in command[0]:
            command = (str(folder.resolve() / command[0]), *command[1:])
        where = " ".join(command)
    else:
        with placed(kind):
            url = _url(getattr(settings, kind), folder, environment, secret=kind != "webhook")
        if kind == "webhook":
            if settings.secret is None:
                raise SettingError("a webhook is signed: name a `secret`, e.g. ${env:WEIR_HOOK_SECRET}", "webhook")
            with placed("secret"):
                secret = resolve(settings.secret, folder, environment)[1]
                signing_key(secret.reveal())
        where = url.reveal()
    short = hashlib.sha256(f"{kind} {where}".encode()).hexdigest()[:8]
    on, of = frozenset(settings.on), frozenset(settings.connections)
    return Hook(f"{kind}-{short}", kind, on, of, url, secret, mail, command)


def signing_key(secret: str) -> bytes:
    """Return the key of a webhook's *secret*, which may be Base64 after ``whsec_``. Raises `SettingError`."""
    if not secret.startswith("whsec_"):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        raise SettingError("the part after whsec_ is not Base64") from None


def _url(text: str, folder: Path, environment: Mapping[str, str], *, secret: bool) -> Secret:
    """Return a URL. A URL that is a *secret* itself, as for chat services, must be a reference."""
    value = resolve(text, folder, environment)[0] if secret or "${" in text else Secret(text)
    try:
        check_url(value.reveal())
    except ValueError:
        raise SettingError("must be https://host/…, or http:// on loopback") from None
    return value


def _mail(settings: EmailSettings, folder: Path, environment: Mapping[str, str]) -> Mail:
    try:
        parts = urlsplit(settings.server)
        port = parts.port
    except ValueError:
        parts, port = urlsplit(""), None
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname or parts.username or parts.path not in ("", "/"):
        raise SettingError(f"{settings.server!r} is not a mail server; write e.g. smtp://mail.example:587", "server")
    if (settings.user is None) != (settings.password is None):
        raise SettingError("a user and a password go together; add the missing one", "user")
    password = _NONE
    if settings.password is not None:
        with placed("password"):
            password = resolve(settings.password, folder, environment)[1]
    for i, address in enumerate((settings.sender, *settings.to)):
        if "@" not in address or not address.isprintable() or any(c in address for c in " ,;<>"):
            where = ("sender",) if i == 0 else ("to", i - 1)
            raise SettingError(f"{address!r} is not an address", *where)
    implicit = parts.scheme == "smtps"
    port = port or (465 if implicit else 25 if is_loopback(parts.hostname) else 587)
    return Mail(parts.hostname, port, implicit, settings.sender, tuple(settings.to), settings.user or "", password)
