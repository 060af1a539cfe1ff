"""Masks: what stands in the place of a value that must not be seen. Pure, keyed, idempotent.

mask(mask(x)) = mask(x) for every strategy, so that a recorded, masked body masks to itself. ``hash``
gives equal tokens for equal values under one key; a token proves with a tag that this gateway made
it, so nobody can pass a value off as already masked.
"""

import base64
import hmac
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from weir.config.model import MaskSettings
from weir.config.problems import SettingError
from weir.content import encode
from weir.jsonpath import Path, PathError, compile_path

REDACTED = "[REDACTED]"
_TOKEN = re.compile(r"hash:([A-Za-z0-9_-]{22}):([A-Za-z0-9_-]{8})")

_Replace = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Mask:
    """One field to hide: where, how, and from whom."""

    path: Path
    strategy: str
    replace: _Replace | None  # None: drop the member
    hidden_from: frozenset[str]


class MaskedField(msgspec.Struct, frozen=True):
    """How many values one mask replaced, as it stands in the journal."""

    path: str
    strategy: str
    count: int


@dataclass(frozen=True, slots=True)
class Masks:
    """The masks of a connection by view. The record hides all that any view hides.

    ``record_beyond_caller`` are those that the record has on top of the caller's.
    """

    all: tuple[Mask, ...] = ()
    upstream: tuple[Mask, ...] = ()
    caller: tuple[Mask, ...] = ()
    record_beyond_caller: tuple[Mask, ...] = ()


def apply(masks: Iterable[Mask], document: Any) -> list[MaskedField]:
    """Mask *document* in place; which masks changed how many values. Collects places first, writes after."""
    found = [(mask, mask.path.slots(document)) for mask in masks]
    report = []
    for mask, slots in found:
        count = 0
        for container, key in slots:
            if mask.replace is None:
                if isinstance(container, dict):
                    count += container.pop(key, slots) is not slots
                elif container[key] is not None:  # a list keeps its positions
                    container[key] = None
                    count += 1
            else:
                old = container.get(key) if isinstance(container, dict) else container[key]
                new = mask.replace(old)
                if new is not old and new != old:
                    container[key] = new
                    count += 1
        if count:
            report.append(MaskedField(mask.path.text, mask.strategy, count))
    return report


def compile_masks(settings: Iterable[MaskSettings], key: bytes) -> Masks:
    """The masks that *settings* describe. Raises `SettingError` placed within the list."""
    masks = []
    strategies = _strategies(key)
    for number, entry in enumerate(settings):
        replace: _Replace | None
        if isinstance(entry.with_, dict):
            text = entry.with_["replace"]
            if _TOKEN.fullmatch(text):
                raise SettingError("a replacement must not look like a hash token", number, "with")
            strategy, replace = "replace", _constant(text)
        else:
            strategy, replace = entry.with_, strategies[entry.with_]
        for i, field in enumerate(entry.fields):
            try:
                path = compile_path(field)
            except PathError as error:
                raise SettingError(str(error), number, "fields", i) from None
            if path.selects_document:
                raise SettingError("'$' is the whole body; name a field", number, "fields", i)
            masks.append(Mask(path, strategy, replace, frozenset(entry.hide_from)))
    return Masks(
        all=tuple(masks),
        upstream=tuple(m for m in masks if "upstream" in m.hidden_from),
        caller=tuple(m for m in masks if "caller" in m.hidden_from),
        record_beyond_caller=tuple(m for m in masks if "caller" not in m.hidden_from),
    )


def _strategies(key: bytes) -> dict[str, _Replace | None]:
    return {"redact": _constant(REDACTED), "hash": _hasher(key), "partial": _partial, "drop": None}


def _constant(text: str) -> _Replace:
    return lambda value: text


def _partial(value: Any) -> Any:
    """All but the last four characters as ``*``, at most a quarter of the text shown."""
    if isinstance(value, dict | list) or value is None or isinstance(value, bool):
        return REDACTED
    text = value if isinstance(value, str) else encode(value).decode()
    if text == REDACTED:
        return text
    kept = min(4, len(text) // 4)
    return "*" * (len(text) - kept) + text[len(text) - kept :]


def _hasher(key: bytes) -> _Replace:
    def tag(body: str) -> str:
        return _base64(hmac.digest(key, b"tag:" + body.encode(), "sha256")[:6])

    def replace(value: Any) -> Any:
        if (
            isinstance(value, str)
            and (match := _TOKEN.fullmatch(value))
            and hmac.compare_digest(match[2], tag(match[1]))
        ):
            return value
        content = b"s" + value.encode("utf-8", "surrogatepass") if isinstance(value, str) else b"j" + encode(value)
        body = _base64(hmac.digest(key, content, "sha256")[:16]).ljust(22, "A")
        return f"hash:{body}:{tag(body)}"

    return replace


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
