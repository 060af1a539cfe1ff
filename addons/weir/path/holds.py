"""Holds: requests and answers wait here until enough reviewers have approved them.

A wait ends when reviewers decide, the caller leaves, the rule's hold is over, the caller is revoked, the policies are
reloaded, or the gateway stops. A request that continues is judged again first. Then it takes its approval in the shared
state: only one request can take it, once.
"""

import asyncio
import contextlib
import dataclasses
import functools
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

import msgspec
from mitmproxy.connection import Client
from msgspec.structs import replace

from weir.approvals import asking, lifecycle
from weir.approvals.binding import content_digest, demands, keyed, request_binding
from weir.approvals.model import OPEN, Approval, Demand, Person, Shown, Vote
from weir.approvals.shelf import Kept, Shelf
from weir.base.garbage import Garbage
from weir.base.home import HomeError, derived_key
from weir.base.identifiers import Uuid7
from weir.base.principal import Principal
from weir.base.problems import Kind, Refusal
from weir.config.model import HeldSettings
from weir.path import approval_answers
from weir.path.approval_answers import unavailable
from weir.path.exchange import (
    Arrived,
    Body,
    Document,
    Exchange,
    Head,
    Hold,
    Identified,
    Judged,
    Read,
    Routed,
)
from weir.policy.facts import Facts
from weir.policy.rules import Rule
from weir.state.database import TooManyOpen
from weir.state.model import Snapshot
from weir.state.store import Store
from weir.state.watcher import StateUnavailable, Watcher

#: Seconds after the end of its hold during which a request still counts as waiting, without news from its worker.
GRACE = 5.0

#: Refusals by policies that changed during the wait: reviewers need not decide any more, so the approval is void.
_MEANWHILE = frozenset((Kind.ACCESS_DENIED, Kind.DENIED_BY_RULE, Kind.UNKNOWN_CONNECTION))

_PREFER_WAIT = re.compile(r"wait *= *\"?([0-9]{1,5})\"?")


@dataclass(slots=True, eq=False)
class _Waiter:
    """One waiting exchange."""

    exchange: Exchange
    client: Client
    approval: Approval
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    left: bool = False  # the caller has left
    reloaded: bool = False


