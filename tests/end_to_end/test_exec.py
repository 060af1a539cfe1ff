"""`weir exec` with real, unchanged SDKs: they reach the gateway, and their token reaches no other host.

The tests run every shipped profile with variables for an SDK, with a proxy and other addresses in the environment.
"""

import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.end_to_end.gateway import (
    CREDENTIAL,
    RANKING,
    Gateway,
    Seen,
    Upstream,
    free_port,
    json_answer,
    token,
    write_policies,
)
from weir.profiles.profile import load_profile, names

WEIR = str(Path(sys.executable).with_name("weir"))

#: Every Python process imports this first. It writes all hosts and ports that are resolved or called to a file, and
#: blocks all except the gateway's.
GUARD = """
import os, socket
connect, lookup, allowed = socket.socket.connect, socket.getaddrinfo, int(os.environ["GUARD_PORT"])
def checked(host, port):
    with open(os.environ["GUARD_FILE"], "a") as file:
        file.write(f"{host}:{port}\\n")
    if (host, int(port or 0)) != ("127.0.0.1", allowed):
        raise OSError(f"{host}:{port} is none of the gateway's")
def guarded_connect(self, address):
    if self.family in (socket.AF_INET, socket.AF_INET6):
        checked(*address[:2])
    return connect(self, address)
def guarded_lookup(host, port, *more, **named):
    checked(host if isinstance(host, str) else host.decode(), port)
    return lookup(host, port, *more, **named)
socket.socket.connect, socket.getaddrinfo = guarded_connect, guarded_lookup
"""
COHERE = """
import asyncio, os, cohere, httpx
ask = {"model": "m", "query": "q", "documents": ["a", "b"]}
for client in (cohere.Client(), cohere.ClientV2()):
    assert [r.index for r in client.rerank(**ask).results] == [1, 0]
for client in (cohere.AsyncClient(), cohere.AsyncClientV2()):
    assert [r.index for r in asyncio.run(client.rerank(**ask)).results] == [1, 0]
# As langchain-cohere does it: a key from COHERE_API_KEY, or else the SDK's own, and the vendor's address.
sent = []
def vendor(request):
    sent.append((request.url.host, request.headers["authorization"]))
    return httpx.Response(401, json={})
other = cohere.ClientV2(os.environ.get("COHERE_API_KEY"), base_url=None, httpx_client=httpx.Client(transport=httpx.MockTransport(vendor)))
try:
    other.rerank(**ask)
except cohere.core.api_error.ApiError:
    pass
assert sent == [("api.cohere.com", "Bearer withheld-by-weir-exec")], sent
"""
OPENAI = """
import asyncio, os, openai
ask = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
assert openai.chat.completions.create(**ask).choices[0].message.content == "hello"
assert openai.OpenAI().chat.completions.create(**ask).choices[0].message.content == "hello"
assert asyncio.run(openai.AsyncOpenAI().chat.completions.create(**ask)).choices[0].message.content == "hello"
# Clients of other makers prefer the older variable.
old = openai.OpenAI(base_url=os.environ["OPENAI_API_BASE"])
assert old.chat.completions.create(**ask).choices[0].message.content == "hello"
"""
#: The program of each profile with variables, and the paths that it requests below the connection's address.
CHATS = ["/v1/chat/completions"] * 4
PROGRAMS = {
    "cohere": (COHERE, ["/v1/rerank", "/v2/rerank", "/v1/rerank", "/v2/rerank"]),
    "openai": (OPENAI, CHATS),
    "together": (OPENAI, CHATS),
    "vllm": (OPENAI, CHATS),
}

CHAT = {
    "id": "1", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}],
}  # fmt: skip
CONNECTION = """
version: 1
connection: {name}
profile: {name}
upstream: http://127.0.0.1:{port}
match: {{path: /{name}}}
credential: {{header: Authorization, value: "Bearer ${{env:TEST_UPSTREAM_KEY}}"}}
access: {{groups: [search]}}
"""


