"""A real gateway for tests: the real mitmdump with the real bundle, a raw upstream, and the test's policies."""

import base64
import contextlib
import hashlib
import http.client
import json
import os
import re
import signal
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
from mitmproxy import io
from mitmproxy.http import HTTPFlow

from tests import processes
from tests.processes import PATIENCE
from weir.auth.local import mint

ROOT = Path(__file__).resolve().parents[2]
BUNDLE = ROOT / "addons" / "gateway.py"
MITMDUMP = Path(sys.executable).with_name("mitmdump")

CREDENTIAL = "sk-upstream-c2VjcmV0/4f9e81d0"

#: Every token that a test has used.
MINTED: list[str] = []

GATEWAY = """
version: 1
listen: [http://127.0.0.1:{port}]
issuers: [local]
recordings: {recordings}
"""

CONNECTION = """
version: 1
connection: reranker
profile: cohere
upstream: http://127.0.0.1:{upstream}
match: {{path: /reranker}}
credential: {{header: Authorization, value: "Bearer ${{env:TEST_UPSTREAM_KEY}}"}}
access: {{groups: [search]}}
"""


def free_port() -> int:
    """Return a free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Seen:
    """One request as the upstream received it, byte for byte."""

    head: bytes
    body: bytes

    @property
    def raw(self) -> bytes:
        """The whole request."""
        return self.head + self.body

    @property
    def headers(self) -> dict[str, str]:
        """The headers, with names in lower case."""
        lines = self.head.decode().split("\r\n")[1:]
        return {n.lower(): v.strip() for n, _, v in (line.partition(":") for line in lines if line)}


RANKING = {"results": [{"index": 1, "relevance_score": 0.9}, {"index": 0, "relevance_score": 0.2}]}


class Upstream:
    """A raw HTTP server that keeps the received bytes. ``answer`` returns the response's bytes, or pieces of them."""

    def __init__(self, port: int = 0, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.seen: list[Seen] = []
        self.connections = 0
        self.answer: Callable[[Seen], bytes | Iterator[bytes]] = lambda seen: json_answer(RANKING)
        self.tls = tls
        self.resets = False  # True: where an answer is cut off, reset the connection
        self.stays = False  # True: after a failed handshake, keep the connection open
        self._socket = socket.create_server((host, port))
        self.port = int(self._socket.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        buffer = b""
        if self.tls is not None:
            if self.stays:
                _refuse(connection, self.tls)
                return
            try:
                connection = self.tls.wrap_socket(connection, server_side=True)
            except OSError:  # the gateway refused the handshake
                return
        with connection:
            while True:
                while b"\r\n\r\n" not in buffer:
                    if not (data := _receive(connection)):
                        return
                    buffer += data
                head, _, buffer = buffer.partition(b"\r\n\r\n")
                length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
                wanted = int(length[1]) if length else 0
                while len(buffer) < wanted:
                    if not (data := _receive(connection)):
                        return
                    buffer += data
                seen = Seen(head + b"\r\n\r\n", buffer[:wanted])
                buffer = buffer[wanted:]
                self.seen.append(seen)
                if not (answer := self.answer(seen)):
                    return
                for piece in (answer,) if isinstance(answer, bytes) else answer:
                    if not piece:  # an empty piece cuts the answer off
                        if self.resets:
                            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        return
                    try:
                        connection.sendall(piece)
                    except (BrokenPipeError, ConnectionResetError):  # the gateway does not want the rest
                        return

    @contextlib.contextmanager
    def answering(self, answer: bytes) -> Iterator[None]:
        """Use *answer* for all requests until the block ends."""
        before = self.answer
        self.answer = lambda seen: answer
        try:
            yield
        finally:
            self.answer = before

    def stop(self) -> None:
        """Close the port. The shutdown ends the accept that would take one more connection."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


def _refuse(connection: socket.socket, tls: ssl.SSLContext) -> None:
    """Let a handshake fail, and keep the connection open for a while."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = tls.wrap_bio(incoming, outgoing, server_side=True)
    with connection:
        while True:
            try:
                session.do_handshake()
            except ssl.SSLWantReadError:
                connection.sendall(outgoing.read())
                incoming.write(_receive(connection))
            except ssl.SSLError:
                connection.sendall(outgoing.read())
                time.sleep(10)
                return


def _receive(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65536)
    except OSError:
        return b""


def json_answer(document: Any, status: str = "200 OK", headers: str = "") -> bytes:
    """Return the bytes of a JSON response."""
    body = json.dumps(document).encode()
    return raw_answer(body, status, f"Content-Type: application/json\r\n{headers}")


def raw_answer(body: bytes, status: str = "200 OK", headers: str = "") -> bytes:
    """Return the bytes of a response; *headers* are complete lines."""
    return f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


def say(connection: socket.socket, data: bytes) -> bytes:
    """Send bytes as they are; one response, or nothing where the gateway closes without one."""
    received = b""
    try:
        connection.sendall(data)
        while True:
            head, ended, body = received.partition(b"\r\n\r\n")
            length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0].strip()
            if ended and len(body) >= int(length or b"0") and length:
                return received
            if not (chunk := connection.recv(65536)):
                return received
            received += chunk
    except (ConnectionError, ssl.SSLError):
        return received


#: The key of a WebSocket handshake: 16 arbitrary bytes.
KEY = "AAAAAAAAAAAAAAAAAAAAAA=="


def websocket_handshake(target: str, bearer: str, *lines: str, key: str = KEY, method: str = "GET") -> bytes:
    """Return a WebSocket handshake with additional header *lines*."""
    more = "".join(f"{line}\r\n" for line in lines)
    return (
        f"{method} {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {bearer}\r\nConnection: Upgrade\r\n"
        f"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n{more}\r\n"
    ).encode()


def websocket_accept(head: bytes) -> str:
    """Return Sec-WebSocket-Accept for a handshake's *head*."""
    key = head.split(b"Sec-WebSocket-Key: ")[1].split(b"\r\n")[0]
    return base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()).decode()


