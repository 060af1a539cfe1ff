"""Arrive: the first step. The gateway accepts requests only while it is ready. Each gets the current policies."""

from collections.abc import Awaitable, Callable

from mitmproxy import http
from mitmproxy.connection import Client

from weir.base.problems import Kind, Problem, Refusal
from weir.mitm.arrival import Arrival, address_of
from weir.path.exchange import Arrived, Exchange, Rehearsed
from weir.policyset.model import PolicySet
from weir.routing.head import METHODS
from weir.routing.listener import Listener

NOT_READY = Problem(
    Kind.GATEWAY_NOT_READY,
    "The gateway is starting or stopping. Try again in a moment.",
    headers=(("Retry-After", "1"),),
)

#: The address of a replay's caller, the operator on this host. Anyone can change the address in a flow file.
_OPERATOR = "127.0.0.1"


def no_arrival() -> Arrival:
    """Return an empty arrival for replays and rehearsals: recorded connection details are ignored."""
    return Arrival(Listener("", 0))


def _arrived(flow: http.HTTPFlow, policies: PolicySet, arrival: Arrival, client_ip: str) -> Arrived:
    data = flow.request.data
    return Arrived(
        policies=policies,
        arrival=arrival,
        client_ip=client_ip,
        method=data.method.decode() if data.method in METHODS else "?",
        target=data.path.decode("utf-8", "replace"),
        chunked=data.http_version != b"HTTP/1.0",
    )


class RehearsedArrival:
    """Stand-in: take the policies and the caller's address from the rehearsal."""

    name = "arrive"

    def __call__(self, flow: http.HTTPFlow, rehearsed: Rehearsed) -> Arrived:
        return _arrived(flow, rehearsed.policies, no_arrival(), rehearsed.client_ip)


class Arrive:
    """Refuse the request while the gateway is not ready; otherwise record how it arrived."""

    name = "arrive"
    stand_in = RehearsedArrival()

    def __init__(
        self, policies: Callable[[], PolicySet | None], arrival: Callable[[Client, PolicySet], Arrival]
    ) -> None:
        """*policies* returns the current policies, or None while the gateway is not ready."""
        self._policies = policies
        self._arrival = arrival

    def __call__(self, flow: http.HTTPFlow, exchange: Exchange) -> Arrived:
        policies = self._policies()
        if policies is None:
            raise Refusal.of(NOT_READY)
        arrival = no_arrival() if exchange.replay else self._arrival(flow.client_conn, policies)
        address = _OPERATOR if exchange.replay else address_of(flow.client_conn)
        return _arrived(flow, policies, arrival, address)


class UntilReady:
    """Wait until the gateway is ready: a replayed request may come earlier."""

    name = "until_ready"

    def __init__(self, ready: Callable[[], Awaitable[None]]) -> None:
        self._ready = ready

    async def __call__(self) -> None:
        await self._ready()
