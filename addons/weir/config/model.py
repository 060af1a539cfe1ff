"""The schema of the policies folder: gateway.yaml and connection files.

This module checks shapes only. Each room compiles its own part and checks the rest.
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


#: The form of a detector's name: ``employee_id``.
DetectorName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]


class Settings(BaseModel):
    """Base of all settings. Unknown keys are mistakes, and values do not change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _with_unit(value: Any) -> Any:
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise ValueError(f"{value} has no unit; write e.g. {value}s, {value}m or {value}h")
    return value


#: ``90s``, ``15m``, ``1h``, ``30d``.
Duration = Annotated[str, BeforeValidator(_with_unit)]
Strings = Annotated[list[str], BeforeValidator(as_list, json_schema_input_type=str | list[str])]


#: Places of a token besides ``Authorization: Bearer``: a header's name, or another scheme of ``Authorization``.
TokenPlace = Literal["api-key", "x-api-key", "x-goog-api-key", "token", "apikey", "basic"]


class TlsSettings(Settings):
    """``ca``: a PEM file with authorities that replace the usual ones."""

    ca: str


class IntrospectionSettings(Settings):
    """Introspection of opaque tokens (RFC 7662): the client credentials, and the endpoint (default: from discovery)."""

    client_id: Annotated[str, StringConstraints(min_length=1)]
    client_secret: str
    endpoint: str | None = None
    audience: Literal["required", "optional"] = "required"


class LoginSettings(Settings):
    """How people log in with ``weir login``: a public client of the issuer.

    ``client_secret`` is for providers that require one although it is not secret, as Google for its desktop clients:
    everyone who can reach the gateway can read it. ``redirect_port`` is for providers that accept only an exact
    redirect URI: ``http://127.0.0.1:PORT/callback``. Without it, each login uses another port. ``resource`` (RFC 8707)
    is for issuers that issue tokens for a named resource.
    """

    client_id: Annotated[str, StringConstraints(min_length=1)]
    client_secret: Annotated[str, StringConstraints(min_length=1)] | None = None
    redirect_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    scopes: list[str] = ["openid", "offline_access"]
    resource: str | None = None


class ClientAudienceSettings(Settings):
    """For access tokens without ``aud``, such as Cognito's: the clients (``client_id``) that may have them."""

    client_id: Annotated[Strings, Field(min_length=1)]


#: The audiences of an issuer's tokens, or their clients.
Audience = Annotated[
    Annotated[ClientAudienceSettings, Tag("clients")] | Annotated[Strings, Field(min_length=1), Tag("audiences")],
    Discriminator(lambda value: "audiences" if isinstance(value, str | list) else "clients"),
]
#: Claims, by name or JSONPath, with the value or values that each must have.
Claims = dict[str, str | int | bool | list[str | int | bool]]


class MachinesSettings(Settings):
    """Which tokens belong to machines. Machines may ask for approval, but they never decide.

    ``subject_is_client``: tokens that a client got for itself. Their ``sub`` equals ``client_id``, ``azp``, ``cid`` or
    ``appid``, or they have the mark of Entra, Auth0 or Keycloak. ``subjects`` are patterns as in the issuer's
    ``subjects``. ``claims`` are written as in ``require``; each of them is a mark of machines.
    """

    subject_is_client: bool = True
    subjects: Strings = []
    claims: Claims = {}


class IssuerSettings(Settings):
    """A trusted token issuer. Its keys come only from its discovery document or from ``jwks``."""

    name: Name
    preset: Literal["github-actions", "kubernetes"] | None = None
    issuer: Annotated[str, StringConstraints(min_length=1)] | None = None
    audience: Audience
    jwks: Annotated[str, StringConstraints(min_length=1)] | None = None
    token: Literal["access", "id", "jwt"] = "jwt"  # noqa: S105  # a profile's name
    algorithms: Annotated[Strings, Field(min_length=1)] | None = None
    groups: str = "$.groups"
    add_groups: Strings = []
    subjects: Strings = []
    require: Claims = {}
    machines: MachinesSettings = MachinesSettings()
    leeway: Duration = "30s"
    max_lifetime: Duration | None = None
    max_stale: Duration = "1h"
    key_use: Strings = ["sig"]
    token_file: str | None = None
    tls: TlsSettings | None = None
    introspection: IntrospectionSettings | None = None
    login: LoginSettings | None = None


