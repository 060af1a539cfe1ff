"""Step one of two: a compact JWS read strictly (RFC 7515), before any claim is believed.

Refuses what libraries tolerate: other than three segments, padding, non-canonical base64url,
duplicate members, critical or key-carrying header parameters. Pure.
"""

import base64
import re
from dataclasses import dataclass
from typing import Any

from weir.base.content import ContentError, parse

#: Characters; longer tokens are not looked at.
MAX_TOKEN = 16 * 1024

_TOKEN68 = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750, 2.1
_SEGMENT = re.compile(r"[A-Za-z0-9_-]+")
#: Header parameters that would have us fetch, trust or reinterpret something.
_FORBIDDEN = ("crit", "b64", "zip", "enc", "jku", "jwk", "x5u")
#: Never others: a logout, DPoP or security event token is signed by the same keys.
_TYPES = frozenset(("", "jwt", "jose", "at+jwt"))


class TokenError(ValueError):
    """A token that is not accepted. The text names the reason and nothing of the token."""


@dataclass(frozen=True, slots=True)
class Jws:
    """A well-formed, unverified token. ``claims`` mean nothing until ``signature`` is checked.

    ``kind`` is the header's ``typ`` in lower case without ``application/``; empty where there is none.
    """

    algorithm: str
    key_id: str | None
    kind: str
    claims: dict[str, Any]
    signing_input: bytes
    signature: bytes


def is_jose(token: str) -> bool:
    """Whether *token* means to be a JWS or JWE, and so is never an opaque one."""
    return token.startswith("eyJ") or token.count(".") >= 2


def check_form(token: str) -> None:
    """Raise `TokenError` for what is not worth reading, hashing or remembering."""
    if len(token) > MAX_TOKEN or not _TOKEN68.fullmatch(token):
        raise TokenError("it is too long, or has characters that no token has")


def read_jws(token: str) -> Jws:
    """Read *token*. Raises `TokenError` for whatever is not exactly a compact JWS with a JSON object."""
    jws, _ = _read(token, _FORBIDDEN, _TYPES)
    return jws


def read_proof(proof: str) -> tuple[Jws, dict[str, Any]]:
    """A DPoP proof (RFC 9449, 4.2), and the public key that it brings itself. Raises `TokenError`."""
    jws, header = _read(proof, tuple(name for name in _FORBIDDEN if name != "jwk"), frozenset(("dpop+jwt",)))
    if not isinstance(header.get("jwk"), dict):
        raise TokenError("the DPoP proof brings no key")
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
            raise TokenError(f"the token's header has {name!r}")
    algorithm, key_id, kind = header.get("alg"), header.get("kid"), header.get("typ")
    if not isinstance(algorithm, str):
        raise TokenError("the token names no algorithm")
    if not (key_id is None or (isinstance(key_id, str) and 0 < len(key_id) <= 256)):
        raise TokenError("the token's key id is not a text")
    if kind is not None and not (isinstance(kind, str) and kind):
        raise TokenError("the token's type is not a text")
    kind = (kind or "").lower().removeprefix("application/")
    if kind not in kinds:
        raise TokenError("the token is not of a type that is accepted here")
    return Jws(algorithm, key_id, kind, claims, f"{segments[0]}.{segments[1]}".encode(), signature), header


def _bytes(segment: str) -> bytes:
    if not _SEGMENT.fullmatch(segment) or len(segment) % 4 == 1:
        raise TokenError("the token is not base64url")
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
        raise TokenError(f"the token's {part} is not an object")
    return value
