"""What may stand in a profile: an API described by data. ``weir schema profile`` exports it."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from weir.config.model import Name, Settings, Strings, TokenPlace, as_list

OperationName = Literal["rerank", "score", "search", "embed", "chat", "read", "write", "admin"]


def _named(field: str, settings: Any) -> BeforeValidator:
    """A text or list alone stands for the setting *field* of *settings*."""
    return BeforeValidator(
        lambda value: {field: value} if isinstance(value, str | list) else value,
        json_schema_input_type=str | list[str] | settings,
    )


class QuerySettings(Settings):
    """Texts that are asked: all at ``paths`` (within lists and objects too), and a query parameter."""

    paths: Strings = []
    parameter: str | None = None
    required: bool = False


class DocumentsSettings(Settings):
    """``path`` selects the list of documents; with ``single``, a lone text or object there is one document.

    A path with wildcards selects the documents themselves. ``id`` and ``source`` are read within one document: what
    a response may call it, and where it comes from. ``text`` is where their texts stand, if not in what is counted.
    """

    path: str
    single: bool = False
    text: Strings = []
    id: str | None = None
    source: str | None = None


class NumberSettings(Settings):
    """A whole number: at ``path``, or in a query parameter; with ``each``, in every value that it selects, added up.

    ``absent`` is what it counts for where it is not given: ``all`` documents, or a number.
    ``zero``: whether 0 means none, or all.
    """

    path: str | None = None
    parameter: str | None = None
    each: str | None = None
    absent: Literal["all"] | Annotated[int, Field(ge=0)] | None = None
    zero: Literal["all", "none"] = "none"


class IndexSettings(Settings):
    """Names of what is searched or changed, besides ``{index}`` in the path: texts, comma lists and lists of them.

    In the path also ``{target}`` and ``{alias}``. With ``each``, every value that it selects names its own, or else
    the path does. ``otherwise`` stands for what a request that names nothing reaches (``*``: everything). ``also`` are
    named in any case; ``keys`` are objects whose members' names are. ``everything`` says that any could be reached,
    whatever is named; so does anything that stands at ``hides``, since it could name what cannot be read here.
    """

    paths: Strings = []
    parameter: str | None = None
    each: str | None = None
    otherwise: str | None = None
    also: Strings = []
    everything: bool = False
    keys: Strings = []
    hides: Strings = []


class FlagSettings(Settings):
    """A boolean; ``inverted`` where true means no. With ``lenient``, any other value than false means yes.

    Without ``path``, it is always as ``absent`` says.
    """

    path: str | None = None
    absent: bool = False
    inverted: bool = False
    lenient: bool = False


#: A tree of members. Checked where the profile is compiled, since a shape may contain itself.
Tree = dict[str, Any] | list[str] | str


class RequestSettings(Settings):
    """Where an operation's facts stand in a request.

    ``members`` are the names of members that the API itself defines, as a tree: they are no text, and all others are.
    Each has a value: ``text`` (or nothing), ``id``, ``name`` or ``index`` (an identifier of that
    grammar, else text), a list of the values of an enumeration (others are text), ``data`` (Base64 or a data URI),
    ``numbers`` (a list of numbers there is no prompt), the name of one of the profile's ``shapes``, or the members
    below. Lists are left out: the tree names the members of their items. ``messages[]``: items of this list are
    never joined into one text. Special names: ``""`` is the value itself where it is a text, ``"*"`` all other
    members, ``"{name}"`` the same, but names that match the grammar ``name`` are no text.
    """

    body: Literal["json", "ndjson"] = "json"
    query: Annotated[QuerySettings, _named("paths", QuerySettings)] | None = None
    documents: Annotated[DocumentsSettings, _named("path", DocumentsSettings)] | None = None
    top_n: Annotated[NumberSettings, _named("path", NumberSettings)] | None = None
    breadth: Strings = []  # paths to whole numbers, of which the largest counts
    max_tokens: Strings = []
    model: Strings = []
    index: Annotated[IndexSettings, _named("paths", IndexSettings)] | None = None
    return_documents: Annotated[FlagSettings, _named("path", FlagSettings)] | None = None
    stream: str | None = None
    refuse: Strings = []  # paths at which nothing may stand: other spellings of the facts above
    esql: str | None = None  # path to a text in ES|QL, which names indexes and limits by itself
    members: Tree | None = None
    encoded: Strings = []  # paths to texts in Base64 that the service decodes
    unreadable: Strings = []  # paths to prompts without a readable text: vectors, tokens


class ResponseSettings(Settings):
    """Where the results stand in a response; all but ``results`` and ``tokens`` are read within one result.

    ``id`` names the request's document instead of ``index``; with neither, results have no positions.
    """

    results: Annotated[Strings, Field(min_length=1)]
    index: str | None = None
    id: str | None = None
    score: str | None = None
    text: Strings = []
    source: str | None = None
    tokens: Strings = []
    more_text: Strings = []  # of the response, besides its results
    members: Tree | None = None  # as of a request, for rules on answers


FramingMode = Literal["pieces", "records", "auto"]


class TextSettings(Settings):
    """A text that a stream sends in pieces, one in each document (an event, a line or a message).

    ``path`` is where a piece stands; of several paths, all pieces are of one text. ``by`` are names of members in the
    objects around a piece: pieces with the same values there are of one text (an ``index``, an ``item_id``). ``until``
    are members in those objects that end the text: names of members that have a value then, or such members with their
    values, in which ``*`` stands for anything. As far as a text may go on that nothing has ended, it is held until the
    stream ends, or 32 documents have none of it.
    """

    path: Annotated[Strings, Field(min_length=1)]
    by: Strings = []
    until: Annotated[
        dict[str, list[str] | str | None],
        BeforeValidator(
            lambda value: dict.fromkeys(as_list(value)) if isinstance(value, str | list) else value,
            json_schema_input_type=str | list[str] | dict[str, list[str] | str | None],
        ),
    ] = {}


class StreamSettings(Settings):
    """How the documents of a stream belong together, so that masks find a value that is cut.

    ``framing``: with ``records`` each document stands alone, as in results and exports. With ``pieces`` any string may
    continue in the next documents. ``auto`` is the same, but releases held documents when the service falls silent.
    ``texts`` declares texts that come in pieces. ``records`` lists paths to members that are never pieces. Both are
    exact: these members are not joined with others.
    """

    framing: FramingMode | None = None
    texts: list[TextSettings] = []
    records: Strings = []


class StoredSettings(Settings):
    """For an operation that changes one document: where that stands, so that reviewers can be shown what would change.

    ``path`` is read with GET, ``found`` is where the document stands in the answer, ``new`` where it stands in the
    request; without ``new`` it is removed. ``partial``: what is sent is merged into what is there.
    """

    path: str
    found: str = "$"
    new: str | None = None
    partial: bool = False


class OperationSettings(StreamSettings):
    """Methods and paths, and what a request to them means. ``{name}`` is one segment, ``{name...}`` all that follow.

    ``framing``, ``texts`` and ``records`` say how the documents of its answer belong together, if it is a stream.
    """

    methods: Annotated[Strings, Field(min_length=1)] = ["POST"]
    paths: Annotated[Strings, Field(min_length=1)]
    operation: OperationName
    request: RequestSettings = RequestSettings()
    response: ResponseSettings | None = None
    stored: StoredSettings | None = None


#: A variable of the environment.
VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]{0,99}$")]
VariableNames = Annotated[list[VariableName], BeforeValidator(as_list, json_schema_input_type=str | list[str])]


class EnvironmentSettings(Settings):
    """Variables from which an SDK of the API takes both its address and its key, so that ``weir exec`` can set them.

    ``base_url`` is set to the connection's address followed by ``path`` (``/v1`` where the SDK expects it there), and
    ``token`` to the caller's token. A client that finds a token but no address sends the token to the vendor:
    ``token`` stands only beside ``base_url``, and only where the SDK reads both.

    ``languages``: the languages in which the API's SDK reads ``base_url``, where an SDK in another language reads
    ``token`` alone. ``withheld``: variables from which other clients take a key but no address. A text that is no key
    is put there, so that these clients do not fall back on ``token``. ``unset``: variables that lead such a client to
    another address, or another key to the gateway.
    """

    base_url: VariableNames = []
    path: Annotated[str, StringConstraints(pattern=r"^(/[A-Za-z0-9._~-]+)*$")] = ""
    token: VariableNames = []
    languages: list[Literal["python"]] | None = None
    withheld: VariableNames = []
    unset: VariableNames = []

    @model_validator(mode="after")
    def _pairs(self) -> "EnvironmentSettings":
        if not self.base_url:
            raise ValueError(
                "`token` needs `base_url` beside it: a client that finds a token but no address sends it to the vendor"
                if self.token
                else "`base_url` is missing: name the variable from which the SDK takes its address"
            )
        named = [*self.base_url, *self.token, *self.withheld, *self.unset]
        if twice := sorted({name for name in named if named.count(name) > 1}):
            raise ValueError(f"{twice[0]} is named twice; a variable has one meaning")
        return self


class ProfileSettings(Settings):
    """One API. ``extends`` names another profile whose operations and settings are taken over where this has none.

    ``framing`` is the default for operations. ``websocket`` describes the messages of WebSockets.
    """

    profile: Name
    title: str
    documentation: str = ""
    extends: Name | None = None
    token_in: list[TokenPlace] | None = None
    environment: EnvironmentSettings | None = None
    vendor_keys: VariableNames | None = None  # where clients look for the vendor's key: `weir exec` warns if one is set
    code: str | None = None  # a client in Python without such variables; {url} stands for the connection's address
    refuse_parameters: Strings = []  # query parameters that would stand in for a body
    index_parameter: str | None = None  # a query parameter that names indexes on every path
    ignores_case: bool | None = None  # the service takes members for one another that differ only in case
    shapes: dict[str, Tree] = {}  # trees of members by name, for the `members` of requests and responses
    parameters: dict[str, list[str] | str | None] = {}  # query parameters of the API, each with what its value is
    framing: FramingMode | None = None
    websocket: StreamSettings | None = None
    index_expressions: bool | None = None  # names are comma lists with wildcards, and an empty one is everything
    operations: list[OperationSettings] = []
    # Anchors for the operations: YAML's own way to say a thing once.
    shared: Any = None

    @model_validator(mode="after")
    def _has_operations(self) -> "ProfileSettings":
        if not self.operations and self.extends is None:
            raise ValueError("a profile without operations lets nothing pass; add one, or `extends`")
        return self
