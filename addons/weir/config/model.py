"""What may stand in the policies folder: the schema of gateway.yaml and of a connection's file.

Only shapes are checked here; each room compiles its own part and finds what a shape cannot say.
"""

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    model_validator,
)

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9_-]{0,62}[a-z0-9])?$")]


#: As kinds are written: ``employee_id``.
DetectorName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]


class Settings(BaseModel):
    """Every settings object: unknown keys are mistakes, and nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _with_unit(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f"{value} of what? Write e.g. {value}s, {value}m or {value}h")
    return value


#: ``90s``, ``15m``, ``1h``, ``30d``.
Duration = Annotated[str, BeforeValidator(_with_unit)]
Strings = Annotated[list[str], BeforeValidator(as_list, json_schema_input_type=str | list[str])]


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


class CertificateIssuerSettings(Settings):
    """Client certificates as identity: those of the authorities in the file ``ca``.

    ``subject`` says which name of a certificate is its holder's, by kind: of the first kind that it has, it must have
    one. Names are ``spiffe://…``, ``dns:…`` and ``email:…``; ``groups`` are of holders whose name matches,
    ``add_groups`` of all.
    """

    name: Name = "mtls"
    ca: str
    subject: Annotated[list[Literal["spiffe", "dns", "email"]], Field(min_length=1)] = ["spiffe", "dns", "email"]
    subjects: Strings = []
    groups: dict[str, Strings] = {}
    add_groups: Strings = []


class NetworkIssuerSettings(Settings):
    """The address that a transparent caller has, as identity. Weak: whoever can send from there is one of them."""

    name: Name = "network"
    sources: Annotated[Strings, Field(min_length=1)]
    add_groups: Annotated[Strings, Field(min_length=1)]


class CertificateEntry(Settings):
    """``mtls: {…}``."""

    mtls: CertificateIssuerSettings


class NetworkEntry(Settings):
    """``network: {…}``."""

    network: NetworkIssuerSettings


def _kind_of_issuer(value: Any) -> str:
    if isinstance(value, str):
        return "word"
    named = value if isinstance(value, dict) else type(value).model_fields
    return next((kind for kind in ("mtls", "network") if kind in named), "settings")


#: An issuer's settings, or the word for a built-in one.
IssuerEntry = Annotated[
    Annotated[IssuerSettings, Tag("settings")]
    | Annotated[Literal["local", "keys"], Tag("word")]
    | Annotated[CertificateEntry, Tag("mtls")]
    | Annotated[NetworkEntry, Tag("network")],
    Discriminator(_kind_of_issuer),
]


class CategorySettings(Settings):
    """A named list of terms: here, or in a file with one a line. Rules ask for it by name."""

    terms: list[Annotated[str, StringConstraints(min_length=1)]] = []
    file: str | None = None


class DetectorSettings(Settings):
    """Values that masks can name: a ``pattern`` (RE2), or a list of ``terms`` here or in a ``file`` with one a line.

    With ``context``, one of these words must stand near before the value or be its name. ``checksum`` names a check
    that the value's own digits must pass.
    """

    pattern: Annotated[str, StringConstraints(min_length=1)] | None = None
    terms: list[Annotated[str, StringConstraints(min_length=1)]] = []
    file: str | None = None
    context: Strings = []
    checksum: str | None = None


class HookSettings(Settings):
    """Somebody who is told of approvals: one of ``webhook``, ``slack``, ``teams``, ``email``, ``command``.

    ``secret`` signs a webhook's bodies. ``on`` names what is told, ``connections`` of which (all of them, if empty).
    """

    webhook: str | None = None
    secret: str | None = None
    slack: str | None = None
    teams: str | None = None
    email: "EmailSettings | None" = None
    command: list[str] | None = None
    on: list[Literal["asked", "escalated", "approved", "denied", "expired", "break_glass"]] = [
        "asked",
        "escalated",
        "break_glass",
    ]
    connections: Strings = []


class EmailSettings(Settings):
    """Mail by SMTP: ``smtp://host:587`` (with STARTTLS, but for loopback) or ``smtps://host:465``."""

    server: str
    sender: str
    to: Annotated[Strings, Field(min_length=1)]
    user: str | None = None
    password: str | None = None


class AdminSettings(Settings):
    """Where ``weir admin`` listens, and the URL under which reviewers reach it, where that is another."""

    listen: str = "http://127.0.0.1:8081"
    url: str | None = None


class HeldSettings(Settings):
    """How much may wait for reviewers in one worker: requests in all and of one principal, and bytes of bodies.

    ``open`` is how many undecided approvals one principal may have asked for, on all workers.
    """

    requests: Annotated[int, Field(ge=1)] = 2000
    per_user: Annotated[int, Field(ge=1)] = 20
    megabytes: Annotated[int, Field(ge=1)] = 256
    open: Annotated[int, Field(ge=1)] = 50


class KeepSettings(Settings):
    """For how long recordings are kept where a connection does not say, and those of requests to no connection."""

    keep: Duration | None = None


