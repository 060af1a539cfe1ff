"""The data path, in order. Read this first.

Stack is one mitmproxy addon. It calls every room itself, each hook under one try, so that whatever a
room does wrong ends in a refusal and a record, never in a request that goes on. Gate, registered
last, checks its work. Both are top-level addons: a reload, a broken or a deleted script file does not
touch them.
"""

import asyncio
import contextlib
import dataclasses
import functools
import logging
import os
import platform
import re
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from mitmproxy import ctx, http, master
from mitmproxy.addonmanager import Loader
from mitmproxy.connection import Client, ConnectionState
from mitmproxy.net.http import status_codes
from mitmproxy.proxy import layer, mode_specs
from mitmproxy.utils import human

from weir.approvals.model import Shown
from weir.approvals.shelf import Kept, respond
from weir.approvals.shown import shown_request, shown_response
from weir.auth.key_tasks import Refreshing
from weir.base import bounds
from weir.base.alarms import alarm, counters, place
from weir.base.content import ContentError, decode
from weir.base.garbage import Garbage
from weir.base.home import HomeError, operator_name
from weir.base.identifiers import Uuid7
from weir.base.mistakes import ConfigError
from weir.base.problems import Kind, Problem, Refusal, gateway_error
from weir.base.secret import without_keys
from weir.masking.response import ResponseStream
from weir.masking.silence import Silence
from weir.masking.walk import MaskingError
from weir.mitm import dispatch, handlers, hardening, listening, patches
from weir.mitm.arrival import Arrival, address_of
from weir.mitm.clients import Connections
from weir.mitm.handlers import end_upstream
from weir.mitm.hooks import Hooks
from weir.mitm.http import Http
from weir.mitm.messages import TOO_FULL, TOO_SLOW, too_large, unquoted
from weir.mitm.tls import Tls
from weir.mitm.wire import Wire
from weir.path.conversations import WebSockets
from weir.path.documents import APPROVALS
from weir.path.exchange import Exchange
from weir.path.gate import Gate
from weir.path.observed import request_trace, response_trace
from weir.path.steps.approval import Approvals
from weir.path.steps.credential import Credentials
from weir.path.steps.identity import Auth
from weir.path.steps.masking import Masking
from weir.path.steps.reading import Profiles
from weir.path.steps.record import Recorder
from weir.path.steps.replay import ALLOWANCES, Replay
from weir.path.steps.routing import Routing
from weir.path.steps.rules import Policy
from weir.policyset import reload
from weir.policyset.load import folder_path, load
from weir.policyset.model import PolicySet
from weir.profiles.model import Call, Ranking
from weir.recorder.copies import ResponseRecord
from weir.recorder.writer import RecorderUnavailable
from weir.routing import dial, handshake
from weir.routing.listener import Listener
from weir.routing.model import is_loopback
from weir.state.watcher import Watcher

logger = logging.getLogger("weir")

#: Seconds that a stopping gateway waits for requests in flight.
DRAIN = 10.0
#: Seconds that a replayed request waits for the gateway to be ready.
STARTUP = 30.0

_NOT_READY = Problem(
    Kind.GATEWAY_NOT_READY,
    "The gateway is starting or stopping. Try again in a moment.",
    headers=(("Retry-After", "1"),),
)

_NOT_RECORDED = Problem(
    Kind.RECORDER_UNAVAILABLE, "The answer could not be recorded, so it is not delivered. Try again later."
)

#: Of a replayed request, nothing that the record says of how its caller came counts.
_NO_ARRIVAL = Arrival(Listener("", 0))

#: Bytes of a path that a log line shows.
_LONGEST_LOGGED = 300
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")

#: Of an upstream's response headers, these are between it and the gateway, or would lead callers past it.
_NOT_DELIVERED = frozenset((
    b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade",
    b"content-length", b"content-encoding", b"set-cookie", b"set-cookie2", b"alt-svc", b"proxy-authenticate",
    b"x-request-id", b"ratelimit", b"ratelimit-policy",
))  # fmt: skip


class _Left(Exception):
    """The caller has left, so judging stops."""


