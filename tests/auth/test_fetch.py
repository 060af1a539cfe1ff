"""Keys by URL: fetched in the background; whatever a provider does wrong, the last good set stays."""

import asyncio
import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from tests.end_to_end import gateway as gateways
from tests.end_to_end.gateway import Gateway, Upstream, free_port, write_policies

from weir.auth import fetch
from weir.auth.claims import ClaimRules
from weir.auth.verifier import Issuer
from weir.jsonpath import compile_path

KEY = ec.generate_private_key(ec.SECP256R1())
GOOD = json.dumps({"keys": [{**ECAlgorithm.to_jwk(KEY.public_key(), as_dict=True), "kid": "k1"}]}).encode()
PRIVATE = json.dumps({"keys": [{**ECAlgorithm.to_jwk(KEY, as_dict=True), "kid": "k1"}]}).encode()


class Provider:
    """An identity provider's key endpoint that does as told."""

    def __init__(self) -> None:
        self.status, self.body, self.requests = 200, GOOD, 0
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.requests += 1
                self.send_response(provider.status)
                if provider.status == 302:
                    self.send_header("Location", f"http://127.0.0.1:{provider.port}/elsewhere")
                self.send_header("Content-Length", str(len(provider.body)))
                self.end_headers()
                self.wfile.write(provider.body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/keys"
        Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.mark.parametrize(
    ("status", "body"),
    [(500, GOOD), (302, GOOD), (200, b"<html>"), (200, b"{}"), (200, PRIVATE), (200, b" " * 300_000), (204, b"")],
)
def test_the_last_good_set_stays(
    status: int, body: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fetch, "REFRESH", 0.01)
    monkeypatch.setattr(fetch, "RETRY", 0.01)
    provider = Provider()
    issuer = Issuer(ClaimRules("acme", "i", frozenset(("weir",)), compile_path("$.groups")), provider.url)

    async def run() -> None:
        task = asyncio.create_task(fetch.keep_fresh(issuer))
        while issuer.keys is None:
            await asyncio.sleep(0.005)
        provider.status, provider.body = status, body
        while "not refreshed" not in caplog.text:
            await asyncio.sleep(0.005)
        good = issuer.keys
        seen = provider.requests
        while provider.requests < seen + 3:
            await asyncio.sleep(0.005)
        assert issuer.keys is good
        provider.status, provider.body = 200, GOOD
        while issuer.keys is good:
            await asyncio.sleep(0.005)
        task.cancel()

    asyncio.run(run())
    provider.stop()


def test_a_gateway_with_an_issuer_by_url(tmp_path: Path, upstream: Upstream, launch: Callable[..., Gateway]) -> None:
    """Not ready is 503, not 401; once the keys are there, tokens pass; another issuer's key does not speak for this one."""
    import time

    provider, port = Provider(), free_port()
    provider.status = 500
    issuer = f"[{{name: acme, issuer: https://idp.example, audience: [weir, other], jwks: {provider.url}, groups: $.realm.roles}}]"
    gateway_file = gateways.GATEWAY.replace("[local]", issuer.replace("{", "{{").replace("}", "}}"))
    write_policies(tmp_path, port, upstream.port, gateway=gateway_file)
    gateway = launch(tmp_path, port, "-n", "--set", "weir_listen=true")
    claims = {
        "iss": "https://idp.example",
        "aud": "weir",
        "sub": "alice",
        "iat": int(time.time()),
        "exp": int(time.time()) + 600,
        "realm": {"roles": ["search"]},
    }
    good = jwt.encode(claims, KEY, "ES256", {"kid": "k1"})
    gateways.MINTED.append(good)
    body = {"query": "q", "documents": ["a", "b"]}
    waiting = gateway.call(body=body, token=good)
    assert (waiting.status, waiting.problem) == (503, "identity-unavailable") and "retry-after" in waiting.headers
    provider.status = 200
    deadline = time.monotonic() + 15
    while gateway.call(body=body, token=good).status != 200:
        assert time.monotonic() < deadline
    assert (
        gateway.call(
            body=body, token=jwt.encode(claims, ec.generate_private_key(ec.SECP256R1()), "ES256", {"kid": "k1"})
        ).status
        == 401
    )
    assert (
        gateway.call(body=body, token=gateways.token()).problem == "invalid-token"
    )  # the local issuer is not trusted here
    assert gateway.sql('SELECT DISTINCT issuer, "user", groups FROM flows WHERE status = 200') == [
        ("acme", "alice", ["acme/search"])
    ]
    gateway.stop()
    provider.stop()
