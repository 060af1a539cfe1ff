"""Watches over client connections: how many there are, how long they take, and how much they have in memory.

Once a second it looks at each; what it finds overdue is told to the connection's own HTTP layer, which answers (408,
503) or closes. Between two looks, what bodies receive is added up, so that memory is bounded at every moment.
"""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any
from weakref import WeakKeyDictionary

from mitmproxy.connection import Client
from mitmproxy.proxy.layers import http
from mitmproxy.proxy.layers.http import _http1, _http2

from weir.base import bounds
from weir.base.alarms import counters
from weir.base.problems import Kind, Problem
from weir.mitm.arrival import address_of
from weir.mitm.bodies import Bodies
from weir.mitm.cutting import cut
from weir.mitm.events import Overdue
from weir.mitm.http import Http
from weir.mitm.relay import Relay

#: Seconds between two looks, and connections that are looked at before others have their turn.
INTERVAL = 1.0
_AT_ONCE = 50

TOO_MANY = Problem(
    Kind.OVERLOADED, "The gateway has as many connections as it takes. Try again soon.", headers=(("Retry-After", "2"),)
)
_HEAD = Problem(Kind.REQUEST_TIMEOUT, "The request's head did not come in time.")


class Watch:
    """*handlers* gives mitmproxy's handlers of all client connections.

    *tunnel* tells of a client whether it is in a tunnel that is passed as it is (True), or in one that is to end
    (False); None for all others.
    """

    def __init__(self, handlers: Callable[[], Iterable[Any]], tunnel: Callable[[Client], bool | None]) -> None:
        self._handlers = handlers
        self._tunnel = tunnel
        self._since: WeakKeyDictionary[Any, dict[tuple[str, int], float]] = WeakKeyDictionary()
        self._addresses: Counter[str] = Counter()
        self._transports: dict[str, asyncio.Transport] = {}
        self.leaving = 0  # connections that are closed, but for what their callers do not take

    # How many.

    def comes(self, client: Client, count: int, transport: asyncio.Transport | None) -> bool:
        """Whether *client* may stay, being one of *count*. It is counted until it is gone, with its *transport*."""
        address = address_of(client)
        self._addresses[address] += 1
        if transport is not None:
            self._transports[client.id] = transport
        limits = bounds.current()
        if count + self.leaving > limits.connections or self._addresses[address] > limits.per_address:
            counters["too_many_connections"] += 1
            return False
        return True

    def goes(self, client: Client) -> None:
        """*client* is closed. It may still take sent bytes, within the same bounds; until then it counts."""
        transport = self._transports.pop(client.id, None)
        if transport is not None:
            transport.close()  # mitmproxy does not, where the connection was ended while it waited to handle more of it
        if transport is None or transport.get_write_buffer_size() == 0:
            self._gone(address_of(client))
            return
        self.leaving += 1
        self._linger(transport, address_of(client), 0, 0.0)

    def _linger(self, transport: asyncio.Transport, address: str, before: int, since: float) -> None:
        """Look at a closed connection that had *before* bytes left at the last look, unchanged since *since*."""
        waiting, now, limits = transport.get_write_buffer_size(), time.monotonic(), bounds.current()
        if waiting != before:
            since = now
        if before and (waiting > limits.unread or now - since >= limits.send_time):
            counters["overdue_send"] += 1
            cut(transport)
            waiting = 0
        if waiting:
            asyncio.get_running_loop().call_later(INTERVAL, self._linger, transport, address, waiting, since)
            return
        self.leaving -= 1
        self._gone(address)

    def _gone(self, address: str) -> None:
        self._addresses[address] -= 1
        if self._addresses[address] <= 0:
            del self._addresses[address]

    # For how long, and how much.

    async def run(self) -> None:
        """For ever: look at all connections."""
        while True:
            await asyncio.sleep(INTERVAL)
            kept = 0
            for number, handler in enumerate(list(self._handlers())):
                if number % _AT_ONCE == _AT_ONCE - 1:
                    await asyncio.sleep(0)
                with contextlib.suppress(Exception):  # one that is just ending must not keep the others from a look
                    kept += await self._look(handler)
            Bodies.looked(kept)

    async def _look(self, handler: Any) -> int:
        """Tell the connection of *handler* what is overdue; the bytes that it has in memory."""
        client = handler.client
        tunnel = self._tunnel(client)
        if tunnel is not None:
            if not tunnel:
                self._abort(client)
            return 0
        layer = Http.of.get(client.id)
        now, limits = time.monotonic(), bounds.current()
        before, since = self._since.get(handler, {}), {}
        unread = _unread(layer, handler) if layer is not None else 0
        for phase, key, limit in _phases(layer, client, limits, unread):
            since[phase, key] = began = before.get((phase, key), now)
            if now - began < limit:
                continue
            counters[f"overdue_{phase}"] += 1
            if phase == "send":
                self._abort(client)
            elif layer is None or phase in ("first_byte", "idle"):
                handler.close_connection(client)
            else:
                await handler.server_event(Overdue(layer, key, _HEAD if phase == "head" else None))
        self._since[handler] = since
        if layer is None:
            return 0
        if unread > limits.unread:
            counters["unread_answers"] += 1
            self._abort(client)
        connection = layer.connections.get(client)
        sent = len(connection.buf) if isinstance(connection, _http1.Http1Server) else 0
        return unread + sent + sum(map(_bytes, layer.streams.values()))

    def transport(self, client: Client) -> asyncio.Transport | None:
        """Of *client*; None once it is closed."""
        return self._transports.get(client.id)

    def _abort(self, client: Client) -> None:
        cut(self._transports.get(client.id))


