"""Parse an issuer's public keys (RFC 7517) and verify signatures with them. Pure.

A set with a private key, a symmetric key or a duplicate key id is refused completely: an issuer that publishes
such a set cannot be trusted with the other keys.
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
    ("OKP", "Ed25519"): ("EdDSA", "Ed25519"),  # two names of one algorithm (RFC 9864)
}
#: Every supported algorithm. All are asymmetric.
ALGORITHMS = frozenset(name for names in _ALGORITHMS.values() for name in names)
_PRIVATE_MEMBERS = frozenset(("d", "p", "q", "dp", "dq", "qi", "oth", "k"))
_VERIFIERS = get_default_algorithms()
_VERIFIERS["Ed25519"] = _VERIFIERS["EdDSA"]
#: RSA moduli of the Infineon library (CVE-2017-15361) are powers of 65537 modulo each of these primes.
_ROCA_PRIMES = (3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103,
                107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167)  # fmt: skip
_ROCA = {p: frozenset(pow(65537, i, p) for i in range(p)) for p in _ROCA_PRIMES}


class KeySetError(ValueError):
    """A key set is refused completely."""


@dataclass(frozen=True, slots=True)
class Key:
    """One public key and the algorithms that it may verify."""

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
        """True if these keys can verify a token with *key_id*; None means that the token names no key."""
        return len(self.keys) == 1 if key_id is None else any(key.key_id == key_id for key in self.keys)

    def verify(self, jws: Jws) -> None:
        """Raise `TokenError` unless the key that *jws* names signed it. If it names none, the set must have one key."""
        if jws.key_id is None:
            if len(self.keys) != 1:
                raise TokenError("the token has no key id (`kid`), and its issuer has several keys")
            key = self.keys[0]
        else:
            found = next((k for k in self.keys if k.key_id == jws.key_id), None)
            if found is None:
                raise TokenError("the issuer has no key with the token's key id (`kid`)")
            key = found
        key.verify(jws)


def read_public_key(member: dict[str, Any]) -> Key:
    """Parse a JWK as a public signing key. Raises `KeySetError` if it is private, weak or for another use."""
    key = _key(member, frozenset(("sig",)))
    if key is None:
        raise KeySetError("the key cannot verify a signature here")
    return key


def read_key_set(data: bytes, uses: Iterable[str] = ("sig",)) -> KeySet:
    """Parse a JWKS document. Skip keys with a ``use`` other than *uses*. Raises `KeySetError`."""
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
        raise KeySetError("two keys of the key set have the same key id (`kid`)")
    if not keys:
        raise KeySetError("the key set has no key that can verify a signature")
    return KeySet(tuple(keys))


def _key(member: Any, uses: frozenset[str]) -> Key | None:
    """Parse one key; None if it is for another use or not supported. Raises `KeySetError`."""
    if not isinstance(member, dict) or not isinstance(member.get("kty"), str):
        raise KeySetError("the key set has a member that is not a key")
    if member["kty"] == "oct" or not _PRIVATE_MEMBERS.isdisjoint(member):
        raise KeySetError("the key set contains a private or symmetric key; the issuer must replace that key")
    use, operations = member.get("use"), member.get("key_ops")
    if "use" in member and not (isinstance(use, str) and use in uses):
        return None
    if "key_ops" in member and not (isinstance(operations, list) and "verify" in operations):
        return None
    key_id = member.get("kid")
    if not (key_id is None or isinstance(key_id, str)):
        raise KeySetError("a key id (`kid`) is not a string")
    curve = None if member["kty"] == "RSA" else str(member.get("crv"))
    algorithms = _ALGORITHMS.get((member["kty"], curve), ())
    if "alg" in member:
        algorithms = tuple(a for a in algorithms if a == member["alg"])
    if not algorithms:
        return None
    try:
        public = jwt.PyJWK(member, algorithm="EdDSA" if algorithms[0] == "Ed25519" else algorithms[0]).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        raise KeySetError("the key set has a key that cannot be parsed") from None
    if isinstance(public, rsa.RSAPublicKey) and not _is_strong(public):
        return None
    return Key(key_id, algorithms, public)


def _is_strong(key: rsa.RSAPublicKey) -> bool:
    """True if the key has 2048 to 8192 bits, a small exponent (large ones verify slowly) and no ROCA weakness."""
    numbers = key.public_numbers()
    if not 2048 <= key.key_size <= 8192 or numbers.e >= 2**32:
        return False
    return not all(numbers.n % prime in residues for prime, residues in _ROCA.items())
