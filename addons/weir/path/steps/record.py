"""Record: make the record's copies of a request and its answer, and write them. `outcomes.py` decides when."""

import dataclasses
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from mitmproxy import http
from mitmproxy.websocket import WebSocketData, WebSocketMessage
from wsproto.frame_protocol import CloseReason

from weir.base.identifiers import Uuid7
from weir.base.problems import Kind, Refusal
from weir.base.secret import Scrubber, without_keys
from weir.masking.masks import MaskedField
from weir.path.endings import outcome_of
from weir.path.exchange import (
    Arrived,
    Exchange,
    Head,
    Hold,
    Identified,
    Keyed,
    Matched,
    Prepared,
    Read,
    Routed,
    Streams,
)
from weir.path.observed import request_trace, response_trace
from weir.path.step import Skip
from weir.path.steps.credential import scrubber
from weir.path.steps.masking import mask_record_head, record_body
from weir.profiles.model import UNKNOWN, WRITES
from weir.recorder.copies import RequestRecord, ResponseRecord, with_length, without_body
from weir.recorder.flowfile import NO_WEBSOCKET, FlowEncoder
from weir.recorder.journal import SCHEMA_VERSION, JournalLine, encode_line, timestamp
from weir.recorder.recorder import Recorder
from weir.recorder.replay_key import HEADER
from weir.recorder.settings import Recording
from weir.recorder.writer import Entry, RecorderUnavailable
from weir.routing.forwarding import NO_CONNECTION
from weir.routing.head import METHODS

UNROUTED = "_unrouted"

#: For an unauthenticated caller, the record keeps only these headers.
_HARMLESS = frozenset((b"user-agent", b"accept", b"content-type"))
_LONGEST_ERROR = 200
_LONGEST_TEXT = 1000
_MOST_INDEXES = 100
_LONGEST_TARGET = 8000
_PORT = re.compile(r":[0-9]*$")
_HOST_UNSAFE = re.compile(r"[^A-Za-z0-9.\-]")
_MOST_DROPPED = 20
_LONGEST_NAME = 64


class Recordable:
    """Refuse the request if the recorder is not available."""

    name = "recordable"
    stand_in = Skip("recordable")

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    async def __call__(self, exchange: Exchange) -> None:
        if not _options(exchange).enabled:
            return
        try:
            await self._recorder.ready()
        except RecorderUnavailable:
            raise _unavailable() from None


class CopyRequest:
    """Copy the request for the record: after masking, and before the credential is injected."""

    name = "copy_request"

    def __call__(self, flow: http.HTTPFlow, exchange: Exchange, prepared: Prepared, keyed: Keyed) -> None:
        copy_request(flow, exchange)
        exchange.judged = True


def copy_request(flow: http.HTTPFlow, exchange: Exchange) -> None:
    """Set the record's copy of the current request, and the trace of its rules."""
    body, scrub = record_body(exchange), scrubber(exchange)
    exchange.copies.request = mask_record_head(exchange, _copied(flow, exchange, body, scrub))
    exchange.copies.trace = request_trace(exchange, scrub)


def _copied(flow: http.HTTPFlow, exchange: Exchange, body: bytes, scrub: Scrubber) -> RequestRecord:
    data = flow.request.data
    host_header = next((v for n, v in data.headers.fields if n.lower() == b"host"), b"")
    forwarding = exchange.connection.forwarding if exchange.connection is not None else NO_CONNECTION
    recorded = _HARMLESS if exchange.principal is None else forwarding.records
    fields = [field for field in data.headers.fields if field[0].lower() in recorded]
    fields.insert(0, (b"Host", host_header))
    keyed = exchange.get(Keyed)
    if keyed is not None and keyed.key:
        fields.append((HEADER.encode(), keyed.key.encode()))
    host = data.host
    if exchange.connection is None:  # no service is known: show the caller's destination
        safe = without_keys(scrub(host_header)).decode("latin-1")
        host = _HOST_UNSAFE.sub("?", _PORT.sub("", safe))[:200] or host
    body = scrub(body)
    recorded_fields = tuple((n, without_keys(v)) for n, v in scrub.fields(fields))
    return RequestRecord(
        method=data.method if data.method in (*METHODS, b"CONNECT") else b"INVALID",
        scheme=data.scheme,
        host=str(host),
        port=data.port,
        target=without_keys(scrub((data.path or data.authority)[:_LONGEST_TARGET])),
        fields=with_length(recorded_fields, body) if body else recorded_fields,
        body=body,
    )


