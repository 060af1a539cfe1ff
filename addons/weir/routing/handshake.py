"""The opening handshake of a WebSocket (RFC 6455, 4): check the caller's request and the service's answer.

Pure. Extensions are removed, because compressed messages, or messages in an unknown form, cannot be judged.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from weir.routing.head import HeadError, split_authority

_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_PROTOCOL = re.compile(rb"[A-Za-z0-9!#$%&'*+\-.^_`|~]+")
_ORIGIN = re.compile(rb"(https?|wss?)://(.+)")
_PORTS = {b"http": 80, b"ws": 80, b"https": 443, b"wss": 443}

#: Headers of the protocol change, for the service and for the caller.
UPGRADE = ((b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"))


class AnswerError(ValueError):
    """The service's answer does not fit the handshake. The text is safe to show."""


@dataclass(frozen=True, slots=True)
class Handshake:
    """A caller's request for a WebSocket."""

    key: bytes
    protocols: frozenset[bytes]


def read(method: str, version: bytes, head: Mapping[bytes, bytes]) -> Handshake | None:
    """Parse the handshake in *head* (lower-case names, each known to occur once); None if it is not a handshake.

    Raises `HeadError` for an incomplete handshake, and for one from another site's page: browsers open WebSockets to
    any site, and name the page's site in Origin.
    """
    if head.get(b"upgrade", b"").lower() != b"websocket":
        return None
    key = head.get(b"sec-websocket-key", b"")
    whole = (
        method == "GET"
        and version == b"HTTP/1.1"
        and _lists(head.get(b"connection", b""), b"upgrade")
        and head.get(b"sec-websocket-version") == b"13"
        and _is_key(key)
        and head.get(b"content-length", b"0") == b"0"
        and b"transfer-encoding" not in head
    )
    if not whole:
        raise HeadError("the WebSocket handshake is incomplete; it needs GET, HTTP/1.1, version 13, a key and no body")
    named = head.get(b"sec-websocket-protocol")
    protocols = [part.strip() for part in named.split(b",")] if named is not None else []
    if not all(map(_PROTOCOL.fullmatch, protocols)):
        raise HeadError("the WebSocket subprotocols are not tokens")
    if b"origin" in head and not _same_site(head[b"origin"], head.get(b"host", b"")):
        raise HeadError("a page of another site requests the WebSocket")
    return Handshake(key, frozenset(protocols))


def check_answer(asked: Handshake, fields: Iterable[tuple[bytes, bytes]]) -> None:
    """Raise `AnswerError` unless a 101 with these *fields* opens the WebSocket that was *asked* for."""
    head: dict[bytes, bytes] = {}
    for name, value in fields:
        lower = name.lower()
        if lower in head and (lower.startswith(b"sec-websocket-") or lower in (b"upgrade", b"connection")):
            raise AnswerError("it repeats a header")
        head[lower] = value
    if head.get(b"upgrade", b"").lower() != b"websocket" or not _lists(head.get(b"connection", b""), b"upgrade"):
        raise AnswerError("it changes to another protocol")
    accept = base64.b64encode(hashlib.sha1(asked.key + _GUID, usedforsecurity=False).digest())
    if head.get(b"sec-websocket-accept", b"").strip() != accept:
        raise AnswerError("its Sec-WebSocket-Accept does not fit the request")
    if head.get(b"sec-websocket-extensions"):
        raise AnswerError("it uses extensions that were not requested")
    chosen = head.get(b"sec-websocket-protocol")
    if chosen is not None and chosen.strip() not in asked.protocols:
        raise AnswerError("it uses a subprotocol that was not requested")


def _lists(value: bytes, wanted: bytes) -> bool:
    return wanted in (part.strip() for part in value.lower().split(b","))


def _is_key(key: bytes) -> bool:
    try:
        return len(base64.b64decode(key, validate=True)) == 16
    except binascii.Error:
        return False


def _same_site(origin: bytes, host: bytes) -> bool:
    match = _ORIGIN.fullmatch(origin.lower())
    if match is None:
        return False
    own = _PORTS[match[1]]
    try:
        (name, port), (meant, meant_port) = split_authority(match[2]), split_authority(host)
    except HeadError:
        return False
    return (name, port or own) == (meant, meant_port or own)
