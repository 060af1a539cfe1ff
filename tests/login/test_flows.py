"""Login with interference: answers of other people, of another provider, and of a provider that lies."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from tests.auth.misbehaving import DISCOVERY, Behaviour, Provider
from tests.end_to_end.gateway import free_port

from weir.login import flows, server
from weir.login.model import LoginError, Option

OPTION = Option("acme", "https://idp.example", "weir-cli", ("openid",), None, "access_token")


@pytest.fixture
def idp() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.stop()


def endpoints(idp: Provider, *, names_itself: bool = False) -> server.Provider:
    return server.Provider(idp.url, f"{idp.url}/auth", f"{idp.url}/token", f"{idp.url}/device", "", names_itself)


def answering(*answers: Callable[[dict[str, str]], dict[str, str]]) -> Callable[[str], None]:
    """Simulate a browser that returns with each of *answers* in turn, made from the request's own parameters."""

    def show(url: str) -> None:
        asked = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}

        def browse() -> None:
            for answer in answers:
                given = answer(asked)
                redirect = given.pop("redirect", asked["redirect_uri"])
                httpx.get(f"{redirect}?{urlencode(given)}", timeout=10)

        threading.Thread(target=browse, daemon=True).start()

    return show


def good(asked: dict[str, str]) -> dict[str, str]:
    return {"code": "c0de", "state": asked["state"]}


def test_only_the_answer_with_our_state_counts(idp: Provider) -> None:
    show = answering(
        lambda asked: {"code": "evil"},
        lambda asked: {"code": "evil", "state": "guessed"},
        lambda asked: {"code": "evil", "state": "ÿ"},
        lambda asked: {"code": "evil", "state": asked["state"], "redirect": asked["redirect_uri"] + "/other"},
        good,
    )
    with idp.behaving("/token", Behaviour(body=json.dumps({"access_token": "t"}).encode())):
        assert flows.authorization_code(OPTION, endpoints(idp), show) == {"access_token": "t"}
    (asked,) = [a for a in idp.asked if a.path == "/token"]
    form = parse_qs(asked.body.decode())
    assert form["code"] == ["c0de"] and len(form["code_verifier"][0]) >= 43


@pytest.mark.parametrize(
    ("answer", "names_itself", "says"),
    [
        (lambda asked: {**good(asked), "iss": "https://evil.example"}, False, "another identity provider"),
        (good, True, "another identity provider"),
        (
            lambda asked: {"error": "access_denied", "error_description": "no \x1b[31m", "state": asked["state"]},
            False,
            "access_denied: no",
        ),
    ],
)
def test_answers_that_are_not_followed(answer: Any, names_itself: bool, says: str, idp: Provider) -> None:
    with pytest.raises(LoginError, match=says) as error:
        flows.authorization_code(OPTION, endpoints(idp, names_itself=names_itself), answering(answer))
    assert idp.count("/token") == 0 and "\x1b" not in str(error.value)


@pytest.mark.parametrize(
    ("tokens", "says"),
    [
        ({}, "gave no token"), ({"access_token": 7}, "gave no token"), ({"error": "invalid_grant"}, "invalid_grant"),
        ({"access_token": "t", "id_token": "x"}, "ID token cannot be read"),
    ],
)  # fmt: skip
def test_tokens_that_are_not_taken(tokens: Any, says: str, idp: Provider) -> None:
    with idp.behaving("/token", Behaviour(body=json.dumps(tokens).encode())), pytest.raises(LoginError, match=says):
        flows.authorization_code(OPTION, endpoints(idp), answering(good))


def test_an_id_token_of_another_login_is_not_taken(idp: Provider) -> None:
    body = json.dumps({"access_token": "t", "id_token": idp.token(nonce="another")}).encode()
    with idp.behaving("/token", Behaviour(body=body)), pytest.raises(LoginError, match="does not belong to this login"):
        flows.authorization_code(OPTION, endpoints(idp), answering(good))


def test_a_fixed_port_and_a_secret(idp: Provider) -> None:
    """The browser returns to the port that the provider allows; the secret is sent to the provider, not to a browser."""
    port = free_port()
    option = replace(OPTION, redirect_port=port, client_secret="GOCSPX-public")
    for _ in range(2):
        shown: list[str] = []

        def show(url: str, shown: list[str] = shown) -> None:
            shown.append(url)
            answering(good)(url)

        with idp.behaving("/token", Behaviour(body=json.dumps({"access_token": "t"}).encode())):
            assert flows.authorization_code(option, endpoints(idp), show) == {"access_token": "t"}
        assert "GOCSPX" not in shown[0]
        form = parse_qs([a for a in idp.asked if a.path == "/token"][-1].body.decode())
        assert form["redirect_uri"] == [f"http://127.0.0.1:{port}/callback"]
        assert form["client_secret"] == ["GOCSPX-public"]
    with socket.create_server(("127.0.0.1", port)), pytest.raises(LoginError, match=f"port {port}.*--device"):
        flows.authorization_code(option, endpoints(idp), lambda url: None)


def test_nobody_comes(idp: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flows, "PATIENCE", 0.2)
    with pytest.raises(LoginError, match="no login within"):
        flows.authorization_code(OPTION, endpoints(idp), lambda url: None)


def test_the_device_flow_keeps_asking_and_ends(idp: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    answers = iter([{"error": "authorization_pending"}, {"error": "slow_down"}, {"access_token": "t"}])
    monkeypatch.setattr(flows.time, "sleep", waits.append)  # type: ignore[attr-defined]
    started = {
        "device_code": "d",
        "user_code": "U-1",
        "verification_uri": "https://idp.example/d",
        "interval": 2,
        "expires_in": 600,
    }

    def post(url: str, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        if url.endswith("/device"):
            return 200, dict(started)
        answer = next(answers)
        return (200 if "access_token" in answer else 400), answer

    monkeypatch.setattr(flows, "post", post)
    shown: list[tuple[str, str]] = []
    assert flows.device(OPTION, endpoints(idp), lambda *where: shown.append(where)) == {"access_token": "t"}
    assert waits == [2, 2, 7] and shown == [("https://idp.example/d", "U-1")]
    answers = iter([{"error": "access_denied"}])
    with pytest.raises(LoginError, match="access_denied"):
        flows.device(OPTION, endpoints(idp), lambda *where: None)


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"issuer": "https://evil.example"}, "belongs to another issuer"),
        ({"issuer": "{url}", "token_endpoint": "http://idp.example/token"}, "the token endpoint of .* is not https"),
        ([], "without a JSON object"),
    ],
)
def test_discovery_that_is_not_believed(document: Any, says: str, idp: Provider) -> None:
    body = json.dumps(document).replace("{url}", idp.url).encode()
    with idp.behaving(DISCOVERY, Behaviour(body=body)), pytest.raises(LoginError, match=says):
        server.provider(idp.url)
