"""Responses that wait for their approval, in this worker's memory, bounded: what the repeated request receives."""

from dataclasses import dataclass

from weir.config.model import HeldSettings

#: The part of the room that one principal's responses may take.
_SHARE = 4


@dataclass(frozen=True, slots=True)
class Kept:
    """A response as it came, until when it is kept (Unix time), and whose it is."""

    status: int
    fields: tuple[tuple[bytes, bytes], ...]
    content: bytes
    approval: str = ""
    owner: tuple[str, str] = ("", "")
    until: float = 0.0


class Shelf:
    """By the binding of the request that each answers."""

    def __init__(self) -> None:
        self._kept: dict[str, Kept] = {}

    def find(self, binding: str, now: float) -> Kept | None:
        """The response to that request."""
        found = self._kept.get(binding)
        return found if found is not None and now < found.until else None

    def put(self, binding: str, kept: Kept, limits: HeldSettings, now: float) -> bool:
        """Keep a response; whether there was room for it."""
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
        """The response that waits for that approval is not kept any longer."""
        for binding in [b for b, k in self._kept.items() if k.approval == approval]:
            del self._kept[binding]


def _size(kept: list[Kept]) -> int:
    return sum(len(k.content) for k in kept)
