"""The changes that a write would make: compares the stored document with the new one, when a reviewer asks for it.

Both documents are masked by the connection's masks before the comparison. So a difference in masked values is visible
only with a mask that distinguishes values (``hash``).
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
    """One difference: its JSONPath, and the value on both sides; None on a side without a value."""

    path: str
    before: str | None
    after: str | None


class NotTold(Exception):
    """The changes of a write cannot be determined; the message gives the reason."""


async def changes(approval: Approval, connection: Connection) -> list[Change]:
    """Return the changes that the requested write would make. Raises `NotTold`."""
    shown = approval.shown
    found = connection.profile.paths.find(shown.method, shown.path)
    if found is None or found.operation.stored is None:
        raise NotTold("the profile does not state where this operation stores its data")
    stored = found.operation.stored
    new: Any = _ABSENT
    if stored.new is not None:
        try:
            new = stored.new.first(parse(shown.body.encode()), _ABSENT)
        except ContentError:
            raise NotTold("the request is too long to be shown whole") from None
        if new is _ABSENT:
            raise NotTold("the request does not contain the new data; the service may compute it")
    old = await _fetch(connection, fill(stored.path, found.variables), stored)
    if old is not _ABSENT:
        old = _masked(connection, old)
    if stored.partial and isinstance(old, dict) and isinstance(new, dict):
        new = _merged(old, new)
    if new is not _ABSENT:
        new = _masked(connection, new)
    return differences(old, new)


async def _fetch(connection: Connection, path: str, stored: Stored) -> Any:
    """Fetch the document at *path* from the service with the connection's credential. Raises `NotTold`."""
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
                    raise NotTold("the stored data is too long to be shown")
    except (httpx.HTTPError, TimeoutError, OSError):
        raise NotTold("the service cannot be asked for the stored data now") from None
    if response.status_code == httpx.codes.NOT_FOUND:
        return _ABSENT
    if response.status_code != httpx.codes.OK:
        raise NotTold(f"the service answered {response.status_code} when asked for the stored data")
    data = bytes(body)
    if credential is not None:
        data = Scrubber(spellings(credential.secret))(data)
    try:
        document = parse(data)
    except ContentError:
        raise NotTold("the stored data that the service returned cannot be read") from None
    return stored.found.first(_masked(connection, document), _ABSENT)


def _masked(connection: Connection, document: Any) -> Any:
    """Mask *document* like a request, because masks name fields of requests. Raises `NotTold`."""
    try:
        return mask_document(connection.masks.record("request"), document)
    except MaskingError:
        raise NotTold("the stored data cannot be masked") from None


def _merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return the result of a partial update: objects are merged, all other values replaced."""
    merged = dict(old)
    for name, value in new.items():
        before = merged.get(name)
        both = isinstance(before, dict) and isinstance(value, dict)
        merged[name] = _merged(before, value) if both else value  # type: ignore[arg-type]
    return merged


def differences(old: Any, new: Any) -> list[Change]:
    """Return the differences between *old* and *new*, at most `MOST_CHANGES`."""
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
