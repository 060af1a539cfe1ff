"""The gateway's answers where mitmproxy would give its own: unparsable heads, size limits, unreachable services.

mitmproxy's answers are HTML, and they name the upstream. Where a flow exists, its own problem is sent, so that the
answer and the record agree; other answers are only counted.
"""

import logging
from typing import Any

from mitmproxy.http import Response
from mitmproxy.net.http import http1

from weir.base.alarms import counters
from weir.base.identifiers import Uuid7
from weir.base.problems import Kind, Problem
from weir.mitm import hooks
from weir.mitm.stream import flow_of, streams_of

logger = logging.getLogger("weir")

NOT_HTTP = Problem(Kind.MALFORMED_REQUEST, "The request is not valid HTTP.")
_BY_STATUS = {
    400: NOT_HTTP,
    413: Problem(Kind.REQUEST_TOO_LARGE, "The request's body is larger than this gateway accepts."),
}
_OTHERWISE = Problem(Kind.UPSTREAM_UNREACHABLE, "The service behind this gateway cannot be reached. Try again later.")

_new_id = Uuid7()


def closing(answer: Problem | Response) -> bytes:
    """Return *answer* as the bytes of an HTTP/1.1 response that ends its connection."""
    if isinstance(answer, Problem):
        request_id = _new_id()
        logger.info(f"weir: {request_id} - nobody - {answer.status} {answer.kind.slug}, before it was a request")
        answer = answer.response(request_id)
    answer.headers["Connection"] = "close"
    return bytes(http1.assemble_response(answer))


def make_error_response(status_code: int, message: str = "") -> bytes:
    """Return the answer to a request that never became a flow. Replaces mitmproxy's function of this name."""
    return closing(_without_a_flow(status_code))


def response_for(server: Any, stream_id: int, status: int | None) -> Response:
    """Return the answer for the stream *stream_id*, which ended with an error; *status* is mitmproxy's."""
    return own_answer(server, stream_id) or _without_a_flow(status or 0).response(_new_id())


def own_answer(server: Any, stream_id: int) -> Response | None:
    """Return the gateway's own answer for the stream *stream_id*, which ended with an error; None if it has none."""
    flow = flow_of(streams_of(server).get(stream_id))
    return hooks.current().answer_of(flow) if flow is not None else None


def _without_a_flow(status: int) -> Problem:
    counters["never_a_flow"] += 1
    return _BY_STATUS.get(status, _OTHERWISE)
