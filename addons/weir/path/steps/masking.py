"""Masking: the three views of an exchange. What cannot be masked is neither sent nor stored."""

import contextlib
import dataclasses
from typing import Any

from mitmproxy import http

from weir.base.alarms import alarm, place
from weir.base.content import ContentError, parse, parse_answer, parse_lines
from weir.base.problems import Kind, Refusal
from weir.masking.bodies import Form, UnknownForm, form_of, mask_body, piece_masker
from weir.masking.masker import mask_document, mask_headers, mask_target
from weir.masking.masks import View
from weir.masking.messages import Messages
from weir.masking.streams import PieceMasker
from weir.masking.walk import MaskingError, Report
from weir.path.exchange import Exchange
from weir.path.steps.reading import read_parameters
from weir.profiles.framing import UNKNOWN_FRAMING, Framing
from weir.profiles.model import Call
from weir.profiles.profile import Operation
from weir.recorder.copies import RequestRecord

_Fields = list[tuple[bytes, bytes]]
#: Lines of a request are operations or documents of their own.
_REQUEST = Framing("records")


class Masking:
    """Hides values from the upstream, the caller and the record, as each mask says."""

    def request(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        """Mask what goes upstream. What policy judged must still be what is sent."""
        connection, data = exchange.connection, flow.request.data
        assert connection is not None
        view = connection.masks.upstream()
        if not view:
            return
        report = Report()
        data.headers.fields = tuple(mask_headers(view, data.headers.fields, report))
        query = mask_target(view, f"?{exchange.query}".encode(), report)[1:].decode()
        if exchange.parsed:
            body = _masked_request(view, exchange, report)
            if body is not exchange.sent_body:
                exchange.body = _read(exchange.operation, body)
                data.content = body  # its length is written with the rest of the head
                exchange.sent_body = body
        if report:
            if query != exchange.query:
                exchange.query = query
                exchange.parameters = read_parameters(connection.profile, query)
            if _judged_facts(_sent_call(exchange)) != _judged_facts(exchange.call):
                raise MaskingError("a mask changes a fact that policy judged")
            exchange.masked += report.fields()
            exchange.masked_request = True

    def record_request(self, exchange: Exchange) -> bytes:
        """The request's body as the record may hold it."""
        connection = exchange.connection
        if connection is None or exchange.principal is None:
            return b""  # of callers who did not say who they are, nothing more than the head is kept
        view = connection.masks.record("request")
        if exchange.handshake is not None:
            exchange.recorded_model = None if "model" in view.parameters else exchange.call.model
        if not exchange.parsed:
            return b"" if view else exchange.sent_body
        report = Report()
        body = _masked_request(view, exchange, report) if view else exchange.sent_body
        if body is not exchange.sent_body:
            exchange.body = _read(exchange.operation, body)
            exchange.masked_request = True
        call = _call_of(exchange, exchange.body) if report else exchange.call
        exchange.recorded_model, exchange.recorded_indexes = call.model, call.indexes
        exchange.masked += report.fields()
        return body

    def record_head(self, exchange: Exchange, record: RequestRecord) -> RequestRecord:
        """*record* with its target and headers as the record may hold them."""
        connection = exchange.connection
        view = connection.masks.record("request") if connection is not None else None
        if not view:
            return record
        report = Report()
        masked = dataclasses.replace(
            record,
            target=mask_target(view, record.target, report),
            fields=tuple(mask_headers(view, record.fields, report)),
        )
        if report:
            exchange.masked += report.fields()
            exchange.masked_request = True
            exchange.masked_target = masked.target != record.target
        return masked

    def shown_request(self, exchange: Exchange) -> tuple[Call, Any, str]:
        """The request's call, body and target as reviewers may see them: as the record holds them."""
        connection = exchange.connection
        assert connection is not None
        view = connection.masks.record("request")
        query = mask_target(view, f"{exchange.path}?{exchange.query}".encode(), Report()).decode("utf-8", "replace")
        if not exchange.parsed:
            hidden = view and exchange.caller_body
            return exchange.call, "(a body that cannot be masked)" if hidden else None, query
        if not view:
            return exchange.call, exchange.body, query
        body = _masked_request(view, exchange, Report())
        if body is exchange.sent_body:
            return exchange.call, exchange.body, query
        shown = _read(exchange.operation, body)
        return _call_of(exchange, shown), shown, query

    def shown_response(self, exchange: Exchange, document: Any) -> Any:
        """The response's *document* as reviewers may see it; None where it cannot be masked."""
        connection = exchange.connection
        assert connection is not None
        view = connection.masks.record("response")
        if not view:
            return document
        if document is None or exchange.upstream_status == 206:
            return None
        return mask_document(view, document)

    def response(self, exchange: Exchange, body: bytes, content_type: str, document: Any) -> tuple[bytes, bytes, Any]:
        """The response's body for the caller and for the record, and the record's document.

        Raises `Refusal` where it cannot be masked, for whatever reason.
        """
        connection, principal = exchange.connection, exchange.principal
        assert connection is not None and principal is not None
        if not connection.masks or not body:
            return body, body, document
        everything, callers = connection.masks.record("response"), connection.masks.caller(principal.groups)
        if not everything:
            return body, body, document
        report = Report()
        try:
            if exchange.upstream_status == 206:
                raise UnknownForm("a part of a body")
            form, framing = form_of(everything, body, content_type, document), _framing(exchange)
            record = mask_body(everything, form, body, report, framing)
            caller = record if callers is everything else mask_body(callers, form, body, Report(), framing)
            if record is not body and document is not None:
                document = parse_answer(record)
        except (UnknownForm, MaskingError) as error:
            detail = (
                f"The service answered {exchange.upstream_status} with a body that cannot be masked ({error}), "
                "so it is not shown."
            )
            raise Refusal(Kind.UPSTREAM_UNREADABLE, detail) from None
        except Exception as error:  # a detector that fails must not show what it did not see
            alarm("masking_failed", f"{type(error).__name__} at {place(error)}; request {exchange.request_id}")
            raise Refusal(
                Kind.UPSTREAM_UNREADABLE, "The service's answer could not be masked, so it is not shown."
            ) from None
        exchange.masked += report.fields()
        return caller, record, document

    def pieces(self, exchange: Exchange, content_type: str) -> tuple[PieceMasker, PieceMasker | None, Report] | None:
        """What masks a response of *content_type* piece by piece, for the caller and, where it differs, for the record.

        None for what is looked at whole. The last is the report of what the record does not hold.
        """
        connection, principal = exchange.connection, exchange.principal
        assert connection is not None and principal is not None
        everything, callers = connection.masks.record("response"), connection.masks.caller(principal.groups)
        report, framing = Report(), _framing(exchange)
        record = piece_masker(everything, content_type, report, framing)
        if record is None:
            return None
        if callers is everything:
            return record, None, report
        caller = piece_masker(callers, content_type, Report(), framing)
        assert caller is not None
        return caller, record, report

    def messages(self, exchange: Exchange) -> tuple[Messages, Messages]:
        """What masks the messages of a WebSocket's caller, and those of its service."""
        connection, principal = exchange.connection, exchange.principal
        assert connection is not None and principal is not None
        masks, framing = connection.masks, connection.profile.messages
        of_caller = Messages(masks.upstream(), masks.record("request"), framing)
        return of_caller, Messages(masks.caller(principal.groups), masks.record("response"), framing)

    def response_headers(self, exchange: Exchange, fields: _Fields) -> tuple[_Fields, _Fields]:
        """The response's headers for the caller and for the record."""
        connection, principal = exchange.connection, exchange.principal
        assert connection is not None and principal is not None
        if not connection.masks:
            return fields, fields
        everything, callers = connection.masks.record("response"), connection.masks.caller(principal.groups)
        report = Report()
        record = mask_headers(everything, fields, report)
        exchange.masked += report.fields()
        return (record if callers is everything else mask_headers(callers, fields, Report())), record


def _framing(exchange: Exchange) -> Framing:
    """How the documents of its answer belong together, if it is a stream."""
    return exchange.operation.framing if exchange.operation is not None else UNKNOWN_FRAMING


def _masked_request(view: View, exchange: Exchange, report: Report) -> bytes:
    ndjson = exchange.operation is not None and exchange.operation.ndjson
    return mask_body(view, Form("lines" if ndjson else "json", exchange.body), exchange.sent_body, report, _REQUEST)


def _read(operation: Operation | None, body: bytes) -> Any:
    return parse_lines(body) if operation is not None and operation.ndjson else parse(body)


def _sent_call(exchange: Exchange) -> Call:
    if exchange.operation is None:
        return exchange.call
    return exchange.operation.read_call(exchange.body, exchange.parameters, exchange.variables)


def _call_of(exchange: Exchange, body: Any) -> Call:
    """The call as it stands in the masked body; nothing of it where that cannot be read any more."""
    if exchange.operation is None:
        return exchange.call
    with contextlib.suppress(ContentError):
        return exchange.operation.read_call(body, exchange.parameters, exchange.variables)
    model = None
    with contextlib.suppress(ContentError):
        model = exchange.variables.get("model") or exchange.operation.model.read(body)
    return Call(exchange.call.operation, model=model)


def _judged_facts(call: Call) -> tuple[object, ...]:
    """What of a call rules count; a masked query or document text is meant to differ."""
    documents = None if call.documents is None else len(call.documents)
    return (
        call.operation, documents, call.top_n, call.breadth, call.max_tokens, call.model, call.indexes,
        call.return_documents, call.stream,
    )  # fmt: skip
