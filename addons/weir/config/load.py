"""Load the policies folder as typed settings. Nothing is used unless all of it is valid.

Files are YAML 1.2 without duplicate keys. One pass finds every mistake and reports it with file, line and column, and
suggests the nearest valid word.
"""

import copy
import re
import typing
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic
from pydantic import BaseModel, RootModel
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, SequenceNode

from weir.base.mistakes import ConfigError, Location, Mistake, SettingError, did_you_mean, path_text
from weir.config.model import ConnectionSettings, GatewaySettings, ScheduleSettings, Settings
from weir.config.profile_settings import ProfileSettings

GATEWAY_FILE = "gateway.yaml"


@dataclass(frozen=True, slots=True)
class Document[S: BaseModel]:
    """One valid file: its settings and their places in the text."""

    file: str
    settings: S
    root: Node | None
    faulty: tuple[Location, ...] = ()  # places with a wrong shape

    def line(self, *location: str | int) -> int:
        """Return the line (from 1) of the setting at *location*."""
        return _mark(self.root, location)[0]

    def mistakes(self, errors: Iterable[SettingError]) -> list[Mistake]:
        """Convert *errors* to mistakes. Skip errors that only follow from a wrong shape."""
        return [self.mistake(e) for e in errors if not any(f[: len(e.location)] == e.location for f in self.faulty)]

    def mistake(self, error: SettingError) -> Mistake:
        """Convert *error* to a mistake with its line and column."""
        line, column = _mark(self.root, error.location)
        where = path_text(error.location)
        return Mistake(self.file, line, column, f"{where}: {error.message}" if where else error.message)


@dataclass(frozen=True, slots=True)
class Folder:
    """A policies folder: its valid files, and the mistakes in the others."""

    path: Path
    gateway: Document[GatewaySettings]
    connections: tuple[Document[ConnectionSettings], ...]
    profiles: tuple[Document[ProfileSettings], ...]
    schedules: tuple[Document[ScheduleSettings], ...]
    mistakes: tuple[Mistake, ...]


def load_folder(path: Path) -> Folder:
    """Read ``gateway.yaml`` and every other ``*.yaml`` in *path*.

    Raises `ConfigError` if gateway.yaml is missing or unusable; the result lists mistakes in other files.
    """
    shown = _shown(path)
    if not path.is_dir():
        raise ConfigError(
            [
                Mistake(
                    shown,
                    1,
                    1,
                    f"there is no such folder ({path.absolute()}); create it, or set another one with --policies, "
                    "--set weir_policies=DIR or WEIR_POLICIES",
                )
            ]
        )
    mistakes: list[Mistake] = []
    gateway_path = path / GATEWAY_FILE
    gateway = None
    if gateway_path.is_file():
        before = len(mistakes)
        gateway = load_document(gateway_path, GatewaySettings, mistakes)
        gateway = gateway if len(mistakes) == before else None
    else:
        mistakes.append(
            Mistake(
                _shown(gateway_path),
                1,
                1,
                "there is no such file; create it: it sets where the gateway listens and which issuers it trusts",
            )
        )
    connections: list[Document[ConnectionSettings]] = [
        document
        for file in sorted(path.glob("*.yaml"))
        if file.name != GATEWAY_FILE and (document := load_document(file, ConnectionSettings, mistakes)) is not None
    ]
    profiles: list[Document[ProfileSettings]] = [
        own
        for file in sorted(path.glob("profiles/*.yaml"))
        if (own := load_document(file, ProfileSettings, mistakes)) is not None
    ]
    schedules: list[Document[ScheduleSettings]] = [
        schedule
        for file in sorted(path.glob("schedules/*.yaml"))
        if (schedule := load_document(file, ScheduleSettings, mistakes)) is not None
    ]
    for place in ("*.yml", "profiles/*.yml", "schedules/*.yml", "tests/*.yml"):
        others = sorted(path.glob(place))
        mistakes += [Mistake(_shown(file), 1, 1, f"is not read; rename it to {file.stem}.yaml") for file in others]
    if not mistakes and not connections:
        mistakes.append(Mistake(shown, 1, 1, "no connection is configured; add a file for the first one"))
    seen: dict[str, str] = {}
    for document in connections:
        name = document.settings.connection
        if name in seen:
            error = SettingError(f"{name!r} is already the name of the connection in {seen[name]}", "connection")
            mistakes.append(document.mistake(error))
        seen.setdefault(name, document.file)
    if gateway is None:
        raise ConfigError(mistakes)
    return Folder(path, gateway, tuple(connections), tuple(profiles), tuple(schedules), tuple(mistakes))


