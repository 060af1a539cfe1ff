"""Responses that wait for approval, in this worker's memory, with limits, until their request is repeated."""

from dataclasses import dataclass

from weir.config.model import HeldSettings

#: One principal's responses may use this fraction (1/n) of the room.
_SHARE = 4


@dataclass(frozen=True, slots=True)
class Kept:
    """A response, decoded and without reflected credentials; the end of its storage (Unix time), and its owner."""

    status: int
    fields: tuple[tuple[bytes, bytes], ...]
    content: bytes
    approval: str = ""
    owner: tuple[str, str] = ("", "")
    until: float = 0.0


class Shelf:
    """Kept responses by the binding of their request."""

    def __init__(self) -> None:
        self._kept: dict[str, Kept] = {}

    def find(self, binding: str, now: float) -> Kept | None:
        """Return the response to the request with *binding*."""
        found = self._kept.get(binding)
        return found if found is not None and now < found.until else None

    def put(self, binding: str, kept: Kept, limits: HeldSettings, now: float) -> bool:
        """Keep a response. Return False if there is no room."""
        for over in [b for b, k in self._kept.items() if now >= k.until]:
            del self._kept[over]
        room = limits.megabytes << 20
        others = [k for b, k in self._kept.items() if b != binding]
        mine = [k for k in others if k.owner == kept.owner]
        if len(others) >= limits.requests or len(mine) >= limits.per_user:
            return False
        if _size([*others, kept]) > room or _size([*mine, kept]) > room // _SHARE:
            return False
        self._kept[binding] = kept
        return True

    def drop(self, approval: str) -> None:
        """Drop the response that waits for *approval*."""
        for binding in [b for b, k in self._kept.items() if k.approval == approval]:
            del self._kept[binding]


def _size(kept: list[Kept]) -> int:
    return sum(len(k.content) for k in kept)
