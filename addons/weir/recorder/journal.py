"""The journal line: one JSON object per recorded flow. This module alone defines its columns.

The index reads these lines, and evidence covers them. The flow carries the same object, without its position in the
file, in ``metadata["weir"]``, so that a lost line can be restored. Empty columns are omitted. Each line states the
version of its columns. `decode_line` refuses a line of a newer version, and the index skips it. A line of an older
version lacks the newer columns.
"""

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal

import msgspec

from weir.masking.masks import MaskedField
from weir.policy.model import TraceLine

#: Version 2 added `intent`, `query_digest`, `request_digest` and `response_digest`, and omits empty columns.
#: Version 3 added `websocket`, version 4 `dropped_headers`, `outcome` and `repeated`.
SCHEMA_VERSION = 4


class RankedResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """A `Result` with the keyed digest of its document (64 bits, hexadecimal)."""

    index: int | None = None
    score: float | None = None
    document: str | None = None


#: How a request ended. ``cut_by_service`` and ``left_by_caller`` may have delivered a part of the answer.
Outcome = Literal["complete", "cut_by_service", "left_by_caller", "refused", "failed"]


class JournalLine(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One line of a request. Times are UTC; durations are in milliseconds.

    An ``intent`` line states that the request is about to be sent, or that the first byte of its answer is about to be
    delivered. The request gets a second line when it has ended.
    """

    version: int
    request_id: str
    time: str
    duration_ms: float
    upstream_ms: float | None = None
    worker: str
    segment: str = ""
    offset: int = 0
    length: int = 0
    sha256: str = ""
    connection: str | None = None
    session_id: str | None = None
    issuer: str | None = None
    user: str | None = None
    groups: list[str] = []
    token_id: str | None = None
    client_ip: str | None = None
    client_request_id: str | None = None
    method: str
    path: str
    operation: str | None = None
    model: str | None = None
    documents: int | None = None
    top_n: int | None = None
    indexes: list[str] = []
    tokens: int | None = None
    request_bytes: int = 0
    response_bytes: int = 0
    status: int = 0
    upstream_status: int | None = None
    effect: str | None = None
    rule: str | None = None
    message: str | None = None
    decision_id: str | None = None
    policy_version: str | None = None
    rule_file: str | None = None
    rule_line: int | None = None
    shadow: list[str] = []
    shadow_effect: str | None = None
    trace: list[TraceLine] = []
    approvals: list[str] = []
    problem: str | None = None
    replay: str | None = None
    error: str | None = None
    intent: bool = False
    websocket: str | None = None
    query_digest: str | None = None
    request_digest: str | None = None
    response_digest: str | None = None
    masked_request: bool = False
    masked: list[MaskedField] = []
    results: list[RankedResult] = []
    dropped_headers: list[str] = []
    outcome: Outcome | None = None
    repeated: bool = False


#: The same columns for DuckDB. Without them, DuckDB would read times as text and empty lists as JSON.
COLUMNS: dict[str, str] = {
    "version": "INTEGER",
    "request_id": "VARCHAR",
    "time": "TIMESTAMP",
    "duration_ms": "DOUBLE",
    "upstream_ms": "DOUBLE",
    "worker": "VARCHAR",
    "segment": "VARCHAR",
    "offset": "BIGINT",
    "length": "BIGINT",
    "sha256": "VARCHAR",
    "connection": "VARCHAR",
    "session_id": "VARCHAR",
    "issuer": "VARCHAR",
    "user": "VARCHAR",
    "groups": "VARCHAR[]",
    "token_id": "VARCHAR",
    "client_ip": "VARCHAR",
    "client_request_id": "VARCHAR",
    "method": "VARCHAR",
    "path": "VARCHAR",
    "operation": "VARCHAR",
    "model": "VARCHAR",
    "documents": "BIGINT",
    "top_n": "BIGINT",
    "indexes": "VARCHAR[]",
    "tokens": "BIGINT",
    "request_bytes": "BIGINT",
    "response_bytes": "BIGINT",
    "status": "INTEGER",
    "upstream_status": "INTEGER",
    "effect": "VARCHAR",
    "rule": "VARCHAR",
    "message": "VARCHAR",
    "decision_id": "VARCHAR",
    "policy_version": "VARCHAR",
    "rule_file": "VARCHAR",
    "rule_line": "INTEGER",
    "shadow": "VARCHAR[]",
    "shadow_effect": "VARCHAR",
    "trace": "STRUCT(rule VARCHAR, clause VARCHAR, outcome VARCHAR, saw VARCHAR, shadow BOOLEAN)[]",
    "approvals": "VARCHAR[]",
    "problem": "VARCHAR",
    "replay": "VARCHAR",
    "error": "VARCHAR",
    "intent": "BOOLEAN",
    "websocket": "VARCHAR",
    "query_digest": "VARCHAR",
    "request_digest": "VARCHAR",
    "response_digest": "VARCHAR",
    "masked_request": "BOOLEAN",
    "masked": "STRUCT(path VARCHAR, strategy VARCHAR, count BIGINT, kind VARCHAR, rule VARCHAR)[]",
    "results": "STRUCT(index BIGINT, score DOUBLE, document VARCHAR)[]",
    "dropped_headers": "VARCHAR[]",
    "outcome": "VARCHAR",
    "repeated": "BOOLEAN",
}

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(JournalLine)


def encode_line(line: JournalLine) -> bytes:
    """Encode *line* as in the file, without its newline."""
    return _encoder.encode(line)


def placed(line: bytes, segment: str, offset: int = 0, length: int = 0, sha256: str = "") -> bytes:
    """Add its position to an encoded *line*. *segment* and *sha256* need no escapes in JSON."""
    place = f',"segment":"{segment}"'
    if length:
        place += f',"offset":{offset},"length":{length},"sha256":"{sha256}"'
    return line[:-1] + place.encode() + b"}"


def decode_line(data: bytes | str) -> JournalLine:
    """Parse a line. Raises `msgspec.MsgspecError`, also for a line of a newer version."""
    try:
        line = _decoder.decode(data)
    except UnicodeDecodeError:
        raise msgspec.DecodeError("not UTF-8") from None
    if line.version > SCHEMA_VERSION:
        raise msgspec.ValidationError(f"written by a newer version ({line.version}, this is {SCHEMA_VERSION})")
    return line


def decoded(lines: Iterable[bytes]) -> list[JournalLine] | None:
    """Parse *lines*; None if one is unreadable."""
    try:
        return [decode_line(line) for line in lines]
    except msgspec.MsgspecError:
        return None


def flows_that_fit(read: Iterable[JournalLine], data: bytes) -> int:
    """Return how many of the first lines *read* have their flows in *data*, without gaps."""
    end = number = 0
    for line in read:
        if line.length:
            flow = data[line.offset : line.offset + line.length]
            if line.offset != end or hashlib.sha256(flow).hexdigest() != line.sha256:
                break
            end += line.length
        number += 1
    return number


def timestamp(seconds: float) -> str:
    """Format Unix *seconds* as ISO 8601 in UTC with microseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")[:26]
