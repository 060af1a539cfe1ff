"""A stored login is renewed, and no refresh token is lost."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from tests.auth.misbehaving import DISCOVERY, Behaviour, Provider

from weir.login import session, store
from weir.login.model import LoginError, Option
from weir.login.store import Login

GATEWAY = "https://weir.example"


@pytest.fixture
def idp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    monkeypatch.setenv("WEIR_HOME", str(tmp_path))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    for name in ("WEIR_URL", "WEIR_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    provider = Provider()
    yield provider
    provider.stop()


def log_in(idp: Provider, token: str = "id_token", **more: Any) -> None:  # a token's name
    option = Option("acme", idp.url, "weir-cli", ("openid",), None, token, **more)
    with store.locked():
        store.save(Login(GATEWAY, option, "old", time.time() - 1, "refresh-1"))


def renewed(idp: Provider, **answer: Any) -> str:
    discovery = {"issuer": idp.url, "token_endpoint": f"{idp.url}/token"}
    with (
        idp.behaving(DISCOVERY, Behaviour(body=json.dumps(discovery).encode())),
        idp.behaving("/token", Behaviour(body=json.dumps(answer).encode())),
    ):
        return session.token(GATEWAY)


def stored() -> Login:
    login = store.load(GATEWAY)
    assert login is not None
    return login


def test_a_renewed_login_is_stored(idp: Provider) -> None:
    log_in(idp)
    fresh = idp.token()
    assert renewed(idp, access_token="a", id_token=fresh, refresh_token="refresh-2") == fresh
    assert (stored().token, stored().refresh_token) == (fresh, "refresh-2")


@pytest.mark.parametrize("answer", [{}, {"id_token": None}, {"id_token": 7}, {"id_token": "expired"}])
def test_an_answer_without_the_gateways_token_keeps_the_new_refresh_token(answer: Any, idp: Provider) -> None:
    log_in(idp)
    if answer.get("id_token") == "expired":
        answer = {"id_token": idp.token(exp=int(time.time()) - 5)}
    with pytest.raises(LoginError, match=f"without a new id_token.*run: weir login {GATEWAY}"):
        renewed(idp, access_token="a", refresh_token="refresh-2", **answer)
    assert stored().refresh_token == "refresh-2"
    fresh = idp.token()  # the next attempt uses it
    assert renewed(idp, access_token="a", id_token=fresh) == fresh
    assert parse_qs(idp.asked[-1].body.decode())["refresh_token"] == ["refresh-2"]
    assert stored().refresh_token == "refresh-2"


def test_a_client_with_a_secret_sends_it(idp: Provider) -> None:
    log_in(idp, client_secret="public-secret")
    assert "public-secret" not in repr(stored())
    renewed(idp, access_token="a", id_token=idp.token())
    assert parse_qs(idp.asked[-1].body.decode())["client_secret"] == ["public-secret"]


def test_a_login_of_an_earlier_version_is_read(idp: Provider) -> None:
    log_in(idp)
    file = Path(store.home() / "logins.json")
    entries = json.loads(file.read_text())
    for name in ("client_secret", "redirect_port"):
        del entries[GATEWAY]["option"][name]
    file.write_text(json.dumps(entries))
    assert stored().option.redirect_port is None
