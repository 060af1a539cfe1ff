"""Compile the parts of gateway.yaml."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from weir.approvals.hooks import compile_hook
from weir.approvals.people import Directory, compile_schedule
from weir.auth import local
from weir.auth.certificates import Presenters, compile_certificates, compile_network
from weir.auth.issuer import Issuer, compile_issuer, local_issuer
from weir.auth.presets import preset_issuer
from weir.base.duration import seconds
from weir.base.home import HomeError
from weir.base.mistakes import Mistake, SettingError, at
from weir.config.load import Document, Folder
from weir.config.model import (
    CertificateEntry,
    GatewaySettings,
    IssuerEntry,
    IssuerSettings,
    ListenerSettings,
    NetworkEntry,
    PublishSettings,
)
from weir.policy.redis_store import check_url
from weir.policyset.connection import Connection
from weir.policyset.model import Admin, Namespaces
from weir.recorder.folder import group_id
from weir.routing.destinations import Pass, compile_pass
from weir.routing.listener import Listener, compile_listener
from weir.routing.model import is_loopback
from weir.state.model import KEYS_ISSUER, KEYS_NAME
from weir.tls import ca
from weir.tls.server import Leaves


def compile_namespaces(settings: GatewaySettings) -> Namespaces:
    by_name = [_named_issuer(entry) for entry in settings.issuers if entry != "keys"]
    return Namespaces(tuple(by_name), "keys" in settings.issuers)


def _named_issuer(entry: IssuerEntry) -> tuple[str, str]:
    """Return an issuer's name, and the exact ``iss`` of its principals."""
    if isinstance(entry, str):
        return local.NAME, local.ISSUER
    if isinstance(entry, CertificateEntry):
        return entry.mtls.name, f"mtls:{entry.mtls.name}"
    if isinstance(entry, NetworkEntry):
        return entry.network.name, f"network:{entry.network.name}"
    return entry.name, entry.issuer or preset_issuer(entry)


def compile_presenters(settings: GatewaySettings, folder: Path, errors: list[SettingError]) -> Presenters:
    certificates, networks, names = [], [], [local.NAME, "keys"]
    names += [_named_issuer(e)[0] for e in settings.issuers if isinstance(e, IssuerSettings)]
    for i, entry in enumerate(settings.issuers):
        if not isinstance(entry, CertificateEntry | NetworkEntry):
            continue
        kind = "mtls" if isinstance(entry, CertificateEntry) else "network"
        with at(errors, "issuers", i, kind):
            name = _named_issuer(entry)[0]
            if name in names:
                raise SettingError(f"{name!r} is the name of another issuer, or of a built-in one", "name")
            names.append(name)
            if isinstance(entry, CertificateEntry):
                certificates.append(compile_certificates(entry.mtls, folder))
            else:
                networks.append(compile_network(entry.network))
    return Presenters(certificates, networks)


def compile_listeners(settings: GatewaySettings, folder: Path, errors: list[SettingError]) -> tuple[Listener, ...]:
    listeners: list[Listener] = []
    for i, entry in enumerate(settings.listen):
        with at(errors, "listen", i):
            listener = compile_listener(entry, folder, asks=_asks(settings))
            if any((other.host, other.port) == (listener.host, listener.port) for other in listeners):
                raise SettingError(f"{listener} is listed twice")
            listeners.append(listener)
    return tuple(listeners)


def compile_passes(settings: GatewaySettings, errors: list[SettingError]) -> tuple[Pass, ...]:
    passes: list[Pass] = []
    for i, entry in enumerate(settings.pass_):
        with at(errors, "pass", i):
            passes.append(compile_pass(entry))
    return tuple(passes)


