"""Ask for approvals and use them, in a store. Each function is one task for the store's thread."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

from weir.approvals import lifecycle
from weir.approvals.lifecycle import NotPossible, People, Undecided
from weir.approvals.model import Approval, Vote
from weir.state.store import Store


@dataclass(frozen=True, slots=True)
class Found:
    """An approval, if there is one; and the approvals that became void in the same step, for the record."""

    approval: Approval | None
    void: tuple[Approval, ...] = ()


def attach(store: Store, wanted: Approval, mine: str, now: float) -> Found:
    """Attach the request to an open approval of the same request, or return its denial; return nothing if none exists.

    *mine* is the approval that this request waited for before the policies changed. It becomes void if it no longer
    suffices.
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
    """Use an approval of the same request and rules as *wanted*: *mine*, if the request waited for one.

    The id of each approval is added to *tried* before use, so that a caller without the answer can look it up.
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
    """Make the approval that *request_id* used, but did not send, usable again. Raises KeyError."""
    return store.change_approval(approval_id, lambda a: lifecycle.give_back(a, request_id))
