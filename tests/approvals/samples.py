"""Approvals for tests."""

from typing import Any

from weir.approvals.model import Approval, Demand, Person, Reviewers, Terms, Vote

LEADS = Terms(reviewers=Reviewers(groups=("acme/leads",)))


def person(sub: str, *groups: str, issuer: str = "acme", issued: float = 0.0) -> Person:
    """Return a person of *issuer*."""
    return Person(issuer, f"https://{issuer}.example", sub, tuple(f"{issuer}/{g}" for g in groups), issued)


ALICE = person("alice", "search")
CAROL = person("carol", "leads")


def approval(approval_id: str = "a-1", *, terms: Terms = LEADS, now: float = 1000.0, **more: Any) -> Approval:
    """Return an approval that alice requests, for one rule with *terms*."""
    settings: dict[str, Any] = {
        "id": approval_id,
        "kind": "request",
        "asked": now,
        "expires": now + terms.expires,
        "requester": ALICE,
        "connection": "reranker",
        "binding": f"binding of {approval_id}",
        "demands": (Demand("wide", "digest", "Wide ones are looked at.", terms),),
    }
    return Approval(**{**settings, **more})


def window(
    requester: Person, connection: str, since: float, until: float, approval_id: str = "w-1", digest: str = "digest"
) -> Approval:
    """Return granted access, under terms with *digest*, approved by a lead of the requester's issuer."""
    groups = (f"{requester.issuer}/leads",)
    terms = Terms(reviewers=Reviewers(groups=groups))
    lead = Vote(person("lead", "leads", issuer=requester.issuer), True, "incident", since)
    return approval(
        approval_id, kind="access", state="approved", requester=requester, connection=connection, now=since, since=since,
        until=until, decided=since, seconds=int(until - since), votes=(lead,), binding="",
        demands=(Demand("access", digest, "", terms),),
    )  # fmt: skip
