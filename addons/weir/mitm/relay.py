"""Relays the messages of a WebSocket. Replaces mitmproxy's layer.

mitmproxy's layer does not bound a message, keeps all messages, forwards a message if the hook for it raised, and
forwards pings with their payload. This layer sends only the messages that are in ``flow.websocket.messages`` after the
hooks, and forgets them. If the flow was killed, it closes both sides with the code that the flow has.
"""

import asyncio
import time
from collections import deque
from typing import Any

from mitmproxy.http import HTTPFlow
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers import websocket
from mitmproxy.proxy.layers.http._events import RequestProtocolError, ResponseProtocolError
from mitmproxy.websocket import WebSocketMessage
from wsproto.connection import ConnectionState
from wsproto.events import BytesMessage, CloseConnection, Message, Ping, Pong, TextMessage
from wsproto.frame_protocol import CloseReason, Opcode

from weir.base import bounds
from weir.mitm import readers
from weir.mitm.bodies import Bodies
from weir.mitm.crumbs import Crumbs
from weir.mitm.events import Due, End
from weir.mitm.handlers import handler_of
from weir.mitm.http import Http
from weir.mitm.messages import TOO_FULL

#: Unanswered pings of one side that are kept; older ones are forgotten.
MOST_PINGS = 16
#: The rest of a message that is too big is read and dropped, for at most these seconds and bytes, until its caller is
#: silent for `SILENT` seconds. If the connection were closed at once, its reset could arrive before the close frame,
#: and the caller would not learn the reason.
REST_TIME, REST = 5.0, 256 << 20
SILENT = 0.25
#: Bytes from which a part of a message is not counted as a frame that carries little.
_CRUMB = 64


class _Side:
    """The state of one side: the caller or the service."""

    def __init__(self, ws: websocket.WebsocketConnection) -> None:
        self.ws = ws
        self.parts = bytearray()  # of the incomplete message, as one string of bytes
        self.pinged = 0
        #: Pings that the other side has not answered: their numbers and payloads.
        self.pings: deque[tuple[int, bytes]] = deque(maxlen=MOST_PINGS)
        self.crumbs = Crumbs()