class Stack:
    """The rooms, and the one place that knows their order."""

    name = "weir"

    def __init__(self) -> None:
        self.state = Watcher()
        self.routing = Routing()
        self.auth = Auth(self.state)
        self.profiles = Profiles()
        self.policy = Policy(self.state)
        self.masking = Masking()
        self.credentials = Credentials()
        self.replay = Replay()
        self.recorder = Recorder(lambda: len(self._exchanges))
        self._new_id = Uuid7()
        self.wire = Wire(self.recorder.event)
        self.tls = Tls()
        self.connections = Connections(self.wire, self.tls, lambda: self._policies, self._lets_in)
        self.websockets = WebSockets(
            self.masking, self.credentials, self.recorder, lambda: self._policies, self._no_longer, self._end
        )
        self.addons = [self.connections, self.websockets]
        self._garbage = Garbage(lambda: not self._exchanges)
        self.approvals = Approvals(self.state, self.recorder.approval, self._garbage)
        self._policies: PolicySet | None = None
        self._ready = asyncio.Event()
        self._stopping = False
        self._body_limited = False
        self._exchanges: WeakKeyDictionary[http.HTTPFlow, Exchange] = WeakKeyDictionary()
        self._openers: WeakKeyDictionary[Client, Exchange] = WeakKeyDictionary()  # of tunnels
        self._tasks: list[asyncio.Task[None]] = []
        self._refreshing = Refreshing()
        self._reloading = asyncio.Lock()

    def find(self, flow: http.HTTPFlow) -> Exchange | None:
        """The exchange of *flow*, if one was begun in this process and is not over."""
        return self._exchanges.get(flow)

    def forget(self, flow: http.HTTPFlow) -> None:
        """*flow* is done with."""
        self._exchanges.pop(flow, None)

    # Tunnels.

    async def http_connect(self, flow: http.HTTPFlow) -> None:
        """Open a tunnel to where a caller who is let in may go; any other is refused, and recorded like a request."""
        exchange = self._begin(flow)
        try:
            self._judge_connect(flow, exchange)
            if exchange.problem is None:
                await self.auth.request(flow, exchange)
                await self.wire.connect(exchange)
                assert exchange.arrival is not None and exchange.principal is not None
                exchange.arrival.presented, exchange.arrival.who = exchange.presented, exchange.principal.sub
                exchange.arrival.certificates = exchange.certificates
                exchange.judged = True
                self._openers[flow.client_conn] = exchange
        except Refusal as refusal:
            exchange.problem = refusal.problem
        except asyncio.CancelledError:
            exchange.problem = _NOT_READY
        except Exception as error:
            self._failed(exchange, "http_connect", error)
        if exchange.settled:
            self._answer(flow, exchange)
            await self._record(flow, exchange)

    def _lets_in(self, client: Client) -> bool:
        opener = self._openers.get(client)
        return opener is None or self.auth.no_longer(opener) is None

    def _judge_connect(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        if self._policies is None or self._stopping:
            exchange.problem = _NOT_READY
            return
        self._arrive(flow, exchange, self._policies)
        self.wire.read_connect(flow, exchange)
        self.auth.requestheaders(flow, exchange)

    # The data path.

    def _begin(self, flow: http.HTTPFlow) -> Exchange:
        exchange = self._exchanges[flow] = Exchange(self._new_id(), time.time(), time.perf_counter())
        counters["requests"] += 1
        return exchange

    def _arrive(self, flow: http.HTTPFlow, exchange: Exchange, policies: PolicySet) -> None:
        exchange.policies = policies
        exchange.arrival = self.wire.arrival(flow.client_conn, policies) if not exchange.replay else _NO_ARRIVAL
        exchange.client_ip = address_of(flow.client_conn)

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Begin the exchange: head checks, routing, auth, access. Nothing may wait here."""
        if not flow.live:
            return
        exchange = self._begin(flow)
        exchange.replay = "request" if flow.is_replay == "request" else ""
        if not exchange.replay:
            self._judge_head(flow, exchange)

    def _judge_head(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        try:
            if self._policies is None or self._stopping:
                exchange.problem = _NOT_READY
                return
            self._arrive(flow, exchange, self._policies)
            if flow.error is not None:
                raise Refusal(Kind.MALFORMED_REQUEST, "The request is not valid HTTP.")
            self.routing.requestheaders(flow, exchange)
            self.auth.requestheaders(flow, exchange)
            if exchange.principal is not None and not exchange.own_path:
                self.policy.requestheaders(exchange)
        except Refusal as refusal:
            exchange.problem = refusal.problem
        except Exception as error:
            self._failed(exchange, "requestheaders", error)
        opener = self._openers.get(flow.client_conn)
        if exchange.problem is not None and exchange.principal is None and opener is not None:
            exchange.principal = opener.principal  # for the record: what is refused within a tunnel is its opener's

    async def request(self, flow: http.HTTPFlow) -> None:
        """Judge the request, take the record's copy of it, and only then give it its credential."""
        if not flow.live:
            return
        exchange = self._exchanges.get(flow)
        if exchange is None:
            return  # Gate refuses it
        try:
            if exchange.replay:
                await self._until_ready()
                self._judge_head(flow, exchange)
            if exchange.problem is None:
                await self._judge(flow, exchange)
        except _Left:
            return  # Gate kills the flow, and `error` records it
        except Refusal as refusal:
            exchange.problem = refusal.problem
        except asyncio.CancelledError:
            exchange.problem = _NOT_READY  # leaving the hook would let mitmproxy hang the client
        except Exception as error:
            self._failed(exchange, "request", error)
        finally:
            if exchange.settled:
                self._answer(flow, exchange)

    async def _judge(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        if flow.request.trailers is not None:
            raise Refusal(Kind.AMBIGUOUS_REQUEST, "Refused because trailers do not pass.")
        await self.recorder.request(flow, exchange)
        undecided = exchange.principal is None
        await self.auth.request(flow, exchange)
        _stays(exchange)
        if exchange.own_path:
            own = exchange.own_path.startswith(APPROVALS)
            exchange.document = await self.approvals.status(exchange) if own else self.auth.answer(exchange)
            return
        if undecided:
            self.policy.requestheaders(exchange)
        self.profiles.request(flow, exchange)
        await self.policy.request(exchange)
        _stays(exchange)
        kept = await self._kept(exchange)
        if kept is None:  # else its request was approved, and has been sent
            await self._approve(flow, exchange)
            _stays(exchange)
            self.policy.admit(exchange)
        self.masking.request(flow, exchange)
        self.routing.request(flow, exchange)
        self.replay.request(flow, exchange)
        exchange.judged = True
        self._copy_request(flow, exchange)
        if kept is not None:
            exchange.kept = True
            respond(flow, kept)
            return
        await self.recorder.intent(flow, exchange, self.credentials.scrubber(exchange))
        self.credentials.request(flow, exchange)
        exchange.sent = time.perf_counter()

    async def _approve(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        """Hold the request until what policy demands has been approved; then it is judged again. May refuse."""
        while exchange.demanded:
            await self.approvals.bind(exchange)
            _stays(exchange)  # else it would use up an approval, or ask reviewers
            if await self.approvals.take(exchange, exchange.demanded):
                if exchange.problem is not None:  # revoked or stopped meanwhile
                    raise Refusal.of(exchange.problem)
                break
            try:
                with handlers.bounded(flow.client_conn):
                    show = functools.partial(self._show_request, exchange)
                    await self.approvals.wait(flow.client_conn, exchange, show)
            except Refusal:
                self.profiles.again(exchange)  # for the record
                self.policy.read_facts(exchange)
                raise
            await self._resume(exchange)
            self.profiles.again(exchange)
            await self.policy.request(exchange, again=True)
        await self._settle_approval(exchange)

    async def _kept(self, exchange: Exchange) -> Kept | None:
        """The response that waited for its approval, where this is the same request again."""
        connection = exchange.connection
        assert connection is not None
        if not connection.holds_responses:
            return None
        await self.approvals.bind(exchange)
        kept = self.approvals.kept(exchange)
        if kept is None:
            await self.approvals.refuse_again(exchange)
        return kept

    async def _resume(self, exchange: Exchange) -> None:
        """Go on after a wait, under the policies of now, with a caller who is let in still. May refuse."""
        before, policies = exchange.connection, self._policies
        assert before is not None and policies is not None
        if self._stopping:
            raise Refusal.of(_NOT_READY)
        if policies is not exchange.policies:
            now = next((c for c in policies.connections if c.name == before.name and c.match == before.match), None)
            if now is None:
                detail = "The connection has changed while the request waited. Send it again."
                raise Refusal(Kind.UNKNOWN_CONNECTION, detail)
            exchange.policies, exchange.connection = policies, now
        await self.auth.again(exchange)
        self.policy.requestheaders(exchange)

    async def _settle_approval(self, exchange: Exchange) -> None:
        """Have the decision name who approved; what comes after has its own wait."""
        await self.approvals.settle(exchange)
        if exchange.approved_by and exchange.decision is not None:
            by = "; ".join(
                f"approved by {a.decided_by()}{f': {why}' if (why := a.decided_why()) else ''}"
                for a in exchange.approved_by
            )
            broken = " (the glass was broken)" if any(a.break_glass for a in exchange.approved_by) else ""
            exchange.decision = dataclasses.replace(exchange.decision, message=f"{by}{broken}")

    def _show_request(self, exchange: Exchange) -> Shown:
        return self._shown(exchange, *self.masking.shown_request(exchange))

    def _shown(self, exchange: Exchange, call: Call, body: Any, target: str) -> Shown:
        scrub = self.credentials.scrubber(exchange)
        elsewhere = exchange.operation.shown_members if exchange.operation is not None else ()
        path, _, query = target.partition("?")
        parameters = without_keys(f"?{query}".encode())[1:].decode("utf-8", "replace")
        return shown_request(exchange.method, path, parameters, call, body, elsewhere, scrub)

    def _show_response(self, exchange: Exchange, body: bytes, content_type: str) -> Shown:
        """A response as reviewers see it: read once more, so that masking it changes nothing."""
        connection, operation = exchange.connection, exchange.operation
        assert connection is not None
        call, masked, target = self.masking.shown_request(exchange)
        request, scrub = self._shown(exchange, call, masked, target), self.credentials.scrubber(exchange)
        document = self.masking.shown_response(exchange, self.profiles.read(body, content_type))
        ranking = self.profiles.response(exchange, body, content_type, document)
        documents = call.documents or []

        def texts(entry: object, index: int | None) -> list[str]:
            assert operation is not None
            known = index is not None and 0 <= index < len(documents)
            return operation.answer.texts_of(entry, documents[index] if known and index is not None else "")

        return shown_response(request, exchange.upstream_status, ranking, texts, document, scrub)

    def _copy_request(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        body = self.masking.record_request(exchange)
        scrub = self.credentials.scrubber(exchange)
        record = self.recorder.copy_request(flow, exchange, body, scrub)
        exchange.request_record = self.masking.record_head(exchange, record)
        exchange.trace = request_trace(exchange, scrub)

    async def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Refuse a response that would turn the connection into something that is not HTTP."""
        exchange = self._exchanges.get(flow)
        if exchange is None or flow.response is None or not flow.live:
            return
        if exchange.problem is None and flow.response.status_code < 200 and not _opens(flow, exchange):
            exchange.problem = Problem(
                Kind.UPSTREAM_UNREADABLE, "The service answered with something else than a response."
            )
            end_upstream(flow)  # what follows would be taken for another's answer
        if exchange.settled or flow.is_replay == "response":
            return
        try:
            if self._stream(flow, exchange):
                await self.recorder.intent(flow, exchange, self.credentials.scrubber(exchange), streams=True)
        except Refusal as refusal:
            exchange.problem = refusal.problem
        except asyncio.CancelledError:
            exchange.problem = _NOT_READY
        except Exception as error:
            self._failed(exchange, "responseheaders", error)
        if exchange.settled or exchange.left:
            exchange.stream, flow.response.stream = None, False  # nothing of it has been let through

    def _stream(self, flow: http.HTTPFlow, exchange: Exchange) -> bool:
        """Have the response let through while it comes, where nothing has to see the whole of it before."""
        assert flow.response is not None and exchange.connection is not None
        data, status = flow.response.data, flow.response.status_code
        whole = exchange.method == "HEAD" or status in (101, 204, 205, 206, 304)
        if whole or exchange.connection.response_rules.rules:
            return False
        head, fields, reason = _checked_head(data)
        if head.get(b"content-encoding", b"identity").strip().lower() not in (b"", b"identity"):
            return False
        content_type = head.get(b"content-type", b"").decode("ascii", "replace")
        pieces = self.masking.pieces(exchange, content_type)
        if pieces is None:
            return False
        caller, record, report = pieces
        exchange.upstream_status = status
        data.http_version = b"HTTP/1.1"
        _, fields = self.credentials.response(exchange, b"", fields, None)
        fields, recorded = self.masking.response_headers(exchange, fields)
        exchange.stream = ResponseStream(
            content_type,
            caller,
            record,
            report,
            tuple(recorded),
            self.credentials.scrubber(exchange),
            functools.partial(self.credentials.reflected, exchange),
            functools.partial(self._stream_failed, flow, exchange),
            functools.partial(_silent, flow),
        )
        # Callers of HTTP/1.0 read until the connection is closed; one that is cut is reset (`routing.cutting`).
        chunked = [(b"Transfer-Encoding", b"chunked")] if exchange.chunked else []
        data.headers.fields = (*fields, *chunked, *self._own_fields(exchange))
        data.reason = reason
        flow.response.stream = exchange.stream
        return True

    def _stream_failed(self, flow: http.HTTPFlow, exchange: Exchange, error: Exception) -> None:
        """Nothing more is let through of a stream that cannot be masked; `error` follows."""
        if isinstance(error, MaskingError):
            exchange.problem = Problem(Kind.UPSTREAM_UNREADABLE, f"The service's answer cannot be masked: {error}.")
            exchange.error = "ended: the rest cannot be masked"
        else:
            self._failed(exchange, "stream", error)
        end_upstream(flow)

    async def _end_of_stream(self, exchange: Exchange) -> None:
        """All of the stream has come, and been let through but for its end."""
        stream = exchange.stream
        assert stream is not None
        exchange.response_record = self._streamed(exchange)
        body = exchange.response_record.body
        ranking = self.profiles.response(exchange, body, stream.content_type, None)
        await self.policy.response(exchange, ranking, None)

    def _streamed(self, exchange: Exchange) -> ResponseRecord:
        """The record of what was let through."""
        stream = exchange.stream
        assert stream is not None
        exchange.received_bytes = stream.received
        exchange.masked += stream.report.fields()
        status = exchange.upstream_status
        reason = status_codes.RESPONSES.get(status, "").encode()
        body = bytes(stream.body)
        fields = (*stream.fields, (b"Content-Length", b"%d" % len(body)))
        return ResponseRecord(status, reason, fields, body)

    def _own_fields(self, exchange: Exchange) -> list[tuple[bytes, bytes]]:
        """What the gateway adds to a response's head for its caller."""
        duration = (time.perf_counter() - exchange.started) * 1000
        return [
            *((n.encode(), v.encode()) for n, v in exchange.limit_headers),
            (b"X-Request-Id", exchange.request_id.encode()),
            (b"Server-Timing", b"weir;dur=%.1f" % duration),
        ]

    async def response(self, flow: http.HTTPFlow) -> None:
        """Scrub, mask and record the response; deliver it only once it is recorded."""
        if not flow.live or flow.response is None:
            return
        exchange = self._exchanges.get(flow)
        if exchange is None:
            return  # Gate refuses it
        flow.response.trailers = None  # they were not judged
        try:
            if exchange.stream is not None:
                await self._end_of_stream(exchange)
            elif not exchange.settled:
                await self._read_response(flow, exchange)
        except Refusal as refusal:
            exchange.problem = refusal.problem
        except Exception as error:
            self._failed(exchange, "response", error)
        finally:
            if exchange.settled and exchange.stream is None:
                self._answer(flow, exchange)
            _forget_undelivered(exchange)
            await self._record(flow, exchange)
            if exchange.upstream_status == 101 and self.websockets.find(flow) is None:
                end_upstream(flow)  # it speaks another protocol now

    async def _read_response(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        assert flow.response is not None
        data = flow.response.data
        exchange.upstream_status = data.status_code
        if flow.is_replay == "response":
            exchange.replay = "response"
        if data.status_code == 101:
            await self._open_websocket(flow, exchange)
            return
        keep = Kept(data.status_code, data.headers.fields, data.content or b"")
        head, fields, reason = _checked_head(data)
        try:
            coding = head.get(b"content-encoding", b"").decode("ascii", "replace")
            body = decode(data.content or b"", coding, answer=True)
        except ContentError as error:
            raise Refusal(Kind.UPSTREAM_UNREADABLE, f"The service's answer cannot be read: {error}.") from None
        content_type = head.get(b"content-type", b"").decode("ascii", "replace")
        read, document = body, self.profiles.read(body, content_type)
        body, fields = self.credentials.response(exchange, body, fields, document)
        if document is not None and body is not read:
            document = self.profiles.read(body, content_type)
        exchange.received_bytes = len(body)
        while True:
            ranking = self.profiles.response(exchange, body, content_type, document)
            await self.policy.response(exchange, ranking, document)
            if not exchange.demanded:
                break
            content = self.approvals.content_of(data.status_code, content_type, body)
            if await self.approvals.take(exchange, exchange.demanded, content):
                break
            show = functools.partial(self._show_response, exchange, body, content_type)
            with handlers.bounded(flow.client_conn):
                await self.approvals.wait(flow.client_conn, exchange, show, content=content, keep=keep)
            await self._resume(exchange)
        await self._settle_approval(exchange)
        caller, record, document = self.masking.response(exchange, body, content_type, document)
        fields, recorded_fields = self.masking.response_headers(exchange, fields)
        self.profiles.record(exchange, document)
        if exchange.method == "HEAD" or data.status_code in (204, 304):
            caller = record = b""  # whatever came: bytes after these heads would be read as another response
        else:
            fields.append((b"Content-Length", b"%d" % len(caller)))
            recorded_fields = [*recorded_fields, (b"Content-Length", b"%d" % len(record))]
        exchange.response_record = ResponseRecord(data.status_code, reason, tuple(recorded_fields), record)
        data.http_version = b"HTTP/1.1"
        data.headers.fields = (*fields, *self._own_fields(exchange))
        data.content = caller
        data.reason = reason
        data.trailers = None

    async def _open_websocket(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        """The service agrees to a WebSocket: let its head go, if it is what the caller has asked for."""
        assert flow.response is not None
        data = flow.response.data
        if exchange.handshake is None or not _opens(flow, exchange):
            raise Refusal(Kind.UPSTREAM_UNREADABLE, "The service answered with something else than a response.")
        try:
            handshake.check_answer(exchange.handshake, data.headers.fields)
        except handshake.AnswerError as error:
            raise Refusal(Kind.UPSTREAM_UNREADABLE, f"The service's answer opens no WebSocket: {error}.") from None
        _, fields, reason = _checked_head(data)
        await self.policy.response(exchange, Ranking(), None)
        _, fields = self.credentials.response(exchange, b"", fields, None)
        fields, recorded = self.masking.response_headers(exchange, fields)
        exchange.response_record = ResponseRecord(101, reason, (*recorded, *handshake.UPGRADE), b"")
        data.http_version, data.reason, data.content, data.trailers = b"HTTP/1.1", reason, b"", None
        data.headers.fields = (*fields, *handshake.UPGRADE, *self._own_fields(exchange))

    async def error(self, flow: http.HTTPFlow) -> None:
        """Record what is known of an exchange that ended without a response."""
        exchange = self._exchanges.get(flow)
        if exchange is None or exchange.recorded:
            return
        # mitmproxy quotes what it could not read; only what comes before a quotation is kept.
        said = flow.error.msg if flow.error else "ended without a response"
        exchange.error = exchange.error or unquoted(exchange.left or said)
        layer = Http.of.get(flow.client_conn.id)
        if exchange.left and layer is not None and not layer.has_sent(flow):
            exchange.sent = 0.0  # it was about to be
            with contextlib.suppress(Exception):  # then the record has no request, as where its body has not come
                self._copy_unsent(flow, exchange)
        if exchange.stream is not None:
            exchange.response_record = self._streamed(exchange)
            await self._record(flow, exchange)
            return
        message = flow.error.msg if flow.error else ""
        if exchange.problem is None and flow.client_conn.state & ConnectionState.CAN_WRITE and not exchange.left:
            exchange.problem = _ended_by(exchange, message)
        if exchange.problem is not None:
            exchange.answer = exchange.own_answer()
            exchange.response_record = _refusal_record(exchange.answer)
        _forget_undelivered(exchange)
        await self._record(flow, exchange)

    def client_disconnected(self, client: Client) -> None:
        """A caller has left: nothing waits for them any more."""
        self.approvals.left(client)

    def _left(self, flow: http.HTTPFlow, why: str) -> None:
        """The caller of *flow* has left or has reset it: mark the exchange, and end its wait for an approval."""
        exchange = self._exchanges.get(flow)
        if exchange is not None and not exchange.left:
            exchange.left = why or "the caller left"
            self.approvals.taken_back(exchange)

    def _no_longer(self, exchange: Exchange) -> Problem | None:
        """Why the caller of what goes on for long is let in no longer."""
        return self.auth.no_longer(exchange) or self.policy.stopped(exchange)

    def _cut_revoked(self) -> None:
        """The shared state has changed: end what is revoked or stopped, also where its upstream is silent."""
        for flow, exchange in list(self._exchanges.items()):
            if exchange.settled or exchange.response_record is not None:
                continue
            exchange.problem = self.auth.revoked(exchange) or self.policy.stopped(exchange)
            if exchange.problem is not None and not self.approvals.wake(exchange) and exchange.sent:
                end_upstream(flow)  # `error` follows, and answers

    def _refused(self, flow: http.HTTPFlow) -> bool:
        exchange = self._exchanges.get(flow)
        return exchange is not None and exchange.problem is not None

    def _answer_of(self, flow: http.HTTPFlow) -> http.Response | None:
        exchange = self._exchanges.get(flow)
        return exchange.own_answer() if exchange is not None and exchange.problem is not None else None

    # Refusing and recording.

    def _failed(self, exchange: Exchange, hook: str, error: Exception) -> None:
        """A room broke: refuse, and say so in the log without quoting what the room was working on."""
        what = f"{type(error).__name__} in {hook} at {place(error)}"
        alarm("room_failed", f"{what}; request {exchange.request_id} is refused")
        exchange.error = what
        exchange.problem = gateway_error()

    def _answer(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        """Make the exchange's problem or document the answer, and its request's copy the record's."""
        try:
            self._copy_unsent(flow, exchange)
        except Exception as error:
            self._failed(exchange, "record", error)
        if exchange.problem is not None:
            exchange.problem = exchange.problem.with_headers(*_not_in(exchange.limit_headers, exchange.problem))
        exchange.answer = flow.response = exchange.own_answer()
        exchange.response_record = _refusal_record(exchange.answer)

    def _copy_unsent(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        """Copy a request that is not sent for the record, unless a copy exists."""
        if exchange.request_record is None:
            if exchange.connection is not None and not exchange.judged:
                self.routing.request(flow, exchange)  # the record names the service, sent or not
            self._copy_request(flow, exchange)

    async def _record(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        """Record; a response that could not be recorded is not delivered."""
        if exchange.recorded:
            return
        try:
            scrub = self.credentials.scrubber(exchange)
            if exchange.judged_response:
                exchange.trace += response_trace(exchange, scrub)
            await self.recorder.record(flow, exchange, scrub)
            exchange.recorded = True
        except RecorderUnavailable:
            self._withhold(flow, exchange, _NOT_RECORDED)
        except asyncio.CancelledError:
            self._withhold(flow, exchange, _NOT_READY)
        except Exception as error:
            problem = exchange.problem
            self._failed(exchange, "record", error)
            self._withhold(flow, exchange, problem or gateway_error())
        finally:
            opened = exchange.recorded and exchange.problem is None and _opens(flow, exchange)
            if opened and flow.client_conn.connected:
                self.websockets.begin(flow, exchange)
            else:
                await self._end(flow, exchange)
        layer = Http.of.get(flow.client_conn.id)
        if layer is not None:
            layer.strangers = layer.strangers + 1 if exchange.principal is None else 0
        if logger.isEnabledFor(logging.INFO):
            _log(exchange)

    async def _end(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        """Give back what the exchange has taken and not used; nothing that goes wrong here concerns its caller."""
        try:
            await self.policy.end(exchange)
            unreachable = exchange.problem is not None and exchange.problem.kind is Kind.UPSTREAM_UNREACHABLE
            await self.approvals.end(exchange, unreachable=unreachable and _never_connected(flow))
        except Exception as error:
            alarm("room_failed", f"{type(error).__name__} in end at {place(error)}; request {exchange.request_id}")

    def _withhold(self, flow: http.HTTPFlow, exchange: Exchange, problem: Problem) -> None:
        """An exchange that is not in the record has no answer but a refusal, and a stream no end."""
        if exchange.stream is not None:
            return  # Gate cuts it off
        exchange.problem = exchange.problem or problem
        exchange.answer = flow.response = exchange.own_answer()
        exchange.response_record = _refusal_record(exchange.answer)

    # The gateway's own life.

    def load(self, loader: Loader) -> None:
        """Declare options, set those that closedness needs, take mitmproxy's own answers over."""
        loader.add_option("weir_policies", str, "", "Folder of Weir's policies (default: WEIR_POLICIES, or policies).")
        loader.add_option("weir_listen", bool, False, "Open the listeners of gateway.yaml even with --no-server.")
        loader.add_option("weir_reuse_port", bool, False, "Share the listeners' ports with other workers.")
        loader.add_option(
            "weir_replay_allow",
            str,
            "",
            f"What client replay may send again although it would be refused: {', '.join(ALLOWANCES)}.",
        )
        self._body_limited = ctx.options.body_size_limit is not None  # by hand
        hardening.set_options()
        hardening.raise_descriptors()
        patches.install(
            Hooks(self._refused, self._left, self.connections.watch.transport, self._answer_of), loader.master
        )

    async def running(self) -> None:
        """Read the policies, start the recorder, and only then be ready and listen."""
        try:
            hardening.refuse_options()
            given = hardening.given_modes()
            policies = load(folder_path(ctx.options.weir_policies))
            if policies.trusts_local:
                _refuse_open_listeners(given)
            _check_allowances()
            self.replay.start(policies)
            await self.policy.use(policies)
            self.state.start(self._cut_revoked, self.approvals.changed, policies.state)
            self.recorder.start(policies)
            await self.approvals.start(f"{platform.node()} {policies.recordings.resolve()} {self.recorder.worker}")
        except ConfigError as error:
            for mistake in error.mistakes:
                logger.error(str(mistake))
            return
        except (hardening.HardeningError, HomeError, RuntimeError) as error:
            logger.error(f"weir: {error}")
            return
        except OSError as error:
            logger.error(
                f"weir: recordings: {error.filename or ''} {error.strerror or error}; make it writable, or "
                "change `recordings:` in gateway.yaml"
            )
            return
        self._use_bounds(policies)
        self._policies = policies
        self._tasks.append(asyncio.create_task(self.connections.watch.run(), name="bounds"))
        self._tasks.append(asyncio.create_task(self.websockets.run(), name="websockets"))
        self._tasks.append(asyncio.create_task(self.wire.follow_addresses(lambda: self._policies), name="addresses"))
        await self._refreshing.begin(policies.issuers)
        self._tasks.append(
            asyncio.create_task(
                reload.follow(policies.folder, functools.partial(self._reload, policies.folder), self._files),
                name="policies",
            )
        )
        with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):  # no signals here
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._hang_up, policies.folder)
        self._garbage.start()
        self._ready.set()
        if ctx.options.client_replay and not os.environ.get("WEIR_TOKEN"):
            logger.warning(
                "weir: WEIR_TOKEN is not set, so every replayed request is refused; set the operator's token"
            )
        listens = not given and (ctx.options.server or ctx.options.weir_listen)
        if listens and not await _listen([listener.spec for listener in policies.listeners]):
            return
        counters["started"] += 1
        self.recorder.event("gateway_ready", operator_name(), new=policies.version)
        logger.info(
            f"weir: ready as worker {self.recorder.worker}, process {os.getpid()}, policies {policies.version[:12]}"
        )

    # Policies that change.

    def _use_bounds(self, policies: PolicySet) -> None:
        found = policies.bounds
        if self._body_limited:
            by_hand = human.parse_size(ctx.options.body_size_limit) or 0
            found = dataclasses.replace(found, body=by_hand, answer=by_hand)
        else:  # mitmproxy has one limit for both directions; `routing.http.Stream` applies the right one first
            ctx.options.update(body_size_limit=str(min(found.body, found.answer)))
        bounds.use(found)

    def _files(self) -> tuple[Path, ...]:
        return self._policies.files if self._policies is not None else ()

    def _hang_up(self, folder: Path) -> None:
        self._tasks.append(asyncio.create_task(self._reload(folder, "SIGHUP"), name="reload"))

    async def _reload(self, folder: Path, by: str) -> None:
        """Put the policies in *folder* in place, whole, or keep the old ones and say why."""
        async with self._reloading:
            old = self._policies
            assert old is not None
            try:
                found = await asyncio.to_thread(reload.next_policies, folder, old)
                if isinstance(found, PolicySet):
                    if found.trusts_local:
                        _refuse_open_listeners(hardening.given_modes())
                    self.replay.start(found)
                    await self.policy.use(found)
                    await self._refreshing.begin(found.issuers)
            except hardening.HardeningError as error:
                found = reload.Refused((str(error),))
            except Exception as error:  # whatever it is, what runs goes on
                found = reload.Refused((f"{type(error).__name__} at {place(error)}",))
            if isinstance(found, reload.Refused):
                message = "\n".join(found.mistakes)
                self._refreshing.keep(old.issuers)
                self.recorder.event("reload_refused", by, old=old.version, message=message)
                alarm("reload_refused", f"the policies were not reloaded, the old ones stay: {found.mistakes[0]}")
                return
            self._use_bounds(found)
            self._policies = found
            self.recorder.use(found)
            self.approvals.reloaded()
            if found.reviewed and not old.reviewed:
                alarm(
                    "no_reviewers_process",
                    "the policies name reviewers now: see that `weir admin` runs, which `weir run` starts beside the "
                    "gateway where they did from the beginning",
                    level=logging.WARNING,
                )
            self._refreshing.keep(
                found.issuers, [i for made_of, i in old.issuers.items() if made_of not in found.issuers]
            )
            if found.version != old.version:
                self.recorder.event("reload", by, old=old.version, new=found.version)
            self._tasks = [task for task in self._tasks if not task.done()]
            logger.info(f"weir: policies {old.version[:12]} -> {found.version[:12]}, reloaded by {by}")

    async def done(self) -> None:
        """Refuse what comes, let finish what is in flight, write everything."""
        self._stopping = True
        self.approvals.stop()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._refreshing.stop()
        await listening.close_all()
        deadline = time.monotonic() + DRAIN
        await self.websockets.stop()
        while self._under_way() and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        await self.websockets.give_up()
        for flow, exchange in list(self._exchanges.items()):
            if not exchange.recorded:  # it may have reached its upstream: it must not be missing from the record
                exchange.error = "not ended when the gateway stopped"
                await self._record(flow, exchange)
        self._garbage.stop()
        self.recorder.event("gateway_stopped", "")
        await asyncio.to_thread(self.recorder.stop)
        await asyncio.to_thread(self.auth.stop)
        await asyncio.to_thread(self.state.stop)
        await self.policy.stop()

    def _under_way(self) -> bool:
        return bool(self.websockets) or not all(exchange.recorded for exchange in self._exchanges.values())

    async def _until_ready(self) -> None:
        try:
            async with asyncio.timeout(STARTUP):
                await self._ready.wait()
        except TimeoutError:
            return  # judged as not ready


class NextLayer:
    """In the place of mitmproxy's own addon of this name, which guesses what it is not told."""

    name = "nextlayer"

    def __init__(self, choose: Callable[[layer.NextLayer], Awaitable[None]]) -> None:
        self.next_layer = choose


def register(to: master.Master) -> None:
    """Put Stack before server replay, and Gate last. Once: a reloaded script finds them there."""
    if Stack.name in to.addons.lookup:
        return
    hardening.trim(to)  # before anything is added: `remove` replaces the chain
    stack = Stack()
    to.addons.add(stack, NextLayer(stack.connections.choose_layer))
    dispatch.put_before(to.addons, stack, "serverplayback")
    to.addons.add(Gate(stack.find, stack.forget, stack.websockets))


async def _listen(modes: list[str]) -> bool:
    """Open *modes*, and only them. Where one cannot be opened: False, and an error in the log, which ends mitmdump."""
    closed = await listening.open_all(modes, shared=ctx.options.weir_reuse_port)
    for address in closed:
        logger.error(f"weir: cannot listen on {address}; stop what does, or change `listen:`")
    return not closed


async def _silent(flow: http.HTTPFlow, silence: Silence) -> None:
    """Release held events of the streamed answer of *flow*, because its service is silent."""
    await handlers.report_silence(flow, from_caller=False, long=silence.long)


def _opens(flow: http.HTTPFlow, exchange: Exchange) -> bool:
    """Whether the response that has come opens the WebSocket that its request asks for."""
    status = flow.response.status_code if flow.response is not None else 0
    return status == 101 and exchange.handshake is not None and not exchange.replay and flow.is_replay is None


def _never_connected(flow: http.HTTPFlow) -> bool:
    """Whether not one byte of the request can have reached its service."""
    server = flow.server_conn
    return server.timestamp_tcp_setup is None or (server.tls and server.timestamp_tls_setup is None)


def _refuse_open_listeners(modes: list[mode_specs.ProxyMode]) -> None:
    for mode in modes:
        host = mode.listen_host(ctx.options.listen_host)
        if not is_loopback(host):
            raise hardening.HardeningError(
                f"--mode {mode.full_spec} listens beyond loopback while the issuer 'local' is trusted; "
                "name a loopback host, or remove 'local' from gateway.yaml"
            )


def _check_allowances() -> None:
    for word in filter(None, (w.strip() for w in ctx.options.weir_replay_allow.split(","))):
        if word not in ALLOWANCES:
            raise hardening.HardeningError(f"weir_replay_allow: {word!r} is not one of {', '.join(ALLOWANCES)}")


def _ended_by(exchange: Exchange, message: str) -> Problem:
    """What to tell a caller whose exchange mitmproxy ended, with this *message*."""
    if dial.FORBIDDEN in message:
        return Problem(Kind.DESTINATION_FORBIDDEN, "The service's address is not one that may be reached from here.")
    if TOO_SLOW in message:
        return Problem(Kind.REQUEST_TIMEOUT, "The request's body did not come in time.")
    if TOO_FULL in message:
        detail = "The gateway has as much under way as it takes. Try again soon."
        return Problem(Kind.OVERLOADED, detail, headers=(("Retry-After", "2"),))
    if (which := too_large(message)) is not None:
        if which == "request":
            return Problem(Kind.REQUEST_TOO_LARGE, "The request's body is larger than this gateway takes.")
        return Problem(Kind.RESPONSE_TOO_LARGE, "The service's answer is larger than this gateway takes.")
    if not exchange.sent:
        return Problem(Kind.MALFORMED_REQUEST, "The request is not valid HTTP.")
    return Problem(Kind.UPSTREAM_UNREACHABLE, "The service behind this gateway cannot be reached. Try again later.")


def _stays(exchange: Exchange) -> None:
    """Raise `_Left` where the caller has left."""
    if exchange.left:
        raise _Left


def _forget_undelivered(exchange: Exchange) -> None:
    """Remove the answer from the record if the caller left before delivery. A refusal stays."""
    if exchange.left and exchange.stream is None and exchange.problem is None:
        exchange.error = exchange.error or unquoted(exchange.left)
        exchange.response_record = None


def _checked_head(
    data: http.ResponseData,
) -> tuple[dict[bytes, bytes], list[tuple[bytes, bytes]], bytes]:
    """A service's head by lower-case name, those of its fields that may be delivered, and the reason. May refuse."""
    head = {name.lower(): value for name, value in data.headers.fields}
    reason = status_codes.RESPONSES.get(data.status_code, "").encode()
    names = [name.lower() for name, _ in data.headers.fields]
    if names.count(b"content-encoding") > 1 or names.count(b"content-type") > 1 or not reason:
        raise Refusal(Kind.UPSTREAM_UNREADABLE, "The service's answer can be read in two ways.")
    if data.status_code == 407:  # a caller of the gateway as a proxy would take it for the gateway's own
        raise Refusal(Kind.UPSTREAM_UNREADABLE, "The service answered as a proxy would.")
    if any(_CONTROL.search(value) for _, value in data.headers.fields):
        raise Refusal(Kind.UPSTREAM_UNREADABLE, "The service's answer has control characters in its headers.")
    return head, [(n, v) for n, v in data.headers.fields if n.lower() not in _NOT_DELIVERED], reason


def _refusal_record(answer: http.Response) -> ResponseRecord:
    data = answer.data
    return ResponseRecord(data.status_code, data.reason, tuple(data.headers.fields), data.content or b"")


def _not_in(headers: tuple[tuple[str, str], ...], problem: Problem) -> list[tuple[str, str]]:
    """*headers* that *problem* does not set itself; no Retry-After for what is not a matter of time."""
    own = {name for name, _ in problem.headers}
    return [
        (name, value)
        for name, value in headers
        if name not in own and (name != "Retry-After" or problem.kind is Kind.RATE_LIMITED)
    ]


def _log(exchange: Exchange) -> None:
    record = exchange.request_record
    status = exchange.response_record.status if exchange.response_record else "-"
    path = record.target.partition(b"?")[0][:_LONGEST_LOGGED].decode("utf-8", "replace") if record else ""
    who = exchange.principal.sub if exchange.principal else "nobody"
    outcome = exchange.problem.kind.slug if exchange.problem else "left" if exchange.left else "allowed"
    name = exchange.connection.name if exchange.connection else "-"
    logger.info(f"weir: {exchange.request_id} {name} {who!r} {exchange.method} {path!r} {status} {outcome}")
