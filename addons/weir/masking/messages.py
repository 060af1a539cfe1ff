"""Masking of what is said over a WebSocket: each message for its receiver, and for the record."""

from dataclasses import dataclass

from weir.content import ContentError
from weir.masking.detectors.engine import without_escapes
from weir.masking.masker import mask_text
from weir.masking.masks import MaskedField, View
from weir.masking.joining import Documents as Pieces
from weir.masking.walk import MaskingError, Report


@dataclass(slots=True)
class Said:
    """What becomes of one message: *passed* to its receiver, *recorded*, and what the record hides of it.

    More than one where a text that is told in pieces ends: what was held of it goes before.
    """

    passed: list[bytes]
    recorded: list[bytes]
    masked: list[MaskedField]


class Messages:
    """What one side says. A text that it tells in pieces, in one message after another, is looked at as one."""

    def __init__(self, receiver: View, record: View) -> None:
        self._report = Report()
        self._record = _Masker(record, self._report)
        self._receiver = None if receiver is record else _Masker(receiver, Report())

    def said(self, data: bytes, *, text: bool) -> Said:
        """One message. Raises `MaskingError`, which does not quote it."""
        recorded = self._record.message(data, text)
        passed = recorded if self._receiver is None else self._receiver.message(data, text)
        return Said(passed, recorded, self._report.taken())

    def end(self) -> Said:
        """What is left when nothing more is said."""
        recorded = self._record.end()
        passed = recorded if self._receiver is None else self._receiver.end()
        return Said(passed, recorded, self._report.taken())

    def reason(self, text: str) -> str:
        """*text*, why it was closed, for everybody."""
        return self._record.text(text)


class _Masker:
    """Messages for one view."""

    def __init__(self, view: View, report: Report) -> None:
        self._view = view
        self._report = report
        self._pieces = Pieces(view, report, lines=True)

    def message(self, data: bytes, text: bool) -> list[bytes]:
        if not self._view or not data:
            return [data]
        first = data.lstrip()[:1]
        if self._view.named and first not in (b"{", b"["):
            raise MaskingError("it is not a JSON document, in which fields have names")
        if first in (b"{", b"[", b'"'):
            return self._document(data)
        if not text:
            raise MaskingError("it is not text")
        if b"\\" in data and self._hides(without_escapes(data)):
            raise MaskingError("it hides a value by escapes")
        return [self.text(data.decode()).encode()]

    def _hides(self, plain: bytes) -> bool:
        """Whether there is something to mask in a text without its escapes: JSON within what is none."""
        text = plain.decode("utf-8", "replace")
        return mask_text(self._view, text, Report()) != text

    def _document(self, data: bytes) -> list[bytes]:
        try:
            before, masked = self._pieces.masked(data)
        except ContentError as error:
            raise MaskingError(f"it is not unambiguous JSON: {error}") from None
        return [*before, masked]

    def text(self, text: str) -> str:
        return mask_text(self._view, text, self._report) if self._view.recognises else text

    def end(self) -> list[bytes]:
        return self._pieces.end()
