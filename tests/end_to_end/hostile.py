"""Hostile requests as one table for all kinds of listeners: none of them may reach a service."""

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass

import brotli
import zstandard

from tests.end_to_end.http2 import Headers

REQUEST = {"model": "m", "query": "q", "documents": ["a", "b"]}
JSON = "application/json"
BODY = json.dumps(REQUEST).encode()


@dataclass(frozen=True)
class Aim:
    """The target of requests to one kind of listener, and their token."""

    token: str
    host: str  # the host that the caller means
    base: str = ""  # prefix of every path; for a proxy, the service's URL
    proxied: bool = False  # send the token in Proxy-Authorization

    def head(
        self, *lines: str, method: str = "POST", path: str = "/v2/rerank", target: str = "", host: str = ""
    ) -> bytes:
        """Return a good head with additional *lines*; *host* replaces its Host line."""
        name = "Proxy-Authorization" if self.proxied else "Authorization"
        fields = [
            f"{method} {target or self.base + path} HTTP/1.1",
            *([host or f"Host: {self.host}"] if host != "none" else []),
            f"{name}: Bearer {self.token}",
            *([] if any(line.lower().startswith("content-type") for line in lines) else [f"Content-Type: {JSON}"]),
            *lines,
        ]
        return ("\r\n".join(fields) + "\r\n\r\n").encode("latin-1")

    @property
    def second(self) -> str:
        """Return a second header line with a token."""
        return f"{'Proxy-Authorization' if self.proxied else 'Authorization'}: Bearer {self.token}"

    def headers(self, *more: tuple[str, str], path: str = "/v2/rerank", **pseudo: str) -> Headers:
        """Return the same head for HTTP/2, without pseudo-headers that are "none"."""
        given = {"method": "POST", "scheme": "https", "authority": self.host, "path": self.base + path, **pseudo}
        fields = [(f":{name}", value) for name, value in given.items() if value != "none"]
        typed = [] if any(name == "content-type" for name, _ in more) else [("content-type", JSON)]
        return [*fields, ("authorization", f"Bearer {self.token}"), *typed, *more]


LENGTH = f"Content-Length: {len(BODY)}"
#: HTTP/1.1: bytes that two parsers would read differently, or that address another service.
HOSTILE: dict[str, Callable[[Aim], bytes]] = {
    "two lengths": lambda to: to.head(LENGTH, "Content-Length: 1") + BODY,
    "length and chunked": lambda to: to.head(LENGTH, "Transfer-Encoding: chunked") + BODY,
    "odd transfer encoding": lambda to: to.head("Transfer-Encoding: gzip, chunked") + b"2\r\n{}\r\n0\r\n\r\n",
    "obsolete folding": lambda to: to.head(LENGTH, "X-A: b\r\n c") + BODY,
    "bare CR": lambda to: to.head(LENGTH, "X-A: b\rc") + BODY,
    "NUL": lambda to: to.head(LENGTH, "X-A: b\0c") + BODY,
    "absolute target": lambda to: to.head(LENGTH, target="http://169.254.169.254/v2/rerank") + BODY,
    "two hosts": lambda to: to.head(LENGTH, "Host: other") + BODY,
    "no host": lambda to: to.head(LENGTH, host="none") + BODY,
    "dot segments": lambda to: to.head(LENGTH, path="/x/../v2/rerank") + BODY,
    "escaped dots": lambda to: to.head(LENGTH, path="/v2/%2e%2e/v2/rerank") + BODY,
    "escaped slash": lambda to: to.head(LENGTH, path="/v2%2frerank") + BODY,
    "double slash": lambda to: to.head(LENGTH, path="//v2/rerank") + BODY,
    "backslash": lambda to: to.head(LENGTH, path="\\v2\\rerank") + BODY,
    "path parameter": lambda to: to.head(LENGTH, path="/v2;x/rerank") + BODY,
    "overlong UTF-8": lambda to: to.head(LENGTH, path="/%c0%ae%c0%ae/v2/rerank") + BODY,
    "path parameters": lambda to: to.head(LENGTH, path="/..;/v2/rerank") + BODY,
    "NUL in path": lambda to: to.head(LENGTH, path="/v2/rerank%00") + BODY,
    "raw UTF-8 path": lambda to: to.head(LENGTH, path="/v2/r\xe9rank") + BODY,
    "fragment": lambda to: to.head(LENGTH, path="/v2/rerank#x") + BODY,
    "lower-case method": lambda to: to.head(LENGTH, method="post") + BODY,
    "authorization nominated": lambda to: to.head(LENGTH, "Connection: Authorization") + BODY,
    "content type nominated": lambda to: to.head(LENGTH, "Connection: close, content-type") + BODY,
    "websocket": lambda to: to.head("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", method="GET"),
    "not HTTP": lambda to: b"\x16\x03hello\r\n\r\n",
    "half a head": lambda to: b"POST /reranker HT\r\n\r\n",
    "CONNECT": lambda to: to.head(method="CONNECT", target="169.254.169.254:80"),
    "two tokens": lambda to: to.head(LENGTH, to.second) + BODY,
    "2 MB of header": lambda to: to.head(LENGTH, f"X-A: {'b' * 2_000_000}") + BODY,
    "100,000 headers": lambda to: to.head(LENGTH, *(f"X-{n}: y" for n in range(100_000))) + BODY,
    "too large": lambda to: to.head("Content-Length: 40000000") + b"x" * 100,
}  # fmt: skip


