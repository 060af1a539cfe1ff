"""The policies folder, compiled: what every room needs of it, built whole and replaced whole.

`load` finds every mistake of every room in one pass; a `Policies` that exists is valid. Its version
is the SHA-256 of the canonical settings, carried by every decision.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from weir.auth import local
from weir.auth.claims import ClaimRules
from weir.auth.keys import KeySetError, read_key_set
from weir.auth.verifier import Issuer, Verifier
from weir.config.load import Document, Folder, load_folder
from weir.config.model import ConnectionSettings, GatewaySettings, IssuerSettings
from weir.config.problems import ConfigError, Mistake, SettingError, at
from weir.connection import Connection
from weir.credentials.credential import compile_credential
from weir.home import HomeError, derived_key
from weir.jsonpath import PathError, compile_path
from weir.masking.masks import Masks, compile_masks
from weir.policy.conditions import compile_when
from weir.policy.limits import compile_limit
from weir.policy.rules import Rule
from weir.profiles.profile import load_profile
from weir.routing.model import Match, Origin, is_loopback, parse_upstream
from weir.routing.table import Table, compile_match


@dataclass(frozen=True, slots=True)
class Listener:
    """One address to listen on."""

    host: str
    port: int

    @property
    def mode(self) -> str:
        """The mitmproxy mode. Its target is a name that never resolves: routing sets the real one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"reverse:http://weir.invalid@{host}:{self.port}"

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Policies:
    """What the gateway trusts and enforces at one moment."""

    version: str
    folder: Path
    listeners: tuple[Listener, ...]
    recordings: Path
    verifier: Verifier
    trusts_local: bool
    sole_issuer: str | None
    connections: tuple[Connection, ...]
    table: Table[Connection]

    def by_origin(self, origin: Origin) -> list[Connection]:
        """The connections whose upstream is at *origin*."""
        return [c for c in self.connections if c.upstream.origin == origin]


def folder_path(option: str | None = None, environment: Mapping[str, str] = os.environ) -> Path:
    """The policies folder: the option, else ``WEIR_POLICIES``, else ``policies``."""
    return Path(option or environment.get("WEIR_POLICIES") or "policies")


def load(path: Path, environment: Mapping[str, str] = os.environ) -> Policies:
    """Read and compile the folder at *path*. Raises `ConfigError` with every mistake found."""
    folder = load_folder(path)
    mistakes: list[Mistake] = list(folder.mistakes)
    gateway = folder.gateway
    errors: list[SettingError] = []
    listeners = _listeners(gateway.settings, errors)
    issuers = _issuers(gateway.settings, path, errors)
    trusts_local = "local" in gateway.settings.issuers
    if trusts_local and not all(is_loopback(listener.host) for listener in listeners):
        errors.append(
            SettingError(
                "'local' lets anyone with this machine's key in; it is refused unless every listener is on loopback",
                "issuers",
                gateway.settings.issuers.index("local"),
            )
        )
    try:
        mask_key = derived_key("masking")
    except HomeError as error:
        raise ConfigError([Mistake(gateway.file, 1, 1, str(error))]) from None
    mistakes += [gateway.mistake(error) for error in errors]

    names = [issuer.rules.name for issuer in issuers]
    connections: list[Connection] = []
    taken: dict[Match, str] = {}
    for document in folder.connections:
        errors = []
        connection = _connection(document, folder, names, mask_key, environment, errors)
        if connection is not None and connection.match in taken:
            errors.append(
                SettingError(
                    f"is also the match of {taken[connection.match]!r}: no request could be told apart", "match"
                )
            )
        if errors:
            mistakes += [document.mistake(error) for error in errors]
        elif connection is not None:
            taken[connection.match] = connection.name
            connections.append(connection)
    if mistakes:
        raise ConfigError(mistakes)
    return Policies(
        version=_version(folder),
        folder=path,
        listeners=listeners,
        recordings=Path(gateway.settings.recordings),
        verifier=Verifier(issuers),
        trusts_local=trusts_local,
        sole_issuer=names[0] if len(names) == 1 else None,
        connections=tuple(connections),
        table=Table((c.match, c) for c in connections),
    )


