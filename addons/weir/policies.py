"""The policies folder, compiled: what every room needs of it, built whole and replaced whole.

`load` finds every mistake of every room in one pass; a `Policies` that exists is valid. Its version
is the SHA-256 of the canonical settings, carried by every decision.
"""

import hashlib
import importlib.util
import json
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from weir.admin.hooks import Hook, compile_hook
from weir.approvals.people import Directory, compile_schedule
from weir.approvals.terms import compile_window
from weir.auth import local
from weir.auth.certificates import Presenters, compile_certificates, compile_network
from weir.auth.issuer import Issuer, compile_issuer, local_issuer
from weir.auth.presets import preset_issuer
from weir.auth.verifier import Verifier
from weir.bounds import Bounds, compile_bounds
from weir.config.load import Document, Folder, load_folder
from weir.config.model import (
    CertificateEntry,
    ConnectionSettings,
    GatewaySettings,
    HeldSettings,
    IssuerEntry,
    IssuerSettings,
    NetworkEntry,
    OnRequestSettings,
    PublishSettings,
)
from weir.config.problems import ConfigError, Mistake, SettingError, at, did_you_mean
from weir.connection import Connection, OnRequest
from weir.credentials.credential import compile_credential
from weir.duration import seconds
from weir.home import HomeError
from weir.masking.detectors.custom import compile_detector
from weir.masking.detectors.model import Detector
from weir.masking.keys import MaskingKey, connection_key, keys
from weir.masking.masks import Masks, compile_masks
from weir.masking.strategies import Tokens
from weir.policy.compile import compile_category, compile_limits, compile_rules, compile_trip
from weir.policy.redis_store import check_url
from weir.policy.rules import Rules
from weir.profiles.profile import Profile, compile_profile, load_profile, names
from weir.profiles.settings import ProfileSettings
from weir.recorder.folder import Recordings, group_id
from weir.recorder.settings import Recording, compile_keep, compile_record
from weir.routing.addresses import compile_addresses
from weir.routing.destinations import Destinations, Pass, compile_pass
from weir.routing.dial import Dial
from weir.routing.head import HeadError, check_path
from weir.routing.listener import Listener, compile_listener
from weir.routing.model import Match, Origin, is_loopback, parse_upstream
from weir.routing.proxy import UpstreamProxy, compile_proxy
from weir.routing.table import Table, compile_match
from weir.state.model import KEYS_ISSUER, KEYS_NAME
from weir.tls import ca
from weir.tls.server import Leaves
from weir.tls.upstream import compile_upstream_tls


@dataclass(frozen=True, slots=True)
class Namespaces:
    """The names that stand before groups: those of the issuers, and ``keys`` where API keys are accepted."""

    by_name: tuple[tuple[str, str], ...]  # each issuer's name and its exact `iss`
    keys: bool

    @property
    def issuers(self) -> tuple[str, ...]:
        """The issuers' names."""
        return tuple(name for name, _ in self.by_name)

    def resolve(self, group: str) -> str:
        """*group* with its issuer's name before it. Raises `SettingError` where that is not certain.

        A bare group is the sole issuer's. API keys have no groups of their own where there is an issuer.
        """
        keys = ("keys",) if self.keys else ()
        names = self.issuers or keys
        name, slash, rest = group.partition("/")
        if slash and rest and name in (*names, *keys):
            return group
        if len(names) == 1:
            if name and slash:  # a group's own name may begin with a slash, as in Keycloak's paths
                raise SettingError(f"no issuer is named {name!r}; if the group is called so, write {names[0]}/{group}")
            return f"{names[0]}/{group}"
        if not names:
            raise SettingError("no issuer is configured, so nobody can be in a group; add one to gateway.yaml")
        if name and slash:
            raise SettingError(f"no issuer is named {name!r}{did_you_mean(name, (*names, *keys))}")
        raise SettingError(
            f"whose {group!r}? With several issuers write one of {', '.join(f'{n}/{group}' for n in names)}"
        )


@dataclass(frozen=True, slots=True, repr=False)
class Admin:
    """Where ``weir admin`` listens, under which URL reviewers reach it, and who is told of approvals."""

    listener: Listener
    url: str  # without a slash at its end
    named: bool  # the URL is said in gateway.yaml: reviewers can be sent there
    hooks: tuple[Hook, ...]


