"""How exchanges end: the problem if mitmproxy ended the exchange, the record of a refusal, and the log line."""

import logging

from mitmproxy import http

from weir.base.problems import Kind, Problem
from weir.mitm.messages import TOO_FULL, TOO_SLOW, too_large
from weir.path.exchange import Arrived, Exchange
from weir.recorder.copies import ResponseRecord
from weir.recorder.journal import Outcome
from weir.routing.dial import FORBIDDEN

logger = logging.getLogger("weir")

#: Maximum length of a path in a log line, in bytes.
_LONGEST_LOGGED = 300

REQUEST_TOO_LARGE = Problem(Kind.REQUEST_TOO_LARGE, "The request's body is larger than this gateway accepts.")
RESPONSE_TOO_LARGE = Problem(Kind.RESPONSE_TOO_LARGE, "The service's answer is larger than this gateway accepts.")


def ended_by(exchange: Exchange, message: str) -> Problem:
    """Return the problem for the caller of an exchange that mitmproxy ended with the error *message*."""
    if FORBIDDEN in message:
        return Problem(Kind.DESTINATION_FORBIDDEN, "The service's address may not be reached from this gateway.")
    if TOO_SLOW in message:
        return Problem(Kind.REQUEST_TIMEOUT, "The request's body did not arrive in time.")
    if TOO_FULL in message:
        detail = "The gateway has reached its limit of requests under way. Try again soon."
        return Problem(Kind.OVERLOADED, detail, headers=(("Retry-After", "2"),))
    if (which := too_large(message)) is not None:
        return REQUEST_TOO_LARGE if which == "request" else RESPONSE_TOO_LARGE
    if not exchange.sent:
        return Problem(Kind.MALFORMED_REQUEST, "The request is not valid HTTP.")
    return Problem(Kind.UPSTREAM_UNREACHABLE, "The service behind this gateway cannot be reached. Try again later.")


#: Problems because the service or a part of the gateway failed. All others are decisions of the gateway.
_FAILURES = frozenset((
    Kind.UPSTREAM_UNREACHABLE, Kind.UPSTREAM_UNREADABLE, Kind.RESPONSE_TOO_LARGE, Kind.GATEWAY_ERROR,
    Kind.IDENTITY_UNAVAILABLE, Kind.STATE_UNAVAILABLE, Kind.LIMITS_UNAVAILABLE, Kind.RECORDER_UNAVAILABLE,
))  # fmt: skip


def outcome_of(exchange: Exchange) -> Outcome:
    """Return how the exchange ended, for the record and the log."""
    problem = exchange.problem
    if exchange.left and (problem is None or problem.kind is Kind.WITHDRAWN):
        return "left_by_caller"
    if problem is None:
        return "cut_by_service" if exchange.error else "complete"
    if problem.kind is Kind.UPSTREAM_UNREACHABLE and exchange.upstream_status:
        return "cut_by_service"  # its answer had begun
    return "failed" if problem.kind in _FAILURES else "refused"


def unreachable(flow: http.HTTPFlow, exchange: Exchange) -> bool:
    """True if no byte of the request can have reached its service."""
    if exchange.problem is None or exchange.problem.kind is not Kind.UPSTREAM_UNREACHABLE:
        return False
    server = flow.server_conn
    return server.timestamp_tcp_setup is None or (server.tls and server.timestamp_tls_setup is None)


def refusal_record(answer: http.Response) -> ResponseRecord:
    """Return the record's copy of one of the gateway's own answers."""
    data = answer.data
    return ResponseRecord(data.status_code, data.reason, tuple(data.headers.fields), data.content or b"")


def log(exchange: Exchange) -> None:
    """Log the exchange's outcome in one line."""
    if not logger.isEnabledFor(logging.INFO):
        return
    record, response, arrived = exchange.copies.request, exchange.copies.response, exchange.get(Arrived)
    status = response.status if response else "-"
    path = record.target.partition(b"?")[0][:_LONGEST_LOGGED].decode("utf-8", "replace") if record else ""
    who = exchange.principal.sub if exchange.principal else "nobody"
    ended = outcome_of(exchange)
    outcome = exchange.problem.kind.slug if exchange.problem else "allowed" if ended == "complete" else ended
    name = exchange.connection.name if exchange.connection else "-"
    method = arrived.method if arrived else ""
    logger.info(f"weir: {exchange.request_id} {name} {who!r} {method} {path!r} {status} {outcome}")
