"""Read the facts of requests and responses from parsed JSON, as a profile describes. Pure; compiled once.

A fact that must exist but cannot be read raises `ContentError`; it never means that a rule does not match.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from weir.base.content import ContentError, leaf_texts
from weir.base.jsonpath import Path, compile_path
from weir.base.mistakes import SettingError
from weir.config.profile_settings import (
    CompletionsSettings,
    DocumentsSettings,
    FlagSettings,
    IndexSettings,
    NumberSettings,
    QuerySettings,
)

#: Larger whole numbers are refused: no index could hold them, and no request needs them.
LARGEST = 2**31 - 1

#: Query parameters by name, each with its values.
Parameters = Mapping[str, Sequence[str]]


def paths(texts: Sequence[str]) -> tuple[Path, ...]:
    """Compile *texts*. Raises `PathError`."""
    return tuple(compile_path(text) for text in texts)


def parameter(parameters: Parameters, name: str | None) -> str | None:
    """Return the only value of a query parameter; None if it is missing. Raises `ContentError` for several."""
    values = parameters.get(name, ()) if name else ()
    if len(values) > 1:
        raise ContentError(f"the query parameter {name!r} stands twice")
    return values[0] if values else None


class QueryReader:
    """Reads every query text."""

    def __init__(self, settings: QuerySettings) -> None:
        self.paths = paths(settings.paths)
        self._parameter = settings.parameter
        self._required = settings.required

    def read(self, body: Any, parameters: Parameters) -> tuple[str, ...]:
        """Return the texts, in order. Numbers and booleans are not texts."""
        texts: list[str] = []
        for path in self.paths:
            for value in path.find(body):
                if type(value) is str:
                    texts.append(value)
                elif type(value) is list and self._required and any(_is_tokens(item) for item in (value, *value)):
                    raise ContentError(f"'query' ({path.text}) is given as tokens, whose text cannot be read")
                elif self._required and type(value) is not dict and type(value) is not list and value is not None:
                    raise ContentError(f"'query' ({path.text}) is not a text")
                else:
                    texts += leaf_texts(value)
        if (given := parameter(parameters, self._parameter)) is not None:
            texts.append(given)
        if self._required and not texts:
            raise ContentError(f"'query' is missing ({self.paths[0].text})")
        return tuple(texts)


class DocumentsReader:
    """Reads the documents as sent, and the ids that a response may use for them."""

    def __init__(self, settings: DocumentsSettings, *, required: bool) -> None:
        self.path = compile_path(settings.path)
        self.paths = (self.path, *paths(settings.also))
        self._many = self.path.names is None  # the path selects the documents instead of their list
        if settings.also and any(path.names is None for path in self.paths):
            raise SettingError("`also` is for plain paths to lists, like $.images", "request", "documents", "also")
        self._single = settings.single
        self._required = required
        self._texts = paths(settings.text)
        self.id = compile_path(settings.id) if settings.id else None
        self.source = compile_path(settings.source) if settings.source else None

    def read(self, body: Any) -> list[Any] | None:
        """Return the documents; None if the request has none and needs none."""
        if self._many:
            return self.path.find(body)
        lists = [found for path in self.paths if (found := self._list(path, body)) is not None]
        if len(lists) > 1:
            return [document for found in lists for document in found]
        if not lists and self._required:
            raise ContentError(f"'documents' is missing ({' or '.join(path.text for path in self.paths)})")
        return lists[0] if lists else None

    def _list(self, path: Path, body: Any) -> list[Any] | None:
        found = path.first(body)
        if type(found) is list:
            if self._single and found and all(type(item) is int for item in found):
                return [found]  # one text, as tokens
            return found
        if found is None:
            return None
        if not self._single or isinstance(found, bool | int | float):
            raise ContentError(f"'documents' ({path.text}) is not a list")
        return [found]

    def texts(self, body: Any, documents: list[Any]) -> list[str]:
        """Return the texts of the documents: every text of an object, because any of them could be ranked."""
        if any(map(_is_tokens, documents)):
            raise ContentError("the documents are given as tokens, whose text cannot be read")
        return leaf_texts([value for path in self._texts for value in path.find(body)] if self._texts else documents)


def _is_tokens(value: Any) -> bool:
    return type(value) is list and bool(value) and type(value[0]) is int


class NumberReader:
    """Reads a whole number; a number in two places is refused."""

    def __init__(self, name: str, settings: NumberSettings) -> None:
        self._name = name
        self.path = compile_path(settings.path) if settings.path else None
        self.each = compile_path(settings.each) if settings.each else None
        self._parameter = settings.parameter
        self._absent = settings.absent
        self._zero_is_all = settings.zero == "all"

    def read(self, body: Any, parameters: Parameters, documents: list[Any] | None) -> int | None:
        """Return the number, or its default; None if the default is unknown."""
        if self.each is not None:
            values = [self._one(part, parameters) for part in self.each.find(body)]
            return sum(self._or_absent(value, documents) or 0 for value in values)
        return self._or_absent(self._one(body, parameters), documents)

    def _one(self, body: Any, parameters: Parameters) -> int | None:
        value = whole_number(self._name, self.path, body)
        if (given := parameter(parameters, self._parameter)) is None:
            return value
        if value is not None:
            raise ContentError(f"{self._name!r} is given in the query and in the body")
        if not given.isascii() or not given.isdecimal() or len(given) > 9:
            raise ContentError(f"{self._name!r} in the query is not a whole number")
        return int(given)

    def _or_absent(self, value: int | None, documents: list[Any] | None) -> int | None:
        if value is None or (value == 0 and self._zero_is_all):
            if self._absent == "all" or (value == 0 and self._zero_is_all):
                return None if documents is None else len(documents)
            return self._absent
        return value


class CompletionsReader:
    """Reads how many texts a model writes."""

    def __init__(self, settings: CompletionsSettings) -> None:
        self.paths = paths(settings.paths)
        self._each = paths(settings.each)

    def read(self, body: Any) -> int:
        """Return the number, at least 1."""
        prompts = sum(len(path.find(body)) for path in self._each)
        return max(1, largest("completions", self.paths, body) or 1) * max(1, prompts)


#: Maximum characters of all index names in a request, and of one name.
_LONGEST_INDEXES = 20_000
_LONGEST_INDEX = 1000
#: Variables of a path that name indexes.
_IN_PATH = ("index", "target", "alias")


def checked_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return *names* without duplicates. Raises `ContentError` if they are longer than any real request needs."""
    found = tuple(dict.fromkeys(names))
    if sum(map(len, found)) > _LONGEST_INDEXES or any(len(name) > _LONGEST_INDEX for name in found):
        raise ContentError(f"names of indexes have at most {_LONGEST_INDEX} characters, together {_LONGEST_INDEXES}")
    return found


