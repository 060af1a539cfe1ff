"""Parse a compact JWS strictly (RFC 7515), before any claim is trusted (step one of two; `claims` is step two).

Refuses forms that libraries tolerate: a number of segments other than three, padding, non-canonical base64url,
duplicate members, and header parameters that are critical or carry keys. Pure.
"""

import base64
import re
from dataclasses import dataclass
from typing import Any

from weir.base.content import ContentError, parse

#: Maximum characters of a token; longer tokens are refused unread.
MAX_TOKEN = 16 * 1024

_TOKEN68 = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, 2.1
_SEGMENT = re.compile(r"[A-Za-z0-9_-]+")
#: Header parameters that ask the verifier to fetch a key, trust a key or reinterpret the token.
_FORBIDDEN = ("crit", "b64", "zip", "enc", "jku", "jwk", "x5u")
#: Accepted types. Other types are refused: issuers sign logout, DPoP and security event tokens with the same keys.
_TYPES = frozenset(("", "jwt", "jose", "at+jwt"))


class TokenError(ValueError):
    """A token is refused. The text gives the reason and contains nothing of the token."""


@dataclass(frozen=True, slots=True)
class Jws:
    """A well-formed but unverified token. Do not use ``claims`` before ``signature`` is verified.

    ``kind`` is the header's ``typ`` in lower case without ``application/``; empty if the header has none.
    """

    algorithm: str
    key_id: str | None
    kind: str
    claims: dict[str, Any]
    signing_input: bytes
    signature: bytes


def is_jose(token: str) -> bool:
    """True if *token* looks like a JWS or JWE. Such a token is never treated as opaque."""
    return token.startswith("eyJ") or token.count(".") >= 2


def check_form(token: str) -> None:
    """Raise `TokenError` for a token that is too long or has invalid characters, before it is read or hashed."""
    if len(token) > MAX_TOKEN or not _TOKEN68.fullmatch(token):
        raise TokenError("the token is too long, or has characters that tokens cannot have")


def read_jws(token: str) -> Jws:
    """Parse *token*. Raises `TokenError` unless it is a compact JWS with a JSON object as payload."""
    jws, _ = _read(token, _FORBIDDEN, _TYPES)
    return jws


def read_proof(proof: str) -> tuple[Jws, dict[str, Any]]:
    """Parse a DPoP proof (RFC 9449, 4.2). Return it and the public key in its header. Raises `TokenError`."""
    jws, header = _read(proof, tuple(name for name in _FORBIDDEN if name != "jwk"), frozenset(("dpop+jwt",)))
    if not isinstance(header.get("jwk"), dict):
        raise TokenError("the DPoP proof has no key (`jwk`) in its header")
    return jws, header["jwk"]


def _read(token: str, forbidden: tuple[str, ...], kinds: frozenset[str]) -> tuple[Jws, dict[str, Any]]:
    segments = token.split(".")
    if len(segments) != 3:
        raise TokenError("the token is not a signed JWT")
    header = _object(_bytes(segments[0]), "header")
    claims = _object(_bytes(segments[1]), "payload")
    signature = _bytes(segments[2])
    for name in forbidden:
        if name in header:
            raise TokenError(f"the token's header has {name!r}, which is not accepted")
    algorithm, key_id, kind = header.get("alg"), header.get("kid"), header.get("typ")
    if not isinstance(algorithm, str):
        raise TokenError("the token's header has no algorithm (`alg`)")
    if not (key_id is None or (isinstance(key_id, str) and 0 < len(key_id) <= 256)):
        raise TokenError("the token's key id (`kid`) is not a string of 1 to 256 characters")
    if kind is not None and not (isinstance(kind, str) and kind):
        raise TokenError("the token's type (`typ`) is not a string")
    kind = (kind or "").lower().removeprefix("application/")
    if kind not in kinds:
        raise TokenError("the token's type (`typ`) is not accepted here")
    return Jws(algorithm, key_id, kind, claims, f"{segments[0]}.{segments[1]}".encode(), signature), header


def _bytes(segment: str) -> bytes:
    if not _SEGMENT.fullmatch(segment) or len(segment) % 4 == 1:
        raise TokenError("the token is not valid base64url")
    data = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    if base64.urlsafe_b64encode(data).rstrip(b"=") != segment.encode():
        raise TokenError("the token is not canonical base64url")
    return data


def _object(data: bytes, part: str) -> dict[str, Any]:
    try:
        value = parse(data)
    except ContentError:
        raise TokenError(f"the token's {part} is not unambiguous JSON") from None
    if not isinstance(value, dict):
        raise TokenError(f"the token's {part} is not a JSON object")
    return value
