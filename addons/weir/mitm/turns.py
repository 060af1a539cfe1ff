"""Reads from a service in short steps, so that an answer that is costly to read does not delay other connections."""

import asyncio
import time
from typing import Any

#: Seconds of CPU time that the bytes of one read should take at most.
STEP = 0.02
#: Bytes of the smallest read.
_LEAST = 512


def take_turns(reader: Any) -> None:
    """Have *reader* read less, and wait for other tasks, after a read that took longer than `STEP` to handle.

    mitmproxy reads up to 64 KiB and handles them in one step. With 64 KiB of tiny HTTP/2 frames, that takes a second.
    """
    read = reader.read
    most = 1 << 16
    returned = 0.0

    async def shortly(size: int) -> bytes:
        nonlocal most, returned
        took = time.thread_time() - returned
        if returned and took > STEP:
            most = max(_LEAST, int(most * STEP / took))
            await asyncio.sleep(0)
        else:
            most = min(2 * most, 1 << 16)
        data: bytes = await read(min(size, most))
        returned = time.thread_time()
        return data

    reader.read = shortly
