"""The local issuer: developers mint tokens on this machine without an identity provider.

It is trusted only if gateway.yaml lists ``local`` among its issuers, and only while every listener is on loopback.
Its key is created on first use in the gateway's home folder.
"""

import json
import secrets
import time

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from weir.auth.keys import KeySet, read_key_set
from weir.base.home import key_file
from weir.base.secret import Secret

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


def key_set() -> KeySet:
    """Return the public key as a key set, in the form that an issuer publishes."""
    public = ECAlgorithm.to_jwk(_key().public_key(), as_dict=True)
    return read_key_set(json.dumps({"keys": [{**public, "kid": KEY_ID, "alg": "ES256", "use": "sig"}]}).encode())


def mint(user: str, groups: list[str], seconds: float, now: float | None = None) -> Secret:
    """Return a token for *user* in *groups* that expires after *seconds*."""
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
    return Secret(jwt.encode(claims, _key(), algorithm="ES256", headers={"kid": KEY_ID, "typ": "at+jwt"}))
