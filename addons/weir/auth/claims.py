"""Verify the claims of a token and turn them into a principal (step two of two; `jws` is step one). Pure.

Sources: RFC 7519, RFC 9068 (access tokens), OpenID Connect Core 2 and 3.1.3.7 (ID tokens).
"""

import re
from dataclasses import dataclass
from typing import Any, Literal

from weir.auth.jws import TokenError
from weir.base.jsonpath import Path
from weir.base.principal import CERTIFICATE_BOUND, Principal

#: Allowed clock difference in seconds; an issuer's ``leeway`` overrides it.
LEEWAY = 30
#: A caller in more groups than this gets none of them.
MAX_GROUPS = 1000
#: Maximum characters of a subject, a group, a token id or a session id.
MAX_NAME = 256

#: ``access``: RFC 9068 only. ``id``: OpenID Connect ID tokens. ``jwt``: any signed JWT that is not an ID token.
TokenProfile = Literal["access", "id", "jwt"]

_TYPES: dict[str, frozenset[str]] = {
    "access": frozenset(("at+jwt",)),
    "id": frozenset(("", "jwt")),
    "jwt": frozenset(("", "jwt", "jose", "at+jwt")),
}
#: Claims that state the purpose of a token. Keycloak: ``typ``; Cognito and Hydra: ``token_use``.
_USES = ("typ", "token_use")
_ID_TOKEN_USES = frozenset(("id", "id_token"))
_OTHER_USES = frozenset(("refresh", "refresh_token", "offline", "logout", "registration", "initial", "action"))
#: Claims that list words with spaces between them (RFC 6749, 3.3): `scp` is Entra's name of `scope`.
_SCOPES = ("scope", "scp")
#: Claims that name the client of a token. `cid`: Okta; `appid`: Entra, version 1.
_CLIENTS = ("client_id", "azp", "cid", "appid")
#: Marks of tokens that a client got for itself: of Entra, Auth0 and Keycloak.
_ENTRA_APP, _AUTH0_GRANT, _KEYCLOAK_USER = ("idtyp", "app"), ("gty", "client-credentials"), "service-account-"
#: Claims that name one account. A service account of Google gets ID tokens for any audience, with itself as `azp`, and
#: anyone can create one. So these are trusted only if the issuer's settings name accounts.
_NAMING = ("sub", "email")
#: Only ID tokens have these.
_ID_TOKEN_CLAIMS = ("at_hash", "c_hash")


@dataclass(frozen=True, slots=True)
class Requirement:
    """A claim that must be, or contain, one of several values. The JSON type must match too."""

    name: str
    path: Path
    values: tuple[str | int | bool, ...]
    single: bool = False  # the claim never has several values, so a list does not meet it

    def holds(self, claims: dict[str, Any]) -> bool:
        """True if *claims* meet the requirement."""
        found = self.path.find(claims) if self.single else _values(self.path, claims)
        return any(type(one) is type(value) and one == value for one in found for value in self.values)


@dataclass(frozen=True, slots=True)
class Machines:
    """Which tokens of an issuer belong to machines, which may ask for approval and never decide."""

    subject_is_client: bool = True
    subjects: tuple[re.Pattern[str], ...] = ()
    claims: tuple[Requirement, ...] = ()  # each of them is a mark of machines

    def include(self, claims: dict[str, Any]) -> bool:
        """True if a token with these *claims* belongs to a machine."""
        subject = claims["sub"]
        return (
            (self.subject_is_client and _of_client(claims))
            or any(pattern.fullmatch(subject) for pattern in self.subjects)
            or any(mark.holds(claims) for mark in self.claims)
        )


def _of_client(claims: dict[str, Any]) -> bool:
    """True if a client got the token for itself (client credentials; RFC 9068, 2.2), and not for a person."""
    clients = [claims[name] for name in _CLIENTS if name in claims]
    return (
        claims["sub"] in clients
        or _ENTRA_APP in claims.items()
        or _AUTH0_GRANT in claims.items()
        or any(claims.get("preferred_username") == f"{_KEYCLOAK_USER}{client}".lower() for client in clients)
    )


