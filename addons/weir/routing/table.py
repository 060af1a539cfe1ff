"""The routing table: finds the connection of a request. Pure; built completely at load.

The most specific match wins: a match with a host before one without, then a match with a port, then the longest path
prefix. Two connections with the same match are a mistake.
"""

from collections.abc import Iterable
from typing import NamedTuple

from weir.base.mistakes import SettingError
from weir.routing.head import HeadError, check_path
from weir.routing.model import Match


class Routed[C](NamedTuple):
    """The connection, and the path below its prefix (always starts with ``/``)."""

    connection: C
    path: str


class Table[C]:
    """Matches, most specific first."""

    def __init__(self, entries: Iterable[tuple[Match, C]]) -> None:
        self._entries = sorted(entries, key=lambda e: _specificity(e[0]), reverse=True)

    def route(self, host: str, port: int, path: str) -> Routed[C] | None:
        """Return the connection for a request to *host* on the listener's *port*; None if none exists."""
        for match, connection in self._entries:
            if match.host is not None and match.host != host:
                continue
            if match.port is not None and match.port != port:
                continue
            prefix = match.path
            if prefix is None:
                return Routed(connection, path)
            if path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] in ("", "/"):
                return Routed(connection, path[len(prefix) :] or "/")
        return None


def compile_match(path: str | None, host: str | None, port: int | None, *, needed: bool = True) -> Match:
    """Check and return a `Match`. It may be empty only if none is *needed*. Raises `SettingError`."""
    if needed and path is None and host is None and port is None:
        raise SettingError("set `path`, `host` or `port`; otherwise no request reaches this connection")
    if path is not None:
        if not path.startswith("/"):
            raise SettingError(f"{path!r} must start with '/'", "path")
        try:
            check_path(path.encode())
        except HeadError as error:
            raise SettingError(f"{path!r} is not a valid path: {error}", "path") from None
        path = path.rstrip("/") or None
    return Match(path, host.lower() if host else None, port)


def _specificity(match: Match) -> tuple[bool, bool, int]:
    return match.host is not None, match.port is not None, len(match.path or "")
