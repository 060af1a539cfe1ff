"""The compiled policies: everything that the gateway trusts and enforces at one moment. Immutable."""

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
class PolicySet:
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
