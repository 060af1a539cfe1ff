"""Bodies in memory: the sum of their sizes in this worker, and the buffer of one body."""

from weir.base import bounds


class Bodies:
    """The bytes of bodies in this worker's memory: the last count, and what arrived since then."""

    _looked = 0
    _since = 0

    @classmethod
    def looked(cls, found: int) -> None:
        """Set the sum to *found* bytes, a count of everything."""
        cls._looked, cls._since = found, 0

    @classmethod
    def takes(cls, size: int) -> bool:
        """Add *size* bytes. Return False if the sum exceeds `Bounds.bodies`."""
        cls._since += size
        return cls._looked + cls._since <= bounds.current().bodies


class Body:
    """The bytes of a body that is not complete, used instead of mitmproxy's buffer.

    mitmproxy's buffer keeps each piece as an object: a body of one million pieces of two bytes takes 48 MB in it.
    """

    def __init__(self) -> None:
        self._bytes = bytearray()

    def __iadd__(self, piece: bytes) -> "Body":
        self._bytes += piece
        return self

    def __len__(self) -> int:
        return len(self._bytes)

    def __bytes__(self) -> bytes:
        return bytes(self._bytes)

    def clear(self) -> None:
        """Remove all bytes."""
        self._bytes = bytearray()
