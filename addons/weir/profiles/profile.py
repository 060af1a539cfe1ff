"""Profiles: an API described by data, compiled once, applied to parsed requests and responses. Pure.

A profile's file maps methods and paths to operations, and describes where the facts are in the JSON.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from ruamel.yaml import YAML

from weir.base.content import ContentError, leaf_texts
from weir.base.jsonpath import Path, PathError, compile_path, descendants
from weir.base.mistakes import SettingError, did_you_mean, placed
from weir.config.profile_settings import (
    DiscoverySettings,
    EnvironmentSettings,
    FramingMode,
    IndexSettings,
    OperationSettings,
    ProfileSettings,
    RequestSettings,
    ResponseSettings,
    StoredSettings,
)
from weir.profiles.discovery import Discovery
from weir.profiles.esql import read_esql
from weir.profiles.framing import UNKNOWN_FRAMING, Framing, compile_framing
from weir.profiles.model import WRITES, Call, Ranking, Result
from weir.profiles.paths import Paths
from weir.profiles.readers import (
    LARGEST,
    CompletionsReader,
    DocumentsReader,
    FlagReader,
    IndexReader,
    NumberReader,
    Parameters,
    QueryReader,
    TextReader,
    checked_names,
    largest,
    paths,
)
from weir.profiles.shapes import GRAMMARS, Grammar, Shape, Shapes, mark
from weir.profiles.texts import DOCUMENTS, OTHER, QUERY, RESULTS, Texts, TextWalk
from weir.profiles.usage import NO_USAGE, Usage, total
from weir.routing.forwarding import header_name

#: Maximum lists and objects of a body that is searched by paths with `..`.
_MOST_NODES = 20_000
_NEEDS_DOCUMENTS = frozenset(("rerank", "score", "embed"))
#: Operations that send texts to a model, which may join parts of a text, and accept tokens.
_OF_MODELS = frozenset(("chat", "rerank", "score", "embed"))

#: Operations that change nothing and cost little, so that a request may be sent once more.
_REPEATABLE = frozenset(("rerank", "score", "search", "embed", "read"))


@dataclass(frozen=True, slots=True)
class Stored:
    """The paths to the document that an operation changes, and to its new content."""

    path: str
    found: Path
    new: Path | None
    partial: bool


@dataclass(frozen=True, slots=True)
class Operation:
    """A compiled operation: reads calls and rankings."""

    name: str
    methods: tuple[str, ...]
    templates: tuple[str, ...]
    ndjson: bool
    members: dict[str, str]  # members of the top level that hold facts, by their case-folded names
    nested_members: tuple[tuple[str, ...], ...]  # the way to such members on deeper levels
    members_anywhere: dict[str, str] | None  # members of all levels, if the service ignores their case
    query: QueryReader | None
    documents: DocumentsReader | None
    top_n: NumberReader | None
    breadth: tuple[Path, ...]
    max_tokens: tuple[Path, ...]
    completions: CompletionsReader | None
    model: TextReader
    index: IndexReader
    return_documents: FlagReader | None
    stream: Path | None
    esql: Path | None
    refuse: tuple[Path, ...]
    descends: bool  # any of the paths begins with `..`
    answer: "Answer"
    reading: "Reading"
    stored: Stored | None = None
    framing: Framing = UNKNOWN_FRAMING
    usage: Usage = NO_USAGE
    discovery: Discovery | None = None
    repeatable: bool = False  # a request may be sent once more, if the service closed the connection without an answer

    @property
    def writes(self) -> bool:
        """True if it changes stored data, or the service's behaviour."""
        return self.name in WRITES

    @property
    def shown_members(self) -> frozenset[str]:
        """The members of a body that contain only its documents, or only a query text."""
        found = [*(self.query.paths if self.query else ()), *(self.documents.paths if self.documents else ())]
        return frozenset(path.names[0] for path in found if path.names is not None and len(path.names) == 1)

    def read_call(self, body: Any, parameters: Parameters = {}, variables: Mapping[str, str] = {}) -> Call:  # noqa: B006
        """Return the `Call` of a request with the parsed *body*. Raises `ContentError`."""
        for path in self.refuse:
            if path.find(body):
                raise ContentError(f"it has {path.text}, a second form of a member that is read elsewhere")
        nodes = descendants(body) if self.descends and body is not None else None  # all paths share one walk
        if nodes is not None and len(nodes) > _MOST_NODES:
            raise ContentError(f"it has more than {_MOST_NODES} lists and objects, which is too many to search")
        documents = self.documents.read(body) if self.documents else None
        indexes = self.index.read(body, parameters, variables, nodes)
        top_n = self.top_n.read(body, parameters, documents) if self.top_n else None
        if top_n is None and documents is not None and self.name in ("rerank", "embed"):
            top_n = len(documents)
        breadth = largest("breadth", self.breadth, body, nodes) if self.breadth else None
        if self.esql is not None and type(text := self.esql.first(body)) is str:
            query = read_esql(text)
            indexes = checked_names(indexes + query.indexes)
            top_n, breadth = query.limit, max(query.widest, query.limit)
        return Call(
            operation=self.name,
            query=self.query.read(body, parameters) if self.query else (),
            documents=documents,
            top_n=top_n,
            breadth=max(filter(None, (breadth, top_n)), default=None) if documents is None else len(documents),
            max_tokens=largest("max_tokens", self.max_tokens, body),
            completions=self.completions.read(body) if self.completions else None,
            model=variables.get("model") or self.model.read(body),
            indexes=indexes,
            return_documents=self.return_documents.read(body) if self.return_documents else None,
            stream=self._stream(body),
        )

    def asks_usage(self, body: Any) -> bool:
        """True if the parsed *body* asks for a stream, and not for the usage that the service reports if asked."""
        return self.usage.is_unasked(body) and (self.stream is None or self.stream.first(body) is True)

    def texts(self, body: Any, documents: list[Any] | None) -> list[str]:
        """Return the texts of *documents*, which were read from *body*."""
        return self.documents.texts(body, documents) if self.documents and documents else []

    def _stream(self, body: Any) -> bool | None:
        value = self.stream.first(body) if self.stream else None
        if value is not None and type(value) is not bool:
            raise ContentError("'stream' is not true or false")
        return value


