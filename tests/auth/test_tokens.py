"""Only a valid, current, correctly addressed token of a configured issuer becomes a principal.

The verifier raises nothing but TokenError, for any input.
"""

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm
from tests.corpora import corpus

from weir.auth.claims import ClaimRules, TokenProfile
from weir.auth.issuer import Issuer
from weir.auth.jws import TokenError, read_jws
from weir.auth.keys import KeySetError, read_key_set
from weir.auth.refresher import KeysUnavailable
from weir.auth.verifier import Verifier
from weir.base.jsonpath import compile_path

NOW = time.time()
EC_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(65537, 2048)
ED_KEY = ed25519.Ed25519PrivateKey.generate()
JWKS = {"keys": [
    {**ECAlgorithm.to_jwk(EC_KEY.public_key(), as_dict=True), "kid": "ec", "alg": "ES256", "use": "sig"},
    {**RSAAlgorithm.to_jwk(RSA_KEY.public_key(), as_dict=True), "kid": "rsa"},
    {**OKPAlgorithm.to_jwk(ED_KEY.public_key(), as_dict=True), "kid": "ed"},
]}  # fmt: skip
CLAIMS: dict[str, Any] = {"iss": "https://idp.example", "aud": "weir", "sub": "alice", "groups": ["search", "ml"],
                          "iat": int(NOW), "exp": int(NOW) + 600}  # fmt: skip


def verifier(keys: dict[str, Any] = JWKS, profile: TokenProfile = "jwt") -> Verifier:
    rules = ClaimRules("acme", "https://idp.example", frozenset(("weir",)), compile_path("$.groups"), profile)
    return Verifier([Issuer(rules, read_key_set(json.dumps(keys).encode()))])


def sign(claims: dict[str, Any] = CLAIMS, key: Any = EC_KEY, algorithm: str = "ES256", **headers: Any) -> str:
    return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": "ec", **headers})


def test_a_good_token() -> None:
    principal = verifier().verify(sign(), NOW)
    assert (principal.issuer, principal.iss, principal.sub) == ("acme", "https://idp.example", "alice")
    assert principal.groups == {"acme/search", "acme/ml"}


@pytest.mark.parametrize(
    ("key", "algorithm", "kid"),
    [
        (EC_KEY, "ES256", "ec"),
        (RSA_KEY, "RS256", "rsa"),
        (RSA_KEY, "RS512", "rsa"),
        (RSA_KEY, "PS256", "rsa"),
        (ED_KEY, "EdDSA", "ed"),
        (ED_KEY, "Ed25519", "ed"),
    ],
)
def test_algorithms_that_real_providers_use(key: Any, algorithm: str, kid: str) -> None:
    if algorithm == "Ed25519":  # PyJWT does not know this newer name
        signing_input = f"{text(b'{"alg":"Ed25519","kid":"ed"}')}.{text(json.dumps(CLAIMS).encode())}"
        token = f"{signing_input}.{text(ED_KEY.sign(signing_input.encode()))}"
    else:
        token = sign(key=key, algorithm=algorithm, kid=kid)
    assert verifier().verify(token, NOW).sub == "alice"


CORPUS = corpus("hostile_tokens")


def text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def hostile(case: dict[str, Any]) -> str:
    """Return the token that *case* of the corpus describes."""
    good_header = {"alg": "ES256", "kid": "ec", "typ": "JWT"}
    header = case.get("header_text", json.dumps(changed(good_header, case.get("header", {})))).encode()
    payload = case.get("payload_text", json.dumps(changed(CLAIMS, case.get("claims", {})))).encode()
    signing_input = f"{text(header)}.{text(payload)}".encode()
    signature = SIGNATURES[case.get("sign", "good")](signing_input)
    if "token" not in case:
        return f"{signing_input.decode()}.{text(signature)}"
    parts = dict(zip(("header", "payload", "signature"), sign().split("."), strict=True))
    return str(case["token"]).format(good=sign(), **parts)


def changed(members: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return *members* with *changes*, written in the corpus's language."""
    result = dict(members)
    for name, value in changes.items():
        if value == "absent":
            del result[name]
        elif isinstance(value, str) and re.fullmatch(r"now[+-][0-9]+", value):
            result[name] = int(NOW) + int(value[3:])
        else:
            result[name] = "x" * 257 if value == "long" else value
    return result


SIGNATURES: dict[str, Callable[[bytes], bytes]] = {
    "good": lambda data: ECAlgorithm(ECAlgorithm.SHA256).sign(data, EC_KEY),
    "other-key": lambda data: ECAlgorithm(ECAlgorithm.SHA256).sign(data, ec.generate_private_key(ec.SECP256R1())),
    "rsa": lambda data: RSAAlgorithm(RSAAlgorithm.SHA256).sign(data, RSA_KEY),
    "hs256-with-the-public-key": lambda data: hmac.digest(json.dumps(JWKS["keys"][1]).encode(), data, hashlib.sha256),
    "none": lambda data: b"",
    "zeros": lambda data: bytes(64),
}


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case["name"])
def test_hostile_tokens(case: dict[str, Any]) -> None:
    with pytest.raises(TokenError, match=case.get("says", ".")):
        verifier().verify(hostile(case), NOW)


