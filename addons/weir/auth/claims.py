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
#: Only ID tokens have these.
_ID_TOKEN_CLAIMS = ("at_hash", "c_hash")


@dataclass(frozen=True, slots=True)
class Requirement:
    """A claim that must equal one of several values. The JSON type must match too."""

    name: str
    path: Path
    values: tuple[str | int | bool, ...]

    def holds(self, claims: dict[str, Any]) -> bool:
        """True if *claims* meet the requirement. A claim that is a list never does."""
        found = self.path.first(claims)
        return any(type(found) is type(value) and found == value for value in self.values)


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


def read_principal(claims: dict[str, Any], rules: ClaimRules, now: float, kind: str = "") -> Principal:
    """Return the principal that the *claims* of a signed token describe at Unix time *now*.

    *kind* is the ``typ`` of the token's header. Raises `TokenError`.
    """
    if kind not in _TYPES[rules.profile]:
        raise TokenError("the token's type is not accepted from its issuer")
    if claims.get("iss") != rules.iss:
        raise TokenError("the token is from another issuer")
    expires, issued = _time(claims, "exp"), _time(claims, "iat")
    _check_audience(claims.get("aud"), rules)
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
    if "aud" in claims or audience_required:
        _check_audience(claims.get("aud"), rules)
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
        groups_unknown=unknown, key_thumbprint=_bound_to(claims),
    )  # fmt: skip


def _check_audience(audience: Any, rules: ClaimRules) -> None:
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
    if (several or "azp" in claims) and not (isinstance(authorized, str) and authorized in rules.audiences):
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
    if "_claim_names" in claims or claims.get("hasgroups") is True:
        return frozenset(), "the token does not contain its groups, only a reference to them"
    found = rules.groups.find(claims)
    values = found[0] if len(found) == 1 and isinstance(found[0], list) else found
    if values == [None]:
        values = []
    if len(values) > MAX_GROUPS:
        return frozenset(), f"the token names more than {MAX_GROUPS} groups"
    if not all(isinstance(v, str) and 0 < len(v) <= MAX_NAME for v in values):
        return frozenset(), f"the token's groups are not a list of strings of 1 to {MAX_NAME} characters"
    return frozenset(f"{rules.name}/{value}" for value in (*values, *rules.add_groups)), ""
