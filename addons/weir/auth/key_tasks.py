"""The tasks that keep issuers' keys fresh, for as long as the policies name those issuers."""

import asyncio
from collections.abc import Iterable, Mapping

from weir.auth.issuer import Issuer
from weir.auth.provider import Provider

#: Seconds that a process waits for issuers' keys before it goes on without them.
FIRST_KEYS = 3.0
#: Seconds for which a provider that is no longer used may still be asked.
LEAVING = 10.0


class Refreshing:
    """One refreshing task an issuer, by what the issuer is made of."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._retiring: set[asyncio.Task[None]] = set()

    async def begin(self, issuers: Mapping[str, Issuer]) -> None:
        """Have keys fetched from now on, and wait a little for the first, so that nobody's first request has to."""
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
        """Fetch only those of *issuers* from now on; the providers of *dropped* are closed once nobody asks them."""
        for made_of in self._tasks.keys() - issuers.keys():
            self._tasks.pop(made_of).cancel()
        providers = [issuer.provider for issuer in dropped if issuer.provider is not None]
        if providers:
            task = asyncio.create_task(_retire(providers), name="retire")
            self._retiring.add(task)
            task.add_done_callback(self._retiring.discard)

    async def stop(self) -> None:
        """Fetch nothing any more."""
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
