"""The protocol of the data path: what a step is, what it may return, and how a list of steps is checked.

Nothing here knows HTTP. A *journey* is one request (or one message) on its way. What is known of it is kept as states,
one object for each type. A step declares by the types of its parameters which states it needs, and by the type that it
returns which state it adds. So a list of steps can be checked without running it: see `check`.
"""

import inspect
import types
import typing
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple, Protocol


class State:
    """What one step finds out and later steps ask for. There is at most one object of each type."""

    __slots__ = ()
    #: Whether it stays when a step sends the journey back: see `Again`.
    survives: ClassVar[bool] = False


class Journey:
    """The states of one request on its way, by type."""

    __slots__ = ("at", "states")
    states: dict[type[State], Any]
    at: str  # the step that runs, for messages about its failure

    def __getitem__[S: State](self, kind: type[S]) -> S:
        """The state of that type. Raises `KeyError` if no step has added it."""
        found: S = self.states[kind]
        return found

    def get[S: State](self, kind: type[S]) -> S | None:
        """The state of that type, None if no step has added it."""
        return self.states.get(kind)

    def put(self, state: State) -> None:
        """Add *state*, or replace the one of its type."""
        self.states[type(state)] = state

    def drop(self, *kinds: type[State]) -> None:
        """Forget the states of these types."""
        for kind in kinds:
            self.states.pop(kind, None)


class Answer(NamedTuple):
    """Ends the list: nothing is sent to the service.

    *reply* is a document of the gateway's own, delivered as it is; or, with *upstream*, an earlier answer of the
    service: its response phase still runs.
    """

    reply: Any
    upstream: bool = False


class Again(NamedTuple):
    """Go back to the step of that name. States that were added since are dropped, unless they survive."""

    step: str


class Stream(NamedTuple):
    """Deliver the answer while it arrives: each piece goes through *transform*, which returns the pieces to deliver."""

    transform: Callable[[bytes], list[bytes]]


type Result = State | Answer | Again | Stream | None


class Step(Protocol):
    """One step of the data path. It refuses by raising `Refusal`; any other exception refuses as well.

    Parameters are found by their types: a `State` (with ``| None`` if it may be missing), the journey itself, or else
    the subject (for HTTP, mitmproxy's flow).
    """

    name: str

    @property
    def __call__(self) -> Callable[..., Result | Awaitable[Result]]: ...


class ListError(TypeError):
    """A list of steps that cannot work: the text names the list, the step and the missing state."""


@dataclass(frozen=True, slots=True)
class Bound:
    """A step, ready to be called with the subject and the journey."""

    name: str
    step: Step
    call: Callable[[Any, Journey], Any]
    needs: frozenset[type[State]]
    gives: frozenset[type[State]]
    waits: bool
    again: str  # the step to which it may send back

    @property
    def stand_in(self) -> Step | None:
        """The step that rehearsals run instead, because this one performs I/O."""
        return getattr(self.step, "stand_in", None)


#: A list of steps, bound.
type Steps = tuple[Bound, ...]
#: Every list, by kind (request, tunnel, replay, websocket) and phase (head, request, response_head, …).
type Paths = Mapping[tuple[str, str], Steps]


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return (
        typing.get_args(hint)
        if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union
        else (hint,)
    )


def _is_state(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, State)


@lru_cache(maxsize=256)
def _hints(kind: type[Step]) -> dict[str, Any]:
    return typing.get_type_hints(kind.__call__)


def bind(step: Step) -> Bound:
    """*step* with its parameters and results read from the annotations of its ``__call__``."""
    hints = _hints(type(step))
    returned = _alternatives(hints["return"])
    needs: set[type[State]] = set()
    wanted: list[tuple[str, Any]] = []
    for name, hint in hints.items():
        if name == "return":
            continue
        kinds = _alternatives(hint)
        if _is_state(kinds[0]):
            optional = type(None) in kinds
            wanted.append(("optional" if optional else "state", kinds[0]))
            if not optional:
                needs.add(kinds[0])
        else:
            wanted.append(
                ("journey" if isinstance(kinds[0], type) and issubclass(kinds[0], Journey) else "subject", None)
            )
    return Bound(
        name=step.name,
        step=step,
        call=_caller(step, wanted),
        needs=frozenset(needs),
        gives=frozenset(kind for kind in returned if _is_state(kind)),
        waits=inspect.iscoroutinefunction(type(step).__call__),
        again=getattr(step, "again", ""),
    )


