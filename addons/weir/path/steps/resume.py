"""Resume: continue a request after its wait for approval, under the current policies."""

from collections.abc import Awaitable, Callable

from weir.base.problems import Kind, Refusal
from weir.path.exchange import Answered, Arrived, Exchange, Hold, Identified, Routed
from weir.path.step import Skip
from weir.path.steps.arrive import NOT_READY
from weir.path.steps.identity import Identity
from weir.path.steps.reading import read_again
from weir.path.steps.rules import Access, JudgeRequest
from weir.policyset.model import PolicySet


class Resume:
    """Take the current policies and check the caller again, if the exchange has waited for approval; else do nothing.

    Approval steps send exchanges back to this step. They decide later whether the exchange goes on.
    """

    name = "resume"
    waits = True
    stand_in = Skip("resume")

    def __init__(
        self, policies: Callable[[], PolicySet | None], identity: Identity, access: Access, judge: JudgeRequest
    ) -> None:
        """*policies* returns the current policies; None while the gateway stops."""
        self._policies = policies
        self._identity = identity
        self._access = access
        self._judge = judge

    def __call__(
        self, exchange: Exchange, arrived: Arrived, routed: Routed, identified: Identified, hold: Hold | None
    ) -> Awaitable[None] | None:
        if hold is None or not hold.waited:
            return None
        hold.waited = False
        return self._resume(exchange, arrived, routed, identified)

    async def _resume(self, exchange: Exchange, arrived: Arrived, routed: Routed, identified: Identified) -> None:
        policies, before = self._policies(), routed.connection
        if policies is None:
            raise Refusal.of(NOT_READY)
        changed = policies is not arrived.policies
        if changed:
            now = next((c for c in policies.connections if c.name == before.name and c.match == before.match), None)
            if now is None:
                detail = "The connection changed while the request waited. Send the request again."
                raise Refusal(Kind.UNKNOWN_CONNECTION, detail)
            arrived.policies, routed.connection = policies, now
        await self._identity.again(exchange)
        self._access(exchange, arrived, routed, identified)
        if changed and Answered in exchange:  # a waiting request is judged by the next steps, but this one was sent
            self._judge(exchange, routed, identified, read_again(exchange))
