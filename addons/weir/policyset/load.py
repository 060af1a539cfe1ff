"""Compile the policies folder to a `PolicySet`, which is built and replaced as a whole.

`load` collects all mistakes in one pass; an existing `PolicySet` is valid. Its version is the SHA-256 of the canonical
settings, and every decision carries it.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from weir.auth.issuer import Issuer
from weir.auth.verifier import Verifier
from weir.base.bounds import Bounds
from weir.base.home import HomeError
from weir.base.mistakes import ConfigError, Mistake, SettingError, at
from weir.config.load import Folder, load_folder
from weir.config.model import (
    CertificateEntry,
)
from weir.config.profile_settings import ProfileSettings
from weir.config.sources import Environment
from weir.masking.detectors.custom import compile_detector
from weir.masking.detectors.model import Detector
from weir.masking.keys import keys
from weir.policy.compile import compile_category
from weir.policyset.bounds import compile_bounds
from weir.policyset.compile_connection import compile_connection
from weir.policyset.connection import Connection
from weir.policyset.extensions import Extensions, load_extensions
from weir.policyset.gateway import (
    check_store,
    compile_admin,
    compile_checkpoints,
    compile_directory,
    compile_issuers,
    compile_leaves,
    compile_listeners,
    compile_namespaces,
    compile_passes,
    compile_presenters,
    compile_public_url,
    compile_readers,
    compile_timezone,
)
from weir.policyset.model import Namespaces, PolicySet
from weir.profiles.profile import Profile, compile_profile, names
from weir.recorder.settings import compile_keep, compile_keep_bodies
from weir.routing.destinations import Destinations
from weir.routing.model import Match, is_loopback
from weir.routing.proxy import compile_proxy
from weir.routing.table import Table
from weir.tls import ca


def folder_path(option: str | None = None, environment: Mapping[str, str] = os.environ) -> Path:
    """Return the policies folder: the option, else ``WEIR_POLICIES``, else ``policies``."""
    return Path(option or environment.get("WEIR_POLICIES") or "policies")


def load(
    path: Path, environment: Mapping[str, str] = os.environ, carried: Mapping[str, Issuer] | None = None
) -> PolicySet:
    """Read and compile the folder at *path*. Raises `ConfigError` with all mistakes.

    Issuers in *carried* with unchanged settings are reused, with their cached keys and verdicts.
    """
    folder = load_folder(path)
    mistakes: list[Mistake] = list(folder.mistakes)
    gateway = folder.gateway
    errors: list[SettingError] = []
    extensions = load_extensions(gateway.settings.extensions, errors)
    missing = environment.missing if isinstance(environment, _StandIns) else None
    environment = Environment(environment, extensions.sources, missing)
    listeners = compile_listeners(gateway.settings, path, errors)
    passes = compile_passes(gateway.settings, errors)
    proxy = None
    if gateway.settings.upstream_proxy is not None:
        with at(errors, "upstream_proxy"):
            proxy = compile_proxy(gateway.settings.upstream_proxy, path, environment)
    issuers = [(carried or {}).get(i.made_of, i) for i in compile_issuers(gateway.settings, path, environment, errors)]
    limits = Bounds()
    with at(errors, "bounds"):
        limits = compile_bounds(gateway.settings.bounds)
    presenters = compile_presenters(gateway.settings, path, errors)
    public_url = compile_public_url(gateway.settings, errors)
    with at(errors, "limits"):
        check_store(gateway.settings.limits, "memory")
    with at(errors, "state"):
        check_store(gateway.settings.state, "sqlite")
    timezone = compile_timezone(gateway.settings, errors)
    readers = keep = keep_bodies = None
    checkpoints: list[Mapping[str, Any]] = []
    for i, target in enumerate(gateway.settings.checkpoints):
        with at(errors, "checkpoints", i):
            checkpoints.append(compile_checkpoints(target))
    with at(errors, "record"):
        keep = compile_keep(gateway.settings.record.keep)
        keep_bodies = compile_keep_bodies(gateway.settings.record.bodies, keep)
    with at(errors, "readers"):
        readers = compile_readers(gateway.settings.readers)
    categories: dict[str, str] = {}
    for name, entry in gateway.settings.categories.items():
        with at(errors, "categories", name):
            categories[name] = compile_category(entry, path)
    detectors: dict[str, tuple[Detector, ...]] = dict(extensions.detectors)
    for name, detector in gateway.settings.detectors.items():
        with at(errors, "detectors", name):
            if name in extensions.detectors:
                raise SettingError("is the name of an extension's detector; choose another")
            detectors[name] = compile_detector(name, detector, path)
    trusts_local = "local" in gateway.settings.issuers
    if trusts_local and not all(is_loopback(listener.host) for listener in listeners):
        errors.append(
            SettingError(
                "'local' admits everyone with this machine's key; it is refused unless every listener is on loopback",
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
    profiles = _profiles(folder, extensions.profiles, mistakes)
    namespaces = compile_namespaces(gateway.settings)
    directory = compile_directory(folder, namespaces, mistakes)
    names_ = [document.settings.connection for document in folder.connections]
    admin = compile_admin(gateway, path, names_, environment, mistakes)
    connections: list[Connection] = []
    taken: dict[Match, str] = {}
    for document in folder.connections:
        errors = []
        connection = compile_connection(
            document, folder, namespaces, profiles, categories, directory, mask_keys, detectors, environment, errors
        )
        if connection is not None and connection.match in taken and connection.match != Match():
            errors.append(
                SettingError(f"is also the match of {taken[connection.match]!r}; change one of them", "match")
            )
        if errors:
            mistakes += document.mistakes(errors)
        elif connection is not None:
            taken[connection.match] = connection.name
            connections.append(connection)
    intercepts = any(listener.mode != "reverse" for listener in listeners)
    leaves = compile_leaves(gateway, connections, mistakes, needed=intercepts, to_run=missing is None)
    if mistakes:
        raise ConfigError(mistakes)
    return PolicySet(
        version=_version(folder, categories, detectors, extensions),
        folder=path,
        listeners=listeners,
        recordings=Path(gateway.settings.recordings),
        readers=readers,
        keep=keep,
        keep_bodies=keep_bodies,
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
        extensions=extensions.parts,
        files=_files(folder, ca.certificate_path() if leaves is not None else None),
    )


class _StandIns(Mapping[str, str]):
    """The environment with placeholders for variables that are not set; it keeps their names."""

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


def load_without_secrets(path: Path, environment: Mapping[str, str] = os.environ) -> tuple[PolicySet, list[str]]:
    """Load policies for inspection, not to run: environment variables may be missing. Return the missing names too."""
    stand_ins = _StandIns(environment)
    return load(path, stand_ins), stand_ins.missing


def load_profiles(folder: Folder) -> dict[str, Profile]:
    """Compile the profiles of the policies folder. Raises `ConfigError`."""
    mistakes: list[Mistake] = []
    errors: list[SettingError] = []
    extensions = load_extensions(folder.gateway.settings.extensions, errors)
    mistakes += [folder.gateway.mistake(error) for error in errors]
    profiles = _profiles(folder, extensions.profiles, mistakes)
    if mistakes:
        raise ConfigError(mistakes)
    return profiles


def load_namespaces(path: Path) -> Namespaces:
    """Return the prefixes of groups from the gateway.yaml in *path*, without reading keys, files or credentials."""
    return compile_namespaces(load_folder(path).gateway.settings)


def _version(
    folder: Folder,
    categories: Mapping[str, str],
    detectors: Mapping[str, tuple[Detector, ...]],
    extensions: Extensions,
) -> str:
    gateway = folder.gateway.settings.model_dump(mode="json", by_alias=True)
    if not gateway["extensions"]:
        del gateway["extensions"]  # digests of policies without extensions stay as they were
    settings: dict[str, Any] = {
        "gateway": gateway,
        "connections": {
            d.settings.connection: d.settings.model_dump(mode="json", by_alias=True) for d in folder.connections
        },
        "profiles": {d.settings.profile: d.settings.model_dump(mode="json") for d in folder.profiles},
        "schedules": {Path(d.file).stem: d.settings.model_dump(mode="json") for d in folder.schedules},
        "categories": {name: hashlib.sha256(pattern.encode()).hexdigest() for name, pattern in categories.items()},
        "detectors": {
            name: hashlib.sha256("".join(d.prefilter for d in those).encode()).hexdigest()
            for name, those in detectors.items()
        },
    }
    if extensions.parts:
        settings["extensions"] = [[part.extension, part.version, part.group, part.name] for part in extensions.parts]
    return hashlib.sha256(json.dumps(settings, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _files(folder: Folder, authority: Path | None) -> tuple[Path, ...]:
    """Return the certificate and key files that the settings name, because they can change on their own."""
    named: list[str | None] = []
    for entry in (*folder.gateway.settings.listen, folder.gateway.settings.admin.listen):
        if not isinstance(entry, str) and entry.tls is not None:
            named += [entry.tls.certificate, entry.tls.key]
    if folder.gateway.settings.upstream_proxy is not None:
        named.append(folder.gateway.settings.upstream_proxy.ca)
    named += [e.mtls.ca for e in folder.gateway.settings.issuers if isinstance(e, CertificateEntry)]
    for document in folder.connections:
        if document.settings.tls is not None:
            named += [document.settings.tls.ca, document.settings.tls.certificate, document.settings.tls.key]
    return (*(folder.path / name for name in named if name is not None), *([authority] if authority else []))


def _profiles(folder: Folder, extended: Mapping[str, ProfileSettings], mistakes: list[Mistake]) -> dict[str, Profile]:
    """Compile the profiles of the policies folder, and the ones that are *extended* to it by extensions."""
    own: dict[str, ProfileSettings] = dict(extended)
    for document in folder.profiles:
        name = document.settings.profile
        if name in names() or name in own:
            whose = "a built-in profile" if name in names() else "another profile"
            error = SettingError(f"{name!r} is the name of {whose}; choose another, and `extends: {name}`", "profile")
            mistakes.append(document.mistake(error))
        own.setdefault(name, document.settings)
    profiles = {}
    for name, settings in extended.items():
        errors: list[SettingError] = []
        with at(errors, "extensions"):
            profiles[name] = compile_profile(settings, own)
        mistakes += [folder.gateway.mistake(error) for error in errors]
    for document in folder.profiles:
        errors = []
        with at(errors):
            profiles[document.settings.profile] = compile_profile(document.settings, own)
        mistakes += document.mistakes(errors)
    return profiles
