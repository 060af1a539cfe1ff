"""Credentials: injected last, for their own origin, and scrubbed from whatever comes back."""

from functools import lru_cache

from mitmproxy import http

from weir.base.alarms import alarm
from weir.base.content import encode
from weir.base.secret import Scrubber, Secret, spellings
from weir.path.exchange import Exchange
from weir.routing.model import Origin


@lru_cache(maxsize=256)
def _scrubber(credential: str, token: str) -> Scrubber:
    """Callers and credentials recur: their spellings are worked out once. For verified tokens only."""
    return Scrubber((*spellings(Secret(credential)), *spellings(Secret(token))))


class Credentials:
    """The upstream knows the gateway; the caller never learns how."""

    def request(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        """Inject. Raises `WrongOrigin` if anything has turned the request elsewhere."""
        connection, data = exchange.connection, flow.request.data
        assert connection is not None
        credential = connection.credential
        if credential is None:
            return
        credential.check(Origin(data.scheme.decode(), str(data.host), data.port))
        if credential.header is not None:
            name = credential.header.lower().encode()
            fields = [field for field in data.headers.fields if field[0].lower() != name]
            data.headers.fields = (*fields, (credential.header.encode(), credential.value.reveal().encode()))
        else:
            data.path = credential.target(data.path.decode()).encode()

    def scrubber(self, exchange: Exchange) -> Scrubber:
        """Removes what must be found in nothing that is delivered or stored: upstream's credential, caller's token."""
        credential = exchange.connection.credential if exchange.connection else None
        token = exchange.token.reveal() if exchange.token else ""
        scrubber = _scrubber(credential.secret.reveal() if credential else "", token if exchange.principal else "")
        # Whoever was not let in has sent nothing that is kept but a head: the token as it is, and nothing worked out.
        return scrubber.with_plain(token) if token and exchange.principal is None else scrubber

    def response(
        self, exchange: Exchange, body: bytes, fields: list[tuple[bytes, bytes]], document: object
    ) -> tuple[bytes, list[tuple[bytes, bytes]]]:
        """The response's body and headers without any reflected credential; an alarm if there was one.

        JSON can spell every character as an escape: where there are any, the *document* is looked at as well.
        """
        scrub = self.scrubber(exchange)
        clean, clean_fields = scrub(body), scrub.fields(fields)
        if document is not None and b"\\" in body:
            spelled_out = encode(document)
            if scrub(spelled_out) is not spelled_out:
                clean = scrub(spelled_out)
        if clean is not body or clean_fields is not fields:
            self.reflected(exchange)
        return clean, clean_fields

    def reflected(self, exchange: Exchange) -> None:
        """Say that a service sent a credential back."""
        name = exchange.connection.name if exchange.connection else "?"
        alarm(
            "credential_reflected",
            f"the upstream of {name} sent a credential back; it was removed (request {exchange.request_id})",
        )
