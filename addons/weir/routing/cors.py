"""Which web pages may call a connection: answers to preflights, and the headers of other answers (WHATWG Fetch, 3.2).

A browser sends the preflight without a token. It lets a page read an answer only if the answer names the page's origin.
Pure; the caller's header fields in, pairs of strings out.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from weir.base.duration import seconds
from weir.base.mistakes import SettingError, at
from weir.config.model import CorsSettings

#: A service's own answer headers of this protocol. They are removed: the connection's `cors` decides.
PREFIX = b"access-control-"

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(:[0-9]{1,5})?")
_NAMES = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+([ \t]*,[ \t]*[!#$%&'*+.^_`|~0-9A-Za-z-]+)*")  # RFC 9110, 5.6.2
#: With cookies or client certificates, a browser does not accept "*" here. So these are named.
_EXPOSED = "RateLimit, RateLimit-Policy, Retry-After, Server-Timing, WWW-Authenticate, X-Request-Id"


@dataclass(frozen=True, slots=True)
class Cors:
    """The origins of one connection's pages."""

    origins: frozenset[str]  # "*" allows every origin
    credentials: bool  # whether pages may send cookies and client certificates
    max_age: int  # how long a browser keeps the answer to a preflight, in seconds

    def allowed(self, fields: Mapping[bytes, bytes]) -> str:
        """Return the value of Access-Control-Allow-Origin for a caller; empty if its origin is not allowed."""
        origin = fields.get(b"origin", b"").decode("ascii", "replace")
        if "*" in self.origins:
            return "*"
        return origin if origin in self.origins else ""

    def answer(self, allowed: str) -> list[tuple[str, str]]:
        """Return the headers of each answer. *allowed* is the value that `allowed` has returned."""
        fields = [] if "*" in self.origins else [("Vary", "Origin")]
        if allowed:
            fields.append(("Access-Control-Allow-Origin", allowed))
            fields.append(("Access-Control-Expose-Headers", _EXPOSED if self.credentials else "*"))
            if self.credentials:
                fields.append(("Access-Control-Allow-Credentials", "true"))
        return fields

    def preflight(self, fields: Mapping[bytes, bytes]) -> list[tuple[str, str]]:
        """Return the further headers of the answer to a preflight: all that it asks for. Policy judges the request."""
        found = [("Access-Control-Max-Age", str(self.max_age))]
        for name in ("Method", "Headers"):
            asked = fields.get(f"access-control-request-{name}".lower().encode(), b"").decode("ascii", "replace")
            if _NAMES.fullmatch(asked):
                found.append((f"Access-Control-Allow-{name.removesuffix('s')}s", asked))
        return found


def is_preflight(method: str, fields: Mapping[bytes, bytes]) -> bool:
    """True if a browser asks whether a page may send a request."""
    return method == "OPTIONS" and b"origin" in fields and b"access-control-request-method" in fields


def compile_cors(settings: CorsSettings | None, errors: list[SettingError]) -> Cors | None:
    """Compile the connection's `cors`; None without it. Mistakes are added to *errors*."""
    if settings is None:
        return None
    age = 0
    with at(errors, "cors", "max_age"):
        try:
            age = int(seconds(settings.max_age))
        except ValueError as error:
            raise SettingError(str(error)) from None
    for i, origin in enumerate(settings.origins):
        with at(errors, "cors", "origins", i):
            _check(origin, settings.credentials)
    return Cors(frozenset(settings.origins), settings.credentials, age)


def _check(origin: str, credentials: bool) -> None:
    if origin == "*":
        if credentials:
            raise SettingError("with `credentials: true`, each origin must be named; '*' would let every page use them")
        return
    if _ORIGIN.fullmatch(origin) is None:
        raise SettingError(
            f"{origin!r} is not an origin as browsers send it; write e.g. https://app.example.com, in lower case, "
            "without a path, and with a port if the URL has one"
        )
    scheme, _, rest = origin.partition("://")
    if (scheme, rest.rpartition(":")[2]) in (("https", "443"), ("http", "80")):
        raise SettingError(f"browsers leave out the usual port; write {origin.rpartition(':')[0]}")
