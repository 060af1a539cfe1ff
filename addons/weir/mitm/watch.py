"""Bounds client connections: their number, the time that they take, and the memory that they use.

Each is looked at once a second. If one is overdue, its HTTP layer answers (408, 503) or closes it. Between two looks,
the bytes of bodies are added up (`bodies.Bodies`), so that memory is bounded at every moment.
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
from weir.mitm.events import Overdue
from weir.mitm.http import Http
from weir.mitm.relay import Relay
from weir.mitm.resets import cut

#: Seconds between two looks, and connections looked at before other tasks run.
INTERVAL = 1.0
_AT_ONCE = 50

TOO_MANY = Problem(
    Kind.OVERLOADED,
    "The gateway has the maximum number of connections. Try again soon.",
    headers=(("Retry-After", "2"),),
)
_HEAD = Problem(Kind.REQUEST_TIMEOUT, "The request's head did not arrive in time. Send it again.")


class Watch:
    """Looks at client connections. *handlers* returns mitmproxy's handlers of all of them.

    *tunnel* returns True for a client with a tunnel that is passed unread, False if that tunnel must end, and None for
    all other clients.
    """

    def __init__(self, handlers: Callable[[], Iterable[Any]], tunnel: Callable[[Client], bool | None]) -> None:
        self._handlers = handlers
        self._tunnel = tunnel
        self._since: WeakKeyDictionary[Any, dict[tuple[str, int], float]] = WeakKeyDictionary()
        self._addresses: Counter[str] = Counter()
        self._transports: dict[str, asyncio.Transport] = {}
        self.leaving = 0  # closed connections with bytes that their callers have not taken

    # Their number.

    def comes(self, client: Client, count: int, transport: asyncio.Transport | None) -> bool:
        """Count *client*, one of *count*, and keep its *transport* until it ends. Return False if it may not stay."""
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
        """Note that *client* is closed. It counts until it has taken all sent bytes, within the same bounds."""
        transport = self._transports.pop(client.id, None)
        if transport is not None:
            transport.close()  # mitmproxy does not if the connection ended while the handler waited for a lock
        if transport is None or transport.get_write_buffer_size() == 0:
            self._gone(address_of(client))
            return
        self.leaving += 1
        self._linger(transport, address_of(client), 0, 0.0)

    def _linger(self, transport: asyncio.Transport, address: str, before: int, since: float) -> None:
        """Look at a closed connection that had *before* unsent bytes at the last look, unchanged since *since*."""
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

    # Their time and memory.

    async def run(self) -> None:
        """Look at all connections, for ever."""
        while True:
            await asyncio.sleep(INTERVAL)
            kept = 0
            for number, handler in enumerate(list(self._handlers())):
                if number % _AT_ONCE == _AT_ONCE - 1:
                    await asyncio.sleep(0)
                with contextlib.suppress(Exception):  # a connection may end during the look
                    kept += await self._look(handler)
            Bodies.looked(kept)

    async def _look(self, handler: Any) -> int:
        """Have the connection of *handler* end overdue requests. Return its bytes in memory."""
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
        """Return the transport of *client*; None once it is closed."""
        return self._transports.get(client.id)

    def _abort(self, client: Client) -> None:
        cut(self._transports.get(client.id))


def _phases(layer: Http | None, client: Client, limits: bounds.Bounds, unread: int) -> Iterable[tuple[str, int, float]]:
    """Yield each phase that waits for the caller, its key, and its bound in seconds. The key is the id of the stream.

    For an answer that the caller does not take, the key is the number of bytes, so progress restarts the timer.
    """
    if unread:
        yield "send", unread, limits.send_time
    connection = layer.connections.get(client) if layer is not None else None
    if layer is None or connection is None:
        yield "first_byte", 0, limits.first_byte
    elif isinstance(connection, _http1.Http1Server):
        if connection.state == connection.passthrough and not _websockets(layer):  # a tunnel without data
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
    """Return the bytes of answers that the caller has not taken."""
    transport = handler.transports.get(handler.client)
    waiting = transport.writer.transport.get_write_buffer_size() if transport and transport.writer else 0
    connection = layer.connections.get(handler.client)
    if isinstance(connection, _http2.Http2Server):
        waiting += sum(len(piece.data) for buffer in connection.h2_conn.stream_buffers.values() for piece in buffer)
    return waiting
