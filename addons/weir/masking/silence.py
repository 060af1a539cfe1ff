"""Reports silence on a stream, so that held units do not wait forever."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any


class Silence:
    """The silence of one sender. *tell* is called after *short* seconds of it, and once more after *long*.

    While nothing is held, as *holds* says, it costs nothing; nor is there a timer for each thing that comes.
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
        self._told = 0  # how often, in this silence
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def told(self) -> bool:
        """Whether *tell* was called in this silence."""
        return self._told > 0

    @property
    def long(self) -> bool:
        """Whether the longer time has passed."""
        return self._told > 1

    def heard(self) -> None:
        """Something has come."""
        if self._told and self._timer is not None:  # it waits for the longer time
            self._timer.cancel()
            self._timer = None
        self._heard, self._told = time.monotonic(), 0
        if self._timer is None and self._holds():
            self._wait(self._seconds[0])

    def end(self) -> None:
        """Nothing more comes."""
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
