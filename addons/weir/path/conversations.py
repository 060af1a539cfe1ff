"""Open WebSockets: each message is masked and recorded before it is passed on.

The handshake is handled like any other request. Its exchange is kept while the WebSocket is open.
"""

import asyncio
import functools
import logging
import time
from collections.abc import Awaitable, Callable

from mitmproxy import http
from wsproto.frame_protocol import CloseReason

from weir.base.alarms import alarm, counters, place
from weir.masking.messages import Messages
from weir.masking.silence import Silence
from weir.masking.walk import MaskingError
from weir.mitm import handlers, relay
from weir.path.exchange import Exchange, Identified, Routed
from weir.path.step import Paths, walk
from weir.path.steps.credential import scrubber
from weir.path.steps.masking import message_maskers
from weir.path.steps.messages import Close, Conversation, Heard, Permit, Talk
from weir.path.steps.record import Records
from weir.recorder.writer import RecorderUnavailable

logger = logging.getLogger("weir")

#: Seconds between two checks of the open WebSockets.
INTERVAL = 1.0
#: Seconds that mitmproxy has to end a WebSocket after its caller has left. Then the gateway ends it.
_LINGER = 10.0

#: Seconds of silence after which a held message is passed on: one that may be complete, and one of an unfinished text.
SILENCE = (0.25, 5.0)

#: Close reasons that both sides see.
_NOT_RECORDED = "the gateway cannot record now"
_BROKEN = "the gateway failed"


def _holds(side: Messages) -> bool:
    return side.holds


