"""The actions of reviewers and requesters on approvals, without HTTP: list, show, decide, request and revoke.

An approval is visible to people who may decide it now, to its requester, and to people who voted on it. For all others
it does not exist.
"""

import time
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec.structs import replace

from weir.admin.stored import NotTold, changes
from weir.approvals import lifecycle
from weir.approvals.lifecycle import LONGEST_REASON, NotPossible
from weir.approvals.model import Approval, Demand, Person, Shown, State, Vote
from weir.base.alarms import alarm
from weir.base.duration import duration
from weir.base.identifiers import Uuid7
from weir.base.mistakes import did_you_mean
from weir.base.principal import Principal
from weir.base.secret import without_tokens
from weir.base.text import inert
from weir.policyset.connection import Connection
from weir.policyset.model import PolicySet
from weir.state.store import Store
from weir.state.watcher import Watcher

#: Maximum number of undecided access requests per person.
MOST_OPEN_WINDOWS = 10
#: Minimum number of last characters that identify an approval.
SHORTEST_ID = 6
#: Maximum number of approvals in one answer about changes.
MOST_LISTED = 1000


class NotFound(Exception):
    """The object does not exist, or this person may not see it."""


class Desk:
    """Handles the actions of people. *record* writes an approval's new state, *tell* an administrative event."""

    def __init__(self, state: Watcher, record: Callable[[Approval], None], tell: Callable[..., None]) -> None:
        self._state = state
        self._record = record
        self._tell = tell
        self._known: dict[tuple[str, str], tuple[float, tuple[str, ...]]] = {}
        self._new_id = Uuid7()

    async def person(self, principal: Principal) -> Person:
        """Return *principal* with the groups of their newest token, so that former groups do not count."""
        person = Person.of(principal)
        if self._known.get(person.key) == (person.issued, person.groups):
            known = await self._state.run(lambda store: store.known_groups(person.key))
        else:
            known = await self._state.run(lambda store: store.know_reviewer(person))
            self._known[person.key] = (person.issued, person.groups)
        return person.keeping(known)

    async def list(self, policies: PolicySet, person: Person, state: State | None, after: int = 0) -> list[Approval]:
        """Return the approvals that *person* may see, oldest first, optionally only those in *state*.

        *after* is a change number; it selects the approvals that have changed since.
        """
        states: tuple[State, ...] = (state,) if state else ("pending", "approved", "denied", "used", "expired",
                                                           "withdrawn", "void", "revoked")  # fmt: skip

        def work(store: Store) -> list[Approval]:
            if after:
                return store.approvals_after(after, MOST_LISTED)
            return [approval for one in states for approval in store.approvals_in(one)]

        now = time.time()
        found = [_as_of(a, now) for a in await self._state.run(work)]
        seen = [a for a in found if (state is None or a.state == state) and self._may_see(policies, a, person)]
        return sorted(seen, key=lambda a: a.asked)

    async def get(self, policies: PolicySet, person: Person, approval_id: str) -> Approval:
        """Return the approval with this id, or with these unique last characters of an id. Raises `NotFound`."""
        if len(approval_id) < SHORTEST_ID:
            raise NotFound(f"give at least the last {SHORTEST_ID} characters of the approval's id")
        if len(approval_id) < 36:
            found = [a for a in await self.list(policies, person, None) if a.id.endswith(approval_id)]
            if len(found) == 1:
                return found[0]
            raise NotFound(f"{len(found) or 'no'} approvals that you may see end in {inert(approval_id)!r}")
        approval = await self._state.run(lambda store: store.approval(approval_id))
        if approval is None or not self._may_see(policies, approval, person):
            raise NotFound("there is no approval with that id that you may see")
        return _as_of(approval, time.time())

    async def decide(
        self,
        policies: PolicySet,
        person: Person,
        approval_id: str,
        *,
        yes: bool,
        reason: str,
        break_glass: bool = False,
    ) -> Approval:
        """Approve or deny. Raises `NotFound` or `NotPossible`."""
        approval = await self.get(policies, person, approval_id)
        if not approval.digests <= _digests(policies, approval.connection):
            raise NotPossible("the policies that required this approval have changed, so it must be requested again")
        reason = _reason(reason)
        if not yes and not reason:
            raise NotPossible("give a reason; the caller sees it")
        people = policies.directory

        def work(store: Store) -> Approval:
            now = time.time()
            vote = Vote(person, yes, reason, now, break_glass)
            return store.change_approval(approval.id, lambda a: lifecycle.decide(a, vote, people, now))

        after = await self._state.run(work)
        self._record(after)
        who = person.name
        self._tell("break_glass" if break_glass else "approved" if yes else "denied", who, subject=after.id,
                   message=reason)  # fmt: skip
        if break_glass:
            alarm("break_glass", f"{who} broke the glass for approval {after.id} of {after.requester.name}: {reason}")
        return after

    async def ask_access(
        self, policies: PolicySet, person: Person, connection: str, seconds: int, reason: str
    ) -> Approval:
        """Request access to a connection for *seconds*. Raises `NotFound` or `NotPossible`."""
        offered = {c.name: c for c in policies.connections if c.on_request is not None}
        found = offered.get(connection)
        if found is None or found.on_request is None:
            raise NotFound(f"no connection {inert(connection)!r} gives access on request"
                           f"{did_you_mean(connection, offered)}")  # fmt: skip
        if not found.access.isdisjoint(person.groups):
            raise NotPossible(f"you may use {found.name} already, since you are in one of its groups")
        if not 0 < seconds <= found.on_request.at_most:
            raise NotPossible(f"access to {found.name} is given for at most {duration(found.on_request.at_most)}")
        reason = _reason(reason)
        if not reason:
            raise NotPossible("give a reason; reviewers see it")
        now = time.time()
        terms = found.on_request.terms
        what = f"Access to {found.name} for {duration(seconds)}."
        demand = Demand("access", found.on_request.digest, what, terms)
        approval = Approval(
            id=self._new_id(),
            kind="access",
            asked=now,
            expires=now + terms.expires,
            requester=person,
            connection=found.name,
            demands=(demand,),
            shown=Shown(operation="access"),
            reason=reason,
            seconds=seconds,
        )
        added = await self._state.run(lambda store: store.add_approval(approval, MOST_OPEN_WINDOWS))
        self._record(added)
        return added

    async def revoke(self, policies: PolicySet, person: Person, approval_id: str) -> Approval:
        """End a reusable approval or access window. Its reviewers and its requester may do so.

        Raises `NotFound` or `NotPossible`.
        """
        approval = await self.get(policies, person, approval_id)
        people = policies.directory
        if person.key != approval.requester.key and not self._may_decide(approval, person, people, time.time()):
            raise NotPossible("you are not one of its reviewers any more")
        after = await self._state.run(
            lambda store: store.change_approval(approval.id, lambda a: lifecycle.revoke(a, time.time()))
        )
        self._record(after)
        self._tell("access_revoked", person.name, subject=after.id)
        return after

    async def shown(
        self, policies: PolicySet, approval: Approval, person: Person, *, differences: bool
    ) -> dict[str, Any]:
        """Return *approval* as a document. *differences* adds the changes of a write, if *person* may decide it."""
        now, people = time.time(), policies.directory
        mine = people.same(person.key, approval.requester.key)
        document: dict[str, Any] = msgspec.to_builtins(approval)
        for name in ("binding", "content", "holder", "held_until"):
            del document[name]
        for demand in document["demands"]:
            del demand["covers"]
        for who in (document["requester"], *(vote["by"] for vote in document["votes"])):
            for name in ("token_id", "sid", "issued"):
                del who[name]
        document["covers"] = [
            {"rule": d.rule, "seconds": d.terms.reuse, "same": list(d.terms.same)}
            for d in approval.demands
            if d.terms.reuse
        ]
        document["waits"] = lifecycle.held(approval, now)
        document["missing"] = lifecycle.needs(approval, people) if approval.state == "pending" else None
        document["yours"] = mine
        document["you_may_decide"] = (
            approval.state == "pending" and not mine and self._may_decide(approval, person, people, now)
        )
        document["url"] = f"{policies.admin.url}/approvals/{approval.id}"
        if differences and document["you_may_decide"]:
            document["changes"], document["changes_unknown"] = None, None
            try:
                document["changes"] = msgspec.to_builtins(await changes(approval, _connection(policies, approval)))
            except NotTold as error:
                document["changes_unknown"] = str(error)
        return document

    @staticmethod
    def _may_decide(approval: Approval, person: Person, people: lifecycle.People, now: float) -> bool:
        vote = Vote(person, True, "", now)
        return people.human(person) and any(
            lifecycle.counts(v, demand.terms, approval.asked, people)
            for demand in approval.demands
            for v in (vote, replace(vote, break_glass=True))
        )

    def _may_see(self, policies: PolicySet, approval: Approval, person: Person) -> bool:
        people = policies.directory
        if person.key == approval.requester.key or any(vote.by.key == person.key for vote in approval.votes):
            return True
        return self._may_decide(approval, person, people, time.time())


def _connection(policies: PolicySet, approval: Approval) -> Connection:
    found = next((c for c in policies.connections if c.name == approval.connection), None)
    if found is None:
        raise NotTold("the connection does not exist any more")
    return found


def _digests(policies: PolicySet, connection: str) -> frozenset[str]:
    """Return the digests of all rules and access terms that can require approvals of *connection* now."""
    found = {
        rule.digest
        for c in policies.connections
        if c.name == connection
        for rule in (*c.rules.rules, *c.response_rules.rules)
    }
    found |= {c.on_request.digest for c in policies.connections if c.name == connection and c.on_request is not None}
    return frozenset(found)


def _as_of(approval: Approval, now: float) -> Approval:
    """Return *approval* with the state that it has at *now*, because it may have expired since it was stored."""
    return lifecycle.expire(approval, now) or approval


def _reason(text: str) -> str:
    reason = inert(without_tokens(" ".join(text.split())))
    if len(reason) > LONGEST_REASON:
        raise NotPossible(f"the reason is longer than {LONGEST_REASON} characters")
    return reason
