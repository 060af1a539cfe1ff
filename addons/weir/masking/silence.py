"""Report silence on a stream, so that held units do not wait forever."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any


class Silence:
    """Watch one sender. *tell* is called after *short* seconds of silence, and once more after *long* seconds.

    No timer starts while *holds* returns False, and there is at most one timer.
    """

    def __init__(
        self,
        short: float,
        long: float,
        holds: Callable[[], bool],
        tell: Callable[["Silence"], Coroutine[Any, Any, None]],
    ) -> None:
        self._seconds = (short, long)
        self._holds = holds
        self._tell = tell
        self._heard = 0.0
        self._told = 0  # calls of *tell* in this silence
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def told(self) -> bool:
        """True if *tell* was called in this silence."""
        return self._told > 0

    @property
    def long(self) -> bool:
        """True if the *long* time has passed."""
        return self._told > 1

    def heard(self) -> None:
        """Note that data has arrived; the silence starts again."""
        if self._told and self._timer is not None:  # this timer waits for the *long* time
            self._timer.cancel()
            self._timer = None
        self._heard, self._told = time.monotonic(), 0
        if self._timer is None and self._holds():
            self._wait(self._seconds[0])

    def end(self) -> None:
        """Stop: the stream has ended."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._told = None, len(self._seconds)

    def _wait(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._passed)

    def _passed(self) -> None:
        self._timer = None
        if self._told == len(self._seconds) or not self._holds():
            return
        left = self._heard + self._seconds[self._told] - time.monotonic()
        if left <= 0:
            self._told += 1
            self._task = asyncio.get_running_loop().create_task(self._tell(self))
            if self._told == len(self._seconds):
                return
            left += self._seconds[self._told] - self._seconds[self._told - 1]
        self._wait(left)
