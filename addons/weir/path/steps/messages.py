"""WebSocket messages: check access, remove credentials, mask and record, then pass on."""

from collections.abc import Callable
from dataclasses import dataclass, field

from mitmproxy import http
from mitmproxy.websocket import WebSocketMessage
from wsproto.frame_protocol import CloseReason, Opcode

from weir.base.content import ContentError, parse_answer
from weir.base.problems import Problem
from weir.masking.detectors.engine import without_escapes
from weir.masking.messages import Message, Messages, Said
from weir.masking.silence import Silence
from weir.masking.walk import MaskingError
from weir.path.exchange import Arrived, Exchange
from weir.path.step import Journey, State
from weir.path.steps.credential import reflected, scrubbed, scrubber
from weir.path.steps.record import Records
from weir.policyset.model import PolicySet


@dataclass(slots=True, eq=False)
class Conversation:
    """One open WebSocket. Keeps the handshake's exchange while it is open."""

    exchange: Exchange
    of_caller: Messages
    of_service: Messages
    silences: dict[bool, Silence]  # by sender: True for the caller, False for the service
    passed: list[bytes] = field(default_factory=list)  # the messages that may be sent now; Gate reads this
    counts: dict[bool, int] = field(default_factory=lambda: {True: 0, False: 0})  # messages, by sender
    ended: bool = False
    closing: tuple[int, str] | None = None  # the code and reason of the gateway's close

    def side(self, from_caller: bool) -> Messages:
        """Return the maskers of the caller's or of the service's messages."""
        return self.of_caller if from_caller else self.of_service


@dataclass(slots=True, eq=False)
class Talk(Journey):
    """The journey of one message, or of the end of a WebSocket."""

    conversation: Conversation
    from_caller: bool
    at: str = ""


@dataclass(slots=True, eq=False)
class Heard(State):
    """A message has arrived. If it is *injected*, it reports that its sender is silent."""

    message: WebSocketMessage


@dataclass(slots=True, eq=False)
class Clean(State):
    """The message without reflected credentials."""

    content: bytes


@dataclass(slots=True, eq=False)
class Ready(State):
    """The messages that may be passed on now, and their copies for the record."""

    said: Said


class Close(Exception):
    """The WebSocket must be closed with *code* (RFC 6455, 7.4) and *reason*. Both sides may see the reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Permit:
    """Close the WebSocket if its caller may no longer use it, or if the policies have changed."""

    name = "permit"

    def __init__(
        self, policies: Callable[[], PolicySet | None], no_longer: Callable[[Exchange], Problem | None]
    ) -> None:
        self._policies = policies
        self._no_longer = no_longer

    def __call__(self, talk: Talk) -> None:
        conversation = talk.conversation
        closing = conversation.closing or self.why_not(conversation.exchange)
        if closing is not None:
            raise Close(*closing)

    def why_not(self, exchange: Exchange) -> tuple[int, str] | None:
        """Return the code and reason for closing; None if the WebSocket may stay open."""
        problem = self._no_longer(exchange)
        if problem is not None:
            return CloseReason.POLICY_VIOLATION, problem.kind.title
        if self._policies() is not exchange[Arrived].policies:
            return CloseReason.SERVICE_RESTART, "the policies have changed; connect again"
        return None


class ScrubMessage:
    """Remove reflected credentials from the service's message."""

    name = "scrub_message"

    def __call__(self, talk: Talk, heard: Heard) -> Clean:
        exchange, content = talk.conversation.exchange, heard.message.content
        if talk.from_caller or heard.message.injected:
            return Clean(content)
        document = None
        if b"\\" in content:
            try:
                document = parse_answer(content)
            except ContentError:
                plain = without_escapes(content)
                if scrubber(exchange)(plain) is not plain:
                    reflected(exchange)
                    raise MaskingError("it contains a credential written with JSON escapes") from None
        return Clean(scrubbed(exchange, content, [], document)[0])


class MaskMessage:
    """Mask the message for its receiver and for the record. Hold parts of a text until they can be masked."""

    name = "mask_message"

    def __call__(self, talk: Talk, heard: Heard, clean: Clean) -> Ready:
        conversation, message = talk.conversation, heard.message
        side = conversation.side(talk.from_caller)
        if message.injected:
            return Ready(side.idle(long=conversation.silences[talk.from_caller].long))
        said = side.said(clean.content, text=message.type is Opcode.TEXT, at=message.timestamp)
        conversation.counts[talk.from_caller] += 1
        return Ready(said)


class MaskRest:
    """When the WebSocket closes, mask the messages of one side that are still held."""

    name = "mask_rest"

    def __call__(self, talk: Talk) -> Ready:
        return Ready(talk.conversation.side(talk.from_caller).end())


class RecordMessage:
    """Record the messages that may be passed on, then pass them on. Raises `RecorderUnavailable`."""

    name = "record_message"

    def __init__(self, records: Records) -> None:
        self._records = records

    async def __call__(self, flow: http.HTTPFlow, talk: Talk, ready: Ready) -> None:
        conversation, said = talk.conversation, ready.said
        if not said.recorded:
            return
        scrub = scrubber(conversation.exchange)

        def message(one: Message, content: bytes) -> WebSocketMessage:
            return WebSocketMessage(Opcode.TEXT if one.text else Opcode.BINARY, talk.from_caller, content, one.at)

        recorded = [message(one, scrub(one.content)) for one in said.recorded]
        await self._records.websocket_message(flow, conversation.exchange, recorded, said.masked)
        if flow.websocket is not None:
            flow.websocket.messages += [message(one, one.content) for one in said.passed]
            conversation.passed += [one.content for one in said.passed]