@dataclass(frozen=True, slots=True)
class Reading:
    """Reads the texts of a request."""

    shape: Shape
    apart: bool  # if the body is a list, its items are not joined
    of_model: bool
    parameters: Mapping[str, Grammar | None]
    asked: str | None  # the query parameter with a query text
    encoded: tuple[Path, ...] = ()
    unreadable: tuple[Path, ...] = ()

    def read(
        self, body: Any, query: str, variables: Mapping[str, str], path: str = "", *, places: bool = False
    ) -> Texts:
        """Return the texts in the buckets `QUERY`, `DOCUMENTS` and `OTHER`; *path* is read too, if given.

        *places*: each text knows its place. *body* must then come from `locate`.
        """
        walk = TextWalk((QUERY, DOCUMENTS, OTHER), joins=self.of_model, tokens=self.of_model, places=places)
        walk.body(body, self.shape, apart=self.apart)
        if query:
            walk.parameters(query, self.parameters, self.asked)
        if variables:
            walk.variables(variables)
        if path:
            walk.add(OTHER, path, "the path")
        for encoded in self.encoded:
            walk.encoded(encoded.find(body))
        for unreadable in self.unreadable:
            if any(value is not None for value in unreadable.find(body)):
                walk.unreadable(OTHER, f"it has {unreadable.text}, whose text cannot be read")
        return walk.close()


#: The reading of operations that no profile knows: there are no exceptions.
UNKNOWN_READING = Reading(Shape(), apart=False, of_model=True, parameters={}, asked=None)
#: The reading of a request for a WebSocket: services read the model from its query.
HANDSHAKE_READING = Reading(Shape(), apart=False, of_model=True, parameters={"model": GRAMMARS["name"]}, asked=None)


