"""What can become of an approval, step by step. Pure: an approval in, the next one out, or why not.

A store applies each step to what stands in it at that moment, atomically; so two who decide at once, or two
workers that would send the same request, have one outcome.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from msgspec.structs import replace

from weir.approvals.model import OPEN, Approval, Person, Reviewers, Shown, Terms, Vote

#: Characters of a reason.
LONGEST_REASON = 500


class NotPossible(Exception):
    """This step cannot be taken; the message tells a person why."""


class Undecided(NotPossible):
    """The approval is approved no more: the rights of those who said yes have changed."""


class People(Protocol):
    """Who is who, as the current policies say."""

    def same(self, one: tuple[str, str], other: tuple[str, str]) -> bool:
        """Whether two principals, (iss, sub), are one human."""

    def human(self, iss: str) -> bool:
        """Whether an issuer's principals are people: only they decide."""

    def on_call(self, schedule: str, at: float) -> str:
        """Who is on call at Unix time *at* (``issuer/sub``); empty where there is no such schedule."""


def may_review(person: Person, reviewers: Reviewers, at: float, people: People) -> bool:
    """Whether *person* is one of *reviewers* at Unix time *at*."""
    return (
        not set(reviewers.groups).isdisjoint(person.groups)
        or person.name in reviewers.users
        or (bool(reviewers.on_call) and people.on_call(reviewers.on_call, at) == person.name)
    )


def counts(vote: Vote, terms: Terms, asked: float, people: People) -> bool:
    """Whether *vote* is one of those whom *terms* want, of an approval that was asked for at *asked*."""
    person, at = vote.by, vote.at
    if vote.break_glass:
        return not set(terms.break_glass).isdisjoint(person.groups)
    return (
        may_review(person, terms.reviewers, at, people)
        or not set(terms.all_of).isdisjoint(person.groups)
        or _escalated(terms, asked, vote, people)
    )


def met(approval: Approval, people: People) -> bool:
    """Whether the votes are all that every demand wants."""
    return all(_met(demand.terms, approval, people) for demand in approval.demands)


def _met(terms: Terms, approval: Approval, people: People) -> bool:
    votes = _counting(terms, approval, people)
    if any(vote.break_glass for vote in votes):
        return True
    humans = _distinct(votes, people)
    return _enough(terms, approval, humans, people) == 0 and _one_of_each(terms, humans, approval, people)


def _counting(terms: Terms, approval: Approval, people: People) -> list[Vote]:
    """The yeses that count: of people, and not of whoever asks, as identities are linked now."""
    return [
        vote
        for vote in approval.votes
        if vote.yes
        and people.human(vote.by.iss)
        and not people.same(vote.by.key, approval.requester.key)
        and counts(vote, terms, approval.asked, people)
    ]


def _enough(terms: Terms, approval: Approval, humans: Sequence[list[Vote]], people: People) -> int:
    """How many of the reviewers are missing; those of ``all_of`` do not stand in for them."""
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
    """The votes of each human."""
    humans: list[list[Vote]] = []
    for vote in votes:
        same = next((h for h in humans if people.same(h[0].by.key, vote.by.key)), None)
        if same is None:
            humans.append([vote])
        else:
            same.append(vote)
    return humans


def _one_of_each(terms: Terms, humans: Sequence[list[Vote]], approval: Approval, people: People) -> bool:
    """Whether every group of ``all_of`` has a human of its own. Groups are few: all ways are tried."""

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
    """Whether *vote* is of one to whom what was asked for at *asked* has been escalated by then."""
    late = terms.escalate_after > 0 and vote.at >= asked + terms.escalate_after
    return late and may_review(vote.by, terms.escalate_to, vote.at, people)


