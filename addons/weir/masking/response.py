"""A streamed response: each chunk is cleared of credentials, measured, masked, passed on and kept for the record.

mitmproxy calls it with every chunk. After any failure nothing more is passed on, and the caller's connection is cut
without a regular end, so that the caller does not take the partial response for a complete one.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from weir.base.bounds import current
from weir.base.secret import Scrubber
from weir.masking.detectors.engine import without_escapes
from weir.masking.metering import Meter, UsageFilter
from weir.masking.silence import Silence
from weir.masking.streams import PieceMasker
from weir.masking.walk import MaskingError, Report

#: Seconds of silence after which held units are released: those that may stand alone, and those of a text in pieces.
SILENCE = (2.0, 10.0)


class ResponseStream:
    """The body of one response in transit. ``body`` is the content for the record."""

    def __init__(
        self,
        content_type: str,
        caller: PieceMasker,
        record: PieceMasker | None,
        report: Report,
        fields: tuple[tuple[bytes, bytes], ...],
        meter: Meter,
        unasked: UsageFilter | None,
        scrub: Scrubber,
        reflected: Callable[[], None],
        failed: Callable[[Exception], None],
        silent: Callable[[Silence], Coroutine[Any, Any, None]],
    ) -> None:
        self.content_type = content_type
        self.report = report
        self.fields = fields  # response headers, masked for the record
        self.meter = meter
        self.body = bytearray()
        self.received = 0
        self.error: Exception | None = None
        self._caller = caller
        self._record = record  # None: the record has the same view as the caller
        self._unasked = unasked  # removes the report that only the gateway asked for
        self._scrub = scrub
        self._reflected = reflected
        self._failed = failed
        self._rest = bytearray()
        self._escaped = False  # the unfinished line has a backslash
        self._silence = Silence(*SILENCE, self._holds, silent)

    def __call__(self, data: bytes) -> list[bytes]:
        """Take *data* and return the bytes to pass on; ``b""`` is the end."""
        if self.error is not None:
            return []
        try:
            out = self._feed(data)
            if data:
                self._silence.heard()
            else:
                self._silence.end()
            return out
        except Exception as error:  # after any failure nothing more is passed on
            self.error = error
            self._failed(error)
            return []

    def idle(self, *, long: bool) -> list[bytes]:
        """Return the bytes to pass on after the service has been silent for a while."""
        if self.error is not None:
            return []
        try:
            out = self._caller.idle(long=long)
            return self._noted(out, out if self._record is None else self._record.idle(long=long))
        except Exception as error:  # as above
            self.error = error
            self._failed(error)
            return []

    def stop(self) -> None:
        """Pass nothing on any more."""
        self.error = self.error or RuntimeError("stopped")

    def _holds(self) -> bool:
        return self.error is None and self._caller.holds

    def _feed(self, data: bytes) -> list[bytes]:
        self.received += len(data)
        if self.received > current().answer:
            raise MaskingError("the stream is longer than the limit for a response")
        whole = self._scrubbed(data)
        self.meter.feed(whole)
        out = self._caller.feed(whole) if whole else []
        if not data:
            self.meter.end()
            out += self._caller.end()
        record = out
        if self._record is not None:
            record = self._record.feed(whole) if whole else []
            if not data:
                record += self._record.end()
        shown = self._noted(out, record)
        return shown if data or self._unasked is None else [*shown, *self._unasked.end()]

    def _noted(self, out: list[bytes], record: list[bytes]) -> list[bytes]:
        """Add *record* to the record's body, then return *out*, as far as the caller receives it."""
        for piece in record:
            self.body += self._clean(piece)
        shown = [self._clean(piece) for piece in out if piece]
        return shown if self._unasked is None else self._unasked.feed(b"".join(shown))

    def _clean(self, piece: bytes) -> bytes:
        """Remove a credential that came in several pieces and was joined by masking."""
        clean = self._scrub(piece)
        if clean is not piece:
            self._reflected()
        return clean

    def _scrubbed(self, data: bytes) -> bytes:
        """Return what may be passed on now, without reflected credentials; at the end, everything.

        An unfinished line may end within a credential. If it has escapes, which may spell a credential in many ways, it
        is returned when it is complete, and otherwise as far as it certainly does not end so.
        """
        begin = len(self._rest)
        self._rest += data
        end = self._end(begin) if data else len(self._rest)
        lines = bytes(self._rest[:end])
        del self._rest[:end]
        clean = self._scrub(lines)
        if clean is not lines:
            self._reflected()
        if b"\\" in clean:
            plain = without_escapes(clean)
            if self._scrub(plain) is not plain:
                self._reflected()
                raise MaskingError("the service returned a credential, written with escapes")
        return clean

    def _end(self, begin: int) -> int:
        """Return how many of the held bytes may be passed on. New data begins at *begin*."""
        rest = self._rest
        line = max(rest.rfind(b"\n", begin), rest.rfind(b"\r", max(0, begin - 1), -1)) + 1
        self._escaped = b"\\" in rest[max(line, begin) :] or (self._escaped and not line)
        return line if self._escaped or line == len(rest) else self._scrub.settled(bytes(rest))
