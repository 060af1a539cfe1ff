"""The demo: a reranker, the real gateway in front of it, and clients. Each scene shows a request, its result, and why.

scripts/demo            every scene, in less than a minute
scripts/demo --keep     leaves gateway and reranker running at the end, until Ctrl-C
"""

import argparse
import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import cohere
import httpx
from cohere.core.api_error import ApiError
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from rich.console import Console
from rich.markup import escape

from reranker import Reranker

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
TICKETS = json.loads((ROOT / "scripts" / "tickets.json").read_text())
QUESTION = "refund for a double charge"
#: Starts only the listeners of gateway.yaml, without mitmproxy's default listener.
LISTEN = ("--set", "weir_listen=true")

console = Console(highlight=False, soft_wrap=True)


def scene(number: int, title: str) -> None:
    """Print the heading of a scene."""
    console.print(f"\n[bold cyan]{number:2}. {title}[/]")


def asked(text: str) -> None:
    """Print a request."""
    console.print(f"    [bold]asked[/]     {escape(text)}")


def happened(text: str) -> None:
    """Print a result."""
    console.print(f"    [bold]happened[/]  {escape(text)}")


def why(text: str) -> None:
    """Print an explanation."""
    console.print(f"    [dim]why       {escape(text)}[/]")


def expect(holds: bool, what: str) -> None:
    """Stop with an error if the demo's next statement would be false."""
    if not holds:
        raise SystemExit(f"demo: expected {what}; this is a defect, please report it")


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Gateway:
    """The gateway's process in its own folder. Its output is kept, and printed if the start fails."""

    def __init__(self, folder: Path, api_key: str) -> None:
        self.folder = folder
        self.port = self.admin_port = self.proxy_port = 0
        self.environment = {
            **os.environ,
            "WEIR_HOME": str(folder / "home"),
            "WEIR_POLICIES": str(folder / "policies"),
            "RERANKER_API_KEY": api_key,
            "PYTHONUNBUFFERED": "1",
        }
        self.log: list[str] = []

    @property
    def url(self) -> str:
        """The base URL of the demo's connection."""
        return f"http://127.0.0.1:{self.port}/reranker"

    @property
    def admin_url(self) -> str:
        """The base URL of the admin API."""
        return f"http://127.0.0.1:{self.admin_port}"

    def command(self, *words: str, **more: str) -> str:
        """Run a command with the gateway's environment and return its output."""
        done = subprocess.run(
            [str(BIN / words[0]), *words[1:]],
            cwd=self.folder, env={**self.environment, **more}, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        if done.returncode != 0:
            raise SystemExit(f"demo: {' '.join(words[:3])} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    def rows(self, query: str) -> list[dict[str, Any]]:
        """Return the rows of a query on the index."""
        return json.loads(self.command("weir", "sql", query, "--json"))  # type: ignore[no-any-return]

    def token(self, user: str, group: str) -> str:
        """Return a token of the local issuer."""
        return self.command("weir", "token", "--user", user, "--group", group).strip()

    @contextlib.contextmanager
    def running(self, *arguments: str, **more: str) -> Iterator[subprocess.Popen[str]]:
        """Run the real mitmdump with the real bundle until the block ends."""
        process = subprocess.Popen(
            [str(BIN / "mitmdump"), "--no-server", "-s", str(ROOT / "addons" / "gateway.py"), *arguments],
            cwd=self.folder, env={**self.environment, **more}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        ready = threading.Event()

        def read() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                self.log.append(line)
                if "weir: ready" in line:
                    ready.set()
            ready.set()

        threading.Thread(target=read, daemon=True).start()
        try:
            if not ready.wait(30) or (process.poll() not in (None, 0)):
                raise SystemExit(f"demo: the gateway did not start:\n{''.join(self.log)}")
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(20)

    @contextlib.contextmanager
    def reviewers(self) -> Iterator[None]:
        """Run `weir admin` beside the gateway until the block ends. `weir run` would start it automatically."""
        process = subprocess.Popen(
            [str(BIN / "weir"), "admin", "-q"], cwd=self.folder, env=self.environment, stdout=subprocess.DEVNULL
        )
        try:
            deadline = time.monotonic() + 30
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    if httpx.get(f"{self.admin_url}/healthz").status_code == 200:
                        break
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit("demo: weir admin did not start")
                time.sleep(0.05)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


#: A language model behind the same gateway. The demo's reranker plays its part.
CHAT = """
version: 1
connection: chat
profile: openai
upstream: http://127.0.0.1:{port}
match: {{path: /chat}}
credential: {{header: Authorization, value: "Bearer ${{env:RERANKER_API_KEY}}"}}
access: {{groups: [search]}}
masks:
  - {{detect: [all], with: redact}}
"""


#: The same service under its own HTTPS address, for clients without knowledge of a gateway.
API = """
version: 1
connection: api
profile: cohere
upstream: https://localhost:{port}
tls: {{ca: {ca}}}
credential: {{header: Authorization, value: "Bearer ${{env:RERANKER_API_KEY}}"}}
access: {{groups: [search]}}
masks:
  - {{fields: ["$.documents[*].user_id", "$.results[*].document.user_id"], with: hash}}
"""

#: A program without knowledge of a gateway: it calls the service under its own name, with an invented key.
UNCHANGED = """
import cohere, json, sys
client = cohere.ClientV2("a-key-of-its-own", base_url=sys.argv[1])
ranking = client.rerank(model="bm25", query="refund", documents=json.load(sys.stdin), top_n=1)
print(round(ranking.results[0].relevance_score, 3))
"""


def certificate(folder: Path) -> tuple[Path, Path]:
    """Write a self-signed certificate for a service on localhost and its key, and return both paths."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "service.pem", folder / "service.key"
    paths[0].write_bytes(signed.public_bytes(Encoding.PEM))
    paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return paths


def prepare(folder: Path, reranker: Reranker, secure: Reranker) -> Gateway:
    """Prepare a gateway with the repository's own policies on free ports. *secure* is the reranker with HTTPS."""
    gateway = Gateway(folder, reranker.api_key)
    shutil.copytree(ROOT / "policies", folder / "policies")
    gateway.port, gateway.admin_port = free_port(), free_port()
    with (folder / "policies" / "gateway.yaml").open("a") as file:
        file.write(f"admin: {{listen: {gateway.admin_url}}}\n")
    for name, old, new in (
        ("gateway.yaml", "127.0.0.1:8080", f"127.0.0.1:{gateway.port}"),
        ("reranker.yaml", "127.0.0.1:9400", f"127.0.0.1:{reranker.port}"),
    ):
        path = folder / "policies" / name
        text = path.read_text()
        expect(old in text, f"{old} in policies/{name}")
        path.write_text(text.replace(old, new))
    (folder / "policies" / "chat.yaml").write_text(CHAT.format(port=reranker.port))
    signed, key = certificate(folder)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(signed, key)
    secure.socket = tls.wrap_socket(secure.socket, server_side=True)
    secure.start()
    (folder / "policies" / "api.yaml").write_text(API.format(port=secure.port, ca=signed))
    gateway.proxy_port = free_port()
    settings = folder / "policies" / "gateway.yaml"
    one = f"listen: [http://127.0.0.1:{gateway.port}]"
    expect(one in settings.read_text(), f"{one} in policies/gateway.yaml")
    two = f"{one[:-1]}, {{url: 'http://127.0.0.1:{gateway.proxy_port}', mode: explicit}}]"
    settings.write_text(settings.read_text().replace(one, two))
    gateway.command("weir", "ca", "create")
    return gateway


def unchanged(gateway: Gateway, secure: Reranker) -> None:
    """Show a program that uses the gateway only through its environment."""
    scene(8, "A program without knowledge of a gateway")
    token = gateway.token("batch", "search")
    pem = gateway.folder / "home" / "ca" / "ca.pem"
    proxy = f"http://batch:{token}@127.0.0.1:{gateway.proxy_port}"
    url = f"https://localhost:{secure.port}"
    asked(f"a script that calls {url} with a key of its own; only HTTPS_PROXY and SSL_CERT_FILE were set for it")
    done = subprocess.run(
        [sys.executable, "-c", UNCHANGED, url], input=json.dumps(TICKETS), capture_output=True, text=True, timeout=60,
        env={**os.environ, "HTTPS_PROXY": proxy, "SSL_CERT_FILE": str(pem), "NO_PROXY": ""}, check=False,
    )  # fmt: skip
    expect(done.returncode == 0, f"an answer:\n{done.stderr}")
    _, headers, _ = secure.seen[-1]
    expect(headers["Authorization"] == f"Bearer {secure.api_key}", "the gateway's credential at the service")
    happened(f"best score {done.stdout.strip()}; the service saw the gateway's key, not the script's")
    (row,) = gateway.rows("SELECT connection, user, documents, status FROM flows WHERE user = 'batch'")
    happened(f"recorded: {row['connection']}, {row['user']}, {row['documents']} documents, {row['status']}")
    trusted = subprocess.run(
        [sys.executable, "-c", UNCHANGED, url.replace("localhost", "elsewhere.invalid")], input="[]", text=True,
        env={**os.environ, "HTTPS_PROXY": proxy, "SSL_CERT_FILE": str(pem), "NO_PROXY": ""}, capture_output=True,
        check=False, timeout=60,
    )  # fmt: skip
    expect(trusted.returncode != 0 and "403" in trusted.stderr, "a refusal for any other host")
    happened("and to another host: 403 at CONNECT, before the gateway connects anywhere")
    why("an explicit listener judges CONNECT by destination; the gateway presents a certificate of its own CA,")
    why("which can issue certificates only for the hosts of the connections")


def refused(call: Callable[[], Any]) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Return the status, body and headers of the refusal of an SDK call."""
    try:
        call()
    except ApiError as error:
        return error.status_code or 0, error.body, {k.lower(): v for k, v in (error.headers or {}).items()}
    raise SystemExit("demo: a call that should be refused was not; this is a defect, please report it")


def rerank(client: cohere.ClientV2, documents: list[Any]) -> Any:
    """Rerank *documents* with the SDK's own method."""
    options = {"additional_body_parameters": {"return_documents": True}, "max_retries": 0}
    return client.rerank(model="bm25", query=QUESTION, documents=documents, top_n=3, request_options=options)  # type: ignore[arg-type]


def _ends(text: str) -> str:
    """Shorten *text* in the middle."""
    return text if len(text) <= 70 else f"{text[:36]} … {text[-31:]}"


def online(gateway: Gateway, reranker: Reranker, http: httpx.Client) -> None:
    """Show the scenes with gateway and reranker running."""

    def client(token: str) -> cohere.ClientV2:
        return cohere.ClientV2(token, base_url=gateway.url, httpx_client=http)

    alice = gateway.token("alice", "search")

    scene(1, "A good rerank, with the official cohere SDK")
    asked(
        f"alice (group search): rerank {len(TICKETS)} support tickets for {QUESTION!r}; she sets only base URL and token"
    )
    ranking = rerank(client(alice), TICKETS)
    for result in ranking.results:
        happened(f"{result.relevance_score:.3f}  {result.document['user_id']}  {_ends(result.document['text'])}")
    hashes = {r.document["user_id"] for r in ranking.results}
    expect(all(h.startswith("hash:") for h in hashes), "hashes where the user ids were")
    texts = [r.document["text"] for r in ranking.results]
    expect(any("[PHONE]" in text or "[CREDIT_CARD]" in text for text in texts), "a masked number in a document")
    why(
        "her token has a group in `access`; `masks` hash user ids (equal ids give equal hashes) and replace detected values"
    )

    scene(2, "The credential that the reranker saw, and alice did not")
    _, headers, body = reranker.seen[-1]
    asked("what did the reranker receive?")
    happened(
        f"Authorization: {headers['Authorization'][:13]}…  and the plain ids, e.g. {json.loads(body)['documents'][0]['user_id']}"
    )
    expect(headers["Authorization"] == f"Bearer {reranker.api_key}", "the gateway's credential")
    why("`credential` is injected last; alice's own token never leaves the gateway")

    scene(3, "No token")
    asked("a rerank without any Authorization")
    answer = http.post(f"{gateway.url}/v2/rerank", json={"query": "q", "documents": ["a"]})
    happened(f"{answer.status_code} {answer.json()['title']}; WWW-Authenticate: {answer.headers['WWW-Authenticate']}")
    expect(answer.status_code == 401, "401")
    why(answer.json()["detail"])

    scene(4, "The wrong group")
    asked("bob (group finance): the same rerank")
    status, problem, _ = refused(lambda: rerank(client(gateway.token("bob", "finance")), TICKETS))
    happened(f"{status} {problem['title']}, as the SDK shows it: {problem['message']}")
    expect(status == 403, "403")
    why("none of his groups is in `access`")

    scene(5, "5,000 documents against a limit of 1,000")
    asked("alice: rerank 5,000 documents")
    before = len(reranker.seen)
    status, problem, _ = refused(lambda: rerank(client(alice), (TICKETS * 500)[:5000]))
    happened(
        f"{status} by rule {problem['rule']}: {problem['message']}  (requests that reached the reranker: {len(reranker.seen) - before})"
    )
    expect(status == 403 and len(reranker.seen) == before, "403 and nothing upstream")
    why("when: {documents: {gt: 1000}} -> deny; the documents were counted before a byte of the body was sent")

    scene(6, "A burst, and the 429 after it")
    carol = client(gateway.token("carol", "search"))
    passed = 0
    for _ in range(50):
        try:
            rerank(carol, TICKETS)
            passed += 1
        except ApiError as error:
            headers = {k.lower(): v for k, v in (error.headers or {}).items()}
            asked("carol: the same rerank, as fast as she can")
            happened(f"{passed} passed, then {error.status_code}: {error.body['message']}")
            happened(f"RateLimit: {headers['ratelimit']}   Retry-After: {headers['retry-after']}")
            expect(error.status_code == 429, "429")
            break
    why("limits: 60/minute per user, 8 at once; alice's own allowance is untouched")

    scene(7, "A streamed answer, masked as it arrives")
    said = "Sure. Write to dana.k@example.com or call +49 30 901820, and have DE89 3704 0044 0532 0130 00 at hand."
    asked("alice: POST /v1/chat/completions, stream: true; the model answers five letters at a time")
    shown, events = "", 0
    chat = {"model": "m", "stream": True, "messages": [{"role": "user", "content": said}]}
    url, bearer = gateway.url.replace("/reranker", "/chat"), {"Authorization": f"Bearer {alice}"}
    with http.stream("POST", f"{url}/v1/chat/completions", json=chat, headers=bearer) as answer:
        for line in answer.iter_lines():
            if line.startswith("data: {"):
                events += 1
                shown += json.loads(line[6:])["choices"][0]["delta"].get("content", "")
    happened(f"in {events} events: {shown}")
    expect(shown == "Sure. Write to [EMAIL] or call [PHONE], and have [IBAN] at hand.", "a masked stream")
    why("values are recognised across events; only a word that may be the start of a value is held back")


def waiting(gateway: Gateway, reranker: Reranker, http: httpx.Client) -> None:
    """Show the scenes that need a reviewer's decision."""
    dana = cohere.ClientV2(gateway.token("dana", "search"), base_url=gateway.url, httpx_client=http)
    carol = {"WEIR_TOKEN": gateway.token("carol-lead", "search-leads"), "WEIR_ADMIN_URL": gateway.admin_url}
    bearer = {"Authorization": f"Bearer {carol['WEIR_TOKEN']}"}
    outcome: list[Any] = []

    def call(documents: list[Any]) -> None:
        try:
            outcome.append(rerank(dana, documents))
        except ApiError as error:
            outcome.append(error)

    def waits(documents: list[Any]) -> tuple[threading.Thread, dict[str, Any]]:
        outcome.clear()
        before = len(reranker.seen)
        thread = threading.Thread(target=call, args=(documents,))
        thread.start()
        found: list[dict[str, Any]] = []
        while not found:
            listed = http.get(f"{gateway.admin_url}/v1/approvals", params={"state": "pending"}, headers=bearer)
            found = listed.json()["approvals"]
        expect(thread.is_alive() and len(reranker.seen) == before, "a request that waits, and nothing upstream")
        return thread, found[0]

    scene(9, "A wide rerank waits for a human, who approves it")
    asked("dana (group search): rerank 300 documents with the cohere SDK, as usual")
    thread, approval = waits((TICKETS * 50)[:300])
    short = approval["id"][-8:]
    happened("her call waits, and the reranker has received nothing. Carol (group search-leads) reads the request:")
    for line in gateway.command("weir", "approvals", "show", short, **carol).splitlines():
        console.print(f"    [dim]{escape(line[:150])}[/]")
    happened(f"weir approvals approve {short} --reason 'known batch job'")
    gateway.command("weir", "approvals", "approve", short, "--reason", "known batch job", **carol)
    thread.join(20)
    expect(bool(outcome) and not isinstance(outcome[0], ApiError), "the SDK's call to return")
    happened(f"dana's call returns: {[(r.index, round(r.relevance_score, 3)) for r in outcome[0].results]}")
    row = gateway.rows("SELECT outcome, latency, decided_by[1] AS by, reason FROM approvals LIMIT 1")[0]
    happened(f"the record: {row['outcome']}, decided by {row['by']} after {row['latency']:.1f} s: {row['reason']}")
    why("wide-reranks: require_approval; bound to this exact request, judged again, and used once")

    scene(10, "A rerank that she denies")
    asked("dana: rerank 400 documents")
    thread, approval = waits((TICKETS * 50)[:400])
    short = approval["id"][-8:]
    happened(f"weir approvals deny {short} --reason 'ask for fewer documents'")
    gateway.command("weir", "approvals", "deny", short, "--reason", "ask for fewer documents", **carol)
    thread.join(20)
    expect(bool(outcome) and isinstance(outcome[0], ApiError), "the SDK's call to be refused")
    happened(f"dana's SDK: {outcome[0].status_code} {outcome[0].body['message']}")
    why("the caller's answer names the reviewer and the reason; a repeated request does not ask again")


def offline(gateway: Gateway, reranker: Reranker, http: httpx.Client) -> None:
    """Show the scenes that use the recordings, with the reranker stopped and then restarted."""
    recording = sorted((gateway.folder / "recordings/segments/reranker").glob("*/*.mitm"))[0]
    shown = recording.relative_to(gateway.folder)

    scene(11, "The recordings, in stock mitmdump")
    asked(f"mitmdump -nr {shown}")
    lines = gateway.command("mitmdump", "-nr", str(recording)).splitlines()
    for line in [*lines[:2], f"… {len(lines) // 2} requests in total, including refused ones"]:
        happened(line.strip())
    why("a recording is a plain mitmproxy flow file: masked, and without any token or credential")

    alice = gateway.token("alice", "search")
    port, key = reranker.port, reranker.api_key
    reranker.stop()
    scene(12, "Served back with mitmdump -S while the reranker is down")
    asked("alice: the first rerank again, answered only from the gateway's recording")
    with gateway.running(
        *LISTEN, "-S", str(recording), "--set", "keepserving=true", "--set", "server_replay_extra=404"
    ):
        ranking = rerank(cohere.ClientV2(alice, base_url=gateway.url, httpx_client=http), TICKETS)
        happened(f"the same answer: {[(r.index, r.relevance_score) for r in ranking.results]}")
        answer = http.post(f"{gateway.url}/v2/rerank", json={"query": "q", "documents": ["a"]})
        happened(f"and still {answer.status_code} without a token")
        expect(answer.status_code == 401, "401")
    why("replay compares a keyed digest of the request, so masked recordings match; policy still decides")

    again = Reranker(key, port).start()
    scene(13, "The same session sent again with mitmdump -C by an operator")
    asked("olga (group search), token in WEIR_TOKEN, weir_replay_allow=masked: send every recorded request again")
    before = gateway.rows("SELECT count(*) AS n FROM flows")[0]["n"]
    olga = gateway.token("olga", "search")
    with gateway.running("-C", str(recording), "--set", "weir_replay_allow=masked", WEIR_TOKEN=olga) as process:
        process.wait(40)
    for row in gateway.rows(
        "SELECT status, coalesce(rule, problem) AS by, count(*) AS n FROM flows WHERE replay = 'request' GROUP BY ALL ORDER BY n DESC"
    ):
        happened(f"{row['n']:3} x {row['status']}  {row['by']}")
    after = gateway.rows("SELECT count(*) AS n FROM flows")[0]["n"]
    expect(after > before and len(again.seen) > 0, "replayed requests that reached the reranker")
    why("a replay is judged and recorded like any request; requests without access were recorded without a body (400)")
    again.stop()


QUESTIONS = {
    "Who asked for what, and how did it end?": "SELECT user, effect, coalesce(problem, 'passed') AS outcome, count(*) AS requests "
    "FROM flows WHERE replay IS NULL GROUP BY ALL ORDER BY requests DESC, user",
    "Which rules refused or would have refused?": "SELECT rule, enforced, count(*) AS times FROM violations GROUP BY ALL ORDER BY times DESC",
    "What was ranked first, by model?": "SELECT model, index AS document, round(avg(score), 3) AS score, count(*) AS times "
    "FROM rankings WHERE rank = 1 GROUP BY ALL ORDER BY times DESC LIMIT 3",
    "How long did a session last, and how much was in it?": "SELECT user, requests, refused, documents, seconds FROM sessions ORDER BY requests DESC LIMIT 4",
    "What was hidden?": "SELECT coalesce(nullif(kind, ''), path) AS what, strategy, sum(count) AS hidden FROM masked_fields GROUP BY ALL ORDER BY hidden DESC, what",
}


def sql(gateway: Gateway) -> None:
    """Show five questions in SQL."""
    scene(14, "Five questions in SQL")
    for question, query in QUESTIONS.items():
        asked(question)
        console.print(f'    [dim]weir sql "{escape(query)}"[/]')
        for line in gateway.command("weir", "sql", query).splitlines():
            console.print(f"    {line}", markup=False)


def main() -> None:
    """Show every scene in order."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", action="store_true", help="leave gateway and reranker running until Ctrl-C")
    keep = parser.parse_args().keep
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that started processes are ended
    signal.signal(signal.SIGINT, signal.default_int_handler)
    started = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="weir-demo-"))
    reranker = Reranker("sk-reranker-" + secrets.token_hex(12)).start()
    secure = Reranker(reranker.api_key)
    gateway = prepare(folder, reranker, secure)
    console.print(
        f"[bold]Weir[/]: a gateway on {gateway.url} in front of a BM25 reranker, in {folder} until the demo ends"
    )
    try:
        with httpx.Client(timeout=20) as http:
            with gateway.running(*LISTEN):
                online(gateway, reranker, http)
                unchanged(gateway, secure)
                with gateway.reviewers():
                    waiting(gateway, reranker, http)
            offline(gateway, reranker, http)
        sql(gateway)
        console.print(f"\n[bold]Done[/] in {time.monotonic() - started:.0f} s.")
        if keep:
            stay(gateway, reranker)
        console.print(
            "Next, run [bold]scripts/demo --keep[/] and the commands that it prints. Or set your own service in"
        )
        console.print(
            "policies/reranker.yaml and start [bold].venv/bin/weir run[/]. The README explains the next steps."
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def stay(gateway: Gateway, reranker: Reranker) -> None:
    """Leave everything running, and print commands to try."""
    service = Reranker(reranker.api_key, reranker.port).start()
    with gateway.running(*LISTEN):
        console.print("\nRunning until Ctrl-C. In another terminal:")
        names = ("WEIR_HOME", "WEIR_POLICIES")
        console.print(
            "  export " + " ".join(f"{n}='{gateway.environment[n]}'" for n in names) + f" PATH='{BIN}':$PATH",
            markup=False,
        )
        console.print(
            f'  curl -s {gateway.url}/v2/rerank -H "Authorization: Bearer $(weir token --user you --group search)" \\\n'
            '    -H \'Content-Type: application/json\' -d \'{"query": "refund", "documents": ["a refund", "a parcel"]}\'',
            markup=False,
        )
        console.print(
            f"  weir sql 'SELECT time, user, status, rule FROM flows ORDER BY time DESC LIMIT 5' --recordings '{gateway.folder}/recordings'",
            markup=False,
        )
        console.print(f"  cat '{gateway.folder}'/recordings/segments/reranker/*/*.mitm | mitmdump -nr -", markup=False)
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()
    service.stop()


if __name__ == "__main__":
    main()
