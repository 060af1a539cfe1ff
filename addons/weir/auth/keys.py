"""An issuer's public keys (RFC 7517), checked as a whole, and signature verification with them. Pure.

A set that holds private or symmetric keys, or one key id twice, is refused whole: whoever publishes
that cannot be trusted with the rest.
"""

from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import get_default_algorithms

from weir.auth.jws import Jws, TokenError
from weir.content import ContentError, parse

MAX_SET = 256 * 1024
MAX_KEYS = 64

#: (kty, crv) -> the algorithms that such a key may verify.
_ALGORITHMS: dict[tuple[str, str | None], tuple[str, ...]] = {
    ("RSA", None): ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA",),
}
_PRIVATE_MEMBERS = frozenset(("d", "p", "q", "dp", "dq", "qi", "oth", "k"))
_VERIFIERS = get_default_algorithms()


class KeySetError(ValueError):
    """A key set that is refused whole."""


@dataclass(frozen=True, slots=True)
class Key:
    """One public key, and the algorithms it may verify."""

    key_id: str | None
    algorithms: tuple[str, ...]
    public: Any


@dataclass(frozen=True, slots=True)
class KeySet:
    """An immutable snapshot of an issuer's keys."""

    keys: tuple[Key, ...]

    def verify(self, jws: Jws) -> None:
        """Raise `TokenError` unless one of these keys, and the named one, signed *jws*."""
        if jws.key_id is None:
            if len(self.keys) != 1:
                raise TokenError("the token names no key")
            key = self.keys[0]
        else:
            found = next((k for k in self.keys if k.key_id == jws.key_id), None)
            if found is None:
                raise TokenError("the token's key is not one of the issuer's")
            key = found
        if jws.algorithm not in key.algorithms:
            raise TokenError("the token's algorithm does not fit its key")
        if not _VERIFIERS[jws.algorithm].verify(jws.signing_input, key.public, jws.signature):
            raise TokenError("the token's signature is wrong")


def read_key_set(data: bytes) -> KeySet:
    """A JWKS document as a `KeySet`. Raises `KeySetError`."""
    if len(data) > MAX_SET:
        raise KeySetError(f"the key set is larger than {MAX_SET} bytes")
    try:
        document = parse(data)
    except ContentError as error:
        raise KeySetError(f"the key set is not JSON: {error}") from None
    members = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(members, list) or len(members) > MAX_KEYS:
        raise KeySetError(f"the key set must be an object with a list `keys` of at most {MAX_KEYS}")
    keys = [key for member in members if (key := _key(member)) is not None]
    ids = [key.key_id for key in keys]
    if len(set(ids)) != len(ids):
        raise KeySetError("the key set holds a key id twice")
    if not keys:
        raise KeySetError("the key set holds no key that can verify a signature")
    return KeySet(tuple(keys))


def _key(member: Any) -> Key | None:
    """A usable key, or None for one that is for something else."""
    if not isinstance(member, dict) or not isinstance(member.get("kty"), str):
        raise KeySetError("the key set holds something that is not a key")
    if member["kty"] == "oct" or not _PRIVATE_MEMBERS.isdisjoint(member):
        raise KeySetError("the key set publishes a private or symmetric key; the issuer must replace it")
    if member.get("use", "sig") != "sig":
        return None
    if "key_ops" in member and "verify" not in (member["key_ops"] or ()):
        return None
    key_id = member.get("kid")
    if not (key_id is None or isinstance(key_id, str)):
        raise KeySetError("a key id is not a text")
    algorithms = _ALGORITHMS.get((member["kty"], member.get("crv") if member["kty"] != "RSA" else None), ())
    if "alg" in member:
        algorithms = tuple(a for a in algorithms if a == member["alg"])
    if not algorithms:
        return None
    try:
        public = jwt.PyJWK(member, algorithm=algorithms[0]).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        raise KeySetError("the key set holds a key that cannot be read") from None
    if isinstance(public, rsa.RSAPublicKey) and not 2048 <= public.key_size <= 8192:
        return None
    return Key(key_id, algorithms, public)
