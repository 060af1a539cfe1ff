"""mitmproxy's connection handlers. Each client connection has one, which owns its streams and layers."""

import contextlib
from collections.abc import Collection
from contextlib import AbstractContextManager
from typing import Any

from mitmproxy import ctx
from mitmproxy.connection import Client, Connection
from mitmproxy.http import HTTPFlow
from mitmproxy.proxy.server import ConnectionIO

from weir.mitm import readers
from weir.mitm.events import Due, End
from weir.mitm.http import Http


def handler_of(client: Client) -> Any:
    """Return the handler of *client*; None once it is gone."""
    return ctx.master.addons.get("proxyserver").connections.get(client.id)


def handlers() -> Collection[Any]:
    """Return the handlers of all client connections."""
    return ctx.master.addons.get("proxyserver").connections.values()  # type: ignore[no-any-return]


def transport_of(client: Client, connection: Connection) -> ConnectionIO | None:
    """Return the task and streams of *connection*: the connection of *client*, or one to a service that it uses."""
    handler = handler_of(client)
    return handler.transports.get(connection) if handler is not None else None


def end_upstream(flow: HTTPFlow) -> None:
    """Close the connection to the service that *flow* waits for."""
    transport = transport_of(flow.client_conn, flow.server_conn)
    if transport is not None and transport.handler is not None:
        transport.handler.cancel("revoked")


def bounded(client: Client) -> AbstractContextManager[None]:
    """Within the block, bound how much *client* may send (see `readers.bounded`).

    HTTP/2 is not bounded here: other requests arrive over the same connection, and their bodies have their own bounds.
    """
    transport = transport_of(client, client) if client.alpn != b"h2" else None
    if transport is None or transport.reader is None:
        return contextlib.nullcontext()
    return readers.bounded(transport.reader)


def has_layer(flow: HTTPFlow) -> bool:
    """Return True if the client connection of *flow* still has a handler and an HTTP layer."""
    return handler_of(flow.client_conn) is not None and flow.client_conn.id in Http.of


async def report_silence(flow: HTTPFlow, *, from_caller: bool, long: bool = False) -> None:
    """Have the layers of *flow* release held text, because its service, or its caller, is silent."""
    handler, layer = handler_of(flow.client_conn), Http.of.get(flow.client_conn.id)
    if handler is not None and layer is not None:
        await handler.server_event(Due(layer, flow, from_caller, long))


async def end_websocket(flow: HTTPFlow, code: int, reason: str) -> None:
    """Close the WebSocket of *flow* with a *code* (RFC 6455, 7.4) and a *reason* that both sides may see."""
    handler, layer = handler_of(flow.client_conn), Http.of.get(flow.client_conn.id)
    if handler is not None and layer is not None:
        await handler.server_event(End(layer, flow, code, reason))