class Approvals:
    """Asks for approvals, holds exchanges during the wait, and takes or gives back approvals."""

    def __init__(self, state: Watcher, record: Callable[[Approval], None], garbage: Garbage) -> None:
        self._state = state
        self._record = record
        self._garbage = garbage
        self._key = b""
        self._worker = ""
        self._waiters: dict[str, _Waiter] = {}  # by the approval's id
        self._of: Counter[tuple[str, str]] = Counter()  # the number of waiting exchanges, by principal
        self._bytes = 0
        self._shelf = Shelf()
        self._turn = asyncio.Lock()
        self._stopping = False
        self._new_id = Uuid7()

    # Start, stop and changes.

    async def start(self, worker: str) -> None:
        """Start as the worker called *worker*. Raises `HomeError`.

        Answers that an earlier process of this worker kept are lost. Therefore their approvals become void.
        """
        self._key = derived_key("approvals")
        self._worker = keyed(self._key, worker)

        def work(store: Store) -> list[Approval]:
            return [
                store.change_approval(approval.id, lambda a: lifecycle.make_void(a, time.time()))
                for state in OPEN
                for approval in store.approvals_in(state)
                if approval.keeper == self._worker
            ]

        try:
            self._record_all(await self._state.run(work))
        except StateUnavailable:
            raise HomeError("the shared state does not answer; see the log lines above") from None

    def stop(self) -> None:
        """End all waits. The approvals stay open, and callers can send the same requests again."""
        self._stopping = True
        for waiter in self._waiters.values():
            waiter.woken.set()

    def changed(self, approvals: list[Approval]) -> None:
        """Wake the exchanges that wait for *approvals*, which have changed in the shared state."""
        for approval in approvals:
            waiter = self._waiters.get(approval.id)
            if waiter is not None:
                waiter.approval = approval
                waiter.woken.set()
            if approval.kind == "response" and approval.state not in (*OPEN, "used"):  # "used" may be given back
                self._shelf.drop(approval.id)

    def reloaded(self) -> None:
        """Wake all waiting exchanges, so that the new policies judge them."""
        for waiter in self._waiters.values():
            waiter.reloaded = True
            waiter.woken.set()

    def left(self, client: Client) -> None:
        """End the waits of a caller who has disconnected."""
        for waiter in self._waiters.values():
            if waiter.client is client:
                waiter.left = True
                waiter.woken.set()

    def taken_back(self, exchange: Exchange) -> None:
        """End the wait of one request that its caller has reset. The caller stays connected."""
        waiter = self._waiter_of(exchange)
        if waiter is not None and waiter.exchange is exchange:
            waiter.left = True
            waiter.woken.set()

    def wake(self, exchange: Exchange) -> bool:
        """End the wait of *exchange*, which has a problem. Return True if it waited."""
        waiter = self._waiter_of(exchange)
        if waiter is not None:
            waiter.woken.set()
        return waiter is not None

    def _waiter_of(self, exchange: Exchange) -> _Waiter | None:
        hold = exchange.get(Hold)
        return self._waiters.get(hold.approval.id) if hold is not None and hold.approval is not None else None

    # The wait for approval.

    async def bind(self, exchange: Exchange) -> Hold:
        """Return the exchange's hold, with the digest of this exact request. Approvals are bound to this digest."""
        hold = exchange.get(Hold)
        if hold is None:
            hold = Hold()
            exchange.put(hold)
        arrived, fields, body = exchange[Arrived], exchange[Head].fields, exchange[Body]
        connection, principal = exchange[Routed].connection, exchange[Identified].principal
        arguments = (
            self._key, principal, connection.name, connection.upstream, arrived.method, arrived.target,
            fields.get(b"content-type", b""), fields.get(b"content-encoding", b""), body.bound,
        )  # fmt: skip
        if len(body.bound) > 1 << 20:  # a large body takes long: other requests run meanwhile
            hold.binding = await asyncio.to_thread(request_binding, *arguments)
        else:
            hold.binding = request_binding(*arguments)
        return hold

    async def take(self, exchange: Exchange, rules: Sequence[Rule], facts: Facts, content: str = "") -> bool:
        """Cover *rules* by reusable approvals, and the rest by one single-use approval, which is consumed here.

        Return False if demands are left; the `Hold` has them.
        """
        hold, principal, connection = exchange[Hold], exchange[Identified].principal, exchange[Routed].connection
        wanted = demands(self._key, rules, principal, connection.name, facts)
        snapshot, people = self._snapshot(), self._people(exchange)
        mine = hold.approval.id if hold.approval is not None else ""
        hold.demands, covering = _uncovered(wanted, snapshot, people, mine)
        if hold.demands:
            template = self._template(exchange, content)

            def work(store: Store) -> asking.Found:
                current = _current_votes(store, snapshot)
                return asking.take(store, template, mine, time.time(), people, current, hold.tried)

            found = await self._ask_state(work)
            hold.tried.clear()  # the store's answer has arrived
            self._record_all(found.void)
            if found.approval is None:
                return False
            hold.granted += (found.approval,)
            covering += (found.approval,)
            self._record(found.approval)
        hold.approval = None
        hold.approved_by += tuple(a for a in covering if a.id not in {b.id for b in hold.approved_by})
        return True

    async def wait(
        self,
        client: Client,
        exchange: Exchange,
        show: Callable[[], Shown],
        *,
        content: str = "",
        keep: Kept | None = None,
    ) -> None:
        """Ask reviewers for the hold's demands and wait. Return if the exchange must be judged again. Raises `Refusal`.

        *show* returns the view for reviewers and is called at most once. *content* is the digest of an answer, *keep*
        the answer itself.
        """
        hold = exchange[Hold]
        nobody = next((d for d in hold.demands if not d.terms.somebody), None)
        if nobody is not None:
            message = nobody.message or f"The rule {nobody.rule} asks for a reviewer's approval."
            raise Refusal(
                Kind.APPROVAL_REQUIRED,
                f"{message} This connection has no reviewer who could give it; ask its owner to add reviewers.",
                rule=nobody.rule,
            )
        prefer = exchange[Head].fields.get(b"prefer", b"").decode("ascii", "replace").lower()
        at_once = "respond-async" in prefer
        seconds = float(min(d.terms.hold for d in hold.demands))
        if (wanted := _PREFER_WAIT.search(prefer)) is not None:
            seconds = min(seconds, float(wanted[1]))
        elif at_once:
            seconds = 0.0
        if not hold.until:
            hold.until = time.monotonic() + seconds
        async with self._place(exchange, _size(exchange, keep)):
            approval = await self._asked(exchange, show, content)
            if not content:
                exchange.drop(Read, Judged)  # keep only the bytes in memory; they are parsed again after the wait
            if keep is not None:
                await self._keep(exchange, keep, approval)
            waiter = _Waiter(exchange, client, approval)
            self._waiters[approval.id] = waiter
            try:
                await self._refresh(waiter)
                await self._outcome(waiter, async_=at_once)
            finally:
                self._waiters.pop(approval.id, None)
        hold.waited = True
        async with self._turn:  # requests released by one decision continue one by one, so that others run in between
            await asyncio.sleep(0)

    async def settle(self, exchange: Exchange) -> None:
        """Make an open approval void, since no more approval is needed. Name the approvers in the decision."""
        hold = exchange.get(Hold)
        if hold is None:
            return
        waited, hold.approval, hold.until = hold.approval, None, 0.0
        if waited is not None:
            await self._change(waited, lambda a: lifecycle.make_void(a, time.time()))
        if hold.approved_by and exchange.decision is not None:
            by = "; ".join(
                f"approved by {a.decided_by()}{f': {why}' if (why := a.decided_why()) else ''}"
                for a in hold.approved_by
            )
            broken = " (break-glass)" if any(a.break_glass for a in hold.approved_by) else ""
            exchange.decision = dataclasses.replace(exchange.decision, message=f"{by}{broken}")

    async def _refresh(self, waiter: _Waiter) -> None:
        """Read the approval once more: a decision made before this exchange was registered has woken no one."""
        now = await self._ask_state(lambda store: store.approval(waiter.approval.id))
        if now is not None and now.changed > waiter.approval.changed:
            waiter.approval = now

    async def _outcome(self, waiter: _Waiter, *, async_: bool) -> None:
        exchange = waiter.exchange
        hold = exchange[Hold]
        while True:
            waiter.woken.clear()
            approval = hold.approval = waiter.approval
            if waiter.left or exchange.left or (not waiter.client.connected and not exchange.replay):
                await self._change(approval, lambda a: lifecycle.withdraw(a, exchange.request_id, time.time()))
                self._shelf.drop(approval.id)
                raise Refusal(Kind.WITHDRAWN, "The caller left while the request waited for approval.")
            if exchange.problem is not None:  # revoked or stopped
                await self._change(approval, lambda a: lifecycle.withdraw(a, exchange.request_id, time.time()))
                raise Refusal.of(exchange.problem)
            if approval.state == "denied":
                self._shelf.drop(approval.id)
                raise approval_answers.denied(approval)
            if approval.state == "approved" or waiter.reloaded:
                return
            if approval.state != "pending":
                self._shelf.drop(approval.id)
                raise approval_answers.over(approval)
            left = hold.until - time.monotonic()
            if left <= 0 or self._stopping:
                waiter.approval = await self._change(approval, lambda a: lifecycle.let_go(a, exchange.request_id))
                if waiter.approval.state != "pending":  # decided in the last moment
                    continue
                hold.approval = waiter.approval
                raise approval_answers.pending(exchange[Arrived], exchange[Head], approval, async_=async_)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left, approval.expires - time.time() + 0.05)):
                    await waiter.woken.wait()
            if time.time() >= waiter.approval.expires:
                waiter.approval = await self._change(waiter.approval, lambda a: lifecycle.expire(a, time.time()))
                if waiter.approval.state == "pending":  # the state does not answer, but the approval has expired
                    raise approval_answers.over(waiter.approval)

    async def refuse_again(self, exchange: Exchange) -> None:
        """Refuse a request if its answer was denied or another worker keeps it: the request must not be sent twice."""
        now, hold = time.time(), exchange[Hold]
        for approval in await self._ask_state(lambda store: store.approvals_of(hold.binding)):
            if now >= approval.expires or approval.kind != "response":
                continue
            hold.approval = approval
            if approval.state == "denied":
                raise approval_answers.denied(approval)
            if approval.keeper != self._worker:
                raise Refusal(
                    Kind.APPROVAL_PENDING,
                    "The answer to this request is kept by another worker of this gateway. Send it again on a new "
                    "connection.",
                    rule=approval.rules[0],
                    headers=(("Retry-After", "1"), ("Connection", "close")),
                    members=(("approval_id", approval.id),),
                )
            hold.approval = None

    async def _asked(self, exchange: Exchange, show: Callable[[], Shown], content: str) -> Approval:
        """Return the approval to wait for: one that an identical request asked for earlier, or a new one."""
        hold, template = exchange[Hold], self._template(exchange, content)
        mine, most = hold.approval.id if hold.approval else "", self._limits(exchange).open
        found = await self._ask_state(lambda store: asking.attach(store, template, mine, time.time()))
        self._record_all(found.void)
        if found.approval is None:
            fresh = replace(template, shown=show())
            try:
                found = asking.Found(await self._ask_state(lambda store: store.add_approval(fresh, most)))
            except TooManyOpen:
                raise Refusal(
                    Kind.TOO_MANY_HELD,
                    f"Reviewers have not decided {most} of your requests yet. Wait until they have decided.",
                    headers=(("Retry-After", str(approval_answers.RETRY)),),
                ) from None
            assert found.approval is not None
            self._record(found.approval)
        hold.approval = found.approval
        return found.approval

    def _template(self, exchange: Exchange, content: str) -> Approval:
        """Return a new approval for the hold's demands, not stored yet."""
        hold, principal, connection = exchange[Hold], exchange[Identified].principal, exchange[Routed].connection
        now = time.time()
        return Approval(
            id=self._new_id(),
            kind="response" if content else "request",
            asked=now,
            expires=now + min(demand.terms.expires for demand in hold.demands),
            requester=Person.of(principal),
            connection=connection.name,
            binding=hold.binding,
            content=content,
            keeper=self._worker if content else "",
            request_id=exchange.request_id,
            demands=tuple(hold.demands),
            holder=exchange.request_id,
            held_until=now + max(0.0, hold.until - time.monotonic()) + GRACE,
        )

    @contextlib.asynccontextmanager
    async def _place(self, exchange: Exchange, size: int) -> AsyncIterator[None]:
        """Take a place among the waiting exchanges. Raises `Refusal` if there is no free place."""
        limits, key = self._limits(exchange), exchange[Identified].principal.key
        retry = (("Retry-After", str(approval_answers.RETRY)),)
        fresh = exchange[Hold].approval is None  # False if it waits again after a reload
        if fresh and self._of[key] >= limits.per_user:
            message = f"{limits.per_user} of your requests wait for reviewers already. Wait for one of them to end."
            raise Refusal(Kind.TOO_MANY_HELD, message, headers=retry)
        full = sum(self._of.values()) >= limits.requests or self._bytes + size > limits.megabytes << 20
        if fresh and full:
            raise Refusal(Kind.APPROVALS_FULL, "Too many requests wait for reviewers. Try again later.", headers=retry)
        self._of[key] += 1
        self._bytes += size
        self._garbage.waits()
        try:
            with self._state.closely():
                yield
        finally:
            self._garbage.ended(size)
            self._bytes -= size
            self._of[key] -= 1
            if not self._of[key]:
                del self._of[key]

    # Kept answers.

    def content_of(self, status: int, content_type: str, body: bytes) -> str:
        """Return the digest of an answer."""
        return content_digest(self._key, status, content_type, body)

    def kept(self, exchange: Exchange) -> Kept | None:
        """Return the answer to this exact request that this worker keeps, approved or waiting for approval."""
        return self._shelf.find(exchange[Hold].binding, time.time())

    async def _keep(self, exchange: Exchange, keep: Kept, approval: Approval) -> None:
        hold, principal = exchange[Hold], exchange[Identified].principal
        until = approval.asked + 2 * (approval.expires - approval.asked)  # time to decide, and then time to fetch it
        kept = dataclasses.replace(keep, approval=approval.id, owner=principal.key, until=until)
        if not self._shelf.put(hold.binding, kept, self._limits(exchange), time.time()):
            hold.approval = await self._change(approval, lambda a: lifecycle.make_void(a, time.time()))
            raise Refusal(Kind.APPROVALS_FULL, "Too many answers wait for reviewers. Try again later.")

    # After the exchange.

    async def end(self, exchange: Exchange, *, unreachable: bool) -> None:
        """Release the approvals of an exchange that has ended.

        Give back a consumed approval if its request was not sent, or if its answer was not delivered.
        """
        hold = exchange.get(Hold)
        if hold is None:
            return
        granted, hold.granted = hold.granted, ()
        waited = hold.approval
        if waited is not None and waited.state in OPEN and waited.holder == exchange.request_id:
            if exchange.problem is not None and exchange.problem.kind in _MEANWHILE:
                hold.approval = await self._change(waited, lambda a: lifecycle.make_void(a, time.time()))
            else:
                hold.approval = await self._change(waited, lambda a: lifecycle.let_go(a, exchange.request_id))
        for approval in granted:
            if approval.kind == "response" and exchange.problem is None and not exchange.left:
                self._shelf.drop(approval.id)
            elif approval.kind == "response" or not exchange.sent or unreachable:
                await self._change(approval, lambda a: lifecycle.give_back(a, exchange.request_id))
        for approval_id in hold.tried:
            work = functools.partial(asking.give_back, approval_id=approval_id, request_id=exchange.request_id)
            with contextlib.suppress(StateUnavailable, KeyError):
                await self._state.run(work)

    async def status(self, approval_id: str, principal: Principal) -> Document:
        """Return the status of an approval for its requester. Raises `Refusal` for any other caller."""
        approval = await self._ask_state(lambda store: store.approval(approval_id))
        if approval is None or approval.requester.key != principal.key:
            raise Refusal(Kind.UNKNOWN_APPROVAL, "You have not asked for an approval with this id.")
        document = approval_answers.status(approval, time.time())
        headers = [("Cache-Control", "no-store")]
        if document["status"] == "pending":
            headers.append(("Retry-After", str(approval_answers.RETRY)))
        return Document(msgspec.json.encode(document), tuple(headers))

    # The shared state.

    def _record_all(self, approvals: Sequence[Approval]) -> None:
        for approval in approvals:
            self._record(approval)

    async def _change(self, approval: Approval, step: Callable[[Approval], Approval | None]) -> Approval:
        """Apply *step* to the stored approval. If the state does not answer, leave it: the approval expires later."""
        try:
            changed = await self._state.run(lambda store: store.change_approval(approval.id, step))
        except (StateUnavailable, KeyError):
            return approval
        if changed.state != approval.state:
            self._record(changed)
        return changed

    async def _ask_state[T](self, work: Callable[[Store], T]) -> T:
        try:
            return await self._state.run(work)
        except StateUnavailable:
            raise unavailable() from None

    def _snapshot(self) -> Snapshot:
        try:
            return self._state.snapshot()
        except StateUnavailable:
            raise unavailable() from None

    @staticmethod
    def _people(exchange: Exchange) -> lifecycle.People:
        return exchange[Arrived].policies.directory

    @staticmethod
    def _limits(exchange: Exchange) -> HeldSettings:
        return exchange[Arrived].policies.held


