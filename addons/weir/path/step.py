"""The protocol of the data path: what a step is, what it may return, and how to check a list of steps.

This module is independent of HTTP. A *journey* is one request (or one message) on its way. It keeps states, one object
for each type. A step declares the states that it needs by the types of its parameters, and the state that it adds by
its return type. Therefore `check` can check a list of steps without running it.
"""

import inspect
import types
import typing
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol


class State:
    """A result of one step that later steps use. A journey has at most one object of each type."""

    __slots__ = ()
    #: True if the journey keeps the state when a step sends the journey back: see `Again`.
    survives: ClassVar[bool] = False


class Journey(dict[type[State], Any]):
    """The states of one request on its way, by type.

    It is a dictionary because steps look states up about a hundred times in each request.
    """

    __slots__ = ("at",)
    at: str  # the name of the running step, for error messages

    if TYPE_CHECKING:

        def __getitem__[S: State](self, kind: type[S]) -> S: ...
        def get[S: State](self, kind: type[S]) -> S | None: ...  # type: ignore[override]

    def __bool__(self) -> bool:
        """Return True: a journey without states is a journey, too."""
        return True

    def put(self, state: State) -> None:
        """Add *state*, or replace the state of its type."""
        self[type(state)] = state

    def drop(self, *kinds: type[State]) -> None:
        """Remove the states of these types."""
        for kind in kinds:
            self.pop(kind, None)


class Answer(NamedTuple):
    """End the list without sending the request to the service.

    *reply* is one of the gateway's own documents, delivered unchanged. With *upstream*, it is an earlier answer of the
    service, and its response phase still runs.
    """

    reply: Any
    upstream: bool = False


class Again(NamedTuple):
    """Go back to the named step. States that were added since that step are dropped, unless they survive."""

    step: str


class Stream(NamedTuple):
    """Deliver the answer while it arrives. *transform* takes each piece and returns the pieces to deliver."""

    transform: Callable[[bytes], list[bytes]]


type Result = State | Answer | Again | Stream | None


class Step(Protocol):
    """One step of the data path. It refuses the request by raising `Refusal`; any other exception also refuses it.

    The type of each parameter decides what the step gets: a `State` (with ``| None`` if it may be missing), the journey
    itself, or otherwise the subject (for HTTP, mitmproxy's flow).

    A step that waits is a coroutine function. One that seldom waits may be a plain function with ``waits = True``,
    which returns None or an awaitable: the coroutines that are never needed take a measurable time.
    """

    name: str

    @property
    def __call__(self) -> Callable[..., Result | Awaitable[Result]]: ...


