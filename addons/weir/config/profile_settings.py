"""The schema of a profile, which describes an API as data. ``weir schema profile`` exports it."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StringConstraints, model_validator

from weir.config.model import Name, Settings, Strings, TokenPlace, as_list

OperationName = Literal["rerank", "score", "search", "embed", "chat", "read", "write", "admin"]


def _named(field: str, settings: Any) -> BeforeValidator:
    """Accept a plain text or list in place of *settings*: it becomes the setting *field*."""
    return BeforeValidator(
        lambda value: {field: value} if isinstance(value, str | list) else value,
        json_schema_input_type=str | list[str] | settings,
    )


class QuerySettings(Settings):
    """Query texts: all texts at ``paths`` (also inside lists and objects), and a query parameter."""

    paths: Strings = []
    parameter: str | None = None
    required: bool = False


class DocumentsSettings(Settings):
    """``path`` selects the list of documents; with ``single``, a single text or object there is one document.

    A path with wildcards selects the documents themselves. ``also`` are paths to further lists, which count together
    with the first one: an API that takes texts or images needs only one of them. ``id`` and ``source`` are paths within
    one document: the id that a response may use for it, and its origin. ``text`` selects its texts, if they are outside
    of the counted documents.
    """

    path: str
    also: Strings = []
    single: bool = False
    text: Strings = []
    id: str | None = None
    source: str | None = None


class NumberSettings(Settings):
    """A whole number at ``path`` or in a query parameter; with ``each``, the sum over every value that it selects.

    ``absent`` is its value if the request does not set it: ``all`` documents, or a number.
    ``zero`` defines whether 0 means none or all.
    """

    path: str | None = None
    parameter: str | None = None
    each: str | None = None
    absent: Literal["all"] | Annotated[int, Field(ge=0)] | None = None
    zero: Literal["all", "none"] = "none"


class CompletionsSettings(Settings):
    """How many texts a model writes for one request: the largest whole number at ``paths``, or 1.

    ``each``: paths that select prompts. If they select several, the number is multiplied by their count.
    """

    paths: Annotated[Strings, Field(min_length=1)]
    each: Strings = []


class IndexSettings(Settings):
    """Names of the indexes that a request searches or changes: texts, comma lists, and lists of both.

    ``{index}``, ``{target}`` and ``{alias}`` in the path are read too. With ``each``, every value that it selects names
    its own index, or the path names it. ``otherwise`` is the index of a request that names none (``*``: every index).
    ``also`` are paths to additional names; ``keys`` are paths to objects that have indexes as member names.
    ``everything`` means that the request can reach any index, regardless of names. A value at ``hides`` means the same,
    because it can name indexes that cannot be read here.
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
    """A boolean. With ``inverted``, true means no. With ``lenient``, any value except false means yes.

    Without ``path``, its value is always ``absent``.
    """

    path: str | None = None
    absent: bool = False
    inverted: bool = False
    lenient: bool = False


#: A tree of members. The profile's compiler checks it, since a shape may contain itself.
Tree = dict[str, Any] | list[str] | str


class RequestSettings(Settings):
    """Where a request contains the facts of an operation.

    ``members`` is a tree of the member names that the API itself defines. These names are not text; all other names
    are. Each name has a value: ``text`` (or nothing), ``id``, ``name`` or ``index`` (an identifier in that grammar,
    otherwise text), a list of an enumeration's values (other values are text), ``data`` (Base64 or a data URI),
    ``numbers`` (a list of numbers there is not a prompt), the name of one of the profile's ``shapes``, or the members
    below. The tree omits lists: it names the members of their items. ``messages[]``: the items of this list are never
    joined into one text. Special names: ``""`` is the value itself if it is a text, ``"*"`` means all other members,
    ``"{name}"`` the same, except that names in the grammar ``name`` are not text.
    """

    body: Literal["json", "ndjson"] = "json"
    query: Annotated[QuerySettings, _named("paths", QuerySettings)] | None = None
    documents: Annotated[DocumentsSettings, _named("path", DocumentsSettings)] | None = None
    top_n: Annotated[NumberSettings, _named("path", NumberSettings)] | None = None
    breadth: Strings = []  # paths to whole numbers; the largest one counts
    max_tokens: Strings = []  # for each completion
    completions: Annotated[CompletionsSettings, _named("paths", CompletionsSettings)] | None = None
    model: Strings = []
    index: Annotated[IndexSettings, _named("paths", IndexSettings)] | None = None
    return_documents: Annotated[FlagSettings, _named("path", FlagSettings)] | None = None
    stream: str | None = None
    refuse: Strings = []  # paths that must be empty: other spellings of the facts above
    esql: str | None = None  # path to a text in ES|QL, which itself names indexes and limits
    members: Tree | None = None
    encoded: Strings = []  # paths to texts in Base64 that the service decodes
    unreadable: Strings = []  # paths to prompts without a readable text: vectors, tokens


