"""Identity: verify the credential in a request's head and find the principal. Waits only for an identity provider."""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager

from mitmproxy import http

from weir.auth import dpop
from weir.auth.certificates import thumbprint
from weir.auth.holder import holder, key_holder
from weir.auth.jws import TokenError, check_form
from weir.auth.presented import Presented, TwoCredentials, find_proxy_token, find_token
from weir.auth.refresher import KeysUnavailable
from weir.auth.sessions import Sessions
from weir.auth.verifier import Undecided
from weir.base.principal import Principal
from weir.base.problems import Kind, Problem, Refusal
from weir.base.secret import Secret
from weir.base.well_known import PROTECTED_RESOURCE
from weir.path.challenges import challenges, trusted_base_url
from weir.path.exchange import Arrived, Claimed, Exchange, Head, Identified, OwnPath, Preflight, Rehearsed, Routed
from weir.path.step import Skip
from weir.state.database import KEY_PREFIX
from weir.state.proofs import Proofs
from weir.state.watcher import StateUnavailable, Watcher

_HOW = "Send 'Authorization: Bearer <token>'; `weir login` or, for development, `weir token --user NAME` gives one."
_HOW_PROXIED = (
    "Put a token into the proxy's URL, as in http://user:TOKEN@host:port, or send 'Proxy-Authorization: Bearer'."
)
_REVOKED = (
    "This token, its subject or its session has been revoked. Ask the gateway's operator whether to log in again."
)