class Skip:
    """Stand-in: do nothing. A rehearsal has no credential, no wait and no record."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self) -> None:
        return None


class ListError(TypeError):
    """A list of steps is invalid: the text names the list, the step and the mistake."""


@dataclass(frozen=True, slots=True, eq=False)
class Bound:
    """A step that can be called with the subject and the journey."""

    name: str
    step: Step
    call: Callable[[Any, Journey], Any]
    needs: frozenset[type[State]]
    gives: frozenset[type[State]]
    waits: bool
    again: str  # the name of the earlier step to which this step may go back; empty if none

    @property
    def stand_in(self) -> Step | None:
        """The step that rehearsals run instead, because this step performs I/O. None if this step runs itself."""
        return getattr(self.step, "stand_in", None)


#: A list of bound steps.
type Steps = tuple[Bound, ...]
#: All lists, by kind (request, tunnel, replay, websocket) and phase (head, request, response_head, …).
type Paths = Mapping[tuple[str, str], Steps]


def _alternatives(hint: Any) -> tuple[Any, ...]:
    """The types that *hint* allows; for an awaitable, those of its result."""
    if typing.get_origin(hint) is Awaitable:
        return _alternatives(typing.get_args(hint)[0])
    if isinstance(hint, types.UnionType):
        return tuple(inner for part in typing.get_args(hint) for inner in _alternatives(part))
    return (hint,)


def _is_state(hint: Any) -> bool:
    return isinstance(hint, type) and issubclass(hint, State)


@lru_cache(maxsize=256)
def _hints(kind: type[Step]) -> dict[str, Any]:
    return typing.get_type_hints(kind.__call__)


def bind(step: Step) -> Bound:
    """Bind *step*: read its parameters and results from the annotations of its ``__call__``."""
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
        waits=getattr(step, "waits", False) or inspect.iscoroutinefunction(type(step).__call__),
        again=getattr(step, "again", ""),
    )


def _caller(step: Step, wanted: Sequence[tuple[str, Any]]) -> Callable[[Any, Journey], Any]:
    """Make the function that calls *step*: its arguments are looked up by one expression, written here once."""
    names: dict[str, Any] = {"run": step.__call__}
    arguments = []
    for i, (how, kind) in enumerate(wanted):
        names[f"k{i}"] = kind
        arguments.append({"state": f"journey[k{i}]", "optional": f"journey.get(k{i})"}.get(how, how))
    # The text has only names from here. Functions for each argument would take three times as long at each call.
    call: Callable[[Any, Journey], Any] = eval(_compiled(tuple(arguments)), names)  # noqa: S307
    return call


@lru_cache(maxsize=256)
def _compiled(arguments: tuple[str, ...]) -> types.CodeType:
    return compile(f"lambda subject, journey: run({', '.join(arguments)})", "<step>", "eval")


def bound(steps: Iterable[Step]) -> Steps:
    """Bind each of *steps*."""
    return tuple(map(bind, steps))


def check(paths: Paths, orders: Mapping[str, Sequence[str]], given: Iterable[type[State]] = ()) -> None:
    """Raise `ListError` if no earlier step adds a state that a step needs, or if a step goes back to a missing step.

    *orders* gives the phases of each kind, in running order. *given* are the states that exist before the first step.
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
                        f"{place} needs {', '.join(sorted(k.__name__ for k in missing))}, but no earlier step adds it"
                    )
                if phase == "head" and step.waits:
                    raise ListError(f"{place} waits, but steps of this phase must not wait")
                if step.again and step.again not in names[: names.index(step.name)]:
                    raise ListError(f"{place} goes back to {step.again!r}, but no earlier step has this name")
                if names.count(step.name) > 1:
                    raise ListError(f"{place} is in the list twice")
                there |= step.gives


class Over(Exception):
    """The journey ended while a step waited: the caller left, or it was refused elsewhere. No further step runs."""


def walk_now(steps: Steps, subject: Any, journey: Journey) -> None:
    """Run a list of steps that neither wait nor answer."""
    for step in steps:
        journey.at = step.name
        result = step.call(subject, journey)
        if result is not None:
            journey[type(result)] = result


async def walk(
    steps: Steps, subject: Any, journey: Journey, over: Callable[[], bool] = lambda: False
) -> Answer | Stream | None:
    """Run a list of steps. Return the `Answer` or `Stream` that ends it early, or None after its last step.

    Raises `Over` if *over* returns true after a step that waited.
    """
    left = steps
    while True:
        for step in left:
            journey.at = step.name
            result = step.call(subject, journey)
            if result is None:
                continue
            if step.waits:
                result = await result
                if over():
                    raise Over
                if result is None:
                    continue
            if isinstance(result, State):
                journey[type(result)] = result
            elif isinstance(result, Again):
                left = _back(steps, step, result.step, journey)
                break
            else:
                ended: Answer | Stream = result
                return ended
        else:
            return None


def _back(steps: Steps, last: Bound, name: str, journey: Journey) -> Steps:
    """Return the steps from the one called *name* on. Drop the states that they have added, up to *last*."""
    target = next(i for i, step in enumerate(steps) if step.name == name)
    for step in steps[target : steps.index(last) + 1]:
        journey.drop(*(kind for kind in step.gives if not kind.survives))
    return steps[target:]
