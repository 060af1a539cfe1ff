"""Masking: the views of service, caller and record. Data that cannot be masked is not sent, delivered or stored."""

import contextlib
import dataclasses
from typing import Any

from mitmproxy import http

from weir.base.alarms import alarm, place
from weir.base.content import ContentError, parse_answer
from weir.base.problems import Kind, Refusal
from weir.masking.bodies import Form, UnknownForm, form_of, mask_body, piece_masker
from weir.masking.masker import mask_document, mask_headers, mask_target
from weir.masking.masks import Mask, View
from weir.masking.messages import Messages
from weir.masking.streams import PieceMasker
from weir.masking.walk import MaskingError, Report
from weir.path.exchange import (
    Answered,
    Body,
    Exchange,
    Head,
    Identified,
    Masked,
    Matched,
    Ranked,
    Read,
    Routed,
)
from weir.path.steps.reading import document_of, ranking_of, read_parameters
from weir.profiles.framing import UNKNOWN_FRAMING, Framing
from weir.profiles.model import Call
from weir.profiles.profile import Operation
from weir.profiles.readers import Parameters
from weir.recorder.copies import RequestRecord

_Fields = list[tuple[bytes, bytes]]
#: Each line of a request is a separate operation or document.
_REQUEST = Framing("records")
#: The facts of a call that masks must not change, by their names in policies. Texts may differ: masks replace them.
_JUDGED = (
    "operation", "documents", "top_n", "breadth", "max_tokens", "completions", "model", "index", "return_documents",
    "stream",
)  # fmt: skip


class MaskRequest:
    """Mask the service's copy of the request. Refuse the request if a mask changes a fact that policy has judged."""

    name = "mask_request"

    def __call__(self, flow: http.HTTPFlow, exchange: Exchange, routed: Routed, matched: Matched, read: Read) -> None:
        connection, data = routed.connection, flow.request.data
        view = connection.masks.upstream()
        if not view:
            return
        report = Report()
        data.headers.fields = tuple(mask_headers(view, data.headers.fields, report))
        sent = _sent(view, routed, matched, read, report)
        if not report:
            return
        if (fact := _changed_fact(matched, read.call, sent)) is not None:
            raise _conflict(view, routed, matched, read, fact)
        if sent.body is not read.sent:
            read.document, read.sent = sent.document, sent.body
            data.content = sent.body  # a later step writes the length with the head
        routed.query, matched.parameters = sent.query, sent.parameters
        exchange.copies.masked += report.fields()
        exchange.copies.request_masked = True


@dataclasses.dataclass(frozen=True, slots=True)
class _Sent:
    """A request masked for one view."""

    body: bytes
    document: Any
    query: str
    parameters: Parameters


def _sent(view: View, routed: Routed, matched: Matched, read: Read, report: Report) -> _Sent:
    query = mask_target(view, f"?{routed.query}".encode(), report)[1:].decode()
    parameters = matched.parameters
    if query != routed.query:
        parameters = read_parameters(routed.connection.profile, query)
    body, document = read.sent, read.document
    if read.parsed:
        body = _masked_body(view, matched.operation, read, report)
        if body is not read.sent:
            document = document_of(matched.operation, body)
    return _Sent(body, document, query, parameters)


def _changed_fact(matched: Matched, judged: Call, sent: _Sent) -> str | None:
    """Return the first fact that differs between the *judged* and the *sent* call; None if all are equal."""
    if matched.operation is None:
        return None
    try:
        call = matched.operation.read_call(sent.document, sent.parameters, matched.variables)
    except ContentError:
        return "operation"
    pairs = zip(_JUDGED, _counted(judged), _counted(call), strict=True)
    return next((name for name, one, other in pairs if one != other), None)