def compile_leaves(
    gateway: Document[GatewaySettings],
    connections: list[Connection],
    mistakes: list[Mistake],
    *,
    needed: bool,
    to_run: bool,
) -> Leaves | None:
    """Return the certificates for intercepted callers. It is a mistake if they are *needed* but missing.

    Policies can also be inspected (not *to_run*) on a machine without the gateway's CA.
    """
    hosts = {c.upstream.origin.host for c in connections if c.upstream.origin.scheme == "https"}
    if not hosts:
        return None
    try:
        authority = ca.current()
    except HomeError as error:
        if needed:
            mistakes.append(gateway.mistake(SettingError(str(error), "listen")))
        return None
    missing = hosts if authority is None else {host for host in hosts if not authority.covers(host)}
    if needed and missing and (to_run or authority is not None):
        what = "it does not exist" if authority is None else f"it is not valid for {', '.join(sorted(missing))}"
        how = "weir ca create" if authority is None else "weir ca rotate"
        message = f"callers are intercepted with the gateway's own CA, but {what}; run: {how}"
        mistakes.append(gateway.mistake(SettingError(message, "listen")))
    return Leaves(authority, asks=_asks(gateway.settings)) if authority is not None else None


def _asks(settings: GatewaySettings) -> bool:
    """True if listeners with TLS ask callers for a certificate."""
    return any(isinstance(entry, CertificateEntry) for entry in settings.issuers)


def compile_issuers(
    settings: GatewaySettings, folder: Path, environment: Mapping[str, str], errors: list[SettingError]
) -> list[Issuer]:
    issuers: list[Issuer] = []
    for i, entry in enumerate(settings.issuers):
        if entry == "keys" or isinstance(entry, CertificateEntry | NetworkEntry):
            continue
        with at(errors, "issuers", i):
            issuer = local_issuer() if entry == "local" else compile_issuer(entry, folder, environment)
            for other in issuers:
                _check_apart(issuer, other)
            issuers.append(issuer)
    twice = [word for word in ("local", "keys") if settings.issuers.count(word) > 1]
    errors += [SettingError(f"{word!r} is listed twice", "issuers") for word in twice]
    return issuers


def _check_apart(issuer: Issuer, other: Issuer) -> None:
    """Raise `SettingError` if a token could belong to both entries: one `iss` may occur twice with other audiences."""
    one, two = issuer.rules, other.rules
    if one.name == two.name:
        raise SettingError(f"{one.name!r} has the name of an issuer above")
    if one.iss != two.iss:
        return
    if shared := (one.audiences & two.audiences) | (one.clients & two.clients):
        raise SettingError(
            f"{one.name!r} has the issuer and the audience {min(shared)!r} of {two.name!r} above; give them different "
            "audiences"
        )
    if any(each.introspector is not None and not each.introspector.audience_required for each in (issuer, other)):
        raise SettingError(
            f"{one.name!r} has the issuer of {two.name!r} above, so opaque tokens need an audience; set "
            "`introspection.audience: required`"
        )


def compile_public_url(settings: GatewaySettings, errors: list[SettingError]) -> str | None:
    if settings.public_url is None:
        return None
    with at(errors, "public_url"):
        return _own_url(settings.public_url)
    return None


def _own_url(text: str) -> str:
    """Return *text* without a final slash. Raises `SettingError`."""
    url = text.rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise SettingError(f"{url!r} is not the gateway's URL; write e.g. https://weir.example")
    return url


def check_store(url: str, word: str) -> str:
    """Return *url* if it is *word* or a Redis URL. Raises `SettingError`."""
    if url != word:
        if not url.startswith(("redis://", "rediss://", "unix://")):
            raise SettingError(f"{url[:20]!r} is not a store; write {word}, or redis://host:6379/0")
        if importlib.util.find_spec("redis") is None:
            raise SettingError("redis is not installed; run: pip install 'weir[redis]'")
        try:
            check_url(url)
        except ValueError as error:
            raise SettingError(f"is not a URL of a Redis ({error})") from None
    return url


