"""Client connections before their first request: their listener, their protocol, and their destination."""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Callable
from ipaddress import ip_address
from weakref import WeakKeyDictionary

from mitmproxy.connection import Client
from mitmproxy.proxy import layer, mode_specs
from mitmproxy.proxy.layers import modes
from mitmproxy.proxy.layers.http import HTTPMode

from weir.base.addresses import literal
from weir.base.alarms import alarm, counters
from weir.base.problems import Kind, Problem
from weir.mitm import layers
from weir.mitm.answers import closing
from weir.mitm.arrival import Arrival, address_of
from weir.policyset.model import PolicySet
from weir.routing.destinations import Known
from weir.routing.dial import PATIENCE, Dial, Dialed
from weir.routing.listener import Listener, Mode
from weir.routing.model import Origin

#: Seconds between two DNS look-ups of all hosts of connections, if there are transparent listeners.
REFRESH = 30.0
#: Seconds after a look-up in which an unknown address does not cause another.
_AGAIN = 2.0

#: Seconds between two alarms of the same destination, and destinations that are remembered for it.
_TOLD = 60.0
_MOST_TOLD = 1000

_PLAIN_ON_TLS = Problem(Kind.MALFORMED_REQUEST, "This port speaks TLS. Use https:// in the client's base URL.")


