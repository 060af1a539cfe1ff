"""The record's copies of a request and of a response: masked, and without credentials."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """The record's copy of a request: masked, without the caller's or the upstream's credential."""

    method: bytes
    scheme: bytes
    host: str
    port: int
    target: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class ResponseRecord:
    """The record's copy of a response: masked at least as much as what the caller receives."""

    status: int
    reason: bytes
    fields: tuple[tuple[bytes, bytes], ...]
    body: bytes