class Relay(websocket.WebsocketLayer):
    """The layer of one WebSocket."""

    def __init__(self, context: Context, flow: HTTPFlow) -> None:
        super().__init__(context, flow)
        self._sides: dict[bool, _Side] = {}  # True: the caller, False: the service
        self._rest, self._looks, self._came = REST, REST_TIME / SILENT, False
        self.idle = asyncio.Event()  # set while no received data is being handled
        self.idle.set()

    @property
    def held(self) -> int:
        """The bytes of incomplete messages in memory."""
        return sum(len(side.parts) for side in self._sides.values())

    def start(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Open both sides as mitmproxy does. Close them if the hook has killed the flow."""
        yield from super().start(event)
        self._sides = {True: _Side(self.client_ws), False: _Side(self.server_ws)}
        if self.flow.error is not None:
            yield from self._close(CloseReason.INTERNAL_ERROR, "", by_caller=None)

    _handle_event = start

    def relay_messages(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Handle data of one side, `End` and `Due`; ignore other events."""
        self.idle.clear()
        try:
            yield from self._handle(event)
        finally:
            self.idle.set()

    def _handle(self, event: events.Event) -> layer.CommandGenerator[None]:
        if isinstance(event, RequestProtocolError | ResponseProtocolError):
            yield from self._close(CloseReason.ABNORMAL_CLOSURE, "", by_caller=isinstance(event, RequestProtocolError))
        elif isinstance(event, End):
            yield from self._close(event.code, event.reason, by_caller=None)
        elif isinstance(event, Due):
            yield from self._hook(WebSocketMessage(Opcode.TEXT, event.from_caller, b"", injected=True))
        elif isinstance(event, events.DataReceived | events.ConnectionClosed):
            by_caller = event.connection == self.context.client
            data = event.data if isinstance(event, events.DataReceived) else None
            if data is not None and not Bodies.takes(len(data)):
                yield from self._close(CloseReason.TRY_AGAIN_LATER, TOO_FULL, by_caller=None)
                return
            side = self._sides[by_caller]
            side.ws.receive_data(data)
            for said in side.ws.events():
                yield from self._said(said, by_caller)
                if self._handle_event != self.relay_messages:  # it is closed
                    return

    def done(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Ignore all events after the end."""
        yield from ()

    def _drop(self, event: events.Event) -> layer.CommandGenerator[None]:
        """Drop the rest of a message that is too big, unread: handling its frames would cost time."""
        of_caller = getattr(event, "connection", None) == self.context.client
        ended = of_caller and isinstance(event, events.ConnectionClosed)
        if of_caller and isinstance(event, events.DataReceived):
            self._rest, self._came = self._rest - len(event.data), True
            ended = self._rest < 0
        elif isinstance(event, events.Wakeup):
            self._looks -= 1
            ended = not self._came or self._looks <= 0
            self._came = False
            if not ended:
                yield commands.RequestWakeup(SILENT)
        if ended:
            self._handle_event = self.done  # type: ignore[method-assign]
            yield commands.CloseConnection(self.context.client)

    def _said(self, said: Any, by_caller: bool) -> layer.CommandGenerator[None]:
        side, other = self._sides[by_caller], self._sides[not by_caller]
        if _is_crumb(said, by_caller) and not side.crumbs.takes(1):
            yield from self._close(CloseReason.POLICY_VIOLATION, "too many frames with little content", by_caller=None)
        elif isinstance(said, Message):
            yield from self._part(said, side, by_caller)
        elif isinstance(said, Ping):
            side.pinged += 1
            side.pings.append((side.pinged, bytes(said.payload)))
            yield other.ws.send2(Ping(payload=b"%d" % side.pinged))  # a payload could carry unmasked data
        elif isinstance(said, Pong):
            yield from self._pong(bytes(said.payload), other)
        elif isinstance(said, CloseConnection) and side.ws.state is ConnectionState.OPEN:  # wsproto found a violation
            yield from self._close(said.code, "invalid WebSocket frame", by_caller=None)
        elif isinstance(said, CloseConnection):
            yield from self._close(said.code, said.reason or "", by_caller=by_caller)

    def _pong(self, number: bytes, pinging: _Side) -> layer.CommandGenerator[None]:
        """Pass on the answer to a ping, which also answers earlier ones (RFC 6455, 5.5.3). Drop any other pong."""
        answered = next((ping for ping in pinging.pings if b"%d" % ping[0] == number), None)
        if answered is not None:
            while pinging.pings and pinging.pings[0][0] <= answered[0]:
                pinging.pings.popleft()
            yield pinging.ws.send2(Pong(payload=answered[1]))

    def _part(self, said: Message[Any], side: _Side, by_caller: bool) -> layer.CommandGenerator[None]:
        side.parts += said.data.encode() if isinstance(said.data, str) else said.data
        limits = bounds.current()
        if len(side.parts) > (limits.body if by_caller else limits.answer):
            side.parts = bytearray()
            yield from self._close(CloseReason.MESSAGE_TOO_BIG, "the message is too big", by_caller=None)
            return
        if not said.message_finished:
            return
        kind = Opcode.TEXT if isinstance(said.data, str) else Opcode.BINARY
        message = WebSocketMessage(kind, by_caller, bytes(side.parts))
        side.parts = bytearray()
        yield from self._hook(message)

    def _hook(self, message: WebSocketMessage) -> layer.CommandGenerator[None]:
        """Run the hooks on *message*. An ``injected`` message has no content: it reports that its sender is silent."""
        assert self.flow.websocket is not None
        self.flow.websocket.messages = [message]
        yield websocket.WebsocketMessageHook(self.flow)
        yield from self._pass_on()
        if self.flow.error is not None:
            found = self.flow.websocket
            code = found.close_code or CloseReason.INTERNAL_ERROR
            yield from self._close(code, found.close_reason or "", by_caller=None)

    def _pass_on(self) -> layer.CommandGenerator[None]:
        """Send the messages that the hooks have left, each to the side that did not send it."""
        assert self.flow.websocket is not None
        messages, self.flow.websocket.messages = self.flow.websocket.messages, []
        for message in messages:
            ws = self._sides[not message.from_client].ws
            if message.dropped or ws.state is not ConnectionState.OPEN:
                continue
            if message.type is Opcode.TEXT:
                yield ws.send2(TextMessage(message.content.decode("utf-8", "replace")))
            else:
                yield ws.send2(BytesMessage(message.content))

    def _close(self, code: int, reason: str, by_caller: bool | None) -> layer.CommandGenerator[None]:
        """Close both sides. *by_caller* is None if neither of them asked for it."""
        found = self.flow.websocket
        assert found is not None
        self._handle_event = self.done  # type: ignore[method-assign]
        found.timestamp_end, found.closed_by_client = time.time(), by_caller
        found.close_code, found.close_reason, found.messages = code, reason, []
        yield websocket.WebsocketEndHook(self.flow)
        yield from self._pass_on()
        code = CloseReason.GOING_AWAY if code == CloseReason.ABNORMAL_CLOSURE else code  # 1006 is never sent
        for ws in (self.server_ws, self.client_ws):
            if ws.state in (ConnectionState.OPEN, ConnectionState.REMOTE_CLOSING):
                yield ws.send2(CloseConnection(code, found.close_reason or None))
            if ws is self.client_ws and code == CloseReason.MESSAGE_TOO_BIG and ws.conn.connected:
                self._handle_event = self._drop  # type: ignore[method-assign]
                yield commands.RequestWakeup(SILENT)
            else:
                yield commands.CloseConnection(ws.conn)
        self.flow.live = False


def _is_crumb(said: Any, by_caller: bool) -> bool:
    """Return True if a frame carries little. Of a caller, short messages and parts count, too.

    Services answer in short messages and parts: only their empty parts count.
    """
    if not isinstance(said, Message):
        return True
    return len(said.data) < _CRUMB if by_caller else not said.data and not said.message_finished


def read_while_idle(flow: HTTPFlow) -> bool:
    """Read from both sides of the WebSocket of *flow* only while nothing that they sent is being handled.

    mitmproxy would read on, and keep all data in memory. Return False if *flow* has no open WebSocket.
    """
    handler, layer = handler_of(flow.client_conn), Http.of.get(flow.client_conn.id)
    relay = layer.upgraded(flow) if layer is not None else None
    if handler is None or not isinstance(relay, Relay):
        return False
    for connection in (relay.context.client, relay.context.server):
        transport = handler.transports.get(connection)
        if transport is not None and transport.reader is not None:
            readers.read_while(relay.idle, transport.reader)
    return True