class Wire:
    """Keeps the facts about each client connection while it is open."""

    def __init__(self, event: Callable[..., None]) -> None:
        self._event = event
        self._arrivals: WeakKeyDictionary[Client, Arrival] = WeakKeyDictionary()
        self._passed: WeakKeyDictionary[Client, layers.Passed] = WeakKeyDictionary()
        self._known = Known()
        self._looked = -_AGAIN
        self._told: dict[tuple[str, str, int], float] = {}
        self._looking: asyncio.Task[None] | None = None

    def arrival(self, client: Client, policies: PolicySet | None) -> Arrival:
        """Return the facts about *client*."""
        found = self._arrivals.get(client)
        if found is None:
            listener = listener_of(client.proxy_mode, policies.listeners if policies else ())
            found = Arrival(listener)
            if policies is not None:
                self._arrivals[client] = found
        return found

    def tunnel(self, client: Client) -> tuple[str, int] | None:
        """Return host and port of *client*'s tunnel, if it is passed unread; otherwise None."""
        if client not in self._passed:
            return None
        arrival = self._arrivals[client]
        return next(iter(arrival.hosts)), arrival.port

    def ended(self, client: Client) -> None:
        """Forget *client*, and report the end of its tunnel."""
        passed = self._passed.pop(client, None)
        if passed is not None:
            passed.over()

    # The protocol of the next bytes.

    async def next_layer(self, nextlayer: layer.NextLayer, policies: PolicySet | None) -> None:
        """Choose the layer for the next bytes, once there are enough of them."""
        context, data = nextlayer.context, nextlayer.data_client()
        tls = layers.speaks_tls(data)
        if tls is None or not data:
            return
        arrival = self.arrival(context.client, policies)
        top = len(context.layers) == 1
        if policies is None and (tls or not top):  # not ready: only a plain request can receive that answer
            nextlayer.layer = layers.Refused(context)
        elif top and isinstance(context.layers[0], modes.ReverseProxy | modes.HttpProxy):
            mode = HTTPMode.regular if arrival.listener.mode == "explicit" else HTTPMode.transparent
            if tls is (arrival.listener.tls is not None):
                nextlayer.layer = layers.http(context, mode, tls=tls)
            else:
                nextlayer.layer = layers.Refused(context, b"" if tls else closing(_PLAIN_ON_TLS))
        elif policies is not None and top and isinstance(context.layers[0], modes.TransparentProxy):
            await self._transparent(nextlayer, policies, arrival, tls=tls)
        elif arrival.passing is not None:
            self._pass(nextlayer, arrival.passing, next(iter(arrival.hosts)), arrival.port)
        elif arrival.hosts and tls:
            nextlayer.layer = layers.http(context, HTTPMode.transparent, tls=True)
        else:  # neither TLS nor anything that a tunnel was opened for
            nextlayer.layer = layers.Refused(context)

    async def _transparent(
        self, nextlayer: layer.NextLayer, policies: PolicySet, arrival: Arrival, *, tls: bool
    ) -> None:
        """Choose the layer of a redirected connection by its destination, as the kernel knows it, and its TLS name."""
        context = nextlayer.context
        host, port = context.server.address or ("", 0)
        scheme = "https" if tls else "http"
        named = ""
        if tls:
            try:
                sni = layers.named_host(nextlayer.data_client())
            except ValueError:
                nextlayer.layer = layers.Refused(context)
                return
            if sni is None:
                if len(nextlayer.data_client()) > layers.MOST_HELLO:
                    nextlayer.layer = layers.Refused(context)
                return
            named = sni
        here = await self._hosts(policies, host, named)
        hosts = frozenset(h for h in here if Origin(scheme, h, port) in policies.destinations.origins)
        if named in hosts or (not named and hosts):
            arrival.hosts, arrival.port, arrival.tls = frozenset((named,)) if named else hosts, port, tls
            if not tls or len(arrival.hosts) == 1:
                nextlayer.layer = layers.http(context, HTTPMode.transparent, tls=tls)
                return
        for destination in (host, *((named,) if named in here else ())) if tls else ():
            passing = policies.destinations.passed(destination, port)
            if passing is not None:
                arrival.hosts, arrival.port, arrival.tls = frozenset((destination,)), port, False
                self._pass(nextlayer, passing.dial, host, port)
                return
        self._tell_unknown(context.client, host, port, named)
        nextlayer.layer = layers.Refused(context)

    def _tell_unknown(self, client: Client, host: str, port: int, named: str) -> None:
        """Raise an alarm, at most once per `_TOLD` for a destination: there is no request to record."""
        counters["destination_unknown"] += 1
        caller, now = address_of(client) or "?", time.monotonic()
        key = caller, host, port
        if now - self._told.get(key, -_TOLD) < _TOLD:
            return
        if len(self._told) >= _MOST_TOLD:
            self._told.clear()
        self._told[key] = now
        alarm(
            "destination_refused",
            f"a connection of {caller} to {host} port {port}{f' as {named!r}' if named else ''} was closed: no "
            "connection of the policies leads there, and `pass` does not name it",
            level=logging.WARNING,
        )

    def _pass(self, nextlayer: layer.NextLayer, dial: Dial, host: str, port: int) -> None:
        client = nextlayer.context.client
        arrival = self._arrivals[client]
        nextlayer.context.server.address = (Dialed(host, dial), port)
        began = time.monotonic()

        def over(sent: int, received: int) -> None:
            about = f"{sent} bytes sent, {received} received, {time.monotonic() - began:.1f} s, by {dial.name!r}"
            self._event("tunnel", arrival.who or address_of(client), subject=f"{host}:{port}", message=about)

        passed = layers.Passed(nextlayer.context, over)
        self._passed[client] = passed
        nextlayer.layer = passed

    # The hosts at an address.

    async def _hosts(self, policies: PolicySet, address: str, named: str) -> frozenset[str]:
        """Return the hosts of connections and of passed destinations at *address*. Look again if *named* is missing."""
        where = ip_address(address.partition("%")[0])
        found = self._known.hosts(where)
        if (not found or named not in found) and time.monotonic() - self._looked > _AGAIN:
            await self._look(policies)
            found = self._known.hosts(where)
        return found

    async def _look(self, policies: PolicySet) -> None:
        """Look up the addresses of all hosts, at most once at a time."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._learn(policies), name="addresses")
        await asyncio.shield(self._looking)

    async def _learn(self, policies: PolicySet) -> None:
        hosts = {origin.host for origin in policies.destinations.origins}
        hosts |= {p.host for p in policies.destinations.passes if p.host and not p.host.startswith("*")}
        names = [host for host in hosts if literal(host) is None]
        answers = await asyncio.gather(*map(_addresses, names))
        now = self._looked = time.monotonic()
        for host, addresses in zip(names, answers, strict=True):
            self._known.learn(host, addresses, now)
        for host in hosts.difference(names):
            self._known.learn(host, (host,), now)

    async def follow_addresses(self, policies: Callable[[], PolicySet | None]) -> None:
        """Look up the hosts of connections again and again, for ever."""
        while True:
            now = policies()
            if now is not None and any(listener.mode == "transparent" for listener in now.listeners):
                with contextlib.suppress(Exception):  # the next look-up may succeed
                    await self._look(now)
            await asyncio.sleep(REFRESH)


def listener_of(mode: mode_specs.ProxyMode, listeners: tuple[Listener, ...]) -> Listener:
    """Return the listener of *mode*. If ``--mode`` opened it, *listeners* lacks it, and it has no TLS."""
    for listener in listeners:
        if listener.spec == mode.full_spec:
            return listener
    kind: Mode = "reverse"
    if isinstance(mode, mode_specs.RegularMode):
        kind = "explicit"
    elif isinstance(mode, mode_specs.TransparentMode):
        kind = "transparent"
    return Listener(mode.listen_host("") or "", mode.listen_port(0) or 0, kind)


async def _addresses(host: str) -> list[str]:
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(PATIENCE):
            found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
            return [str(entry[4][0]) for entry in found]
    return []