_SPACES = b" " * 60_000_000
BOMBS = {
    "gzip": gzip.compress(_SPACES),
    "br": brotli.compress(_SPACES, quality=5),
    "zstd": zstandard.ZstdCompressor().compress(_SPACES),
}
#: HTTP/1.1 and HTTP/2: additional header fields that hide parts of the body.
BODIES: dict[str, tuple[bytes, tuple[tuple[str, str], ...]]] = {
    "duplicate key": (b'{"query":"q","documents":["a"],"documents":[]}', ()),
    "two values": (BODY * 2, ()),
    "UTF-16": (BODY.decode().encode("utf-16"), ()),
    "deep": (b"[" * 100_000, ()),
    "multipart": (BODY, (("content-type", "multipart/form-data; boundary=x"),)),
    "another type": (BODY, (("content-type", "text/plain"),)),
    "unknown encoding": (BODY, (("content-encoding", "compress"),)),
    "an encoding of encodings": (BODY, (("content-encoding", "gzip, gzip"),)),
    **{f"bomb in {encoding}": (bomb, (("content-encoding", encoding),)) for encoding, bomb in BOMBS.items()},
}

#: HTTP/2 requests that HTTP/1.1 cannot represent, or that two parsers would read differently.
HOSTILE_HTTP2: dict[str, Callable[[Aim], Headers]] = {
    "a space in the path": lambda to: to.headers(path="/v2/rerank HTTP/1.1\r\nX: y"),
    "a blank in the path": lambda to: to.headers(path="/v2/re rank"),
    "no path": lambda to: to.headers(path="") if not to.base else with_path(to, ""),
    "a star": lambda to: with_path(to, "*"),
    "an absolute path": lambda to: with_path(to, f"https://{to.host}/v2/rerank"),
    "dots": lambda to: to.headers(path="/x/../v2/rerank"),
    "a fragment": lambda to: to.headers(path="/v2/rerank#x"),
    "an escaped slash": lambda to: to.headers(path="/v2%2frerank"),
    "another Host": lambda to: to.headers(("host", "evil.example")),
    "two Hosts": lambda to: to.headers(("host", to.host), ("host", "evil.example")),
    "no authority": lambda to: to.headers(authority="none"),
    "an odd authority": lambda to: to.headers(authority="a@b"),
    "two authorities": lambda to: [*to.headers()[:2], (":authority", "x"), *to.headers()[2:]],
    "a method": lambda to: to.headers(method="post"),
    "a method with a line": lambda to: to.headers(method="GET / HTTP/1.1\r\nX:"),
    "a scheme": lambda to: to.headers(scheme="ftp"),
    "a name in capitals": lambda to: to.headers(("X-Upper", "y")),
    "a name with a blank": lambda to: to.headers(("x y", "z")),
    "a line in a value": lambda to: to.headers(("x-y", "a\r\nX-Injected: b")),
    "a NUL in a value": lambda to: to.headers(("x-y", "a\0b")),
    "a transfer encoding": lambda to: to.headers(("transfer-encoding", "chunked")),
    "a connection header": lambda to: to.headers(("connection", "close")),
    "an upgrade": lambda to: to.headers(("upgrade", "websocket")),
    "a pseudo-header late": lambda to: [*to.headers(), (":path", "/x")],
    "an unknown pseudo-header": lambda to: [(":protocol", "websocket"), *to.headers()],
    "a length that is not so": lambda to: to.headers(("content-length", "3")),
    "two lengths": lambda to: to.headers(("content-length", str(len(BODY))), ("content-length", "3")),
    "a thousand headers": lambda to: to.headers(*((f"x-{n}", "y") for n in range(1000))),
    "a CONNECT": lambda to: [(":method", "CONNECT"), (":authority", f"{to.host}:443")],
    "a WebSocket": lambda to: [(":method", "CONNECT"), (":protocol", "websocket"), *to.headers()[1:]],
}  # fmt: skip


def with_path(to: Aim, path: str) -> Headers:
    """Return a good head with another path."""
    return [(name, path if name == ":path" else value) for name, value in to.headers()]


#: Answers of an HTTP/1.1 service that must not reach a caller, with the status that the caller gets instead.
ANSWERS: dict[str, tuple[int, bytes]] = {
    "nothing": (502, b""),
    "no HTTP": (502, b"garbage\r\n\r\n"),
    "two lengths": (502, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
    "another protocol": (502, b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: tcp\r\n\r\nraw"),
    "a WebSocket unasked": (502, b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x05hello"),
    "more than fits": (502, b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n"),
    "an encoding that is none": (502, b"HTTP/1.1 200 OK\r\nContent-Encoding: zip\r\nContent-Length: 2\r\n\r\n{}"),
    "words without end": (502, b"HTTP/1.1 102 x\r\n\r\n" * 50),
    "another proxy's challenge": (502, b"HTTP/1.1 407 P\r\nProxy-Authenticate: Basic realm=x\r\nContent-Length: 0\r\n\r\n"),
    "a cookie": (200, b"HTTP/1.1 200 OK\r\nSet-Cookie: session=hidden\r\nAlt-Svc: h3=\":443\"; ma=hidden\r\nContent-Length: 0\r\n\r\n"),
}  # fmt: skip
ANSWERS |= {
    f"a bomb in {encoding}": (
        502,
        f"HTTP/1.1 200 OK\r\nContent-Type: {JSON}\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(bomb)}\r\n\r\n".encode()
        + bomb,
    )
    for encoding, bomb in BOMBS.items()
}
#: A text in these answers that no caller may see.
HIDDEN = (b"hello", b"raw", b"garbage", b"hidden", b"realm")
