"""DPoP proofs: only a fresh one for this request, this token and its bound key is accepted, and only once."""

import asyncio
import base64
import hashlib
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from weir.auth import dpop
from weir.auth.jws import TokenError
from weir.state.proofs import Proofs

NOW = 1_800_000_000.0
TOKEN = "a-token"
URL = "https://weir.example/reranker/v2/rerank"
KEY = ec.generate_private_key(ec.SECP256R1())
PUBLIC = ECAlgorithm.to_jwk(KEY.public_key(), as_dict=True)


def digest(token: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(token.encode()).digest()).rstrip(b"=").decode()


def proof(header: dict[str, Any] | None = None, key: Any = KEY, algorithm: str = "ES256", **claims: Any) -> str:
    """Return a valid proof with these changes."""
    standard = {"jti": "1", "htm": "POST", "htu": URL, "iat": int(NOW), "ath": digest(TOKEN)}
    payload = {name: value for name, value in {**standard, **claims}.items() if value is not ...}
    return jwt.encode(payload, key, algorithm, {"typ": "dpop+jwt", "jwk": PUBLIC, **(header or {})})


def read(text: str, url: str = URL, now: float = NOW) -> dpop.Proof:
    checked = dpop.read(text, TOKEN, "POST", url, now)
    checked.verify()
    return checked


def test_a_good_proof_names_its_key() -> None:
    members = {name: PUBLIC[name] for name in ("crv", "kty", "x", "y")}
    expected = digest(json.dumps(members, separators=(",", ":"), sort_keys=True))
    assert read(proof()).thumbprint == expected
    assert read(proof()).digest == read(proof()).digest != read(proof(jti="2")).digest


def test_the_thumbprint_of_the_specification() -> None:
    """The example of RFC 7638, 3.1."""
    jwk = {
        "kty": "RSA", "e": "AQAB", "alg": "RS256", "kid": "2011-04-29",
        "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMs"
             "tn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbI"
             "SD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
    }  # fmt: skip
    assert dpop._thumbprint(jwk) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


@pytest.mark.parametrize(
    ("key", "algorithm", "public"),
    [
        (k := rsa.generate_private_key(65537, 2048), "RS256", RSAAlgorithm.to_jwk(k.public_key(), as_dict=True)),
        (e := ed25519.Ed25519PrivateKey.generate(), "EdDSA", OKPAlgorithm.to_jwk(e.public_key(), as_dict=True)),
    ],
)
def test_other_kinds_of_keys(key: Any, algorithm: str, public: dict[str, Any]) -> None:
    assert read(proof({"jwk": public}, key, algorithm)).thumbprint


@pytest.mark.parametrize("url", [URL, "HTTPS://WEIR.EXAMPLE:443/reranker/v2/rerank"])
def test_urls_that_are_the_same(url: str) -> None:
    assert read(proof(htu=url)) and read(proof(), url) and read(proof(), url + "?a=1")


#: An RSA key with a public exponent as long as its modulus: verifying one signature would take milliseconds.
SLOW = {
    **RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 2048).public_key(), as_dict=True),
    "e": base64.urlsafe_b64encode((2**2047 + 1).to_bytes(256)).rstrip(b"=").decode(),
}
OTHER = ec.generate_private_key(ec.SECP256R1())
BAD = {
    "another method": proof(htm="GET"), "no method": proof(htm=...), "another URL": proof(htu=URL + "/x"), "another host": proof(htu="https://x.example/reranker/v2/rerank"),
    "a query": proof(htu=URL + "?a=1"), "an empty query": proof(htu=URL + "?"), "a fragment": proof(htu=URL + "#x"), "an empty fragment": proof(htu=URL + "#"),
    "another scheme": proof(htu=URL.replace("https", "http")), "another port": proof(htu=URL.replace("example", "example:444")), "a URL that is none": proof(htu="https://[x"),
    "a port that is none": proof(htu="https://weir.example:x/"), "no URL": proof(htu=...), "a list of URLs": proof(htu=[URL]), "too old": proof(iat=int(NOW) - 61),
    "of tomorrow": proof(iat=int(NOW) + 11), "no time": proof(iat=...), "a time as true": proof(iat=True),
    "no id": proof(jti=...), "an empty id": proof(jti=""), "a long id": proof(jti="x" * 257), "another token": proof(ath=digest("other")),
    "no token": proof(ath=...), "another type": proof({"typ": "JWT"}), "another key's signature": proof(key=OTHER), "no key": proof({"jwk": None}),
    "a private key": proof({"jwk": ECAlgorithm.to_jwk(KEY, as_dict=True)}), "a symmetric key": proof({"jwk": {"kty": "oct", "k": "AAAA"}}),
    "a key that is slow to verify with": proof({"jwk": SLOW}), "a kty that is a list": proof({"jwk": {**PUBLIC, "kty": ["EC"]}}),
    "an x that is a number": proof({"jwk": {**PUBLIC, "x": 1}}), "an encryption key": proof({"jwk": {**PUBLIC, "use": "enc"}}), "a URL of keys": proof({"jku": "https://evil.example"}), "not a JWT": "x", "empty": "", "1 MB": "x" * 1_000_000,
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_proofs_that_are_refused(name: str) -> None:
    with pytest.raises(TokenError):
        read(BAD[name])


def test_a_proof_is_good_once_for_all_workers(tmp_path: Path) -> None:
    async def story() -> None:
        workers = [Proofs(tmp_path / "proofs.db") for _ in range(3)]
        seen = read(proof(iat=int(time.time())), now=time.time())
        first = await asyncio.gather(*(worker.first_use(seen.digest, seen.until) for worker in workers * 5))
        assert first.count(True) == 1
        assert await workers[0].first_use(b"another", seen.until)
        for worker in workers:
            worker.stop()
        again = Proofs(tmp_path / "proofs.db")  # a restart keeps used proofs
        assert not await again.first_use(seen.digest, seen.until)
        again.stop()

    asyncio.run(story())