class RecordIntent:
    """Record that the request is about to be sent, if the connection or the request requires it."""

    name = "record_intent"
    waits = True
    stand_in = Skip("record_intent")

    def __init__(self, records: "Records") -> None:
        self._records = records

    def __call__(
        self, flow: http.HTTPFlow, exchange: Exchange, read: Read, hold: Hold | None
    ) -> Awaitable[None] | None:
        approved = hold is not None and bool(hold.approved_by)
        needed = bool(read.call.stream) or read.call.operation in WRITES or approved
        return self._records.intent(flow, exchange, needed=needed)


class RecordStream:
    """Record that the answer is about to be streamed: its end cannot be recorded before delivery begins."""

    name = "record_stream"
    waits = True
    stand_in = Skip("record_stream")

    def __init__(self, records: "Records") -> None:
        self._records = records

    def __call__(self, flow: http.HTTPFlow, exchange: Exchange, streams: Streams | None) -> Awaitable[None] | None:
        return self._records.intent(flow, exchange, needed=True) if streams is not None else None


class Records:
    """Writes exchanges and WebSocket messages: one flow and one journal line for each."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._encoder = FlowEncoder()
        self._new_id = Uuid7()

    def intent(self, flow: http.HTTPFlow, exchange: Exchange, *, needed: bool) -> Awaitable[None] | None:
        """Record that the request is about to be sent, or its answer to stream.

        With ``intent: always``, every request has such a line; with ``never``, none; otherwise only if *needed*. Raises
        `Refusal`.
        """
        options, request = _options(exchange), exchange.copies.request
        if exchange.intended or not options.enabled or options.intent == "never" or request is None:
            return None
        if not needed and options.intent != "always":
            return None
        return self._intend(flow, exchange, request)

    async def _intend(self, flow: http.HTTPFlow, exchange: Exchange, request: RequestRecord) -> None:
        line = self._line(flow, exchange, request, None, "", scrubber(exchange))
        line.intent, line.outcome = True, None
        try:
            await self._write(exchange[Routed].connection.name, line, synced=_options(exchange).synced)
        except RecorderUnavailable:
            raise _unavailable() from None
        exchange.intended = True

    async def write(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        """Write the exchange. Return after the bytes are written. Raises `RecorderUnavailable`."""
        options, scrub, copies = _options(exchange), scrubber(exchange), exchange.copies
        copies.trace += response_trace(exchange, scrub)
        if not options.enabled and exchange.problem is None:
            return
        request, response = copies.request, copies.response
        if request is None:
            request = _copied(flow, exchange, b"", scrub)
        error = scrub(exchange.error.encode("utf-8", "replace")).decode("utf-8", "replace")[:_LONGEST_ERROR]
        line = self._line(flow, exchange, request, response, error, scrub)
        if options.bodies != "full":
            request, response = self._without_bodies(exchange, options, request, response, line)
        client, server = self._encoder.connection(flow.client_conn), self._encoder.connection(flow.server_conn)
        received, data = exchange.received, flow.request.data
        times = (
            received,
            data.timestamp_end or received,
            (flow.response.timestamp_start if flow.response else None) or received,
            time.time(),
        )
        metadata = encode_line(line)
        websocket = self._encoder.websocket(_going_on([])) if _opened(exchange) else NO_WEBSOCKET
        marked, comment = ":no_entry:" if exchange.problem else "", _comment(line)

        def encode() -> bytes:
            return self._encoder.flow(
                flow_id=line.request_id, client=client, server=server, request=request, response=response,
                error="" if response else error, replay=line.replay or "", marked=marked, comment=comment,
                metadata=metadata, times=times, websocket=websocket,
            )  # fmt: skip

        size = len(request.body) + (len(response.body) if response else 0)
        await self._write(line.connection or UNROUTED, line, metadata, encode, size, synced=options.synced)

    async def _write(
        self,
        connection: str,
        line: JournalLine,
        encoded: bytes = b"",
        encode: Callable[[], bytes] | None = None,
        size: int = 0,
        *,
        synced: bool = False,
    ) -> None:
        entry = Entry(connection, line.request_id, line.time, encoded or encode_line(line), encode, size, synced)
        await self._recorder.write(entry)

    def _without_bodies(
        self,
        exchange: Exchange,
        options: Recording,
        request: RequestRecord,
        response: ResponseRecord | None,
        line: JournalLine,
    ) -> tuple[RequestRecord, ResponseRecord | None]:
        """Return both records without bodies and without the replay key, since they cannot be served by replay.

        A refusal of the gateway keeps its body: it contains no data of the service.
        """
        service = response is not None and exchange.problem is None
        if options.bodies == "digest":
            line.request_digest = self._recorder.digests.body(request.body)
            line.response_digest = (
                self._recorder.digests.body(response.body) if response is not None and service else None
            )
        fields = tuple(field for field in request.fields if field[0] != HEADER.encode())
        bare = without_body(dataclasses.replace(request, fields=fields))
        return bare, without_body(response) if response is not None and service else response

    async def websocket_message(
        self, flow: http.HTTPFlow, exchange: Exchange, messages: list[WebSocketMessage], masked: list[MaskedField]
    ) -> None:
        """Write masked messages of one side of a WebSocket. Raises `RecorderUnavailable`."""
        size = sum(len(message.content) for message in messages)
        by_caller = bool(messages) and messages[0].from_client
        line = self._said(exchange, "message", size if by_caller else 0, 0 if by_caller else size)
        line.masked, line.masked_request = masked, by_caller and bool(masked)
        options = _options(exchange)
        if options.bodies != "full":
            if options.bodies == "digest":
                digest = self._recorder.digests.body(b"".join(message.content for message in messages))
                line.request_digest, line.response_digest = (digest, None) if by_caller else (None, digest)
            messages = [WebSocketMessage(m.type, m.from_client, b"", m.timestamp) for m in messages]
        await self._write_said(flow, exchange, line, _going_on(messages))

    async def websocket_end(
        self, flow: http.HTTPFlow, exchange: Exchange, data: WebSocketData, counts: Mapping[bool, int], error: str
    ) -> None:
        """Write the end of a WebSocket. *counts* are the messages of its caller (True) and of its service (False)."""
        line = self._said(exchange, "close", 0, 0)
        line.duration_ms = round((time.perf_counter() - exchange.started) * 1000, 3)
        by = {True: "the caller", False: "the service", None: "the gateway"}[data.closed_by_client]
        reason = f" ({data.close_reason})" if data.close_reason else ""
        line.message = _cut(
            f"closed by {by}, {data.close_code}{reason}; messages: {counts[True]} of the caller, "
            f"{counts[False]} of the service"
        )
        line.error = error[:_LONGEST_ERROR] or None
        await self._write_said(flow, exchange, line, data)

    def _said(self, exchange: Exchange, what: str, request_bytes: int, response_bytes: int) -> JournalLine:
        request = exchange.copies.request
        if request is None:
            raise RecorderUnavailable("the handshake is not recorded")
        return JournalLine(
            version=SCHEMA_VERSION,
            request_id=self._new_id(),
            time=timestamp(time.time()),
            duration_ms=0.0,
            **self._whose(exchange, request),
            operation=what,
            request_bytes=request_bytes,
            response_bytes=response_bytes,
            status=101,
            websocket=exchange.request_id,
        )

    async def _write_said(
        self, flow: http.HTTPFlow, exchange: Exchange, line: JournalLine, data: WebSocketData
    ) -> None:
        options = _options(exchange)
        request, response = exchange.copies.request, exchange.copies.response
        if not options.enabled or request is None:
            return
        client, server = self._encoder.connection(flow.client_conn), self._encoder.connection(flow.server_conn)
        now, metadata = time.time(), encode_line(line)
        websocket, comment = self._encoder.websocket(data), f"{line.operation} of {line.websocket}"

        def encode() -> bytes:
            return self._encoder.flow(
                flow_id=line.request_id, client=client, server=server, request=request, response=response, error="",
                replay="", marked="", comment=comment, metadata=metadata, times=(now, now, now, now),
                websocket=websocket,
            )  # fmt: skip

        await self._write(line.connection or UNROUTED, line, metadata, encode, len(websocket), synced=options.synced)

    def _whose(self, exchange: Exchange, request: RequestRecord) -> dict[str, Any]:
        """Return the columns of the caller and of the destination."""
        principal, connection, arrived = exchange.principal, exchange.connection, exchange.get(Arrived)
        identified, head = exchange.get(Identified), exchange.get(Head)
        return {
            "worker": self._recorder.worker,
            "connection": connection.name if connection else None,
            "session_id": (identified.session_id or None) if identified else None,
            "issuer": principal.issuer if principal else None,
            "user": principal.sub if principal else None,
            "groups": sorted(principal.groups) if principal else [],
            "token_id": (principal.token_id or None) if principal else None,
            "client_ip": (arrived.client_ip or None) if arrived else None,
            "client_request_id": (head.client_request_id or None) if head else None,
            "method": arrived.method if arrived else "?",
            "path": _cut(request.target.partition(b"?")[0].decode("utf-8", "replace")) or "",
            "policy_version": arrived.policies.version if arrived else None,
        }

    def _line(
        self,
        flow: http.HTTPFlow,
        exchange: Exchange,
        request: RequestRecord,
        response: ResponseRecord | None,
        error: str,
        scrub: Scrubber,
    ) -> JournalLine:
        decision, problem, copies = exchange.decision, exchange.problem, exchange.copies
        head, matched, read = exchange.get(Head), exchange.get(Matched), exchange.get(Read)
        call = read.call if read is not None else UNKNOWN
        named = matched is not None and (
            matched.operation is not None or (head is not None and head.handshake is not None)
        )
        now = time.perf_counter()
        return JournalLine(
            version=SCHEMA_VERSION,
            request_id=exchange.request_id,
            time=timestamp(exchange.received),
            duration_ms=round((now - exchange.started) * 1000, 3),
            upstream_ms=round((now - exchange.sent) * 1000, 3) if exchange.sent and not exchange.replay else None,
            **self._whose(exchange, request),
            operation=call.operation if named else None,
            indexes=[
                scrub(name.encode("utf-8", "replace")).decode("utf-8", "replace")
                for name in copies.indexes[:_MOST_INDEXES]
            ],
            tokens=exchange.tokens,
            model=_cut(copies.model),
            documents=None if call.documents is None else len(call.documents),
            top_n=call.top_n,
            request_bytes=len(flow.request.raw_content or b""),
            response_bytes=len(response.body) if response else 0,
            status=response.status if response else 0,
            upstream_status=exchange.upstream_status or None,
            effect=decision.effect if decision else None,
            rule=decision.rule if decision else None,
            message=(decision.message if decision else "") or (problem.detail if problem else None),
            decision_id=decision.decision_id if decision else None,
            rule_file=(decision.file or None) if decision else None,
            rule_line=(decision.line or None) if decision else None,
            shadow=list(decision.shadow) if decision else [],
            shadow_effect=decision.shadow_effect if decision else None,
            trace=list(copies.trace),
            approvals=_approvals(exchange),
            problem=problem.kind.slug if problem else None,
            replay=exchange.replay or None,
            error=error or None,
            masked_request=copies.request_masked,
            masked=copies.masked,
            query_digest=self._recorder.digests.query(call.query),
            results=self._recorder.digests.results(copies.ranking, call.documents),
            dropped_headers=_dropped(exchange.get(Prepared), scrub),
            outcome=outcome_of(exchange),
            repeated=exchange.repeated,
        )


def _dropped(prepared: Prepared | None, scrub: Scrubber) -> list[str]:
    """Return the names of the headers that the service did not receive: each once, in lower case, within bounds."""
    if prepared is None or not prepared.dropped:
        return []
    names = dict.fromkeys(without_keys(scrub(name)).decode("latin-1").lower() for name in prepared.dropped)
    return [name[:_LONGEST_NAME] for name in list(names)[:_MOST_DROPPED]]


def _going_on(messages: list[WebSocketMessage]) -> WebSocketData:
    """Return *messages* of an open WebSocket with a close code: mitmproxy shows a flow without one as an error."""
    return WebSocketData(messages, close_code=CloseReason.NO_STATUS_RCVD, close_reason="(it goes on)")


def _opened(exchange: Exchange) -> bool:
    """True if the exchange is the handshake of an opened WebSocket."""
    response, head = exchange.copies.response, exchange.get(Head)
    return head is not None and head.handshake is not None and response is not None and response.status == 101


def _unavailable() -> Refusal:
    return Refusal(
        Kind.RECORDER_UNAVAILABLE,
        "The gateway cannot record now, and passes no request without a record. Try again later.",
        headers=(("Retry-After", "5"),),
    )


_DEFAULT = Recording()


def _options(exchange: Exchange) -> Recording:
    """Return the connection's recording options. Without a connection, return the default: record everything."""
    routed = exchange.get(Routed)
    return routed.connection.record if routed is not None else _DEFAULT


def _approvals(exchange: Exchange) -> list[str]:
    """Return the ids of the approvals that allowed the exchange, and of the approval that it waited for."""
    hold = exchange.get(Hold)
    if hold is None:
        return []
    waited = (hold.approval,) if hold.approval is not None else ()
    return list(dict.fromkeys(approval.id for approval in (*hold.approved_by, *waited)))


def _comment(line: JournalLine) -> str:
    """Return the comment that mitmproxy shows in its list of flows."""
    who = line.user or "nobody"
    if line.problem is None and line.error is None:
        approved = f", {line.message} ({' '.join(line.approvals)})" if line.approvals else ""
        return f"allowed: {line.operation or line.method} by {who}{approved}"
    if line.problem is None:
        return f"failed: {line.error} ({who})"
    by = f" by {line.rule}" if line.rule and line.effect != "allow" else ""
    return f"refused{by}: {line.problem} ({who})"


def _cut(text: str | None) -> str | None:
    """Shorten a text of the journal, so that the index can hold each line."""
    return text if text is None or len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "…"
