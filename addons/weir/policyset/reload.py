"""Policies that change while the gateway runs: noticed by looking, loaded aside, and put in place whole.

`changes` gives a fingerprint of the folder whenever it has come to rest in another state; `Reload` turns a folder
into the next `PolicySet`, or into the reason why the old ones stay. Nothing here touches a request.
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

#: Seconds between two looks. A folder that is the same in two looks is no longer being written.
INTERVAL = 0.5
#: Files that are looked at; a policies folder has few.
_MOST_FILES = 1000

Fingerprint = tuple[tuple[str, int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """Why the old policies stay."""

    mistakes: tuple[str, ...]


def fingerprint(folder: Path, more: Iterable[Path] = ()) -> Fingerprint:
    """What the files of a policies folder, and *more*, look like from outside: names, times, sizes, inodes. Blocks."""
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
    """Whenever *folder*, or *more* files, have changed and are at rest: who owns what changed last."""
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
    """For ever: whenever *folder*, or *more* files, have changed, *put_in_place*, told by whom."""
    while True:
        try:
            async for by in changes(folder, more):
                await put_in_place(by)
        except Exception as error:  # it must go on looking
            alarm("reload_refused", f"policies are not watched: {type(error).__name__} at {place(error)}")
            await asyncio.sleep(INTERVAL)


def next_policies(path: Path, current: PolicySet) -> PolicySet | Refused:
    """What stands at *path*, to follow *current*; its issuers are kept where nothing of them has changed. Blocks."""
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
