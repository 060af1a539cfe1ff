"""Credentials: injected last, for their own origin, and scrubbed from whatever comes back."""

from functools import lru_cache

from mitmproxy import http

from weir.alarms import alarm
from weir.exchange import Exchange
from weir.routing.model import Origin
from weir.secret import Scrubber, Secret


@lru_cache(maxsize=1024)
def _scrubber_of(token: str) -> Scrubber:
    """A token is used for many requests: its spellings are worked out once."""
    return Scrubber((Secret(token),))


class Credentials:
    """The upstream knows the gateway; the caller never learns how."""

    def request(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        """Inject. Raises `WrongOrigin` if anything has turned the request elsewhere."""
        connection, request = exchange.connection, flow.request
        assert connection is not None
        credential = connection.credential
        if credential is None:
            return
        credential.check(Origin(request.scheme, request.host, request.port))
        if credential.header is not None:
            request.headers[credential.header] = credential.value.reveal()
        else:
            request.path = credential.target(request.path)

    def scrubbers(self, exchange: Exchange) -> list[Scrubber]:
        """What must be found in nothing that is delivered or stored."""
        found = []
        if exchange.connection is not None and exchange.connection.credential is not None:
            found.append(exchange.connection.credential.scrub)
        if exchange.token is not None:
            found.append(_scrubber_of(exchange.token.reveal()))
        return found

    def response(
        self, exchange: Exchange, body: bytes, fields: list[tuple[bytes, bytes]]
    ) -> tuple[bytes, list[tuple[bytes, bytes]]]:
        """The response's body and headers without any reflected credential; an alarm if there was one."""
        reflected = False
        for scrub in self.scrubbers(exchange):
            clean = scrub(body)
            clean_fields = [(name, scrub(value)) for name, value in fields]
            reflected = reflected or clean is not body or clean_fields != fields
            body, fields = clean, clean_fields
        if reflected:
            name = exchange.connection.name if exchange.connection else "?"
            alarm(
                "credential_reflected",
                f"the upstream of {name} sent a credential back; it was removed (request {exchange.request_id})",
            )
        return body, fields
