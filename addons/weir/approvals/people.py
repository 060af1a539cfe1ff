"""The identities of reviewers: linked identities, machines, and people on call. Compiled from the policies."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from weir.approvals.model import Person
from weir.base.mistakes import SettingError
from weir.config.model import ScheduleSettings

_WEEK = timedelta(weeks=1)


@dataclass(frozen=True, slots=True)
class Override:
    """A substitute on call, from *since* until before *until* in local time."""

    since: datetime
    until: datetime
    user: str


@dataclass(frozen=True, slots=True)
class Schedule:
    """A weekly rotation. Weeks are counted on the local clock, so that a turn ends at the same hour all year."""

    timezone: ZoneInfo
    starts: datetime
    rotation: tuple[str, ...]
    overrides: tuple[Override, ...] = ()

    def on_call(self, at: float) -> str:
        """Return the user on call at Unix time *at*; empty before the start."""
        local = datetime.fromtimestamp(at, self.timezone).replace(tzinfo=None)
        for override in reversed(self.overrides):  # the last one in the file wins
            if override.since <= local < override.until:
                return override.user
        if local < self.starts:
            return ""
        return self.rotation[(local - self.starts) // _WEEK % len(self.rotation)]


@dataclass(frozen=True, slots=True)
class Directory:
    """Implements `lifecycle.People`."""

    humans: Mapping[tuple[str, str], int] = field(default_factory=dict)  # linked identities have the same number
    machines: frozenset[str] = frozenset()  # `iss` of principals that are not people
    schedules: Mapping[str, Schedule] = field(default_factory=dict)

    def same(self, one: tuple[str, str], other: tuple[str, str]) -> bool:
        """See `People`."""
        return one == other or self.humans.get(one, -1) == self.humans.get(other, -2)

    def human(self, person: Person) -> bool:
        """See `People`."""
        return not person.machine and person.iss not in self.machines

    def on_call(self, schedule: str, at: float) -> str:
        """See `People`."""
        known = self.schedules.get(schedule)
        return known.on_call(at) if known else ""


def compile_schedule(settings: ScheduleSettings, resolve: Any) -> Schedule:
    """Compile a schedule; users have the names that policies use. Raises `SettingError`."""
    try:
        timezone = ZoneInfo(settings.timezone)
    except (ValueError, OSError, KeyError):
        message = f"{settings.timezone!r} is not a time zone; write e.g. Europe/Berlin"
        raise SettingError(message, "timezone") from None
    overrides = []
    for i, entry in enumerate(settings.overrides):
        since = _moment(entry.from_, "overrides", i, "from")
        until = _moment(entry.until, "overrides", i, "until")
        if until <= since:
            raise SettingError("it ends before it begins", "overrides", i, "until")
        overrides.append(Override(since, until, resolve(entry.user)))
    return Schedule(
        timezone, _moment(settings.starts, "starts"), tuple(map(resolve, settings.rotation)), tuple(overrides)
    )


def _moment(text: str, *location: str | int) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise SettingError(f"{text!r} is not a time; write e.g. 2026-01-05 09:00", *location) from None
    if moment.tzinfo is not None:
        raise SettingError("write it in local time, without an offset; `timezone` sets the zone", *location)
    return moment
