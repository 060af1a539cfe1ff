"""Approval: decide whether a request or an answer must wait for reviewers, and hold it (`weir.path.holds`).

It waits if a rule demands an approval (`rules.py`) that it does not have yet. After the wait, the exchange goes back to
the step `resume` and is judged again.
"""

from collections.abc import Awaitable

from mitmproxy import http

from weir.approvals import lifecycle
from weir.approvals.model import Shown
from weir.approvals.shelf import Kept
from weir.approvals.shown import shown_request, shown_response
from weir.base.problems import Kind, Refusal
from weir.base.secret import without_keys
from weir.mitm.handlers import bounded
from weir.path.exchange import (
    Answered,
    Arrived,
    Exchange,
    Hold,
    Judged,
    JudgedAnswer,
    Matched,
    Read,
    Rehearsed,
    Routed,
)
from weir.path.holds import Approvals
from weir.path.step import Again
from weir.path.steps import masking
from weir.path.steps.credential import scrubber
from weir.path.steps.reading import ranking_of, read_again
from weir.path.steps.rules import judged_facts


class RefuseDemanded:
    """Stand-in: refuse if an approval is demanded, since a rehearsal asks no reviewer."""

    def __init__(self, name: str, of: type[Judged] | type[JudgedAnswer]) -> None:
        self.name = name
        self._of: type[Judged] | type[JudgedAnswer] = of

    def __call__(self, exchange: Exchange, rehearsed: Rehearsed) -> None:
        judged = exchange.get(self._of)
        if judged is None or not judged.demanded:
            return
        rule = judged.demanded[0]
        asked = "; ".join(
            f"{r.name} needs {r.terms.count} of {lifecycle.who(r.terms.reviewers)}" for r in judged.demanded
        )
        message = rule.message or f"The rule {rule.name} asks for approval."
        raise Refusal(Kind.APPROVAL_REQUIRED, f"{message} ({asked})", rule=rule.name)


class ApproveRequest:
    """Hold the request until all demanded approvals are given. Then judge it again by the current policies."""

    name = "approve_request"
    waits = True
    again = "resume"
    stand_in = RefuseDemanded("approve_request", Judged)

    def __init__(self, approvals: Approvals) -> None:
        self._approvals = approvals

    def __call__(
        self, flow: http.HTTPFlow, exchange: Exchange, judged: Judged, hold: Hold | None
    ) -> Awaitable[Again | None] | None:
        if (hold is None and not judged.demanded) or (hold is not None and hold.kept is not None):
            return None
        return self._approve(flow, exchange, judged)

    async def _approve(self, flow: http.HTTPFlow, exchange: Exchange, judged: Judged) -> Again | None:
        if judged.demanded:
            await self._approvals.bind(exchange)
            if exchange.left:  # else it would consume an approval or ask reviewers
                return None
            if not await self._approvals.take(exchange, judged.demanded, judged.facts):
                await self._wait(flow, exchange)
                return Again("resume")
            if exchange.problem is not None:  # revoked or stopped meanwhile
                raise Refusal.of(exchange.problem)
        await self._approvals.settle(exchange)
        return None

    async def _wait(self, flow: http.HTTPFlow, exchange: Exchange) -> None:
        try:
            with bounded(flow.client_conn):
                await self._approvals.wait(flow.client_conn, exchange, lambda: _shown_request(exchange))
        except Refusal:
            read_again(exchange)  # the record needs it
            exchange.put(judged_facts(exchange))
            raise


class ApproveAnswer:
    """Hold the answer until all demanded approvals are given. Then judge it again by the current policies."""

    name = "approve_answer"
    waits = True
    again = "resume"
    stand_in = RefuseDemanded("approve_answer", JudgedAnswer)

    def __init__(self, approvals: Approvals) -> None:
        self._approvals = approvals

    def __call__(
        self,
        flow: http.HTTPFlow,
        exchange: Exchange,
        answered: Answered,
        judged: JudgedAnswer | None,
        hold: Hold | None,
    ) -> Awaitable[Again | None] | None:
        if hold is None and (judged is None or not judged.demanded):
            return None
        return self._approve(flow, exchange, answered, judged)

    async def _approve(
        self, flow: http.HTTPFlow, exchange: Exchange, answered: Answered, judged: JudgedAnswer | None
    ) -> Again | None:
        if judged is not None and judged.demanded:
            if exchange.get(Hold) is None:
                await self._approvals.bind(exchange)
            content = self._approvals.content_of(answered.status, answered.content_type, answered.body)
            if not await self._approvals.take(exchange, judged.demanded, judged.facts, content):
                # The answer is kept without reflected credentials: it may be fetched after the credential has changed.
                keep = Kept(answered.status, tuple(answered.fields), answered.body)
                with bounded(flow.client_conn):
                    await self._approvals.wait(
                        flow.client_conn, exchange, lambda: _shown_answer(exchange), content=content, keep=keep
                    )
                return Again("resume")
        await self._approvals.settle(exchange)
        return None


def _shown_request(exchange: Exchange) -> Shown:
    call, document, target = masking.shown_request(exchange)
    operation = exchange[Matched].operation
    elsewhere = operation.shown_members if operation is not None else ()
    path, _, query = target.partition("?")
    parameters = without_keys(f"?{query}".encode())[1:].decode("utf-8", "replace")
    return shown_request(exchange[Arrived].method, path, parameters, call, document, elsewhere, scrubber(exchange))


def _shown_answer(exchange: Exchange) -> Shown:
    """Return the answer for reviewers. It is parsed again, so that masking does not change the exchange."""
    request, matched, answered = _shown_request(exchange), exchange[Matched], exchange[Answered]
    call = masking.shown_request(exchange)[0]
    document = masking.shown_answer(exchange[Routed], answered)
    ranking = ranking_of(exchange, matched, exchange[Read], document)
    operation, documents = matched.operation, call.documents or []

    def texts(entry: object, index: int | None) -> list[str]:
        if operation is None:
            return []
        known = index is not None and 0 <= index < len(documents)
        return operation.answer.texts_of(entry, documents[index] if known and index is not None else "")

    return shown_response(request, answered.status, ranking, texts, document, scrubber(exchange))
