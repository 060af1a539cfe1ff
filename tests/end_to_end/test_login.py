"""A person and a machine use a real identity provider: browser and device login, refresh, rotation, logout."""

import json
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import processes
from tests.cli.test_cli import weir
from tests.end_to_end import gateway as gateways
from tests.end_to_end.gateway import Gateway, Upstream, free_port, write_policies
from tests.end_to_end.oidc import running
from tests.end_to_end.oidc.running import RealProvider, browse

pytestmark = pytest.mark.skipif(bool(running.MISSING), reason=running.MISSING or "-")

BODY = {"model": "m", "query": "q", "documents": ["a", "b"]}
RESOURCE = "https://weir.example/"


@pytest.fixture(scope="module")
def idp() -> Iterator[RealProvider]:
    provider = running.start(free_port())
    yield provider
    provider.stop()


@pytest.fixture
def gateway(tmp_path: Path, upstream: Upstream, launch: Callable[..., Gateway], idp: RealProvider) -> Iterator[Gateway]:
    """A gateway that trusts the provider: JWTs, and opaque tokens by introspection."""
    issuers = (
        f"issuers:\n  - name: acme\n    issuer: {idp.url}\n    audience: weir\n    token: access\n"
        f"    login: {{{{client_id: weir-cli, scopes: [openid, offline_access, rank], resource: {RESOURCE}}}}}\n"
        "    introspection: {{client_id: gateway, client_secret: '${{env:GATEWAY_SECRET}}'}}\n"
    )
    port = free_port()
    write_policies(tmp_path, port, upstream.port, gateway=gateways.GATEWAY.replace("issuers: [local]\n", issuers))
    secret = {"GATEWAY_SECRET": "gateway-secret-000000000000000000"}
    running_gateway = launch(tmp_path, port, "-n", "--set", "weir_listen=true", environment=secret)
    yield running_gateway
    running_gateway.stop()


