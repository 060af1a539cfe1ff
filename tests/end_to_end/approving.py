"""A gateway with policies that require approval, and the real admin process beside it, for tests."""

import contextlib
import json
import os
import signal
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests import processes
from tests.end_to_end.gateway import CONNECTION, PATIENCE, Answer, Gateway, Upstream, free_port, token, write_policies
from weir.state.store import Store, open_store

WEIR = Path(sys.executable).with_name("weir")

#: `{admin}` is the admin's port, `{state}` the location of the shared state.
GATEWAY = """
version: 1
listen: [http://127.0.0.1:{{port}}]
issuers: [local, keys]
recordings: {{recordings}}
state: {state}
admin: {{{{listen: http://127.0.0.1:{admin}}}}}
same_person: [[local/alice, local/alice-admin]]
"""

POLICY = """
approval: {reviewers: [leads], hold: 45s, break_glass: [sre]}
rules:
  - {name: wide, when: {documents: {gt: 2}, model: m}, effect: require_approval, message: Wide ones are looked at.}
  - {name: short, when: {model: short}, effect: require_approval, approval: {hold: 1s}}
  - {name: two, when: {model: two}, effect: require_approval, approval: {count: 2}}
  - {name: both, when: {model: both}, effect: require_approval, approval: {all_of: [leads, security]}}
  - {name: on-call, when: {model: on-call}, effect: require_approval, approval: {reviewers: {on_call: search}}}
  - {name: escalates, when: {model: escalates}, effect: require_approval, approval: {escalate: {after: 1s, to: {groups: [heads]}}}}
  - {name: again, when: {model: again}, effect: require_approval, approval: {reuse: {for: 1h, same: [model]}}}
  - {name: runs-out, when: {model: runs-out}, effect: require_approval, approval: {expires: 1s}}
  - {name: also, when: {query: {contains: also}}, effect: require_approval, approval: {reviewers: [security]}}
  - {name: unsure, on: response, when: {top_score: {lt: 0.1}}, effect: require_approval, approval: {hold: 1s}}
masks:
  - {fields: ["$.documents[*].email", "$.results[*].document.email"], with: redact}
"""

WINDOW = (
    CONNECTION.replace("connection: reranker", "connection: window")
    .replace("/reranker", "/window")
    .replace("groups: [search]", "groups: [nobody], on_request: {{reviewers: [leads], at_most: 2h}}")
)

SEARCH = """
version: 1
connection: search
profile: elasticsearch
upstream: http://127.0.0.1:{upstream}
match: {{path: /search}}
credential: {{header: Authorization, value: "Bearer ${{env:TEST_UPSTREAM_KEY}}"}}
access: {{groups: [search]}}
writes: require_approval
approval: {{reviewers: [leads], hold: 1s}}
masks: [{{fields: ["$..salary"], with: redact}}]
"""

TALK = """
version: 1
connection: talk
profile: openai
upstream: http://127.0.0.1:{upstream}
match: {{path: /talk}}
access: {{groups: [search]}}
websocket: [/x]
approval: {{reviewers: [leads], hold: 20s}}
rules:
  - {{name: talks, when: {{operation: websocket}}, effect: require_approval}}
  - {{name: streams, when: {{operation: chat, stream: true}}, effect: require_approval}}
masks: [{{fields: ["$.secret"], with: redact}}]
"""

#: A rotation of one reviewer, who is always on call.
SCHEDULE = "version: 1\ntimezone: UTC\nstarts: 2026-01-05 09:00\nrotation: [local/carol]\n"

CAROL = ("carol", "leads")

#: For httpx, which would otherwise read the system's certificates for each call. No test here uses TLS.
PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

Launch = Callable[..., Gateway]

_TOKENS: dict[tuple[str, ...], str] = {}


def token_of(user: str, *groups: str) -> str:
    """Return one token per user and groups. A final test searches all logs for every minted token."""
    return _TOKENS.setdefault((user, *groups), token(user, *groups))