class CertificateIssuerSettings(Settings):
    """Client certificates as identity, signed by an authority in the file ``ca``.

    ``subject`` lists the kinds of names that identify a holder, in order: the first kind that the certificate has
    counts, and it must have exactly one name of it. Names are ``spiffe://…``, ``dns:…`` and ``email:…``. ``groups``
    maps patterns of names to groups; every holder gets ``add_groups``.
    """

    name: Name = "mtls"
    ca: str
    subject: Annotated[list[Literal["spiffe", "dns", "email"]], Field(min_length=1)] = ["spiffe", "dns", "email"]
    subjects: Strings = []
    groups: dict[str, Strings] = {}
    add_groups: Strings = []


class NetworkIssuerSettings(Settings):
    """The source address of a transparent caller as identity.

    This is weak: any sender with access to such an address counts as one of these callers.
    """

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
    """A named list of terms: here, or in a file with one term per line. Rules refer to it by name."""

    terms: list[Annotated[str, StringConstraints(min_length=1)]] = []
    file: str | None = None


class DetectorSettings(Settings):
    """A kind of value that masks can name: a ``pattern`` (RE2), ``terms``, or a ``file`` with one term per line.

    With ``context``, one of these words must occur shortly before the value or be its name. ``checksum`` names a check
    that the value's own digits must pass.
    """

    pattern: Annotated[str, StringConstraints(min_length=1)] | None = None
    terms: list[Annotated[str, StringConstraints(min_length=1)]] = []
    file: str | None = None
    context: Strings = []
    checksum: str | None = None


class HookSettings(Settings):
    """A receiver of approval notifications: one of ``webhook``, ``slack``, ``teams``, ``email``, ``command``.

    ``secret`` signs a webhook's bodies. ``on`` lists the events to send, ``connections`` the connections (empty: all).
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
    """Mail by SMTP: ``smtp://host:587`` (with STARTTLS, except on loopback) or ``smtps://host:465``."""

    server: str
    sender: str
    to: Annotated[Strings, Field(min_length=1)]
    user: str | None = None
    password: str | None = None


class HeldSettings(Settings):
    """How much may wait for reviewers in one worker: requests in total and per principal, and megabytes of bodies.

    ``open`` limits the undecided approvals of one principal, over all workers.
    """

    requests: Annotated[int, Field(ge=1)] = 2000
    per_user: Annotated[int, Field(ge=1)] = 20
    megabytes: Annotated[int, Field(ge=1)] = 256
    open: Annotated[int, Field(ge=1)] = 50


class BodiesSettings(Settings):
    """How long to keep bodies, with the whole recorded messages, if not as long as the rows of the index."""

    keep: Duration


class KeepSettings(Settings):
    """How long to keep recordings if their connection does not set it, and recordings of requests to no connection."""

    keep: Duration | None = None
    bodies: BodiesSettings | None = None


