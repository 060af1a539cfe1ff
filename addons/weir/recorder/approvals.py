"""Approvals in the record: one line per change in ``log/<worker>/approvals.jsonl``. The last line of each counts."""

from typing import Any

import msgspec

from weir.approvals.model import Approval
from weir.recorder.journal import timestamp

FILE = "approvals.jsonl"


class ApprovalLine(msgspec.Struct, kw_only=True):
    """One state of an approval. Times are UTC; ``latency`` is in seconds from the request to the decision."""

    approval_id: str
    changed: int
    worker: str
    kind: str
    outcome: str
    asked: str
    decided: str | None = None
    latency: float | None = None
    decided_by: list[str] = []
    reason: str | None = None
    break_glass: bool = False
    connection: str
    issuer: str
    user: str
    operation: str | None = None
    documents: int | None = None
    rules: list[str] = []
    request_id: str | None = None
    used_by: str | None = None
    used: str | None = None
    until: str | None = None
    asked_because: str | None = None


#: The same columns for DuckDB.
COLUMNS: dict[str, str] = {
    "approval_id": "VARCHAR",
    "changed": "BIGINT",
    "worker": "VARCHAR",
    "kind": "VARCHAR",
    "outcome": "VARCHAR",
    "asked": "TIMESTAMP",
    "decided": "TIMESTAMP",
    "latency": "DOUBLE",
    "decided_by": "VARCHAR[]",
    "reason": "VARCHAR",
    "break_glass": "BOOLEAN",
    "connection": "VARCHAR",
    "issuer": "VARCHAR",
    "user": "VARCHAR",
    "operation": "VARCHAR",
    "documents": "BIGINT",
    "rules": "VARCHAR[]",
    "request_id": "VARCHAR",
    "used_by": "VARCHAR",
    "used": "TIMESTAMP",
    "until": "TIMESTAMP",
    "asked_because": "VARCHAR",
}


def encode(approval: Approval, worker: str) -> bytes:
    """Encode *approval* as a JSON line without its newline."""
    decided = approval.decided
    return msgspec.json.encode(
        ApprovalLine(
            approval_id=approval.id,
            changed=approval.changed,
            worker=worker,
            kind=approval.kind,
            outcome=approval.state,
            asked=timestamp(approval.asked),
            decided=_moment(decided),
            latency=round(decided - approval.asked, 3) if decided else None,
            decided_by=[vote.by.name for vote in approval.decisive] if decided else [],
            reason=approval.decided_why() or None,
            break_glass=approval.break_glass,
            connection=approval.connection,
            issuer=approval.requester.issuer,
            user=approval.requester.sub,
            operation=approval.shown.operation or None,
            documents=approval.shown.documents,
            rules=list(approval.rules),
            request_id=approval.request_id or None,
            used_by=approval.used_by or None,
            used=_moment(approval.used),
            until=_moment(approval.until),
            asked_because=approval.reason or None,
        )
    )


def last_changed(lines: list[bytes]) -> int:
    """Return the highest change number in *lines*; -1 if there is none."""
    highest = -1
    for line in lines:
        try:
            highest = max(highest, msgspec.json.decode(line, type=_Changed).changed)
        except msgspec.MsgspecError:
            continue  # torn by a crash
    return highest


class _Changed(msgspec.Struct):
    changed: int


def _moment(seconds: float) -> Any:
    return timestamp(seconds) if seconds else None
