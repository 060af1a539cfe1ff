"""Tokens as identity providers issue them, by tests/corpus/tokens.yaml."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.auth.test_tokens import CLAIMS, JWKS, NOW, changed, sign
from tests.corpora import corpus

from weir.auth.issuer import compile_issuer
from weir.auth.jws import TokenError
from weir.auth.verifier import Verifier
from weir.config.model import IssuerSettings

CORPUS: list[dict[str, Any]] = corpus("tokens")
BARE = {name: value for name, value in CLAIMS.items() if name not in ("aud", "groups")}


def verifier(case: dict[str, Any], folder: Path) -> Verifier:
    (folder / "keys.json").write_text(json.dumps(JWKS))
    given = {"name": "acme", "issuer": CLAIMS["iss"], "audience": "weir", "jwks": "keys.json"}
    entries = [IssuerSettings.model_validate({**given, **entry}) for entry in case.get("issuers", [{}])]
    return Verifier([compile_issuer(entry, folder, {}) for entry in entries])


@pytest.mark.parametrize("case", CORPUS, ids=lambda case: case["name"])
def test_tokens_of_providers(case: dict[str, Any], tmp_path: Path) -> None:
    token = sign(changed(BARE, case["claims"]), typ=case.get("header", "JWT"))
    if "says" in case:
        with pytest.raises(TokenError) as refused:
            verifier(case, tmp_path).verify(token, NOW)
        assert case["says"] in str(refused.value)
        return
    principal = verifier(case, tmp_path).verify(token, NOW)
    assert principal.issuer == case.get("issuer", "acme")
    assert sorted(principal.groups) == case["groups"]
    assert principal.machine is case.get("machine", False)
    assert case["unknown"] in principal.groups_unknown if "unknown" in case else not principal.groups_unknown
