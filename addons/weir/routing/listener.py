"""The listeners: their addresses, and how callers reach the gateway there."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from weir.base.mistakes import SettingError, placed
from weir.config.model import ListenerSettings
from weir.tls.server import ListenerTls, compile_listener_tls

Mode = Literal["reverse", "explicit", "transparent"]

#: The mitmproxy mode of each. A reverse proxy's target is a name that never resolves; routing sets the real one.
_MITMPROXY = {"reverse": "reverse:http://weir.invalid", "explicit": "regular", "transparent": "transparent"}


@dataclass(frozen=True, slots=True)
class Listener:
    """One address to listen on: as the endpoint itself, as a proxy, or transparently in the path."""

    host: str
    port: int
    mode: Mode = "reverse"
    tls: ListenerTls | None = None

    @property
    def spec(self) -> str:
        """The listener as a mitmproxy mode."""
        return f"{_MITMPROXY[self.mode]}@{_authority(self.host, self.port)}"

    def __str__(self) -> str:
        return f"{'https' if self.tls else 'http'}://{_authority(self.host, self.port)}"

    @property
    def where(self) -> tuple[str, int, Mode, bool]:
        """The properties that cannot change while the gateway runs."""
        return self.host, self.port, self.mode, self.tls is not None


def compile_listener(entry: str | ListenerSettings, folder: Path, *, asks: bool = False) -> Listener:
    """Compile a listener of gateway.yaml; paths are relative to *folder*. Raises `SettingError`.

    It requests client certificates if its settings or *asks* require them.
    """
    settings = ListenerSettings(url=entry) if isinstance(entry, str) else entry
    location = [] if isinstance(entry, str) else ["url"]
    try:
        parts = urlsplit(settings.url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not host or not port or parts.path not in ("", "/") or parts.query:
        raise SettingError(f"{settings.url!r} is not a listener; write e.g. http://127.0.0.1:8080", *location)
    if settings.mode == "transparent" and parts.scheme == "https":
        raise SettingError("transparent callers do not know the gateway; write http:// even if they use TLS", *location)
    if parts.scheme == "http":
        if settings.tls is not None:
            raise SettingError("a listener with `tls` must have an https:// URL", *location)
        return Listener(host, port, settings.mode)
    if settings.tls is None:
        raise SettingError(
            "https needs a certificate: {url: https://…, tls: {certificate: file.pem, key: file.key}}", *location
        )
    with placed("tls"):
        tls = compile_listener_tls(settings.tls, folder, asks=asks, http2=settings.mode == "reverse")
    return Listener(host, port, settings.mode, tls)


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
