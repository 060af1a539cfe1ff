"""How much callers may send, how long they may take, and how many of them there may be at once, in one worker.

`current` is what counts now: what reads heads and bodies is built before the policies are known, and outlives them.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bounds:
    """Sizes in bytes, times in seconds."""

    target: int = 8 << 10  # of the request line
    head: int = 64 << 10
    fields: int = 200
    body: int = 32 << 20  # as it is sent
    decoded: int = 32 << 20
    ratio: int = 50  # of decoded to sent, beyond the first MiB
    answer: int = 32 << 20  # of a service's answer, as sent and decoded
    bodies: int = 512 << 20  # of all requests and responses that are under way
    unread: int = 16 << 20  # of answers that one caller does not take
    first_byte: int = 10  # of a connection, TLS included
    head_time: int = 10  # until it is whole
    body_time: int = 120
    send_time: int = 60  # for which a caller may take nothing of an answer
    idle: int = 75  # between two requests
    connections: int = 4096
    per_address: int = 1024
    requests: int = 100_000  # by one connection
    resets: int = 100  # HTTP/2 streams that are reset before their answers begin


class _Current:
    bounds = Bounds()


def current() -> Bounds:
    """The bounds of now."""
    return _Current.bounds


def use(bounds: Bounds) -> None:
    """From now on, *bounds* count."""
    _Current.bounds = bounds
