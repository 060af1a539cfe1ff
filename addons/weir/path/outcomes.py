"""Outcomes: the gateway's own answers, and when each exchange is recorded: once, before delivery.

If recording fails, its answer is withheld. `steps/record.py` makes and writes the record.
"""

import asyncio
from collections.abc import Callable

from mitmproxy import http

from weir.base.alarms import alarm, place
from weir.base.problems import Kind, Problem, gateway_error
from weir.mitm.http import Http
from weir.mitm.messages import unquoted
from weir.path.conversations import WebSockets
from weir.path.endings import log, refusal_record, unreachable
from weir.path.exchange import Arrived, Exchange, Head, Routed
from weir.path.rooms import Rooms
from weir.path.steps.answer import copy_stream, opens
from weir.path.steps.arrive import NOT_READY
from weir.path.steps.record import copy_request
from weir.path.steps.routing import WriteHead
from weir.recorder.writer import RecorderUnavailable

_NOT_RECORDED = Problem(
    Kind.RECORDER_UNAVAILABLE, "The answer could not be recorded, so it is not delivered. Try again later."
)


class Outcomes:
    """Answers and records exchanges. *failed* is called with an exchange and the exception of its step."""

    def __init__(self, rooms: Rooms, failed: Callable[[Exchange, BaseException], None]) -> None:
        self._rooms = rooms
        self._failed = failed
        self._write_head = WriteHead()
        self.websockets = WebSockets(rooms.records, self.end)

    def answer(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        """Set the exchange's problem or document as its answer, and copy the request for the record."""
        try:
            self.copy_unsent(flow, exchange)
        except Exception as error:
            exchange.at = "record"
            self._failed(exchange, error)
        self._give(flow, exchange)

    def copy_unsent(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        """Copy an unsent request for the record, unless a copy exists."""
        if exchange.copies.request is not None:
            return
        routed = exchange.get(Routed)
        if routed is not None and not exchange.judged:  # the record names the service even if nothing was sent
            self._write_head(flow, exchange, exchange[Arrived], exchange[Head], routed)
        copy_request(flow, exchange)

    async def record(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        """Record the exchange once. If this fails, withhold its answer; Gate cuts a stream."""
        async with exchange.recording:
            if not exchange.recorded:
                await self._record(flow, exchange)

    async def _record(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        forget_undelivered(exchange)
        try:
            await self._rooms.records.write(flow, exchange)
            exchange.recorded = True
        except RecorderUnavailable:
            self._withhold(flow, exchange, _NOT_RECORDED)
        except asyncio.CancelledError:
            self._withhold(flow, exchange, NOT_READY)
        except Exception as error:
            problem, exchange.at = exchange.problem, "record"
            self._failed(exchange, error)
            self._withhold(flow, exchange, problem or gateway_error())
        finally:
            opened = exchange.recorded and exchange.problem is None and opens(flow, exchange)
            if opened and flow.client_conn.connected:
                self.websockets.begin(flow, exchange)
            else:
                await self.end(flow, exchange)
        found = Http.of.get(flow.client_conn.id)
        if found is not None:
            found.strangers = found.strangers + 1 if exchange.principal is None else 0
        log(exchange)

    async def end(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        """Release the unused limits and approvals of the exchange. A failure here does not affect its caller."""
        try:
            await self._rooms.limits.end(exchange)
            await self._rooms.approvals.end(exchange, unreachable=unreachable(flow, exchange))
        except Exception as error:
            alarm("room_failed", f"{type(error).__name__} in end at {place(error)}; request {exchange.request_id}")

    def conclude(self, exchange: Exchange) -> None:
        """Set the record's copy of an answer that ends early: the delivered part of a stream, or else the refusal."""
        if copy_stream(exchange) is None and exchange.problem is not None:
            self._make_own(exchange)

    def _withhold(self, flow: http.HTTPFlow, exchange: Exchange, problem: Problem) -> None:
        if exchange.stream is None:
            exchange.problem = exchange.problem or problem
            self._give(flow, exchange)

    def _give(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        flow.response = self._make_own(exchange)

    def _make_own(self, exchange: Exchange) -> http.Response:
        answer = exchange.answer = exchange.own_answer()
        exchange.copies.response = refusal_record(answer)
        return answer


def forget_undelivered(exchange: Exchange) -> None:
    """Remove the answer from the record if the caller left before delivery. Keep a refusal."""
    if exchange.left and exchange.stream is None and exchange.problem is None:
        exchange.error = exchange.error or unquoted(exchange.left)
        exchange.copies.response = None
