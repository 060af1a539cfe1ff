"""Where requests come from and go to, as values."""

from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from weir.base.mistakes import SettingError

_DEFAULT_PORTS = {"http": 80, "https": 443}


def is_loopback(host: str) -> bool:
    """Whether *host*, as written in a configuration, can only mean this machine."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host (lower case) and port: the whole of what a credential is bound to."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """The Host header for this origin."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Upstream:
    """The service behind a connection: its origin, and a path that is put before every request's."""

    origin: Origin
    base_path: str


@dataclass(frozen=True, slots=True)
class Match:
    """Which requests are a connection's: a path prefix, a host name, a listener port; all named must hold."""

    path: str | None = None
    host: str | None = None
    port: int | None = None


def parse_upstream(url: str) -> Upstream:
    """``https://host[:port][/path]`` as a value. Raises `SettingError` for anything else."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise SettingError(f"{url!r} is not a URL ({error})") from None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise SettingError(f"{url!r} must be http://host or https://host")
    if parts.username is not None or parts.password is not None:
        raise SettingError("a credential does not belong in the upstream's URL; use `credential`")
    if parts.query or parts.fragment:
        raise SettingError(f"{url!r} must not have a query or fragment")
    origin = Origin(parts.scheme, parts.hostname.lower(), port or _DEFAULT_PORTS[parts.scheme])
    return Upstream(origin, parts.path.rstrip("/"))
