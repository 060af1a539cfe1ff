"""The circuit breaker opens at a share of errors, tries again later, and closes if the trial succeeds."""

from weir.policy.breaker import Breaker, Entry, Trip


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


BEFORE = Entry()


def test_it_opens_at_the_share_and_not_before_enough_was_seen() -> None:
    breaker = Breaker(Trip(0.5, 60, 4), Time())
    assert [breaker.answered(BEFORE, error=e) for e in (True, True, True)] == [False, False, False]
    assert breaker.enter() == Entry()
    assert not breaker.answered(BEFORE, error=False)  # a success is the fourth response
    assert breaker.answered(BEFORE, error=True)
    assert breaker.enter().wait == 60


def test_old_answers_do_not_count() -> None:
    clock = Time()
    breaker = Breaker(Trip(0.5, 60, 4), clock)
    for _ in range(3):
        breaker.answered(BEFORE, error=True)
    clock.now = 61
    assert not breaker.answered(BEFORE, error=True) and breaker.enter() == Entry()


def opened(clock: Time) -> Breaker:
    breaker = Breaker(Trip(1, 60, 1), clock)
    assert breaker.answered(BEFORE, error=True)
    return breaker


def test_one_tries_and_its_success_closes() -> None:
    clock = Time()
    breaker = opened(clock)
    clock.now = 60
    trial = breaker.enter()
    assert trial.tries and breaker.enter().wait == 1, "only one tries"
    assert not breaker.answered(BEFORE, error=False), "one that was let through before says nothing"
    breaker.left(BEFORE)
    assert breaker.enter().wait == 1
    assert not breaker.answered(trial, error=False)
    assert breaker.enter() == Entry()


def test_its_failure_opens_again() -> None:
    clock = Time()
    breaker = opened(clock)
    clock.now = 60
    assert breaker.answered(breaker.enter(), error=True) and breaker.enter().wait == 60


def test_one_that_leaves_or_never_ends_is_followed_by_another() -> None:
    clock = Time()
    breaker = opened(clock)
    clock.now = 60
    breaker.left(breaker.enter())
    assert breaker.enter().tries
    clock.now = 121
    assert breaker.enter().tries
