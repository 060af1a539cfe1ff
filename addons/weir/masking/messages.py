"""Mask the messages of a WebSocket: each one for its receiver, and for the record."""

import re
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from weir.base.content import ContentError
from weir.masking.detectors.engine import without_escapes
from weir.masking.joining import Documents
from weir.masking.masker import mask_text
from weir.masking.masks import MaskedField, View
from weir.masking.walk import MaskingError, Report
from weir.profiles.framing import UNKNOWN_FRAMING, Framing

#: Prefixes that some protocols write before a JSON value: a number with a namespace (Socket.IO), a letter (SockJS), a
#: name and a colon.
_BEFORE = re.compile(rb"\s*(?:[0-9]{1,8}(?:/[^,\[\]{}\"]{0,64},)?[0-9]{0,8}|[a-z]|[0-9A-Za-z_-]{1,16}:\s?)(?=[\[{\"])")


class Message(NamedTuple):
    """One message: its content, whether it is text, and its arrival time (seconds since the epoch)."""

    content: bytes
    text: bool
    at: float


class Said(NamedTuple):
    """The result of one step: messages *passed* to the receiver, the same messages as *recorded*, and masked fields.

    Both lists are empty while a message is held, and have several messages when a held one is released.
    """

    passed: list[Message]
    recorded: list[Message]
    masked: list[MaskedField]


class Messages:
    """The messages of one sender. A text that arrives in pieces, one per message, is masked as one text."""

    def __init__(self, receiver: View, record: View, framing: Framing = UNKNOWN_FRAMING) -> None:
        self._report = Report()
        self._record = _Masker(record, self._report, framing)
        self._receiver = None if receiver is record else _Masker(receiver, Report(), framing)
        self._recorded: deque[Message] = deque()  # masked for the record, but still held for the receiver
        self._passed: deque[Message] = deque()
        self._failed = False

    def said(self, data: bytes, *, text: bool, at: float = 0.0) -> Said:
        """Take one message. Raises `MaskingError`; the error does not quote the message."""
        return self._done(lambda masker: masker.message(Message(data, text, at)))

    def idle(self, *, long: bool = False) -> Said:
        """Return the messages that may be passed on after a while of silence."""
        return self._done(lambda masker: masker.idle(long=long))

    def end(self) -> Said:
        """Return the remaining messages at the end of the conversation."""
        return self._done(_Masker.end)

    @property
    def holds(self) -> bool:
        """True if any message is held."""
        held = self._record.holds or (self._receiver is not None and self._receiver.holds)
        return held and not self._failed

    def reason(self, text: str) -> str:
        """Mask *text*, the reason of a close frame, for all receivers."""
        return self._record.text(text)

    def _done(self, step: "Callable[[_Masker], list[Message]]") -> Said:
        if self._failed:  # held messages may contain a part of the failed value
            return Said([], [], [])
        try:
            return self._stepped(step)
        except MaskingError:
            self._failed = True
            raise

    def _stepped(self, step: "Callable[[_Masker], list[Message]]") -> Said:
        recorded = step(self._record)
        if self._receiver is None:
            return Said(recorded, recorded, self._report.taken())
        self._recorded += recorded
        self._passed += step(self._receiver)
        both = range(min(len(self._recorded), len(self._passed)))  # a message is recorded before it is passed on
        recorded = [self._recorded.popleft() for _ in both]
        return Said([self._passed.popleft() for _ in both], recorded, self._report.taken() if recorded else [])


class _Masker:
    """Masks messages for one view."""

    def __init__(self, view: View, report: Report, framing: Framing) -> None:
        self._view = view
        self._report = report
        self._documents: Documents[Message] = Documents(view, report, framing, lines=True)

    @property
    def holds(self) -> bool:
        return self._documents.holds

    def message(self, message: Message) -> list[Message]:
        """Take *message* and return the messages that may be passed on; *message* itself may be held."""
        if self._view and message.content:
            self._take(message)
        else:
            self._documents.add_other(message)
        return self._documents.ready()

    def _take(self, message: Message) -> None:
        data = message.content
        first = data.lstrip()[:1]
        if self._view.named and first not in (b"{", b"["):
            raise MaskingError("masks name fields, but it is not a JSON document")
        if first in (b"{", b"[", b'"'):
            try:
                self._documents.add(data, partial(_written, message, b""))
            except ContentError as error:
                raise MaskingError(f"it is not unambiguous JSON: {error}") from None
            return
        if not message.text:
            raise MaskingError("it is not text")
        before = _BEFORE.match(data)
        if before is not None:
            try:
                name = before[0].decode()
                self._documents.add(data[before.end() :], partial(_written, message, before[0]), name)
                return
            except ContentError:
                pass
        if b"\\" in data and self._hides(without_escapes(data)):
            raise MaskingError("it contains a value that is hidden by escapes")
        self._documents.add_text(data.decode(), partial(_written, message, b""))

    def _hides(self, plain: bytes) -> bool:
        """True if *plain*, a text with its escapes removed, contains a value to mask, such as JSON in other text."""
        text = plain.decode("utf-8", "replace")
        return mask_text(self._view, text, Report()) != text

    def text(self, text: str) -> str:
        return mask_text(self._view, text, self._report) if self._view.recognises else text

    def idle(self, *, long: bool) -> list[Message]:
        self._documents.idle(long=long)
        return self._documents.ready()

    def end(self) -> list[Message]:
        return self._documents.end()


def _written(message: Message, before: bytes, masked: bytes | None) -> Message:
    return message if masked is None else message._replace(content=before + masked)
