"""Answers: read the service's answer, decide whether to stream it, and write the answer that the caller receives."""

import re
import time
from collections.abc import Callable, Iterable

from mitmproxy import http
from mitmproxy.net.http import status_codes

from weir.base.content import ContentError, decode
from weir.base.problems import Kind, Refusal
from weir.masking.metering import Meter, UsageFilter
from weir.masking.response import ResponseStream
from weir.masking.streams import PieceMasker
from weir.masking.walk import Report
from weir.mitm.handlers import report_silence
from weir.path.exchange import (
    Answered,
    Arrived,
    Body,
    Charged,
    Exchange,
    Head,
    Identified,
    Masked,
    Matched,
    Routed,
    Streams,
)
from weir.path.step import Stream
from weir.path.steps.credential import reflected, scrubbed, scrubber
from weir.path.steps.masking import mask_answer_fields, piece_maskers
from weir.path.steps.reading import meter_of, metered, parsed_answer
from weir.recorder.copies import ResponseRecord, with_length
from weir.routing import cors, handshake

_Fields = list[tuple[bytes, bytes]]
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")

#: Answer headers that concern only the service and the gateway, or that would lead callers past the gateway.
_NOT_DELIVERED = frozenset((
    b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade",
    b"content-length", b"content-encoding", b"set-cookie", b"set-cookie2", b"alt-svc", b"proxy-authenticate",
    b"x-request-id", b"ratelimit", b"ratelimit-policy",
))  # fmt: skip
#: A status from 100 to 599 is passed on, whether or not it has a name (RFC 9110, 15). Others are not valid.
_LAST_STATUS = 599
#: Answers with these statuses are never streamed: they have no body, or only a part of a body.
_WHOLE = (101, 204, 205, 206, 304)


def opens(flow: http.HTTPFlow, exchange: Exchange) -> bool:
    """True if the answer opens the WebSocket that its request asks for."""
    status = flow.response.status_code if flow.response is not None else 0
    head = exchange.get(Head)
    asked = head is not None and head.handshake is not None
    return status == 101 and asked and not exchange.replay and flow.is_replay is None


def delivered(exchange: Exchange, fields: Iterable[tuple[bytes, bytes]]) -> tuple[tuple[bytes, bytes], ...]:
    """Return *fields* of an answer with the headers that the gateway adds, and without the service's of these names."""
    duration = (time.perf_counter() - exchange.started) * 1000
    own = [(name.encode(), value.encode()) for name, value in exchange.own_headers.items()]
    if own:
        names = {name.lower() for name, _ in own} - {b"vary"}  # each such header adds to the others
        fields = [field for field in fields if field[0].lower() not in names]
    if (connection := exchange.connection) is not None and connection.cors is not None:
        fields = [field for field in fields if not field[0].lower().startswith(cors.PREFIX)]
    return (
        *fields,
        *own,
        (b"X-Request-Id", exchange.request_id.encode()),
        (b"Server-Timing", b"weir;dur=%.1f" % duration),
    )


def _checked_head(data: http.ResponseData) -> tuple[dict[bytes, bytes], _Fields, bytes]:
    """Return the answer's fields by lower-case name, the fields to deliver, and the reason phrase. Raises `Refusal`."""
    head = {name.lower(): value for name, value in data.headers.fields}
    reason = status_codes.RESPONSES.get(data.status_code, "").encode()
    names = [name.lower() for name, _ in data.headers.fields]
    if names.count(b"content-encoding") > 1 or names.count(b"content-type") > 1 or data.status_code > _LAST_STATUS:
        raise Refusal(Kind.UPSTREAM_UNREADABLE, "The service's answer can be read in two ways.")
    if data.status_code == 407:  # a proxy's caller would read it as the gateway's own 407
        raise Refusal(Kind.UPSTREAM_UNREADABLE, "The service answered as a proxy would.")
    if any(_CONTROL.search(value) for _, value in data.headers.fields):
        raise Refusal(Kind.UPSTREAM_UNREADABLE, "The service's answer has control characters in its headers.")
    return head, [(n, v) for n, v in data.headers.fields if n.lower() not in _NOT_DELIVERED], reason


