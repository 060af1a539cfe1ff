"""The upstream's credential: one header or query parameter, for one origin and no other. Pure."""

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
    """A request was about to carry a credential to another origin than its own."""


@dataclass(frozen=True, slots=True)
class Credential:
    """What is injected, where, and the one origin that may receive it."""

    origin: Origin
    header: str | None
    query: str | None
    value: Secret
    secret: Secret  # the part of the value that is secret, without what is written around it

    def check(self, origin: Origin) -> None:
        """Raise `WrongOrigin` unless *origin* is this credential's own."""
        if origin != self.origin:
            raise WrongOrigin(f"the credential of {self.origin.host} was not sent to {origin.host}")

    def target(self, target: str) -> str:
        """The request *target* with the credential as its query parameter, replacing the caller's own."""
        if self.query is None:
            return target
        path, _, query = target.partition("?")
        kept = [p for p in query.split("&") if p and unquote_plus(p.partition("=")[0]).strip() != self.query]
        return f"{path}?{'&'.join([*kept, f'{self.query}={quote(self.value.reveal(), safe="")}'])}"


def compile_credential(
    settings: CredentialSettings, origin: Origin, folder: Path, environment: Mapping[str, str]
) -> Credential:
    """A resolved credential. Raises `SettingError`."""
    if (settings.header is None) == (settings.query is None):
        raise SettingError("name either a header or a query parameter")
    if settings.header is not None and not _HEADER.fullmatch(settings.header):
        raise SettingError(f"{settings.header!r} is not a header's name", "header")
    if settings.query is not None and not _PARAMETER.fullmatch(settings.query):
        raise SettingError(f"{settings.query!r} is not a parameter's name", "query")
    value, secret = resolve(settings.value, folder, environment)
    return Credential(origin, settings.header, settings.query, value, secret)
