"""What is said over WebSockets: masked and recorded, and only then passed on.

The handshake is a request like others. Its exchange stays for as long as the WebSocket is open.
"""

import asyncio
import functools
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from mitmproxy import http
from mitmproxy.websocket import WebSocketMessage
from wsproto.frame_protocol import CloseReason, Opcode

from weir.base.alarms import alarm, counters, place
from weir.base.content import ContentError, parse_answer
from weir.base.problems import Problem
from weir.masking.detectors.engine import without_escapes
from weir.masking.messages import Message, Messages, Said
from weir.masking.silence import Silence
from weir.masking.walk import MaskingError
from weir.mitm import handlers, relay
from weir.path.exchange import Exchange
from weir.path.steps.credential import Credentials
from weir.path.steps.masking import Masking
from weir.path.steps.record import Recorder
from weir.policyset.model import PolicySet
from weir.recorder.writer import RecorderUnavailable

logger = logging.getLogger("weir")

#: Seconds between two looks at what is open.
INTERVAL = 1.0
#: Seconds after a caller has left in which its WebSocket ends by itself.
_LINGER = 10.0

#: Seconds without a message after which a held one is passed on that may stand alone, and one of a text that goes on.
SILENCE = (0.25, 5.0)

#: Why the gateway closes, for whoever is told.
_NOT_RECORDED = "the gateway cannot record now"
_BROKEN = "the gateway failed"


def _holds(side: Messages) -> bool:
    return side.holds


@dataclass(slots=True, eq=False)
class Conversation:
    """One open WebSocket."""

    exchange: Exchange
    of_caller: Messages
    of_service: Messages
    silences: dict[bool, Silence]  # by whether the caller's
    passed: list[bytes] = field(default_factory=list)  # what may be sent now: read by Gate
    counts: dict[bool, int] = field(default_factory=lambda: {True: 0, False: 0})  # messages, by whether the caller's
    ended: bool = False
    closing: tuple[int, str] | None = None  # the gateway closes it: with which code, and why

    def side(self, from_caller: bool) -> Messages:
        """The messages of the one or the other."""
        return self.of_caller if from_caller else self.of_service