class IndexReader:
    """Reads names and patterns of indexes, at all possible places."""

    def __init__(self, settings: IndexSettings, parameter_name: str | None, *, expressions: bool) -> None:
        self.paths = paths(settings.paths)
        self.also = paths(settings.also)
        self.each = compile_path(settings.each) if settings.each else None
        self._parameters = tuple(name for name in (settings.parameter, parameter_name) if name)
        self._otherwise = settings.otherwise
        self._expressions = expressions
        self._everything = settings.everything
        self.keys = paths(settings.keys)
        self.hides = paths(settings.hides)
        self.searches = bool(self.paths or self.also or self._parameters or settings.otherwise is not None)

    def read(
        self, body: Any, parameters: Parameters, variables: Mapping[str, str], nodes: list[Any] | None = None
    ) -> tuple[str, ...]:
        """Return every name once, in order; *nodes* are the body's descendants, if already known."""
        outside: list[str] = []
        for name in _IN_PATH:
            if name in variables:
                outside += self._split(variables[name])
        for name in self._parameters:
            for value in parameters.get(name, ()):
                outside += self._split(value)
        inside: list[str] = []
        unnamed = not outside
        if self.each is not None:
            parts = self.each.find(body)
            for part in parts:
                names = self._names(self.paths, part)
                inside += names
                if not names and not outside and self._otherwise is not None:
                    inside.append(self._otherwise)
            unnamed = unnamed and not parts
        else:
            inside = self._names(self.paths, body)
        if unnamed and not inside and self._otherwise is not None:
            inside.append(self._otherwise)
        for path in self.also:
            inside += self._listed(path, path.find(body, nodes), lenient=True)
        inside += [name for path in self.keys for node in path.find(body) if type(node) is dict for name in node]
        if self._everything or any(path.find(body, nodes) for path in self.hides):
            inside.append("*")
        return checked_names([*outside, *inside])

    def _names(self, where: tuple[Path, ...], body: Any) -> list[str]:
        return [name for path in where for name in self._listed(path, path.find(body))]

    def _listed(self, path: Path, values: list[Any], *, lenient: bool = False) -> list[str]:
        names: list[str] = []
        for value in values:
            if type(value) is list and not value and self._expressions:
                names.append("*")  # an empty list does not restrict the indexes
            for item in value if type(value) is list else [value]:
                if type(item) is str:
                    names += self._split(item)
                elif item is not None and not lenient:
                    raise ContentError(f"the index ({path.text}) is not a text")
        return names

    def _split(self, text: str) -> list[str]:
        if not self._expressions:
            return [text]
        names = text.split(",")
        return [name or "*" for name in names]


class FlagReader:
    """Reads a boolean with a default."""

    def __init__(self, name: str, settings: FlagSettings) -> None:
        self._name = name
        self.path = compile_path(settings.path) if settings.path else None
        self._settings = settings

    def read(self, body: Any) -> bool:
        """Return its value."""
        settings = self._settings
        value = self.path.first(body) if self.path else None
        if value is None:
            return settings.absent != settings.inverted
        if type(value) is not bool:
            if not settings.lenient:
                raise ContentError(f"{self._name!r} ({settings.path}) is not true or false")
            value = True
        return value != settings.inverted


@dataclass(frozen=True, slots=True)
class TextReader:
    """Reads one text at the first path that has one."""

    name: str
    paths: tuple[Path, ...]

    def read(self, body: Any) -> str | None:
        """Return the text; None if it is absent."""
        for path in self.paths:
            value = path.first(body)
            if value is not None:
                if type(value) is not str:
                    raise ContentError(f"{self.name!r} ({path.text}) is not a text")
                return value
        return None


def whole_number(name: str, path: Path | None, body: Any) -> int | None:
    """Return the whole number at *path*; None if it is absent or null."""
    value = path.first(body) if path else None
    if value is None:
        return None
    if type(value) is not int:
        raise ContentError(f"{name!r} ({path.text if path else ''}) is not a whole number")
    if not 0 <= value <= LARGEST:
        raise ContentError(f"{name!r} is negative or absurd")
    return value


def largest(name: str, where: tuple[Path, ...], body: Any, nodes: list[Any] | None = None) -> int | None:
    """Return the largest whole number at any of *where*; None if it is absent."""
    found = []
    for path in where:
        for value in path.find(body, nodes):
            if value is None:
                continue
            if type(value) is not int or not 0 <= value <= LARGEST:
                raise ContentError(f"{name!r} ({path.text}) is not a whole number, or absurd")
            found.append(value)
    return max(found, default=None)