def compile_checkpoints(settings: PublishSettings) -> dict[str, Any]:
    """Return the settings of a checkpoint target, with its interval in ``seconds``. Raises `SettingError`."""
    if settings.webhook is not None and urlsplit(settings.webhook).scheme not in ("http", "https"):
        raise SettingError(f"{settings.webhook!r} is not a URL; write e.g. https://audit.example/weir", "webhook")
    if settings.store is not None and importlib.util.find_spec("obstore") is None:
        raise SettingError("obstore is not installed; run: pip install 'weir[store]'", "store")
    try:
        return {**settings.model_dump(exclude={"every"}), "seconds": seconds(settings.every)}
    except ValueError as error:
        raise SettingError(str(error), "every") from None


def compile_readers(name: str | None) -> int | None:
    try:
        return None if name is None else group_id(name)
    except KeyError:
        raise SettingError(f"this system has no group {name!r}; create it, or leave `readers` out") from None


def compile_timezone(settings: GatewaySettings, errors: list[SettingError]) -> ZoneInfo:
    try:
        return ZoneInfo(settings.timezone)
    except (ValueError, OSError, KeyError):
        message = f"{settings.timezone!r} is not a time zone; write e.g. Europe/Berlin"
        errors.append(SettingError(message, "timezone"))
        return ZoneInfo("UTC")


def compile_directory(folder: Folder, namespaces: Namespaces, mistakes: list[Mistake]) -> Directory:
    """Compile linked identities, machines, and on-call schedules."""
    gateway = folder.gateway
    isses = {**dict(namespaces.by_name), **({KEYS_NAME: KEYS_ISSUER} if namespaces.keys else {})}
    humans: dict[tuple[str, str], int] = {}
    errors: list[SettingError] = []
    for number, names_ in enumerate(gateway.settings.same_person):
        for i, name in enumerate(names_):
            with at(errors, "same_person", number, i):
                issuer, _, sub = namespaces.resolve(name).partition("/")
                if humans.setdefault((isses[issuer], sub), number) != number:
                    raise SettingError(f"{name!r} already belongs to another person above")
    mistakes += gateway.mistakes(errors)
    schedules = {}
    for document in folder.schedules:
        errors = []
        with at(errors):
            schedules[Path(document.file).stem] = compile_schedule(document.settings, namespaces.resolve)
        mistakes += document.mistakes(errors)
    machines = {
        _named_issuer(e)[1]
        for e in gateway.settings.issuers
        if isinstance(e, CertificateEntry | NetworkEntry) or (isinstance(e, IssuerSettings) and e.preset is not None)
    }
    return Directory(humans, frozenset((*machines, KEYS_ISSUER)), schedules)


def _admin_listener(entry: str | ListenerSettings, folder: Path) -> Listener:
    """Compile where ``weir admin`` listens. Raises `SettingError`."""
    listener = compile_listener(entry, folder)
    if listener.mode != "reverse":
        raise SettingError("reviewers call `weir admin` itself, not through a proxy; remove `mode`", "mode")
    if isinstance(entry, ListenerSettings) and entry.tls is not None and entry.tls.client_certificates:
        message = "reviewers use tokens, and client certificates are not read here; remove it"
        raise SettingError(message, "tls", "client_certificates")
    return listener


def compile_admin(
    gateway: Document[GatewaySettings],
    folder: Path,
    connections: list[str],
    environment: Mapping[str, str],
    mistakes: list[Mistake],
) -> Admin:
    settings, errors = gateway.settings, list[SettingError]()
    listener, url, hooks = Listener("127.0.0.1", 8081), None, []
    with at(errors, "admin", "listen"):
        listener = _admin_listener(settings.admin.listen, folder)
        if "local" in settings.issuers and not is_loopback(listener.host):
            raise SettingError("'local' lets everyone with this machine's key decide; listen on loopback, or remove it")
    if settings.admin.url is not None:
        with at(errors, "admin", "url"):
            url = _own_url(settings.admin.url)
    for i, hook in enumerate(settings.notify):
        with at(errors, "notify", i):
            hooks.append(compile_hook(hook, folder, environment, connections))
    mistakes += gateway.mistakes(errors)
    return Admin(listener, url or str(listener), url is not None, tuple(hooks))
