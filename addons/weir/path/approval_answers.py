"""What callers see of approvals: the refusals (requested, denied, over), and the status document. Pure."""

from typing import Any

from weir.approvals import lifecycle
from weir.approvals.model import Approval
from weir.base.problems import Kind, Refusal
from weir.base.well_known import APPROVALS
from weir.path.challenges import base_url
from weir.path.exchange import Arrived, Head

#: Seconds until a caller may ask again.
RETRY = 10

_NEXT = {
    "pending": "Reviewers have not decided yet. Ask again later; once it is approved, send the same request again.",
    "approved": "Send the same request again: it passes once.",
    "denied": "Reviewers denied the request; see the reason.",
    "used": "The approved request or answer has been sent.",
}


def unavailable() -> Refusal:
    """Return the refusal 503: the shared state does not answer."""
    return Refusal(
        Kind.STATE_UNAVAILABLE,
        "The gateway cannot ask for approvals now, and passes nothing that needs one. Try again later.",
        headers=(("Retry-After", "5"),),
    )


def denied(approval: Approval) -> Refusal:
    """Return the refusal 403: a reviewer denied it. Names the reviewer and the reason."""
    why = approval.decided_why()
    message = f"{approval.decided_by()} denied this{f': {why}' if why else ', without a reason'}."
    return Refusal(Kind.APPROVAL_DENIED, message, rule=approval.rules[0], members=(("approval_id", approval.id),))


def over(approval: Approval) -> Refusal:
    """Return the refusal 403: the approval is expired, void or revoked."""
    words = {"expired": "No reviewer decided in time", "void": "The rule that asks for approval has changed"}
    message = f"{words.get(approval.state, f'The approval is {approval.state}')}. Send the request again to ask anew."
    members = (("approval_id", approval.id),)
    return Refusal(Kind.APPROVAL_REQUIRED, message, rule=approval.rules[0], members=members)


def pending(arrived: Arrived, head: Head, approval: Approval, *, async_: bool) -> Refusal:
    """Return the refusal of an undecided approval, with its status URL: 403, or 202 if the caller asked not to wait."""
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
    """Return the URL at which reviewers decide. Empty if this URL works only on the gateway's machine."""
    admin = arrived.policies.admin
    return (("review_url", f"{admin.url}/approvals/{approval.id}"),) if admin.named else ()


def status(approval: Approval, now: float) -> dict[str, Any]:
    """Return the status of *approval* for its requester."""
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
        "next": _NEXT.get(state, "This approval is over. Send the request again to ask for a new approval."),
    }
