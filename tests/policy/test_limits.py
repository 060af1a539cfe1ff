"""GCRA is exact under any sequence, and all or nothing over several limits; in memory and in a real Redis."""

import asyncio
import math
import subprocess
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import needs
from tests.end_to_end.gateway import free_port
from tests.processes import PATIENCE

from weir.base.mistakes import SettingError
from weir.policy.limits import (
    Charge,
    Concurrency,
    Lease,
    Limit,
    LimitsUnavailable,
    MemoryStore,
    Standing,
    compile_limit,
    headers,
)
from weir.policy.redis_store import RedisStore


def limit(rate: str = "60/minute", burst: int | None = None, count: Any = "requests") -> Limit:
    return compile_limit("l", rate, "user", count, burst)


class Stepped:
    """A memory store with a clock that the test sets."""

    def __init__(self) -> None:
        self.now = 100.0
        self._store = MemoryStore(lambda: self.now)

    def take(
        self, charges: list[Charge], leases: Sequence[Lease] = (), at: float | None = None
    ) -> tuple[bool, list[Standing]]:
        self.now = self.now if at is None else at
        return asyncio.run(self._store.take(charges, leases))

    def settle(self, charges: list[Charge], leases: Sequence[Lease] = ()) -> None:
        asyncio.run(self._store.settle(charges, leases))


def test_a_burst_and_then_one_at_a_time() -> None:
    store, one = Stepped(), [Charge(limit(burst=3), ("alice",), 1)]
    assert [store.take(one, at=100.0)[0] for _ in range(4)] == [True, True, True, False]
    passed, (standing,) = store.take(one, at=100.25)
    assert not passed and standing.retry_after == pytest.approx(0.75) and standing.remaining == 0
    assert store.take(one, at=100.0 + 0.75 + 0.25)[0]
    assert not store.take(one, at=101.0)[0]
    assert store.take([Charge(limit(burst=3), ("bob",), 1)], at=101.0)[0]


def test_costs_and_what_could_never_pass() -> None:
    store, documents = Stepped(), limit("1000/minute", count="documents")
    assert store.take([Charge(documents, ("a",), 1000)])[0]
    passed, (standing,) = store.take([Charge(documents, ("a",), 500)])
    assert not passed and standing.retry_after == pytest.approx(30)
    _, (never,) = store.take([Charge(documents, ("a",), 1001)], at=1e6)
    assert never.retry_after == math.inf
    assert "Retry-After" not in dict(headers([never]))


def test_several_limits_charge_all_or_nothing() -> None:
    store, wide, narrow = Stepped(), limit("100/minute"), limit("1/minute")
    charges = [Charge(wide, ("wide",), 1), Charge(narrow, ("narrow",), 1)]
    assert store.take(charges)[0]
    for _ in range(50):
        assert not store.take(charges)[0]
    _, (standing,) = store.take([Charge(wide, ("wide",), 1)])
    assert standing.remaining == 98


def test_what_is_charged_afterwards_needs_room_before() -> None:
    store, tokens = Stepped(), limit("60/minute", burst=10, count="tokens")
    before = [Charge(tokens, ("a",), 0, 1)]
    assert store.take(before)[0]
    store.settle([Charge(tokens, ("a",), 30)])
    passed, (standing,) = store.take(before)
    assert not passed and standing.remaining == 0 and standing.retry_after == pytest.approx(21)
    assert store.take(before, at=100 + 21)[0]


def test_concurrency_is_given_back_once() -> None:
    store, two = Stepped(), Concurrency("c", 2, "user")
    lease = {name: [Lease(two, ("alice",), name)] for name in "abc"}
    assert store.take([], lease["a"])[0] and store.take([], lease["b"])[0]
    passed, (standing,) = store.take([], lease["c"])
    assert not passed and standing.retry_after == 1 and standing.remaining == 0
    store.settle([], lease["a"])
    store.settle([], lease["a"])
    assert store.take([], lease["c"])[0] and not store.take([], lease["a"])[0]


@given(st.lists(st.tuples(st.floats(0, 5), st.integers(1, 4)), max_size=60))
def test_never_more_than_burst_plus_what_flowed_away_and_retry_after_is_the_moment(
    steps: list[tuple[float, int]],
) -> None:
    store, quota, now, taken = Stepped(), limit("60/minute", burst=5), 1000.0, 0
    for wait, cost in steps:
        now += wait
        passed, (standing,) = store.take([Charge(quota, ("a",), cost)], at=now)
        taken += cost if passed else 0
        assert taken <= 5 + (now - 1000.0) + 1e-6
        if not passed:
            assert not store.take([Charge(quota, ("a",), cost)], at=now + standing.retry_after - 0.001)[0]
            now += standing.retry_after
            assert store.take([Charge(quota, ("a",), cost)], at=now)[0]
            taken += cost


@pytest.mark.parametrize("rate", ["60", "0/minute", "60/min", "-1/minute", "1.5/second", "60 / minute", ""])
def test_rates_that_are_none(rate: str) -> None:
    with pytest.raises(SettingError, match="is not a rate"):
        limit(rate)


