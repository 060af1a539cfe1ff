"""The replacements for hidden values. Pure, keyed, idempotent.

mask(mask(x)) = mask(x) for every strategy, so a recorded, masked body masks to itself. ``hash`` gives equal tokens for
equal values under one key. A tag in each token proves that this gateway made it, so a caller cannot present a value as
already masked. A number stays a number, so typed clients can parse it: ``redact`` makes it 0, ``hash`` another number.
"""

import base64
import hmac
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from weir.base.content import encode

REDACTED = "[REDACTED]"
#: Default number of characters that ``partial`` leaves; never more than a quarter of the text.
KEPT = 4

_TOKEN = re.compile(r"hash:([A-Za-z0-9_-]{22}):([A-Za-z0-9_-]{8})")
#: A number that replaces another one has this bit set, and a tag in its last 21 bits.
_NUMBER = 1 << 50
_TAG_BITS = 21

DROP = object()


@dataclass(frozen=True, slots=True)
class Strategy:
    """*value* replaces a JSON value or returns `DROP`; *text* replaces part of a text, given the part and its kind."""

    name: str
    value: Callable[[Any], Any]
    text: Callable[[str, str], str]


class Tokens:
    """Keyed tokens that replace values. The first key makes them; every key recognises them."""

    __slots__ = ("_keys",)

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._keys = tuple(keys)

    def of(self, value: Any) -> Any:
        """Return the token for *value*, or *value* itself if it is already a token."""
        if self.known(value):
            return value
        if _is_number(value):
            same = int(value) if isinstance(value, float) and value.is_integer() else value  # 1.0 equals 1
            body = int.from_bytes(hmac.digest(self._keys[0], b"n" + repr(same).encode(), "sha256")[:4]) >> 3
            return _NUMBER | body << _TAG_BITS | _number_tag(self._keys[0], body)
        content = b"s" + value.encode("utf-8", "surrogatepass") if isinstance(value, str) else b"j" + encode(value)
        text = _base64(hmac.digest(self._keys[0], content, "sha256")[:16]).ljust(22, "A")
        return f"hash:{text}:{_tag(self._keys[0], text)}"

    def known(self, value: Any) -> bool:
        """True if *value* is a token that this gateway made."""
        if isinstance(value, str):
            match = _TOKEN.fullmatch(value)
            return match is not None and self._vouched(match)
        if type(value) is int and value >> 50 == 1:
            body = value >> _TAG_BITS & 0x1FFFFFFF
            return any(value & (1 << _TAG_BITS) - 1 == _number_tag(key, body) for key in self._keys)
        return False

    def within(self, text: str) -> list[tuple[int, int]]:
        """Return the (start, end) of each token in *text*. Tokens are not searched for values."""
        if "hash:" not in text:
            return []
        return [match.span() for match in _TOKEN.finditer(text) if self._vouched(match)]

    def _vouched(self, match: re.Match[str]) -> bool:
        return any(hmac.compare_digest(match[2], _tag(key, match[1])) for key in self._keys)


def strategies(tokens: Tokens, kept: int = KEPT) -> dict[str, Strategy]:
    """Return the named strategies; *kept* is the maximum number of characters that ``partial`` leaves."""
    return {
        "redact": Strategy("redact", _redacted, lambda text, kind: f"[{kind.upper()}]"),
        "hash": Strategy("hash", tokens.of, lambda text, kind: str(tokens.of(text))),
        "partial": Strategy("partial", lambda value: _partial(value, kept), lambda text, kind: _ending(text, kept)),
        "drop": Strategy("drop", lambda value: DROP, lambda text, kind: ""),
    }


def replacement(new: Any) -> Strategy:
    """Return the strategy that replaces every value with *new*."""
    text = new if isinstance(new, str) else encode(new).decode()
    return Strategy("replace", lambda value: new, lambda found, kind: text)


def is_token(text: str) -> bool:
    """True if *text* contains something that looks like a token, which a replacement must not."""
    return _TOKEN.search(text) is not None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _redacted(value: Any) -> Any:
    return 0 if _is_number(value) else REDACTED


def _partial(value: Any, kept: int) -> Any:
    """Replace all but the last *kept* characters with ``*``; show at most a quarter. Numbers are treated as text."""
    if isinstance(value, dict | list) or value is None or isinstance(value, bool):
        return REDACTED
    text = value if isinstance(value, str) else encode(value).decode()
    return text if text == REDACTED else _ending(text, kept)


def _ending(text: str, kept: int) -> str:
    shown = min(kept, len(text) // 4)
    return "*" * (len(text) - shown) + text[len(text) - shown :]


def _tag(key: bytes, body: str) -> str:
    return _base64(hmac.digest(key, b"tag:" + body.encode(), "sha256")[:6])


def _number_tag(key: bytes, body: int) -> int:
    return int.from_bytes(hmac.digest(key, b"tag:%d" % body, "sha256")[:3]) >> 3


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
