"""The life cycle of an approval, step by step. Pure: each step takes an approval and returns the next one, or raises.

A store applies each step atomically to its current state. So if two people decide at once, or two workers would send
the same request, there is only one outcome.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from msgspec.structs import replace

from weir.approvals.model import OPEN, Approval, Person, Reviewers, Shown, Terms, Vote

#: Maximum characters of a reason.
LONGEST_REASON = 500


class NotPossible(Exception):
    """The step is not possible; the message is for people."""


class Undecided(NotPossible):
    """The approval no longer holds, because the rights of its reviewers have changed."""


class People(Protocol):
    """The identities of people, by the current policies."""

    def same(self, one: tuple[str, str], other: tuple[str, str]) -> bool:
        """True if two principals, (iss, sub), are one human."""

    def human(self, person: Person) -> bool:
        """True if *person* is not a machine. Only people decide."""

    def on_call(self, schedule: str, at: float) -> str:
        """Return the user on call at Unix time *at* (``issuer/sub``); empty if there is no such schedule."""


def may_review(person: Person, reviewers: Reviewers, at: float, people: People) -> bool:
    """True if *person* is one of *reviewers* at Unix time *at*."""
    return (
        not set(reviewers.groups).isdisjoint(person.groups)
        or person.name in reviewers.users
        or (bool(reviewers.on_call) and people.on_call(reviewers.on_call, at) == person.name)
    )


def counts(vote: Vote, terms: Terms, asked: float, people: People) -> bool:
    """True if *terms* accept *vote*, for an approval that was requested at *asked*."""
    person, at = vote.by, vote.at
    if vote.break_glass:
        return not set(terms.break_glass).isdisjoint(person.groups)
    return (
        may_review(person, terms.reviewers, at, people)
        or not set(terms.all_of).isdisjoint(person.groups)
        or _escalated(terms, asked, vote, people)
    )


def met(approval: Approval, people: People) -> bool:
    """True if the votes satisfy every demand."""
    return all(_met(demand.terms, approval, people) for demand in approval.demands)


def _met(terms: Terms, approval: Approval, people: People) -> bool:
    votes = _counting(terms, approval, people)
    if any(vote.break_glass for vote in votes):
        return True
    humans = _distinct(votes, people)
    return _enough(terms, approval, humans, people) == 0 and _one_of_each(terms, humans, approval, people)


def _counting(terms: Terms, approval: Approval, people: People) -> list[Vote]:
    """Return the yes votes that count: of people other than the requester, by the currently linked identities."""
    return [
        vote
        for vote in approval.votes
        if vote.yes
        and people.human(vote.by)
        and not people.same(vote.by.key, approval.requester.key)
        and counts(vote, terms, approval.asked, people)
    ]


def _enough(terms: Terms, approval: Approval, humans: Sequence[list[Vote]], people: People) -> int:
    """Return the number of missing reviewers. Votes for ``all_of`` do not replace them."""
    if not terms.reviewers:
        return max(0, terms.count - len(humans))
    reviewers = [
        human
        for human in humans
        if any(
            may_review(vote.by, terms.reviewers, vote.at, people) or _escalated(terms, approval.asked, vote, people)
            for vote in human
        )
    ]
    return max(0, terms.count - len(reviewers))


def _distinct(votes: Iterable[Vote], people: People) -> list[list[Vote]]:
    """Group the votes by human."""
    humans: list[list[Vote]] = []
    for vote in votes:
        same = next((h for h in humans if people.same(h[0].by.key, vote.by.key)), None)
        if same is None:
            humans.append([vote])
        else:
            same.append(vote)
    return humans


def _one_of_each(terms: Terms, humans: Sequence[list[Vote]], approval: Approval, people: People) -> bool:
    """True if every group of ``all_of`` has a human of its own. There are few groups, so all assignments are tried."""

    def place(groups: tuple[str, ...], free: frozenset[int]) -> bool:
        if not groups:
            return True
        return any(
            place(groups[1:], free - {n})
            for n in free
            if any(groups[0] in vote.by.groups or _escalated(terms, approval.asked, vote, people) for vote in humans[n])
        )

    return place(terms.all_of, frozenset(range(len(humans))))


def _escalated(terms: Terms, asked: float, vote: Vote, people: People) -> bool:
    """True if the voter was an escalation reviewer when they voted; the approval was requested at *asked*."""
    late = terms.escalate_after > 0 and vote.at >= asked + terms.escalate_after
    return late and may_review(vote.by, terms.escalate_to, vote.at, people)


def decide(approval: Approval, vote: Vote, people: People, now: float) -> Approval:
    """Add *vote* to *approval*. Raises `NotPossible` if the vote is not allowed."""
    approval = expire(approval, now) or approval
    if approval.state != "pending":
        who = approval.decided_by()
        raise NotPossible(f"it is {approval.state} already{f', by {who}' if who else ''}")
    person = vote.by
    if not people.human(person):
        raise NotPossible("only people decide, and this is the token of a machine")
    if people.same(person.key, approval.requester.key):
        raise NotPossible("nobody decides their own request")
    if vote.break_glass and not (vote.yes and vote.reason):
        raise NotPossible("break-glass needs a yes, with a reason")
    if not any(counts(vote, demand.terms, approval.asked, people) for demand in approval.demands):
        raise NotPossible("you are not one of its reviewers")
    said = [(v.yes, v.break_glass) for v in approval.votes if people.same(v.by.key, person.key)]
    if (vote.yes, vote.break_glass) in said:
        raise NotPossible("you have already cast this vote")
    voted = replace(approval, votes=(*approval.votes, vote))
    if not vote.yes:
        return replace(voted, state="denied", decided=now)
    if not met(voted, people):
        return voted
    window = voted.seconds or max((demand.terms.reuse for demand in voted.demands), default=0)
    return replace(
        voted,
        state="approved",
        decided=now,
        expires=now + (voted.expires - voted.asked),
        since=now if window else 0.0,
        until=now + window if window else 0.0,
    )


def needs(approval: Approval, people: People) -> str:
    """Return the missing votes, in words."""
    missing = []
    for demand in approval.demands:
        terms = demand.terms
        if _met(terms, approval, people):
            continue
        humans = _distinct(_counting(terms, approval, people), people)
        if lacking := _enough(terms, approval, humans, people):
            missing.append(f"{lacking} of {who(terms.reviewers) if terms.reviewers else ', '.join(terms.all_of)}")
        if not _one_of_each(terms, humans, approval, people):
            missing.append(f"one of each of {', '.join(terms.all_of)}")
    return "; ".join(dict.fromkeys(missing))


def who(reviewers: Reviewers) -> str:
    """Return *reviewers* in words."""
    on_call = (f"the person on call for {reviewers.on_call}",) if reviewers.on_call else ()
    return ", ".join((*reviewers.groups, *reviewers.users, *on_call)) or "nobody"


def hold(approval: Approval, request_id: str, until: float, now: float) -> Approval:
    """Let *request_id* wait for the approval. Raises `NotPossible` if another request does."""
    if approval.state not in OPEN or now >= approval.expires:
        raise NotPossible("it is closed, or it has expired")
    if held(approval, now) and approval.holder != request_id:
        raise NotPossible("another request waits for it")
    return replace(approval, holder=request_id, held_until=until)


def held(approval: Approval, now: float) -> bool:
    """True if a request waits for the approval."""
    return bool(approval.holder) and now < approval.held_until


def let_go(approval: Approval, request_id: str) -> Approval | None:
    """Stop the wait of *request_id*, so that the same request can take its place. None if it did not wait."""
    return replace(approval, holder="", held_until=0.0) if approval.holder == request_id else None


def withdraw(approval: Approval, request_id: str, now: float) -> Approval | None:
    """Withdraw the approval because its caller has left. None if it is not open, or if another request waits."""
    if approval.state not in OPEN or approval.holder != request_id:
        return None
    return replace(approval, state="withdrawn", ended=now, holder="", held_until=0.0, shown=brief(approval.shown))


def make_void(approval: Approval, now: float) -> Approval | None:
    """Make the approval void because the policy has changed. None if it is not open."""
    ended = replace(approval, state="void", ended=now, shown=brief(approval.shown))
    return ended if approval.state in OPEN else None


def take(
    approval: Approval,
    request_id: str,
    digests: frozenset[str],
    content: str,
    now: float,
    people: People,
    current: Callable[[Vote], Vote | None],
) -> Approval:
    """Use the approval once, for *request_id*. *digests* are the rules that require it now. Raises `NotPossible`.

    *current* returns each vote with its reviewer's current groups, or None if it no longer counts.
    """
    if approval.state != "approved":
        raise NotPossible(f"it is {approval.state}")
    if now >= approval.expires:
        raise NotPossible("it has expired")
    if held(approval, now) and approval.holder != request_id:
        raise NotPossible("another request waits for it")
    if not digests <= approval.digests:
        raise NotPossible("the rule that requires it has changed")
    if approval.content != content:
        raise NotPossible("it belongs to another response")
    if not stands(approval, digests, people, current):
        raise Undecided("its reviewers may no longer approve it")
    return replace(approval, state="used", used_by=request_id, used=now, ended=now, holder="", held_until=0.0)


def brief(shown: Shown) -> Shown:
    """Return the part of *shown* that is kept without a decision, because callers can ask for much and leave."""
    return Shown(operation=shown.operation, method=shown.method, path=shown.path[:200], documents=shown.documents)


def stands(approval: Approval, digests: frozenset[str], people: People, current: Callable[[Vote], Vote | None]) -> bool:
    """True if the approval still holds: for these rules, and by people who may still approve."""
    votes = tuple(vote for vote in map(current, approval.votes) if vote is not None)
    return digests <= approval.digests and met(replace(approval, votes=votes), people)


def give_back(approval: Approval, request_id: str) -> Approval | None:
    """Make the approval usable again because *request_id* could not be sent. None if *request_id* did not use it."""
    if approval.state != "used" or approval.used_by != request_id:
        return None
    return replace(approval, state="approved", used_by="", used=0.0, ended=0.0)


def expire(approval: Approval, now: float) -> Approval | None:
    """Expire the approval if it was not decided or used in time, else None. Windows and reuse end separately."""
    given = approval.state == "approved" and (approval.kind == "access" or now < approval.until)
    if approval.state not in OPEN or now < approval.expires or given:
        return None
    return replace(approval, state="expired", ended=approval.expires, shown=brief(approval.shown))


def revoke(approval: Approval, now: float) -> Approval:
    """End temporary access or reuse now. Raises `NotPossible`."""
    if approval.state not in ("approved", "used") or now >= approval.until:
        raise NotPossible("it gives no access that could be revoked")
    return replace(approval, state="revoked", ended=now, until=min(approval.until, now))
