"""Access for a while: the approval that lets a principal in, if there is one now. Pure."""

from weir.approvals import lifecycle
from weir.approvals.model import Approval
from weir.auth.model import Principal
from weir.connection import Connection
from weir.policies import Policies
from weir.state.model import Snapshot


def open_window(
    policies: Policies, snapshot: Snapshot, principal: Principal, connection: Connection, now: float
) -> Approval | None:
    """What gives *principal* access to *connection* at Unix time *now*: by its rules of now, and by who still may."""
    on_request = connection.on_request
    if on_request is None:
        return None
    wanted = frozenset((on_request.digest,))

    def stands(approval: Approval) -> bool:
        return lifecycle.stands(approval, wanted, policies.directory, snapshot.current)

    return snapshot.window(principal, connection.name, now, on_request.at_most, stands)