class WebSockets:
    """All that are open. *policies* gives those of now.

    *no_longer* says of a handshake's exchange why its caller is let in no longer, if so; *over* is told of it when its
    WebSocket is closed, and on record.
    """

    name = "weir-websockets"

    def __init__(
        self,
        masking: Masking,
        credentials: Credentials,
        recorder: Recorder,
        policies: Callable[[], PolicySet | None],
        no_longer: Callable[[Exchange], Problem | None],
        over: Callable[[http.HTTPFlow, Exchange], Awaitable[None]],
    ) -> None:
        self._masking = masking
        self._credentials = credentials
        self._recorder = recorder
        self._policies = policies
        self._no_longer = no_longer
        self._over = over
        self._open: dict[http.HTTPFlow, Conversation] = {}

    def __len__(self) -> int:
        return len(self._open)

    def find(self, flow: http.HTTPFlow) -> Conversation | None:
        """What is open of *flow*."""
        return self._open.get(flow)

    def begin(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        """Its handshake is on record, and its answer about to be delivered."""
        of_caller, of_service = self._masking.messages(exchange)
        silences = {
            from_caller: Silence(
                *SILENCE, functools.partial(_holds, side), functools.partial(self._due, flow, from_caller)
            )
            for from_caller, side in ((True, of_caller), (False, of_service))
        }
        self._open[flow] = Conversation(exchange, of_caller, of_service, silences)
        counters["websockets"] += 1

    def websocket_start(self, flow: http.HTTPFlow) -> None:
        """Read from neither side while something that was said is still being masked and recorded.

        mitmproxy would go on, and keep what comes.
        """
        conversation = self._open.get(flow)
        if conversation is None:
            return  # Gate closes it
        if not relay.read_while_idle(flow):
            self._refuse(flow, conversation, CloseReason.INTERNAL_ERROR, _BROKEN)

    async def websocket_message(self, flow: http.HTTPFlow) -> None:
        """Mask, record, and only then pass on: put in the place of the last message what may be passed on of it."""
        conversation, data = self._open.get(flow), flow.websocket
        if conversation is None or data is None or not flow.live:
            return  # Gate drops it
        (message,) = data.messages
        from_caller = message.from_client
        data.messages, conversation.passed = [], []
        try:
            conversation.closing = conversation.closing or self._why_not(conversation.exchange)
            if conversation.closing is not None:
                self._refuse(flow, conversation, *conversation.closing)
                return
            side = conversation.side(from_caller)
            if message.injected:  # the relay says that nothing has come for a while
                silence = conversation.silences[from_caller]
                if not silence.told:
                    return  # something has come since
                said = side.idle(long=silence.long)
            else:
                content = self._scrubbed(conversation.exchange, message)
                said = side.said(content, text=message.type is Opcode.TEXT, at=message.timestamp)
                conversation.counts[from_caller] += 1
            await self._pass(flow, conversation, from_caller, said)
            if not message.injected:
                conversation.silences[from_caller].heard()
        except MaskingError as error:
            who = "caller" if from_caller else "service"
            self._refuse(
                flow, conversation, CloseReason.POLICY_VIOLATION, f"the {who}'s message cannot be masked: {error}"
            )
        except RecorderUnavailable:
            self._refuse(flow, conversation, CloseReason.INTERNAL_ERROR, _NOT_RECORDED)
        except (Exception, asyncio.CancelledError) as error:
            self._failed(flow, conversation, "websocket_message", error)

    async def websocket_end(self, flow: http.HTTPFlow) -> None:
        """It is closed: let what is held of its texts go, and have the end recorded."""
        conversation, data = self._open.get(flow), flow.websocket
        if conversation is None or data is None or conversation.ended:
            return
        data.messages, conversation.passed, conversation.ended = [], [], True
        for silence in conversation.silences.values():
            silence.end()
        exchange = conversation.exchange
        try:
            # If the gateway closes, held messages may contain a part of the value that it closes for.
            for from_caller in (True, False) if conversation.closing is None else ():
                await self._pass(flow, conversation, from_caller, conversation.side(from_caller).end())
            reason = self._credentials.scrubber(exchange)((data.close_reason or "").encode()).decode("utf-8", "replace")
            for messages in (conversation.of_caller, conversation.of_service):
                reason = messages.reason(reason)
            data.close_reason = reason
            why = conversation.closing[1] if conversation.closing is not None else ""
            await self._recorder.websocket_end(flow, exchange, data, conversation.counts, why)
        except (MaskingError, RecorderUnavailable) as error:
            data.messages, conversation.passed, data.close_reason = [], [], ""
            alarm("websocket_end_lost", f"the end of {exchange.request_id} is not on record: {error}")
        except (Exception, asyncio.CancelledError) as error:
            data.messages, conversation.passed, data.close_reason = [], [], ""
            self._failed(flow, conversation, "websocket_end", error)
        logger.info(
            f"weir: {exchange.request_id} WebSocket closed, {data.close_code}, {conversation.counts[True]} messages of "
            f"the caller, {conversation.counts[False]} of the service"
        )
        await self._over(flow, exchange)

    def forget(self, flow: http.HTTPFlow) -> None:
        """*flow* is done with."""
        self._open.pop(flow, None)

    async def run(self) -> None:
        """For ever: close those that may not go on, as their callers are let in no longer or policies have changed."""
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
        if left is not None and time.time() > left + _LINGER:  # mitmproxy has not said so
            await self.websocket_end(flow)
            self.forget(flow)
        elif (why := self._why_not(exchange)) is not None:
            await self.close(flow, *why)

    def _why_not(self, exchange: Exchange) -> tuple[int, str] | None:
        """Why nothing more may be said, if so."""
        problem = self._no_longer(exchange)
        if problem is not None:
            return CloseReason.POLICY_VIOLATION, problem.kind.title
        if self._policies() is not exchange.policies:
            return CloseReason.SERVICE_RESTART, "the policies have changed; connect again"
        return None

    async def stop(self) -> None:
        """Have all closed; they are once there are none."""
        for flow in list(self._open):
            await self.close(flow, CloseReason.GOING_AWAY, "the gateway stops")

    async def give_up(self) -> None:
        """Have the end of those recorded that have not closed in time."""
        for flow in list(self._open):
            await self.websocket_end(flow)
            self.forget(flow)

    async def close(self, flow: http.HTTPFlow, code: int, reason: str) -> None:
        """Have it closed, with a *reason* that both sides may see."""
        conversation = self._open.get(flow)
        if conversation is None or not handlers.has_layer(flow):
            return
        conversation.closing = conversation.closing or (code, reason)
        await handlers.end_websocket(flow, code, reason)

    def _scrubbed(self, exchange: Exchange, message: WebSocketMessage) -> bytes:
        if message.from_client:
            return message.content
        document = None
        if b"\\" in message.content:
            try:
                document = parse_answer(message.content)
            except ContentError:
                plain = without_escapes(message.content)
                if self._credentials.scrubber(exchange)(plain) is not plain:
                    self._credentials.reflected(exchange)
                    raise MaskingError("it has a credential in it, spelt with escapes") from None
        return self._credentials.response(exchange, message.content, [], document)[0]

    async def _pass(self, flow: http.HTTPFlow, conversation: Conversation, from_caller: bool, said: Said) -> None:
        """Record what is said, and let it go. Raises `RecorderUnavailable`."""
        if not said.recorded:
            return
        scrub = self._credentials.scrubber(conversation.exchange)

        def message(one: Message, content: bytes) -> WebSocketMessage:
            return WebSocketMessage(Opcode.TEXT if one.text else Opcode.BINARY, from_caller, content, one.at)

        recorded = [message(one, scrub(one.content)) for one in said.recorded]
        await self._recorder.websocket_message(flow, conversation.exchange, recorded, said.masked)
        assert flow.websocket is not None
        flow.websocket.messages += [message(one, one.content) for one in said.passed]
        conversation.passed += [one.content for one in said.passed]

    async def _due(self, flow: http.HTTPFlow, from_caller: bool, silence: Silence) -> None:
        """Have the relay ask what may be passed on, as its sender is silent."""
        if flow in self._open:
            await handlers.report_silence(flow, from_caller=from_caller)

    def _failed(self, flow: http.HTTPFlow, conversation: Conversation, hook: str, error: BaseException) -> None:
        what = f"{type(error).__name__} in {hook} at {place(error)}"
        alarm("room_failed", f"{what}; the WebSocket of {conversation.exchange.request_id} is closed")
        self._refuse(flow, conversation, CloseReason.INTERNAL_ERROR, _BROKEN)

    def _refuse(self, flow: http.HTTPFlow, conversation: Conversation, code: int, why: str) -> None:
        """Have the relay close it, now that the hook is done."""
        assert flow.websocket is not None
        flow.websocket.messages, conversation.passed = [], []
        flow.websocket.close_code, flow.websocket.close_reason = code, why
        conversation.closing = code, why
        if flow.killable:
            flow.kill()
