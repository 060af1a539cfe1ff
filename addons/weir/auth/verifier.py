"""Resolve a token to its principal. Reads snapshots of keys; asks a provider only if nothing else can decide.

`Verifier.verify` never waits. If it raises `Undecided`, await `Verifier.settle` instead. The principal of a verified
token is cached under the token's SHA-256 digest until the token expires or the keys of its issuer change.
"""

import asyncio
import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from weir.auth.claims import read_principal
from weir.auth.introspector import Verdict
from weir.auth.issuer import Issuer
from weir.auth.jws import Jws, TokenError, check_form, is_jose, read_jws
from weir.auth.keys import KeySet
from weir.base.principal import CERTIFICATE_BOUND, Principal
from weir.base.secret import Secret

_REMEMBERED = 4096
_UNKNOWN_ISSUER = "the token's issuer is not trusted here"


class Undecided(Exception):
    """Only the token's provider can decide; await `Verifier.settle` to ask it."""


class Verifier:
    """Verifies tokens of a set of issuers."""

    def __init__(self, issuers: Iterable[Issuer]) -> None:
        self.issuers = {issuer.rules.name: issuer for issuer in issuers}
        self._by_iss: dict[str, list[Issuer]] = {}
        for issuer in self.issuers.values():
            self._by_iss.setdefault(issuer.rules.iss, []).append(issuer)
        self._introspectors = [i.introspector for i in self.issuers.values() if i.introspector is not None]
        self._remembered: dict[bytes, tuple[Principal, KeySet]] = {}
        self._turnstile = asyncio.Lock()

    def verify(self, token: str, now: float, thumbprint: str = "") -> Principal:
        """Return the principal of *token* at Unix time *now*. Raises `TokenError`, `KeysUnavailable` or `Undecided`.

        *thumbprint* belongs to the key or certificate that the caller proved to hold; empty if there is no such proof.
        """
        return _of_holder(self._verify(token, now), thumbprint)

    async def settle(self, token: str, now: float, thumbprint: str = "", address: str = "") -> Principal:
        """Like `verify`, but asks the provider if needed. Raises `TokenError` or `KeysUnavailable`.

        Each *address* of callers has a share of the questions.
        """
        return _of_holder(await self._settle(token, now, address), thumbprint)

    def recognises(self, token: str) -> bool:
        """True if *token*, valid or not, may belong to one of these issuers.

        Any other token is the service's own credential and does not identify the caller to the gateway.
        """
        if not is_jose(token):
            return bool(self._introspectors)
        try:
            return read_jws(token).claims.get("iss") in self._by_iss
        except (TokenError, TypeError):
            return False

    def _verify(self, token: str, now: float) -> Principal:
        check_form(token)
        digest = hashlib.sha256(token.encode()).digest()
        remembered = self._remembered.get(digest)
        if remembered is not None:
            principal, keys = remembered
            issuer = self.issuers[principal.issuer]
            if now < principal.expires + issuer.rules.leeway and issuer.keys() is keys:
                return principal
            del self._remembered[digest]
        if not is_jose(token):
            return self._introspected(digest, now)
        jws, issuer = self._read(token)
        if issuer.refresher is not None and issuer.refresher.starting:
            raise Undecided
        keys = issuer.keys()
        if jws.key_id is not None and not keys.knows(jws.key_id) and issuer.refresher is not None:
            read_principal(jws.claims, issuer.rules, now, jws.kind)  # do not ask about a token that fails anyway
            if not issuer.refresher.given_up(jws.key_id):
                raise Undecided
        return self._verified(jws, issuer, keys, digest, now)

    async def _settle(self, token: str, now: float, address: str) -> Principal:
        digest = hashlib.sha256(token.encode()).digest()
        try:
            if not is_jose(token):
                return await self._ask(token, digest, now, address)
            jws, issuer = self._read(token)
            assert issuer.refresher is not None
            if issuer.refresher.starting:
                await issuer.refresher.first()
            if jws.key_id is not None and not issuer.keys().knows(jws.key_id):
                await issuer.refresher.look_for(jws.key_id)
        finally:  # hundreds may wait for the same answer: each continues in its own turn of the event loop
            async with self._turnstile:
                await asyncio.sleep(0)
        return self._verified(jws, issuer, issuer.keys(), digest, now)

    def _read(self, token: str) -> tuple[Jws, Issuer]:
        jws = read_jws(token)
        iss = jws.claims.get("iss")
        issuer = self._addressed(self._by_iss.get(iss, ()) if isinstance(iss, str) else (), jws.claims)
        if issuer.rules.algorithms is not None and jws.algorithm not in issuer.rules.algorithms:
            raise TokenError("the token's algorithm is not accepted from its issuer")
        return jws, issuer

    def _addressed(self, same: Sequence[Issuer], claims: dict[str, Any]) -> Issuer:
        """Return the one of several entries for the *same* issuer that a token's audience selects."""
        if not same:
            raise TokenError(_UNKNOWN_ISSUER)
        if len(same) == 1:  # `read_principal` checks its audience and states the mistake
            return same[0]
        fitting = [issuer for issuer in same if issuer.rules.addresses(claims)]
        if len(fitting) != 1:
            problem = "for several audiences of its issuer" if fitting else "for another audience"
            raise TokenError(f"the token is {problem}")
        return fitting[0]

    def _verified(self, jws: Jws, issuer: Issuer, keys: KeySet, digest: bytes, now: float) -> Principal:
        keys.verify(jws)
        principal = read_principal(jws.claims, issuer.rules, now, jws.kind)
        if len(self._remembered) >= _REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[digest] = (principal, keys)
        return principal

    def _introspected(self, digest: bytes, now: float) -> Principal:
        """Return the principal of an opaque token from cached verdicts. Raises `TokenError` or `Undecided`."""
        verdicts = [introspector.remembered(digest, now) for introspector in self._introspectors]
        if any(isinstance(verdict, Principal) for verdict in verdicts) or None not in verdicts:
            return _one_of(verdicts)
        raise Undecided

    async def _ask(self, token: str, digest: bytes, now: float, address: str) -> Principal:
        """Ask every issuer that introspects, concurrently: if one is down, another may still know the token."""
        questions = (introspector.ask(Secret(token), digest, now, address) for introspector in self._introspectors)
        answers = await asyncio.gather(*questions, return_exceptions=True)
        verdicts = [answer for answer in answers if isinstance(answer, Principal | str)]
        failed = [answer for answer in answers if isinstance(answer, BaseException)]
        if failed and not any(isinstance(verdict, Principal) for verdict in verdicts):
            raise failed[0]
        return _one_of(verdicts)


def _one_of(verdicts: Iterable[Verdict | None]) -> Principal:
    """Return the principal among the *verdicts* of issuers on one token. Raises `TokenError` if none exists."""
    reasons = []
    for verdict in verdicts:
        if isinstance(verdict, Principal):
            return verdict
        reasons.append(verdict or "")
    raise TokenError("; ".join(filter(None, reasons)) or "the token is not a signed JWT")


def _of_holder(principal: Principal, thumbprint: str) -> Principal:
    """Return *principal* if the token's binding fits *thumbprint*: the same key or certificate, or both have none.

    A caller with a client certificate may also send a token without any binding. Otherwise raises `TokenError`.
    """
    if principal.key_thumbprint == thumbprint:
        return principal
    if principal.key_thumbprint.startswith(CERTIFICATE_BOUND):
        raise TokenError("the token is bound to a client certificate that this connection did not present")
    if thumbprint.startswith(CERTIFICATE_BOUND) and not principal.key_thumbprint:
        return principal
    if not thumbprint or thumbprint.startswith(CERTIFICATE_BOUND):
        raise TokenError("the token is bound to a key; send it with a DPoP proof, not as a plain Bearer token")
    raise TokenError("the token is not bound to the key of the DPoP proof")
