"""Credential: inject the service's credential last and only for its own origin, and remove it from answers."""

import time
from functools import lru_cache

from mitmproxy import http

from weir.base.alarms import alarm
from weir.base.content import encode
from weir.base.secret import Scrubber, Secret, spellings
from weir.path.exchange import Answered, Claimed, Exchange, Identified, Routed
from weir.path.steps.reading import parsed_answer
from weir.routing.model import Origin

_Fields = list[tuple[bytes, bytes]]


@lru_cache(maxsize=256)
def _scrubber(credential: str, token: str) -> Scrubber:
    """Return the scrubber of both values. Cached, because callers and credentials recur; only for verified tokens."""
    return Scrubber((*spellings(Secret(credential)), *spellings(Secret(token))))


def scrubber(exchange: Exchange) -> Scrubber:
    """Return what removes the service's credential and the caller's token from everything delivered or stored."""
    kept = exchange.scrubber
    routed, claimed, known = exchange.get(Routed), exchange.get(Claimed), Identified in exchange
    connection = routed.connection if routed is not None else None
    if kept is not None and kept[0] is connection and kept[1] is claimed and kept[2] is known:
        return kept[3]
    credential = connection.credential if connection is not None else None
    token = claimed.token.reveal() if claimed is not None and claimed.token is not None else ""
    found = _scrubber(credential.secret.reveal() if credential else "", token if known else "")
    if token and not known:  # the record keeps only the head of this request: its token is removed as it is
        found = found.with_plain(token)
    exchange.scrubber = connection, claimed, known, found
    return found


def scrubbed(exchange: Exchange, body: bytes, fields: _Fields, document: object) -> tuple[bytes, _Fields]:
    """Return *body* and *fields* of an answer without reflected credentials. Raise an alarm if one was found.

    JSON can write any character as an escape. Therefore, if *body* has escapes, the parsed *document* is searched too.
    """
    scrub = scrubber(exchange)
    clean, clean_fields = scrub(body), scrub.fields(fields)
    if document is not None and b"\\" in body:
        spelled_out = encode(document)
        if scrub(spelled_out) is not spelled_out:
            clean = scrub(spelled_out)
    if clean is not body or clean_fields is not fields:
        reflected(exchange)
    return clean, clean_fields


def reflected(exchange: Exchange) -> None:
    """Raise the alarm that a service sent a credential back."""
    name = exchange.connection.name if exchange.connection else "?"
    alarm(
        "credential_reflected",
        f"the upstream of {name} sent a credential back; it was removed (request {exchange.request_id})",
    )


class InjectCredential:
    """Inject the service's credential into the request. Raises `WrongOrigin` if the request goes to another origin."""

    name = "inject_credential"

    def __call__(self, flow: http.HTTPFlow, exchange: Exchange, routed: Routed) -> None:
        credential, data = routed.connection.credential, flow.request.data
        if credential is not None:
            credential.check(Origin(data.scheme.decode(), str(data.host), data.port))
            if credential.header is not None:
                name = credential.header.lower().encode()
                fields = [field for field in data.headers.fields if field[0].lower() != name]
                data.headers.fields = (*fields, (credential.header.encode(), credential.value.reveal().encode()))
            else:
                data.path = credential.target(data.path.decode()).encode()
        exchange.sent = time.perf_counter()


class ScrubAnswer:
    """Remove reflected credentials from the answer."""

    name = "scrub_answer"

    def __call__(self, exchange: Exchange, answered: Answered) -> None:
        body, answered.fields = scrubbed(exchange, answered.body, answered.fields, answered.document)
        if body is not answered.body:
            answered.body = body
            if answered.document is not None:
                answered.document = parsed_answer(body, answered.content_type)
        exchange.received_bytes = len(body)