@dataclass(frozen=True, slots=True, repr=False)
class Policies:
    """What the gateway trusts and enforces at one moment."""

    version: str
    folder: Path
    listeners: tuple[Listener, ...]
    recordings: Path
    readers: int | None  # the number of the group that may read recordings
    keep: int | None  # seconds, of recordings of requests to no connection
    checkpoints: tuple[Mapping[str, Any], ...]  # where they are sent: its settings, and how often in seconds
    verifier: Verifier
    presenters: Presenters  # of callers that need no token
    issuers: Mapping[str, Issuer]  # by what they were made of
    trusts_local: bool
    trusts_keys: bool
    namespaces: "Namespaces"
    public_url: str | None  # without a slash at its end
    limits: str  # the store's URL, or "memory"
    timezone: ZoneInfo
    categories: Mapping[str, str]  # the pattern of each
    detectors: Mapping[str, tuple[Detector, ...]]  # the policies' own
    profiles: Mapping[str, Profile]  # the folder's own
    state: str  # "sqlite", or the URL of a Redis
    directory: Directory
    admin: Admin
    held: HeldSettings
    bounds: Bounds
    connections: tuple[Connection, ...]
    table: Table[Connection]
    destinations: Destinations[Connection]
    upstream_proxy: UpstreamProxy | None
    leaves: Leaves | None  # where callers are intercepted
    files: tuple[Path, ...]  # certificates and keys that they were made of, wherever they lie

    def __repr__(self) -> str:
        return f"Policies({self.version[:12]})"

    @property
    def recorded(self) -> Recordings:
        """The recordings folder, and who may read it."""
        return Recordings(self.recordings, self.readers)

    @property
    def reviewed(self) -> bool:
        """Whether there is anything that reviewers could decide."""
        return any(
            c.on_request is not None
            or any(r.terms.somebody for r in (*c.rules.rules, *c.response_rules.rules) if not r.shadow)
            for c in self.connections
        )

    def by_origin(self, origin: Origin) -> list[Connection]:
        """The connections whose upstream is at *origin*."""
        return [c for c in self.connections if c.upstream.origin == origin]


def folder_path(option: str | None = None, environment: Mapping[str, str] = os.environ) -> Path:
    """The policies folder: the option, else ``WEIR_POLICIES``, else ``policies``."""
    return Path(option or environment.get("WEIR_POLICIES") or "policies")