def load_document[S: BaseModel](file: Path, model: type[S], mistakes: list[Mistake]) -> Document[S] | None:
    """Load the file as *model*. Add to *mistakes* if it is not valid.

    Then return None, or a document with the valid part, to find further mistakes in it. It must never be used.
    """
    shown = _shown(file)
    try:
        text = file.read_bytes().decode()
        yaml = YAML(typ="safe", pure=True)
        data = yaml.load(text)
        root = YAML(typ="safe", pure=True).compose(text)
    except OSError as error:
        mistakes.append(Mistake(shown, 1, 1, f"cannot be read ({error.strerror})"))
        return None
    except UnicodeDecodeError as error:
        mistakes.append(Mistake(shown, 1, 1, f"is not UTF-8 (byte {error.start})"))
        return None
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        message = (error.problem or error.context or "not valid YAML").strip().splitlines()[0]
        if message.startswith(("expected", "mapping values", "could not find", "while")):
            message += (
                "; check the indentation and the brackets, and quote texts that contain : # { [ or , with single quotes"
            )
        mistakes.append(Mistake(shown, line, column, message))
        return None
    except (YAMLError, ValueError) as error:
        mistakes.append(Mistake(shown, 1, 1, f"not valid YAML: {str(error).splitlines()[0]}"))
        return None
    try:
        return Document(shown, model.model_validate(data), root)
    except pydantic.ValidationError as error:
        found: dict[object, Mistake] = {}
        for details in error.errors():  # report only the first alternative of a union
            mistake = _mistake(shown, root, model, details)
            found.setdefault((mistake.line, mistake.column, details["type"] == "missing" and mistake.message), mistake)
        mistakes.extend(found.values())
        rest = _without(error, data, model)
        faulty = tuple(tuple(details["loc"]) for details in error.errors())
        return None if rest is None else Document(shown, rest, root, faulty)


def _without[S: BaseModel](error: pydantic.ValidationError, data: Any, model: type[S]) -> S | None:
    """Return *data* without its shape errors, so that one pass finds its other mistakes too.

    Return None if what remains is not valid.
    """
    rest = copy.deepcopy(data)
    for details in error.errors():
        node = rest
        try:
            *way, last = details["loc"]
            for part in way:
                node = node[part]
            if details["type"] == "literal_error":
                node[last] = re.findall("'([^']+)'", details["ctx"]["expected"])[0]
            elif details["type"] != "missing":
                del node[last]
        except (KeyError, IndexError, TypeError, ValueError):
            return None
    try:
        return model.model_validate(rest)
    except pydantic.ValidationError:
        return None


def _mistake(shown: str, root: Node | None, model: type[BaseModel], error: Any) -> Mistake:
    location = _known_part(root, error["loc"])
    kind, message = error["type"], error["msg"]
    if kind == "extra_forbidden":
        name = str(error["loc"][-1])
        location = (*location, name) if location[-1:] != (name,) else location
        message = f"there is no such setting{did_you_mean(name, _field_names(model, error['loc'][:-1]))}"
    elif kind == "literal_error":
        expected = error["ctx"]["expected"]
        words = [word.strip(" '") for word in expected.replace(" or ", ",").split(",")]
        message = f"{error['input']!r} is not one of {expected}{did_you_mean(str(error['input']), words)}"
    elif kind == "value_error":
        message = str(error["ctx"]["error"])
    elif kind == "missing":
        message = f"{error['loc'][-1]!r} is missing"
    elif kind in _SHAPES:
        message = f"must be {_SHAPES[kind]}"
    elif kind == "too_short":
        message = "must not be empty"
    elif kind == "string_pattern_mismatch":
        message = "a name is lower-case letters, digits, '-' and '_', at most 64"
    elif "input" in error and isinstance(error["input"], str | int | float | bool):
        message = f"{error['input']!r}: {message[0].lower()}{message[1:]}"
    line, column = _mark(root, location)
    where = path_text(location)
    return Mistake(shown, line, column, f"{where}: {message}" if where else message)


#: pydantic's shape errors, in terms that YAML authors know.
_SHAPES = {
    "model_type": "a mapping of settings",
    "model_attributes_type": "a mapping of settings",
    "dict_type": "a mapping",
    "list_type": "a list; write [one, two]",
    "string_type": "a text",
    "int_type": "a whole number",
    "bool_type": "true or false",
}


def _field_names(model: type[BaseModel], location: Iterable[str | int]) -> list[str]:
    """Return the names of the settings that may occur at *location* below *model*."""
    current: Any = _settings_in(model.model_fields["root"].annotation) if issubclass(model, RootModel) else model
    for part in location:
        if isinstance(part, int) or not isinstance(current, type) or not issubclass(current, Settings):
            continue
        field = {f.alias or n: f for n, f in current.model_fields.items()}.get(part)
        if field is not None:
            current = _settings_in(field.annotation)
    if not isinstance(current, type) or not issubclass(current, Settings):
        return []
    return [f.alias or n for n, f in current.model_fields.items()]


def _settings_in(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return annotation
    for inner in typing.get_args(annotation):
        if (found := _settings_in(inner)) is not None:
            return found
    return None


def _child(node: Node | None, part: str | int) -> Node | None:
    if isinstance(node, MappingNode):
        return next((value for key, value in node.value if key.value == str(part)), None)
    if isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
        return typing.cast(Node, node.value[part])
    return None


def _known_part(root: Node | None, location: Location) -> Location:
    """Return *location* without the parts that pydantic adds for unions and validators."""
    known: list[str | int] = []
    node = root
    for part in location:
        child = _child(node, part)
        if child is not None:
            known.append(part)
            node = child
    return tuple(known)


def _mark(root: Node | None, location: Location) -> tuple[int, int]:
    """Return line and column, from 1, of the deepest part of *location* that exists in the text."""
    node, mark = root, root.start_mark if root is not None else None
    for part in location:
        if isinstance(node, MappingNode):
            pair = next(((k, v) for k, v in node.value if k.value == str(part)), None)
            if pair is None:
                break
            mark, node = pair[0].start_mark, pair[1]
        elif isinstance(node, SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            mark = node.start_mark
        else:
            break
    return (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)


def _shown(path: Path) -> str:
    """Return *path* for messages: relative to the current folder if it is inside."""
    try:
        return str(path.resolve().relative_to(Path.cwd().resolve()))
    except ValueError:
        return str(path)
