"""Parse and format durations such as ``15m``."""

import re

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def duration(length: int) -> str:
    """Format *length* in seconds: the reverse of `seconds`."""
    for unit, size in reversed(_UNITS.items()):
        if length and length % size == 0:
            return f"{length // size}{unit}"
    return f"{length}s"


def seconds(text: str) -> int:
    """Parse ``90s``, ``15m``, ``1h`` or ``30d`` to seconds. Raises ValueError."""
    match = re.fullmatch(r"([1-9][0-9]{0,6})([smhd])", text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a duration; write e.g. 90s, 15m, 1h or 30d")
    return int(match[1]) * _UNITS[match[2]]
