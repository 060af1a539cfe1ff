"""Stack: mitmproxy's hooks for HTTP. Each hook walks the list of steps of its phase (`weir.path.paths`).

If a step fails, Stack refuses and records the exchange: no request is sent and no answer is delivered. Stack records
each outcome once, before delivery. Gate, registered last, checks this. Both are top-level addons: a reloaded, broken or
deleted script file does not remove them.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable
from weakref import WeakKeyDictionary

from mitmproxy import http, master
from mitmproxy.addonmanager import Loader
from mitmproxy.connection import Client, ConnectionState
from mitmproxy.proxy import layer

from weir.base.alarms import alarm, counters, place
from weir.base.identifiers import Uuid7
from weir.base.problems import Refusal, gateway_error
from weir.mitm import dispatch, hardening, patches
from weir.mitm.clients import Connections
from weir.mitm.handlers import end_upstream
from weir.mitm.hooks import Hooks
from weir.mitm.http import Http
from weir.mitm.messages import unquoted
from weir.mitm.tls import Tls
from weir.mitm.wire import Wire
from weir.path.cutting import cut_revoked, cut_stream, cut_unfinished
from weir.path.endings import ended_by
from weir.path.exchange import Exchange, Identified, Matched, OwnPath, Preflight
from weir.path.gate import Gate
from weir.path.life import Life
from weir.path.outcomes import Outcomes
from weir.path.paths import Gateway, paths, permit
from weir.path.rooms import Rooms
from weir.path.step import Answer, Over, Stream, walk, walk_now
from weir.path.steps.arrive import NOT_READY

logger = logging.getLogger("weir")


class Stack:
    """Walks the lists, guards each step, and records each outcome."""

    name = "weir"

    def __init__(self) -> None:
        self._exchanges: WeakKeyDictionary[http.HTTPFlow, Exchange] = WeakKeyDictionary()
        self._openers: WeakKeyDictionary[Client, Exchange] = WeakKeyDictionary()  # of tunnels
        self._new_id = Uuid7()
        self.rooms = Rooms.live(lambda: len(self._exchanges))
        self.wire, self.tls = Wire(self.rooms.recorder.event), Tls()
        self._outcomes = Outcomes(self.rooms, self._failed)
        self.websockets = self._outcomes.websockets
        self.connections = Connections(self.wire, self.tls, lambda: self.life.policies, self._admitted)
        self.life = Life(self.rooms, self.wire, self.connections, self.websockets, self._cut_revoked, self._unrecorded)
        gateway = Gateway(self.life.taking, self.life.until_ready, self.wire.arrival, end_upstream, self._cut_stream)
        permitted = permit(lambda: self.life.policies, self.rooms)
        self.paths = paths(self.rooms, gateway, permitted)
        self.websockets.use(self.paths, permitted)
        self.addons = [self.connections, self.websockets, self.life]

    def load(self, loader: Loader) -> None:
        """Replace mitmproxy's functions by Weir's (`weir.mitm.patches`)."""
        hooks = Hooks(
            self._refused, self._unneeded, self._left, self._repeated, self.connections.watch.transport, self._answer_of
        )
        patches.install(hooks, loader.master)

    def find(self, flow: http.HTTPFlow) -> Exchange | None:
        """Return the exchange of *flow*. None if this process did not begin one, or if it has ended."""
        return self._exchanges.get(flow)

    def forget(self, flow: http.HTTPFlow) -> None:
        """Drop the exchange of *flow*."""
        self._exchanges.pop(flow, None)

    # Hooks.

    async def http_connect(self, flow: http.HTTPFlow) -> None:
        """Open a tunnel if the caller may use it. Otherwise refuse and record the CONNECT like a request."""
        exchange = self._begin(flow)
        await self._walk(flow, exchange, "tunnel", "request")
        if exchange.settled:
            self._outcomes.answer(flow, exchange)
            await self._outcomes.record(flow, exchange)
        elif exchange.judged:  # else the caller has left
            self._openers[flow.client_conn] = exchange

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Begin the exchange and walk the head steps. This hook must not wait."""
        if not flow.live:
            return
        exchange = self._begin(flow)
        if flow.is_replay == "request":
            exchange.replay = "request"
            return
        try:
            walk_now(self.paths["request", "head"], flow, exchange)
        except Refusal as refusal:
            exchange.problem = refusal.problem
        except BaseException as error:  # as in `_walk`
            self._failed(exchange, error)
        opener = self._openers.get(flow.client_conn)
        if exchange.problem is not None and exchange.principal is None and opener is not None:
            exchange.put(opener[Identified])  # for the record: a request within a tunnel belongs to the tunnel's opener

    async def request(self, flow: http.HTTPFlow) -> None:
        """Judge the request. mitmproxy sends it only after this hook."""
        exchange = self._exchanges.get(flow) if flow.live else None
        if exchange is None:
            return  # Gate refuses it
        if exchange.problem is None:
            ended = await self._walk(flow, exchange, "replay" if exchange.replay else "request", "request")
            if isinstance(ended, Answer) and ended.upstream:
                flow.response = ended.reply
            elif isinstance(ended, Answer):
                exchange.document = ended.reply
        if exchange.settled:
            self._outcomes.answer(flow, exchange)

    async def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Decide whether the answer is streamed."""
        exchange = self._exchanges.get(flow)
        if exchange is None or flow.response is None or not flow.live or exchange.settled:
            return
        exchange.upstream_status = flow.response.status_code
        ended = await self._walk(flow, exchange, "request", "response_head")
        if isinstance(ended, Stream) and not exchange.left:
            flow.response.stream = ended.transform
        if exchange.settled or exchange.left:
            exchange.stream, flow.response.stream = None, False  # nothing is delivered yet
        if exchange.settled and flow.server_conn.alpn != b"h2":  # HTTP/2: other requests use the connection
            end_upstream(flow)  # the rest of the answer may take long

    async def response(self, flow: http.HTTPFlow) -> None:
        """Judge, mask and record the answer. mitmproxy delivers it only after it is recorded."""
        exchange = self._exchanges.get(flow) if flow.live else None
        if exchange is None or flow.response is None:
            return  # Gate refuses it
        flow.response.trailers = None  # trailers were not judged
        if exchange.stream is not None:
            await self._walk(flow, exchange, "request", "stream_end")
        elif not exchange.settled:
            exchange.upstream_status = flow.response.status_code
            if flow.is_replay == "response":
                exchange.replay = "response"
            phase = "open" if exchange.upstream_status == 101 else "response"
            await self._walk(flow, exchange, "request", phase)
        if exchange.settled and exchange.stream is None:
            self._outcomes.answer(flow, exchange)
        await self._outcomes.record(flow, exchange)
        if exchange.upstream_status == 101 and self.websockets.find(flow) is None:
            end_upstream(flow)  # the upstream connection does not speak HTTP any more

    async def error(self, flow: http.HTTPFlow) -> None:
        """Record an exchange that ended without a response."""
        exchange = self._exchanges.get(flow)
        if exchange is None or exchange.recorded:
            return
        message = flow.error.msg if flow.error else "ended without a response"
        exchange.error = exchange.error or unquoted(exchange.left or message)
        found = Http.of.get(flow.client_conn.id)
        if (exchange.left or exchange.problem) and found is not None and not found.has_sent(flow):
            exchange.sent = 0.0  # the request was released, but no byte of it was sent
            with contextlib.suppress(Exception):  # on failure, the record has no request
                self._outcomes.copy_unsent(flow, exchange)
        answerable = flow.client_conn.state & ConnectionState.CAN_WRITE and not exchange.left
        if exchange.stream is None and exchange.problem is None and answerable:
            exchange.problem = ended_by(exchange, flow.error.msg if flow.error else "")
        self._outcomes.conclude(exchange)
        await self._outcomes.record(flow, exchange)

    def client_disconnected(self, client: Client) -> None:
        """End the approval waits of a client that has disconnected."""
        self.rooms.approvals.left(client)

    # The guard.

    def _begin(self, flow: http.HTTPFlow) -> Exchange:
        exchange = self._exchanges[flow] = Exchange(self._new_id(), time.time(), time.perf_counter())
        counters["requests"] += 1
        return exchange

    async def _walk(self, flow: http.HTTPFlow, exchange: Exchange, kind: str, phase: str) -> Answer | Stream | None:
        """Walk a list of steps. Turn each exception into the exchange's problem."""
        judging = phase == "request"
        try:
            return await walk(
                self.paths[kind, phase],
                flow,
                exchange,
                lambda: exchange.problem is not None or (judging and bool(exchange.left)),
            )
        except Over:
            pass  # if the caller left, Gate kills the flow, and `error` records it
        except Refusal as refusal:
            exchange.problem = refusal.problem
        except asyncio.CancelledError:
            exchange.problem = NOT_READY  # if this hook raised, mitmproxy would never answer the client
        except GeneratorExit:
            raise
        except BaseException as error:  # extensions may raise SystemExit, or errors of other languages
            self._failed(exchange, error)
        return None

    def _failed(self, exchange: Exchange, error: BaseException) -> None:
        """Refuse an exchange because a step failed. Log the place, not the error's text: it may quote the request."""
        what = f"{type(error).__name__} in {exchange.at} at {place(error)}"
        alarm("room_failed", f"{what}; request {exchange.request_id} is refused")
        exchange.error = what
        exchange.problem = gateway_error()

    def _cut_stream(self, flow: http.HTTPFlow, exchange: Exchange, error: Exception) -> None:
        cut_stream(flow, exchange, error, self._failed)

    # Reports of the layers and of the shared state.

    def _left(self, flow: http.HTTPFlow, why: str) -> None:
        """Mark the exchange of *flow*: its caller left or reset the request. End its wait for approval."""
        exchange = self._exchanges.get(flow)
        if exchange is not None and not exchange.left:
            exchange.left = why or "the caller left"
            self.rooms.approvals.taken_back(exchange)

    def _admitted(self, client: Client) -> bool:
        opener = self._openers.get(client)
        return opener is None or self.rooms.identity.no_longer(opener) is None

    def _cut_revoked(self) -> None:
        cut_revoked(list(self._exchanges.items()), self.rooms)

    def _refused(self, flow: http.HTTPFlow) -> bool:
        exchange = self._exchanges.get(flow)
        return exchange is not None and exchange.problem is not None

    def _unneeded(self, flow: http.HTTPFlow) -> bool:
        exchange = self._exchanges.get(flow)
        return exchange is not None and (exchange.problem is not None or Preflight in exchange or OwnPath in exchange)

    def _repeated(self, flow: http.HTTPFlow) -> bool:
        exchange = self._exchanges.get(flow)
        matched = exchange.get(Matched) if exchange is not None and not exchange.settled else None
        if exchange is None or matched is None or matched.operation is None or not matched.operation.repeatable:
            return False
        exchange.repeated = True
        return True

    def _answer_of(self, flow: http.HTTPFlow) -> http.Response | None:
        exchange = self._exchanges.get(flow)
        return exchange.own_answer() if exchange is not None and exchange.problem is not None else None

    async def _unrecorded(self, *, finish: bool) -> int:
        """Return the number of exchanges without a record. With *finish*, record them in their current state."""
        found = [(flow, exchange) for flow, exchange in self._exchanges.items() if not exchange.recorded]
        if finish:
            cut_unfinished(found)
            for flow, exchange in found:
                self._outcomes.conclude(exchange)
                await self._outcomes.record(flow, exchange)
        return len(found)


class NextLayer:
    """Replaces mitmproxy's addon of the same name, which guesses the protocol."""

    name = "nextlayer"

    def __init__(self, choose: Callable[[layer.NextLayer], Awaitable[None]]) -> None:
        self.next_layer = choose


def register(to: master.Master) -> None:
    """Register Stack before server replay, and Gate last. Do nothing if a script is reloaded: both are registered."""
    if Stack.name in to.addons.lookup:
        return
    hardening.trim(to)  # before anything is added: `remove` replaces the chain
    stack = Stack()
    to.addons.add(stack, NextLayer(stack.connections.choose_layer))
    dispatch.put_before(to.addons, stack, "serverplayback")
    to.addons.add(Gate(stack.find, stack.forget, stack.websockets))
