"""Auth: from the token in a request's head to a principal. Waits only where only a provider can tell."""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
from mitmproxy import http

from weir.approvals.windows import open_window
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
from weir.path import documents
from weir.path.challenges import base_url, challenges, trusted_base_url
from weir.path.exchange import Document, Exchange
from weir.policyset.connection import Connection
from weir.routing.model import is_loopback
from weir.state.database import KEY_PREFIX
from weir.state.model import Snapshot
from weir.state.proofs import Proofs
from weir.state.watcher import StateUnavailable, Watcher

_HOW = "Send 'Authorization: Bearer <token>'; `weir login` or, for development, `weir token --user NAME` gives one."
_HOW_PROXIED = (
    "Put a token into the proxy's URL, as in http://user:TOKEN@host:port, or send 'Proxy-Authorization: Bearer'."
)
_REVOKED = "This token, its subject or its session has been revoked. Ask the gateway's operator whether to log in anew."


class Auth:
    """Nobody is anybody until a token of a configured issuer, or an API key, says so."""

    def __init__(self, state: Watcher) -> None:
        self._state = state
        self._proofs = Proofs()
        self._sessions = Sessions()

    def stop(self) -> None:
        """Close what was opened. Blocks."""
        self._proofs.stop()

    def requestheaders(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        """Set the exchange's principal and session, or refuse; or leave both to `request`, where it may wait."""
        if exchange.own_path.startswith(documents.PROTECTED_RESOURCE):
            return  # for those who have no token yet
        presented = exchange.presented = self._presented(flow, exchange)
        with self._refusals(exchange):
            if not presented.token:
                self._admit(exchange, self._known(exchange, presented.place))
                return
            check_form(presented.token)
            exchange.token = Secret(presented.token)  # before it is verified: a bad one must not be kept either
            try:
                principal = self._verified(flow, exchange, presented)
            except Undecided:
                return
            self._admit(exchange, principal)

    async def request(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        """Ask the provider where only it can tell; refuse what was revoked or has expired since the head was read."""
        policies, token = exchange.policies, exchange.token
        assert policies is not None
        if exchange.presented is None:
            return
        if exchange.principal is None and token is not None:
            with self._refusals(exchange):
                principal = await policies.verifier.settle(token.reveal(), exchange.received, _proved(exchange))
                self._admit(exchange, principal)
        if exchange.proof is not None:
            with self._refusals(exchange):
                await self._use(exchange.proof)
        self._refuse_no_longer(exchange)

    async def again(self, exchange: Exchange) -> None:
        """Verify the token of a request that has waited, by the policies of now. Raises `Refusal`."""
        policies, token, before = exchange.policies, exchange.token, exchange.principal
        assert policies is not None and exchange.presented is not None and before is not None
        with self._refusals(exchange):
            if token is None:
                principal = self._known(exchange, exchange.presented.place)
            else:
                snapshot = self._state.snapshot()
                principal = await holder(
                    policies.verifier,
                    policies.trusts_keys,
                    snapshot,
                    token.reveal(),
                    time.time(),
                    before.key_thumbprint,
                )
            if principal.key != before.key:
                raise TokenError("it is another's now")
        exchange.principal = principal
        self._refuse_no_longer(exchange)

    def revoked(self, exchange: Exchange) -> Problem | None:
        """The refusal that the exchange's principal has earned; None while they are not revoked."""
        if exchange.principal is None:
            return None
        try:
            if self._state.snapshot().revoked(exchange.principal, exchange.session_id):
                return _unauthenticated(exchange, Kind.REVOKED, _REVOKED, "the token was revoked")
        except StateUnavailable:
            return _state_unavailable().problem
        return None

    def no_longer(self, exchange: Exchange) -> Problem | None:
        """The same, also where their token has expired: for whoever lets a request go after it has waited."""
        principal, problem = exchange.principal, self.revoked(exchange)
        if principal is None or problem is not None:
            return problem
        issuer = exchange.policies.verifier.issuers.get(principal.iss) if exchange.policies else None
        if time.time() >= principal.expires + (issuer.rules.leeway if issuer else 0):
            detail = "The token expired while the request waited."
            return _unauthenticated(exchange, Kind.INVALID_TOKEN, detail, "the token has expired")
        return None

    def _refuse_no_longer(self, exchange: Exchange) -> None:
        if (problem := self.no_longer(exchange)) is not None:
            raise Refusal.of(problem)

    def answer(self, exchange: Exchange) -> Document:
        """The document at one of the gateway's own paths."""
        policies = exchange.policies
        assert policies is not None
        url = base_url(exchange)
        if exchange.principal is None:
            document = documents.protected_resource(url, exchange.described, policies.verifier.issuers.values())
            headers = {"Access-Control-Allow-Origin": "*", "Cache-Control": "max-age=300"}
        else:
            snapshot = self._snapshot()
            found = {
                c.name: open_window(policies.directory, snapshot, exchange.principal, c.name, c.on_request, time.time())
                for c in policies.connections
            }
            windows = {name: window for name, window in found.items() if window is not None}
            near = policies.admin.named or is_loopback(exchange.client_ip)  # else it is where its caller is not
            admin = policies.admin.url if policies.reviewed and near else None

            def url_of(connection: Connection) -> str:
                if exchange.origin is None:
                    return f"{url}{connection.match.path or ''}"
                upstream = connection.upstream  # by a proxy, services have their own
                return f"{upstream.origin.scheme}://{upstream.origin.authority}{upstream.base_path}"

            document = documents.whoami(url_of, exchange.principal, policies.connections, windows, admin)
            headers = {"Cache-Control": "no-store"}
        return Document(msgspec.json.encode(document), tuple(headers.items()))

    def _snapshot(self) -> Snapshot:
        try:
            return self._state.snapshot()
        except StateUnavailable:
            raise _state_unavailable() from None

    def _presented(self, flow: http.HTTPFlow, exchange: Exchange) -> Presented:
        if exchange.replay:
            token = os.environ.get("WEIR_TOKEN", "")
            if not token:
                raise Refusal(Kind.CREDENTIALS_REQUIRED, "A replay needs its operator's token in WEIR_TOKEN.")
            return Presented(token, "bearer")
        arrival, policies, fields = exchange.arrival, exchange.policies, flow.request.data.headers.fields
        assert arrival is not None and policies is not None
        exchange.certificates = arrival.certificates or tuple(
            certificate.to_cryptography() for certificate in flow.client_conn.certificate_list
        )
        if arrival.presented is not None:
            return arrival.presented  # the tunnel's; what is said within it is for the service
        places = exchange.connection.token_in if exchange.connection else frozenset()
        try:
            presented = find_proxy_token(fields) if exchange.proxied else find_token(fields, places)
        except TwoCredentials as error:
            raise Refusal(Kind.TWO_CREDENTIALS, f"Refused: {error}.") from None
        if presented is None or not (
            presented.token.startswith(KEY_PREFIX) or policies.verifier.recognises(presented.token)
        ):
            if exchange.certificates and policies.presenters.certificates:
                return Presented("", "certificate")
            if arrival.listener.mode == "transparent" and policies.presenters.neighbour(exchange.client_ip):
                return Presented("", "network")
        if presented is None:
            how = _HOW_PROXIED if exchange.proxied else _HOW
            raise Refusal.of(_unauthenticated(exchange, Kind.CREDENTIALS_REQUIRED, how))
        return presented

    def _verified(self, flow: http.HTTPFlow, exchange: Exchange, presented: Presented) -> Principal:
        policies, token = exchange.policies, presented.token
        assert policies is not None
        if presented.place == "dpop":
            proofs = [v.decode("latin-1") for n, v in flow.request.data.headers.fields if n.lower() == b"dpop"]
            if len(proofs) != 1:
                raise TokenError("a DPoP token comes with one DPoP header")
            url = f"{trusted_base_url(exchange, flow.client_conn.sockname)}{exchange.caller_target}"
            exchange.proof = dpop.read(proofs[0], token, exchange.method, url, exchange.received)
        if token.startswith(KEY_PREFIX):  # never sent to a provider to be asked about
            if exchange.proof is not None:
                raise TokenError("an API key is bound to no key")
            key, principal = key_holder(policies.trusts_keys, self._state.snapshot(), token, exchange.received)
            self._state.used(key.id, exchange.received)
            return principal
        return policies.verifier.verify(token, exchange.received, _proved(exchange))

    def _known(self, exchange: Exchange, place: str) -> Principal:
        """Who a caller without a token is: by certificate, or by network. Raises `TokenError`."""
        policies = exchange.policies
        assert policies is not None
        if place == "certificate":
            return policies.presenters.holder(exchange.certificates, time.time())
        principal = policies.presenters.neighbour(exchange.client_ip)
        if principal is None:
            raise TokenError("nobody is known by this address any more")
        return principal

    async def _use(self, proof: dpop.Proof) -> None:
        if time.time() > proof.until:  # its body took longer: that it was used before may be forgotten
            raise TokenError("the DPoP proof is not of now")
        try:
            if await self._proofs.first_use(proof.digest, proof.until):
                return
        except (sqlite3.Error, OSError):
            raise StateUnavailable from None
        raise TokenError("the DPoP proof was used before")

    def _admit(self, exchange: Exchange, principal: Principal) -> None:
        if exchange.proof is not None:
            exchange.proof.verify()
        exchange.principal = principal
        named = exchange.head.get(b"x-session-id", b"").decode("utf-8", "replace")
        connection = exchange.connection.name if exchange.connection else ""
        exchange.session_id = self._sessions.session(principal, connection, named)
        self._refuse_no_longer(exchange)

    @contextmanager
    def _refusals(self, exchange: Exchange) -> Iterator[None]:
        """What auth's own parts raise, as refusals."""
        try:
            yield
        except TokenError as error:
            detail = f"The token was not accepted: {error}."
            raise Refusal.of(_unauthenticated(exchange, Kind.INVALID_TOKEN, detail, str(error))) from None
        except KeysUnavailable as error:
            raise Refusal(
                Kind.IDENTITY_UNAVAILABLE,
                f"The identity provider {error} cannot be asked now, so the token cannot be checked. Try again.",
                headers=(("Retry-After", "5"),),
            ) from None
        except StateUnavailable:
            raise _state_unavailable() from None


def _proved(exchange: Exchange) -> str:
    """The thumbprint of the key, or else of the certificate, that the caller has proved to hold; empty without one."""
    if exchange.proof is not None:
        return exchange.proof.thumbprint
    return thumbprint(exchange.certificates[0]) if exchange.certificates else ""


def _unauthenticated(exchange: Exchange, kind: Kind, detail: str, error: str = "") -> Problem:
    """A 401 of that *kind*, or a proxy's 407; *error* is why the token was not accepted, empty where there was none."""
    return Problem(kind, detail, headers=challenges(exchange, error), proxied=exchange.proxied)


def _state_unavailable() -> Refusal:
    return Refusal(
        Kind.STATE_UNAVAILABLE,
        "The gateway cannot read what has been revoked, and lets nobody in until it can. Try again later.",
        headers=(("Retry-After", "5"),),
    )
