"""The compiled policies: everything that the gateway trusts and enforces at one time. Immutable."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from weir.approvals.hooks import Hook
from weir.approvals.people import Directory
from weir.auth.certificates import Presenters
from weir.auth.issuer import Issuer
from weir.auth.verifier import Verifier
from weir.base.bounds import Bounds
from weir.base.mistakes import SettingError, did_you_mean
from weir.config.model import (
    HeldSettings,
)
from weir.masking.detectors.model import Detector
from weir.policyset.connection import Connection
from weir.policyset.extensions import Part
from weir.profiles.profile import Profile
from weir.recorder.folder import Recordings
from weir.routing.destinations import Destinations
from weir.routing.listener import Listener
from weir.routing.model import Origin
from weir.routing.proxy import UpstreamProxy
from weir.routing.table import Table
from weir.tls.server import Leaves


@dataclass(frozen=True, slots=True)
class Namespaces:
    """The prefixes of groups: the names of the issuers, and ``keys`` if API keys are accepted."""

    by_name: tuple[tuple[str, str], ...]  # the name and the exact `iss` of each issuer
    keys: bool

    @property
    def issuers(self) -> tuple[str, ...]:
        """The names of the issuers."""
        return tuple(name for name, _ in self.by_name)

    def resolve(self, group: str) -> str:
        """Return *group* with its issuer's name as prefix. Raises `SettingError` if the issuer is ambiguous.

        A group without prefix belongs to the only issuer. API keys have groups of their own only without an issuer.
        """
        keys = ("keys",) if self.keys else ()
        names = self.issuers or keys
        name, slash, rest = group.partition("/")
        if slash and rest and name in (*names, *keys):
            return group
        if len(names) == 1:
            if name and slash:  # a group's name may begin with a slash, as in Keycloak's paths
                raise SettingError(f"no issuer is named {name!r}; if the group is called so, write {names[0]}/{group}")
            return f"{names[0]}/{group}"
        if not names:
            raise SettingError("no issuer is configured, so no group has members; add an issuer to gateway.yaml")
        if name and slash:
            raise SettingError(f"no issuer is named {name!r}{did_you_mean(name, (*names, *keys))}")
        raise SettingError(f"the group {group!r} is ambiguous; write one of {', '.join(f'{n}/{group}' for n in names)}")


@dataclass(frozen=True, slots=True, repr=False)
class Admin:
    """The address of ``weir admin``, its URL for reviewers, and the hooks for approval notifications."""

    listener: Listener
    url: str  # without a slash at its end
    named: bool  # gateway.yaml sets the URL, so links for reviewers work
    hooks: tuple[Hook, ...]


@dataclass(frozen=True, slots=True, repr=False)
class PolicySet:
    """Everything that the gateway trusts and enforces at one time."""

    version: str
    folder: Path
    listeners: tuple[Listener, ...]
    recordings: Path
    readers: int | None  # the number of the group that may read recordings
    keep: int | None  # seconds; for recordings of requests to no connection
    keep_bodies: int | None  # seconds; of the same
    checkpoints: tuple[Mapping[str, Any], ...]  # for each target its settings, with the interval in seconds
    verifier: Verifier
    presenters: Presenters  # callers without a token
    issuers: Mapping[str, Issuer]  # by their settings
    trusts_local: bool
    trusts_keys: bool
    namespaces: "Namespaces"
    public_url: str | None  # without a slash at its end
    limits: str  # the store's URL, or "memory"
    timezone: ZoneInfo
    categories: Mapping[str, str]  # patterns by name
    detectors: Mapping[str, tuple[Detector, ...]]  # custom detectors
    profiles: Mapping[str, Profile]  # profiles of the policies folder
    state: str  # "sqlite", or the URL of a Redis
    directory: Directory
    admin: Admin
    held: HeldSettings
    bounds: Bounds
    connections: tuple[Connection, ...]
    table: Table[Connection]
    destinations: Destinations[Connection]
    upstream_proxy: UpstreamProxy | None
    leaves: Leaves | None  # certificates for intercepted callers
    extensions: tuple[Part, ...]  # what was loaded of installed packages
    files: tuple[Path, ...]  # certificates and keys that were read, in any folder

    def __repr__(self) -> str:
        return f"Policies({self.version[:12]})"

    @property
    def recorded(self) -> Recordings:
        """The recordings folder and its readers."""
        return Recordings(self.recordings, self.readers)

    @property
    def reviewed(self) -> bool:
        """True if there is anything for reviewers to decide."""
        return any(
            c.on_request is not None
            or any(r.terms.somebody for r in (*c.rules.rules, *c.response_rules.rules) if not r.shadow)
            for c in self.connections
        )

    def by_origin(self, origin: Origin) -> list[Connection]:
        """Return the connections with an upstream at *origin*."""
        return [c for c in self.connections if c.upstream.origin == origin]
