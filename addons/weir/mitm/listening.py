"""Opens and closes mitmproxy's listeners."""

import asyncio
import functools
import logging

from mitmproxy import ctx
from mitmproxy.proxy import mode_specs
from mitmproxy.utils import human

from weir.base import ports

logger = logging.getLogger("weir")

#: The next action in messages about ports.
OTHER_PORT = "stop the process that uses the port, or change `listen:` in gateway.yaml (or `--mode`)"
_NO_SERVER = "this is mitmproxy's own listener: for those of gateway.yaml only, add --no-server --set weir_listen=true"


async def open_all(modes: list[str], *, shared: bool) -> bool:
    """Listen on *modes*, and on nothing else. Return whether all could be opened; `Failures` logs the others.

    *shared*: other processes may listen on the same ports (SO_REUSEPORT). mitmproxy has no option for it.
    """
    if shared:
        loop = asyncio.get_running_loop()
        setattr(loop, "create_server", functools.partial(loop.create_server, reuse_port=True))  # noqa: B010
    servers = ctx.master.addons.get("proxyserver").servers
    ctx.options.update(server=True, mode=modes)
    await servers.update([mode_specs.ProxyMode.parse(mode) for mode in modes])
    return all(server.is_running for server in servers)


async def close_all() -> None:
    """Close all listeners. Open connections stay."""
    servers = ctx.master.addons.get("proxyserver")
    if servers is not None:
        await servers.servers.update([])


class Failures:
    """Logs each listener that mitmproxy could not open, with the process that uses its port.

    mitmproxy opens the listeners of ``--mode`` shortly before or after it loads scripts. An error in the log ends it.
    """

    def __init__(self) -> None:
        self._logged: set[mode_specs.ProxyMode] = set()

    def watch(self) -> None:
        """Log the failures so far, and each later one."""
        servers = ctx.master.addons.get("proxyserver")
        if servers is not None:
            servers.servers.changed.connect(self._log)
            self._log()

    def _log(self) -> None:
        for server in ctx.master.addons.get("proxyserver").servers:
            mode, error = server.mode, server.last_exception
            if isinstance(error, OSError) and mode not in self._logged:
                self._logged.add(mode)
                host, port = mode.listen_host(ctx.options.listen_host), mode.listen_port(ctx.options.listen_port)
                where = human.format_address((host or "*", port))
                what_to_do = OTHER_PORT if mode.custom_listen_port else _NO_SERVER
                logger.error(f"weir: cannot listen on {where} ({ports.reason(error, port)}); {what_to_do}")