class PublishSettings(Settings):
    """Where checkpoints are sent, so that a changed or shortened log is noticed: one of the three.

    ``git`` is a remote that this machine can push to, ``store`` a URL of an object store (``s3://bucket/prefix``).
    """

    webhook: str | None = None
    git: str | None = None
    branch: str = "checkpoints"
    store: str | None = None
    every: Duration = "1m"

    @model_validator(mode="after")
    def _one(self) -> "PublishSettings":
        if sum(target is not None for target in (self.webhook, self.git, self.store)) != 1:
            raise ValueError("name one of webhook, git and store")
        return self


class ListenerTlsSettings(Settings):
    """A certificate with its chain, and its key, in PEM. ``client_certificates`` asks callers for theirs."""

    certificate: str
    key: str
    client_certificates: bool = False


class ListenerSettings(Settings):
    """Where the gateway listens: as the endpoint (``reverse``), as a proxy (``explicit``), or on the way."""

    url: str
    mode: Literal["reverse", "explicit", "transparent"] = "reverse"
    tls: ListenerTlsSettings | None = None


ListenerEntry = Annotated[
    Annotated[ListenerSettings, Tag("settings")] | Annotated[str, Tag("url")],
    Discriminator(lambda value: "url" if isinstance(value, str) else "settings"),
]


class PassSettings(Settings):
    """A destination whose TLS is let through as it is: ``host:port``, or ``network:port`` as in ``203.0.113.0/24:443``.

    ``addresses`` is what its name may resolve to.
    """

    to: str
    addresses: Strings | None = None


PassEntry = Annotated[
    PassSettings,
    BeforeValidator(lambda v: {"to": v} if isinstance(v, str) else v, json_schema_input_type=str | PassSettings),
]


class UpstreamProxySettings(Settings):
    """The proxy through which the gateway goes out, but for upstreams whose host is in ``except``."""

    url: str
    user: str | None = None
    password: str | None = None
    ca: str | None = None
    except_: Annotated[Strings, Field(alias="except")] = []


class BoundsSettings(Settings):
    """How much callers may send, how long they may take, and how many there may be: of one worker.

    Sizes are written ``64KiB`` or ``32MiB``, times ``10s``.
    """

    target: str | None = None
    head: str | None = None
    fields: Annotated[int, Field(ge=1, le=1000)] | None = None
    body: str | None = None
    decoded: str | None = None
    ratio: Annotated[int, Field(ge=1, le=1000)] | None = None
    answer: str | None = None
    bodies: str | None = None
    unread: str | None = None
    first_byte: Duration | None = None
    head_time: Duration | None = None
    body_time: Duration | None = None
    send_time: Duration | None = None
    idle: Duration | None = None
    connections: Annotated[int, Field(ge=1)] | None = None
    per_address: Annotated[int, Field(ge=1)] | None = None
    requests: Annotated[int, Field(ge=1)] | None = None
    resets: Annotated[int, Field(ge=1)] | None = None


class GatewaySettings(Settings):
    """``gateway.yaml``: what the gateway trusts and where it listens and records."""

    version: Literal[1]
    listen: Annotated[list[ListenerEntry], Field(min_length=1)]
    pass_: Annotated[list[PassEntry], Field(alias="pass")] = []
    upstream_proxy: UpstreamProxySettings | None = None
    public_url: str | None = None
    issuers: list[IssuerEntry] = []
    recordings: str = "recordings"
    readers: str | None = None  # the system's group that may read recordings
    record: KeepSettings = KeepSettings()
    checkpoints: list[PublishSettings] = []
    state: str = "sqlite"
    limits: str = "memory"
    admin: AdminSettings = AdminSettings()
    held: HeldSettings = HeldSettings()
    bounds: BoundsSettings = BoundsSettings()
    notify: list[HookSettings] = []
    same_person: list[Annotated[list[str], Field(min_length=2)]] = []
    timezone: str = "UTC"  # of the facts hour and weekday
    categories: dict[Name, CategorySettings] = {}
    detectors: dict[DetectorName, DetectorSettings] = {}


class MatchSettings(Settings):
    """Which requests are a connection's; all that is named must hold."""

    path: str | None = None
    host: str | None = None
    port: Annotated[int, Field(ge=1, le=65535)] | None = None


class UpstreamTlsSettings(Settings):
    """TLS to an upstream: ``ca`` is trusted instead of the usual authorities; ``certificate`` and ``key`` are Weir's.

    Files in PEM.
    """

    ca: str | None = None
    certificate: str | None = None
    key: str | None = None


class CredentialSettings(Settings):
    """How the upstream knows the gateway: one header or one query parameter."""

    header: str | None = None
    query: str | None = None
    value: str


class ReviewersSettings(Settings):
    """Who may decide: groups, users, and whoever is on call by the schedule of that name. A list alone is of groups."""

    groups: Strings = []
    users: Strings = []
    on_call: Name | None = None

    @model_validator(mode="after")
    def _somebody(self) -> "ReviewersSettings":
        if not (self.groups or self.users or self.on_call):
            raise ValueError("name somebody: groups, users or on_call")
        return self