class PublishSettings(Settings):
    """Where to send checkpoints, so that changes to the log are noticed. Exactly one of three targets.

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
            raise ValueError("set exactly one of webhook, git and store")
        return self


class ListenerTlsSettings(Settings):
    """A certificate with its chain, and its key, in PEM. ``client_certificates`` requests certificates from callers."""

    certificate: str
    key: str
    client_certificates: bool = False


class ListenerSettings(Settings):
    """One address to listen on: as endpoint (``reverse``), as proxy (``explicit``) or in the path (``transparent``)."""

    url: str
    mode: Literal["reverse", "explicit", "transparent"] = "reverse"
    tls: ListenerTlsSettings | None = None


ListenerEntry = Annotated[
    Annotated[ListenerSettings, Tag("settings")] | Annotated[str, Tag("url")],
    Discriminator(lambda value: "url" if isinstance(value, str) else "settings"),
]


class AdminSettings(Settings):
    """Where ``weir admin`` listens, and the URL that reviewers use if it differs."""

    listen: ListenerEntry = "http://127.0.0.1:8081"
    url: str | None = None


class PassSettings(Settings):
    """A destination to which TLS is tunnelled unread: ``host:port``, or ``network:port`` as in ``203.0.113.0/24:443``.

    ``addresses`` lists the addresses that its name may resolve to.
    """

    to: str
    addresses: Strings | None = None


PassEntry = Annotated[
    PassSettings,
    BeforeValidator(lambda v: {"to": v} if isinstance(v, str) else v, json_schema_input_type=str | PassSettings),
]


class UpstreamProxySettings(Settings):
    """The proxy that the gateway uses for upstreams, except for the hosts in ``except``."""

    url: str
    user: str | None = None
    password: str | None = None
    ca: str | None = None
    except_: Annotated[Strings, Field(alias="except")] = []


class BoundsSettings(Settings):
    """Limits of one worker for callers: sizes, times and counts.

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
    """``gateway.yaml``: where the gateway listens and records, and which issuers it trusts."""

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
    extensions: list[Annotated[str, StringConstraints(min_length=1)]] = []  # installed packages that are loaded


class MatchSettings(Settings):
    """The requests that belong to a connection. All settings given must match."""

    path: str | None = None
    host: str | None = None
    port: Annotated[int, Field(ge=1, le=65535)] | None = None


class UpstreamTlsSettings(Settings):
    """TLS to an upstream. ``ca`` replaces the usual authorities; ``certificate`` and ``key`` authenticate Weir.

    All are PEM files.
    """

    ca: str | None = None
    certificate: str | None = None
    key: str | None = None


class CredentialSettings(Settings):
    """The gateway's credential at the upstream: one header or one query parameter."""

    header: str | None = None
    query: str | None = None
    value: str


class CorsSettings(Settings):
    """Web pages that may call the connection, by origin: ``https://app.example.com``, or ``*`` for every page.

    The gateway answers their browsers' preflights, which have no token, and removes the service's own
    ``Access-Control-`` headers. ``credentials`` allows cookies and client certificates; ``max_age`` is how long a
    browser keeps the answer to a preflight.
    """

    origins: Annotated[Strings, Field(min_length=1)]
    credentials: bool = False
    max_age: Duration = "10m"


class ReviewersSettings(Settings):
    """Who may decide: members of groups, users, and the person on call by the schedule with that name.

    A plain list names groups.
    """

    groups: Strings = []
    users: Strings = []
    on_call: Name | None = None

    @model_validator(mode="after")
    def _somebody(self) -> "ReviewersSettings":
        if not (self.groups or self.users or self.on_call):
            raise ValueError("name at least one of groups, users or on_call")
        return self


Reviewers = Annotated[
    ReviewersSettings,
    BeforeValidator(
        lambda value: {"groups": value} if isinstance(value, str | list) else value,
        json_schema_input_type=str | list[str] | ReviewersSettings,
    ),
]


class OnRequestSettings(Settings):
    """Temporary access: ``count`` of the ``reviewers`` may grant it for up to ``at_most``."""

    reviewers: Reviewers
    count: Annotated[int, Field(ge=1, le=10)] = 1
    at_most: Duration = "4h"


class AccessSettings(Settings):
    """Who may use a connection: always, or on request."""

    groups: list[str] = []
    on_request: OnRequestSettings | None = None


class LimitSettings(Settings):
    """``rate`` is ``<number>/<second|minute|hour|day>``; ``burst`` is how many may arrive at once.

    ``concurrent`` limits requests in progress instead. ``per`` is user, group, connection or a fact.
    """

    rate: str | None = None
    concurrent: Annotated[int, Field(ge=1)] | None = None
    per: str = "user"
    count: Literal["requests", "documents", "results", "bytes", "tokens"] = "requests"
    burst: Annotated[int, Field(ge=1)] | None = None


