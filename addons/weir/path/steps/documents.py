"""The gateway's own documents: metadata for clients, whoami, and the status of an approval."""

import time
from collections.abc import Awaitable

import msgspec

from weir.approvals.windows import open_window
from weir.base.well_known import APPROVALS
from weir.path import metadata
from weir.path.challenges import base_url
from weir.path.exchange import Arrived, Document, Head, Identified, OwnPath
from weir.path.holds import Approvals
from weir.path.step import Answer
from weir.path.steps.identity import state_unavailable
from weir.policyset.connection import Connection
from weir.routing.model import is_loopback
from weir.state.watcher import StateUnavailable, Watcher


class OwnDocuments:
    """Answer a request for one of the gateway's own documents."""

    name = "own_documents"
    waits = True

    def __init__(self, state: Watcher, approvals: Approvals) -> None:
        self._state = state
        self._approvals = approvals

    def __call__(
        self, arrived: Arrived, head: Head, own: OwnPath | None, identified: Identified | None
    ) -> Awaitable[Answer] | None:
        return self._answer(arrived, head, own, identified) if own is not None else None

    async def _answer(self, arrived: Arrived, head: Head, own: OwnPath, identified: Identified | None) -> Answer:
        if identified is None:
            return Answer(_metadata(arrived, head, own))
        if own.path.startswith(APPROVALS):
            return Answer(await self._approvals.status(own.path.removeprefix(APPROVALS), identified.principal))
        return Answer(self._whoami(arrived, head, identified))

    def _whoami(self, arrived: Arrived, head: Head, identified: Identified) -> Document:
        policies, principal = arrived.policies, identified.principal
        try:
            snapshot = self._state.snapshot()
        except StateUnavailable:
            raise state_unavailable() from None
        found = {
            c.name: open_window(policies.directory, snapshot, principal, c.name, c.on_request, time.time())
            for c in policies.connections
        }
        windows = {name: window for name, window in found.items() if window is not None}
        near = policies.admin.named or is_loopback(arrived.client_ip)  # others cannot reach a loopback address
        admin = policies.admin.url if policies.reviewed and near else None
        url = base_url(arrived, head)

        def url_of(connection: Connection) -> str:
            if head.origin is None:
                return f"{url}{connection.match.path or ''}"
            upstream = connection.upstream  # a proxy's callers use the service's own URL
            return f"{upstream.origin.scheme}://{upstream.origin.authority}{upstream.base_path}"

        document = metadata.whoami(url_of, principal, policies.connections, windows, admin)
        return Document(msgspec.json.encode(document), (("Cache-Control", "no-store"),))


def _metadata(arrived: Arrived, head: Head, own: OwnPath) -> Document:
    issuers = arrived.policies.verifier.issuers.values()
    document = metadata.protected_resource(base_url(arrived, head), own.described, issuers)
    headers = (("Access-Control-Allow-Origin", "*"), ("Cache-Control", "max-age=300"))
    return Document(msgspec.json.encode(document), headers)
