"""Temporary access: find the approval that currently admits a principal. Pure."""

from weir.approvals import lifecycle
from weir.approvals.lifecycle import People
from weir.approvals.model import Approval, OnRequest
from weir.base.principal import Principal
from weir.state.model import Snapshot


def open_window(
    people: People, snapshot: Snapshot, principal: Principal, connection: str, on_request: OnRequest | None, now: float
) -> Approval | None:
    """Return the approval that gives *principal* access to *connection* at Unix time *now*, by the current policies."""
    if on_request is None:
        return None
    wanted = frozenset((on_request.digest,))

    def stands(approval: Approval) -> bool:
        return lifecycle.stands(approval, wanted, people, snapshot.current)

    return snapshot.window(principal, connection, now, on_request.at_most, stands)
