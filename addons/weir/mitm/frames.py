"""Counts of the HTTP/2 frames and resets of one caller that cost it little and the gateway more."""

from weir.base import bounds
from weir.mitm.crumbs import Crumbs

#: Tokens for resets that return per second, as a share of `Bounds.resets`. See `Counted`.
RESETS_A_SECOND = 0.1


class Frames:
    """Counts the frames of an HTTP/2 caller that carry little.

    A caller earns one more for every `EACH` bytes that are sent to it, and for every DATA frame two WINDOW_UPDATEs, of
    the stream and of the connection: it may acknowledge each piece of an answer, however small the pieces of a service
    are (Envoy allows ten). So these frames cost no more than the answer itself.
    """

    EACH = 512
    #: PRIORITY, RST_STREAM, SETTINGS, PING and CONTINUATION; WINDOW_UPDATE and all kinds above it, also unknown ones;
    #: and DATA frames smaller than `_CRUMB` bytes. HEADERS count until a request begins with them.
    _IDLE = frozenset((1, 2, 3, 4, 6, 9))
    _DATA, _WINDOW_UPDATE = 0, 8
    _CRUMB = 64
    _PREFACE = 24

    def __init__(self) -> None:
        self._crumbs = Crumbs()
        self._acknowledgements = 0
        self._skip, self._head = self._PREFACE, b""

    def begins(self) -> None:
        """Note that a request begins: its HEADERS do not count."""
        self._crumbs.earns(1)

    def earns(self, sent: bytes) -> None:
        """Note that *sent*, whole frames, goes to the caller."""
        self._crumbs.earns(len(sent) / self.EACH)
        at = 0
        while at + 9 <= len(sent):
            if sent[at + 3] == self._DATA:
                self._acknowledgements += 2
            at += 9 + int.from_bytes(sent[at : at + 3])

    def takes(self, data: bytes) -> bool:
        """Count the frames in *data*, the next bytes of the connection. Return False if they are too many."""
        at = crumbs = 0
        while at < len(data):
            if self._skip:
                step = min(self._skip, len(data) - at)
                self._skip -= step
                at += step
                continue
            piece = data[at : at + 9 - len(self._head)]
            self._head += piece
            at += len(piece)
            if len(self._head) < 9:
                break
            size, kind = int.from_bytes(self._head[:3]), self._head[3]
            self._skip, self._head = size, b""
            if kind == self._WINDOW_UPDATE and self._acknowledgements:
                self._acknowledgements -= 1
            elif kind in self._IDLE or kind >= self._WINDOW_UPDATE or (kind == self._DATA and size < self._CRUMB):
                crumbs += 1
        return self._crumbs.takes(crumbs)


class Counted:
    """Counters of one HTTP/2 connection with a caller.

    A caller may reset `Bounds.resets` streams before their answers begin, at once; a share of `RESETS_A_SECOND` of them
    more each second; and one for each answer that begins. With the default these are 100 and 10/s: a browser that
    leaves a page resets all its streams. nghttp2 allows 1,000 and 33/s, Netty 200 in 30 s, Envoy 500 if they are
    less than half of all streams. It makes no difference who sends the RST_STREAM: callers can make the gateway send it
    (CVE-2025-8671).
    """

    def __init__(self) -> None:
        self.frames = Frames()
        most = bounds.current().resets
        self.resets = Crumbs(most, most * RESETS_A_SECOND, most)
        self.left: set[int] = set()  # streams that were reset while the gateway works for them

    def answered(self) -> None:
        """Note that an answer begins."""
        self.resets.earns(1)
