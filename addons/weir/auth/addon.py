"""Auth: from the Authorization header to a principal, without waiting."""

import hashlib
import os
import time
from collections import OrderedDict

from mitmproxy import http

from weir.auth.jws import TokenError, check_form
from weir.auth.model import Principal
from weir.auth.verifier import KeysUnavailable
from weir.exchange import Exchange
from weir.identifiers import Uuid7
from weir.problems import Kind, Refusal
from weir.secret import Secret

#: A session without its own id ends this long after its last request (seconds).
SESSION_IDLE = 30 * 60
_SESSIONS = 10_000

_CHALLENGE = 'Bearer realm="weir"'
_HOW = "Send 'Authorization: Bearer <token>'; for development, `weir token --user NAME --group GROUP` makes one."


class Auth:
    """Nobody is anybody until a token of a configured issuer says so."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[tuple[str, ...], tuple[str, float]] = OrderedDict()
        self._new_session = Uuid7()

    def requestheaders(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        """Set the exchange's principal and session, or refuse."""
        if exchange.replay:
            values = [f"Bearer {os.environ.get('WEIR_TOKEN', '')}".rstrip()]
            if values == ["Bearer"]:
                raise Refusal(Kind.CREDENTIALS_REQUIRED, "A replay needs its operator's token in WEIR_TOKEN.")
        else:
            fields = flow.request.data.headers.fields
            values = [v.decode("latin-1") for n, v in fields if n.lower() == b"authorization"]
        if not values:
            raise Refusal(Kind.CREDENTIALS_REQUIRED, _HOW, headers=(("WWW-Authenticate", _CHALLENGE),))
        if len(values) > 1:
            raise Refusal(Kind.TWO_CREDENTIALS, "Send one Authorization header.")
        scheme, _, token = values[0].partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Refusal(Kind.CREDENTIALS_REQUIRED, _HOW, headers=(("WWW-Authenticate", _CHALLENGE),))
        policies = exchange.policies
        assert policies is not None
        try:
            check_form(token)
            exchange.token = Secret(token)  # before it is verified: a bad one must not be kept either
            exchange.principal = policies.verifier.verify(token, exchange.received)
        except TokenError as error:
            challenge = f'{_CHALLENGE}, error="invalid_token", error_description="{error}"'.replace("'", "")
            raise Refusal(
                Kind.INVALID_TOKEN, f"The token was not accepted: {error}.", headers=(("WWW-Authenticate", challenge),)
            ) from None
        except KeysUnavailable as error:
            raise Refusal(
                Kind.IDENTITY_UNAVAILABLE,
                f"The keys of issuer {error} are not available. Try again.",
                headers=(("Retry-After", "5"),),
            ) from None
        assert exchange.connection is not None
        named = exchange.head.get(b"x-session-id", b"").decode("utf-8", "replace")
        exchange.session_id = self._session(exchange.principal, exchange.connection.name, named)

    def _session(self, principal: Principal, connection: str, named: str) -> str:
        """The caller's own session id, made this principal's; else one for as long as requests keep coming."""
        if 0 < len(named) <= 128 and named.isprintable() and named.isascii():
            whose = hashlib.sha256(repr(principal.key).encode()).hexdigest()[:8]
            return f"{named}~{whose}"
        key = (*principal.key, connection)
        now = time.monotonic()
        session, last = self._sessions.pop(key, ("", 0.0))
        if not session or now - last > SESSION_IDLE:
            session = self._new_session()
        self._sessions[key] = (session, now)
        if len(self._sessions) > _SESSIONS:
            self._sessions.popitem(last=False)
        return session
