"""Compiles the ``record:`` settings of a connection."""

import contextlib
from dataclasses import dataclass
from typing import Literal

from weir.base.duration import seconds
from weir.base.mistakes import SettingError, placed
from weir.config.model import BodiesSettings, KeepSettings, RecordSettings


@dataclass(frozen=True, slots=True)
class Recording:
    """How the exchanges of one connection are recorded.

    ``keep`` is in seconds; None means forever. ``keep_bodies`` is less than ``keep``; None means as long as the rows.
    """

    enabled: bool = True
    bodies: Literal["full", "digest", "none"] = "full"
    keep: int | None = None
    keep_bodies: int | None = None
    synced: bool = False
    intent: Literal["needed", "always", "never"] = "needed"


def compile_record(settings: RecordSettings, default: KeepSettings) -> Recording:
    """Compile *settings*. *default* applies to what the connection does not set.

    Raises `SettingError` for a mistake in *settings*, and not for one in *default*.
    """
    keep = compile_keep(settings.keep)
    keep_bodies = None
    with contextlib.suppress(SettingError):  # reported once, with the gateway's settings
        keep = compile_keep(default.keep) if settings.keep is None else keep
        keep_bodies = compile_keep_bodies(default.bodies, keep) if "bodies" not in settings.model_fields_set else None
    if isinstance(settings.bodies, BodiesSettings):
        keep_bodies = compile_keep_bodies(settings.bodies, keep)
    return Recording(
        enabled=settings.enabled,
        bodies="full" if isinstance(settings.bodies, BodiesSettings) else settings.bodies,
        keep=keep,
        keep_bodies=keep_bodies,
        synced=settings.durability == "synced",
        intent=settings.intent,
    )


def compile_keep_bodies(settings: BodiesSettings | None, keep: int | None) -> int | None:
    """Return how many seconds bodies are kept; None means as long as the rows, *keep*. Raises `SettingError`."""
    if settings is None:
        return None
    with placed("bodies"):
        found = compile_keep(settings.keep)
        if found is not None and keep is not None and found >= keep:
            raise SettingError("bodies are removed with their rows before that; write a shorter time", "keep")
    return found


def compile_keep(text: str | None) -> int | None:
    """Return how many seconds recordings are kept; None means forever. Raises `SettingError`."""
    try:
        return None if text is None or text == "forever" else seconds(text)
    except ValueError as error:
        raise SettingError(f"{error}, or forever", "keep") from None