@dataclass
class Answer:
    """A response as the caller received it."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The parsed body."""
        return json.loads(self.body)

    @property
    def problem(self) -> str:
        """The problem's name; empty if the answer is not a problem."""
        if self.headers.get("content-type") != "application/problem+json":
            return ""
        return str(self.json["type"]).removeprefix("urn:weir:problem:")


@dataclass
class Gateway:
    """A running gateway, with methods to call it."""

    folder: Path
    port: int
    process: processes.Process
    log: list[str] = field(default_factory=list)

    @property
    def recordings(self) -> Path:
        """Its recordings folder."""
        return self.folder / "recordings"

    def call(
        self,
        path: str = "/reranker/v2/rerank",
        body: Any = None,
        *,
        token: str | None = None,
        headers: dict[str, str] | None = None,
        method: str = "POST",
    ) -> Answer:
        """Send one request on a new connection. A *body* that is not bytes is sent as JSON."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        sent = {"Content-Type": "application/json"} if data is not None else {}
        if token:
            sent["Authorization"] = f"Bearer {token}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, data, {**sent, **(headers or {})})
            response = connection.getresponse()
            return Answer(
                response.status,
                {name.lower(): str(response.getheader(name)) for name in response.headers},
                response.read(),
            )
        finally:
            connection.close()

    def raw(self, data: bytes) -> bytes:
        """Send bytes as they are; one response, or nothing where the gateway closes without one."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as connection:
            return say(connection, data)

    def wait_for(self, text: str, seconds: float = PATIENCE) -> str:
        """The log line that contains *text*, once there is one. Fails at once when the process has ended."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for line in list(self.log):
                if text in line:
                    return line
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"{text!r} is not in the log:\n" + "".join(self.log))

    def memory(self) -> int:
        """Return the memory of its process in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) * 1024

    def connections(self, port: int) -> int:
        """Return how many of its connections to *port* of this machine are open or half open."""
        links = []
        for descriptor in Path(f"/proc/{self.process.pid}/fd").iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                links.append(str(descriptor.readlink()))
        sockets = {link[8:-1] for link in links if link.startswith("socket:[")}
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return sum(line[2].endswith(f":{port:04X}") and line[9] in sockets for line in lines)

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        """Query the index from this process."""
        with duckdb.connect(str(self.recordings / "index.duckdb"), read_only=True) as connection:
            return connection.execute(query).fetchall()

    def flows(self) -> list[HTTPFlow]:
        """Return every recorded flow, read with stock mitmproxy, in the order of the requests."""
        return recorded_flows(self.recordings)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Stop the process, wait, and return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(timeout=PATIENCE)


def recorded_flows(recordings: Path) -> list[HTTPFlow]:
    """Return every flow below *recordings*, in the order of the requests."""
    flows: list[HTTPFlow] = []
    for path in (recordings / "segments").glob("*/*/*.mitm"):
        with path.open("rb") as file:
            flows += [f for f in io.FlowReader(file).stream() if isinstance(f, HTTPFlow)]
    return sorted(flows, key=lambda f: f.id)


def write_policies(
    folder: Path, port: int, upstream: int, more: str = "", gateway: str = GATEWAY, **others: str
) -> None:
    """Write a policies folder: the gateway, the connection ``reranker`` with *more* settings, and *others* by name."""
    policies = folder / "policies"
    policies.mkdir(parents=True, exist_ok=True)
    (policies / "gateway.yaml").write_text(gateway.format(port=port, recordings=folder / "recordings"))
    (policies / "reranker.yaml").write_text(CONNECTION.format(upstream=upstream) + more)
    for name, text in others.items():
        (policies / f"{name}.yaml").write_text(text)


def start(
    folder: Path,
    port: int,
    *arguments: str,
    scripts: Sequence[Path] = (BUNDLE,),
    environment: dict[str, str] | None = None,
    wait: str = "weir: ready",
    program: processes.Program = "mitmdump",
    command: Sequence[str] = (),
) -> Gateway:
    """Start mitmdump with the bundle in *folder*; return when its log contains *wait*.

    With *program* ``weir`` start that command with the arguments; with *command* execute it instead of forking.
    """
    # Weir itself writes each line of the log at once and whole.
    env = {**os.environ, "TEST_UPSTREAM_KEY": CREDENTIAL, "PYTHONUNBUFFERED": "", **(environment or {})}
    process: processes.Process
    if command:
        process = subprocess.Popen(
            [*command, *arguments], cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace",
        )  # fmt: skip
    else:
        options = [option for script in scripts for option in ("-s", str(script))] if program == "mitmdump" else []
        process = processes.start(program, *options, *arguments, folder=folder, environment=env)
    gateway = Gateway(folder, port, process)

    def read() -> None:
        assert process.stdout is not None
        gateway.log.extend(iter(process.stdout.readline, ""))
        process.stdout.close()

    threading.Thread(target=read, daemon=True).start()
    if wait:
        try:
            gateway.wait_for(wait)
        except AssertionError:
            gateway.stop(signal.SIGKILL)
            raise
    return gateway


def token(user: str = "alice", *groups: str) -> str:
    """Return a token of the local issuer, with the group ``search`` if none is given."""
    minted = mint(user, list(groups) or ["search"], 600).reveal()
    MINTED.append(minted)
    return minted
