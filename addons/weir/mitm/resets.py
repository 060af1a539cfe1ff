"""Resets a client connection, so that its caller sees that the answer is incomplete.

A body that ends with its connection is complete unless the connection is reset (RFC 9112, 8).
"""

import asyncio
import contextlib
import socket
import struct

_RESET = struct.pack("ii", 1, 0)
_CLOSE = struct.pack("ii", 0, 0)


def reset_when_closed(transport: asyncio.Transport | None, reset: bool) -> None:
    """Set if the next close of *transport*, also by the end of this process, resets the connection."""
    found = transport.get_extra_info("socket") if transport is not None else None
    if found is not None:
        with contextlib.suppress(OSError):  # it is closed already
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET if reset else _CLOSE)


def cut(transport: asyncio.Transport | None) -> None:
    """Reset the connection of *transport* now."""
    reset_when_closed(transport, True)
    if transport is not None:
        transport.abort()