class Identity:
    """The verification that the steps of this file share: tokens, API keys, certificates and networks."""

    def __init__(self, state: Watcher) -> None:
        self._state = state
        self._proofs = Proofs()
        self._sessions = Sessions()

    def stop(self) -> None:
        """Close the store of used DPoP proofs. Blocks."""
        self._proofs.stop()

    def verified(self, flow: http.HTTPFlow, exchange: Exchange, claimed: Claimed) -> Principal:
        """Verify the credential without waiting. Raises `TokenError`, or `Undecided` if the provider must be asked."""
        arrived, place = exchange[Arrived], claimed.presented.place
        if claimed.token is None:
            return self._known(arrived, claimed)
        token = claimed.token.reveal()
        check_form(token)
        if place == "dpop":
            proofs = [v.decode("latin-1") for n, v in flow.request.data.headers.fields if n.lower() == b"dpop"]
            if len(proofs) != 1:
                raise TokenError("a DPoP token comes with one DPoP header")
            url = f"{trusted_base_url(arrived, exchange[Head], flow.client_conn.sockname)}{arrived.target}"
            claimed.proof = dpop.read(proofs[0], token, arrived.method, url, exchange.received)
        if token.startswith(KEY_PREFIX):  # an API key is never sent to a provider
            if claimed.proof is not None:
                raise TokenError("an API key cannot be used with a DPoP proof")
            key, principal = key_holder(arrived.policies.trusts_keys, self._state.snapshot(), token, exchange.received)
            self._state.used(key.id, exchange.received)
            return principal
        return arrived.policies.verifier.verify(token, exchange.received, _proved(claimed))

    async def settled(self, exchange: Exchange, claimed: Claimed) -> Principal:
        """Ask the identity provider about a token for which `verified` raised `Undecided`. Raises `TokenError`."""
        token = claimed.token.reveal() if claimed.token is not None else ""
        arrived = exchange[Arrived]
        verifier = arrived.policies.verifier
        return await verifier.settle(token, exchange.received, _proved(claimed), arrived.client_ip)

    async def again(self, exchange: Exchange) -> None:
        """Verify the credential of a request again after its wait, by the current policies. Raises `Refusal`."""
        arrived, claimed, identified = exchange[Arrived], exchange[Claimed], exchange[Identified]
        before = identified.principal
        with self.refusals(exchange):
            if claimed.token is None:
                principal = self._known(arrived, claimed)
            else:
                snapshot, policies = self._state.snapshot(), arrived.policies
                token, bound = claimed.token.reveal(), before.key_thumbprint
                principal = await holder(
                    policies.verifier, policies.trusts_keys, snapshot, token, time.time(), bound, arrived.client_ip
                )
            if principal.key != before.key:
                raise TokenError("it belongs to another principal now")
        identified.principal = principal
        self.refuse_no_longer(exchange)

    def admit(self, exchange: Exchange, claimed: Claimed, principal: Principal) -> Identified:
        """Add the caller to the exchange and check their session. Raises `TokenError` or `Refusal`."""
        if claimed.proof is not None:
            claimed.proof.verify()
        named = exchange[Head].fields.get(b"x-session-id", b"").decode("utf-8", "replace")
        routed = exchange.get(Routed)
        connection = routed.connection.name if routed is not None else ""
        identified = Identified(principal, self._sessions.session(principal, connection, named))
        exchange.put(identified)  # set first: the record needs it if the caller is refused here
        self.refuse_no_longer(exchange)
        return identified

    async def use(self, proof: dpop.Proof) -> None:
        """Consume a DPoP proof. Raises `TokenError` if it was used before or is too old."""
        if time.time() > proof.until:  # the body took long: an earlier use may be forgotten
            raise TokenError("the DPoP proof is too old")
        try:
            if await self._proofs.first_use(proof.digest, proof.until):
                return
        except (sqlite3.Error, OSError):
            raise StateUnavailable from None
        raise TokenError("the DPoP proof was used before")

    def revoked(self, exchange: Exchange) -> Problem | None:
        """Return the refusal of a revoked caller; None if the caller is not revoked."""
        identified = exchange.get(Identified)
        if identified is None:
            return None
        try:
            if self._state.snapshot().revoked(identified.principal, identified.session_id):
                return _unauthenticated(exchange, Kind.REVOKED, _REVOKED, "the token was revoked")
        except StateUnavailable:
            return state_unavailable().problem
        return None

    def no_longer(self, exchange: Exchange) -> Problem | None:
        """Return the problem for an admitted caller who is revoked now, or whose token has expired since.

        None if they may go on.
        """
        problem = self.revoked(exchange)
        if problem is not None or (principal := exchange.principal) is None:
            return problem
        issuer = exchange[Arrived].policies.verifier.issuers.get(principal.issuer)
        if time.time() >= principal.expires + (issuer.rules.leeway if issuer else 0):
            detail = "The token expired while the request waited."
            return _unauthenticated(exchange, Kind.INVALID_TOKEN, detail, "the token has expired")
        return None

    def refuse_no_longer(self, exchange: Exchange) -> None:
        """Raise `Refusal` if `no_longer` returns a problem."""
        if (problem := self.no_longer(exchange)) is not None:
            raise Refusal.of(problem)

    @contextmanager
    def refusals(self, exchange: Exchange) -> Iterator[None]:
        """Turn errors of the identity room into refusals."""
        try:
            yield
        except TokenError as error:
            detail = f"The token was not accepted: {error}."
            raise Refusal.of(_unauthenticated(exchange, Kind.INVALID_TOKEN, detail, str(error))) from None
        except KeysUnavailable as error:
            raise Refusal(
                Kind.IDENTITY_UNAVAILABLE,
                f"The identity provider {error} does not answer, so the token cannot be checked. Try again.",
                headers=(("Retry-After", "5"),),
            ) from None
        except StateUnavailable:
            raise state_unavailable() from None

    def _known(self, arrived: Arrived, claimed: Claimed) -> Principal:
        """Return a caller without a token, identified by certificate or by network. Raises `TokenError`."""
        presenters = arrived.policies.presenters
        if claimed.presented.place == "certificate":
            return presenters.holder(claimed.certificates, time.time())
        principal = presenters.neighbour(arrived.client_ip)
        if principal is None:
            raise TokenError("no caller is configured for this address any more")
        return principal


class RehearsedCaller:
    """Stand-in: take the caller from the rehearsal."""

    name = "identify"

    def __call__(self, rehearsed: Rehearsed) -> Identified:
        return Identified(rehearsed.principal, "")


