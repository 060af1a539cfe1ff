"""Extensions: installed packages that add detectors, credential sources and profiles.

A package offers its parts as entry points (https://packaging.python.org/specifications/entry-points/), in these groups:

``weir.detectors``
    A `Detector`, several in a list, or a function without arguments that returns them. The name of the entry point is
    the kind of all of them: policies write it in ``detect``.
``weir.credential_sources``
    A `CredentialSource`. The name of the entry point is its scheme: policies write ``${scheme:name}``.
``weir.profiles``
    A function without arguments that returns the text of a profile (YAML). The entry point has the profile's name.

Only packages that ``extensions:`` in gateway.yaml names are loaded. An extension runs with the gateway's rights. If it
raises while policies are loaded, that is a mistake in gateway.yaml; if it raises while a request is handled, the
request is refused like after the failure of any step.
"""

import functools
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib import metadata
from typing import Any

import pydantic
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from weir.base.mistakes import SettingError, at
from weir.config.profile_settings import ProfileSettings
from weir.config.sources import BUILT_IN, CredentialSource
from weir.masking.detectors.engine import GROUPS as DETECTOR_GROUPS
from weir.masking.detectors.engine import KINDS
from weir.masking.detectors.model import Candidate, Detector
from weir.profiles.profile import names as profile_names

DETECTORS, SOURCES, PROFILES = "weir.detectors", "weir.credential_sources", "weir.profiles"

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")


@dataclass(frozen=True, slots=True)
class Part:
    """One entry point that was loaded, and its origin."""

    extension: str  # the package
    version: str
    group: str
    name: str
    origin: str  # module:object, as the package declares it


@dataclass(frozen=True, slots=True)
class Extensions:
    """The parts of all extensions, by name."""

    parts: tuple[Part, ...] = ()
    detectors: Mapping[str, tuple[Detector, ...]] = field(default_factory=dict)
    sources: Mapping[str, CredentialSource] = field(default_factory=dict)
    profiles: Mapping[str, ProfileSettings] = field(default_factory=dict)


def load_extensions(packages: Iterable[str], errors: list[SettingError]) -> Extensions:
    """Load the entry points of the named *packages*. Mistakes are added to *errors*, with their place in the list."""
    parts: list[Part] = []
    detectors: dict[str, tuple[Detector, ...]] = {}
    sources: dict[str, CredentialSource] = {}
    profiles: dict[str, ProfileSettings] = {}
    for i, package in enumerate(packages):
        with at(errors, "extensions", i):
            for part, entry in _entries(package):
                found = _loaded(part, entry)
                _refuse_taken(part, *detectors, *sources, *profiles)
                if part.group == DETECTORS:
                    detectors[part.name] = _detectors(part, found)
                elif part.group == SOURCES:
                    sources[part.name] = _source(part, found)
                else:
                    profiles[part.name] = _profile(part, found)
                parts.append(part)
    return Extensions(tuple(parts), detectors, sources, profiles)


def _entries(package: str) -> list[tuple[Part, metadata.EntryPoint]]:
    try:
        distribution = metadata.distribution(package)
    except (metadata.PackageNotFoundError, ValueError):
        raise SettingError(f"the package {package!r} is not installed beside Weir; pip install {package}") from None
    found = [
        (Part(distribution.name, distribution.version, entry.group, entry.name, entry.value), entry)
        for entry in distribution.entry_points
        if entry.group in (DETECTORS, SOURCES, PROFILES)
    ]
    if not found:
        raise SettingError(f"{package!r} has no entry points in {DETECTORS}, {SOURCES} or {PROFILES}")
    return found


def _loaded(part: Part, entry: metadata.EntryPoint) -> Any:
    if _NAME.fullmatch(part.name) is None:
        raise SettingError(f"{part.extension}: {part.name!r} is not a name; use a-z, 0-9, _ and -")
    try:
        return entry.load()
    except BaseException as error:  # the code of others may raise SystemExit, or errors of other languages
        raise _failed(part, error) from None


def _failed(part: Part, error: BaseException) -> SettingError:
    what = f"{type(error).__name__}: {error}"[:300]
    return SettingError(f"{part.extension}: {part.origin} cannot be loaded ({what}); ask the author of the extension")


def _refuse_taken(part: Part, *known: str) -> None:
    built_in = {
        DETECTORS: (*KINDS, *DETECTOR_GROUPS),
        SOURCES: BUILT_IN,
        PROFILES: tuple(profile_names()),
    }[part.group]
    if part.name in built_in or part.name in known:
        raise SettingError(f"{part.extension}: the name {part.name!r} in {part.group} is taken; rename the entry point")


def _called(part: Part, found: Any) -> Any:
    if not callable(found):
        return found
    try:
        return found()
    except BaseException as error:
        raise _failed(part, error) from None


def _detectors(part: Part, found: Any) -> tuple[Detector, ...]:
    made = _called(part, found)
    several = tuple(made) if isinstance(made, list | tuple) else (made,)
    for detector in several:
        if not isinstance(detector, Detector):
            raise SettingError(f"{part.extension}: {part.origin} gives {type(detector).__name__}, not a Detector")
        if detector.kind != part.name:
            raise SettingError(f"{part.extension}: {part.origin} has the kind {detector.kind!r}, not {part.name!r}")
    if not several:
        raise SettingError(f"{part.extension}: {part.origin} gives no Detector")
    return tuple(replace(detector, check=_checked(detector.check)) for detector in several)


def _checked(check: Callable[[Candidate], Any]) -> Callable[[Candidate], tuple[int, int] | None]:
    """Return *check* with its result checked. Any error of it becomes an `Exception`, which refuses the request."""

    @functools.wraps(check)
    def checked(candidate: Candidate) -> tuple[int, int] | None:
        try:
            place = check(candidate)
        except Exception:
            raise
        except BaseException as error:
            raise RuntimeError(f"a detector raised {type(error).__name__}") from None
        if place is None:
            return None
        start, end = place
        if type(start) is not int or type(end) is not int or not 0 <= start < end <= len(candidate.text):
            raise RuntimeError(f"a detector gives the place {place!r}")
        return start, end

    return checked


def _source(part: Part, found: Any) -> CredentialSource:
    if not callable(found):
        raise SettingError(f"{part.extension}: {part.origin} is not a function")
    source: CredentialSource = found
    return source


def _profile(part: Part, found: Any) -> ProfileSettings:
    text = _called(part, found)
    try:
        settings = ProfileSettings.model_validate(YAML(typ="safe", pure=True).load(text))
    except (YAMLError, pydantic.ValidationError, TypeError, ValueError) as error:
        raise SettingError(f"{part.extension}: {part.origin} is not a valid profile: {str(error)[:300]}") from None
    if settings.profile != part.name:
        raise SettingError(f"{part.extension}: {part.origin} is the profile {settings.profile!r}, not {part.name!r}")
    return settings
