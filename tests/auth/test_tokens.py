"""Only a valid, current, correctly addressed token of a configured issuer becomes a principal.

Nothing but TokenError comes out of the verifier, whatever goes in.
"""

import base64
import json
import time
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from weir.auth.claims import ClaimRules
from weir.auth.issuer import Issuer
from weir.auth.jws import TokenError, read_jws
from weir.auth.keys import KeySetError, read_key_set
from weir.auth.refresher import KeysUnavailable
from weir.auth.verifier import Verifier
from weir.jsonpath import compile_path

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


def verifier(keys: dict[str, Any] = JWKS) -> Verifier:
    rules = ClaimRules("acme", "https://idp.example", frozenset(("weir",)), compile_path("$.groups"))
    return Verifier([Issuer(rules, read_key_set(json.dumps(keys).encode()))])


def sign(claims: dict[str, Any] = CLAIMS, key: Any = EC_KEY, algorithm: str = "ES256", **headers: Any) -> str:
    return jwt.encode(claims, key, algorithm=algorithm, headers={"kid": "ec", **headers})


def signed_raw(payload: bytes, header: bytes = b'{"alg":"ES256","kid":"ec"}') -> str:
    def text(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    signing_input = f"{text(header)}.{text(payload)}"
    return f"{signing_input}.{text(ECAlgorithm(ECAlgorithm.SHA256).sign(signing_input.encode(), EC_KEY))}"


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
    ],
)
def test_algorithms_that_real_providers_use(key: Any, algorithm: str, kid: str) -> None:
    assert verifier().verify(sign(key=key, algorithm=algorithm, kid=kid), NOW).sub == "alice"


def changed(**claims: Any) -> dict[str, Any]:
    return {name: value for name, value in {**CLAIMS, **claims}.items() if value is not ...}


BAD_CLAIMS = {
    "another issuer": changed(iss="https://evil.example"), "issuer with a slash": changed(iss="https://idp.example/"),
    "no issuer": changed(iss=...), "a list of issuers": changed(iss=["https://idp.example"]),
    "another audience": changed(aud="other"), "no audience": changed(aud=...), "empty audience": changed(aud=[]),
    "audience object": changed(aud={"weir": 1}), "audience of numbers": changed(aud=["weir", 1]),
    "expired": changed(exp=int(NOW) - 60), "no exp": changed(exp=...), "exp as text": changed(exp=str(int(NOW) + 600)),
    "exp as true": changed(exp=True), "exp huge": changed(exp=1e308), "exp negative": changed(exp=-1), "exp null": changed(exp=None),
    "no iat": changed(iat=...), "issued in the future": changed(iat=int(NOW) + 600), "not yet": changed(nbf=int(NOW) + 600),
    "nbf as text": changed(nbf="0"), "no subject": changed(sub=...), "empty subject": changed(sub=""),
    "subject as number": changed(sub=7), "long subject": changed(sub="x" * 257), "bound": changed(cnf={"jkt": "x"}),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_CLAIMS)
def test_claims_that_are_refused(name: str) -> None:
    with pytest.raises(TokenError):
        verifier().verify(signed_raw(json.dumps(BAD_CLAIMS[name]).encode()), NOW)


