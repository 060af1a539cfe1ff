"""WebSocket messages: permitted, cleaned of credentials, masked and recorded, and only then passed on."""

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
    """One open WebSocket. Its handshake's exchange stays for as long as it is open."""

    exchange: Exchange
    of_caller: Messages
    of_service: Messages
    silences: dict[bool, Silence]  # by whether the caller's
    passed: list[bytes] = field(default_factory=list)  # what may be sent now: read by Gate
    counts: dict[bool, int] = field(default_factory=lambda: {True: 0, False: 0})  # messages, by whether the caller's
    ended: bool = False
    closing: tuple[int, str] | None = None  # the code and the reason with which the gateway closes it

    def side(self, from_caller: bool) -> Messages:
        """The maskers of the messages of the caller, or of the service."""
        return self.of_caller if from_caller else self.of_service


@dataclass(slots=True, eq=False)
class Talk(Journey):
    """One message on its way, or the end of a WebSocket."""

    conversation: Conversation
    from_caller: bool
    states: dict[type[State], object] = field(default_factory=dict)
    at: str = ""


@dataclass(slots=True, eq=False)
class Heard(State):
    """A message has arrived; or, if it is *injected*, its sender is silent."""

    message: WebSocketMessage


@dataclass(slots=True, eq=False)
class Clean(State):
    """The message without reflected credentials."""

    content: bytes


@dataclass(slots=True, eq=False)
class Ready(State):
    """The messages that may be passed on now, and what the record will hold of them."""

    said: Said


class Close(Exception):
    """The WebSocket must be closed, with this code (RFC 6455, 7.4) and this reason, which both sides may see."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Permit:
    """Close the WebSocket of a caller who may not use it any more, or whose policies have changed."""

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
        """The code and the reason for closing; None if the conversation may go on."""
        problem = self._no_longer(exchange)
        if problem is not None:
            return CloseReason.POLICY_VIOLATION, problem.kind.title
        if self._policies() is not exchange[Arrived].policies:
            return CloseReason.SERVICE_RESTART, "the policies have changed; connect again"
        return None


class ScrubMessage:
    """Remove reflected credentials from a message of the service."""

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
                    raise MaskingError("it has a credential in it, spelt with escapes") from None
        return Clean(scrubbed(exchange, content, [], document)[0])


class MaskMessage:
    """Mask the message for its receiver and for the record. Parts of a text are held until they can be masked."""

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
    """The WebSocket is closed: mask everything that is still held of one side."""

    name = "mask_message"

    def __call__(self, talk: Talk) -> Ready:
        return Ready(talk.conversation.side(talk.from_caller).end())


class RecordMessage:
    """Record what may be passed on, then pass it on. Raises `RecorderUnavailable`."""

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
