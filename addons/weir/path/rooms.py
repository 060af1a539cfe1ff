"""The rooms that steps share: created once for a gateway, and once for each rehearsal."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from weir.approvals.model import Approval
from weir.base.garbage import Garbage
from weir.path.holds import Approvals
from weir.path.steps.identity import Identity
from weir.path.steps.limits import Limits
from weir.path.steps.record import Records
from weir.path.steps.replay import Replay
from weir.path.steps.rules import Access, Nothing
from weir.recorder.recorder import Recorder
from weir.state.watcher import Watcher


@dataclass(frozen=True, slots=True)
class Rooms:
    """The rooms that steps share. They live as long as the gateway."""

    state: Watcher
    garbage: Garbage
    recorder: Recorder
    records: Records
    identity: Identity
    access: Access
    limits: Limits
    approvals: Approvals
    replay: Replay

    @classmethod
    def live(cls, under_way: Callable[[], int]) -> Self:
        """Create the rooms of a gateway. *under_way* returns the number of exchanges that have not ended."""
        state, recorder = Watcher(), Recorder(under_way)
        return cls._made(state, recorder, Access(state), Garbage(lambda: under_way() == 0), recorder.approval)

    @classmethod
    def rehearsed(cls) -> Self:
        """Create the rooms of one rehearsal: no emergency stop, limits count from zero, and no task is started."""
        return cls._made(Watcher(), Recorder(), Access(Nothing()), Garbage(lambda: False), lambda approval: None)

    @classmethod
    def _made(
        cls,
        state: Watcher,
        recorder: Recorder,
        access: Access,
        garbage: Garbage,
        record_approval: Callable[[Approval], None],
    ) -> Self:
        return cls(
            state=state,
            garbage=garbage,
            recorder=recorder,
            records=Records(recorder),
            identity=Identity(state),
            access=access,
            limits=Limits(),
            approvals=Approvals(state, record_approval, garbage),
            replay=Replay(),
        )
