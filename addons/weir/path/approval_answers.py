"""What callers are told of approvals: that one is asked for, was denied, or is over, and how it stands. Pure."""

from typing import Any

from weir.approvals import lifecycle
from weir.approvals.model import Approval
from weir.base.problems import Kind, Refusal
from weir.base.well_known import APPROVALS
from weir.path.challenges import base_url
from weir.path.exchange import Arrived, Head

#: Seconds after which a caller may ask again.
RETRY = 10

_NEXT = {
    "pending": "Reviewers have not decided yet. Ask again later; once it is approved, send the same request again.",
    "approved": "Send the same request again: it passes once.",
    "denied": "Reviewers said no; see the reason.",
    "used": "What was approved has been sent.",
}


def unavailable() -> Refusal:
    """The shared state does not answer: 503."""
    return Refusal(
        Kind.STATE_UNAVAILABLE,
        "The gateway cannot ask for approvals now, and passes nothing without. Try again later.",
        headers=(("Retry-After", "5"),),
    )


def denied(approval: Approval) -> Refusal:
    """Somebody said no: 403, with who and why."""
    why = approval.decided_why()
    message = f"{approval.decided_by()} denied this{f': {why}' if why else ', without saying why'}."
    return Refusal(Kind.APPROVAL_DENIED, message, rule=approval.rules[0], members=(("approval_id", approval.id),))


def over(approval: Approval) -> Refusal:
    """It has expired, or is void or revoked: 403."""
    words = {"expired": "Nobody decided in time", "void": "The rule that asks for approval has changed"}
    message = f"{words.get(approval.state, f'The approval is {approval.state}')}. Send the request again to ask anew."
    members = (("approval_id", approval.id),)
    return Refusal(Kind.APPROVAL_REQUIRED, message, rule=approval.rules[0], members=members)


def pending(arrived: Arrived, head: Head, approval: Approval, *, async_: bool) -> Refusal:
    """Nobody has said enough yet: 403, or 202 for a caller who did not want to wait; with where its status is."""
    url = f"{base_url(arrived, head)}{APPROVALS}{approval.id}"
    members = (("approval_id", approval.id), ("status_url", url), *_review_url(arrived, approval))
    message = approval.demands[0].message or f"The rule {approval.rules[0]} asks for a reviewer's approval."
    detail = f"{message} It waits for a reviewer. Send the same request again once {url} says that it is approved."
    headers: tuple[tuple[str, str], ...] = (("Retry-After", str(RETRY)), ("Location", url))
    kind = Kind.APPROVAL_PENDING
    if async_:
        kind, headers = Kind.APPROVAL_ACCEPTED, (*headers, ("Preference-Applied", "respond-async"))
    return Refusal(kind, detail, rule=approval.rules[0], headers=headers, members=members)


def _review_url(arrived: Arrived, approval: Approval) -> tuple[tuple[str, str], ...]:
    """Where reviewers decide, for the caller to pass on; not where it is known on this machine only."""
    admin = arrived.policies.admin
    return (("review_url", f"{admin.url}/approvals/{approval.id}"),) if admin.named else ()


def status(approval: Approval, now: float) -> dict[str, Any]:
    """How *approval* stands, as its requester may know it."""
    state = "expired" if lifecycle.expire(approval, now) is not None else approval.state
    return {
        "approval_id": approval.id,
        "status": state,
        "rules": approval.rules,
        "connection": approval.connection,
        "asked": approval.asked,
        "expires": approval.expires,
        "decided": approval.decided or None,
        "by": approval.decided_by() or None,
        "reason": approval.decided_why() or None,
        "until": approval.until or None,
        "next": _NEXT.get(state, "This approval is over; sending the request again asks for another."),
    }
