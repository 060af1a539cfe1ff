"""The upstream proxy, for sites where the gateway reaches services only through one."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from weir.base.addresses import WORDS, compile_addresses
from weir.base.mistakes import SettingError, placed
from weir.base.secret import Secret
from weir.config.model import UpstreamProxySettings, UpstreamTlsSettings
from weir.config.sources import resolve
from weir.routing.dial import Dial, Dialed
from weir.tls.upstream import compile_upstream_tls

#: A proxy in mitmproxy's form: scheme, then host and port.
Via = tuple[str, tuple[str, int]]


@dataclass(frozen=True, slots=True, repr=False)
class UpstreamProxy:
    """The proxy, how to dial it, and the hosts that are reached without it."""

    scheme: str
    host: Dialed
    port: int
    without: frozenset[str]

    @property
    def via(self) -> Via:
        """The proxy in mitmproxy's form."""
        return self.scheme, (self.host, self.port)

    def serves(self, host: str) -> bool:
        """True if *host* is reached through the proxy."""
        return not any(host == name or host.endswith(f".{name}") for name in self.without)


def compile_proxy(settings: UpstreamProxySettings, folder: Path, environment: Mapping[str, str]) -> UpstreamProxy:
    """Compile the upstream proxy. Raises `SettingError`."""
    try:
        parts = urlsplit(settings.url)
        port = parts.port
    except ValueError as error:
        raise SettingError(f"{settings.url!r} is not a URL ({error})", "url") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/") or parts.query:
        raise SettingError(f"{settings.url!r} is not a proxy; write e.g. http://proxy.example:3128", "url")
    if parts.username is not None:
        raise SettingError("the URL must not contain a credential; use `user` and `password`", "url")
    authorization = None
    if (settings.user is None) != (settings.password is None):
        raise SettingError("set both `user` and `password`, or neither")
    if settings.user is not None and settings.password is not None:
        with placed("password"):
            password, _ = resolve(settings.password, folder, environment)
        credentials = base64.b64encode(f"{settings.user}:{password.reveal()}".encode()).decode()
        authorization = Secret(f"Basic {credentials}")
    tls = None
    if settings.ca is not None:
        tls = compile_upstream_tls(UpstreamTlsSettings(ca=settings.ca), folder)
    dial = Dial("upstream_proxy", compile_addresses(WORDS, parts.hostname.lower()), tls, authorization=authorization)
    return UpstreamProxy(
        parts.scheme,
        Dialed(parts.hostname.lower(), dial),
        port or (443 if parts.scheme == "https" else 80),
        frozenset(name.lower().lstrip(".") for name in settings.except_),
    )
