"""Durations as people write them."""

import re

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def duration(length: int) -> str:
    """*length* in seconds, as people write it: the reverse of `seconds`."""
    for unit, size in reversed(_UNITS.items()):
        if length and length % size == 0:
            return f"{length // size}{unit}"
    return f"{length}s"


def seconds(text: str) -> int:
    """``90s``, ``15m``, ``1h``, ``30d`` as seconds. Raises ValueError."""
    match = re.fullmatch(r"([1-9][0-9]{0,6})([smhd])", text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a duration; write e.g. 90s, 15m, 1h or 30d")
    return int(match[1]) * _UNITS[match[2]]
