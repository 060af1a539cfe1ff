"""The protocol of steps: what a list may contain, and how it is walked."""

import asyncio
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from weir.path.paths import ORDERS, Gateway, paths, permit
from weir.path.rooms import Rooms
from weir.path.step import Again, Answer, Journey, ListError, Over, State, bound, check, walk, walk_now
from weir.rehearsal.rehearse import rehearsal_paths


@dataclass(slots=True)
class Read(State):
    text: str


@dataclass(slots=True)
class Kept(State):
    survives: ClassVar[bool] = True
    count: int = 0


@dataclass(slots=True)
class Trip(Journey):
    at: str = ""
    seen: list[str] = field(default_factory=list)


class Reads:
    name = "reads"

    def __call__(self, subject: str, trip: Trip) -> Read:
        trip.seen.append(self.name)
        return Read(subject)


class Counts:
    name = "counts"

    async def __call__(self, trip: Trip, read: Read, kept: Kept | None) -> Kept:
        trip.seen.append(f"counts {read.text}")
        return Kept(kept.count + 1 if kept is not None else 1)


class Repeats:
    name = "repeats"
    again = "reads"

    def __call__(self, kept: Kept) -> Again | None:
        return Again("reads") if kept.count < 3 else None


class Ends:
    name = "ends"

    def __call__(self, read: Read) -> Answer:
        return Answer(read.text)


class Fails:
    name = "fails"

    async def __call__(self, read: Read) -> None:
        raise ZeroDivisionError(read.text)


def test_states_are_added_asked_for_by_type_and_dropped_when_a_step_goes_back() -> None:
    trip = Trip()
    ended = asyncio.run(walk(bound([Reads(), Counts(), Repeats(), Ends()]), "a", trip))
    assert ended == Answer("a")
    assert trip.seen == ["reads", "counts a"] * 3
    assert trip[Kept].count == 3 and trip[Read].text == "a"


def test_a_failure_is_known_by_its_step() -> None:
    trip = Trip()
    with pytest.raises(ZeroDivisionError):
        asyncio.run(walk(bound([Reads(), Fails()]), "a", trip))
    assert trip.at == "fails"


def test_no_step_runs_once_the_caller_has_left() -> None:
    trip = Trip()
    with pytest.raises(Over):
        asyncio.run(walk(bound([Reads(), Counts(), Ends()]), "a", trip, lambda: True))
    assert trip.at == "counts"


def test_a_missing_state_raises_when_it_is_asked_for() -> None:
    with pytest.raises(KeyError):
        walk_now(bound([Ends()]), "a", Trip())


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ([Ends()], "the step 'ends' needs Read, but no earlier step adds it"),
        ([Reads(), Counts()], "the step 'counts' waits, but steps of this phase must not wait"),
        ([Repeats(), Reads()], "the step 'repeats' needs Kept"),
        ([Reads(), Reads()], "the step 'reads' is in the list twice"),
    ],
)
def test_a_list_that_cannot_work_is_refused(steps: list[Any], why: str) -> None:
    with pytest.raises(ListError, match=f"^request, head: {why}"):
        check({("request", "head"): bound(steps)}, {"request": ("head",)})


def test_a_step_goes_back_only_to_a_step_before_it() -> None:
    with pytest.raises(ListError, match="goes back to 'reads', but no earlier step has this name"):
        check({("request", "request"): bound([Repeats(), Reads()])}, {"request": ("request",)}, (Kept,))


def gateway_paths() -> Any:
    callbacks: Any = SimpleNamespace(**dict.fromkeys(Gateway.__slots__))
    rooms = Rooms.rehearsed()
    return paths(rooms, callbacks, permit(lambda: None, rooms))


def test_a_rehearsal_runs_every_step_of_the_gateway() -> None:
    """Each step is the gateway's own, or the stand-in that the step itself names, under the same name."""
    real, rehearsed = gateway_paths(), rehearsal_paths()
    assert real.keys() == rehearsed.keys()
    for key, steps in real.items():
        assert [step.name for step in steps] == [step.name for step in rehearsed[key]], key
        for step, other in zip(steps, rehearsed[key], strict=True):
            expected = type(step.step) if step.stand_in is None else type(step.stand_in)
            assert type(other.step) is expected, (key, step.name)


def test_all_lists_are_checked() -> None:
    """Every list belongs to a kind that `check` walks; an order without its list would not be checked."""
    real = gateway_paths()
    assert {kind for kind, _ in real} == {*ORDERS, "websocket"}
    for kind, phases in ORDERS.items():
        assert all((kind, phase) in real for phase in phases), kind
