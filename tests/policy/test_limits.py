"""GCRA: exact under any sequence, all or nothing over several limits."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir.config.problems import SettingError
from weir.policy.limits import Charge, MemoryStore, compile_limit, headers


def limit(rate: str = "60/minute", burst: int | None = None, count: str = "requests"):  # type: ignore[no-untyped-def]
    return compile_limit("l", rate, "user", count, burst)


def test_a_burst_and_then_one_at_a_time() -> None:
    store, one = MemoryStore(), [Charge(limit(burst=3), ("alice",), 1)]
    assert [store.charge(one, 100.0)[0] for _ in range(4)] == [True, True, True, False]
    passed, (standing,) = store.charge(one, 100.25)
    assert not passed and standing.retry_after == pytest.approx(0.75) and standing.remaining == 0
    assert store.charge(one, 100.0 + 0.75 + 0.25)[0]
    assert not store.charge(one, 101.0)[0]
    assert store.charge([Charge(limit(burst=3), ("bob",), 1)], 101.0)[0]


def test_costs_and_what_could_never_pass() -> None:
    store, documents = MemoryStore(), limit("1000/minute", count="documents")
    assert store.charge([Charge(documents, ("a",), 1000)], 0.0)[0]
    passed, (standing,) = store.charge([Charge(documents, ("a",), 500)], 0.0)
    assert not passed and standing.retry_after == pytest.approx(30)
    _, (never,) = store.charge([Charge(documents, ("a",), 1001)], 1e6)
    assert never.retry_after == math.inf
    assert "Retry-After" not in dict(headers([never]))


def test_several_limits_charge_all_or_nothing() -> None:
    store, wide, narrow = MemoryStore(), limit("100/minute"), limit("1/minute")
    charges = [Charge(wide, ("wide",), 1), Charge(narrow, ("narrow",), 1)]
    assert store.charge(charges, 0.0)[0]
    for _ in range(50):
        assert not store.charge(charges, 0.0)[0]
    _, (standing,) = store.charge([Charge(wide, ("wide",), 1)], 0.0)
    assert standing.remaining == 98


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, 4)), max_size=60))
def test_never_more_than_burst_plus_what_flowed_away_and_retry_after_is_the_moment(
    steps: list[tuple[float, int]],
) -> None:
    store, quota, now, taken = MemoryStore(), limit("60/minute", burst=5), 1000.0, 0
    for wait, cost in steps:
        now += wait
        passed, (standing,) = store.charge([Charge(quota, ("a",), cost)], now)
        taken += cost if passed else 0
        assert taken <= 5 + (now - 1000.0) + 1e-6
        if not passed:
            assert not store.charge([Charge(quota, ("a",), cost)], now + standing.retry_after - 0.001)[0]
            now += standing.retry_after
            assert store.charge([Charge(quota, ("a",), cost)], now)[0]
            taken += cost


@pytest.mark.parametrize("rate", ["60", "0/minute", "60/min", "-1/minute", "1.5/second", "60 / minute", ""])
def test_rates_that_are_none(rate: str) -> None:
    with pytest.raises(SettingError, match="is not a rate"):
        limit(rate)


def test_headers() -> None:
    _, standings = MemoryStore().charge([Charge(limit(burst=3), ("a",), 1)], 0.0)
    assert headers(standings) == (("RateLimit-Policy", '"l";q=60;w=60'), ("RateLimit", '"l";r=2;t=1'))
