"""Keeps the keys of one issuer fresh, so that no good caller ever waits for its provider.

The request path reads `keys`, a snapshot. `run` replaces it every `REFRESH` seconds; while the provider
fails or publishes what is refused, the last good set stays, with an alarm, until it is ``max_stale``
seconds old. A key id that is not in the set waits for one refresh that all such requests share, begun
at most once per `COOLDOWN`; ids that were looked for in vain are remembered. A flood of made-up ids
costs one fetch per cooldown.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from math import inf

from weir.auth.keys import KeySet, KeySetError
from weir.auth.provider import ProviderError
from weir.base.alarms import alarm

#: Seconds between refreshes (a third of ``max_stale`` where that is less). After a failure: the first is retried
#: after `RETRY`, each further one after twice as long, at most `RETRY_MOST`.
REFRESH = 300.0
RETRY = 5.0
RETRY_MOST = 60.0
#: Seconds between two refreshes that unknown key ids ask for.
COOLDOWN = 5.0
#: Seconds for which a key id that was not found is not looked for again, and how many are remembered.
ABSENT = 60.0
MAX_ABSENT = 1024
#: With so many ids not found lately, an unknown one does not wait for a cooldown to end: it is refused at once.
FLOOD = 8
#: Requests that may wait for a refresh at once, and for how long (seconds).
MAX_WAITING = 256
LONGEST_WAIT = 20.0


class KeysUnavailable(Exception):
    """The issuer is configured, but whether the token is good cannot be told now: not the caller's fault."""


class KeyRefresher:
    """The snapshot of one issuer's keys, and the task that replaces it whole."""

    def __init__(
        self,
        name: str,
        fetch: Callable[[], Awaitable[KeySet]],
        max_stale: float = inf,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._fetch = fetch
        self._max_stale = max_stale
        self._clock = clock
        self._keys: KeySet | None = None
        self._confirmed = -inf  # when the snapshot was last seen at its provider
        self._begun = self._ended = 0  # refreshes
        self._failures = 0
        self._cool_until = -inf
        self._wanted = asyncio.Event()
        self._turn = asyncio.Event()  # set, and replaced, whenever a refresh has ended
        self._waiting = 0
        self._absent: OrderedDict[str, float] = OrderedDict()

    @property
    def starting(self) -> bool:
        """Whether the first refresh has not ended yet."""
        return self._ended == 0

    def keys(self) -> KeySet:
        """The snapshot. Raises `KeysUnavailable` where there is none, or it is too old."""
        if self._keys is None or self._clock() - self._confirmed > self._max_stale:
            raise KeysUnavailable(self._name)
        return self._keys

    async def run(self) -> None:
        """Refresh for ever. Ends only by cancellation."""
        pause = 0.0
        while True:
            await self._until(self._clock() + pause)
            if self._wanted.is_set():  # what begins now serves whoever asked before now
                self._wanted.clear()
                self._cool_until = self._clock() + COOLDOWN
            self._begun += 1
            fine = await self._refresh()
            self._ended = self._begun
            self._turn.set()
            self._turn = asyncio.Event()
            self._failures = 0 if fine else self._failures + 1
            pause = (
                min(REFRESH, self._max_stale / 3) if fine else min(RETRY * 2 ** min(self._failures - 1, 10), RETRY_MOST)
            )
            pause *= random.uniform(0.9, 1.0)  # noqa: S311  # workers must not all ask at once

    async def _until(self, due: float) -> None:
        """Wait until *due*, or until a key id is asked for and no cooldown is left."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, due - self._clock())):
                await self._wanted.wait()
                await asyncio.sleep(max(0.0, self._cool_until - self._clock()))

    async def _refresh(self) -> bool:
        try:
            keys = await self._fetch()
        except (ProviderError, KeySetError) as error:
            reason = str(error)
        except Exception as error:  # whatever it is, the task must live
            reason = type(error).__name__
        else:
            if keys != self._keys:  # tokens are remembered for as long as the very same snapshot stands
                self._keys = keys
                self._absent.clear()
            self._confirmed = self._clock()
            return True
        age = self._clock() - self._confirmed
        if self._keys is None:
            standing = "none of its tokens can be verified"
        elif age > self._max_stale:
            standing = f"the last good ones are {age:.0f} s old and no longer used"
        else:
            standing = f"the last good ones, {age:.0f} s old, are used"
        message = f"the keys of issuer {self._name!r} were not refreshed: {reason}; {standing}"
        alarm("keys_not_refreshed", message, level=logging.WARNING if self.starting else logging.ERROR)
        return False

    def given_up(self, key_id: str) -> bool:
        """Whether *key_id*, which the snapshot does not have, is refused without another look."""
        now = self._clock()
        while self._absent and now - next(iter(self._absent.values())) > ABSENT:
            self._absent.popitem(last=False)
        return key_id in self._absent or (now < self._cool_until and len(self._absent) >= FLOOD)

    async def look_for(self, key_id: str) -> None:
        """Return once it is known whether *key_id* is the issuer's: the snapshot then has it, or it is not.

        Raises `KeysUnavailable` where that cannot be found out now.
        """
        await self._next_refresh(lambda: self._keys is not None and self._keys.knows(key_id))
        if self._keys is None or self._failures:
            raise KeysUnavailable(self._name)
        if not self._keys.knows(key_id):
            self._absent[key_id] = self._clock()
            self._absent.move_to_end(key_id)
            if len(self._absent) > MAX_ABSENT:
                self._absent.popitem(last=False)

    async def first(self) -> None:
        """Wait for the first refresh to end. Raises `KeysUnavailable` where too many wait already, or too long."""
        await self._wait(lambda: not self.starting)

    async def _next_refresh(self, satisfied: Callable[[], bool]) -> None:
        """Ask for a refresh that begins after now, and wait until it has ended, or one before *satisfied*."""
        target = self._begun + 1
        self._wanted.set()
        await self._wait(lambda: self._ended >= target or satisfied())

    async def _wait(self, over: Callable[[], bool]) -> None:
        if self._waiting >= MAX_WAITING:
            raise KeysUnavailable(self._name)
        self._waiting += 1
        try:
            async with asyncio.timeout(LONGEST_WAIT):
                while not over():
                    await self._turn.wait()
        except TimeoutError:
            raise KeysUnavailable(self._name) from None
        finally:
            self._waiting -= 1
