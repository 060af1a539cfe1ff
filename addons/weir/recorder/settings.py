"""Compiles the ``record:`` settings of a connection."""

import contextlib
from dataclasses import dataclass
from typing import Literal

from weir.base.duration import seconds
from weir.base.mistakes import SettingError
from weir.config.model import RecordSettings


@dataclass(frozen=True, slots=True)
class Recording:
    """How the exchanges of one connection are recorded. ``keep`` is in seconds; None means forever."""

    enabled: bool = True
    bodies: Literal["full", "digest", "none"] = "full"
    keep: int | None = None
    synced: bool = False
    intent: Literal["needed", "always", "never"] = "needed"


def compile_record(settings: RecordSettings, default_keep: str | None) -> Recording:
    """Compile *settings*. *default_keep* applies if the connection sets no ``keep``.

    Raises `SettingError` for a mistake in *settings*, and not for one in *default_keep*.
    """
    keep = compile_keep(settings.keep)
    if settings.keep is None:
        with contextlib.suppress(SettingError):  # reported once, with the gateway's settings
            keep = compile_keep(default_keep)
    return Recording(
        enabled=settings.enabled,
        bodies=settings.bodies,
        keep=keep,
        synced=settings.durability == "synced",
        intent=settings.intent,
    )


def compile_keep(text: str | None) -> int | None:
    """Return how many seconds recordings are kept; None means forever. Raises `SettingError`."""
    try:
        return None if text is None or text == "forever" else seconds(text)
    except ValueError as error:
        raise SettingError(f"{error}, or forever", "keep") from None