def _caller(step: Step, wanted: Sequence[tuple[str, Any]]) -> Callable[[Any, Journey], Any]:
    """A function that calls *step* with what it wants: built once, called for each request."""
    getters: dict[str, Callable[[Any], Callable[[Any, Journey], Any]]] = {
        "subject": lambda _: lambda subject, journey: subject,
        "journey": lambda _: lambda subject, journey: journey,
        "state": lambda kind: lambda subject, journey: journey.states[kind],
        "optional": lambda kind: lambda subject, journey: journey.states.get(kind),
    }
    found = [getters[how](kind) for how, kind in wanted]
    run: Callable[..., Any] = step.__call__
    if len(found) == 1:
        (first,) = found
        return lambda subject, journey: run(first(subject, journey))
    return lambda subject, journey: run(*[get(subject, journey) for get in found])


def bound(steps: Iterable[Step]) -> Steps:
    """A list of steps, bound."""
    return tuple(map(bind, steps))


def check(paths: Paths, orders: Mapping[str, Sequence[str]], given: Iterable[type[State]] = ()) -> None:
    """Raise `ListError` for a step whose state no earlier step adds, or that sends back to a step that is not there.

    *orders* gives the phases of each kind in the order in which they run, *given* the states that are there before.
    Steps of the phase ``head`` must not wait.
    """
    for kind, phases in orders.items():
        there: set[type[State]] = set(given)
        for phase in phases:
            steps = paths[kind, phase]
            names = [step.name for step in steps]
            for step in steps:
                place = f"{kind}, {phase}: the step {step.name!r}"
                if missing := step.needs - there:
                    raise ListError(
                        f"{place} needs {', '.join(sorted(k.__name__ for k in missing))}, and no step before it adds it"
                    )
                if phase == "head" and step.waits:
                    raise ListError(f"{place} waits, and nothing may wait in this phase")
                if step.again and step.again not in names[: names.index(step.name)]:
                    raise ListError(f"{place} goes back to {step.again!r}, and no step before it has this name")
                if names.count(step.name) > 1:
                    raise ListError(f"{place} stands in the list twice")
                there |= step.gives


class Left(Exception):
    """The caller has left while a step waited, so no further step runs."""


def walk_now(steps: Steps, subject: Any, journey: Journey) -> None:
    """Run a list whose steps neither wait nor answer."""
    for step in steps:
        journey.at = step.name
        result = step.call(subject, journey)
        if result is not None:
            journey.states[type(result)] = result


async def walk(
    steps: Steps, subject: Any, journey: Journey, gone: Callable[[], bool] = lambda: False
) -> Answer | Stream | None:
    """Run a list. Returns what ends it early; None at its end. Raises `Left` if *gone* after a step that waited."""
    position = 0
    while position < len(steps):
        step = steps[position]
        journey.at = step.name
        result = step.call(subject, journey)
        if step.waits:
            result = await result
            if gone():
                raise Left
        position += 1
        if result is None:
            continue
        if isinstance(result, State):
            journey.states[type(result)] = result
        elif isinstance(result, Again):
            position = _back(steps, position, result.step, journey)
        else:
            ended: Answer | Stream = result
            return ended
    return None


def _back(steps: Steps, position: int, name: str, journey: Journey) -> int:
    """The position of the step of that *name*. States that were added from there on are dropped."""
    target = next(i for i, step in enumerate(steps) if step.name == name)
    for step in steps[target:position]:
        journey.drop(*(kind for kind in step.gives if not kind.survives))
    return target
