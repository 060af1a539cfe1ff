"""What reviewers and requesters do with approvals: seen, decided, asked for, revoked. HTTP knows nothing of this.

Who may see an approval: whoever may decide it now, whoever asked for it, and whoever has decided it. To anybody else
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

#: Windows that one person may have asked for and that are not decided.
MOST_OPEN_WINDOWS = 10
#: Characters of an approval's id that name it.
SHORTEST_ID = 6
#: Approvals in one answer about what has changed.
MOST_LISTED = 1000


class NotFound(Exception):
    """There is no such thing for this person."""


class Desk:
    """Approvals as people handle them. *record* writes what became of one."""

    def __init__(self, state: Watcher, record: Callable[[Approval], None], tell: Callable[..., None]) -> None:
        self._state = state
        self._record = record
        self._tell = tell  # an administrative event
        self._known: dict[tuple[str, str], tuple[float, tuple[str, ...]]] = {}
        self._new_id = Uuid7()

    async def person(self, principal: Principal) -> Person:
        """*principal* with the groups that their newest token gave them: a former group counts no more."""
        person = Person.of(principal)
        if self._known.get(person.key) == (person.issued, person.groups):
            known = await self._state.run(lambda store: store.known_groups(person.key))
        else:
            known = await self._state.run(lambda store: store.know_reviewer(person))
            self._known[person.key] = (person.issued, person.groups)
        return person.keeping(known)

    async def list(self, policies: PolicySet, person: Person, state: State | None, after: int = 0) -> list[Approval]:
        """Approvals that *person* may see, oldest first; all that are kept where no *state* is named.

        With *after*, those that have changed since that change.
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
        """One approval, by its id or by so many of its last characters as no other has. Raises `NotFound`."""
        if len(approval_id) < SHORTEST_ID:
            raise NotFound(f"an approval is named by {SHORTEST_ID} of its last characters at least")
        if len(approval_id) < 36:
            found = [a for a in await self.list(policies, person, None) if a.id.endswith(approval_id)]
            if len(found) == 1:
                return found[0]
            raise NotFound(f"{len(found) or 'no'} approvals that you may see end in {inert(approval_id)!r}")
        approval = await self._state.run(lambda store: store.approval(approval_id))
        if approval is None or not self._may_see(policies, approval, person):
            raise NotFound("there is no approval of that id that you may see")
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
        """Say yes or no. Raises `NotFound` or `NotPossible`."""
        approval = await self.get(policies, person, approval_id)
        if not approval.digests <= _digests(policies, approval.connection):
            raise NotPossible("what asks for it has changed in the policies, so it has to be asked for again")
        reason = _reason(reason)
        if not yes and not reason:
            raise NotPossible("say why: the caller is told")
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
        """Ask for access to a connection for a while. Raises `NotFound` or `NotPossible`."""
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
            raise NotPossible("say why: reviewers are shown it")
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
        """End what an approval gives for a while, by one who could give it or who has it. May raise as `decide`."""
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
        """*approval* as a document; with what it would change, where *person* may decide it and asks for that."""
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
        return people.human(person.iss) and any(
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
        raise NotTold("there is no such connection any more")
    return found


def _digests(policies: PolicySet, connection: str) -> frozenset[str]:
    """What may ask for approvals of that connection now."""
    found = {
        rule.digest
        for c in policies.connections
        if c.name == connection
        for rule in (*c.rules.rules, *c.response_rules.rules)
    }
    found |= {c.on_request.digest for c in policies.connections if c.name == connection and c.on_request is not None}
    return frozenset(found)


def _as_of(approval: Approval, now: float) -> Approval:
    """*approval*, which may have run out without anybody having noticed."""
    return lifecycle.expire(approval, now) or approval


def _reason(text: str) -> str:
    reason = inert(without_tokens(" ".join(text.split())))
    if len(reason) > LONGEST_REASON:
        raise NotPossible(f"the reason is longer than {LONGEST_REASON} characters")
    return reason
