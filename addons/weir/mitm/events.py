"""Events that the gateway sends to the HTTP layer of a connection, besides mitmproxy's own."""

from mitmproxy.http import HTTPFlow
from mitmproxy.proxy import events
from mitmproxy.proxy.layers.http import HttpLayer

from weir.base.problems import Problem


class Overdue(events.Event):
    """For the HTTP layer *to*: the body of the request *stream* is late, or, with a *problem*, even its head."""

    def __init__(self, to: HttpLayer, stream: int, problem: Problem | None) -> None:
        self.to = to
        self.stream = stream
        self.problem = problem


class End(events.Event):
    """For the HTTP layer *to*: close the WebSocket of *flow* with a *code* (RFC 6455, 7.4) and a *reason*."""

    def __init__(self, to: HttpLayer, flow: HTTPFlow, code: int, reason: str) -> None:
        self.to = to
        self.flow = flow
        self.code = code
        self.reason = reason


class Due(events.Event):
    """For the HTTP layer *to*: the service of *flow*, or its caller, has been silent for a while.

    Held events or WebSocket messages may be released. *long*: the silence is the longer one, for texts that go on.
    """

    def __init__(self, to: HttpLayer, flow: HTTPFlow, from_caller: bool, long: bool = False) -> None:
        self.to = to
        self.flow = flow
        self.from_caller = from_caller
        self.long = long
