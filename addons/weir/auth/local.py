"""The local issuer: mints tokens on this machine for developers, without an identity provider.

The gateway trusts it only if gateway.yaml names ``local`` among its issuers and every listener is on loopback. Its key
is made on first use in the gateway's home folder.

`weir token` should start fast, so minting imports no more than cryptography: PyJWT imports an HTTP client.
"""

import base64
import json
import secrets
import time
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from weir.base.home import key_file
from weir.base.secret import Secret

if TYPE_CHECKING:
    from weir.auth.keys import KeySet

NAME = "local"
ISSUER = "urn:weir:local"
AUDIENCE = "weir"
KEY_FILE = "local-issuer.pem"
KEY_ID = "local"


def _key() -> ec.EllipticCurvePrivateKey:
    fresh = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    key = serialization.load_pem_private_key(key_file(KEY_FILE, fresh), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError(f"{KEY_FILE} in WEIR_HOME is not an EC key; remove the file, and a new key is created")
    return key


def key_set() -> "KeySet":
    """Return the public key, in the form that any issuer publishes."""
    from jwt.algorithms import ECAlgorithm  # noqa: PLC0415

    from weir.auth.keys import read_key_set  # noqa: PLC0415

    public = ECAlgorithm.to_jwk(_key().public_key(), as_dict=True)
    return read_key_set(json.dumps({"keys": [{**public, "kid": KEY_ID, "alg": "ES256", "use": "sig"}]}).encode())


def mint(user: str, groups: list[str], seconds: float, now: float | None = None) -> Secret:
    """Return a token for *user* in *groups* that is valid for *seconds*: a compact JWS (RFC 7515, 7.1)."""
    issued = int(time.time() if now is None else now)
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": user,
        "groups": groups,
        "iat": issued,
        "exp": issued + int(seconds),
        "jti": secrets.token_urlsafe(12),
    }
    signed = f"{_segment({'alg': 'ES256', 'kid': KEY_ID, 'typ': 'at+jwt'})}.{_segment(claims)}"
    r, s = decode_dss_signature(_key().sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    return Secret(f"{signed}.{_base64url(r.to_bytes(32) + s.to_bytes(32))}")  # RFC 7518, 3.4


def _segment(value: dict[str, Any]) -> str:
    return _base64url(json.dumps(value, separators=(",", ":")).encode())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
