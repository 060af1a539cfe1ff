"""Answers that mitmproxy gives by itself (unparsable heads, size limits, a dead upstream), made ours.

mitmproxy's are HTML, and name the upstream. Here two of its functions are replaced: the one that
writes an answer for what never became a flow (counted), and the one that ends an HTTP/1 exchange
with an error, where the flow's own problem is sent, so that answer and record agree.
A test fails if a new mitmproxy moves this seam.
"""

from collections.abc import Callable, Iterator
from typing import Any

from mitmproxy import http
from mitmproxy.connection import ConnectionState
from mitmproxy.net.http import http1
from mitmproxy.proxy import commands
from mitmproxy.proxy.layers.http import HttpLayer, _http1
from mitmproxy.proxy.layers.http._events import ResponseProtocolError

from weir.alarms import counters
from weir.exchange import Exchange
from weir.identifiers import Uuid7
from weir.problems import Kind, Problem

_BY_STATUS = {
    400: Problem(Kind.MALFORMED_REQUEST, "The request is not valid HTTP."),
    413: Problem(Kind.REQUEST_TOO_LARGE, "The request's body is larger than this gateway takes."),
}
_OTHERWISE = Problem(Kind.UPSTREAM_UNREACHABLE, "The service behind this gateway cannot be reached. Try again later.")

_original_send = _http1.Http1Server.send
_new_id = Uuid7()


def install(find: Callable[[http.HTTPFlow], Exchange | None]) -> None:
    """Put ours in the place of mitmproxy's. *find* gives the exchange of a flow."""

    def make_error_response(status_code: int, message: str = "") -> bytes:
        counters["never_a_flow"] += 1
        return _closing(_BY_STATUS.get(status_code, _OTHERWISE).response(_new_id()))

    def send(self: _http1.Http1Server, event: Any) -> Iterator[Any]:
        if isinstance(event, ResponseProtocolError) and (exchange := _exchange(self, event, find)) is not None:
            if not self.conn.state & ConnectionState.CAN_WRITE:
                return
            if not self.response and exchange.problem is not None:
                yield commands.SendData(self.conn, _closing(exchange.refusal()))
            yield commands.CloseConnection(self.conn)
        else:
            yield from _original_send(self, event)

    _http1.make_error_response = make_error_response
    _http1.Http1Server.send = send  # type: ignore[method-assign, assignment]


def _closing(response: http.Response) -> bytes:
    """*response* as HTTP/1.1 bytes that end the connection."""
    response.headers["Connection"] = "close"
    return bytes(http1.assemble_response(response))


def _exchange(
    server: _http1.Http1Server, event: Any, find: Callable[[http.HTTPFlow], Exchange | None]
) -> Exchange | None:
    """The exchange of the stream that *event* ends."""
    layer = next((la for la in reversed(server.context.layers) if isinstance(la, HttpLayer)), None)
    stream = layer.streams.get(event.stream_id) if layer else None
    flow = getattr(stream, "flow", None)
    return find(flow) if flow is not None else None