class Present:
    """Find the credential that the caller presents. Refuse a request with two credentials, or with none."""

    name = "present"
    stand_in = Skip("present")

    def __call__(
        self,
        flow: http.HTTPFlow,
        exchange: Exchange,
        arrived: Arrived,
        own: OwnPath | None,
        preflight: Preflight | None,
    ) -> Claimed | None:
        if preflight is not None or (own is not None and own.path.startswith(PROTECTED_RESOURCE)):
            return None  # callers without a token may ask for these
        certificates = arrived.arrival.certificates or tuple(
            certificate.to_cryptography() for certificate in flow.client_conn.certificate_list
        )
        presented = self._presented(flow, exchange, arrived, bool(certificates))
        token = Secret(presented.token) if presented.token else None
        return Claimed(presented, token, () if exchange.replay else certificates)

    def _presented(self, flow: http.HTTPFlow, exchange: Exchange, arrived: Arrived, certified: bool) -> Presented:
        if exchange.replay:
            token = os.environ.get("WEIR_TOKEN", "")
            if not token:
                raise Refusal(Kind.CREDENTIALS_REQUIRED, "A replay needs its operator's token in WEIR_TOKEN.")
            return Presented(token, "bearer")
        arrival, policies, fields = arrived.arrival, arrived.policies, flow.request.data.headers.fields
        if arrival.presented is not None:
            return arrival.presented  # the tunnel's credential; credentials within the tunnel are for the service
        routed = exchange.get(Routed)
        places = routed.connection.token_in if routed is not None else frozenset()
        try:
            presented = find_proxy_token(fields) if arrived.proxied else find_token(fields, places)
        except TwoCredentials as error:
            raise Refusal(Kind.TWO_CREDENTIALS, f"Refused: {error}.") from None
        if presented is None or not (
            presented.token.startswith(KEY_PREFIX) or policies.verifier.recognises(presented.token)
        ):
            if certified and policies.presenters.certificates:
                return Presented("", "certificate")
            if arrival.listener.mode == "transparent" and policies.presenters.neighbour(arrived.client_ip):
                return Presented("", "network")
        if presented is None:
            how = _HOW_PROXIED if arrived.proxied else _HOW
            raise Refusal.of(_unauthenticated(exchange, Kind.CREDENTIALS_REQUIRED, how))
        return presented


class Identify:
    """Verify the credential without waiting, if this is possible. Otherwise `authenticate` verifies it."""

    name = "identify"
    stand_in = RehearsedCaller()

    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    def __call__(self, flow: http.HTTPFlow, exchange: Exchange, claimed: Claimed | None) -> Identified | None:
        if claimed is None:
            return None
        with self._identity.refusals(exchange):
            try:
                principal = self._identity.verified(flow, exchange, claimed)
            except Undecided:
                return None
            return self._identity.admit(exchange, claimed, principal)


class Authenticate:
    """Ask the identity provider if necessary. Refuse a caller who was revoked or expired since the head was read."""

    name = "authenticate"
    stand_in = Skip("authenticate")

    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    async def __call__(
        self, exchange: Exchange, claimed: Claimed | None, identified: Identified | None
    ) -> Identified | None:
        if claimed is None:
            return None
        with self._identity.refusals(exchange):
            if identified is None:
                principal = await self._identity.settled(exchange, claimed)
                identified = self._identity.admit(exchange, claimed, principal)
            if claimed.proof is not None:
                await self._identity.use(claimed.proof)
        self._identity.refuse_no_longer(exchange)
        return identified


def _proved(claimed: Claimed) -> str:
    """Return the thumbprint of the key or certificate that the caller has proved to possess; empty without one."""
    if claimed.proof is not None:
        return claimed.proof.thumbprint
    return thumbprint(claimed.certificates[0]) if claimed.certificates else ""


def _unauthenticated(exchange: Exchange, kind: Kind, detail: str, error: str = "") -> Problem:
    """Return a 401, or a proxy's 407, of that *kind*. *error* is why the token was refused; empty without a token."""
    return Problem(kind, detail, headers=challenges(exchange, error), proxied=exchange[Arrived].proxied)


def state_unavailable() -> Refusal:
    """Return the refusal 503: the shared state cannot be read."""
    return Refusal(
        Kind.STATE_UNAVAILABLE,
        "The gateway cannot read which tokens are revoked, and admits no caller until it can. Try again later.",
        headers=(("Retry-After", "5"),),
    )
