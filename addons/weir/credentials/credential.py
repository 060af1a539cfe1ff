"""The upstream's credential: one header or query parameter, sent to one origin only. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote_plus

from weir.base.mistakes import SettingError
from weir.base.secret import Secret
from weir.config.model import CredentialSettings
from weir.config.sources import resolve
from weir.routing.model import Origin

_HEADER = re.compile(r"[A-Za-z0-9-]+")
_PARAMETER = re.compile(r"[A-Za-z0-9_.-]+")


class WrongOrigin(Exception):
    """A request would have carried a credential to an origin other than its own."""


@dataclass(frozen=True, slots=True)
class Credential:
    """The value to inject, its place, and the one origin that may receive it."""

    origin: Origin
    header: str | None
    query: str | None
    value: Secret
    secret: Secret  # the secret part of the value, without the text around it

    def check(self, origin: Origin) -> None:
        """Raise `WrongOrigin` unless *origin* is this credential's own."""
        if origin != self.origin:
            raise WrongOrigin(f"the credential of {self.origin.host} was not sent to {origin.host}")

    def target(self, target: str) -> str:
        """Return the request *target* with the credential as query parameter, in place of the caller's own."""
        if self.query is None:
            return target
        path, _, query = target.partition("?")
        kept = [p for p in query.split("&") if p and unquote_plus(p.partition("=")[0]).strip() != self.query]
        return f"{path}?{'&'.join([*kept, f'{self.query}={quote(self.value.reveal(), safe="")}'])}"


def compile_credential(
    settings: CredentialSettings, origin: Origin, folder: Path, environment: Mapping[str, str]
) -> Credential:
    """Compile a credential and resolve its secret. Raises `SettingError`."""
    if (settings.header is None) == (settings.query is None):
        raise SettingError("set either `header` or `query`, not both")
    if settings.header is not None and not _HEADER.fullmatch(settings.header):
        raise SettingError(f"{settings.header!r} is not a valid header name", "header")
    if settings.query is not None and not _PARAMETER.fullmatch(settings.query):
        raise SettingError(f"{settings.query!r} is not a valid parameter name", "query")
    value, secret = resolve(settings.value, folder, environment)
    return Credential(origin, settings.header, settings.query, value, secret)
