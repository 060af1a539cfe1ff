"""The record's copies of a request and of a response: masked, and without credentials."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

Fields = tuple[tuple[bytes, bytes], ...]

_LENGTH = b"content-length"


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """The record's copy of a request: masked, without the caller's or the upstream's credential."""

    method: bytes
    scheme: bytes
    host: str
    port: int
    target: bytes
    fields: Fields
    body: bytes


@dataclass(frozen=True, slots=True)
class ResponseRecord:
    """The record's copy of a response: masked at least as much as what the caller receives."""

    status: int
    reason: bytes
    fields: Fields
    body: bytes


def with_length(fields: Iterable[tuple[bytes, bytes]], body: bytes) -> Fields:
    """Return *fields* with one Content-Length: that of the recorded *body*, whatever they have had before.

    Readers and replays of a flow take the length from this header. If it does not fit, they cut the body or wait for
    more of it.
    """
    return (*[field for field in fields if field[0].lower() != _LENGTH], (b"Content-Length", b"%d" % len(body)))


def without_body[Message: (RequestRecord, ResponseRecord)](message: Message) -> Message:
    """Return *message* without its body. If it has a length, that is 0 then."""
    measured = any(name.lower() == _LENGTH for name, _ in message.fields)
    return replace(message, body=b"", fields=with_length(message.fields, b"") if measured else message.fields)
