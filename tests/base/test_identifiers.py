"""Identifiers are UUIDv7 and never decrease."""

import uuid

from weir.base.identifiers import Uuid7


def test_they_stay_ordered_when_the_clock_jumps_back() -> None:
    times = iter([1_800_000_000.0, 1_700_000_000.0, 1_700_000_000.0, 1_800_000_001.0])
    new = Uuid7(lambda: next(times))
    made = [new() for _ in range(4)]
    assert made == sorted(made) and len(set(made)) == 4
    assert {uuid.UUID(i).version for i in made} == {7} and {uuid.UUID(i).variant for i in made} == {uuid.RFC_4122}
    assert uuid.UUID(made[0]).int >> 80 == 1_800_000_000_000
