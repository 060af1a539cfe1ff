"""What a caller sends while their request is held: mitmproxy would keep all of it in memory until the hold ends."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from mitmproxy.connection import Client

#: Bytes that a caller may send while they wait: the next request of a client that does not wait for answers.
MOST = 1 << 20


@contextlib.contextmanager
def bounded(find_reader: Callable[[Client], Any], client: Client) -> Iterator[None]:
    """Within the block, the connection of a *client* that sends more than `MOST` is at its end.

    *find_reader* gives the stream from which mitmproxy reads what a client sends; None where there is none. What
    comes by HTTP/2 is bounded as all bodies are.
    """
    reader = find_reader(client)
    if (
        reader is None or client.alpn == b"h2" or "read" in vars(reader)
    ):  # others' requests come by it; or it is bounded
        yield
        return
    read, left = reader.read, MOST

    async def count(size: int) -> bytes:
        nonlocal left
        data: bytes = await read(size)
        left -= len(data)
        if left < 0:
            raise ConnectionResetError("too much was sent while a request was held")
        return data

    reader.read = count
    try:
        yield
    finally:
        vars(reader).pop("read", None)
