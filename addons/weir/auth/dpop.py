"""DPoP proofs (RFC 9449): whoever sends a token that is bound to a key proves, for each request, to hold that key.

Pure. Whether a proof was seen before is for whoever keeps them (`weir.state.proofs`): this says under which
digest, and until when it has to be kept.
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

#: Seconds for which a proof is good after it was made, and by which its maker's clock may be ahead.
LIFETIME = 60.0
AHEAD = 10.0

#: The members of a JWK that its thumbprint is taken of (RFC 7638, 3.2), in their order.
_THUMBPRINT = {"EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n"), "OKP": ("crv", "kty", "x")}
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Proof:
    """A proof: its key's thumbprint, the digest that makes it unique, and the Unix time until which it counts."""

    thumbprint: str
    digest: bytes
    until: float
    jws: Jws
    jwk: dict[str, Any]

    def verify(self) -> None:
        """Raise `TokenError` unless the key that it brings did sign it. For once the token is known to be good."""
        try:
            key = read_public_key(self.jwk)
        except KeySetError:
            raise TokenError("the DPoP proof's key is not a public signing key") from None
        key.verify(self.jws)


def read(proof: str, token: str, method: str, url: str, now: float) -> Proof:
    """*proof*, if it is for a request of *method* to *url* with *token* at Unix time *now* (RFC 9449, 4.3).

    Its signature is still to be verified. Raises `TokenError`.
    """
    check_form(proof)
    jws, jwk = read_proof(proof)
    claims = jws.claims
    if claims.get("htm") != method:
        raise TokenError("the DPoP proof is for another method")
    if not isinstance(claims.get("htu"), str) or _address(claims["htu"]) != _address(url):
        raise TokenError(f"the DPoP proof is for another URL than {url.partition('?')[0]}")
    made = claims.get("iat")
    if isinstance(made, bool) or not isinstance(made, int | float) or not now - LIFETIME <= made <= now + AHEAD:
        raise TokenError("the DPoP proof is not of now")
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= 256:
        raise TokenError("the DPoP proof names no id")
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
    """What of a URL the proof is for: all but query and fragment, normalised."""
    try:
        parts = urlsplit(url)
        return parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme), parts.path or "/"
    except ValueError:
        raise TokenError("the DPoP proof's URL is not one") from None