@pytest.mark.parametrize(
    "token",
    ["x" * 1_000_000, "a.b.c" + "." * 100_000, "\udc80", sign(kid="k" * 300)],
    ids=["1 MB", "dots", "surrogate", "long kid"],
)
def test_tokens_that_are_not_worth_reading(token: str) -> None:
    with pytest.raises(TokenError):
        verifier().verify(token, NOW)


@pytest.mark.parametrize(
    ("profile", "header", "claims", "passes"),
    [
        ("access", {"typ": "at+jwt"}, {}, True), ("access", {"typ": "application/at+jwt"}, {}, True), ("access", {"typ": "JWT"}, {}, False), ("access", {}, {}, False),
        ("jwt", {"typ": "AT+JWT"}, {}, True), ("jwt", {"typ": "JWT"}, {"typ": "Bearer", "nonce": "n"}, True), ("jwt", {"typ": "JWT"}, {"nonce": "n"}, False),
        ("id", {"typ": "JWT"}, {"nonce": "n", "at_hash": "h"}, True), ("id", {"typ": "at+jwt"}, {}, False), ("id", {}, {"typ": "Bearer"}, False),
        ("id", {}, {"azp": "weir"}, True), ("id", {}, {"azp": "other"}, False), ("id", {}, {"azp": []}, False), ("id", {}, {"azp": None}, False),
        ("id", {}, {"aud": ["weir", "other"]}, False), ("id", {}, {"aud": ["weir", "other"], "azp": "weir"}, True), ("id", {}, {"token_use": "id"}, True),
    ],
)  # fmt: skip
def test_what_kind_of_token_it_is(
    profile: TokenProfile, header: dict[str, Any], claims: dict[str, Any], passes: bool
) -> None:
    token = hostile({"header": {"typ": "absent", **header}, "claims": claims})
    if passes:
        assert verifier(profile=profile).verify(token, NOW).sub == "alice"
    else:
        with pytest.raises(TokenError):
            verifier(profile=profile).verify(token, NOW)


def test_an_unsigned_token_of_an_unknown_key_fails_like_any_other() -> None:
    """Its claims are checked before the provider is asked for the key."""
    from weir.auth import provider
    from weir.auth.refresher import KeyRefresher

    rules = ClaimRules("acme", "https://idp.example", frozenset(("weir",)), compile_path("$.groups"), "id")
    issuer = Issuer(rules, provider=provider.Provider(provider.Source("https://idp.example", None)))
    assert isinstance(issuer.refresher, KeyRefresher)
    issuer.refresher._keys, issuer.refresher._ended, issuer.refresher._confirmed = (
        read_key_set(json.dumps(JWKS).encode()),
        1,
        time.monotonic(),
    )
    with pytest.raises(TokenError):
        Verifier([issuer]).verify(hostile({"header": {"kid": "unknown"}, "claims": {"azp": []}}), NOW)


def test_other_padding_bits_are_another_token() -> None:
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    good = sign()
    other = good[:-1] + alphabet[alphabet.index(good[-1]) ^ 1]
    with pytest.raises(TokenError, match="canonical"):
        verifier().verify(other, NOW)


@settings(max_examples=400)
@given(st.data())
def test_no_mutation_of_a_good_token_passes_or_crashes(data: st.DataObject) -> None:
    good = sign()
    position = data.draw(st.integers(0, len(good) - 1))
    kind = data.draw(st.sampled_from(["replace", "insert", "delete", "cut"]))
    character = data.draw(st.characters())
    mutated = {
        "replace": good[:position] + character + good[position + 1 :], "insert": good[:position] + character + good[position:],
        "delete": good[:position] + good[position + 1 :], "cut": good[:position],
    }[kind]  # fmt: skip
    if mutated != good:
        with pytest.raises(TokenError):
            verifier().verify(mutated, NOW)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(
    [
        "iss",
        "aud",
        "sub",
        "exp",
        "iat",
        "nbf",
        "jti",
        "sid",
        "cnf",
        "groups",
        "typ",
        "token_use",
        "azp",
        "_claim_names",
        "events",
    ]
)