class Proxy(http.server.BaseHTTPRequestHandler):
    """A proxy that keeps the first line of each request and refuses it."""

    asked: list[str]

    def do_GET(self) -> None:
        """Refuse the request."""
        self.asked.append(self.requestline)
        self.send_error(403)

    do_POST = do_CONNECT = do_GET

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@dataclass
class Site:
    """A gateway in front of one service, and a proxy that must stay unused."""

    gateway: Gateway
    upstream: Upstream
    proxy: int
    asked: list[str]

    def run(self, folder: Path, connection: str, program: str, **more: str) -> "subprocess.CompletedProcess[str]":
        """Run *program* with `weir exec`. The guard writes the called hosts to the file ``seen`` in *folder*."""
        (folder / "sitecustomize.py").write_text(GUARD)
        elsewhere = f"http://127.0.0.1:{self.proxy}"
        environment = {
            **os.environ,
            **dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"), elsewhere),
            **dict.fromkeys(("OPENAI_BASE_URL", "OPENAI_API_BASE", "CO_API_URL"), f"{elsewhere}/v1"),
            **dict.fromkeys(("OPENAI_API_KEY", "OPENAI_ADMIN_KEY", "CO_API_KEY"), "of-the-vendor"),
            "OPENAI_PROXY": elsewhere,
            "PYTHONPATH": str(folder), "GUARD_PORT": str(self.gateway.port), "GUARD_FILE": str(folder / "seen"),
            "WEIR_URL": f"http://127.0.0.1:{self.gateway.port}", "WEIR_TOKEN": token(), **more,
        }  # fmt: skip
        command = [WEIR, "exec", "--connection", connection, "--", sys.executable, "-c", program]
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
        )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, launch: Callable[..., Gateway]) -> Iterator[Site]:
    folder, upstream, port = tmp_path_factory.mktemp("exec"), Upstream(), free_port()

    def answer(seen: Seen) -> bytes:
        return json_answer(CHAT if b"/chat/completions " in seen.head else RANKING)

    upstream.answer = answer
    others = {n: CONNECTION.format(name=n, port=upstream.port) for n in (*PROGRAMS, "jina", "voyage")}
    write_policies(folder, port, upstream.port, **others)
    gateway = launch(folder, port, "-n", "--set", "weir_listen=true")
    handler = type("Asked", (Proxy,), {"asked": []})
    proxy = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    yield Site(gateway, upstream, proxy.server_port, handler.asked)  # type: ignore[attr-defined]
    proxy.shutdown()
    proxy.server_close()
    gateway.stop()
    upstream.stop()


def test_every_profile_with_variables_has_a_program_here() -> None:
    assert {name for name in names() if load_profile(name).environment is not None} == set(PROGRAMS)


@pytest.mark.parametrize("profile", PROGRAMS)
def test_an_sdk_gives_its_token_to_the_gateway_only(site: Site, tmp_path: Path, profile: str) -> None:
    program, paths = PROGRAMS[profile]
    before = len(site.upstream.seen)
    done = site.run(tmp_path, profile, program)
    assert done.returncode == 0, done.stdout + done.stderr
    assert set((tmp_path / "seen").read_text().split()) == {f"127.0.0.1:{site.gateway.port}"}
    assert site.asked == []
    seen = site.upstream.seen[before:]
    assert [s.head.split(b" ")[1].decode() for s in seen] == paths
    assert {s.headers["authorization"] for s in seen} == {f"Bearer {CREDENTIAL}"}
    assert b"of-the-vendor" not in b"".join(s.raw for s in seen)
    query = f"SELECT connection, user, status FROM flows ORDER BY time DESC LIMIT {len(paths)}"
    assert site.gateway.sql(query) == [(profile, "alice", 200)] * len(paths)


def test_a_vendor_whose_sdk_reads_no_address_gets_no_variable(site: Site, tmp_path: Path) -> None:
    program = "import json, os; print(json.dumps(dict(os.environ)))"
    done = site.run(tmp_path, "voyage", program, VOYAGE_API_KEY_PATH="/of/the/vendor")
    environment = json.loads(done.stdout)
    assert {name for name, value in environment.items() if environment["WEIR_TOKEN"] in value} == {"WEIR_TOKEN"}
    address = f"{environment['WEIR_URL']}/voyage/v1"
    assert f'voyageai.Client(api_key=os.environ["WEIR_TOKEN"], base_url="{address}")' in done.stderr
    assert "VOYAGE_API_KEY_PATH is set: a client of voyage that reads it calls the vendor" in done.stderr
    assert environment["WEIR_TOKEN"] not in done.stderr


def test_the_code_that_is_printed_reaches_the_gateway_only(site: Site, tmp_path: Path) -> None:
    printed = site.run(tmp_path, "jina", "").stderr.splitlines()
    assert printed[0] == "weir: no variables are set for jina: its clients take no address from one. Write:"
    code = "\n".join(line.removeprefix("    ") for line in printed[1:3])
    ask = {"model": "m", "query": "q", "documents": ["a", "b"]}
    done = site.run(
        tmp_path, "jina", f"{code}\nprint(client.post('/v1/rerank', json={ask}).status_code)", JINA_API_KEY=""
    )
    assert done.stdout == "200\n", done.stderr
    assert set((tmp_path / "seen").read_text().split()) == {f"127.0.0.1:{site.gateway.port}"}
    assert site.asked == [] and site.upstream.seen[-1].headers["authorization"] == f"Bearer {CREDENTIAL}"