@dataclass(frozen=True, slots=True)
class Answer:
    """Reads the response of an operation."""

    results: tuple[Path, ...] = ()
    index: Path | None = None
    id: Path | None = None
    in_order: bool = False  # the results have the order of the documents
    score: Path | None = None
    text: tuple[Path, ...] = ()
    source: Path | None = None
    tokens: tuple[Path, ...] = ()
    more_text: tuple[Path, ...] = ()
    document_id: Path | None = None
    document_source: Path | None = None
    shape: Shape = field(default_factory=Shape)
    of_model: bool = False

    def read_texts(self, body: Any) -> Texts:
        """Return every text of the parsed response *body*, in the buckets `RESULTS` and `OTHER`."""
        walk = TextWalk((RESULTS, OTHER), joins=self.of_model, tokens=False)
        walk.body(body, self.shape, apart=False)
        return walk.close()

    def read_ranking(self, body: Any, documents: list[Any] | None = None) -> Ranking:
        """Return the ranking in the parsed response *body* to *documents*; ``readable=False`` for any other shape."""
        if not self.results:
            return Ranking()
        entries: list[Any] = []
        found = [value for path in self.results for value in path.find(body)]
        if not found:
            return Ranking(readable=False)
        for value in found:
            if type(value) is not list:
                return Ranking(readable=False)
            entries += value
        positions = self._positions(documents) if self.id is not None else {}
        results: list[Result] = []
        sources: list[str | None] = [None] * len(entries)
        score_of = self.score.first if self.score else None
        missing = self.score is None or (self.index is None and not self.in_order)
        sourced = self.source is not None or self.document_source is not None
        for place, entry in enumerate(entries):
            index = place if self.in_order else self._index(entry, positions)
            score = score_of(entry) if score_of is not None else None
            finite = type(score) is float and math.isfinite(score)  # nearly always
            if index is _UNREADABLE or not (finite or _is_score(score, missing=missing)):
                return Ranking(readable=False)
            results.append(Result(index, score if finite or score is None else float(score)))
            if sourced:
                sources[place] = self._source(entry, index, documents)
        return Ranking(tuple(results), True, tuple(sources), tuple(entries))

    def texts(self, ranking: Ranking, body: Any = None) -> list[str]:
        """Return the texts of the results: at the profile's places, or everywhere if it names none."""
        more = [path.find(body) for path in self.more_text]
        if not self.text:
            return leaf_texts([list(ranking.entries), more])
        return leaf_texts([[path.find(entry) for entry in ranking.entries for path in self.text], more])

    def texts_of(self, entry: Any, document: Any) -> list[str]:
        """Return the texts of one result, or else of its *document*."""
        return leaf_texts([path.find(entry) for path in self.text]) or leaf_texts(document)

    def read_tokens(self, body: Any) -> int | None:
        """Return the number of used tokens that the response reports; None if it reports none."""
        return total(value for path in self.tokens if (value := path.first(body)) is not None)

    def _positions(self, documents: list[Any] | None) -> dict[Any, int]:
        if self.document_id is None:
            return {}
        ids = [self.document_id.first(document) for document in documents or ()]
        return {id_: i for i, id_ in enumerate(ids) if isinstance(id_, str)}

    def _index(self, entry: Any, positions: dict[Any, int]) -> Any:
        if self.id is not None:
            id_ = self.id.first(entry)
            return positions.get(id_, -1) if isinstance(id_, str) else _UNREADABLE
        if self.index is None:
            return None
        index = self.index.first(entry)
        return index if type(index) is int and abs(index) <= LARGEST else _UNREADABLE

    def _source(self, entry: Any, index: int | None, documents: list[Any] | None) -> str | None:
        source = self.source.first(entry) if self.source else None
        if source is None and self.document_source is not None and documents is not None and index is not None:
            source = self.document_source.first(documents[index]) if 0 <= index < len(documents) else None
        return None if source is None else source if type(source) is str else str(source)[:100]


#: The answer of operations that no profile knows.
UNKNOWN_ANSWER = Answer()


@dataclass(frozen=True, slots=True)
class Profile:
    """A compiled profile. Two profiles with equal settings are interchangeable."""

    name: str
    settings: ProfileSettings
    paths: Paths[Operation]
    operations: tuple[Operation, ...]
    token_in: tuple[str, ...] = ()
    environment: EnvironmentSettings | None = None
    headers: frozenset[bytes] = frozenset()  # of the API and its SDKs, in lower case
    vendor_keys: tuple[str, ...] = ()
    code: str = ""
    refused_parameters: frozenset[str] = frozenset()
    reads_parameters: bool = False
    index_expressions: bool = False
    messages: Framing = UNKNOWN_FRAMING  # the framing of WebSocket messages

    @property
    def writes(self) -> bool:
        """True if any of its operations changes data."""
        return any(operation.writes for operation in self.operations)


def names() -> list[str]:
    """Return the names of the built-in profiles."""
    return sorted(_shipped())


def source(name: str) -> str:
    """Return the file of the built-in profile *name*, as written."""
    return _shipped()[name]


