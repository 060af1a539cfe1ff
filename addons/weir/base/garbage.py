"""Full garbage collections look at every object there is and stop the event loop meanwhile: with a thousand requests
held, for a fifth of a second. What waits is therefore frozen: collections pass over it.

What was frozen and is part of a reference cycle, as mitmproxy's connections are, is not given back by itself when it
ends. So once enough of it has ended, or nothing is under way any more, all is thawed, collected and frozen again.
"""

import asyncio
import gc
from collections.abc import Callable

#: Seconds after which what has begun to wait is frozen, with all that did so meanwhile.
SETTLE = 0.5
#: Of what was frozen and has ended: how many, or how many bytes of bodies, are collected at the latest.
MOST_ENDED = 5000
MOST_BYTES = 128 << 20


class Garbage:
    """What is frozen in this process. *idle* tells whether nothing is under way."""

    def __init__(self, idle: Callable[[], bool]) -> None:
        self._idle = idle
        self._ended = self._bytes = 0
        self._settling: asyncio.TimerHandle | None = None
        self._tidying: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Freeze all that there is: it stays."""
        gc.collect()
        gc.freeze()

    def stop(self) -> None:
        """Thaw everything; the interpreter wants to find it when it ends."""
        for timer in (self._settling, self._tidying):
            if timer is not None:
                timer.cancel()
        gc.unfreeze()

    def waits(self) -> None:
        """Something has begun to wait, for long."""
        if self._settling is None:
            self._settling = asyncio.get_running_loop().call_later(SETTLE, self._settle)

    def ended(self, size: int) -> None:
        """Something that waited has ended; its bodies had so many bytes."""
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
