"""From a token to a principal: reads snapshots, and waits for a provider only where only it can tell.

`Verifier.verify` never waits. Where it raises `Undecided`, `Verifier.settle` may be awaited instead. A
verified token's principal is remembered under its SHA-256 until it expires or its issuer's keys change.
"""

import asyncio
import hashlib
from collections.abc import Iterable

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
    """Only the token's provider can tell; `Verifier.settle` asks it."""


class Verifier:
    """Verifies tokens of some issuers."""

    def __init__(self, issuers: Iterable[Issuer]) -> None:
        self.issuers = {issuer.rules.iss: issuer for issuer in issuers}
        self._introspectors = [i.introspector for i in self.issuers.values() if i.introspector is not None]
        self._remembered: dict[bytes, tuple[Principal, KeySet]] = {}
        self._turnstile = asyncio.Lock()

    def verify(self, token: str, now: float, thumbprint: str = "") -> Principal:
        """The principal of *token* at Unix time *now*. Raises `TokenError`, `KeysUnavailable` or `Undecided`.

        *thumbprint* is that of the key or certificate that the caller has proved to hold; empty where the token came
        alone.
        """
        return _of_holder(self._verify(token, now), thumbprint)

    async def settle(self, token: str, now: float, thumbprint: str = "") -> Principal:
        """As `verify`, after asking whom it takes. Raises `TokenError` or `KeysUnavailable`."""
        return _of_holder(await self._settle(token, now), thumbprint)

    def recognises(self, token: str) -> bool:
        """Whether *token* may be of these issuers, good or not: else it is the service's own, and nobody's here."""
        if not is_jose(token):
            return bool(self._introspectors)
        try:
            return read_jws(token).claims.get("iss") in self.issuers
        except (TokenError, TypeError):
            return False

    def _verify(self, token: str, now: float) -> Principal:
        check_form(token)
        digest = hashlib.sha256(token.encode()).digest()
        remembered = self._remembered.get(digest)
        if remembered is not None:
            principal, keys = remembered
            issuer = self.issuers[principal.iss]
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
            read_principal(jws.claims, issuer.rules, now, jws.kind)  # nobody is asked about a token that fails anyway
            if not issuer.refresher.given_up(jws.key_id):
                raise Undecided
        return self._verified(jws, issuer, keys, digest, now)

    async def _settle(self, token: str, now: float) -> Principal:
        digest = hashlib.sha256(token.encode()).digest()
        try:
            if not is_jose(token):
                return await self._ask(token, digest, now)
            jws, issuer = self._read(token)
            assert issuer.refresher is not None
            if issuer.refresher.starting:
                await issuer.refresher.first()
            if jws.key_id is not None and not issuer.keys().knows(jws.key_id):
                await issuer.refresher.look_for(jws.key_id)
        finally:  # hundreds may have waited for the same answer: each goes on in a turn of the event loop of its own
            async with self._turnstile:
                await asyncio.sleep(0)
        return self._verified(jws, issuer, issuer.keys(), digest, now)

    def _read(self, token: str) -> tuple[Jws, Issuer]:
        jws = read_jws(token)
        iss = jws.claims.get("iss")
        issuer = self.issuers.get(iss) if isinstance(iss, str) else None
        if issuer is None:
            raise TokenError(_UNKNOWN_ISSUER)
        if issuer.rules.algorithms is not None and jws.algorithm not in issuer.rules.algorithms:
            raise TokenError("the token's algorithm is not one that its issuer is trusted for")
        return jws, issuer

    def _verified(self, jws: Jws, issuer: Issuer, keys: KeySet, digest: bytes, now: float) -> Principal:
        keys.verify(jws)
        principal = read_principal(jws.claims, issuer.rules, now, jws.kind)
        if len(self._remembered) >= _REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        self._remembered[digest] = (principal, keys)
        return principal

    def _introspected(self, digest: bytes, now: float) -> Principal:
        """The remembered verdict on an opaque token."""
        verdicts = [introspector.remembered(digest, now) for introspector in self._introspectors]
        if any(isinstance(verdict, Principal) for verdict in verdicts) or None not in verdicts:
            return _one_of(verdicts)
        raise Undecided

    async def _ask(self, token: str, digest: bytes, now: float) -> Principal:
        """Every issuer that can be asked, at once: one that is down must not hide another's word."""
        questions = (introspector.ask(Secret(token), digest, now) for introspector in self._introspectors)
        answers = await asyncio.gather(*questions, return_exceptions=True)
        verdicts = [answer for answer in answers if isinstance(answer, Principal | str)]
        failed = [answer for answer in answers if isinstance(answer, BaseException)]
        if failed and not any(isinstance(verdict, Principal) for verdict in verdicts):
            raise failed[0]
        return _one_of(verdicts)


def _one_of(verdicts: Iterable[Verdict | None]) -> Principal:
    """The principal among the *verdicts* of several issuers on one token; their reasons where there is none."""
    reasons = []
    for verdict in verdicts:
        if isinstance(verdict, Principal):
            return verdict
        reasons.append(verdict or "")
    raise TokenError("; ".join(filter(None, reasons)) or "the token is not a signed JWT")


def _of_holder(principal: Principal, thumbprint: str) -> Principal:
    """*principal*, if the token is bound to the key with that *thumbprint*, or is bound to none and there is none.

    A caller may have a certificate and send a token that is not bound to it.
    """
    if principal.key_thumbprint == thumbprint:
        return principal
    if principal.key_thumbprint.startswith(CERTIFICATE_BOUND):
        raise TokenError("the token is bound to another client certificate than this connection's")
    if thumbprint.startswith(CERTIFICATE_BOUND) and not principal.key_thumbprint:
        return principal
    if not thumbprint or thumbprint.startswith(CERTIFICATE_BOUND):
        raise TokenError("the token is bound to a key and cannot be sent as a plain Bearer")
    raise TokenError("the token is not bound to the key of the DPoP proof")