def decide(approval: Approval, vote: Vote, people: People, now: float) -> Approval:
    """*approval* with *vote*. Raises `NotPossible` where it may not be cast."""
    approval = expire(approval, now) or approval
    if approval.state != "pending":
        who = approval.decided_by()
        raise NotPossible(f"it is {approval.state} already{f', by {who}' if who else ''}")
    person = vote.by
    if not people.human(person.iss):
        raise NotPossible("only people decide, and this is the token of a machine")
    if people.same(person.key, approval.requester.key):
        raise NotPossible("nobody decides their own request")
    if vote.break_glass and not (vote.yes and vote.reason):
        raise NotPossible("breaking the glass is a yes, with a reason")
    if not any(counts(vote, demand.terms, approval.asked, people) for demand in approval.demands):
        raise NotPossible("you are not one of its reviewers")
    said = [(v.yes, v.break_glass) for v in approval.votes if people.same(v.by.key, person.key)]
    if (vote.yes, vote.break_glass) in said:
        raise NotPossible("you have said so already")
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
    """What is still missing, in words."""
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
    """*reviewers* in words."""
    on_call = (f"whoever is on call for {reviewers.on_call}",) if reviewers.on_call else ()
    return ", ".join((*reviewers.groups, *reviewers.users, *on_call)) or "nobody"


def hold(approval: Approval, request_id: str, until: float, now: float) -> Approval:
    """*request_id* waits for it. Raises `NotPossible` where another does."""
    if approval.state not in OPEN or now >= approval.expires:
        raise NotPossible("it is over")
    if held(approval, now) and approval.holder != request_id:
        raise NotPossible("another request waits for it")
    return replace(approval, holder=request_id, held_until=until)


def held(approval: Approval, now: float) -> bool:
    """Whether a request waits for it."""
    return bool(approval.holder) and now < approval.held_until


def let_go(approval: Approval, request_id: str) -> Approval | None:
    """*request_id* waits no longer; the same request sent again can take its place. None where it did not wait."""
    return replace(approval, holder="", held_until=0.0) if approval.holder == request_id else None


def withdraw(approval: Approval, request_id: str, now: float) -> Approval | None:
    """The caller who waited has left. None where nothing of it is open, or another waits."""
    if approval.state not in OPEN or approval.holder != request_id:
        return None
    return replace(approval, state="withdrawn", ended=now, holder="", held_until=0.0, shown=brief(approval.shown))


def make_void(approval: Approval, now: float) -> Approval | None:
    """The policy asks for something else now."""
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
    """Use it for *request_id*: once. *digests* are the rules that ask now. Raises `NotPossible`.

    *current* gives each vote with the groups that its reviewer still has; None where it counts no more.
    """
    if approval.state != "approved":
        raise NotPossible(f"it is {approval.state}")
    if now >= approval.expires:
        raise NotPossible("it has expired")
    if held(approval, now) and approval.holder != request_id:
        raise NotPossible("another request waits for it")
    if not digests <= approval.digests:
        raise NotPossible("the rule that asks for it is another now")
    if approval.content != content:
        raise NotPossible("it is of another response")
    if not stands(approval, digests, people, current):
        raise Undecided("those who approved it may not any more")
    return replace(approval, state="used", used_by=request_id, used=now, ended=now, holder="", held_until=0.0)


def brief(shown: Shown) -> Shown:
    """What is kept of what nobody decided: callers can ask for much, and leave."""
    return Shown(operation=shown.operation, method=shown.method, path=shown.path[:200], documents=shown.documents)


def stands(approval: Approval, digests: frozenset[str], people: People, current: Callable[[Vote], Vote | None]) -> bool:
    """Whether the yes holds still: for these rules, and by people who still may."""
    votes = tuple(vote for vote in map(current, approval.votes) if vote is not None)
    return digests <= approval.digests and met(replace(approval, votes=votes), people)


def give_back(approval: Approval, request_id: str) -> Approval | None:
    """*request_id* could not be sent at all: what it used can be used again."""
    if approval.state != "used" or approval.used_by != request_id:
        return None
    return replace(approval, state="approved", used_by="", used=0.0, ended=0.0)


def expire(approval: Approval, now: float) -> Approval | None:
    """It was not decided, or not used, in time. None where there is time; what it gives for a while has its own end."""
    given = approval.state == "approved" and (approval.kind == "access" or now < approval.until)
    if approval.state not in OPEN or now < approval.expires or given:
        return None
    return replace(approval, state="expired", ended=approval.expires, shown=brief(approval.shown))


def revoke(approval: Approval, now: float) -> Approval:
    """What it gave for a while ends now. Raises `NotPossible`."""
    if approval.state not in ("approved", "used") or now >= approval.until:
        raise NotPossible("it gives nothing that could be revoked")
    return replace(approval, state="revoked", ended=now, until=min(approval.until, now))
