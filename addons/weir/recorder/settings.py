"""What a connection's ``record:`` says, compiled."""

import contextlib
from dataclasses import dataclass
from typing import Literal

from weir.base.duration import seconds
from weir.base.mistakes import SettingError
from weir.config.model import RecordSettings


@dataclass(frozen=True, slots=True)
class Recording:
    """How the exchanges of one connection are recorded. ``keep`` is in seconds; None is for ever."""

    enabled: bool = True
    bodies: Literal["full", "digest", "none"] = "full"
    keep: int | None = None
    synced: bool = False
    intent: Literal["needed", "always", "never"] = "needed"


def compile_record(settings: RecordSettings, default_keep: str | None) -> Recording:
    """*default_keep* counts where the connection does not say. Raises `SettingError` of what it says itself."""
    keep = compile_keep(settings.keep)
    if settings.keep is None:
        with contextlib.suppress(SettingError):  # the gateway's own mistake, said there
            keep = compile_keep(default_keep)
    return Recording(
        enabled=settings.enabled,
        bodies=settings.bodies,
        keep=keep,
        synced=settings.durability == "synced",
        intent=settings.intent,
    )


def compile_keep(text: str | None) -> int | None:
    """How many seconds recordings are kept; None is for ever. Raises `SettingError`."""
    try:
        return None if text is None or text == "forever" else seconds(text)
    except ValueError as error:
        raise SettingError(f"{error}, or forever", "keep") from None
