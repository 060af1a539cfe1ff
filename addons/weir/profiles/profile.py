"""Profiles: an API described by data, compiled once, applied to parsed bodies. Pure.

A profile's file says which method and path is which operation, and where in the JSON its facts stand.
A fact that should be there and cannot be read raises `ContentError`: never "not this rule".
"""

import math
import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, Literal

from pydantic import Field
from ruamel.yaml import YAML

from weir.config.model import Name, Settings, TokenPlace
from weir.config.problems import SettingError
from weir.content import ContentError
from weir.jsonpath import Path, compile_path
from weir.profiles.model import Call, Ranking, Result

Kind = Literal["rerank", "score", "search", "embed", "chat", "read", "write", "admin"]


class TopNSettings(Settings):
    """Where the number of results stands, and what it means when absent or 0."""

    path: str
    absent: Literal["all"] = "all"
    zero: Literal["all", "none"] = "none"


class RequestSettings(Settings):
    """Where an operation's facts stand in the request's JSON."""

    query: str | None = None
    documents: str | None = None
    top_n: TopNSettings | None = None
    model: str | None = None
    index: str | None = None


class ResponseSettings(Settings):
    """Where the ranking stands in the response's JSON; index and score are read within one result."""

    results: str
    index: str = "$.index"
    score: str


class OperationSettings(Settings):
    """One method and path, and what a request to it means."""

    method: Annotated[str, Field(pattern="^[A-Z]+$")] = "POST"
    path: Annotated[str, Field(pattern="^/")]
    operation: Kind
    request: RequestSettings = RequestSettings()
    response: ResponseSettings | None = None


class EnvironmentSettings(Settings):
    """The variables in which the API's SDKs look for its address and key."""

    base_url: list[str] = Field(default_factory=list)
    token: list[str] = Field(default_factory=list)


class ProfileSettings(Settings):
    """One API."""

    profile: Name
    title: str
    documentation: str
    token_in: list[TokenPlace] = Field(default_factory=list)
    environment: EnvironmentSettings = EnvironmentSettings()
    operations: Annotated[list[OperationSettings], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Operation:
    """A compiled operation: reads calls and rankings."""

    name: str
    query: Path | None
    documents: Path | None
    top_n: Path | None
    zero_means_all: bool
    model: Path | None
    index: Path | None
    results: Path | None
    result_index: Path | None
    result_score: Path | None
    members: frozenset[str]  # of the body's top level, in which facts stand

    def read_call(self, body: Any) -> Call:
        """The `Call` in the parsed request *body*. Raises `ContentError`."""
        documents = _read(self.documents, body, "documents", list, required=True)
        top_n = _read(self.top_n, body, "top_n", int)
        if top_n is not None and not 0 <= top_n <= _LARGEST:
            raise ContentError("the number of results asked for is negative or absurd")
        if documents is not None and (top_n is None or (top_n == 0 and self.zero_means_all)):
            top_n = len(documents)
        indexes = self.index.find(body) if self.index else []
        if not all(isinstance(i, str) for i in indexes):
            raise ContentError("the index is not a text")
        return Call(
            operation=self.name,
            query=_read(self.query, body, "query", str, required=True),
            documents=documents,
            top_n=top_n,
            model=_read(self.model, body, "model", str),
            indexes=tuple(indexes),
        )

    def read_model(self, body: Any) -> str | None:
        """The model in *body* where it is (still) a text."""
        model = self.model.first(body) if self.model else None
        return model if isinstance(model, str) else None

    def read_ranking(self, body: Any) -> Ranking:
        """The ranking in the parsed response *body*; ``readable=False`` where it has another shape."""
        if self.results is None or self.result_index is None or self.result_score is None:
            return Ranking()
        entries = self.results.first(body)
        if not isinstance(entries, list):
            return Ranking(readable=False)
        results = []
        for entry in entries:
            index, score = self.result_index.first(entry), self.result_score.first(entry)
            if type(index) is not int or abs(index) > _LARGEST or not _is_score(score):
                return Ranking(readable=False)
            results.append(Result(index, float(score)))
        return Ranking(tuple(results))


@dataclass(frozen=True, slots=True)
class Profile:
    """A compiled profile."""

    name: str
    operations: dict[tuple[str, str], Operation]
    token_in: tuple[str, ...] = ()
    base_url_variables: tuple[str, ...] = ()
    token_variables: tuple[str, ...] = ()

    def operation(self, method: str, path: str) -> Operation | None:
        """The operation of a request with *method* to *path* (without query); None where it is unknown."""
        return self.operations.get((method, path))

    def resembles(self, path: str) -> bool:
        """Whether *path* is a known operation's in another case or with another end: servers may take it for that."""
        wanted = path.rstrip("/").lower()
        return any(known.rstrip("/").lower() == wanted for _, known in self.operations)


def names() -> list[str]:
    """The profiles that come with Weir."""
    return sorted(_shipped())


@cache
def _shipped() -> dict[str, str]:
    folder = files("weir.profiles") / "data"
    return {f.name.removesuffix(".yaml"): f.read_text() for f in folder.iterdir() if f.name.endswith(".yaml")}


@cache
def load_profile(name: str) -> Profile:
    """The profile called *name*. Raises `SettingError` where there is none."""
    if name not in _shipped():
        raise SettingError(f"there is no profile {name!r}; there are {', '.join(names())}")
    settings = ProfileSettings.model_validate(YAML(typ="safe", pure=True).load(_shipped()[name]))
    return Profile(
        settings.profile,
        {(o.method, o.path): _compile(o) for o in settings.operations},
        token_in=tuple(settings.token_in),
        base_url_variables=tuple(settings.environment.base_url),
        token_variables=tuple(settings.environment.token),
    )


def _compile(settings: OperationSettings) -> Operation:
    request, response = settings.request, settings.response
    top_n = request.top_n.path if request.top_n else None
    paths = (request.query, request.documents, top_n, request.model, request.index)
    return Operation(
        name=settings.operation,
        query=_path(request.query),
        documents=_path(request.documents),
        top_n=_path(top_n),
        zero_means_all=bool(request.top_n and request.top_n.zero == "all"),
        model=_path(request.model),
        index=_path(request.index),
        results=_path(response.results if response else None),
        result_index=_path(response.index if response else None),
        result_score=_path(response.score if response else None),
        members=frozenset(match[1] for path in paths if path and (match := re.match(r"\$\.(\w+)", path))),
    )


def _path(text: str | None) -> Path | None:
    return compile_path(text) if text is not None else None


def _is_score(value: Any) -> bool:
    return (type(value) is float and math.isfinite(value)) or (type(value) is int and abs(value) <= _LARGEST)


#: What the index can hold and no ranking needs.
_LARGEST = 2**31 - 1
_MISSING = object()


def _read(path: Path | None, body: Any, name: str, kind: type, *, required: bool = False) -> Any:
    if path is None:
        return None
    found = path.first(body, _MISSING)
    if found is _MISSING or (found is None and not required):
        if required:
            raise ContentError(f"{name!r} is missing ({path.text})")
        return None
    if type(found) is not kind:
        wanted = {str: "a text", int: "a whole number", list: "a list"}[kind]
        raise ContentError(f"{name!r} ({path.text}) is not {wanted}")
    return found