@pytest.mark.parametrize("profile", ["jwt", "id", "access"])
@settings(max_examples=400)
@given(
    st.dictionaries(NAMES, JSON, min_size=1, max_size=3),
    st.dictionaries(st.sampled_from(["alg", "kid", "typ", "x"]), JSON, max_size=2),
)
def test_signed_nonsense_is_refused_or_harmless(
    profile: TokenProfile, claims: dict[str, Any], header: dict[str, Any]
) -> None:
    """For any content that the issuer signed: the verifier raises its own error, or returns exactly that principal."""
    token = hostile({
        "payload_text": json.dumps({**CLAIMS, **claims}),
        "header_text": json.dumps({"alg": "ES256", "kid": "ec", **header}),
    })  # fmt: skip
    try:
        principal = verifier(profile=profile).verify(token, NOW)
    except TokenError:
        return
    assert principal.sub == {**CLAIMS, **claims}["sub"] and principal.iss == CLAIMS["iss"]
    assert all(group.startswith("acme/") for group in principal.groups)


def test_a_remembered_token_still_expires_and_falls_with_its_keys() -> None:
    checking, token = verifier(), sign()
    assert checking.verify(token, NOW).sub == checking.verify(token, NOW).sub == "alice"
    with pytest.raises(TokenError, match="expired"):
        checking.verify(token, NOW + 10_000)
    checking.verify(token, NOW)
    (issuer,) = checking.issuers.values()
    issuer._keys = read_key_set(json.dumps({"keys": [JWKS["keys"][1]]}).encode())
    with pytest.raises(TokenError, match=r"signature|algorithm|has no key"):
        checking.verify(token, NOW)
    issuer._keys = None
    with pytest.raises(KeysUnavailable):
        checking.verify(token, NOW)


@pytest.mark.parametrize(
    ("groups", "expected"),
    [("admins", {"acme/admins"}), ([], set()), (None, set()), (7, set()), (["a", 7], set()), ([["a"]], set()), ([""], set()),
     ([f"g{i}" for i in range(1001)], set()), (["a", "a"], {"acme/a"}), ({"a": 1}, set())],
)  # fmt: skip
def test_groups_give_no_privilege_by_accident(groups: Any, expected: set[str]) -> None:
    rules = ClaimRules("acme", "https://idp.example", frozenset(("weir",)), compile_path("$.groups"))
    from weir.auth.claims import read_principal

    assert read_principal({**CLAIMS, "groups": groups}, rules, NOW).groups == expected
    overage = {**CLAIMS, "groups": groups, "_claim_names": {"groups": "src1"}}
    assert read_principal(overage, rules, NOW).groups == set()


@pytest.mark.parametrize(
    "document",
    [b"", b"[]", b'{"keys": 1}', b'{"keys": []}', b'{"keys": ["x"]}', b'{"keys": [{}]}', b'{"keys": [{"kty": "oct", "k": "AAAA"}]}',
     json.dumps({"keys": [JWKS["keys"][0], JWKS["keys"][0]]}).encode(), json.dumps({"keys": [JWKS["keys"][0], {"kty": "oct", "k": "x"}]}).encode(),
     json.dumps({"keys": [ECAlgorithm.to_jwk(EC_KEY, as_dict=True)]}).encode(), b'{"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]}',
     b" " * 300_000, json.dumps({"keys": [JWKS["keys"][0]] * 65}).encode(), b'{"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}]}',
     b'{"keys": [], "keys": []}'],
)  # fmt: skip
def test_key_sets_that_are_refused_whole(document: bytes) -> None:
    with pytest.raises(KeySetError):
        read_key_set(document)


def test_keys_for_other_uses_are_skipped() -> None:
    small = rsa.generate_private_key(65537, 1024)
    keys = [
        JWKS["keys"][0],
        {**JWKS["keys"][1], "use": "enc"},
        {**JWKS["keys"][2], "key_ops": ["sign"]},
        {**RSAAlgorithm.to_jwk(small.public_key(), as_dict=True), "kid": "small"},
        {"kty": "EC", "crv": "secp256k1", "kid": "other", "x": "AA", "y": "AA"},
        {**JWKS["keys"][1], "kid": "slow", "e": text((2**2047 + 1).to_bytes(256))},
    ]
    assert [key.key_id for key in read_key_set(json.dumps({"keys": keys}).encode()).keys] == ["ec"]


def test_the_reader_accepts_what_the_specification_writes() -> None:
    jws = read_jws(sign(typ="at+jwt"))
    assert (jws.algorithm, jws.key_id, jws.claims["sub"]) == ("ES256", "ec", "alice")
