"""From a bearer token to a principal: reads key snapshots, never the network; remembers what it verified.

A token's verdict is remembered under its SHA-256 until it expires or its issuer's keys change.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from weir.auth.claims import LEEWAY, ClaimRules, read_principal
from weir.auth.jws import TokenError, check_form, read_jws
from weir.auth.keys import KeySet
from weir.auth.model import Principal

_REMEMBERED = 4096


class KeysUnavailable(Exception):
    """The issuer is configured but its keys have not been obtained: not the caller's fault."""


@dataclass(slots=True)
class Issuer:
    """One trusted issuer: its claim rules, and the snapshot of its keys that a refresh replaces whole."""

    rules: ClaimRules
    source: str
    keys: KeySet | None = None


class Verifier:
    """Verifies tokens of some issuers."""

    def __init__(self, issuers: Iterable[Issuer]) -> None:
        self.issuers = {issuer.rules.iss: issuer for issuer in issuers}
        self._remembered: dict[bytes, tuple[Principal, KeySet]] = {}

    def verify(self, token: str, now: float) -> Principal:
        """The principal of *token* at Unix time *now*. Raises `TokenError` or `KeysUnavailable`."""
        check_form(token)
        digest = hashlib.sha256(token.encode()).digest()
        remembered = self._remembered.get(digest)
        if remembered is not None:
            principal, keys = remembered
            if now < principal.expires + LEEWAY and self.issuers[principal.iss].keys is keys:
                return principal
            del self._remembered[digest]
        jws = read_jws(token)
        iss = jws.claims.get("iss")
        issuer = self.issuers.get(iss) if isinstance(iss, str) else None
        if issuer is None:
            raise TokenError("the token's issuer is not trusted here")
        if issuer.keys is None:
            raise KeysUnavailable(issuer.rules.name)
        issuer.keys.verify(jws)
        principal = read_principal(jws.claims, issuer.rules, now)
        if len(self._remembered) >= _REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[digest] = (principal, issuer.keys)
        return principal