def test_headers() -> None:
    store = Stepped()
    _, standings = store.take([Charge(limit(burst=3), ("a",), 1)], [Lease(Concurrency("c", 4, "user"), ("a",), "1")])
    assert headers(standings) == (
        ("RateLimit-Policy", '"l";q=60;w=60, "c";q=4;qu="concurrent-requests"'),
        ("RateLimit", '"l";r=2;t=1, "c";r=3'),
    )
    _, standings = store.take([Charge(limit(count="bytes"), ("b",), 1)])
    assert dict(headers(standings))["RateLimit-Policy"] == '"l";q=60;w=60;qu="content-bytes"'


def test_of_several_that_one_limit_is_counted_for_the_fullest_is_told() -> None:
    store, each = Stepped(), limit(burst=5)
    store.take([Charge(each, ("b",), 3)])
    _, standings = store.take([Charge(each, (name,), 1) for name in "abc"])
    assert dict(headers(standings))["RateLimit"] == '"l";r=1;t=4'


# Redis.


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    needs.skip_without("redis-server")
    port, folder = free_port(), tmp_path_factory.mktemp("redis")
    process = subprocess.Popen(
        ["redis-server", "--port", str(port), "--save", "", "--dir", str(folder)], stdout=subprocess.DEVNULL
    )
    yield f"redis://127.0.0.1:{port}/0"
    process.terminate()
    process.wait(PATIENCE)


def in_redis(url: str, story: Callable[[RedisStore], Coroutine[Any, Any, None]]) -> None:
    async def run() -> None:
        store = RedisStore(url)
        for _ in range(100):  # until the server listens
            try:
                await store.take([Charge(limit(), ("ready",), 1)], [])
                break
            except LimitsUnavailable:
                await asyncio.sleep(0.05)
        try:
            await story(store)
        finally:
            await store.close()

    asyncio.run(run())


def test_redis_agrees_with_memory(redis_url: str) -> None:
    async def story(store: RedisStore) -> None:
        memory = MemoryStore(time.monotonic)
        slow = limit("60/hour", burst=20, count="documents")  # slow, so that different clocks hardly matter
        once = limit("2/hour")
        for cost, least in [(5, 0), (10, 0), (0, 1), (30, 0), (6, 0), (5, 0), (1, 0)]:
            charges = [Charge(slow, ("x", "a"), cost, least), Charge(once, ("x", "b"), 0, 0)]
            passed, standings = await store.take(charges, [])
            expected, known = await memory.take(charges, [])
            assert passed is expected
            for ours, theirs in zip(known, standings, strict=True):
                assert theirs.remaining == ours.remaining
                assert theirs.retry_after == pytest.approx(ours.retry_after, abs=0.5)
                assert theirs.reset == pytest.approx(ours.reset, abs=0.5)
        await store.settle([Charge(slow, ("x", "a"), 100)], [])
        passed, (standing,) = await store.take([Charge(slow, ("x", "a"), 0, 1)], [])
        assert not passed and standing.retry_after == pytest.approx(101 * 60, abs=1)

    in_redis(redis_url, story)


def test_redis_takes_all_or_nothing_and_keeps_leases_apart(redis_url: str) -> None:
    async def story(store: RedisStore) -> None:
        two, requests = Concurrency("c", 2, "user"), limit("100/hour", burst=100)
        charge = [Charge(requests, ("y", "requests"), 1, 1)]
        taken = [await store.take(charge, [Lease(two, ("y", "c"), str(i))]) for i in range(3)]
        assert [passed for passed, _ in taken] == [True, True, False]
        assert [s.remaining for _, s in taken[2:] for s in s] == [98, 0]
        await store.settle([], [Lease(two, ("y", "c"), "0")])
        assert (await store.take(charge, [Lease(two, ("y", "c"), "3")]))[0]
        # Different keys have different texts, because each part has its length.
        assert (await store.take([Charge(limit("1/hour"), ("a", "b:c"), 1)], []))[0]
        assert (await store.take([Charge(limit("1/hour"), ("a:b", "c"), 1)], []))[0]

    in_redis(redis_url, story)


def test_many_at_once_never_take_more_than_there_is(redis_url: str) -> None:
    async def story(store: RedisStore) -> None:
        charge = [Charge(limit("10/day"), ("z",), 1, 1)]
        found = await asyncio.gather(*(store.take(charge, []) for _ in range(60)))
        assert sum(passed for passed, _ in found) == 10

    in_redis(redis_url, story)


def test_a_redis_that_is_not_there_lets_nobody_through(tmp_path: Path) -> None:
    async def ask() -> None:
        store = RedisStore(f"redis://127.0.0.1:{free_port()}/0")
        try:
            with pytest.raises(LimitsUnavailable):
                await store.take([Charge(limit(), ("a",), 1)], [])
        finally:
            await store.close()

    asyncio.run(ask())
