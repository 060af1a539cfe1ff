"""Cuts answers under way: unmaskable streams, revoked or stopped exchanges, and those left when the gateway stops.

The connection to the service is closed; mitmproxy then calls `Stack.error`, which answers if nothing was delivered.
Gate withholds the end of a stream that is not on record, so no caller takes a cut answer for a whole one. Open
WebSockets are closed by `conversations.py`.
"""

from collections.abc import Callable, Iterable

from mitmproxy import http

from weir.base.problems import Kind, Problem
from weir.masking.walk import MaskingError
from weir.mitm.handlers import end_upstream
from weir.path.exchange import Arrived, Exchange
from weir.path.rooms import Rooms
from weir.path.steps.arrive import NOT_READY


def cut_stream(
    flow: http.HTTPFlow, exchange: Exchange, error: Exception, failed: Callable[[Exchange, Exception], None]
) -> None:
    """Cut a streamed answer, because masking it has raised *error*. *failed* handles any error but `MaskingError`."""
    if isinstance(error, MaskingError):
        exchange.problem = Problem(Kind.UPSTREAM_UNREADABLE, f"The service's answer cannot be masked: {error}.")
        exchange.error = "the stream was cut: the rest cannot be masked"
    else:
        exchange.at = "stream"
        failed(exchange, error)
    end_upstream(flow)


def cut_revoked(exchanges: Iterable[tuple[http.HTTPFlow, Exchange]], rooms: Rooms) -> None:
    """End exchanges that the shared state revokes or stops now, even if their services send nothing."""
    for flow, exchange in exchanges:
        if exchange.settled or exchange.copies.response is not None or exchange.get(Arrived) is None:
            continue
        exchange.problem = rooms.identity.revoked(exchange) or rooms.access.stopped(exchange)
        if exchange.problem is not None and not rooms.approvals.wake(exchange) and exchange.sent:
            end_upstream(flow)


def cut_unfinished(exchanges: Iterable[tuple[http.HTTPFlow, Exchange]]) -> None:
    """End exchanges that have not ended when the gateway stops. Their records follow, so nothing more is delivered."""
    for flow, exchange in exchanges:
        if exchange.recording.locked():  # its outcome is being written
            continue
        exchange.error = "not ended when the gateway stopped"
        exchange.problem = exchange.problem or NOT_READY
        if exchange.stream is not None:
            exchange.stream.stop()
        end_upstream(flow)
