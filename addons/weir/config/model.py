"""What may stand in the policies folder: the schema of gateway.yaml and of a connection's file.

Only shapes are checked here; each room compiles its own part and finds what a shape cannot say.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, StringConstraints, Tag

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9_-]{0,62}[a-z0-9])?$")]


class Settings(BaseModel):
    """Every settings object: unknown keys are mistakes, and nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _with_unit(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f"{value} of what? Write e.g. {value}s, {value}m or {value}h")
    return value


#: ``90s``, ``15m``, ``1h``, ``30d``.
Duration = Annotated[str, BeforeValidator(_with_unit)]
Strings = Annotated[list[str], BeforeValidator(_as_list, json_schema_input_type=str | list[str])]


#: Where a token may stand besides ``Authorization: Bearer``: a header of that name, or another scheme of Authorization.
TokenPlace = Literal["api-key", "x-api-key", "x-goog-api-key", "token", "apikey", "basic"]


class TlsSettings(Settings):
    """``ca``: a PEM file, trusted instead of the usual authorities."""

    ca: str


class IntrospectionSettings(Settings):
    """Opaque tokens (RFC 7662): who asks, and where; by default at the discovered endpoint."""

    client_id: Annotated[str, StringConstraints(min_length=1)]
    client_secret: str
    endpoint: str | None = None
    audience: Literal["required", "optional"] = "required"


class LoginSettings(Settings):
    """How people log in with ``weir login``: a public client of the issuer's."""

    client_id: Annotated[str, StringConstraints(min_length=1)]
    scopes: list[str] = ["openid", "offline_access"]
    resource: str | None = None  # RFC 8707, for issuers that give tokens for a named resource


class IssuerSettings(Settings):
    """A token issuer that is trusted. Keys come from its discovery document or from ``jwks``, and from nowhere else."""

    name: Name
    preset: Literal["github-actions", "kubernetes"] | None = None
    issuer: Annotated[str, StringConstraints(min_length=1)] | None = None
    audience: Annotated[Strings, Field(min_length=1)]
    jwks: Annotated[str, StringConstraints(min_length=1)] | None = None
    token: Literal["access", "id", "jwt"] = "jwt"  # noqa: S105  # a profile's name
    algorithms: Annotated[Strings, Field(min_length=1)] | None = None
    groups: str = "$.groups"
    add_groups: Strings = []
    subjects: Strings = []
    require: dict[str, str | int | bool | list[str | int | bool]] = {}
    leeway: Duration = "30s"
    max_lifetime: Duration | None = None
    max_stale: Duration = "1h"
    key_use: Strings = ["sig"]
    token_file: str | None = None
    tls: TlsSettings | None = None
    introspection: IntrospectionSettings | None = None
    login: LoginSettings | None = None


#: An issuer's settings, or the word for a built-in one.
IssuerEntry = Annotated[
    Annotated[IssuerSettings, Tag("settings")] | Annotated[Literal["local", "keys"], Tag("word")],
    Discriminator(lambda value: "word" if isinstance(value, str) else "settings"),
]


class CategorySettings(Settings):
    """A named list of terms: here, or in a file with one a line. Rules ask for it by name."""

    terms: list[Annotated[str, StringConstraints(min_length=1)]] = []
    file: str | None = None


class GatewaySettings(Settings):
    """``gateway.yaml``: what the gateway trusts and where it listens and records."""

    version: Literal[1]
    listen: Annotated[list[str], Field(min_length=1)]
    public_url: str | None = None
    issuers: list[IssuerEntry] = []
    recordings: str = "recordings"
    state: Literal["sqlite"] = "sqlite"
    limits: str = "memory"
    timezone: str = "UTC"  # of the facts hour and weekday
    categories: dict[Name, CategorySettings] = {}


class MatchSettings(Settings):
    """Which requests are a connection's; all that is named must hold."""

    path: str | None = None
    host: str | None = None
    port: Annotated[int, Field(ge=1, le=65535)] | None = None


class CredentialSettings(Settings):
    """How the upstream knows the gateway: one header or one query parameter."""

    header: str | None = None
    query: str | None = None
    value: str


class OnRequestSettings(Settings):
    """Access for a while, which ``reviewers`` (groups) may give, for no longer than ``at_most``."""

    reviewers: Annotated[Strings, Field(min_length=1)]
    at_most: Duration = "4h"


class AccessSettings(Settings):
    """Who may use a connection at all, always or on request."""

    groups: list[str] = []
    on_request: OnRequestSettings | None = None


class LimitSettings(Settings):
    """``rate`` is ``<number>/<second|minute|hour|day>``; ``burst`` is how many may come at once.

    ``concurrent`` is how many may be under way, instead. ``per`` is user, group, connection or a fact.
    """

    rate: str | None = None
    concurrent: Annotated[int, Field(ge=1)] | None = None
    per: str = "user"
    count: Literal["requests", "documents", "results", "bytes", "tokens"] = "requests"
    burst: Annotated[int, Field(ge=1)] | None = None


class ApprovalSettings(Settings):
    """Who approves, and for how long a request is held. Read now, enforced as a refusal."""

    reviewers: list[str] = []
    hold: str | None = None
    count: Annotated[int, Field(ge=1)] = 1


class TripSettings(Settings):
    """The circuit breaker: the share of errors at which the connection is closed for a while."""

    errors: str
    over: Duration = "1m"
    least: Annotated[int, Field(ge=1)] = 10


class RuleSettings(Settings):
    """One rule: when its facts hold, its effect counts."""

    name: Name
    on: Literal["request", "response"] = "request"
    when: dict[Any, Any]
    effect: Literal["deny", "require_approval"]
    message: str = ""
    shadow: bool = False
    approval: ApprovalSettings | None = None


class MaskSettings(Settings):
    """Fields that must not be seen, what stands in their place, and from whom they are hidden."""

    fields: Annotated[list[str], Field(min_length=1)]
    with_: Annotated[Literal["redact", "hash", "partial", "drop"] | dict[Literal["replace"], str], Field(alias="with")]
    hide_from: Annotated[list[Literal["upstream", "caller", "record"]], Field(min_length=1)] = [
        "caller",
        "record",
    ]


class ConnectionSettings(Settings):
    """One connection, top to bottom in the order in which a request meets it."""

    version: Literal[1]
    connection: Name
    profile: Name
    upstream: str
    match: MatchSettings
    credential: CredentialSettings | None = None
    token_in: list[TokenPlace] | None = None
    access: AccessSettings = AccessSettings()
    unknown_operations: Literal["refuse", "allow"] = "refuse"
    writes: Literal["deny", "require_approval", "allow"] = "require_approval"
    trip: TripSettings | None = None
    limits: list[LimitSettings] = []
    approval: ApprovalSettings | None = None
    rules: list[RuleSettings] = []
    masks: list[MaskSettings] = []