class ResponseSettings(Settings):
    """Where a response contains its results. All paths except ``results`` and ``tokens`` are read within one result.

    ``id`` identifies the request's document instead of ``index``. With ``in_order``, the results have the order of the
    documents. Without all of these, results have no positions.
    """

    results: Annotated[Strings, Field(min_length=1)]
    index: str | None = None
    id: str | None = None
    in_order: bool = False
    score: str | None = None
    text: Strings = []
    source: str | None = None
    tokens: Strings = []
    more_text: Strings = []  # paths in the response to texts outside of its results
    members: Tree | None = None  # as in requests, for rules on responses


FramingMode = Literal["pieces", "records", "auto"]


class TextSettings(Settings):
    """A text that a stream sends in pieces, one piece in each document (an event, a line or a message).

    ``path`` selects the piece; pieces at several paths belong to one text. ``by`` are names of members in the objects
    around a piece: pieces with the same values there belong to one text (an ``index``, an ``item_id``). ``until`` are
    members in those objects that end the text: by name, if any value ends it, or by name and values (``*`` means any
    value). While a text may continue, it is held until the stream ends, or until 32 documents contain none of it.
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
    """How the documents of a stream belong together, so that masks find a value that is split over documents.

    ``framing``: with ``records`` each document is complete, as in results and exports. With ``pieces`` any string may
    continue in the next documents. ``auto`` is the same, but releases held documents when the service falls silent.
    ``texts`` declares texts that come in pieces. ``records`` lists paths to members that are never pieces. Both are
    exact: these members are not joined with others.
    """

    framing: FramingMode | None = None
    texts: list[TextSettings] = []
    records: Strings = []


class UsageSettings(Settings):
    """Where the documents of a stream report the number of used tokens.

    ``tokens`` are paths within one document. The last value at each path counts; the values at several paths are added.

    ``option`` is the path of a boolean in the request, if the service reports its usage only where this option is true.
    The gateway sets the option in streamed requests. The document that the service then sends in addition has a number
    at ``tokens`` and no results: the record keeps it, and callers that did not set the option do not receive it.
    """

    tokens: Annotated[Strings, Field(min_length=1)]
    option: str | None = None


class StoredSettings(Settings):
    """Where an operation that changes one document finds the stored document, so that reviewers can see the change.

    ``path`` is read with GET. ``found`` selects the document in the answer, ``new`` the document in the request;
    without ``new``, the operation removes the document. ``partial``: the request's document is merged into the stored
    one.
    """

    path: str
    found: str = "$"
    new: str | None = None
    partial: bool = False


class DiscoverySettings(Settings):
    """Where an answer names the addresses of a service's nodes, at which clients continue without the gateway.

    ``addresses`` are paths to URLs, ``host:port`` or hosts, which are replaced with the gateway's address in the same
    form. ``hosts`` are paths to bare names, which are replaced with the gateway's host. An answer in another form than
    JSON is refused. Below a path prefix (``match: {path: …}``) the request is refused, because clients drop the prefix
    when they follow such an address. ``advice`` is the end of that refusal: it names the client's option to switch off.
    """

    addresses: Annotated[Strings, Field(min_length=1)]
    hosts: Strings = []
    advice: str


class OperationSettings(StreamSettings):
    """Methods and paths, and the meaning of a request to them. ``{name}`` is one segment, ``{name...}`` all remaining.

    ``framing``, ``texts`` and ``records`` state how the documents of its answer belong together, if it is a stream.
    ``usage`` states where they report the number of tokens; without it, they report it where the plain answer does.

    ``repeatable``: whether a request may be sent once more, on a new connection, if the service closed the first one
    without an answer. The default is true for rerank, score, search, embed and read, and for GET and HEAD. State
    ``false`` where a second request has another answer, as with a cursor. It cannot be true for chat, which costs
    money and may run tools, and for write and admin.
    """

    methods: Annotated[Strings, Field(min_length=1)] = ["POST"]
    paths: Annotated[Strings, Field(min_length=1)]
    operation: OperationName
    request: RequestSettings = RequestSettings()
    response: ResponseSettings | None = None
    usage: Annotated[UsageSettings, _named("tokens", UsageSettings)] | None = None
    stored: StoredSettings | None = None
    repeatable: bool | None = None
    discovery: DiscoverySettings | None = None

    @model_validator(mode="after")
    def _repeats(self) -> "OperationSettings":
        if self.repeatable and self.operation in ("chat", "write", "admin"):
            raise ValueError(f"`repeatable: true` is not possible for {self.operation}: the service might do it twice")
        return self


#: The name of an environment variable.
VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]{0,99}$")]
VariableNames = Annotated[list[VariableName], BeforeValidator(as_list, json_schema_input_type=str | list[str])]


class EnvironmentSettings(Settings):
    """Variables from which an SDK of the API takes both its address and its key, so that ``weir exec`` can set them.

    ``base_url`` is set to the connection's address followed by ``path`` (``/v1`` if the SDK expects it there), and
    ``token`` to the caller's token. A client that finds a token but no address sends the token to the vendor, so
    ``token`` requires ``base_url``, and only variables of SDKs that read both may be listed.

    ``languages``: the languages in which the API's SDK reads ``base_url``, if SDKs in other languages read ``token``
    alone. ``withheld``: variables from which other clients take a key but no address. They are set to a text that is
    not a key, so that these clients do not fall back on ``token``. ``unset``: variables that lead such a client to
    another address, or send another key to the gateway.
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
                "`token` needs `base_url`: a client that finds a token but no address sends the token to the vendor"
                if self.token
                else "`base_url` is missing: name the variable from which the SDK takes its address"
            )
        named = [*self.base_url, *self.token, *self.withheld, *self.unset]
        if twice := sorted({name for name in named if named.count(name) > 1}):
            raise ValueError(f"{twice[0]} is named twice; give each variable one meaning")
        return self


