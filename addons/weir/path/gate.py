"""Gate: the last addon. It blocks everything that this process has not judged, allowed and recorded.

Gate has no rules of its own. It compares the flow that is about to be sent with the exchange that Stack keeps in
memory. If they do not agree, it answers 503, or cuts what has begun.
"""

import logging
from collections.abc import Callable

from mitmproxy import http, tcp, udp
from mitmproxy.proxy.server_hooks import ServerConnectionHookData

from weir.base.alarms import alarm, counters
from weir.base.identifiers import Uuid7
from weir.base.problems import Kind, Problem, gateway_error
from weir.base.text import inert
from weir.path.conversations import WebSockets
from weir.path.exchange import Exchange, Keyed, Prepared
from weir.recorder.replay_key import HEADER
from weir.routing.dial import Dialed, refusal

logger = logging.getLogger("weir")


class Gate:
    """Blocks each flow unless its exchange allows it."""

    name = "weir-gate"

    def __init__(
        self,
        find: Callable[[http.HTTPFlow], Exchange | None],
        forget: Callable[[http.HTTPFlow], None],
        websockets: WebSockets,
    ) -> None:
        self._find = find
        self._forget = forget
        self._websockets = websockets
        self._new_id = Uuid7()

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """Never stream a request body: the upstream would receive it before it is judged."""
        flow.request.stream = False

    def request(self, flow: http.HTTPFlow) -> None:
        """Pass a request only if it was judged and not refused."""
        if not flow.live:
            return  # loaded from a file: nothing can be sent
        replay_key = flow.request.headers.pop(HEADER, None)
        exchange = self._find(flow)
        if exchange is None:
            self._refuse(flow, exchange, "a request that was never judged")
        elif exchange.left and not exchange.settled:
            flow.kill()  # its caller has left, perhaps before the last step
        elif exchange.settled:
            if (
                flow.response is not exchange.answer or flow.response is None
            ):  # server replay answered a refused request
                flow.response = exchange.answer = exchange.own_answer()
        elif (
            (prepared := exchange.get(Prepared)) is not None and flow.server_conn.via != prepared.via
        ) or flow.server_conn.transport_protocol != "tcp":
            self._refuse(flow, exchange, "a request that would take another route than the judged one")
        elif not exchange.judged or replay_key is None:
            self._refuse(flow, exchange, "a request that was not judged completely")
        elif flow.response is None and ((keyed := exchange.get(Keyed)) is None or keyed.only):
            exchange.problem = Problem(Kind.NOT_RECORDED, "This request is not in the recording that is replayed.")
            flow.response = exchange.answer = exchange.own_answer()

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        """Stream a response only through the stream that masks it and copies it for the record."""
        if flow.response is None:
            return
        exchange = self._find(flow)
        through_rooms = (
            exchange is not None and exchange.judged and not exchange.settled and exchange.stream is not None
        )
        if not through_rooms or flow.response.stream is not (exchange and exchange.stream):
            flow.response.stream = False

    def response(self, flow: http.HTTPFlow) -> None:
        """Pass a response only if it was recorded, or if it is the gateway's own answer."""
        if not flow.live:
            return
        exchange = self._find(flow)
        if exchange is None:
            self._refuse(flow, exchange, "a response that was never judged")
        elif exchange.stream is not None:
            if exchange.settled or not exchange.recorded:
                flow.kill()  # withhold its end, so that the caller can see that it is incomplete
        elif exchange.settled:
            if flow.response is not exchange.answer or flow.response is None:
                flow.response = exchange.answer = exchange.own_answer()
        elif not exchange.recorded:
            self._refuse(flow, exchange, "a response that was not recorded")
        self._forget(flow)

    def http_connect(self, flow: http.HTTPFlow) -> None:
        """Open a tunnel only if its caller may use this destination."""
        exchange = self._find(flow)
        self._forget(flow)
        if exchange is not None and exchange.settled and flow.response is exchange.answer is not None:
            return
        if exchange is not None and exchange.judged and not exchange.settled and flow.response is None:
            return
        problem = Problem(Kind.CONNECT_REFUSED, "This gateway opens no tunnels; use it as the base URL.")
        flow.response = problem.response(self._new_id())

    def server_connect(self, data: ServerConnectionHookData) -> None:
        """Dial only an address that was judged."""
        host = data.server.address[0] if data.server.address else ""
        if why := refusal(host):
            counters["dial_refused"] += 1
            name = host.dial.name if isinstance(host, Dialed) else "nobody"
            logger.warning(f"weir: {inert(host)!r} was not dialled for {name}: {why}")
            data.server.error = why

    def websocket_start(self, flow: http.HTTPFlow) -> None:
        """Open a WebSocket only if its handshake was judged, allowed and recorded."""
        if self._websockets.find(flow) is None:
            flow.kill()

    def websocket_message(self, flow: http.HTTPFlow) -> None:
        """Pass only messages that were masked and recorded."""
        self._check_messages(flow)

    def websocket_end(self, flow: http.HTTPFlow) -> None:
        """Check the messages that were held until the end, and remove the WebSocket."""
        self._check_messages(flow)
        self._websockets.forget(flow)

    def _check_messages(self, flow: http.HTTPFlow) -> None:
        conversation, data = self._websockets.find(flow), flow.websocket
        assert data is not None
        passed = conversation.passed if conversation is not None else []
        if [message.content for message in data.messages] == passed and conversation is not None:
            return
        alarm("gate_closed", "the gate refused a WebSocket message that was not masked and recorded")
        data.messages = []
        if flow.killable:
            flow.kill()

    def tcp_start(self, flow: tcp.TCPFlow) -> None:
        """Nothing but HTTP passes."""
        flow.kill()

    def udp_start(self, flow: udp.UDPFlow) -> None:
        """Nothing but HTTP passes."""
        flow.kill()

    def _refuse(self, flow: http.HTTPFlow, exchange: Exchange | None, what: str) -> None:
        alarm("gate_closed", f"the gate refused {what}")
        if exchange is None:
            flow.response = gateway_error().response(self._new_id())
        else:
            exchange.problem = gateway_error()
            flow.response = exchange.answer = exchange.own_answer()
