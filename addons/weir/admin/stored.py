"""What a write would change: what the service has stored now, against what would be stored. Asked only when opened.

Both sides are masked by the connection's rules before they are compared, so that a difference in what is hidden shows
as one only where the mask tells equal from unequal (``hash``).
"""

import asyncio
from dataclasses import dataclass
from typing import Any

import httpx

from weir.approvals.model import Approval
from weir.approvals.shown import LONGEST_BODY
from weir.base.content import ContentError, encode, parse
from weir.base.secret import Scrubber, spellings
from weir.base.text import inert
from weir.masking.masker import mask_document
from weir.masking.walk import MaskingError
from weir.policyset.connection import Connection
from weir.profiles.paths import fill
from weir.profiles.profile import Stored

TIMEOUT = 5.0
LARGEST = 4 << 20
MOST_CHANGES = 200
_LONGEST_VALUE = 300
_ABSENT = object()


@dataclass(frozen=True, slots=True)
class Change:
    """One place at which both differ: a JSONPath, and what stands there; None on the side where nothing does."""

    path: str
    before: str | None
    after: str | None


class NotTold(Exception):
    """What a write would change cannot be told; the message says why."""


async def changes(approval: Approval, connection: Connection) -> list[Change]:
    """What the write that is asked for would change. Raises `NotTold`."""
    shown = approval.shown
    found = connection.profile.paths.find(shown.method, shown.path)
    if found is None or found.operation.stored is None:
        raise NotTold("the profile does not say where what this would change is stored")
    stored = found.operation.stored
    new: Any = _ABSENT
    if stored.new is not None:
        try:
            new = stored.new.first(parse(shown.body.encode()), _ABSENT)
        except ContentError:
            raise NotTold("the request is too long to be shown whole") from None
        if new is _ABSENT:
            raise NotTold("the request does not say what would stand there; it may be computed")
    old = await _fetch(connection, fill(stored.path, found.variables), stored)
    if old is not _ABSENT:
        old = _masked(connection, old)
    if stored.partial and isinstance(old, dict) and isinstance(new, dict):
        new = _merged(old, new)
    if new is not _ABSENT:
        new = _masked(connection, new)
    return differences(old, new)


async def _fetch(connection: Connection, path: str, stored: Stored) -> Any:
    """What is stored at *path*, as the service says with the connection's own credential."""
    origin, credential = connection.upstream.origin, connection.credential
    headers, target = {"Accept": "application/json", "Accept-Encoding": "identity"}, path
    if credential is not None:
        credential.check(origin)
        if credential.header is not None:
            headers[credential.header] = credential.value.reveal()
        target = credential.target(path)
    url = f"{origin.scheme}://{origin.authority}{connection.upstream.base_path}{target}"
    body = bytearray()
    try:
        async with (
            asyncio.timeout(TIMEOUT),
            httpx.AsyncClient(timeout=TIMEOUT, follow_redirects=False, trust_env=False) as client,
            client.stream("GET", url, headers=headers) as response,
        ):
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > LARGEST:
                    raise NotTold("what is stored there is too long to be shown")
    except (httpx.HTTPError, TimeoutError, OSError):
        raise NotTold("the service cannot be asked what is stored there now") from None
    if response.status_code == httpx.codes.NOT_FOUND:
        return _ABSENT
    if response.status_code != httpx.codes.OK:
        raise NotTold(f"the service answered {response.status_code} when asked what is stored there")
    data = bytes(body)
    if credential is not None:
        data = Scrubber(spellings(credential.secret))(data)
    try:
        document = parse(data)
    except ContentError:
        raise NotTold("what the service says is stored there cannot be read") from None
    return stored.found.first(_masked(connection, document), _ABSENT)


def _masked(connection: Connection, document: Any) -> Any:
    """Masks name fields of requests, and this is what one of them would send."""
    try:
        return mask_document(connection.masks.record("request"), document)
    except MaskingError:
        raise NotTold("what is stored there cannot be masked") from None


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """What a partial update leaves: objects are merged, all else is replaced."""
    merged = dict(old)
    for name, value in new.items():
        before = merged.get(name)
        both = isinstance(before, dict) and isinstance(value, dict)
        merged[name] = _merged(before, value) if both else value  # type: ignore[arg-type]
    return merged


def differences(old: Any, new: Any) -> list[Change]:
    """Every place at which *old* and *new* differ, at most `MOST_CHANGES`."""
    found: list[Change] = []
    _compare("$", old, new, found)
    return found[:MOST_CHANGES]


def _compare(path: str, old: Any, new: Any, found: list[Change]) -> None:
    if len(found) >= MOST_CHANGES or (type(old) is type(new) and old == new):
        return
    if isinstance(old, dict) and isinstance(new, dict):
        for name in dict.fromkeys((*old, *new)):
            _compare(f"{path}[{encode(name).decode()}]", old.get(name, _ABSENT), new.get(name, _ABSENT), found)
    elif isinstance(old, list) and isinstance(new, list):
        for i in range(max(len(old), len(new))):
            _compare(f"{path}[{i}]", old[i] if i < len(old) else _ABSENT, new[i] if i < len(new) else _ABSENT, found)
    else:
        found.append(Change(inert(path)[:_LONGEST_VALUE], _value(old), _value(new)))


def _value(value: Any) -> str | None:
    if value is _ABSENT:
        return None
    text = inert(encode(value).decode("utf-8", "replace")[:LONGEST_BODY])
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}… ({len(text)} characters)"
