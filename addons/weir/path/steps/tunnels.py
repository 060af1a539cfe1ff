"""Tunnels: find the destination of a CONNECT, and check that its caller may use it."""

import asyncio
import dataclasses
import socket

from mitmproxy import http

from weir.base.problems import Kind, Refusal
from weir.path.exchange import Arrived, Claimed, Exchange, Head, Identified
from weir.path.steps.routing import NO_DESTINATION
from weir.routing.dial import PATIENCE, Dial, Dialed, Forbidden
from weir.routing.head import HeadError, check_connect
from weir.routing.model import Origin

_FORBIDDEN = "The destination's address may not be reached through this gateway."
_NOT_TLS = (
    "This service does not use TLS, but CONNECT is only for TLS. Request it as http://, without CONNECT. "
    "Through a proxy, use WebSockets with wss:// only."
)


class ReadConnect:
    """Read the tunnel's destination from the CONNECT."""

    name = "read_connect"

    def __call__(self, flow: http.HTTPFlow, arrived: Arrived) -> Head:
        if arrived.arrival.listener.mode != "explicit" or arrived.arrival.hosts:
            raise Refusal(Kind.CONNECT_REFUSED, "This gateway opens no tunnels here; use it as the base URL.")
        data = flow.request.data
        try:
            host, port = check_connect(data.authority, data.headers.fields)
        except HeadError as error:
            raise Refusal(Kind.AMBIGUOUS_REQUEST, f"Refused because {error}.") from None
        arrived.method, arrived.target = "CONNECT", f"{host}:{port}"
        origin = Origin("https", host, port)
        return Head(fields={}, scheme="http", host=host, port=port, path="", query="", origin=origin)


class OpenTunnel:
    """Open the tunnel to a connection, with its TLS intercepted, or to a destination that `pass` names."""

    name = "open_tunnel"

    async def __call__(
        self, exchange: Exchange, arrived: Arrived, head: Head, claimed: Claimed, identified: Identified
    ) -> None:
        destinations, arrival = arrived.policies.destinations, arrived.arrival
        host, port = head.host, head.port or 443
        if Origin("https", host, port) in destinations.origins:
            arrival.tls = True
        else:
            passing = destinations.passed(host, port)
            if passing is None:
                plain = Origin("http", host, port) in destinations.origins
                raise Refusal(Kind.UNKNOWN_DESTINATION, _NOT_TLS if plain else NO_DESTINATION)
            arrival.passing = await _resolved(passing.dial, host, port)
        arrival.hosts, arrival.port = frozenset((host,)), port
        arrival.presented, arrival.who = claimed.presented, identified.principal.sub
        arrival.certificates = claimed.certificates
        exchange.judged = True


async def _resolved(dial: Dial, host: str, port: int) -> Dial:
    """Return *dial*, pinned to the current addresses of *host*. Raises `Refusal`."""
    try:
        async with asyncio.timeout(PATIENCE):
            found = await asyncio.get_running_loop().getaddrinfo(Dialed(host, dial), port, type=socket.SOCK_STREAM)
        return dataclasses.replace(dial, pinned=tuple(found))
    except Forbidden:
        raise Refusal(Kind.DESTINATION_FORBIDDEN, _FORBIDDEN) from None
    except (OSError, TimeoutError, UnicodeError):
        detail = "The destination's name has no address. Check the name, or try again later."
        raise Refusal(Kind.UPSTREAM_UNREACHABLE, detail) from None
