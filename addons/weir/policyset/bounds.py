"""Compile ``bounds:`` of gateway.yaml: sizes like 64KiB and times like 10s become numbers."""

import re
from dataclasses import fields

from weir.base.bounds import Bounds
from weir.base.duration import seconds
from weir.base.mistakes import SettingError, placed
from weir.config.model import BoundsSettings

_SIZE = re.compile(r"([1-9][0-9]{0,8})(B|KiB|MiB|GiB)")
_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def compile_bounds(settings: BoundsSettings) -> Bounds:
    """Compile *settings*. Raises `SettingError`."""
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