@cache
def _shipped() -> dict[str, str]:
    folder = files("weir.profiles") / "data"
    return {f.name.removesuffix(".yaml"): f.read_text() for f in folder.iterdir() if f.name.endswith(".yaml")}


@cache
def _shipped_settings(name: str) -> ProfileSettings:
    return ProfileSettings.model_validate(YAML(typ="safe", pure=True).load(_shipped()[name]))


@cache
def load_profile(name: str) -> Profile:
    """Return the built-in profile *name*. Raises `SettingError` if it does not exist."""
    return compile_profile(find_settings(name, {}), {})


def find_settings(name: str, own: Mapping[str, ProfileSettings]) -> ProfileSettings:
    """Return the settings of the profile *name*, from *own* or built in. Raises `SettingError`."""
    if name in own:
        return own[name]
    if name not in _shipped():
        known = sorted({*names(), *own})
        hint = did_you_mean(name, known) or f"; there are {', '.join(known)}"
        raise SettingError(f"there is no profile {name!r}{hint}")
    return _shipped_settings(name)


def compile_profile(settings: ProfileSettings, own: Mapping[str, ProfileSettings]) -> Profile:
    """Compile a profile, with the profiles that it extends. Raises `SettingError` with the place in *settings*."""
    chain = [settings]
    while (base := chain[-1].extends) is not None:
        with placed("extends"):
            chain.append(find_settings(base, own))
        if len({s.profile for s in chain}) < len(chain):
            raise SettingError(f"{base!r} extends itself", "extends")
    index_parameter = next((s.index_parameter for s in chain if s.index_parameter), None)
    expressions = next((s.index_expressions for s in chain if s.index_expressions is not None), False)
    ignores_case = any(s.ignores_case for s in chain)
    usage_option = next((s.usage_option for s in chain if s.usage_option is not None), True)
    parameters = _parameters({name: kind for part in reversed(chain) for name, kind in part.parameters.items()})
    tree: Paths[Operation] = Paths()
    operations = []
    headers: set[bytes] = set()
    for level, part in enumerate(chain):
        for i, name in enumerate(part.headers):
            with placed(*(("headers", i) if level == 0 else ("extends",))):
                headers.add(header_name(name))
        # An operation uses the shapes of its own profile and of those below it; extensions cannot change them.
        shapes = {name: tree for below in reversed(chain[level:]) for name, tree in below.shapes.items()}
        framing = next((s.framing for s in chain[level:] if s.framing is not None), None)
        common = _Common(index_parameter, expressions, ignores_case, shapes, parameters, framing, usage_option)
        for i, entry in enumerate(part.operations):
            location: tuple[str | int, ...] = ("operations", i) if level == 0 else ("extends",)
            with placed(*location):
                try:
                    operation = _compile(entry, common)
                except PathError as error:
                    raise SettingError(str(error)) from None
                for template in entry.paths:
                    for method in entry.methods:
                        tree.add(method, template, operation)
            operations.append(operation)
    token_in = next((s.token_in for s in chain if s.token_in is not None), [])
    environment = next((s.environment for s in chain if s.environment is not None), None)
    refused = frozenset(name for s in chain for name in s.refuse_parameters)
    websocket = next((s.websocket for s in chain if s.websocket is not None), None)
    with placed("websocket"):
        messages = UNKNOWN_FRAMING if websocket is None else compile_framing(websocket, None)
    return Profile(
        settings.profile,
        settings,
        tree,
        tuple(operations),
        token_in=tuple(token_in),
        environment=environment,
        headers=frozenset(headers),
        vendor_keys=tuple(next((s.vendor_keys for s in chain if s.vendor_keys is not None), ())),
        code=next((s.code for s in chain if s.code is not None), ""),
        refused_parameters=refused,
        index_expressions=expressions,
        messages=messages,
        reads_parameters=bool(refused or index_parameter or _any_parameter(chain)),
    )


def _any_parameter(chain: Iterable[ProfileSettings]) -> bool:
    requests = (o.request for s in chain for o in s.operations)
    return any(
        getattr(part, "parameter", None)
        for request in requests
        for part in (request.query, request.top_n, request.index)
    )


@dataclass(frozen=True, slots=True)
class _Common:
    """The common settings of all operations of a profile."""

    index_parameter: str | None
    expressions: bool
    ignores_case: bool
    shapes: Mapping[str, Any]
    parameters: Mapping[str, Grammar | None]
    framing: FramingMode | None
    usage_option: bool