@dataclass(frozen=True, slots=True)
class ClaimRules:
    """The requirements for one issuer's tokens. Times are in seconds."""

    name: str
    iss: str
    audiences: frozenset[str]
    groups: Path
    profile: TokenProfile = "jwt"
    algorithms: frozenset[str] | None = None  # None: every asymmetric algorithm that is supported
    leeway: float = LEEWAY
    max_lifetime: float | None = None
    subjects: tuple[re.Pattern[str], ...] = ()  # none: any subject
    require: tuple[Requirement, ...] = ()
    add_groups: tuple[str, ...] = ()
    clients: frozenset[str] = frozenset()  # for tokens without audience: their clients
    machines: Machines = Machines()

    def addresses(self, claims: dict[str, Any]) -> bool:
        """True if a token with these *claims* is for this gateway, according to these rules."""
        try:
            _check_audience(claims, self)
        except TokenError:
            return False
        return True


def read_principal(claims: dict[str, Any], rules: ClaimRules, now: float, kind: str = "") -> Principal:
    """Return the principal that the *claims* of a signed token describe at Unix time *now*.

    *kind* is the ``typ`` of the token's header. Raises `TokenError`.
    """
    if kind not in _TYPES[rules.profile]:
        raise TokenError("the token's type is not accepted from its issuer")
    if claims.get("iss") != rules.iss:
        raise TokenError("the token is from another issuer")
    expires, issued = _time(claims, "exp"), _time(claims, "iat")
    _check_audience(claims, rules)
    _check_use(claims, rules)
    if rules.max_lifetime is not None and expires - issued > rules.max_lifetime:
        raise TokenError("the token's lifetime is longer than allowed for its issuer")
    return _principal(claims, rules, now, expires, issued)


def read_introspected(claims: dict[str, Any], rules: ClaimRules, now: float, *, audience_required: bool) -> Principal:
    """Return the principal of an active token's introspection response (RFC 7662, 2.2).

    Most members are optional there. A missing ``exp`` or ``iat`` is accepted. A missing ``aud`` is refused if
    *audience_required*. Raises `TokenError`.
    """
    if claims.get("iss", rules.iss) != rules.iss:
        raise TokenError("the token is from another issuer")
    if "aud" in claims or audience_required or rules.clients:
        _check_audience(claims, rules)
    _check_use(claims, rules)
    proved = "dpop" if "jkt" in claims.get("cnf", ()) else "bearer"
    if str(claims.get("token_type", proved)).lower() != proved:
        raise TokenError("the token's `token_type` must be Bearer, or DPoP if the token is bound to a key")
    if "sub" not in claims and isinstance(claims.get("client_id"), str):
        claims = {**claims, "sub": claims["client_id"]}  # as in a JWT that the client got for itself (RFC 9068, 2.2)
    expires = _time(claims, "exp") if "exp" in claims else float("inf")
    issued = _time(claims, "iat") if "iat" in claims else 0.0
    return _principal(claims, rules, now, expires, issued)


def _principal(claims: dict[str, Any], rules: ClaimRules, now: float, expires: float, issued: float) -> Principal:
    if now >= expires + rules.leeway:
        raise TokenError("the token has expired")
    if issued > now + rules.leeway or ("nbf" in claims and _time(claims, "nbf") > now + rules.leeway):
        raise TokenError("the token is not valid yet")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= MAX_NAME:
        raise TokenError(f"the token has no usable subject (`sub`, 1 to {MAX_NAME} characters)")
    if rules.subjects and not any(pattern.fullmatch(subject) for pattern in rules.subjects):
        raise TokenError("the token's subject is not trusted here")
    for requirement in rules.require:
        if not requirement.holds(claims):
            raise TokenError(f"the token's claim {requirement.name!r} does not have a value that is required here")
    groups, unknown = _groups(claims, rules)
    return Principal(
        rules.name, rules.iss, subject, groups, expires, issued - rules.leeway,
        token_id=_identifier(claims, "jti"), sid=_identifier(claims, "sid"),
        groups_unknown=unknown, key_thumbprint=_bound_to(claims), machine=rules.machines.include(claims),
    )  # fmt: skip


def _check_audience(claims: dict[str, Any], rules: ClaimRules) -> None:
    if rules.clients:
        if "aud" in claims:
            raise TokenError("the token has an audience (`aud`), but tokens without one are expected from its issuer")
        if not isinstance(client := claims.get("client_id"), str) or client not in rules.clients:
            raise TokenError("the token was issued to another client (`client_id`)")
        return
    audience = claims.get("aud")
    audiences = [audience] if isinstance(audience, str) else audience
    if not isinstance(audiences, list) or not all(isinstance(a, str) for a in audiences):
        raise TokenError("the token has no audience (`aud`)")
    if rules.audiences.isdisjoint(audiences):
        raise TokenError("the token is for another audience")


