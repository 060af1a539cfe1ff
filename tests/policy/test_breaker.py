"""The circuit breaker opens at a share of errors, tries again after a while, and closes if that goes well."""

from weir.policy.breaker import Breaker, Trip


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_it_opens_at_the_share_and_not_before_enough_was_seen() -> None:
    breaker = Breaker(Trip(0.5, 60, 4), Time())
    assert [breaker.answered(error=e) for e in (True, True, True)] == [False, False, False]
    assert breaker.refuses() == 0
    assert not breaker.answered(error=False)  # it is a success that completes the four
    assert breaker.answered(error=True)
    assert breaker.refuses() == 60


def test_old_answers_do_not_count() -> None:
    clock = Time()
    breaker = Breaker(Trip(0.5, 60, 4), clock)
    for _ in range(3):
        breaker.answered(error=True)
    clock.now = 61
    assert not breaker.answered(error=True) and breaker.refuses() == 0


def opened(clock: Time) -> Breaker:
    breaker = Breaker(Trip(1, 60, 1), clock)
    assert breaker.answered(error=True)
    return breaker


def test_one_tries_and_its_success_closes() -> None:
    clock = Time()
    breaker = opened(clock)
    assert not breaker.answered(error=False), "one that was let through before says nothing"
    clock.now = 60
    assert breaker.refuses() == 0 and breaker.refuses() == 1, "only one tries"
    assert not breaker.answered(error=False)
    assert breaker.refuses() == 0 and breaker.refuses() == 0


def test_its_failure_opens_again() -> None:
    clock = Time()
    breaker = opened(clock)
    clock.now = 60
    assert breaker.refuses() == 0
    assert breaker.answered(error=True) and breaker.refuses() == 60


def test_a_try_that_never_ends_is_followed_by_another() -> None:
    clock = Time()
    breaker = opened(clock)
    clock.now = 60
    assert breaker.refuses() == 0
    clock.now = 121
    assert breaker.refuses() == 0
