"""Values for the sources and destinations of requests."""

from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from weir.base.mistakes import SettingError

#: The port of a URL that names none, by scheme.
DEFAULT_PORTS = {"http": 80, "https": 443}


def is_loopback(host: str) -> bool:
    """True if *host*, as written in a configuration, always means this machine."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host (lower case) and port. A credential is bound to all three."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """The Host header for this origin."""
        return self._written if self.port == DEFAULT_PORTS[self.scheme] else self.with_port

    @property
    def with_port(self) -> str:
        """Host and port, also if it is the default port."""
        return f"{self._written}:{self.port}"

    @property
    def _written(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


@dataclass(frozen=True, slots=True)
class Upstream:
    """The service behind a connection: its origin, and the path prefix of every request to it."""

    origin: Origin
    base_path: str


@dataclass(frozen=True, slots=True)
class Match:
    """The requests that belong to a connection: path prefix, host name, listener port. All that are set must match."""

    path: str | None = None
    host: str | None = None
    port: int | None = None


def parse_upstream(url: str) -> Upstream:
    """Parse ``https://host[:port][/path]``. Raises `SettingError` for any other form."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise SettingError(f"{url!r} is not a URL ({error})") from None
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname:
        raise SettingError(f"{url!r} must be http://host or https://host")
    if parts.username is not None or parts.password is not None:
        raise SettingError("the upstream's URL must not contain a credential; use `credential`")
    if parts.query or parts.fragment:
        raise SettingError(f"{url!r} must not have a query or fragment")
    origin = Origin(parts.scheme, parts.hostname.lower(), port or DEFAULT_PORTS[parts.scheme])
    return Upstream(origin, parts.path.rstrip("/"))
