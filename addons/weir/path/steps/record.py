"""Recorder: takes the record's copies, and has them on disk before the caller has an answer."""

import contextlib
import dataclasses
import logging
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from mitmproxy import http
from mitmproxy.websocket import WebSocketData, WebSocketMessage
from wsproto.frame_protocol import CloseReason

from weir.approvals.model import Approval
from weir.base.alarms import Told, alarm
from weir.base.home import derived_key
from weir.base.identifiers import Uuid7
from weir.base.problems import Kind, Refusal
from weir.base.secret import Scrubber, without_keys
from weir.masking.masks import MaskedField
from weir.path.exchange import Exchange
from weir.policyset.model import PolicySet
from weir.profiles.model import WRITES
from weir.recorder import catalog, live
from weir.recorder.adoption import adopt
from weir.recorder.copies import RequestRecord, ResponseRecord
from weir.recorder.digests import Digests
from weir.recorder.events import EventLog
from weir.recorder.evidence import Busy, Log, Signer, keepers_lock
from weir.recorder.flowfile import NO_WEBSOCKET, FlowEncoder, check_format
from weir.recorder.housekeeper import Housekeeper
from weir.recorder.indexer import Indexer, pending
from weir.recorder.journal import SCHEMA_VERSION, JournalLine, encode_line, timestamp
from weir.recorder.repair import claim, repair
from weir.recorder.replay_key import HEADER
from weir.recorder.settings import Recording
from weir.recorder.worker import WorkerLock, try_claim
from weir.recorder.writer import Entry, RecorderUnavailable, Writer
from weir.routing.head import METHODS, forwarded_fields

UNROUTED = "_unrouted"

#: Of a caller who has not said who they are, only these headers are kept.
_HARMLESS = frozenset((b"host", b"user-agent", b"accept", b"content-type", b"content-length"))
_LONGEST_ERROR = 200
_LONGEST_TEXT = 1000
_MOST_INDEXES = 100
_LONGEST_TARGET = 8000
_PORT = re.compile(r":[0-9]*$")
_HOST_UNSAFE = re.compile(r"[^A-Za-z0-9.\-]")
#: The recorded body is decoded, or left out.
_NOT_RECORDED = frozenset((b"content-encoding",))