class ProfileSettings(Settings):
    """One API. ``extends`` names another profile; its operations and settings apply unless this profile sets its own.

    ``framing`` is the default for operations. ``websocket`` describes the messages of WebSockets.
    """

    profile: Name
    title: str
    documentation: str = ""
    extends: Name | None = None
    token_in: list[TokenPlace] | None = None
    environment: EnvironmentSettings | None = None
    vendor_keys: VariableNames | None = None  # where clients look for the vendor's key: `weir exec` warns if one is set
    code: str | None = None  # a Python client without such variables; {url} is replaced by the connection's address
    headers: Annotated[
        Strings,
        Field(
            description="Names of the request headers that the API and its SDKs define, which the service receives. "
            "Leave out headers that state who calls: callers choose their values."
        ),
    ] = []
    refuse_parameters: Strings = []  # query parameters that would replace a body
    index_parameter: str | None = None  # a query parameter that names indexes on every path
    ignores_case: bool | None = None  # the service treats members that differ only in case as the same
    shapes: dict[str, Tree] = {}  # trees of members by name, for the `members` of requests and responses
    parameters: dict[str, list[str] | str | None] = {}  # the API's query parameters, each with the kind of its value
    framing: FramingMode | None = None
    websocket: StreamSettings | None = None
    usage_option: Annotated[
        bool | None,
        Field(
            description="Whether the gateway may set the `option` of `usage` in requests. Set `false` in a profile "
            "that extends another one, if the service refuses the option. Default: true."
        ),
    ] = None
    index_expressions: bool | None = None  # names are comma lists with wildcards; an empty one means every index
    operations: list[OperationSettings] = []
    # Anchors that operations share (YAML's way to avoid repetition).
    shared: Any = None

    @model_validator(mode="after")
    def _has_operations(self) -> "ProfileSettings":
        if not self.operations and self.extends is None:
            raise ValueError("a profile without operations allows no request; add operations, or `extends`")
        return self
