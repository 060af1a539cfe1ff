"""Step two of two: what a verified token's claims must say before there is a principal. Pure."""

from dataclasses import dataclass
from typing import Any

from weir.auth.jws import TokenError
from weir.auth.model import Principal
from weir.jsonpath import Path

#: Seconds by which clocks may differ.
LEEWAY = 30
#: More groups than this are not read: the caller then has none.
MAX_GROUPS = 1000


@dataclass(frozen=True, slots=True)
class ClaimRules:
    """What one issuer's tokens must say."""

    name: str
    iss: str
    audiences: frozenset[str]
    groups: Path


def read_principal(claims: dict[str, Any], rules: ClaimRules, now: float) -> Principal:
    """The principal that *claims* describe at Unix time *now*. Raises `TokenError`."""
    if claims.get("iss") != rules.iss:
        raise TokenError("the token is another issuer's")
    audience = claims.get("aud")
    audiences = [audience] if isinstance(audience, str) else audience
    if not isinstance(audiences, list) or not all(isinstance(a, str) for a in audiences):
        raise TokenError("the token names no audience")
    if rules.audiences.isdisjoint(audiences):
        raise TokenError("the token is for another audience")
    expires, issued = _time(claims, "exp"), _time(claims, "iat")
    if now >= expires + LEEWAY:
        raise TokenError("the token has expired")
    if issued > now + LEEWAY or ("nbf" in claims and _time(claims, "nbf") > now + LEEWAY):
        raise TokenError("the token is not valid yet")
    subject = claims.get("sub")
    if not isinstance(subject, str) or not 0 < len(subject) <= 256:
        raise TokenError("the token names no subject")
    if "cnf" in claims:
        raise TokenError("the token is bound to a key and cannot be sent as a plain Bearer")
    return Principal(rules.name, rules.iss, subject, _groups(claims, rules), expires)


def _time(claims: dict[str, Any], name: str) -> float:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
        raise TokenError(f"the token's {name!r} is not a time")
    return float(value)


def _groups(claims: dict[str, Any], rules: ClaimRules) -> frozenset[str]:
    """Namespaced groups; none where they are too many, malformed, or only referred to (Entra's overage)."""
    if "_claim_names" in claims:
        return frozenset()
    found = rules.groups.find(claims)
    values = found[0] if len(found) == 1 and isinstance(found[0], list) else found
    if len(values) > MAX_GROUPS or not all(isinstance(v, str) and 0 < len(v) <= 256 for v in values):
        return frozenset()
    return frozenset(f"{rules.name}/{value}" for value in values)
