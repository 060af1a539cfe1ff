"""Three wrappers of the `read` of a stream from which mitmproxy reads a connection.

mitmproxy reads up to 64 KiB, handles them in one step, and reads again. It cannot read less, stop, or wait.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterator
from typing import Any

#: CPU seconds that handling the bytes of one read should take at most.
STEP = 0.02
#: Bytes of the smallest read.
_LEAST = 512

#: Bytes that a caller may send while its request is held: its next, pipelined requests.
MOST_HELD = 1 << 20


def take_turns(reader: Any) -> None:
    """Have *reader* read less, and wait for other tasks, after a read that took longer than `STEP` to handle.

    64 KiB of tiny HTTP/2 frames take a second, in which no other connection is served.
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


@contextlib.contextmanager
def bounded(reader: Any) -> Iterator[None]:
    """Within the block, end the connection of *reader* once more than `MOST_HELD` bytes were read from it.

    mitmproxy keeps all of them in memory until the hold ends. Does nothing if *reader* is wrapped already.
    """
    if "read" in vars(reader):
        yield
        return
    read, left = reader.read, MOST_HELD

    async def count(size: int) -> bytes:
        nonlocal left
        data: bytes = await read(size)
        left -= len(data)
        if left < 0:
            raise ConnectionResetError("too many bytes were sent while a request was held")
        return data

    reader.read = count
    try:
        yield
    finally:
        vars(reader).pop("read", None)


def read_while(idle: asyncio.Event, reader: Any) -> None:
    """Have *reader* read only while *idle* is set."""
    read = reader.read

    async def waiting(size: int) -> bytes:
        while not idle.is_set():
            await idle.wait()
        data: bytes = await read(size)
        return data

    reader.read = waiting