@dataclass
class Admin:
    """A running admin process."""

    folder: Path
    port: int
    process: processes.Process | None = None
    log: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the process and wait until it serves."""
        self.begin()
        self.ready()

    def begin(self) -> None:
        """Start the process."""
        environment = {**os.environ, "TEST_UPSTREAM_KEY": "sk-upstream-c2VjcmV0/4f9e81d0"}
        self.process = processes.start("weir", "admin", folder=self.folder, environment=environment)
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()

    def ready(self) -> None:
        """Wait until the process serves."""
        deadline = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{self.url}/healthz", verify=PLAIN).status_code == 200:
                    return
            ended = self.process is not None and self.process.poll() is not None
            assert time.monotonic() < deadline and not ended, "".join(self.log)
            time.sleep(0.05)

    def _read(self, process: processes.Process) -> None:
        assert process.stdout is not None
        self.log.extend(iter(process.stdout.readline, ""))
        process.stdout.close()

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stop the process and wait."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(PATIENCE)
            self.process = None

    def ask(self, method: str, path: str, who: str, **how: Any) -> httpx.Response:
        """Call the API once with the token *who*."""
        headers = {"Authorization": f"Bearer {who}"}
        return httpx.request(method, f"{self.url}{path}", headers=headers, timeout=PATIENCE, verify=PLAIN, **how)

    def get(self, approval_id: str, who: str, **parameters: str) -> Any:
        """Return one approval."""
        answer = self.ask("GET", f"/v1/approvals/{approval_id}", who, params=parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def of(self, user: str, who: str, state: str = "pending", seconds: float = PATIENCE) -> Any:
        """Wait for the one approval in *state* that *user* requested, and return it."""
        deadline = time.monotonic() + seconds
        while True:
            listed = self.ask("GET", "/v1/approvals", who, params={"state": state}).json()["approvals"]
            if found := [a for a in listed if a["requester"]["sub"] == user]:
                assert len(found) == 1, found
                return found[0]
            assert time.monotonic() < deadline, f"{user} has asked for nothing; {listed}"
            time.sleep(0.02)

    def decide(self, approval_id: str, who: str, what: str = "approve", **body: Any) -> httpx.Response:
        """Approve or deny."""
        return self.ask("POST", f"/v1/approvals/{approval_id}/{what}", who, json={"reason": "because", **body})


class Waiting:
    """A caller that waits in its own thread."""

    def __init__(self, gateway: Gateway, *arguments: Any, **options: Any) -> None:
        self.answer: Answer | None = None
        self.done = 0.0
        self._thread = threading.Thread(target=self._call, args=(gateway, arguments, options), daemon=True)
        self._thread.start()

    def _call(self, gateway: Gateway, arguments: Any, options: Any) -> None:
        with contextlib.suppress(OSError):
            self.answer = gateway.call(*arguments, **options)
        self.done = time.monotonic()

    def result(self, seconds: float = PATIENCE) -> Answer:
        """Return the answer that the caller received."""
        self._thread.join(seconds)
        assert self.answer is not None, "no answer"
        return self.answer


@dataclass
class Site:
    """A gateway, its admin and its service."""

    gateway: Gateway
    admin: Admin
    upstream: Upstream
    state: str = "sqlite"

    @contextlib.contextmanager
    def store(self) -> Iterator[Store]:
        """Open its shared state, to do what commands do."""
        opened = open_store(self.state)
        try:
            yield opened
        finally:
            opened.close()

    def seen(self, query: str) -> int:
        """Return how many requests with that query the service received."""
        return sum(json.loads(s.body).get("query") == query for s in self.upstream.seen if s.body)

    def row(self, answer: Answer, columns: str) -> tuple[Any, ...]:
        """Return the index's row of the request with this answer."""
        request_id = answer.headers["x-request-id"]
        deadline = time.monotonic() + PATIENCE
        while not (rows := self.gateway.sql(f"SELECT {columns} FROM flows WHERE request_id = '{request_id}'")):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return rows[0]


def body(query: str, documents: int = 3) -> dict[str, Any]:
    """Return the body of a rerank. The rule ``wide`` matches three or more documents."""
    return {"model": "m", "query": query, "documents": [f"document {n}" for n in range(documents)]}


@contextlib.contextmanager
def free_admin(folder: Path) -> Iterator[Admin]:
    """Yield an admin that is not started yet, and stop it with the block."""
    admin = Admin(folder, free_port())
    try:
        yield admin
    finally:
        admin.stop(signal.SIGKILL)


def start_site(folder: Path, launch: Launch, state: str, admin: Admin, upstream: Upstream, *arguments: str) -> Site:
    port = free_port()
    gateway = GATEWAY.format(admin=admin.port, state=state)
    write_policies(
        folder, port, upstream.port, POLICY, gateway, window=WINDOW.format(upstream=upstream.port),
        search=SEARCH.format(upstream=upstream.port), talk=TALK.format(upstream=upstream.port),
    )  # fmt: skip
    (folder / "policies" / "schedules").mkdir()
    (folder / "policies" / "schedules" / "search.yaml").write_text(SCHEDULE)
    options: dict[str, Any] = {}
    if arguments and arguments[0] == "run":
        options["program"] = "weir"
    else:
        arguments = ("-n", "--set", "weir_listen=true", *arguments)
        admin.begin()
    running = launch(folder, port, *arguments, **options)
    if not options:
        admin.ready()
    return Site(running, admin, upstream, state)


def weir(site: Site, *arguments: str, who: str = "", code: int = 0) -> Any:
    """Run a command on the gateway's machine. Return its JSON if it prints JSON, else its output."""
    environment = {"WEIR_TOKEN": who, "WEIR_ADMIN_URL": site.admin.url, "TEST_UPSTREAM_KEY": "sk-x"}
    done = processes.run("weir", *arguments, folder=site.gateway.folder, environment=environment)
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout) if "--json" in arguments else done.stdout + done.stderr
