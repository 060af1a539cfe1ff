"""Run one key refresher per issuer, as long as the policies name that issuer."""

import asyncio
from collections.abc import Iterable, Mapping

from weir.auth.issuer import Issuer
from weir.auth.provider import Provider

#: Seconds that a process waits at start for issuers' keys before it continues without them.
FIRST_KEYS = 3.0
#: Seconds before the client of a removed provider is closed, so requests that use it can finish.
LEAVING = 10.0


class Refreshing:
    """The refreshing tasks, one per issuer, by the digest of the issuer's settings."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._retiring: set[asyncio.Task[None]] = set()

    async def begin(self, issuers: Mapping[str, Issuer]) -> None:
        """Start refreshing keys, and wait up to `FIRST_KEYS` for the first ones, so first requests do not wait."""
        started = []
        for made_of, issuer in issuers.items():
            if issuer.provider is not None:
                await asyncio.to_thread(issuer.provider.open)
            if issuer.refresher is not None and made_of not in self._tasks:
                self._tasks[made_of] = asyncio.create_task(issuer.refresher.run(), name="key refresher")
                started.append(asyncio.create_task(issuer.refresher.first()))
        if started:
            _, late = await asyncio.wait(started, timeout=FIRST_KEYS)
            for task in late:
                task.cancel()

    def keep(self, issuers: Mapping[str, Issuer], dropped: Iterable[Issuer] = ()) -> None:
        """Keep only the tasks of *issuers*. Close the providers of *dropped* after `LEAVING` seconds."""
        for made_of in self._tasks.keys() - issuers.keys():
            self._tasks.pop(made_of).cancel()
        providers = [issuer.provider for issuer in dropped if issuer.provider is not None]
        if providers:
            task = asyncio.create_task(_retire(providers), name="retire")
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)

    async def stop(self) -> None:
        """Stop all tasks."""
        tasks = [*self._tasks.values(), *self._retiring]
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)


async def _retire(providers: list[Provider]) -> None:
    try:
        await asyncio.sleep(LEAVING)
    finally:
        for provider in providers:
            await provider.close()
