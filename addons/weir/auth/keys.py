"""An issuer's public keys (RFC 7517), checked as a whole, and signature verification with them. Pure.

A set that holds private or symmetric keys, or one key id twice, is refused whole: whoever publishes
that cannot be trusted with the rest.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import get_default_algorithms

from weir.auth.jws import Jws, TokenError
from weir.base.content import ContentError, parse

MAX_SET = 256 * 1024
MAX_KEYS = 64

#: (kty, crv) -> the algorithms that such a key may verify.
_ALGORITHMS: dict[tuple[str, str | None], tuple[str, ...]] = {
    ("RSA", None): ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
    ("OKP", "Ed25519"): ("EdDSA", "Ed25519"),  # the same, by its older and its newer name (RFC 9864)
}
#: Every algorithm that is supported: asymmetric ones only.
ALGORITHMS = frozenset(name for names in _ALGORITHMS.values() for name in names)
_PRIVATE_MEMBERS = frozenset(("d", "p", "q", "dp", "dq", "qi", "oth", "k"))
_VERIFIERS = get_default_algorithms()
_VERIFIERS["Ed25519"] = _VERIFIERS["EdDSA"]
#: RSA moduli of the Infineon library (CVE-2017-15361) are powers of 65537 modulo each of these primes.
_ROCA_PRIMES = (3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103,
                107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167)  # fmt: skip
_ROCA = {p: frozenset(pow(65537, i, p) for i in range(p)) for p in _ROCA_PRIMES}


class KeySetError(ValueError):
    """A key set that is refused whole."""


@dataclass(frozen=True, slots=True)
class Key:
    """One public key, and the algorithms it may verify."""

    key_id: str | None
    algorithms: tuple[str, ...]
    public: Any

    def verify(self, jws: Jws) -> None:
        """Raise `TokenError` unless this key signed *jws*."""
        if jws.algorithm not in self.algorithms:
            raise TokenError("the token's algorithm does not fit its key")
        if not _VERIFIERS[jws.algorithm].verify(jws.signing_input, self.public, jws.signature):
            raise TokenError("the token's signature is wrong")


@dataclass(frozen=True, slots=True)
class KeySet:
    """An immutable snapshot of an issuer's keys."""

    keys: tuple[Key, ...]

    def knows(self, key_id: str | None) -> bool:
        """Whether a token that names *key_id* can be checked with these keys."""
        return len(self.keys) == 1 if key_id is None else any(key.key_id == key_id for key in self.keys)

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
        key.verify(jws)


def read_public_key(member: dict[str, Any]) -> Key:
    """One public signing key as a JWK. Raises `KeySetError`, also where it is for something else, weak or private."""
    key = _key(member, frozenset(("sig",)))
    if key is None:
        raise KeySetError("the key cannot verify a signature here")
    return key


def read_key_set(data: bytes, uses: Iterable[str] = ("sig",)) -> KeySet:
    """A JWKS document as a `KeySet`; keys with a ``use`` other than *uses* are skipped. Raises `KeySetError`."""
    if len(data) > MAX_SET:
        raise KeySetError(f"the key set is larger than {MAX_SET} bytes")
    try:
        document = parse(data)
    except ContentError as error:
        raise KeySetError(f"the key set is not JSON: {error}") from None
    members = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(members, list) or len(members) > MAX_KEYS:
        raise KeySetError(f"the key set must be an object with a list `keys` of at most {MAX_KEYS}")
    allowed = frozenset(uses)
    keys = [key for member in members if (key := _key(member, allowed)) is not None]
    ids = [key.key_id for key in keys]
    if len(set(ids)) != len(ids):
        raise KeySetError("the key set holds a key id twice")
    if not keys:
        raise KeySetError("the key set holds no key that can verify a signature")
    return KeySet(tuple(keys))


def _key(member: Any, uses: frozenset[str]) -> Key | None:
    """A usable key, or None for one that is for something else."""
    if not isinstance(member, dict) or not isinstance(member.get("kty"), str):
        raise KeySetError("the key set holds something that is not a key")
    if member["kty"] == "oct" or not _PRIVATE_MEMBERS.isdisjoint(member):
        raise KeySetError("the key set publishes a private or symmetric key; the issuer must replace it")
    use, operations = member.get("use"), member.get("key_ops")
    if "use" in member and not (isinstance(use, str) and use in uses):
        return None
    if "key_ops" in member and not (isinstance(operations, list) and "verify" in operations):
        return None
    key_id = member.get("kid")
    if not (key_id is None or isinstance(key_id, str)):
        raise KeySetError("a key id is not a text")
    curve = None if member["kty"] == "RSA" else str(member.get("crv"))
    algorithms = _ALGORITHMS.get((member["kty"], curve), ())
    if "alg" in member:
        algorithms = tuple(a for a in algorithms if a == member["alg"])
    if not algorithms:
        return None
    try:
        public = jwt.PyJWK(member, algorithm="EdDSA" if algorithms[0] == "Ed25519" else algorithms[0]).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        raise KeySetError("the key set holds a key that cannot be read") from None
    if isinstance(public, rsa.RSAPublicKey) and not _is_strong(public):
        return None
    return Key(key_id, algorithms, public)


def _is_strong(key: rsa.RSAPublicKey) -> bool:
    """Neither too short nor too long, without an exponent that makes verifying slow, and not of the ROCA kind."""
    numbers = key.public_numbers()
    if not 2048 <= key.key_size <= 8192 or numbers.e >= 2**32:
        return False
    return not all(numbers.n % prime in residues for prime, residues in _ROCA.items())
