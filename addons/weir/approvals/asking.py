"""Asking for approvals and using them, in a store: each function is one piece of work for the thread that has it."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from weir.approvals import lifecycle
from weir.approvals.lifecycle import NotPossible, People, Undecided
from weir.approvals.model import Approval, Vote
from weir.state.store import Store


@dataclass(frozen=True, slots=True)
class Found:
    """An approval, if there is one; and those that were made void on the way, for the record."""

    approval: Approval | None
    void: tuple[Approval, ...] = ()


def attach(store: Store, wanted: Approval, mine: str, now: float) -> Found:
    """Wait for what stands for the same request as *wanted* already, or for the denial of it; nothing, if nothing does.

    *mine* is the approval that this request waited for before the policies changed; it is void if it is not enough.
    """
    void: list[Approval] = []
    if mine:
        before = store.approval(mine)
        if before is not None and (before.binding != wanted.binding or not wanted.digests <= before.digests):
            void.append(store.change_approval(mine, lambda a: lifecycle.make_void(a, now)))
    for approval in store.approvals_of(wanted.binding):
        if approval.content != wanted.content:
            continue
        if approval.state == "denied" and now < approval.expires:
            return Found(approval, tuple(void))
        if wanted.digests <= approval.digests:
            with contextlib.suppress(NotPossible, KeyError):
                held = store.change_approval(
                    approval.id, lambda a: lifecycle.hold(a, wanted.request_id, wanted.held_until, now)
                )
                return Found(held, tuple(void))
    return Found(None, tuple(void))


def take(
    store: Store,
    wanted: Approval,
    mine: str,
    now: float,
    people: People,
    current: Callable[[Vote], Vote | None],
    tried: list[str],
) -> Found:
    """Use up an approval of the same request and rules as *wanted*: *mine*, where one was waited for.

    *tried* is given the id of each before it is: whoever does not hear the answer can look.
    """
    void: list[Approval] = []
    own = store.approval(mine) if mine else None
    for approval in [own] if own is not None else store.approvals_of(wanted.binding):
        if approval.content != wanted.content:
            continue
        tried.append(approval.id)
        try:
            taken = store.change_approval(
                approval.id,
                lambda a: lifecycle.take(a, wanted.request_id, wanted.digests, wanted.content, now, people, current),
            )
            return Found(taken, tuple(void))
        except Undecided:
            void.append(store.change_approval(approval.id, lambda a: lifecycle.make_void(a, now)))
        except (NotPossible, KeyError):
            continue
    return Found(None, tuple(void))


def give_back(store: Store, approval_id: str, request_id: str) -> Approval:
    """What *request_id* used up and did not send can be used again. Raises KeyError."""
    return store.change_approval(approval_id, lambda a: lifecycle.give_back(a, request_id))
