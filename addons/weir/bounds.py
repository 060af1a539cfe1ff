"""How much callers may send, how long they may take, and how many of them there may be at once, in one worker.

`current` is what counts now: what reads heads and bodies is built before the policies are known, and outlives them.
"""

import re
from dataclasses import dataclass, fields

from weir.config.model import BoundsSettings
from weir.config.problems import SettingError, placed
from weir.duration import seconds

_SIZE = re.compile(r"([1-9][0-9]{0,8})(B|KiB|MiB|GiB)")
_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


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


def compile_bounds(settings: BoundsSettings) -> Bounds:
    """Raises `SettingError`."""
    values: dict[str, int] = {}
    for field in fields(Bounds):
        given = getattr(settings, field.name)
        with placed(field.name):
            if given is None:
                continue
            values[field.name] = given if isinstance(given, int) else _number(field.name, given)
    bounds = Bounds(**values)
    if not 1024 <= bounds.target <= bounds.head <= 1 << 20:
        raise SettingError("`target` is at least 1KiB and at most `head`, which is at most 1MiB", "head")
    return bounds


def _number(name: str, text: str) -> int:
    if name in ("first_byte", "head_time", "body_time", "send_time", "idle"):
        try:
            return seconds(text)
        except ValueError as error:
            raise SettingError(str(error)) from None
    match = _SIZE.fullmatch(text)
    if match is None:
        raise SettingError(f"{text!r} is not a size; write e.g. 64KiB or 32MiB")
    return int(match[1]) * _UNITS[match[2]]