def hostile_tokens() -> dict[str, str]:
    good = sign()
    head, payload, signature = good.split(".")
    public = json.dumps(JWKS["keys"][1]).encode()
    none = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
    return {
        "empty": "", "one segment": "x", "four segments": f"{good}.x", "five segments (JWE)": "a.b.c.d.e", "1 MB": "x" * 1_000_000,
        "trailing newline": f"{good}\n", "padding": f"{head}.{payload}.{signature}==", "space": f" {good}", "non-ASCII": f"{good}é",
        "surrogate": f"{good}\udc80", "no signature": f"{head}.{payload}.", "alg none": f"{none}.{payload}.", "alg none, signed": f"{none}.{payload}.{signature}",
        "HS256 with the public key": sign_hs256(public), "psychic signature": f"{head}.{payload}.{'A' * 86}",
        "another key": sign(key=ec.generate_private_key(ec.SECP256R1())), "another's kid": sign(kid="rsa"), "unknown kid": sign(kid="x"),
        "no kid among several": jwt.encode(CLAIMS, EC_KEY, "ES256"), "kid as list": signed_raw(json.dumps(CLAIMS).encode(), b'{"alg":"ES256","kid":["ec"]}'),
        "kid traversal": sign(kid="../../etc/passwd"), "kid 10 kB": sign(kid="k" * 10_000),
        "embedded jwk": sign(jwk=JWKS["keys"][0]), "jku": sign(jku="https://evil.example/keys"), "x5u": sign(x5u="https://evil.example"),
        "crit": sign(crit=["exp"]), "b64": signed_raw(json.dumps(CLAIMS).encode(), b'{"alg":"ES256","kid":"ec","b64":true}'), "zip": sign(zip="DEF"), "typ logout": sign(typ="logout+jwt"), "typ dpop": sign(typ="dpop+jwt"),
        "typ list": signed_raw(json.dumps(CLAIMS).encode(), b'{"alg":"ES256","kid":"ec","typ":["JWT"]}'),
        "alg twice": signed_raw(json.dumps(CLAIMS).encode(), b'{"alg":"none","alg":"ES256","kid":"ec"}'),
        "claim twice": signed_raw(json.dumps(CLAIMS).encode()[:-1] + b', "sub": "root"}'),
        "NaN": signed_raw(json.dumps(CLAIMS).encode()[:-1] + b', "x": NaN}'), "payload is a list": signed_raw(b"[]"),
        "payload is not JSON": signed_raw(b"alice"), "header is not JSON": signed_raw(b"{}", b"x"), "deep": signed_raw(b"[" * 5000),
        "alg as number": signed_raw(b"{}", b'{"alg":1,"kid":"ec"}'), "lower-case alg": signed_raw(b"{}", b'{"alg":"es256","kid":"ec"}'),
        "non-canonical base64": f"{head}.{payload}.{noncanonical(signature)}",
    }  # fmt: skip


def sign_hs256(secret: bytes) -> str:
    import hashlib
    import hmac

    def text(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    signing_input = f"{text(b'{"alg":"HS256","kid":"rsa"}')}.{text(json.dumps(CLAIMS).encode())}"
    return f"{signing_input}.{text(hmac.digest(secret, signing_input.encode(), hashlib.sha256))}"


def noncanonical(segment: str) -> str:
    """The same bytes with other padding bits."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = alphabet.index(segment[-1])
    return segment[:-1] + alphabet[last ^ 1]


HOSTILE = hostile_tokens()


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_tokens(name: str) -> None:
    with pytest.raises(TokenError):
        verifier().verify(HOSTILE[name], NOW)


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


def test_a_remembered_token_still_expires_and_falls_with_its_keys() -> None:
    checking, token = verifier(), sign()
    assert checking.verify(token, NOW).sub == checking.verify(token, NOW).sub == "alice"
    with pytest.raises(TokenError, match="expired"):
        checking.verify(token, NOW + 10_000)
    checking.verify(token, NOW)
    (issuer,) = checking.issuers.values()
    issuer._keys = read_key_set(json.dumps({"keys": [JWKS["keys"][1]]}).encode())
    with pytest.raises(TokenError, match=r"signature|algorithm|not one of"):
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
    ]
    assert [key.key_id for key in read_key_set(json.dumps({"keys": keys}).encode()).keys] == ["ec"]


def test_the_reader_accepts_what_the_specification_writes() -> None:
    jws = read_jws(sign(typ="at+jwt"))
    assert (jws.algorithm, jws.key_id, jws.claims["sub"]) == ("ES256", "ec", "alice")