Reviewers = Annotated[
    ReviewersSettings,
    BeforeValidator(
        lambda value: {"groups": value} if isinstance(value, str | list) else value,
        json_schema_input_type=str | list[str] | ReviewersSettings,
    ),
]


class OnRequestSettings(Settings):
    """Access for a while, which ``count`` of the ``reviewers`` may give, for no longer than ``at_most``."""

    reviewers: Reviewers
    count: Annotated[int, Field(ge=1, le=10)] = 1
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


class EscalateSettings(Settings):
    """Who else may decide once a request has waited for ``after``."""

    after: Duration
    to: Reviewers


class ReuseSettings(Settings):
    """For how long an approval covers its requester's later requests that match the same rule.

    ``same`` are facts that must then be as they were; without it, all that the rule's ``when`` names.
    """

    for_: Annotated[Duration, Field(alias="for")]
    same: list[str] | None = None


class ApprovalSettings(Settings):
    """Who must say yes, and how long is waited for them. A rule's own settings come before its connection's."""

    reviewers: Reviewers | None = None
    count: Annotated[int, Field(ge=1, le=10)] | None = None
    all_of: list[str] | None = None
    hold: Duration | None = None
    expires: Duration | None = None
    escalate: EscalateSettings | None = None
    break_glass: Annotated[list[str], BeforeValidator(as_list, json_schema_input_type=str | list[str])] | None = None
    reuse: (
        Annotated[
            ReuseSettings,
            BeforeValidator(
                lambda v: {"for": v} if isinstance(v, str) else v, json_schema_input_type=str | ReuseSettings
            ),
        ]
        | None
    ) = None


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


class RevealSettings(Settings):
    """Groups whose members see what others do not. The record stays masked."""

    groups: Annotated[Strings, Field(min_length=1)]


class MaskSettings(Settings):
    """What must not be seen, what stands in its place, and from whom it is hidden.

    ``fields``, ``headers`` and ``query`` name places, ``detect`` kinds of values wherever they stand; with ``fields``
    as well, only there. All bytes that are not masked are kept, which ``preserve: exact`` may say.
    """

    fields: list[str] = []
    headers: Strings = []
    query: Strings = []
    detect: Strings = []
    with_: Annotated[
        Literal["redact", "hash", "partial", "drop"] | dict[Literal["replace"], str | int | float | bool | None],
        Field(alias="with"),
    ]
    keep_last: Annotated[int, Field(ge=0, le=16)] | None = None
    hide_from: Annotated[list[Literal["upstream", "caller", "record"]], Field(min_length=1)] = [
        "caller",
        "record",
    ]
    in_: Annotated[list[Literal["request", "response"]], Field(alias="in", min_length=1)] = ["request", "response"]
    reveal_to: RevealSettings | None = None
    preserve: Literal["exact"] = "exact"


class RecordSettings(Settings):
    """What is written of a connection's exchanges, when it counts as written, and for how long it is kept.

    ``enabled: false`` leaves out what was let through; refusals are always recorded. ``digest`` writes keyed digests
    in the place of bodies. ``synced`` acknowledges only what the disk has. With an intent, a line is written before
    the request is sent: ``needed`` is for writes, for what was approved, and before a stream's first byte.
    """

    enabled: bool = True
    bodies: Literal["full", "digest", "none"] = "full"
    keep: Duration | None = None
    durability: Literal["written", "synced"] = "written"
    intent: Literal["needed", "always", "never"] = "needed"


class ConnectionSettings(Settings):
    """One connection, top to bottom in the order in which a request meets it."""

    version: Literal[1]
    connection: Name
    profile: Name
    upstream: str
    tls: UpstreamTlsSettings | None = None
    addresses: Strings | None = None
    match: MatchSettings = MatchSettings()
    credential: CredentialSettings | None = None
    token_in: list[TokenPlace] | None = None
    access: AccessSettings = AccessSettings()
    unknown_operations: Literal["refuse", "allow"] = "refuse"
    websocket: Strings = []
    writes: Literal["deny", "require_approval", "allow"] = "require_approval"
    trip: TripSettings | None = None
    limits: list[LimitSettings] = []
    approval: ApprovalSettings | None = None
    rules: list[RuleSettings] = []
    masks: list[MaskSettings] = []
    record: RecordSettings = RecordSettings()


def _as_text(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value  # YAML's own dates


_LocalTime = Annotated[str, BeforeValidator(_as_text)]


class OverrideSettings(Settings):
    """Somebody else than the rotation says, for a while. Local times."""

    from_: Annotated[_LocalTime, Field(alias="from")]
    until: _LocalTime
    user: str


class ScheduleSettings(Settings):
    """``schedules/NAME.yaml``: who is on call. Each of ``rotation`` for a week, from ``starts`` on (local time)."""

    version: Literal[1]
    timezone: str
    starts: _LocalTime
    rotation: Annotated[Strings, Field(min_length=1)]
    overrides: list[OverrideSettings] = []