def _conflict(view: View, routed: Routed, matched: Matched, read: Read, fact: str) -> Refusal:
    """Return the refusal for masks that change *fact*. It names the first mask that alone changes it."""

    def changes(mask: Mask) -> bool:
        try:
            return (
                _changed_fact(matched, read.call, _sent(view.only(mask), routed, matched, read, Report())) is not None
            )
        except (ContentError, MaskingError):
            return True

    mask = next(filter(changes, view.masks), view.masks[0])
    return Refusal(
        Kind.MASK_CHANGES_FACT,
        f"{mask.rule} of the connection {routed.connection.name} would change the fact {fact!r} after policy has "
        "judged it, so nothing is sent. Ask the gateway's operator to leave this field out of the mask, or to hide it "
        "from the record only (hide_from: [record]).",
        rule=mask.rule,
    )


def _counted(call: Call) -> tuple[object, ...]:
    documents = None if call.documents is None else len(call.documents)
    return (
        call.operation, documents, call.top_n, call.breadth, call.max_tokens, call.completions, call.model,
        call.indexes, call.return_documents, call.stream,
    )  # fmt: skip


# The record's request.


def record_body(exchange: Exchange) -> bytes:
    """Return the request's body, masked for the record."""
    routed, read, copies = exchange.get(Routed), exchange.get(Read), exchange.copies
    if routed is None or read is None or exchange.principal is None:
        return b""  # keep only the head for an unknown caller or an unread body
    view = routed.connection.masks.record("request")
    if exchange[Head].handshake is not None:
        copies.model = None if "model" in view.parameters else read.call.model
    if not read.parsed:
        return b"" if view else read.sent
    matched, report = exchange[Matched], Report()
    body = _masked_body(view, matched.operation, read, report) if view else read.sent
    if body is not read.sent:
        read.document = document_of(matched.operation, body)
        copies.request_masked = True
    call = _call_of(matched, read.call, read.document) if report else read.call
    copies.model, copies.indexes = call.model, call.indexes
    copies.masked += report.fields()
    return body


def mask_record_head(exchange: Exchange, record: RequestRecord) -> RequestRecord:
    """Return *record* with its target and headers masked."""
    connection, copies = exchange.connection, exchange.copies
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
        copies.masked += report.fields()
        copies.request_masked = True
        copies.target_masked = masked.target != record.target
    return masked


# Reviewers' views.


def shown_request(exchange: Exchange) -> tuple[Call, Any, str]:
    """Return the request's call, body and target for reviewers: masked like the record."""
    routed, matched, read = exchange[Routed], exchange[Matched], exchange[Read]
    view = routed.connection.masks.record("request")
    query = mask_target(view, f"{routed.path}?{routed.query}".encode(), Report()).decode("utf-8", "replace")
    if not read.parsed:
        hidden = view and exchange[Body].decoded
        return read.call, "(a body that cannot be masked)" if hidden else None, query
    if not view:
        return read.call, read.document, query
    body = _masked_body(view, matched.operation, read, Report())
    if body is read.sent:
        return read.call, read.document, query
    shown = document_of(matched.operation, body)
    return _call_of(matched, read.call, shown), shown, query


def shown_answer(routed: Routed, answered: Answered) -> Any:
    """Return the answer's document masked for reviewers; None if it cannot be masked."""
    view = routed.connection.masks.record("response")
    if not view:
        return answered.document
    if answered.document is None or answered.status == 206:
        return None
    return mask_document(view, answered.document)


# Answers.


class MaskAnswer:
    """Mask the answer: one copy for the caller, one for the record."""

    name = "mask_answer"

    def __call__(
        self, exchange: Exchange, routed: Routed, identified: Identified, matched: Matched, read: Read,
        answered: Answered, ranked: Ranked,
    ) -> Masked:  # fmt: skip
        caller, record, document = mask_answer(exchange, routed, identified, matched, answered)
        fields = mask_answer_fields(exchange, routed, identified, answered.fields)
        if ranked.ranking.results and exchange.copies.masked:
            exchange.copies.ranking = ranking_of(exchange, matched, read, document)
        return Masked(caller, record, *fields)


