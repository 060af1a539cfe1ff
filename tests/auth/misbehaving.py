"""An identity provider that misbehaves on request: raw sockets, one thread per connection, in the test's process."""

import contextlib
import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm
from tests.end_to_end import gateway as gateways

DISCOVERY = "/.well-known/openid-configuration"


@dataclass
class Asked:
    """One request that the provider received."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at: float


@dataclass
class Behaviour:
    """How the provider answers requests for one path, if not correctly."""

    status: int = 200
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    drip: float = 0.0  # seconds between the bytes of a body
    silent: bool = False
    chunks: int = 0  # number of one-byte chunks, sent at once


class Provider:
    """Discovery, keys and introspection over HTTP; `behave` changes what one of them does."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self.asked: list[Asked] = []
        self.keys: dict[str, Any] = {}
        self.active: dict[str, dict[str, Any]] = {}
        self._behaviour: dict[str, Behaviour] = {}
        self._stopped = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http{'s' if tls else ''}://127.0.0.1:{self._socket.getsockname()[1]}"
        self.rotate("k1")
        threading.Thread(target=self._accept, daemon=True).start()

    # Its keys.

    def rotate(self, kid: str, *, keep: bool = False, algorithm: str = "ES256", name_algorithm: bool = True) -> None:
        """Sign with a new key from now on; publish it alone or, with *keep*, beside the others."""
        key: Any
        if algorithm.startswith("ES"):
            key = ec.generate_private_key(ec.SECP256R1())
            public = ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
        else:
            key = rsa.generate_private_key(65537, 2048)
            public = RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
        self._key, self._kid, self._algorithm = key, kid, algorithm
        if not keep:
            self.keys = {}
        self.keys[kid] = {**public, "kid": kid, "use": "sig", **({"alg": algorithm} if name_algorithm else {})}

    def token(self, sub: str = "alice", *, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """Return a token signed with the current key."""
        now = int(time.time())
        standard = {"iss": self.url, "aud": "weir", "sub": sub, "groups": ["search"], "iat": now, "exp": now + 600}
        merged = {name: value for name, value in {**standard, **claims}.items() if value is not ...}
        token = jwt.encode(merged, self._key, self._algorithm, {"kid": self._kid, **(header or {})})
        gateways.MINTED.append(token)
        return token

    def opaque(self, text: str, **claims: Any) -> str:
        """Return an opaque token that is active from now on; introspection answers *claims*."""
        now = int(time.time())
        standard = {
            "active": True,
            "iss": self.url,
            "aud": "weir",
            "sub": "alice",
            "groups": ["search"],
            "exp": now + 600,
        }
        self.active[text] = {name: value for name, value in {**standard, **claims}.items() if value is not ...}
        gateways.MINTED.append(text)
        return text

    # Its behaviour.

    @contextlib.contextmanager
    def behaving(self, path: str, behaviour: Behaviour) -> Iterator[None]:
        """Misbehave at *path* within the block."""
        self._behaviour[path] = behaviour
        try:
            yield
        finally:
            del self._behaviour[path]

    def count(self, path: str) -> int:
        """Return how often *path* was requested."""
        return sum(asked.path == path for asked in self.asked)

    def stop(self) -> None:
        """Close the port and end silent connections."""
        self._stopped.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        if self._tls is not None:
            try:
                connection = self._tls.wrap_socket(connection, server_side=True)
            except OSError:
                return connection.close()
        with connection, contextlib.suppress(OSError), connection.makefile("rb") as file:
            while line := file.readline():
                method, path, _ = line.decode().split(" ")
                headers = {}
                while (header := file.readline()) not in (b"\r\n", b""):
                    name, _, value = header.decode().partition(":")
                    headers[name.lower()] = value.strip()
                body = file.read(int(headers.get("content-length", 0)))
                self.asked.append(Asked(method, path, headers, body, time.monotonic()))
                self._answer(connection, path, body)

    def _answer(self, connection: socket.socket, path: str, body: bytes) -> None:
        behaviour = self._behaviour.get(path, Behaviour())
        if behaviour.silent:
            self._stopped.wait()
            return
        self._stopped.wait(behaviour.delay) if behaviour.delay else None
        content = behaviour.body if behaviour.body is not None else self._content(path, body)
        status = behaviour.status if content is not None else 404
        content = content or b""
        head = "".join(f"{name}: {value}\r\n" for name, value in behaviour.headers.items())
        if behaviour.chunks:
            connection.sendall(f"HTTP/1.1 {status} X\r\n{head}Transfer-Encoding: chunked\r\n\r\n".encode())
            connection.sendall(b"1\r\n \r\n" * behaviour.chunks)
            connection.sendall(b"%x\r\n%s\r\n0\r\n\r\n" % (len(content), content))
            return
        connection.sendall(f"HTTP/1.1 {status} X\r\n{head}Content-Length: {len(content)}\r\n\r\n".encode())
        if behaviour.drip:
            for i in range(len(content)):
                connection.sendall(content[i : i + 1])
                if self._stopped.wait(behaviour.drip):
                    return
        else:
            connection.sendall(content)

    def _content(self, path: str, body: bytes) -> bytes | None:
        if path == DISCOVERY:
            return json.dumps(
                {"issuer": self.url, "jwks_uri": f"{self.url}/jwks", "introspection_endpoint": f"{self.url}/introspect"}
            ).encode()
        if path == "/jwks":
            return json.dumps({"keys": list(self.keys.values())}).encode()
        if path == "/introspect":
            (token,) = parse_qs(body.decode())["token"]
            return json.dumps(self.active.get(token, {"active": False})).encode()
        return None