class EscalateSettings(Settings):
    """Additional reviewers after a request has waited for ``after``."""

    after: Duration
    to: Reviewers


class ReuseSettings(Settings):
    """How long an approval covers its requester's later requests that match the same rule.

    ``same`` lists facts that must have the same values; without it, all facts in the rule's ``when``.
    """

    for_: Annotated[Duration, Field(alias="for")]
    same: list[str] | None = None


class ApprovalSettings(Settings):
    """Who must approve, and how long a request waits. A rule's own settings override those of its connection."""

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
    """The circuit breaker: the share of errors that closes the connection temporarily."""

    errors: str
    over: Duration = "1m"
    least: Annotated[int, Field(ge=1)] = 10


class RuleSettings(Settings):
    """One rule: its effect applies if its facts hold."""

    name: Name
    on: Literal["request", "response"] = "request"
    when: dict[Any, Any]
    effect: Literal["deny", "require_approval"]
    message: str = ""
    shadow: bool = False
    approval: ApprovalSettings | None = None


class RevealSettings(Settings):
    """The members of these groups see the unmasked value. The record stays masked."""

    groups: Annotated[Strings, Field(min_length=1)]


class MaskSettings(Settings):
    """A mask: the values to hide, their replacement, and the parties to hide them from.

    ``fields``, ``headers`` and ``query`` name places. ``detect`` names kinds of values in any place; with
    ``fields``, only there. All bytes that are not masked stay the same; ``preserve: exact`` states this explicitly.
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


BodiesEntry = Annotated[
    Annotated[BodiesSettings, Tag("settings")] | Annotated[Literal["full", "digest", "none"], Tag("word")],
    Discriminator(lambda value: "word" if isinstance(value, str) else "settings"),
]


class RecordSettings(Settings):
    """What to record of a connection's exchanges, when a record counts as written, and how long to keep it.

    ``enabled: false`` omits exchanges that were allowed; refusals are always recorded. ``digest`` writes keyed digests
    instead of bodies. ``bodies: {keep: 7d}`` writes them, and removes them before the rest, which ``keep`` removes.
    ``synced`` acknowledges a record only after it is on the disk. An intent is a line written before
    the request is sent: ``needed`` writes it for writes, for approved requests, and before a stream's first byte.
    """

    enabled: bool = True
    bodies: BodiesEntry = "full"
    keep: Duration | None = None
    durability: Literal["written", "synced"] = "written"
    intent: Literal["needed", "always", "never"] = "needed"


class ConnectionSettings(Settings):
    """One connection. Its settings are in the order in which a request meets them."""

    version: Literal[1]
    connection: Name
    profile: Name
    upstream: str
    tls: UpstreamTlsSettings | None = None
    addresses: Strings | None = None
    match: MatchSettings = MatchSettings()
    credential: CredentialSettings | None = None
    token_in: list[TokenPlace] | None = None
    forward: Annotated[
        Strings,
        Field(
            description="Names of request headers that the service receives, besides the standard ones and those of "
            "the profile. All other headers of callers are dropped."
        ),
    ] = []
    cors: CorsSettings | None = None
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
    return value.isoformat() if hasattr(value, "isoformat") else value  # YAML parses dates itself


_LocalTime = Annotated[str, BeforeValidator(_as_text)]


class OverrideSettings(Settings):
    """Replaces the rotation for a period. Times are local."""

    from_: Annotated[_LocalTime, Field(alias="from")]
    until: _LocalTime
    user: str


class ScheduleSettings(Settings):
    """``schedules/NAME.yaml``: who is on call. Each member of ``rotation`` serves one week, from ``starts`` (local)."""

    version: Literal[1]
    timezone: str
    starts: _LocalTime
    rotation: Annotated[Strings, Field(min_length=1)]
    overrides: list[OverrideSettings] = []
