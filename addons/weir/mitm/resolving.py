"""Has the event loop resolve the hosts of connections to permitted addresses only.

There is no second question to the DNS between the check of an address and the call (DNS rebinding).
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from weir.routing.dial import PATIENCE, Dialed, Resolved, permitted


def install(loop: asyncio.AbstractEventLoop) -> None:
    """Have *loop* resolve each `Dialed` to its permitted addresses. Idempotent."""
    if not hasattr(loop.getaddrinfo, "checks"):
        checking = _checking(loop.getaddrinfo)
        setattr(checking, "checks", True)  # noqa: B010
        setattr(loop, "getaddrinfo", checking)  # noqa: B010


def _checking(original: Callable[..., Any]) -> Callable[..., Any]:
    async def getaddrinfo(host: Any, port: Any, **options: Any) -> Sequence[Resolved]:
        if not isinstance(host, Dialed):
            return await original(host, port, **options)  # type: ignore[no-any-return]
        if host.dial.pinned:
            return host.dial.pinned
        async with asyncio.timeout(PATIENCE):
            found: Sequence[Resolved] = await original(str(host), port, **options)
        return permitted(host, found)

    return getaddrinfo
