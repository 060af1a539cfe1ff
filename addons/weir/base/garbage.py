"""Keep full garbage collections short by freezing waiting requests, so that collections skip them.

A full collection visits every object and stops the event loop meanwhile: for a fifth of a second with a thousand held
requests. Frozen objects in reference cycles, such as mitmproxy's connections, are not freed when they end. So once
enough of them have ended, or no request is in progress, everything is thawed, collected and frozen again.
"""

import asyncio
import gc
from collections.abc import Callable

#: Seconds after a request begins to wait until it is frozen, together with others that began meanwhile.
SETTLE = 0.5
#: How many frozen requests, or how many bytes of their bodies, may have ended before a collection is forced.
MOST_ENDED = 5000
MOST_BYTES = 128 << 20


class Garbage:
    """The frozen objects of this process. *idle* returns True if no request is in progress."""

    def __init__(self, idle: Callable[[], bool]) -> None:
        self._idle = idle
        self._ended = self._bytes = 0
        self._settling: asyncio.TimerHandle | None = None
        self._tidying: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Freeze all existing objects, because they stay for the process's lifetime."""
        gc.collect()
        gc.freeze()

    def stop(self) -> None:
        """Thaw everything, because the interpreter needs to find the objects when it exits."""
        for timer in (self._settling, self._tidying):
            if timer is not None:
                timer.cancel()
        gc.unfreeze()

    def waits(self) -> None:
        """Note that a request has begun a long wait."""
        if self._settling is None:
            self._settling = asyncio.get_running_loop().call_later(SETTLE, self._settle)

    def ended(self, size: int) -> None:
        """Note that a waiting request has ended; its bodies had *size* bytes."""
        self._ended += 1
        self._bytes += size
        if self._tidying is None:
            self._tidying = asyncio.get_running_loop().call_later(SETTLE * 2, self._tidy)

    def _settle(self) -> None:
        self._settling = None
        gc.freeze()

    def _tidy(self) -> None:
        self._tidying = None
        if self._idle() or self._ended >= MOST_ENDED or self._bytes >= MOST_BYTES:
            self._ended = self._bytes = 0
            gc.unfreeze()
            self.start()
        else:
            self._tidying = asyncio.get_running_loop().call_later(SETTLE * 2, self._tidy)