def _check_use(claims: dict[str, Any], rules: ClaimRules) -> None:
    """Raise `TokenError` for refresh tokens and logout tokens, and for ID tokens unless the profile is ``id``."""
    uses = {str(claims[name]).lower() for name in _USES if name in claims}
    if uses & _OTHER_USES or "events" in claims:
        raise TokenError("the token is not for calling services")
    is_id = bool(uses & _ID_TOKEN_USES) or any(name in claims for name in _ID_TOKEN_CLAIMS)
    is_id = is_id or ("nonce" in claims and not uses)  # older Keycloaks copy `nonce` to access tokens, which have `typ`
    if rules.profile != "id":
        if is_id:
            raise TokenError("the token is an ID token; this issuer is not trusted for ID tokens here")
        return
    if uses - _ID_TOKEN_USES:
        raise TokenError("the token is not an ID token")
    authorized = claims.get("azp")
    several = isinstance(claims.get("aud"), list) and len(claims["aud"]) > 1
    if not several and isinstance(authorized, str) and authorized == claims.get("sub"):
        if not rules.subjects and not any(requirement.name in _NAMING for requirement in rules.require):
            raise TokenError("the ID token is of a service account that neither `subjects` nor `require` names")
    elif (several or "azp" in claims) and not (isinstance(authorized, str) and authorized in rules.audiences):
        raise TokenError("the ID token was issued to another client")


def _time(claims: dict[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
        raise TokenError(f"the token's {name!r} is not a time")
    return float(value)


def _identifier(claims: dict[str, Any], name: str) -> str:
    """Return an id that can be used to revoke a token. An unusable id is refused, or the token could not be revoked."""
    value = claims.get(name, "")
    if not isinstance(value, str) or len(value) > MAX_NAME:
        raise TokenError(f"the token's {name!r} is not a string of at most {MAX_NAME} characters")
    return value


def _bound_to(claims: dict[str, Any]) -> str:
    """Return the thumbprint of the key (RFC 9449, 6.1) or certificate (RFC 8705, 3.1) that the token is bound to.

    Empty if it is bound to none. Raises `TokenError` for any other kind of binding.
    """
    if "cnf" not in claims:
        return ""
    match claims["cnf"]:
        case {"jkt": str(thumbprint), **others} if thumbprint and not others:
            return thumbprint
        case {"x5t#S256": str(thumbprint), **others} if thumbprint and not others:
            return CERTIFICATE_BOUND + thumbprint
    raise TokenError("the token is bound to a key by a method that is not supported here")


def _groups(claims: dict[str, Any], rules: ClaimRules) -> tuple[frozenset[str], str]:
    """Return the namespaced groups, and an empty reason.

    If the groups are too many, malformed or only referenced (Entra's overage), return no groups and the reason.
    """
    if _only_referenced(claims, rules.groups):
        return frozenset(), "the token does not contain its groups, only a reference to them"
    values = _values(rules.groups, claims)
    if values == [None]:
        values = []
    if len(values) > MAX_GROUPS:
        return frozenset(), f"the token names more than {MAX_GROUPS} groups"
    if not all(isinstance(v, str) and 0 < len(v) <= MAX_NAME for v in values):
        return frozenset(), f"the token's groups are not a list of strings of 1 to {MAX_NAME} characters"
    return frozenset(f"{rules.name}/{value}" for value in (*values, *rules.add_groups)), ""


def _only_referenced(claims: dict[str, Any], path: Path) -> bool:
    """True if *path* may read a claim that the token only references (OpenID Connect Core, 5.6.2; Entra's overage)."""
    names = claims.get("_claim_names", {})
    if not isinstance(names, dict):
        return True
    if claims.get("hasgroups", False) is not False:
        names = {**names, "groups": ""}
    return bool(names) and (path.first_member is None or path.first_member in names)


def _values(path: Path, claims: dict[str, Any]) -> list[Any]:
    """Return the values at *path*: a claim's values, a list's items, a scope's words, or an object's keys.

    Zitadel writes roles as the keys of an object, with an object for each. Other objects are one value.
    """
    values: list[Any] = []
    for found in path.find(claims):
        of_objects = isinstance(found, dict) and all(isinstance(member, dict) for member in found.values())
        if isinstance(found, list) or of_objects:
            values += found  # of an object, its keys
        elif isinstance(found, str) and path.last_member in _SCOPES:
            values += found.split()
        else:
            values.append(found)
    return values
