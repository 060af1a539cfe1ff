"""Opens and closes mitmproxy's listeners."""

import asyncio
import functools

from mitmproxy import ctx
from mitmproxy.proxy import mode_specs


async def open_all(modes: list[str], *, shared: bool) -> list[str]:
    """Listen on *modes*, and on nothing else. Return the addresses that could not be opened.

    *shared*: other processes may listen on the same ports (SO_REUSEPORT). mitmproxy has no option for it.
    """
    if shared:
        loop = asyncio.get_running_loop()
        setattr(loop, "create_server", functools.partial(loop.create_server, reuse_port=True))  # noqa: B010
    servers = ctx.master.addons.get("proxyserver").servers
    ctx.options.update(server=True, mode=modes)
    await servers.update([mode_specs.ProxyMode.parse(mode) for mode in modes])
    return [server.mode.full_spec.rpartition("@")[2] for server in servers if not server.is_running]


async def close_all() -> None:
    """Close all listeners. Open connections stay."""
    servers = ctx.master.addons.get("proxyserver")
    if servers is not None:
        await servers.servers.update([])