def _parameters(settings: Mapping[str, list[str] | str | None]) -> dict[str, Grammar | None]:
    found: dict[str, Grammar | None] = {}
    for name, kind in settings.items():
        with placed("parameters", name):
            shape = Shapes({}).compile(kind)
            found[name] = shape.leaf
    return found


def _compile(settings: OperationSettings, common: _Common) -> Operation:
    request = settings.request
    usage = _usage(settings, asks=common.usage_option)
    members = tuple(dict.fromkeys([*_plain_members(request), *([usage.option] if usage.option else [])]))
    index = IndexReader(request.index or IndexSettings(), common.index_parameter, expressions=common.expressions)
    breadth = paths(request.breadth)
    return Operation(
        name=settings.operation,
        methods=tuple(settings.methods),
        templates=tuple(settings.paths),
        ndjson=request.body == "ndjson",
        members={names[0].casefold(): names[0] for names in members},
        nested_members=tuple(names for names in members if len(names) > 1),
        members_anywhere=_all_members(request) if common.ignores_case else None,
        query=QueryReader(request.query) if request.query else None,
        documents=DocumentsReader(request.documents, required=settings.operation in _NEEDS_DOCUMENTS)
        if request.documents
        else None,
        top_n=NumberReader("top_n", request.top_n) if request.top_n else None,
        breadth=breadth,
        max_tokens=paths(request.max_tokens),
        completions=CompletionsReader(request.completions) if request.completions else None,
        model=TextReader("model", paths(request.model)),
        index=index,
        return_documents=FlagReader("return_documents", request.return_documents) if request.return_documents else None,
        stream=compile_path(request.stream) if request.stream else None,
        esql=compile_path(request.esql) if request.esql else None,
        refuse=paths(request.refuse),
        descends=any(path.descends for path in (*breadth, *index.also, *index.hides)),
        answer=_answer(settings, common),
        reading=_reading(settings, common),
        stored=_stored(settings.stored),
        framing=compile_framing(settings, common.framing),
        usage=usage,
        discovery=_discovery(settings.discovery),
        repeatable=_is_repeatable(settings),
    )


def _is_repeatable(settings: OperationSettings) -> bool:
    if settings.repeatable is not None:
        return settings.repeatable
    methods = set(settings.methods)
    return methods <= {"GET", "HEAD"} or (settings.operation in _REPEATABLE and methods <= {"GET", "HEAD", "POST"})


def _reading(settings: OperationSettings, common: _Common) -> Reading:
    """Compile the text reader of requests: everything is text, except for ``members`` and the paths to facts."""
    request = settings.request
    with placed("request", "members"):
        shape = Shapes(common.shapes).compile(request.members)
    documents, query, index = request.documents, request.query, request.index
    completions = request.completions.paths if request.completions else []
    plain = [*request.breadth, *request.max_tokens, *completions, *([request.stream] if request.stream else [])]
    parts = [part for part in (request.top_n, request.return_documents) if part]
    each = request.top_n.each if request.top_n and request.top_n.each else None
    plain += [text for part in parts if (text := part.path) and each is None]
    mark(shape, plain)
    mark(shape, request.model, kind="name")
    if index is not None:
        mark(shape, index.paths if index.each is None else [index.each + p[1:] for p in index.paths], kind="index")
        mark(shape, index.also, kind="index")
    if each is not None and request.top_n is not None and request.top_n.path:
        mark(shape, [each + request.top_n.path[1:]])
    if query is not None:
        mark(shape, query.paths, bucket=QUERY)
    if documents is not None:
        mark(shape, [documents.path, *documents.also], bucket=None if documents.text else DOCUMENTS, apart=True)
        mark(shape, documents.text, bucket=DOCUMENTS, apart=True)
        inner = [part for part in (documents.id, documents.source) if part]
        mark(shape, [documents.path + part[1:] for part in inner], kind="name")
    if request.esql is not None:
        mark(shape, [request.esql], bucket=QUERY)
    shape.close()
    parameters = dict(common.parameters)
    if common.index_parameter is not None:
        parameters[common.index_parameter] = GRAMMARS["index"]
    for part, grammar in ((request.top_n, "name"), (index, "index")):
        if part is not None and part.parameter is not None:
            parameters[part.parameter] = GRAMMARS[grammar]
    return Reading(
        shape,
        apart=request.body == "ndjson" or (documents is not None and documents.path == "$"),
        of_model=settings.operation in _OF_MODELS,
        parameters=parameters,
        asked=query.parameter if query else None,
        encoded=paths(request.encoded),
        unreadable=paths(request.unreadable),
    )


