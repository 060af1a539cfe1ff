"""Answers that are costly to read are read in short steps."""

import asyncio
import time

from weir.mitm.readers import STEP, take_turns


def test_reads_shrink_while_they_are_costly_and_grow_again() -> None:
    asyncio.run(costly())


async def costly() -> None:
    reader = asyncio.StreamReader(limit=1 << 20)
    reader.feed_data(b"x" * 2_000_000)
    take_turns(reader)
    others: list[int] = []

    async def other() -> None:
        while True:
            others.append(len(others))
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    sizes = []
    for number in range(16):
        sizes.append(len(await reader.read(65535)))
        until = time.thread_time() + (2 * STEP if number < 3 else 0)
        while time.thread_time() < until:
            pass
    task.cancel()
    assert sizes[0] == 65535 and sizes[1] < 40_000 and sizes[2] < 20_000 and sizes[3] < 10_000
    assert sizes[-1] == 65535 and len(others) >= 3