class Person:
    """A person who runs `weir` on their own machine."""

    def __init__(self, folder: Path, gateway: Gateway, name: str) -> None:
        self.home = folder / f"home-of-{name}"
        self.url = f"http://127.0.0.1:{gateway.port}"
        self.name = name
        self.environment = {
            "WEIR_HOME": str(self.home),
            "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
            "BROWSER": "",
        }

    def weir(self, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        return weir(*words, folder=self.home.parent, **{**self.environment, **environment})

    def log_in(self, *words: str) -> str:
        """Run `weir login`, follow its instructions in a browser, and return its output."""
        environment = {**os.environ, **self.environment}
        printed = ""
        process = processes.start(
            "weir", "login", self.url, *words, folder=self.home.parent, environment=environment
        )  # fmt: skip
        watchdog = threading.Timer(gateways.PATIENCE, process.kill)
        watchdog.start()
        with process.stdout:
            for line in process.stdout:
                printed += line
                for word in line.split():
                    if word.startswith("http://") and ("/auth?" in word or "/device" in word):
                        threading.Thread(target=browse, args=(word, self.name), daemon=True).start()
        watchdog.cancel()
        assert process.wait(gateways.PATIENCE) == 0, printed
        self.remember()
        return printed

    def remember(self) -> None:
        """Note the stored secrets, which must not appear anywhere else."""
        for login in self.stored().values():
            gateways.MINTED.extend(filter(None, (login["token"], login["refresh_token"])))

    def stored(self) -> dict[str, Any]:
        file = self.home / "logins.json"
        return json.loads(file.read_text()) if file.exists() else {}

    def token(self) -> str:
        done = self.weir("token")
        assert done.returncode == 0, done.stderr
        gateways.MINTED.append(done.stdout.strip())
        self.remember()
        return done.stdout.strip()


def expire(person: Person) -> None:
    """Make the stored token look almost expired."""
    file = person.home / "logins.json"
    logins = person.stored()
    for login in logins.values():
        login["expires"] = time.time() + 5
    file.write_text(json.dumps(logins))


def test_login_in_a_browser_and_everything_after(tmp_path: Path, gateway: Gateway, idp: RealProvider) -> None:
    alice = Person(tmp_path, gateway, "alice")
    assert "not logged in; run: weir login" in alice.weir("token").stderr
    printed = alice.log_in("--no-browser")
    assert "Logged in as alice (acme); connections: reranker" in printed
    assert (alice.home / "logins.json").stat().st_mode & 0o777 == 0o600

    token = alice.token()
    assert gateway.call(body=BODY, token=token).status == 200
    me = json.loads(alice.weir("whoami", "--json").stdout)
    assert (me["issuer"], me["subject"], me["groups"]) == ("acme", "alice", ["acme/search"])
    shown = alice.weir("whoami").stdout
    assert f"{alice.url}/reranker" in shown and "in acme/search" in shown

    code = "import os; print(os.environ['CO_API_URL'], os.environ['CO_API_KEY'] == os.environ['WEIR_TOKEN'], os.environ['WEIR_URL'])"
    ran = alice.weir("exec", "--", "python3", "-c", code)
    assert ran.stdout.split() == [f"{alice.url}/reranker", "True", alice.url], ran.stderr
    assert alice.weir("exec", "--", "no-such-command").returncode == 127
    assert (
        "you may not use 'other'; reachable: reranker"
        in alice.weir("exec", "--connection", "other", "--", "true").stderr
    )

    expire(alice)  # eight processes need a token at once: the rotating refresh token is used once
    before = next(iter(alice.stored().values()))["refresh_token"]
    outcomes: list[str] = []
    threads = [threading.Thread(target=lambda: outcomes.append(alice.token())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 8 and len(set(outcomes)) == 1 and outcomes[0] != token
    assert next(iter(alice.stored().values()))["refresh_token"] != before
    assert gateway.call(body=BODY, token=outcomes[0]).status == 200

    assert alice.weir("logout").returncode == 0
    assert alice.stored() == {} and "not logged in" in alice.weir("token").stderr
    assert outcomes[0] not in "".join(gateway.log)


def test_login_on_another_device(tmp_path: Path, gateway: Gateway) -> None:
    bob = Person(tmp_path, gateway, "bob")
    printed = bob.log_in("--device")
    assert "confirm the code" in printed and "Logged in as bob (acme)" in printed
    assert gateway.call(body=BODY, token=bob.token()).status == 200


def test_a_login_that_was_used_elsewhere_ends_and_says_so(tmp_path: Path, gateway: Gateway) -> None:
    """A refresh token was copied: the provider notices its reuse and ends the login for both."""
    carol = Person(tmp_path, gateway, "carol")
    carol.log_in("--no-browser")
    expire(carol)
    copied = (carol.home / "logins.json").read_text()
    carol.token()
    (carol.home / "logins.json").write_text(copied)
    again = carol.weir("token")
    assert (
        again.returncode == 1
        and "the login has ended (invalid_grant" in again.stderr
        and "run: weir login" in again.stderr
    )


def test_the_refresh_token_goes_to_the_keyring_where_there_is_one(tmp_path: Path, gateway: Gateway) -> None:
    dora = Person(tmp_path, gateway, "dora")
    (tmp_path / "memory_keyring.py").write_text(
        "import json, os, pathlib\nfrom keyring.backend import KeyringBackend\n"
        "FILE = pathlib.Path(os.environ['WEIR_HOME']) / 'keyring-of-the-test.json'\n"
        "class Keyring(KeyringBackend):\n    priority = 1\n"
        "    def _all(self): return json.loads(FILE.read_text()) if FILE.exists() else {}\n"
        "    def get_password(self, service, name): return self._all().get(service + name)\n"
        "    def set_password(self, service, name, value): FILE.write_text(json.dumps({**self._all(), service + name: value}))\n"
        "    def delete_password(self, service, name): FILE.write_text(json.dumps({k: v for k, v in self._all().items() if k != service + name}))\n"
    )
    dora.environment |= {"PYTHON_KEYRING_BACKEND": "memory_keyring.Keyring", "PYTHONPATH": str(tmp_path)}
    dora.log_in("--no-browser")
    (login,) = dora.stored().values()
    (kept,) = json.loads((dora.home / "keyring-of-the-test.json").read_text()).values()
    gateways.MINTED.append(kept)
    assert login["refresh_token"] == "" and login["in_keyring"] and len(kept) > 20
    expire(dora)
    assert gateway.call(body=BODY, token=dora.token()).status == 200
    assert dora.weir("logout").returncode == 0
    assert json.loads((dora.home / "keyring-of-the-test.json").read_text()) == {}


def test_client_credentials_opaque_tokens_and_rotation(gateway: Gateway, idp: RealProvider) -> None:
    token = idp.client_credentials(RESOURCE)
    assert gateway.call(body=BODY, token=token).status == 200
    for _ in range(3):  # each rotation publishes a new key beside the one before and drops the oldest
        idp.rotate()
        assert gateway.call(body=BODY, token=idp.client_credentials(RESOURCE)).status == 200
    assert gateway.call(body=BODY, token=token).problem == "invalid-token"  # its key is not published any more
    assert gateway.call(body=BODY, token=idp.client_credentials(RESOURCE + "opaque")).status == 200
    assert gateway.call(body=BODY, token="no-token-of-anyone-000000000").problem == "invalid-token"
    users = gateway.sql('SELECT DISTINCT "user", issuer FROM flows WHERE status = 200 ORDER BY 1')
    assert users == [("nightly", "acme")]


def test_login_at_what_is_no_gateway(tmp_path: Path, upstream: Upstream, gateway: Gateway) -> None:
    eve = Person(tmp_path, gateway, "eve")
    for url, expected in (
        ("http://gateway.example", "must be https://host, or http:// on loopback"),
        (f"http://127.0.0.1:{free_port()}", "cannot be reached (ConnectError)"),
        (f"http://127.0.0.1:{upstream.port}", "the gateway's own URL is None"),
        (f"http://localhost:{gateway.port}/nothing", "answered 404"),
    ):
        done = eve.weir("login", url)
        assert done.returncode == 1 and expected in done.stderr and "Traceback" not in done.stderr, done.stderr