def _usage(settings: OperationSettings, *, asks: bool) -> Usage:
    response = settings.response
    results = paths(response.results) if response else ()
    if settings.usage is None:
        return Usage(paths(response.tokens) if response else (), (), results)
    option = compile_path(settings.usage.option).names if settings.usage.option is not None and asks else ()
    if option is None or (option and settings.request.body != "json"):
        raise SettingError(f"{settings.usage.option!r} is not a plain path to a member of a JSON request", "usage")
    if option and not results:  # a document with a report and results would be taken for one without
        raise SettingError(
            "`option` needs the paths of `results` in `response`, which the report does not have", "usage"
        )
    return Usage(paths(settings.usage.tokens), option, results)


def _stored(settings: StoredSettings | None) -> Stored | None:
    if settings is None:
        return None
    new = compile_path(settings.new) if settings.new else None
    return Stored(settings.path, compile_path(settings.found), new, settings.partial)


def _discovery(settings: DiscoverySettings | None) -> Discovery | None:
    if settings is None:
        return None
    with placed("discovery"):
        found = Discovery(paths(settings.addresses), paths(settings.hosts), settings.advice)
        if any(path.selects_document for path in (*found.addresses, *found.hosts)):
            raise SettingError("name the members that are addresses; '$' is the whole answer")
    return found


def _answer(settings: OperationSettings, common: _Common) -> Answer:
    response, of_model = settings.response, settings.operation in _OF_MODELS
    if response is None:
        return Answer(of_model=of_model)
    documents = settings.request.documents
    return Answer(
        shape=_answer_shape(response, common),
        of_model=of_model,
        results=paths(response.results),
        index=compile_path(response.index) if response.index else None,
        id=compile_path(response.id) if response.id else None,
        in_order=response.in_order,
        score=compile_path(response.score) if response.score else None,
        text=paths(response.text),
        source=compile_path(response.source) if response.source else None,
        tokens=paths(response.tokens),
        more_text=paths(response.more_text),
        document_id=compile_path(documents.id) if documents and documents.id else None,
        document_source=compile_path(documents.source) if documents and documents.source else None,
    )


def _answer_shape(response: ResponseSettings, common: _Common) -> Shape:
    with placed("response", "members"):
        shape = Shapes(common.shapes).compile(response.members)
    within = [part for part in (response.index, response.score) if part]
    mark(shape, response.results, bucket=None if response.text else RESULTS, apart=True)
    for results in response.results:
        mark(shape, [results + part[1:] for part in within])
        mark(shape, [results + part[1:] for part in (response.id, response.source) if part], kind="name")
        mark(shape, [results + text[1:] for text in response.text], bucket=RESULTS)
    mark(shape, response.more_text, bucket=RESULTS)
    mark(shape, response.tokens)
    shape.close()
    return shape


def _all_members(request: RequestSettings) -> dict[str, str]:
    """Return every member name in the paths of *request*, by its case-folded form."""
    found = re.findall(r"[.'\[]([A-Za-z_][A-Za-z0-9_]*)", request.model_dump_json())
    return {name.casefold(): name for name in found}


def _plain_members(request: RequestSettings) -> Iterable[tuple[str, ...]]:
    texts = [*(request.query.paths if request.query else ()), *request.breadth, *request.max_tokens, *request.model]
    texts += request.completions.paths if request.completions else []
    texts += [part.path for part in (request.documents, request.top_n, request.return_documents) if part and part.path]
    texts += request.documents.also if request.documents else []
    texts += request.index.paths if request.index else []
    texts += [text for text in (request.stream, request.esql) if text]
    for text in texts:
        for end in range(len(text), 0, -1):  # `$.docs[*]._index`: the plain part
            if text[end:] == "" or text[end] in ".[":
                try:
                    names = compile_path(text[:end]).names
                except PathError:
                    continue
                if names:
                    yield names
                    break


_UNREADABLE: Any = object()


def _is_score(value: Any, *, missing: bool) -> bool:
    """True if *value* is a score; None is allowed if scores may be *missing*."""
    if value is None:
        return missing
    return (type(value) is float and math.isfinite(value)) or (type(value) is int and abs(value) <= LARGEST)