def load(
    path: Path, environment: Mapping[str, str] = os.environ, carried: Mapping[str, Issuer] | None = None
) -> Policies:
    """Read and compile the folder at *path*. Raises `ConfigError` with every mistake found.

    Issuers of *carried* that are made of the same are taken over, with the keys and verdicts that they hold.
    """
    folder = load_folder(path)
    mistakes: list[Mistake] = list(folder.mistakes)
    gateway = folder.gateway
    errors: list[SettingError] = []
    listeners = _listeners(gateway.settings, path, errors)
    passes = _passes(gateway.settings, errors)
    proxy = None
    if gateway.settings.upstream_proxy is not None:
        with at(errors, "upstream_proxy"):
            proxy = compile_proxy(gateway.settings.upstream_proxy, path, environment)
    issuers = [(carried or {}).get(i.made_of, i) for i in _issuers(gateway.settings, path, environment, errors)]
    limits = Bounds()
    with at(errors, "bounds"):
        limits = compile_bounds(gateway.settings.bounds)
    presenters = _presenters(gateway.settings, path, errors)
    public_url = _public_url(gateway.settings, errors)
    with at(errors, "limits"):
        _store(gateway.settings.limits, "memory")
    with at(errors, "state"):
        _store(gateway.settings.state, "sqlite")
    timezone = _timezone(gateway.settings, errors)
    readers = keep = None
    checkpoints: list[Mapping[str, Any]] = []
    for i, target in enumerate(gateway.settings.checkpoints):
        with at(errors, "checkpoints", i):
            checkpoints.append(_target(target))
    with at(errors, "record"):
        keep = compile_keep(gateway.settings.record.keep)
    with at(errors, "readers"):
        readers = _readers(gateway.settings.readers)
    categories: dict[str, str] = {}
    for name, entry in gateway.settings.categories.items():
        with at(errors, "categories", name):
            categories[name] = compile_category(entry, path)
    detectors: dict[str, tuple[Detector, ...]] = {}
    for name, detector in gateway.settings.detectors.items():
        with at(errors, "detectors", name):
            detectors[name] = compile_detector(name, detector, path)
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
        mask_keys = keys()
    except HomeError as error:
        raise ConfigError([Mistake(gateway.file, 1, 1, str(error))]) from None
    mistakes += [gateway.mistake(error) for error in errors]

    trusts_keys = "keys" in gateway.settings.issuers
    profiles = _profiles(folder, mistakes)
    namespaces = _namespaces(gateway.settings)
    directory = _directory(folder, namespaces, mistakes)
    names_ = [document.settings.connection for document in folder.connections]
    admin = _admin(gateway, path, names_, environment, mistakes)
    connections: list[Connection] = []
    taken: dict[Match, str] = {}
    for document in folder.connections:
        errors = []
        connection = _connection(
            document, folder, namespaces, profiles, categories, directory, mask_keys, detectors, environment, errors
        )
        if connection is not None and connection.match in taken and connection.match != Match():
            errors.append(
                SettingError(
                    f"is also the match of {taken[connection.match]!r}: no request could be told apart", "match"
                )
            )
        if errors:
            mistakes += document.mistakes(errors)
        elif connection is not None:
            taken[connection.match] = connection.name
            connections.append(connection)
    intercepts = any(listener.mode != "reverse" for listener in listeners)
    leaves = _leaves(gateway, connections, mistakes, needed=intercepts, to_run=not isinstance(environment, _StandIns))
    if mistakes:
        raise ConfigError(mistakes)
    return Policies(
        version=_version(folder, categories, detectors),
        folder=path,
        listeners=listeners,
        recordings=Path(gateway.settings.recordings),
        readers=readers,
        keep=keep,
        checkpoints=tuple(checkpoints),
        verifier=Verifier(issuers),
        presenters=presenters,
        issuers={issuer.made_of: issuer for issuer in issuers},
        trusts_local=trusts_local,
        trusts_keys=trusts_keys,
        namespaces=namespaces,
        public_url=public_url,
        limits=gateway.settings.limits,
        timezone=timezone,
        categories=categories,
        detectors=detectors,
        profiles=profiles,
        state=gateway.settings.state,
        directory=directory,
        admin=admin,
        held=gateway.settings.held,
        bounds=limits,
        connections=tuple(connections),
        table=Table((c.match, c) for c in connections if c.match != Match()),
        destinations=Destinations(((c.upstream, c.match.port, c) for c in connections), passes),
        upstream_proxy=proxy,
        leaves=leaves,
        files=_files(folder, ca.certificate_path() if leaves is not None else None),
    )


class _StandIns(Mapping[str, str]):
    """The environment, with something in the place of variables that are not set; their names are kept."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self.missing: list[str] = []

    def __getitem__(self, name: str) -> str:
        if not self._environment.get(name):
            self.missing.append(name)
            return "not-set"
        return self._environment[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._environment)

    def __len__(self) -> int:
        return len(self._environment)


def load_without_secrets(path: Path, environment: Mapping[str, str] = os.environ) -> tuple[Policies, list[str]]:
    """As `load`, but to look at, not to run: environment variables may be missing, whose names are the second."""
    stand_ins = _StandIns(environment)
    return load(path, stand_ins), stand_ins.missing


def load_profiles(folder: Folder) -> dict[str, Profile]:
    """The folder's own profiles. Raises `ConfigError`."""
    mistakes: list[Mistake] = []
    profiles = _profiles(folder, mistakes)
    if mistakes:
        raise ConfigError(mistakes)
    return profiles


def load_namespaces(path: Path) -> Namespaces:
    """Only the names that groups may have, from the gateway.yaml in *path*: no key, file or credential is touched."""
    return _namespaces(load_folder(path).gateway.settings)


def _namespaces(settings: GatewaySettings) -> Namespaces:
    by_name = [_named_issuer(entry) for entry in settings.issuers if entry != "keys"]
    return Namespaces(tuple(by_name), "keys" in settings.issuers)


def _named_issuer(entry: IssuerEntry) -> tuple[str, str]:
    """An issuer's name, and its principals' exact ``iss``."""
    if isinstance(entry, str):
        return local.NAME, local.ISSUER
    if isinstance(entry, CertificateEntry):
        return entry.mtls.name, f"mtls:{entry.mtls.name}"
    if isinstance(entry, NetworkEntry):
        return entry.network.name, f"network:{entry.network.name}"
    return entry.name, entry.issuer or preset_issuer(entry)


def _presenters(settings: GatewaySettings, folder: Path, errors: list[SettingError]) -> Presenters:
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


