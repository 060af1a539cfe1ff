"""Masking: the three views of a body. What cannot be masked is neither sent nor stored."""

import contextlib
from typing import Any

from mitmproxy import http

from weir.content import ContentError, encode, encode_lines, parse, parse_lines
from weir.exchange import Exchange
from weir.masking.masks import apply
from weir.problems import Kind, Refusal
from weir.profiles.model import Call


class MaskingError(Exception):
    """Masking would have changed what policy judged."""


class Masking:
    """Hides fields from the upstream, the caller and the record, as each mask says."""

    def request(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        """Mask what goes upstream. What policy judged must still be what is sent."""
        connection = exchange.connection
        assert connection is not None
        masks = connection.masks.upstream
        if not masks or not exchange.parsed:
            return
        report = apply(masks, exchange.body)
        if report:
            body = _encode(exchange)
            if exchange.operation is not None:
                read = parse_lines if exchange.operation.ndjson else parse
                sent = exchange.operation.read_call(read(body), exchange.parameters, exchange.variables)
                if _judged_facts(sent) != _judged_facts(exchange.call):
                    raise MaskingError("a mask changes a fact that policy judged")
            flow.request.data.content = body  # its length is written with the rest of the head
            exchange.sent_body = body
            exchange.masked += report
            exchange.masked_request = True

    def record_request(self, exchange: Exchange) -> bytes:
        """The request's body as the record may hold it. Changes the parsed body: nothing reads it after."""
        connection = exchange.connection
        if connection is None or exchange.principal is None:
            return b""  # of callers who did not say who they are, nothing more than the head is kept
        if not exchange.parsed:
            return b"" if connection.masks.all else exchange.sent_body
        report = apply(connection.masks.all, exchange.body)
        call = _masked_call(exchange) if report else exchange.call
        exchange.recorded_model, exchange.recorded_indexes = call.model, call.indexes
        if not report:
            return exchange.sent_body
        exchange.masked += report
        exchange.masked_request = True
        return _encode(exchange)

    def shown_request(self, exchange: Exchange) -> tuple[Call, Any]:
        """The request's call and body as reviewers may see them. Changes the parsed body: it must be read again."""
        connection = exchange.connection
        assert connection is not None
        if not exchange.parsed:
            hidden = connection.masks.all and exchange.caller_body
            return exchange.call, "(a body that cannot be masked)" if hidden else None
        apply(connection.masks.all, exchange.body)
        return (_masked_call(exchange) if connection.masks.all else exchange.call), exchange.body

    def shown_response(self, exchange: Exchange, document: Any) -> Any:
        """The response's *document* as reviewers may see it, masked in place; None where it cannot be masked."""
        connection = exchange.connection
        assert connection is not None
        if not connection.masks.all:
            return document
        if not isinstance(document, dict | list) or exchange.upstream_status == 206:
            return None
        apply(connection.masks.all, document)
        return document

    def response(self, exchange: Exchange, body: bytes, document: Any) -> tuple[bytes, bytes]:
        """The response's body for the caller and for the record. Raises `Refusal` where it cannot be masked."""
        connection = exchange.connection
        assert connection is not None
        if not connection.masks.all or not body:
            return body, body
        # A part (206) or a bare value has no names by which its fields could be found.
        if not isinstance(document, dict | list) or exchange.upstream_status == 206:
            raise Refusal(
                Kind.UPSTREAM_UNREADABLE,
                f"The service answered {exchange.upstream_status} with a body that "
                "cannot be masked, so it is not shown.",
            )
        report = apply(connection.masks.caller, document)
        caller = encode(document) if report else body
        beyond = apply(connection.masks.record_beyond_caller, document)
        exchange.masked += report + beyond
        return caller, encode(document) if beyond else caller


def _encode(exchange: Exchange) -> bytes:
    """The parsed request body as bytes of the form in which it came."""
    ndjson = exchange.operation is not None and exchange.operation.ndjson
    return encode_lines(exchange.body) if ndjson else encode(exchange.body)


def _masked_call(exchange: Exchange) -> Call:
    """The call as it stands in the masked body; nothing of it where that cannot be read any more."""
    if exchange.operation is None:
        return exchange.call
    with contextlib.suppress(ContentError):
        return exchange.operation.read_call(exchange.body, exchange.parameters, exchange.variables)
    model = None
    with contextlib.suppress(ContentError):
        model = exchange.variables.get("model") or exchange.operation.model.read(exchange.body)
    return Call(exchange.call.operation, model=model)


def _judged_facts(call: Call) -> tuple[object, ...]:
    """What of a call rules count; a masked query or document text is meant to differ."""
    documents = None if call.documents is None else len(call.documents)
    return (
        call.operation, documents, call.top_n, call.breadth, call.max_tokens, call.model, call.indexes,
        call.return_documents, call.stream,
    )  # fmt: skip
