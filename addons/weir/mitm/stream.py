"""One HTTP request and its response: mitmproxy's stream, with bounds, and without work for callers that have left."""

import time
from typing import Any

from mitmproxy.http import HTTPFlow
from mitmproxy.net.http import http1
from mitmproxy.proxy import layer
from mitmproxy.proxy.layers.http import DropStream, HttpLayer, HttpStream, SendHttp
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    RequestData,
    RequestEndOfMessage,
    RequestHeaders,
    RequestProtocolError,
    ResponseProtocolError,
)

from weir.base import bounds
from weir.mitm import hooks
from weir.mitm.bodies import Body
from weir.mitm.messages import unanswered


class Stream(HttpStream):
    """A stream that is dropped once it has failed, and that sends nothing if its caller has left."""

    sent = False  # True once the request is about to be sent to its service
    _pooled = False  # the request was sent on a connection that was open before

    def __init__(self, context: Any, stream_id: int) -> None:
        super().__init__(context, stream_id)
        self.request_body_buf = Body()  # type: ignore[assignment]
        self.response_body_buf = Body()  # type: ignore[assignment]

    def check_killed(self, emit_error_hook: bool) -> layer.CommandGenerator[bool]:
        """Check as mitmproxy does, then drop the stream. mitmproxy keeps it, with its body, with the connection.

        After the head of a refused request that waits for `100 Continue`, answer at once: its body is not needed.
        """
        if (yield from self._drop(super().check_killed(emit_error_hook))):
            return True
        if emit_error_hook and hooks.current().refused(self.flow) and self._expects():
            yield from self._refuse(ErrorCode.GENERIC_CLIENT_ERROR)
            return True
        return False

    def _expects(self) -> bool:
        return bool(self.flow.request.headers.get("expect", "").lower() == "100-continue")

    def _refuse(self, code: ErrorCode) -> layer.CommandGenerator[None]:
        """End a refused request before anything is sent: its own answer is recorded and delivered."""
        yield from self.handle_protocol_error(ResponseProtocolError(self.stream_id, "refused before it was sent", code))

    def check_invalid(self, request: bool) -> layer.CommandGenerator[bool]:
        """Check as mitmproxy does, then drop an invalid stream."""
        return (yield from self._drop(super().check_invalid(request)))

    def check_body_size(self, request: bool) -> layer.CommandGenerator[bool]:
        """Check as mitmproxy does, with separate limits for callers and services, then drop the stream."""
        limits = bounds.current()
        if self._size(request) <= (limits.body if request else limits.answer):
            return False
        return (yield from self._drop(super().check_body_size(request)))

    def _size(self, request: bool) -> int:
        """Return the bytes of the body that have arrived or, before the first, the bytes that its head announces."""
        arrived = len(self.request_body_buf if request else self.response_body_buf)
        if arrived:
            return arrived
        try:
            return http1.expected_http_body_size(self.flow.request, None if request else self.flow.response) or 0
        except ValueError:  # an invalid Content-Length is refused elsewhere
            return 0

    def _drop(self, check: layer.CommandGenerator[bool]) -> layer.CommandGenerator[bool]:
        ended = yield from check
        if ended:
            yield DropStream(self.stream_id)
        return ended

    def make_server_connection(self) -> layer.CommandGenerator[bool]:
        """Connect as mitmproxy does, but fail if the caller left or was refused meanwhile. mitmproxy would send on."""
        began = time.time()
        connected = yield from super().make_server_connection()
        if connected and (yield from self.check_killed(True)):
            return False
        if connected and hooks.current().refused(self.flow):
            yield from self._refuse(ErrorCode.GENERIC_SERVER_ERROR)
            return False
        self.sent = connected
        self._pooled = connected and (self.flow.server_conn.timestamp_start or began) < began
        return connected

    def handle_protocol_error(
        self, event: RequestProtocolError | ResponseProtocolError
    ) -> layer.CommandGenerator[None]:
        """Send the request once more if its service closed a connection of earlier requests instead of answering.

        A service closes idle connections, and may do so while a request is on its way (RFC 9112, 9.3.1).
        """
        closed = isinstance(event, ResponseProtocolError) and unanswered(event.message)
        if closed and self._pooled and self.server_state == self.state_wait_for_response_headers:
            self._pooled = False
            # While a connection is open, HTTP/2 accepts no second request under the number of this stream.
            ended = not self.flow.server_conn.connected
            if ended and self.client_state == self.state_done and hooks.current().repeated(self.flow):
                yield from self._send_again()
                return
        yield from super().handle_protocol_error(event)

    def _send_again(self) -> layer.CommandGenerator[None]:
        """Send the whole request on another connection."""
        if not (yield from self.make_server_connection()):
            return
        self._pooled = False  # not a third time
        request, service, content = self.flow.request, self.context.server, self.flow.request.raw_content
        yield SendHttp(RequestHeaders(self.stream_id, request, not content), service)
        if content:
            yield SendHttp(RequestData(self.stream_id, content), service)
        yield SendHttp(RequestEndOfMessage(self.stream_id), service)


def flow_of(stream: Any) -> HTTPFlow | None:
    """Return the flow of *stream*; None before its head has been read."""
    return getattr(stream, "flow", None)


def streams_of(connection: Any) -> dict[int, Any]:
    """Return the streams of *connection*, mitmproxy's side of HTTP/1 or HTTP/2, by their ids."""
    layer = next((la for la in reversed(connection.context.layers) if isinstance(la, HttpLayer)), None)
    return layer.streams if layer is not None else {}
