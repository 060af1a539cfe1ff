"""Policies that change while the gateway runs: detected by polling, compiled separately, and activated as a whole.

`changes` yields whenever the folder has changed and is at rest; `Reload` turns a folder into the next `PolicySet`, or
into the reason why the old one stays active. Requests are not affected.
"""

import asyncio
import os
import pwd
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from weir.base.alarms import alarm, place
from weir.base.home import HomeError
from weir.base.mistakes import ConfigError, Mistake
from weir.policyset.load import load
from weir.policyset.model import PolicySet

#: Seconds between two polls. A folder that is equal in two polls is no longer being written.
INTERVAL = 0.5
#: Maximum number of polled files; a policies folder has few.
_MOST_FILES = 1000

Fingerprint = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """The reasons why the old policies stay active."""

    mistakes: tuple[str, ...]


def fingerprint(folder: Path, more: Iterable[Path] = ()) -> Fingerprint:
    """Return the names, times, sizes and inodes of the files in the policies folder and of *more*. Blocks."""
    found: list[tuple[str, int, int, int]] = []
    for where, folders, files in os.walk(folder):
        folders[:] = [f for f in folders if f != "tests" and not f.startswith(".")][:_MOST_FILES]
        found += [_look(os.path.join(where, name)) for name in files[:_MOST_FILES]]
        if len(found) > _MOST_FILES:
            break
    return tuple(sorted({*found, *(_look(str(path)) for path in more)}))


def _look(path: str) -> tuple[str, int, int, int]:
    try:
        about = os.stat(path)
    except OSError:
        return path, 0, 0, 0
    return path, about.st_mtime_ns, about.st_size, about.st_ino


async def changes(folder: Path, more: Callable[[], Iterable[Path]] = tuple) -> AsyncIterator[str]:
    """Yield whenever *folder* or *more* files have changed and are at rest: the owner of the latest change."""
    seen = await asyncio.to_thread(fingerprint, folder, more())
    settling = seen
    while True:
        await asyncio.sleep(INTERVAL)
        now = await asyncio.to_thread(fingerprint, folder, more())
        if now == settling != seen:
            changed = set(now) - set(seen)
            seen = now
            yield await asyncio.to_thread(_owner, changed)
        settling = now


async def follow(
    folder: Path, put_in_place: Callable[[str], Awaitable[None]], more: Callable[[], Iterable[Path]] = tuple
) -> None:
    """Run *put_in_place* with the owner of the change whenever *folder* or *more* files have changed. Never returns."""
    while True:
        try:
            async for by in changes(folder, more):
                await put_in_place(by)
        except Exception as error:  # polling must continue
            alarm("reload_refused", f"policies are not watched: {type(error).__name__} at {place(error)}")
            await asyncio.sleep(INTERVAL)


def next_policies(path: Path, current: PolicySet) -> PolicySet | Refused:
    """Compile *path* as the successor of *current*. Issuers are kept if their settings are unchanged. Blocks."""
    try:
        policies = load(path, carried=current.issuers)
    except ConfigError as error:
        return Refused(tuple(map(str, error.mistakes)))
    except (HomeError, OSError) as error:
        return Refused((str(error),))
    fixed = []
    if [listener.where for listener in policies.listeners] != [listener.where for listener in current.listeners]:
        fixed.append("listen")
    if policies.recordings != current.recordings:
        fixed.append("recordings")
    if policies.state != current.state:
        fixed.append("state")
    if fixed:
        file = str(path / "gateway.yaml")
        return Refused(tuple(str(Mistake(file, 1, 1, f"{name}: changes only with a restart")) for name in fixed))
    return policies


def _owner(changed: set[tuple[str, int, int, int]]) -> str:
    latest = max(changed, key=lambda entry: entry[1], default=None)
    if latest is None:
        return "someone"  # a file was removed
    try:
        return pwd.getpwuid(os.stat(latest[0]).st_uid).pw_name
    except (OSError, KeyError):
        return "someone"
