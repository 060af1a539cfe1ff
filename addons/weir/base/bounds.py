"""Limits of one worker for callers: sizes, times, and numbers of connections and requests.

`current` returns the limits in force. The readers of heads and bodies are created before the policies are loaded and
survive reloads, so they look the limits up each time.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bounds:
    """Sizes in bytes, times in seconds."""

    target: int = 8 << 10  # of the request line
    head: int = 64 << 10
    fields: int = 200
    body: int = 32 << 20  # as sent
    decoded: int = 32 << 20
    ratio: int = 50  # decoded size to sent size, beyond the first MiB
    answer: int = 32 << 20  # a service's answer, both as sent and decoded
    bodies: int = 512 << 20  # all requests and responses in progress
    unread: int = 16 << 20  # answers that one caller does not read
    first_byte: int = 10  # of a connection, TLS included
    head_time: int = 10  # until the head is complete
    body_time: int = 120
    send_time: int = 60  # during which a caller reads nothing of an answer
    idle: int = 75  # between two requests
    connections: int = 4096
    per_address: int = 1024
    requests: int = 100_000  # on one connection
    resets: int = 100  # HTTP/2 streams that are reset before their answers begin


class _Current:
    bounds = Bounds()


def current() -> Bounds:
    """Return the limits in force."""
    return _Current.bounds


def use(bounds: Bounds) -> None:
    """Put *bounds* in force."""
    _Current.bounds = bounds