def _phases(layer: Http | None, client: Client, limits: bounds.Bounds, unread: int) -> Iterable[tuple[str, int, float]]:
    """What the caller is about, the stream, and for how long it may be (seconds). Nothing while it waits for us.

    Of an answer that is not taken, in place of the stream, how much there is: once that changes, time starts again.
    """
    if unread:
        yield "send", unread, limits.send_time
    connection = layer.connections.get(client) if layer is not None else None
    if layer is None or connection is None:
        yield "first_byte", 0, limits.first_byte
    elif isinstance(connection, _http1.Http1Server):
        if connection.state == connection.passthrough and not _websockets(layer):  # a tunnel, nothing said in it
            yield "first_byte", 1, limits.first_byte
        if connection.state == connection.read_headers:
            if len(connection.buf):
                yield "head", connection.stream_id, limits.head_time
            else:
                first = connection.stream_id == 1
                yield ("first_byte", 0, limits.first_byte) if first else ("idle", connection.stream_id, limits.idle)
        elif connection.state == connection.read_body:
            yield "body", connection.stream_id, limits.body_time
    elif isinstance(connection, _http2.Http2Server):
        for stream in layer.streams.values():
            if stream.client_state == stream.state_consume_request_body:
                yield "body", stream.stream_id, limits.body_time
        if not layer.streams:
            yield "idle", layer.asked, limits.idle


def _websockets(layer: Http) -> bool:
    return any(isinstance(stream.child_layer, Relay) for stream in layer.streams.values())


def _bytes(stream: http.HttpStream) -> int:
    flow = getattr(stream, "flow", None)
    content = flow.request.data.content if flow is not None and flow.request is not None else None
    relay = stream.child_layer
    held = relay.held if isinstance(relay, Relay) else 0
    return held + len(stream.request_body_buf) + len(stream.response_body_buf) + len(content or b"")


def _unread(layer: Http, handler: Any) -> int:
    """Bytes of answers that wait for the caller to take them."""
    transport = handler.transports.get(handler.client)
    waiting = transport.writer.transport.get_write_buffer_size() if transport and transport.writer else 0
    connection = layer.connections.get(handler.client)
    if isinstance(connection, _http2.Http2Server):
        waiting += sum(len(piece.data) for buffer in connection.h2_conn.stream_buffers.values() for piece in buffer)
    return waiting
