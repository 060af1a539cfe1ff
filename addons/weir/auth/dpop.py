"""Check DPoP proofs (RFC 9449): for each request, the caller proves possession of the key that its token is bound to.

Pure. `weir.state.proofs` detects repeated proofs. This module returns the digest to store and how long to keep it.
"""

import base64
import hashlib
import hmac
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import msgspec

from weir.auth.jws import Jws, TokenError, check_form, read_proof
from weir.auth.keys import KeySetError, read_public_key

#: Seconds that a proof is valid after its ``iat``, and seconds that the caller's clock may be ahead.
LIFETIME = 60.0
AHEAD = 10.0

#: The members of a JWK that its thumbprint covers (RFC 7638, 3.2), in their order.
_THUMBPRINT = {"EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n"), "OKP": ("crv", "kty", "x")}
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Proof:
    """A proof: its key's thumbprint, the digest that identifies it, and the Unix time at which it expires."""

    thumbprint: str
    digest: bytes
    until: float
    jws: Jws
    jwk: dict[str, Any]

    def verify(self) -> None:
        """Raise `TokenError` unless the key in the proof signed it.

        Call this after the token is verified, because it is the expensive part.
        """
        try:
            key = read_public_key(self.jwk)
        except KeySetError:
            raise TokenError("the DPoP proof's key is not a public signing key") from None
        key.verify(self.jws)


def read(proof: str, token: str, method: str, url: str, now: float) -> Proof:
    """Parse *proof* for a request of *method* to *url* with *token* at Unix time *now* (RFC 9449, 4.3).

    Does not verify the signature; call `Proof.verify`. Raises `TokenError`.
    """
    check_form(proof)
    jws, jwk = read_proof(proof)
    claims = jws.claims
    if claims.get("htm") != method:
        raise TokenError("the DPoP proof is for another HTTP method")
    if not isinstance(claims.get("htu"), str) or not {"?", "#"}.isdisjoint(claims["htu"]):
        raise TokenError("the DPoP proof's `htu` must be a URL without query and fragment")
    if _address(claims["htu"]) != _address(url):
        raise TokenError(f"the DPoP proof is for another URL than {url.partition('?')[0]}")
    made = claims.get("iat")
    if isinstance(made, bool) or not isinstance(made, int | float) or not now - LIFETIME <= made <= now + AHEAD:
        raise TokenError("the DPoP proof is too old, or its `iat` is in the future")
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= 256:
        raise TokenError("the DPoP proof has no usable id (`jti`, 1 to 256 characters)")
    digest = base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).rstrip(b"=")
    if not hmac.compare_digest(str(claims.get("ath", "")).encode(), digest):
        raise TokenError("the DPoP proof is for another token")
    thumbprint = _thumbprint(jwk)
    unique = hashlib.sha256(f"{thumbprint}\0{jti}".encode()).digest()
    return Proof(thumbprint, unique, made + LIFETIME, jws, jwk)


def _thumbprint(jwk: dict[str, Any]) -> str:
    members = {name: jwk.get(name) for name in _THUMBPRINT.get(str(jwk.get("kty")), ())}
    if not members or not all(isinstance(value, str) for value in members.values()):
        raise TokenError("the DPoP proof's key is not a public signing key")
    return base64.urlsafe_b64encode(hashlib.sha256(msgspec.json.encode(members)).digest()).rstrip(b"=").decode()


def _address(url: str) -> tuple[str, str, int | None, str]:
    """Return the normalised parts of a URL that a proof covers: everything but the query."""
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme), parts.path or "/"
    except ValueError:
        raise TokenError("the DPoP proof's URL is not valid") from None