def _version(folder: Folder) -> str:
    settings = {
        "gateway": folder.gateway.settings.model_dump(mode="json", by_alias=True),
        "connections": {
            d.settings.connection: d.settings.model_dump(mode="json", by_alias=True) for d in folder.connections
        },
    }
    return hashlib.sha256(json.dumps(settings, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _listeners(settings: GatewaySettings, errors: list[SettingError]) -> tuple[Listener, ...]:
    listeners: list[Listener] = []
    for i, url in enumerate(settings.listen):
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port = None, None
            parts = urlsplit("")
        if parts.scheme != "http" or not host or not port or parts.path not in ("", "/") or parts.query:
            errors.append(SettingError(f"{url!r} is not a listener; write e.g. http://127.0.0.1:8080", "listen", i))
            continue
        listener = Listener(host, port)
        if listener in listeners:
            errors.append(SettingError(f"{url!r} stands twice", "listen", i))
        listeners.append(listener)
    return tuple(listeners)


def _issuers(settings: GatewaySettings, folder: Path, errors: list[SettingError]) -> list[Issuer]:
    issuers: list[Issuer] = []
    for i, entry in enumerate(settings.issuers):
        with at(errors, "issuers", i):
            issuer = _local_issuer() if entry == "local" else _issuer(entry, folder)
            for other in issuers:
                if other.rules.name == issuer.rules.name or other.rules.iss == issuer.rules.iss:
                    raise SettingError(f"{issuer.rules.name!r} has the name or issuer of another")
            issuers.append(issuer)
    return issuers


def _local_issuer() -> Issuer:
    rules = ClaimRules(local.NAME, local.ISSUER, frozenset((local.AUDIENCE,)), compile_path("$.groups"))
    try:
        return Issuer(rules, local.KEY_FILE, local.key_set())
    except (HomeError, ValueError) as error:
        raise SettingError(str(error)) from None


def _issuer(settings: IssuerSettings, folder: Path) -> Issuer:
    if settings.name == local.NAME:
        raise SettingError("'local' is the name of the built-in development issuer", "name")
    try:
        groups = compile_path(settings.groups)
    except PathError as error:
        raise SettingError(str(error), "groups") from None
    rules = ClaimRules(settings.name, settings.issuer, frozenset(settings.audience), groups)
    if "://" in settings.jwks:
        parts = urlsplit(settings.jwks)
        loopback = is_loopback(parts.hostname or "")
        if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and loopback)):
            raise SettingError("keys are fetched over https only (http on loopback)", "jwks")
        return Issuer(rules, settings.jwks)
    try:
        return Issuer(rules, settings.jwks, read_key_set((folder / settings.jwks).read_bytes()))
    except OSError as error:
        raise SettingError(
            f"{settings.jwks} cannot be read ({error.strerror}); check the path, or give a URL", "jwks"
        ) from None
    except KeySetError as error:
        raise SettingError(str(error), "jwks") from None


def _connection(
    document: Document[ConnectionSettings],
    folder: Folder,
    issuers: list[str],
    mask_key: bytes,
    environment: Mapping[str, str],
    errors: list[SettingError],
) -> Connection | None:
    settings = document.settings
    profile = upstream = match = credential = None
    access: list[str] = []
    limits = []
    rules = []
    masks = Masks()
    with at(errors, "profile"):
        profile = load_profile(settings.profile)
    with at(errors, "upstream"):
        upstream = parse_upstream(settings.upstream)
    with at(errors, "match"):
        match = compile_match(settings.match.path, settings.match.host, settings.match.port)
    if settings.credential is not None and upstream is not None:
        with at(errors, "credential"):
            credential = compile_credential(settings.credential, upstream.origin, folder.path, environment)
    for i, group in enumerate(settings.access.groups):
        with at(errors, "access", "groups", i):
            access.append(_group(group, issuers))
    for i, limit in enumerate(settings.limits):
        with at(errors, "limits", i):
            name = f"{settings.connection}-{limit.count}-per-{limit.per}-{i + 1}"
            limits.append(compile_limit(name, limit.rate, limit.per, limit.count, limit.burst))
    seen = set()
    for i, rule in enumerate(settings.rules):
        with at(errors, "rules", i):
            if rule.name in seen:
                raise SettingError(f"{rule.name!r} is already the name of a rule above", "name")
            seen.add(rule.name)
            with_groups = _resolve_groups(rule.when, issuers)
            try:
                condition = compile_when(with_groups)
            except SettingError as error:
                raise SettingError(error.message, "when", *error.location) from None
            line = document.line("rules", i)
            rules.append(Rule(rule.name, condition, rule.effect, rule.message, rule.shadow, document.file, line))
    with at(errors, "masks"):
        masks = compile_masks(settings.masks, mask_key)
    if profile is None or upstream is None or match is None:
        return None
    return Connection(
        name=settings.connection,
        profile=profile,
        upstream=upstream,
        match=match,
        credential=credential,
        access=frozenset(access),
        allow_unknown=settings.unknown_operations == "allow",
        limits=tuple(limits),
        rules=tuple(rules),
        masks=masks,
        file=document.file,
        access_line=document.line("access"),
        limit_lines=tuple(document.line("limits", i) for i in range(len(settings.limits))),
    )


def _group(group: str, issuers: list[str]) -> str:
    """*group* with its issuer's name before it. Raises `SettingError` where that is not certain."""
    name, slash, _ = group.partition("/")
    if slash and name in issuers:
        return group
    if len(issuers) == 1:
        return f"{issuers[0]}/{group}"
    if not issuers:
        raise SettingError("no issuer is configured, so nobody can be in a group; add one to gateway.yaml")
    raise SettingError(
        f"whose {group!r}? With several issuers write one of {', '.join(f'{i}/{group}' for i in issuers)}"
    )


def _resolve_groups(when: object, issuers: list[str]) -> dict[str, object]:
    """*when* with every plain value of the fact ``groups`` namespaced as in `_group`."""
    if not isinstance(when, dict):
        return when  # type: ignore[return-value]  # reported by compile_when
    resolved: dict[str, object] = {}
    for name, value in when.items():
        if name in ("any", "all") and isinstance(value, list):
            resolved[name] = [_resolve_groups(part, issuers) for part in value]
        elif name == "not":
            resolved[name] = _resolve_groups(value, issuers)
        elif name == "groups":
            resolved[name] = _resolve_values(value, issuers)
        else:
            resolved[name] = value
    return resolved


def _resolve_values(value: object, issuers: list[str]) -> object:
    if isinstance(value, str):
        return _group(value, issuers)
    if isinstance(value, list):
        return [_resolve_values(v, issuers) for v in value]
    if isinstance(value, dict):
        return {op: _resolve_values(v, issuers) if op in ("in", "not_in") else v for op, v in value.items()}
    return value