def _response_data(flow: http.HTTPFlow) -> http.ResponseData:
    if flow.response is None:
        raise RuntimeError("the flow has no response")
    return flow.response.data


class RefuseInformational:
    """Refuse an informational answer (1xx), unless it opens the WebSocket that the caller asked for."""

    name = "refuse_informational"

    def __init__(self, end_upstream: Callable[[http.HTTPFlow], None]) -> None:
        self._end_upstream = end_upstream

    def __call__(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        if _response_data(flow).status_code < 200 and not opens(flow, exchange):
            self._end_upstream(flow)  # the next bytes would be read as another answer
            raise Refusal(Kind.UPSTREAM_UNREADABLE, "The service answered with an informational status (1xx).")


class StreamAnswer:
    """Decide whether to stream the answer. Do not stream it if rules, masks or discovery need the whole answer."""

    name = "stream_answer"

    def __init__(self, failed: Callable[[http.HTTPFlow, Exchange, Exception], None]) -> None:
        """*failed* is called when a stream cannot be masked. Nothing more of the stream is delivered."""
        self._failed = failed

    def __call__(
        self, flow: http.HTTPFlow, exchange: Exchange, arrived: Arrived, routed: Routed, identified: Identified,
        matched: Matched, body: Body, charged: Charged | None,
    ) -> Streams | None:  # fmt: skip
        data = _response_data(flow)
        status = data.status_code
        needed = routed.connection.response_rules.rules or (matched.operation and matched.operation.discovery)
        if needed or arrived.method == "HEAD" or status in _WHOLE or flow.is_replay == "response":
            return None
        head, fields, reason = _checked_head(data)
        if head.get(b"content-encoding", b"identity").strip().lower() not in (b"", b"identity"):
            return None
        content_type = head.get(b"content-type", b"").decode("ascii", "replace")
        maskers = piece_maskers(routed, identified, matched, content_type)
        if maskers is None:
            return None
        exchange.upstream_status = status
        data.http_version = b"HTTP/1.1"
        _, fields = scrubbed(exchange, b"", fields, None)
        fields, recorded = mask_answer_fields(exchange, routed, identified, fields)
        meter = meter_of(matched.operation, content_type, sizes=charged is not None and charged.counts_tokens)
        unasked = usage_filter(matched, body, content_type, meter)
        stream = self._stream(flow, exchange, content_type, maskers, recorded, meter, unasked)
        # HTTP/1.0 callers read until the connection is closed. To cut a stream, it is reset (`weir.mitm.resets`).
        chunked = [(b"Transfer-Encoding", b"chunked")] if arrived.chunked else []
        data.headers.fields = delivered(exchange, (*fields, *chunked))
        data.reason = reason
        return Streams(stream)

    def _stream(
        self,
        flow: http.HTTPFlow,
        exchange: Exchange,
        content_type: str,
        maskers: tuple[PieceMasker, PieceMasker | None, Report],
        recorded: _Fields,
        meter: Meter,
        unasked: UsageFilter | None,
    ) -> ResponseStream:
        caller, record, report = maskers
        return ResponseStream(
            content_type,
            caller,
            record,
            report,
            tuple(recorded),
            meter,
            unasked,
            scrubber(exchange),
            lambda: reflected(exchange),
            lambda error: self._failed(flow, exchange, error),
            lambda silence: report_silence(flow, from_caller=False, long=silence.long),
        )


class DeliverStream:
    """Begin to deliver the stream, after its beginning was recorded."""

    name = "deliver_stream"

    def __call__(self, exchange: Exchange, streams: Streams | None) -> Stream | None:
        if streams is None:
            return None
        exchange.stream = streams.stream
        return Stream(streams.stream)


class ReadAnswer:
    """Read the whole answer: check its head, then decode and parse its body."""

    name = "read_answer"

    def __call__(self, flow: http.HTTPFlow, exchange: Exchange) -> Answered:
        data = _response_data(flow)
        head, fields, reason = _checked_head(data)
        try:
            coding = head.get(b"content-encoding", b"").decode("ascii", "replace")
            body = decode(data.content or b"", coding, answer=True)
        except ContentError as error:
            raise Refusal(Kind.UPSTREAM_UNREADABLE, f"The service's answer cannot be read: {error}.") from None
        content_type = head.get(b"content-type", b"").decode("ascii", "replace")
        document = parsed_answer(body, content_type)
        return Answered(data.status_code, reason, fields, content_type, body, document)


class ReadStreamed:
    """Read the record's copy of a stream that has ended. Everything except its end is already delivered."""

    name = "read_streamed"

    def __call__(self, exchange: Exchange) -> Answered:
        stream, copy = exchange.stream, copy_stream(exchange)
        if stream is None or copy is None:
            raise RuntimeError("the answer is not streamed")
        return Answered(copy.status, copy.reason, [], stream.content_type, copy.body, None)


def copy_stream(exchange: Exchange) -> ResponseRecord | None:
    """Set and return the record's copy of a streamed answer: all delivered bytes. None if it is not streamed."""
    stream = exchange.stream
    if stream is None:
        return None
    exchange.received_bytes = stream.received
    exchange.tokens = stream.meter.tokens
    exchange.copies.masked += stream.report.fields()
    status, body = exchange.upstream_status, bytes(stream.body)
    reason = status_codes.RESPONSES.get(status, "").encode()
    exchange.copies.response = ResponseRecord(status, reason, with_length(stream.fields, body), body)
    return exchange.copies.response


def usage_filter(matched: Matched, body: Body, content_type: str, meter: Meter) -> UsageFilter | None:
    """Return the filter for the report of usage that only the gateway asked for; None if it asked for none."""
    operation = matched.operation
    if operation is None or not body.asks_usage:
        return None
    return UsageFilter(content_type, operation.usage, meter.reports)


def _without_report(caller: bytes, matched: Matched, body: Body, answered: Answered) -> bytes:
    meter = metered(answered, matched.operation)
    unasked = usage_filter(matched, body, answered.content_type, meter)
    return caller if unasked is None else b"".join([*unasked.feed(caller), *unasked.end()])


class WriteAnswer:
    """Write the caller's answer and the record's copy."""

    name = "write_answer"

    def __call__(
        self, flow: http.HTTPFlow, exchange: Exchange, arrived: Arrived, matched: Matched, body: Body,
        answered: Answered, masked: Masked,
    ) -> None:  # fmt: skip
        data = _response_data(flow)
        caller, record = masked.caller, masked.record
        if body.asks_usage:
            caller = _without_report(caller, matched, body, answered)
        fields, recorded = masked.caller_fields, tuple(masked.record_fields)
        if arrived.method == "HEAD" or answered.status in (204, 304):
            caller = record = b""  # answers to these have no body: more bytes would be read as another answer
        else:
            fields, recorded = [*fields, (b"Content-Length", b"%d" % len(caller))], with_length(recorded, record)
        exchange.copies.response = ResponseRecord(answered.status, answered.reason, recorded, record)
        data.http_version = b"HTTP/1.1"
        data.headers.fields = delivered(exchange, fields)
        data.content = caller
        data.reason = answered.reason
        data.trailers = None


class OpenWebSocket:
    """Check that the service opens the WebSocket that the caller asked for, and write the caller's 101 answer."""

    name = "open_websocket"

    def __call__(
        self, flow: http.HTTPFlow, exchange: Exchange, head: Head, routed: Routed, identified: Identified
    ) -> None:
        data = _response_data(flow)
        if head.handshake is None or not opens(flow, exchange):
            raise Refusal(Kind.UPSTREAM_UNREADABLE, "The service answered with an informational status (1xx).")
        try:
            handshake.check_answer(head.handshake, data.headers.fields)
        except handshake.AnswerError as error:
            raise Refusal(Kind.UPSTREAM_UNREADABLE, f"The service's answer opens no WebSocket: {error}.") from None
        _, fields, reason = _checked_head(data)
        _, fields = scrubbed(exchange, b"", fields, None)
        fields, recorded = mask_answer_fields(exchange, routed, identified, fields)
        exchange.copies.response = ResponseRecord(101, reason, (*recorded, *handshake.UPGRADE), b"")
        data.http_version, data.reason, data.content, data.trailers = b"HTTP/1.1", reason, b"", None
        data.headers.fields = delivered(exchange, (*fields, *handshake.UPGRADE))
