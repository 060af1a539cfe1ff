"""Turns are shared fairly between addresses, and none is lost."""

import asyncio
import contextlib
import random
from collections import Counter

import pytest

from weir.auth.turns import Turns, network_of


async def until_all_wait() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_an_address_has_a_share_and_newcomers_come_first() -> None:
    async def story() -> None:
        turns, order = Turns(4, 3), list[str]()

        async def ask(address: str) -> None:
            await turns.take(address)
            order.append(address)

        tasks = [asyncio.create_task(ask(address)) for address in "aaaaaaaabb"]
        await until_all_wait()
        assert order == ["a", "a", "a", "b"]  # the fourth turn is not for a
        turns.give("a")
        await until_all_wait()
        assert order[4:] == ["b"]  # it has fewer
        turns.give("b")
        turns.give("b")
        await until_all_wait()
        assert order[5:] == ["a"]
        for task in tasks:
            task.cancel()

    asyncio.run(story())


def test_no_turn_is_lost_when_callers_give_up() -> None:
    async def story() -> None:
        turns, chance, now = Turns(4, 2), random.Random(1), Counter[str]()

        async def ask(address: str) -> None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(chance.random() / 100):
                    await turns.take(address)
                    now[address] += 1
                    assert now[address] <= 2 and now.total() <= 4
                    try:
                        await asyncio.sleep(chance.random() / 100)
                    finally:
                        now[address] -= 1
                        turns.give(address)

        await asyncio.gather(*(ask(chance.choice("abc")) for _ in range(500)))
        assert not turns._waiting and not turns._taken
        for address in "aabb":
            await turns.take(address)

    asyncio.run(story())


@pytest.mark.parametrize(
    ("address", "network"),
    [("192.0.2.1", "192.0.2.1"), ("2001:db8:1:2:3::4", "2001:db8:1:2::"), ("::ffff:192.0.2.1", "::ffff:192.0.2.1"), ("", ""), ("unix", "unix")],
)  # fmt: skip
def test_the_part_of_an_address_that_a_subscriber_has(address: str, network: str) -> None:
    assert network_of(address) == network