def _version(folder: Folder, categories: Mapping[str, str], detectors: Mapping[str, tuple[Detector, ...]]) -> str:
    settings = {
        "gateway": folder.gateway.settings.model_dump(mode="json", by_alias=True),
        "connections": {
            d.settings.connection: d.settings.model_dump(mode="json", by_alias=True) for d in folder.connections
        },
        "profiles": {d.settings.profile: d.settings.model_dump(mode="json") for d in folder.profiles},
        "schedules": {Path(d.file).stem: d.settings.model_dump(mode="json") for d in folder.schedules},
        "categories": {name: hashlib.sha256(pattern.encode()).hexdigest() for name, pattern in categories.items()},
        "detectors": {
            name: hashlib.sha256("".join(d.gate for d in those).encode()).hexdigest()
            for name, those in detectors.items()
        },
    }
    return hashlib.sha256(json.dumps(settings, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _listeners(settings: GatewaySettings, folder: Path, errors: list[SettingError]) -> tuple[Listener, ...]:
    listeners: list[Listener] = []
    for i, entry in enumerate(settings.listen):
        with at(errors, "listen", i):
            listener = compile_listener(entry, folder, asks=_asks(settings))
            if any((other.host, other.port) == (listener.host, listener.port) for other in listeners):
                raise SettingError(f"{listener} stands twice")
            listeners.append(listener)
    return tuple(listeners)


def _passes(settings: GatewaySettings, errors: list[SettingError]) -> tuple[Pass, ...]:
    passes: list[Pass] = []
    for i, entry in enumerate(settings.pass_):
        with at(errors, "pass", i):
            passes.append(compile_pass(entry))
    return tuple(passes)


def _files(folder: Folder, authority: Path | None) -> tuple[Path, ...]:
    """The files of certificates and keys that the settings name: they change without them."""
    named: list[str | None] = []
    for entry in folder.gateway.settings.listen:
        if not isinstance(entry, str) and entry.tls is not None:
            named += [entry.tls.certificate, entry.tls.key]
    if folder.gateway.settings.upstream_proxy is not None:
        named.append(folder.gateway.settings.upstream_proxy.ca)
    named += [e.mtls.ca for e in folder.gateway.settings.issuers if isinstance(e, CertificateEntry)]
    for document in folder.connections:
        if document.settings.tls is not None:
            named += [document.settings.tls.ca, document.settings.tls.certificate, document.settings.tls.key]
    return (*(folder.path / name for name in named if name is not None), *([authority] if authority else []))


def _leaves(
    gateway: Document[GatewaySettings],
    connections: list[Connection],
    mistakes: list[Mistake],
    *,
    needed: bool,
    to_run: bool,
) -> Leaves | None:
    """The certificates for callers that are intercepted. Where they are *needed*, it is a mistake not to have them.

    Policies are looked at (and not meant *to_run*) where there is no authority, too.
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
        what = "there is none" if authority is None else f"it may not speak for {', '.join(sorted(missing))}"
        how = "weir ca create" if authority is None else "weir ca rotate"
        message = f"callers are intercepted with the gateway's own CA, and {what}; run: {how}"
        mistakes.append(gateway.mistake(SettingError(message, "listen")))
    return Leaves(authority, asks=_asks(gateway.settings)) if authority is not None else None


def _asks(settings: GatewaySettings) -> bool:
    """Whether callers are asked for a certificate wherever there is TLS."""
    return any(isinstance(entry, CertificateEntry) for entry in settings.issuers)


def _issuers(
    settings: GatewaySettings, folder: Path, environment: Mapping[str, str], errors: list[SettingError]
) -> list[Issuer]:
    issuers: list[Issuer] = []
    for i, entry in enumerate(settings.issuers):
        if entry == "keys" or isinstance(entry, CertificateEntry | NetworkEntry):
            continue
        with at(errors, "issuers", i):
            issuer = local_issuer() if entry == "local" else compile_issuer(entry, folder, environment)
            for other in issuers:
                if other.rules.name == issuer.rules.name or other.rules.iss == issuer.rules.iss:
                    raise SettingError(f"{issuer.rules.name!r} has the name or issuer of {other.rules.name!r} above")
            issuers.append(issuer)
    twice = [word for word in ("local", "keys") if settings.issuers.count(word) > 1]
    errors += [SettingError(f"{word!r} stands twice", "issuers") for word in twice]
    return issuers


def _public_url(settings: GatewaySettings, errors: list[SettingError]) -> str | None:
    if settings.public_url is None:
        return None
    with at(errors, "public_url"):
        return _own_url(settings.public_url)
    return None


def _own_url(text: str) -> str:
    """*text* without a slash at its end. Raises `SettingError`."""
    url = text.rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise SettingError(f"{url!r} is not the gateway's URL; write e.g. https://weir.example")
    return url


def _connection(
    document: Document[ConnectionSettings],
    folder: Folder,
    issuers: Namespaces,
    profiles: Mapping[str, Profile],
    categories: Mapping[str, str],
    directory: Directory,
    mask_keys: list[MaskingKey],
    detectors: Mapping[str, tuple[Detector, ...]],
    environment: Mapping[str, str],
    errors: list[SettingError],
) -> Connection | None:
    settings = document.settings
    profile = upstream = dial = match = credential = trip = on_request = None
    access: list[str] = []
    masks, record = Masks(), Recording()
    with at(errors, "record"):
        record = compile_record(settings.record, folder.gateway.settings.record.keep)
    with at(errors, "profile"):
        profile = profiles.get(settings.profile) or _find_profile(settings.profile, folder)
    with at(errors, "upstream"):
        upstream = parse_upstream(settings.upstream)
        dial = _dial(settings, upstream.origin, folder.path, errors)
    with at(errors, "match"):
        anyhow = any(not isinstance(e, str) and e.mode != "reverse" for e in folder.gateway.settings.listen)
        match = compile_match(settings.match.path, settings.match.host, settings.match.port, needed=not anyhow)
    if settings.credential is not None and upstream is not None:
        with at(errors, "credential"):
            credential = compile_credential(settings.credential, upstream.origin, folder.path, environment)
    for i, group in enumerate(settings.access.groups):
        with at(errors, "access", "groups", i):
            access.append(issuers.resolve(group))
    if settings.access.on_request is not None:
        with at(errors, "access", "on_request"):
            on_request = _on_request(
                settings.access.on_request, settings.connection, settings.upstream, issuers, directory.schedules
            )
    with at(errors, "trip"):
        trip = compile_trip(settings.trip, document.line("trip"))
    limits = compile_limits(document, errors)
    rules, response_rules = compile_rules(document, profile, issuers.resolve, categories, directory.schedules, errors)
    websocket = _websocket(settings.websocket, response_rules, errors)
    with at(errors, "masks"):
        tokens = Tokens([connection_key(key.secret, settings.connection) for key in mask_keys])
        masks = compile_masks(settings.masks, tokens, issuers.resolve, detectors)
    if profile is None or upstream is None or dial is None or match is None:
        return None
    return Connection(
        name=settings.connection,
        profile=profile,
        token_in=frozenset(settings.token_in if settings.token_in is not None else profile.token_in),
        upstream=upstream,
        dial=dial,
        match=match,
        credential=credential,
        access=frozenset(access),
        allow_unknown=settings.unknown_operations == "allow",
        websocket=websocket,
        on_request=on_request,
        trip=trip,
        limits=limits,
        rules=rules,
        response_rules=response_rules,
        masks=masks,
        record=record,
        file=document.file,
        access_line=document.line("access"),
    )


def _dial(settings: ConnectionSettings, origin: Origin, folder: Path, errors: list[SettingError]) -> Dial | None:
    tls = addresses = None
    with at(errors, "tls"):
        if settings.tls is not None and origin.scheme != "https":
            raise SettingError("this upstream is http://; TLS begins with https://")
        tls = compile_upstream_tls(settings.tls, folder)
    with at(errors, "addresses"):
        addresses = compile_addresses(settings.addresses, origin.host)
    return None if addresses is None else Dial(settings.connection, addresses, tls)


def _websocket(paths: list[str], response_rules: Rules, errors: list[SettingError]) -> frozenset[str]:
    for i, path in enumerate(paths):
        with at(errors, "websocket", i):
            try:
                check_path(path.encode())
            except HeadError as error:
                raise SettingError(f"{path!r} is not a path as it is sent: {error}") from None
    with at(errors, "websocket"):
        if paths and response_rules.rules:
            raise SettingError(
                f"the rule {response_rules.rules[0].name!r} judges answers, and would not see what is said over a "
                "WebSocket; give those paths a connection of their own"
            )
    return frozenset(paths)


def _find_profile(name: str, folder: Folder) -> Profile:
    for document in folder.profiles:
        if document.settings.profile != name and Path(document.file).stem == name:
            raise SettingError(f"there is no profile {name!r}; {document.file} declares {document.settings.profile!r}")
    return load_profile(name)


def _on_request(
    settings: OnRequestSettings, connection: str, upstream: str, issuers: Namespaces, schedules: Collection[str]
) -> OnRequest:
    terms = compile_window(settings, issuers.resolve, schedules)
    try:
        digest = hashlib.sha256(repr((connection, upstream, terms)).encode()).hexdigest()
        return OnRequest(terms, seconds(settings.at_most), digest)
    except ValueError as error:
        raise SettingError(str(error), "at_most") from None


def _store(url: str, word: str) -> str:
    """*url*, which is *word* or a Redis's. Raises `SettingError`."""
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


def _target(settings: PublishSettings) -> dict[str, Any]:
    """Where checkpoints are sent, and every how many ``seconds``. Raises `SettingError`."""
    if settings.webhook is not None and urlsplit(settings.webhook).scheme not in ("http", "https"):
        raise SettingError(f"{settings.webhook!r} is no URL; write e.g. https://audit.example/weir", "webhook")
    if settings.store is not None and importlib.util.find_spec("obstore") is None:
        raise SettingError("obstore is not installed; run: pip install 'weir[store]'", "store")
    try:
        return {**settings.model_dump(exclude={"every"}), "seconds": seconds(settings.every)}
    except ValueError as error:
        raise SettingError(str(error), "every") from None


def _readers(name: str | None) -> int | None:
    try:
        return None if name is None else group_id(name)
    except KeyError:
        raise SettingError(f"this system has no group {name!r}; create it, or leave `readers` out") from None


def _timezone(settings: GatewaySettings, errors: list[SettingError]) -> ZoneInfo:
    try:
        return ZoneInfo(settings.timezone)
    except (ValueError, OSError, KeyError):
        message = f"{settings.timezone!r} is not a time zone; write e.g. Europe/Berlin"
        errors.append(SettingError(message, "timezone"))
        return ZoneInfo("UTC")


def _directory(folder: Folder, namespaces: Namespaces, mistakes: list[Mistake]) -> Directory:
    """Linked identities, machines, and the schedules of those on call."""
    gateway = folder.gateway
    isses = {**dict(namespaces.by_name), **({KEYS_NAME: KEYS_ISSUER} if namespaces.keys else {})}
    humans: dict[tuple[str, str], int] = {}
    errors: list[SettingError] = []
    for number, names_ in enumerate(gateway.settings.same_person):
        for i, name in enumerate(names_):
            with at(errors, "same_person", number, i):
                issuer, _, sub = namespaces.resolve(name).partition("/")
                if humans.setdefault((isses[issuer], sub), number) != number:
                    raise SettingError(f"{name!r} is somebody else above")
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


def _admin(
    gateway: Document[GatewaySettings],
    folder: Path,
    connections: list[str],
    environment: Mapping[str, str],
    mistakes: list[Mistake],
) -> Admin:
    settings, errors = gateway.settings, list[SettingError]()
    listener, url, hooks = Listener("127.0.0.1", 8081), None, []
    with at(errors, "admin", "listen"):
        listener = compile_listener(settings.admin.listen, folder)
        if "local" in settings.issuers and not is_loopback(listener.host):
            raise SettingError("'local' lets anyone with this machine's key decide; listen on loopback, or remove it")
    if settings.admin.url is not None:
        with at(errors, "admin", "url"):
            url = _own_url(settings.admin.url)
    for i, hook in enumerate(settings.notify):
        with at(errors, "notify", i):
            hooks.append(compile_hook(hook, folder, environment, connections))
    mistakes += gateway.mistakes(errors)
    return Admin(listener, url or str(listener), url is not None, tuple(hooks))


def _profiles(folder: Folder, mistakes: list[Mistake]) -> dict[str, Profile]:
    """The folder's own profiles, compiled."""
    own: dict[str, ProfileSettings] = {}
    for document in folder.profiles:
        name = document.settings.profile
        if name in names() or name in own:
            whose = "one that comes with weir" if name in names() else "another"
            error = SettingError(f"{name!r} is the name of {whose}; choose another, and `extends: {name}`", "profile")
            mistakes.append(document.mistake(error))
        own.setdefault(name, document.settings)
    profiles = {}
    for document in folder.profiles:
        errors: list[SettingError] = []
        with at(errors):
            profiles[document.settings.profile] = compile_profile(document.settings, own)
        mistakes += document.mistakes(errors)
    return profiles
