"""Kept answers: an answer that waited for approval is kept by this worker, for the same request sent again.

The steps find the answer to a repeated request, and deliver it instead of sending the request again.
"""

import time
from collections.abc import Awaitable

from mitmproxy import http

from weir.approvals.shelf import Kept
from weir.path.exchange import Body, Exchange, Hold, Routed
from weir.path.holds import Approvals
from weir.path.step import Answer


class NothingKept:
    """Stand-in: find nothing, since a rehearsal has no earlier answers."""

    name = "find_kept"

    def __call__(self) -> None:
        return None


class FindKept:
    """Find the answer that this worker keeps for this exact request: approved, or still waiting for approval.

    The earlier request was allowed and sent, so it is neither approved nor sent again. If another worker keeps the
    answer, or if reviewers denied it, refuse the request.
    """

    name = "find_kept"
    waits = True
    stand_in = NothingKept()

    def __init__(self, approvals: Approvals) -> None:
        self._approvals = approvals

    def __call__(self, exchange: Exchange, routed: Routed, body: Body, hold: Hold | None) -> Awaitable[Hold] | None:
        if not routed.connection.holds_responses or hold is not None:  # the request itself has waited, and continues
            return None
        return self._find(exchange)

    async def _find(self, exchange: Exchange) -> Hold:
        hold = await self._approvals.bind(exchange)
        hold.kept = self._approvals.kept(exchange)
        if hold.kept is None:
            await self._approvals.refuse_again(exchange)
        return hold


class DeliverKept:
    """Answer with the kept answer. Its response phase runs as if the service had sent it now."""

    name = "deliver_kept"

    def __call__(self, hold: Hold | None) -> Answer | None:
        return Answer(_response(hold.kept), upstream=True) if hold is not None and hold.kept is not None else None


def _response(kept: Kept) -> http.Response:
    return http.Response(
        http_version=b"HTTP/1.1",
        status_code=kept.status,
        reason=b"",
        headers=http.Headers(kept.fields),
        content=kept.content,
        trailers=None,
        timestamp_start=time.time(),
        timestamp_end=time.time(),
    )
