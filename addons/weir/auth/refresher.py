"""Refresh the keys of one issuer in the background, so that callers with valid tokens do not wait for the provider.

`auth.provider` fetches the keys (JWKS). The request path reads the snapshot `keys`. `run` replaces it every `REFRESH`
seconds. If the provider fails or publishes a set that is refused, the last good set stays in use, with an alarm, until
it is ``max_stale`` seconds old. A request with an unknown key id waits for one refresh, which all such requests share.
Such a refresh starts at most once per `COOLDOWN`, and ids that were not found are remembered. A flood of invented ids
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

#: Seconds between refreshes (a third of ``max_stale`` if that is less). After a failure, the next refresh starts
#: after `RETRY` seconds; the delay doubles with each further failure, up to `RETRY_MOST`.
REFRESH = 300.0
RETRY = 5.0
RETRY_MOST = 60.0
#: Minimum seconds between two refreshes for unknown key ids.
COOLDOWN = 5.0
#: Seconds that an id which was not found is refused without a refresh, and how many such ids are remembered.
ABSENT = 60.0
MAX_ABSENT = 1024
#: If this many ids were not found lately, an unknown id does not wait for the cooldown: it is refused at once.
FLOOD = 8
#: Maximum requests that wait for a refresh, and seconds that each waits.
MAX_WAITING = 256
LONGEST_WAIT = 20.0


class KeysUnavailable(Exception):
    """The issuer is configured, but the token cannot be checked now. This is not the caller's fault."""


class KeyRefresher:
    """The snapshot of one issuer's keys, and the task that replaces it as a whole."""

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
        self._confirmed = -inf  # when the provider last published this snapshot
        self._begun = self._ended = 0  # number of refreshes
        self._failures = 0
        self._cool_until = -inf
        self._wanted = asyncio.Event()
        self._turn = asyncio.Event()  # set and replaced when a refresh ends
        self._waiting = 0
        self._absent: OrderedDict[str, float] = OrderedDict()

    @property
    def starting(self) -> bool:
        """True until the first refresh ends."""
        return self._ended == 0

    def keys(self) -> KeySet:
        """Return the snapshot. Raises `KeysUnavailable` if absent or too old."""
        if self._keys is None or self._clock() - self._confirmed > self._max_stale:
            raise KeysUnavailable(self._name)
        return self._keys

    async def run(self) -> None:
        """Refresh until cancelled."""
        pause = 0.0
        while True:
            await self._until(self._clock() + pause)
            if self._wanted.is_set():  # this refresh serves every request that asked before it starts
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
        """Wait until *due*, or until a request asks for an unknown key id and the cooldown is over."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, due - self._clock())):
                await self._wanted.wait()
                await asyncio.sleep(max(0.0, self._cool_until - self._clock()))

    async def _refresh(self) -> bool:
        try:
            keys = await self._fetch()
        except (ProviderError, KeySetError) as error:
            reason = str(error)
        except Exception as error:  # any error: the task must survive
            reason = type(error).__name__
        else:
            if keys != self._keys:  # else keep the same object: verified tokens stay cached as long as it does
                self._keys = keys
                self._absent.clear()
            self._confirmed = self._clock()
            return True
        age = self._clock() - self._confirmed
        if self._keys is None:
            standing = "no token of this issuer can be verified"
        elif age > self._max_stale:
            standing = f"the last good keys are {age:.0f} s old and no longer used"
        else:
            standing = f"the last good keys, {age:.0f} s old, stay in use"
        message = f"the keys of issuer {self._name!r} were not refreshed: {reason}; {standing}"
        alarm("keys_not_refreshed", message, level=logging.WARNING if self.starting else logging.ERROR)
        return False

    def given_up(self, key_id: str) -> bool:
        """True if *key_id*, which is not in the snapshot, is refused without a refresh."""
        now = self._clock()
        while self._absent and now - next(iter(self._absent.values())) > ABSENT:
            self._absent.popitem(last=False)
        return key_id in self._absent or (now < self._cool_until and len(self._absent) >= FLOOD)

    async def look_for(self, key_id: str) -> None:
        """Wait for a refresh that shows whether the issuer has *key_id*. Afterwards, `keys` has it, or it is refused.

        Raises `KeysUnavailable` if the refresh fails or does not end in time.
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
        """Wait for the first refresh to end. Raises `KeysUnavailable` if too many wait, or after `LONGEST_WAIT`."""
        await self._wait(lambda: not self.starting)

    async def _next_refresh(self, satisfied: Callable[[], bool]) -> None:
        """Request a refresh, and wait until one that starts after this call ends, or an earlier one is *satisfied*."""
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