def _uncovered(
    wanted: Sequence[Demand], snapshot: Snapshot, people: lifecycle.People, mine: str
) -> tuple[list[Demand], tuple[Approval, ...]]:
    """Return the demands that no reusable approval covers, and the approvals that cover the others.

    The approval with the id *mine* is not counted as reusable: it is taken separately.
    """
    rest: list[Demand] = []
    covering: dict[str, Approval] = {}
    now = time.time()
    for demand in wanted:
        found = snapshot.reuse(demand.covers, now) if demand.covers else None
        if (
            found is None
            or found.id == mine
            or now >= found.since + demand.terms.reuse
            or not lifecycle.stands(found, frozenset((demand.digest,)), people, snapshot.current)
        ):
            rest.append(demand)
        else:
            covering[found.id] = found
    return rest, tuple(covering.values())


def _current_votes(store: Store, snapshot: Snapshot) -> Callable[[Vote], Vote | None]:
    """Return a function that limits a vote to its reviewer's current groups. It returns None for revoked votes."""

    def current(vote: Vote) -> Vote | None:
        found = snapshot.current(vote)
        if found is None:
            return None
        known = store.known_groups(vote.by.key)  # from their newest token, which the snapshot may not have yet
        return replace(found, by=found.by.keeping(known))

    return current


def _size(exchange: Exchange, keep: Kept | None) -> int:
    """Return the size of the bodies that stay in memory during the wait, in bytes."""
    body = exchange[Body]
    decoded = 0 if body.decoded is body.raw else len(body.decoded)
    answer = len(keep.content) + exchange.received_bytes if keep is not None else 0
    return len(body.raw) + decoded + answer