class WebSockets:
    """All open WebSockets. Walks the list of steps for each message."""

    name = "weir-websockets"

    def __init__(
        self,
        records: Records,
        over: Callable[[http.HTTPFlow, Exchange], Awaitable[None]],
    ) -> None:
        """*over* is called with the handshake's exchange after its WebSocket is closed and recorded."""
        self._records = records
        self._permit: Permit | None = None
        self._over = over
        self._paths: Paths = {}
        self._open: dict[http.HTTPFlow, Conversation] = {}

    def use(self, paths: Paths, permit: Permit) -> None:
        """Set the lists of steps to walk. *permit* decides which open WebSockets may stay open."""
        self._paths, self._permit = paths, permit

    def __len__(self) -> int:
        return len(self._open)

    def find(self, flow: http.HTTPFlow) -> Conversation | None:
        """Return the open WebSocket of *flow*, or None."""
        return self._open.get(flow)

    def begin(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        """Add the WebSocket of *flow*. Its handshake is recorded, and the handshake's answer is not delivered yet."""
        of_caller, of_service = message_maskers(exchange[Routed], exchange[Identified])
        silences = {
            from_caller: Silence(
                *SILENCE, functools.partial(_holds, side), functools.partial(self._due, flow, from_caller)
            )
            for from_caller, side in ((True, of_caller), (False, of_service))
        }
        self._open[flow] = Conversation(exchange, of_caller, of_service, silences)
        counters["websockets"] += 1

    def websocket_start(self, flow: http.HTTPFlow) -> None:
        """Stop reading from both sides while a message is being masked and recorded.

        mitmproxy alone would continue to read, and buffer what arrives.
        """
        conversation = self._open.get(flow)
        if conversation is None:
            return  # Gate closes it
        if not relay.read_while_idle(flow):
            self._refuse(flow, conversation, CloseReason.INTERNAL_ERROR, _BROKEN)

    async def websocket_message(self, flow: http.HTTPFlow) -> None:
        """Mask and record the last message. Then replace it in the flow by the messages that may be passed on."""
        conversation, data = self._open.get(flow), flow.websocket
        if conversation is None or data is None or not flow.live:
            return  # Gate drops it
        (message,) = data.messages
        from_caller = message.from_client
        data.messages, conversation.passed = [], []
        if message.injected and not conversation.silences[from_caller].told:
            return  # the sender has sent another message meanwhile
        talk = Talk(conversation, from_caller)
        talk.put(Heard(message))
        try:
            await walk(self._paths["websocket", "message"], flow, talk)
            if not message.injected:
                conversation.silences[from_caller].heard()
        except Close as close:
            self._refuse(flow, conversation, close.code, close.reason)
        except MaskingError as error:
            who = "caller" if from_caller else "service"
            self._refuse(
                flow, conversation, CloseReason.POLICY_VIOLATION, f"the {who}'s message cannot be masked: {error}"
            )
        except RecorderUnavailable:
            self._refuse(flow, conversation, CloseReason.INTERNAL_ERROR, _NOT_RECORDED)
        except (Exception, asyncio.CancelledError) as error:
            self._failed(flow, conversation, talk.at, error)

    async def websocket_end(self, flow: http.HTTPFlow) -> None:
        """Pass on the held messages of a WebSocket that closes, and record its end."""
        conversation, data = self._open.get(flow), flow.websocket
        if conversation is None or data is None or conversation.ended:
            return
        data.messages, conversation.passed, conversation.ended = [], [], True
        for silence in conversation.silences.values():
            silence.end()
        exchange = conversation.exchange
        try:
            # If the gateway closes the WebSocket because of a value, held messages may contain a part of this value.
            for from_caller in (True, False) if conversation.closing is None else ():
                await walk(self._paths["websocket", "end"], flow, Talk(conversation, from_caller))
            reason = scrubber(exchange)((data.close_reason or "").encode()).decode("utf-8", "replace")
            for messages in (conversation.of_caller, conversation.of_service):
                reason = messages.reason(reason)
            data.close_reason = reason
            why = conversation.closing[1] if conversation.closing is not None else ""
            await self._records.websocket_end(flow, exchange, data, conversation.counts, why)
        except (MaskingError, RecorderUnavailable) as error:
            data.messages, conversation.passed, data.close_reason = [], [], ""
            alarm("websocket_end_lost", f"the end of WebSocket {exchange.request_id} is not recorded: {error}")
        except (Exception, asyncio.CancelledError) as error:
            data.messages, conversation.passed, data.close_reason = [], [], ""
            self._failed(flow, conversation, "websocket_end", error)
        logger.info(
            f"weir: {exchange.request_id} WebSocket closed, {data.close_code}; {conversation.counts[True]} messages of "
            f"the caller, {conversation.counts[False]} of the service"
        )
        await self._over(flow, exchange)

    def forget(self, flow: http.HTTPFlow) -> None:
        """Remove the WebSocket of *flow*."""
        self._open.pop(flow, None)

    async def run(self) -> None:
        """Check the open WebSockets periodically. Close those that lost access, or that began under older policies."""
        while True:
            await asyncio.sleep(INTERVAL)
            for flow, conversation in list(self._open.items()):
                try:
                    await self._look(flow, conversation.exchange)
                except Exception as error:
                    alarm("room_failed", f"{type(error).__name__} at {place(error)}; a WebSocket is closed")
                    await self.close(flow, CloseReason.INTERNAL_ERROR, _BROKEN)

    async def _look(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        left = flow.client_conn.timestamp_end
        if left is not None and time.time() > left + _LINGER:  # mitmproxy did not end it
            await self.websocket_end(flow)
            self.forget(flow)
        elif self._permit is not None and (why := self._permit.why_not(exchange)) is not None:
            await self.close(flow, *why)

    async def stop(self) -> None:
        """Begin to close all WebSockets. All are closed when ``len(self)`` is 0."""
        for flow in list(self._open):
            await self.close(flow, CloseReason.GOING_AWAY, "the gateway stops")

    async def give_up(self) -> None:
        """Record the end of the WebSockets that have not closed in time, and remove them."""
        for flow in list(self._open):
            await self.websocket_end(flow)
            self.forget(flow)

    async def close(self, flow: http.HTTPFlow, code: int, reason: str) -> None:
        """Close the WebSocket of *flow* with a *reason* that both sides may see."""
        conversation = self._open.get(flow)
        if conversation is None or not handlers.has_layer(flow):
            return
        conversation.closing = conversation.closing or (code, reason)
        await handlers.end_websocket(flow, code, reason)

    async def _due(self, flow: http.HTTPFlow, from_caller: bool, silence: Silence) -> None:
        """Report a silent sender to the relay, so that held messages are checked again."""
        if flow in self._open:
            await handlers.report_silence(flow, from_caller=from_caller)

    def _failed(self, flow: http.HTTPFlow, conversation: Conversation, hook: str, error: BaseException) -> None:
        what = f"{type(error).__name__} in {hook} at {place(error)}"
        alarm("room_failed", f"{what}; the WebSocket of {conversation.exchange.request_id} is closed")
        self._refuse(flow, conversation, CloseReason.INTERNAL_ERROR, _BROKEN)

    def _refuse(self, flow: http.HTTPFlow, conversation: Conversation, code: int, why: str) -> None:
        """Pass nothing on, and let the relay close the WebSocket after this hook."""
        conversation.passed = []
        if flow.websocket is not None:
            flow.websocket.messages = []
            flow.websocket.close_code, flow.websocket.close_reason = code, why
        conversation.closing = code, why
        if flow.killable:
            flow.kill()