class Recorder:
    """Every exchange, let through or refused, becomes one flow and one line."""

    def __init__(self, under_way: Callable[[], int] = lambda: 1) -> None:
        """*under_way* tells how many exchanges there are."""
        self._under_way = under_way
        self._encoder = FlowEncoder()
        self._lock: WorkerLock | None = None
        self._writer: Writer | None = None
        self._events: EventLog | None = None
        self._housekeeper: Housekeeper | None = None
        self._policies: PolicySet | None = None
        self._log: Log | None = None
        self._digests = Digests(b"")
        self._new_id = Uuid7()

    @property
    def worker(self) -> str:
        """This worker's id; empty before `start`."""
        return self._lock.worker if self._lock else ""

    def start(self, policies: PolicySet) -> None:
        """Claim a worker id, mend what a crash left, make the index. Raises OSError or RuntimeError."""
        check_format()
        recordings = policies.recorded
        signer = Signer(recordings)
        recordings.settle_modes()
        live.prepare(recordings)
        self._digests = Digests(derived_key("record"))
        adopt(recordings, signer)
        self._lock, log = claim(recordings, signer)
        self._log = log
        repairs = repair(recordings, signer, log)
        if repairs.segments:
            alarm(
                "recordings_repaired",
                f"{repairs.segments} segments were left unfinished by a crash: {repairs.interrupted} requests "
                f"interrupted, {repairs.quarantined} bytes quarantined, {repairs.lost} lines lost",
                level=logging.WARNING,
            )
        catalog.create(recordings)
        if pending(recordings):
            with contextlib.suppress(Busy), keepers_lock(recordings):
                Indexer(recordings).close()
        self._policies = policies
        self._housekeeper = Housekeeper(self._kept, soon=next(live.segments(recordings.root), None) is not None)
        boot = Uuid7()().replace("-", "")[:15]
        self._writer = Writer(
            recordings, log, boot, self._housekeeper.wake, self._under_way, self._holds, self._begin_anew
        )
        self._events = EventLog(log)
        Told.by = self._alarmed

    def _holds(self) -> bool:
        assert self._lock is not None and self._policies is not None
        return self._lock.holds(self._policies.recorded)

    def _begin_anew(self) -> None:
        """The folder was emptied under the running gateway: what goes on does so in a folder of its own id."""
        assert self._lock is not None and self._policies is not None and self._log is not None
        recordings = self._policies.recorded
        signer = Signer(recordings)
        lock = try_claim(recordings, self._lock.worker)
        if lock is None:
            raise OSError(f"another process is {self._lock.worker} of {recordings.root} now; restart this one")
        alarm("recordings_emptied", f"{recordings.root} was emptied while it was written; what was in it is gone")
        try:
            self._log.begin(signer)
        except BaseException:
            lock.release()
            raise
        self._lock.release()
        self._lock = lock
        catalog.create(recordings)

    def use(self, policies: PolicySet) -> None:
        """The policies have changed: what is kept for how long, and where checkpoints go."""
        self._policies = policies

    def _kept(self) -> dict[str, Any]:
        policies = self._policies
        assert policies is not None
        return {
            "root": str(policies.recordings.resolve()),
            "readers": policies.readers,
            "keep": {c.name: c.record.keep for c in policies.connections},
            "default": policies.keep,
            "publish": [dict(target) for target in policies.checkpoints],
        }

    def _alarmed(self, name: str, message: str) -> None:
        if name != "event_lost":  # it would make another of itself
            self.event("alarm", self.worker, subject=name, message=message)

    def event(self, kind: str, who: str, **about: str) -> None:
        """Have an administrative event written; *about* are fields of `events.Event`. Does not wait."""
        if self._events is not None:
            self._events.add(kind, who, **about)

    def approval(self, approval: Approval) -> None:
        """Have what became of *approval* written. Does not wait."""
        if self._events is not None:
            self._events.approval(approval)

    def stop(self) -> None:
        """Write what waits and give the worker id back. Blocks for as long as the disk takes."""
        Told.by = None
        if self._housekeeper is not None:
            self._housekeeper.stop()
            self._housekeeper = None
        if self._events is not None:
            self._events.close()
            self._events = None
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self._log is not None:
            self._log.close()
            self._log = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    async def request(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        """Refuse what could not be recorded."""
        if not _options(exchange).enabled:
            return
        try:
            if self._writer is None:
                raise RecorderUnavailable("the recorder is not running")
            await self._writer.ready()
        except RecorderUnavailable:
            raise _unavailable() from None

    def copy_request(self, flow: http.HTTPFlow, exchange: Exchange, body: bytes, scrub: Scrubber) -> RequestRecord:
        """The record's copy of the request as it stands now, with *body* (masked already)."""
        data = flow.request.data
        host_header = next((v for n, v in data.headers.fields if n.lower() == b"host"), b"")
        fields = [field for field in forwarded_fields(data.headers.fields) if field[0].lower() not in _NOT_RECORDED]
        if exchange.principal is None:
            fields = [field for field in fields if field[0].lower() in _HARMLESS]
        fields.insert(0, (b"Host", host_header))
        if exchange.replay_key:
            fields.append((HEADER.encode(), exchange.replay_key.encode()))
        if body:
            fields.append((b"Content-Length", b"%d" % len(body)))
        host = data.host
        if exchange.connection is None:  # no service is known: show where the caller meant to go
            safe = without_keys(scrub(host_header)).decode("latin-1")
            host = _HOST_UNSAFE.sub("?", _PORT.sub("", safe))[:200] or host
        return RequestRecord(
            method=data.method if data.method in (*METHODS, b"CONNECT") else b"INVALID",
            scheme=data.scheme,
            host=str(host),
            port=data.port,
            target=without_keys(scrub((data.path or data.authority)[:_LONGEST_TARGET])),
            fields=tuple((n, without_keys(v)) for n, v in scrub.fields(fields)),
            body=scrub(body),
        )

    async def intent(self, flow: http.HTTPFlow, exchange: Exchange, scrub: Scrubber, *, streams: bool = False) -> None:
        """Have it on record that the request is about to be sent, or its answer to stream, where that is asked for.

        Raises `Refusal`.
        """
        options, call = _options(exchange), exchange.call
        needed = streams or bool(call.stream) or call.operation in WRITES or bool(exchange.approved_by)
        if exchange.intended or not options.enabled or options.intent == "never":
            return
        if options.intent == "always" or needed:
            request = exchange.request_record
            assert request is not None and exchange.connection is not None
            line = self._line(flow, exchange, request, None, "", scrub)
            line.intent = True
            try:
                await self._write(exchange.connection.name, line, synced=options.synced)
            except RecorderUnavailable:
                raise _unavailable() from None
            exchange.intended = True

    async def record(self, flow: http.HTTPFlow, exchange: Exchange, scrub: Scrubber) -> None:
        """Write the exchange. Raises `RecorderUnavailable`; returns only once the bytes are written."""
        options = _options(exchange)
        if not options.enabled and exchange.problem is None:
            return
        request = exchange.request_record
        if request is None:
            request = self.copy_request(flow, exchange, b"", scrub)
        response = exchange.response_record
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
        if self._writer is None:
            raise RecorderUnavailable("the recorder is not running")
        entry = Entry(connection, line.request_id, line.time, encoded or encode_line(line), encode, size, synced)
        await self._writer.record(entry)

    def _without_bodies(
        self,
        exchange: Exchange,
        options: Recording,
        request: RequestRecord,
        response: ResponseRecord | None,
        line: JournalLine,
    ) -> tuple[RequestRecord, ResponseRecord | None]:
        """The two without bodies; what has none cannot be served back. Refusals of ours stay: they quote nobody."""
        service = response is not None and exchange.problem is None
        if options.bodies == "digest":
            line.request_digest = self._digests.body(request.body)
            line.response_digest = self._digests.body(response.body) if response is not None and service else None
        fields = tuple(field for field in request.fields if field[0] != HEADER.encode())
        bare = dataclasses.replace(request, body=b"", fields=fields)
        return bare, dataclasses.replace(response, body=b"") if response is not None and service else response

    async def websocket_message(
        self, flow: http.HTTPFlow, exchange: Exchange, messages: list[WebSocketMessage], masked: list[MaskedField]
    ) -> None:
        """Write what one side of a WebSocket has said, masked. Raises `RecorderUnavailable`, as `record` does."""
        size = sum(len(message.content) for message in messages)
        by_caller = bool(messages) and messages[0].from_client
        line = self._said(exchange, "message", size if by_caller else 0, 0 if by_caller else size)
        line.masked, line.masked_request = masked, by_caller and bool(masked)
        options = _options(exchange)
        if options.bodies != "full":
            if options.bodies == "digest":
                digest = self._digests.body(b"".join(message.content for message in messages))
                line.request_digest, line.response_digest = (digest, None) if by_caller else (None, digest)
            messages = [WebSocketMessage(m.type, m.from_client, b"", m.timestamp) for m in messages]
        await self._write_said(flow, exchange, line, _going_on(messages))

    async def websocket_end(
        self, flow: http.HTTPFlow, exchange: Exchange, data: WebSocketData, counts: Mapping[bool, int], error: str
    ) -> None:
        """Write that a WebSocket was closed, after so many messages of its caller (True) and its service (False)."""
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
        request = exchange.request_record
        assert request is not None
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
        if not options.enabled:
            return
        request, response = exchange.request_record, exchange.response_record
        assert request is not None
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
        """The columns that say who it was, and where they went."""
        principal, connection = exchange.principal, exchange.connection
        return {
            "worker": self.worker,
            "connection": connection.name if connection else None,
            "session_id": exchange.session_id or None,
            "issuer": principal.issuer if principal else None,
            "user": principal.sub if principal else None,
            "groups": sorted(principal.groups) if principal else [],
            "token_id": (principal.token_id or None) if principal else None,
            "client_ip": exchange.client_ip or None,
            "client_request_id": exchange.client_request_id or None,
            "method": exchange.method or "?",
            "path": _cut(request.target.partition(b"?")[0].decode("utf-8", "replace")) or "",
            "policy_version": exchange.policies.version if exchange.policies else None,
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
        call, decision, problem = exchange.call, exchange.decision, exchange.problem
        now = time.perf_counter()
        return JournalLine(
            version=SCHEMA_VERSION,
            request_id=exchange.request_id,
            time=timestamp(exchange.received),
            duration_ms=round((now - exchange.started) * 1000, 3),
            upstream_ms=round((now - exchange.sent) * 1000, 3) if exchange.sent and not exchange.replay else None,
            **self._whose(exchange, request),
            operation=call.operation if exchange.operation or exchange.handshake else None,
            indexes=[
                scrub(name.encode("utf-8", "replace")).decode("utf-8", "replace")
                for name in exchange.recorded_indexes[:_MOST_INDEXES]
            ],
            tokens=exchange.tokens,
            model=_cut(exchange.recorded_model),
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
            trace=list(exchange.trace),
            approvals=_approvals(exchange),
            problem=problem.kind.slug if problem else None,
            replay=exchange.replay or None,
            error=error or None,
            masked_request=exchange.masked_request,
            masked=exchange.masked,
            query_digest=self._digests.query(call.query),
            results=self._digests.results(exchange.ranking, call.documents),
        )


def _going_on(messages: list[WebSocketMessage]) -> WebSocketData:
    """Some messages of a WebSocket that is open. mitmproxy shows a flow without any code as an error."""
    return WebSocketData(messages, close_code=CloseReason.NO_STATUS_RCVD, close_reason="(it goes on)")


def _opened(exchange: Exchange) -> bool:
    """Whether it is the handshake of a WebSocket that was opened."""
    response = exchange.response_record
    return exchange.handshake is not None and response is not None and response.status == 101


def _unavailable() -> Refusal:
    return Refusal(
        Kind.RECORDER_UNAVAILABLE,
        "The gateway cannot record now, and passes nothing unrecorded. Try again later.",
        headers=(("Retry-After", "5"),),
    )


_DEFAULT = Recording()


def _options(exchange: Exchange) -> Recording:
    """How its connection is recorded; requests to none are recorded whole."""
    return exchange.connection.record if exchange.connection is not None else _DEFAULT


def _approvals(exchange: Exchange) -> list[str]:
    """The approvals that let it pass, and the one that it waited for."""
    waited = (exchange.approval,) if exchange.approval is not None else ()
    return list(dict.fromkeys(approval.id for approval in (*exchange.approved_by, *waited)))


def _comment(line: JournalLine) -> str:
    """What a person reads in mitmproxy's list of flows."""
    who = line.user or "nobody"
    if line.problem is None and line.error is None:
        approved = f", {line.message} ({' '.join(line.approvals)})" if line.approvals else ""
        return f"allowed: {line.operation or line.method} by {who}{approved}"
    if line.problem is None:
        return f"failed: {line.error} ({who})"
    by = f" by {line.rule}" if line.rule and line.effect != "allow" else ""
    return f"refused{by}: {line.problem} ({who})"


def _cut(text: str | None) -> str | None:
    """A text of the journal: the index must be able to hold any line."""
    return text if text is None or len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + "…"