def mask_answer(
    exchange: Exchange, routed: Routed, identified: Identified, matched: Matched, answered: Answered
) -> tuple[bytes, bytes, Any]:
    """Return the answer's body for the caller and for the record, and the record's document.

    Raises `Refusal` if the answer cannot be masked, for any reason.
    """
    masks, body, document = routed.connection.masks, answered.body, answered.document
    if not masks or not body:
        return body, body, document
    everything, callers = masks.record("response"), masks.caller(identified.principal.groups)
    if not everything:
        return body, body, document
    report = Report()
    try:
        if answered.status == 206:
            raise UnknownForm("a part of a body")
        form, framing = form_of(everything, body, answered.content_type, document), _framing(matched)
        record = mask_body(everything, form, body, report, framing)
        caller = record if callers is everything else mask_body(callers, form, body, Report(), framing)
        if record is not body and document is not None:
            document = parse_answer(record)
    except (UnknownForm, MaskingError) as error:
        detail = (
            f"The service answered {answered.status} with a body that cannot be masked ({error}), so it is not shown."
        )
        raise Refusal(Kind.UPSTREAM_UNREADABLE, detail) from None
    except Exception as error:  # a failing detector must not let unmasked data through
        alarm("masking_failed", f"{type(error).__name__} at {place(error)}; request {exchange.request_id}")
        raise Refusal(
            Kind.UPSTREAM_UNREADABLE, "The service's answer could not be masked, so it is not shown."
        ) from None
    exchange.copies.masked += report.fields()
    return caller, record, document


def mask_answer_fields(
    exchange: Exchange, routed: Routed, identified: Identified, fields: _Fields
) -> tuple[_Fields, _Fields]:
    """Return the answer's headers for the caller and for the record."""
    masks = routed.connection.masks
    if not masks:
        return fields, fields
    everything, callers = masks.record("response"), masks.caller(identified.principal.groups)
    report = Report()
    record = mask_headers(everything, fields, report)
    exchange.copies.masked += report.fields()
    return (record if callers is everything else mask_headers(callers, fields, Report())), record


def piece_maskers(
    routed: Routed, identified: Identified, matched: Matched, content_type: str
) -> tuple[PieceMasker, PieceMasker | None, Report] | None:
    """Return the maskers of a streamed answer of *content_type*: the caller's, and the record's if it differs.

    Return None if the answer must be read whole. The report counts the fields that are hidden from the record.
    """
    masks = routed.connection.masks
    everything, callers = masks.record("response"), masks.caller(identified.principal.groups)
    report, framing = Report(), _framing(matched)
    record = piece_masker(everything, content_type, report, framing)
    if record is None:
        return None
    if callers is everything:
        return record, None, report
    caller = piece_masker(callers, content_type, Report(), framing)
    return None if caller is None else (caller, record, report)


def message_maskers(routed: Routed, identified: Identified) -> tuple[Messages, Messages]:
    """Return the maskers of a WebSocket's messages: the caller's and the service's."""
    masks, framing = routed.connection.masks, routed.connection.profile.messages
    of_caller = Messages(masks.upstream(), masks.record("request"), framing)
    return of_caller, Messages(masks.caller(identified.principal.groups), masks.record("response"), framing)


def _framing(matched: Matched) -> Framing:
    """Return how a streamed answer is divided into documents."""
    return matched.operation.framing if matched.operation is not None else UNKNOWN_FRAMING


def _masked_body(view: View, operation: Operation | None, read: Read, report: Report) -> bytes:
    ndjson = operation is not None and operation.ndjson
    return mask_body(view, Form("lines" if ndjson else "json", read.document), read.sent, report, _REQUEST)


def _call_of(matched: Matched, call: Call, body: Any) -> Call:
    """Return the call of the masked *body*. If it cannot be read any more, return only its operation and model."""
    operation = matched.operation
    if operation is None:
        return call
    with contextlib.suppress(ContentError):
        return operation.read_call(body, matched.parameters, matched.variables)
    model = None
    with contextlib.suppress(ContentError):
        model = matched.variables.get("model") or operation.model.read(body)
    return Call(call.operation, model=model)
