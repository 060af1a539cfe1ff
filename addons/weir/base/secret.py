"""A secret value: printing, logging or formatting it gives ``***``.

Only `reveal` returns the text, so a reviewer can search for its calls.
"""

import base64
import html
import re
from urllib.parse import quote, quote_plus

#: Query parameters in which clients are known to send keys.
_KEYS_IN_QUERY = re.compile(
    rb"(?i)(?<=[?&])((?:access_|id_|auth_?)?token|(?:x-)?api[-_]?key|key|auth(?:orization)?|password|secret|sig(?:nature)?)=[^&]*"
)
_WORD = re.compile(rb"[A-Za-z0-9_.-]{20,}")


class Secret:
    """A secret text. It has no comparison, on purpose."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text, for the one place that sends or checks it."""
        return self._text

    def __bool__(self) -> bool:
        return bool(self._text)

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "***"

    def __reduce__(self) -> str:
        raise TypeError("a Secret cannot be serialised")


_ESCAPED = re.compile("%[0-9A-F]{2}")
_PUNCTUATION = re.compile(r"[^A-Za-z0-9_.\-]")

#: Shorter secrets are not searched for, because they would match unrelated text.
_SHORTEST_SCRUBBED = 6


def spellings(secret: Secret) -> tuple[bytes, ...]:
    """Return every form in which *secret* may occur in an answer, longest first.

    Plain, percent-encoded, in HTML entities, JSON-escaped, hexadecimal, and base64 (both alphabets). Base64 of a longer
    text that contains the secret depends on the secret's offset (one of three), so the search uses the part that does
    not depend on the surrounding bytes.
    """
    text = secret.reveal()
    if len(text) < _SHORTEST_SCRUBBED:
        return ()
    raw = text.encode()
    percent = {quote(text, safe=""), quote(text), quote_plus(text)}
    percent |= {_ESCAPED.sub(lambda m: m[0].lower(), spelling) for spelling in percent}
    entities = {html.escape(text), _PUNCTUATION.sub(lambda m: f"&#x{ord(m[0]):X};", text)}
    entities |= {
        _PUNCTUATION.sub(lambda m: f"&#{ord(m[0])};", text),
        _PUNCTUATION.sub(lambda m: f"&#x{ord(m[0]):x};", text),
    }
    found = {raw, raw.hex().encode(), raw.hex().upper().encode(), *(s.encode() for s in percent | entities)}
    found.add(text.replace("\\", "\\\\").replace('"', '\\"').replace("/", "\\/").encode())
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for offset in range(3):
            encoded = encode(b"\0" * offset + raw)
            first = -(-offset * 8 // 6)
            last = (offset + len(raw)) * 8 // 6
            found.add(encoded[first:last])
    return tuple(sorted(found, key=len, reverse=True))


class Scrubber:
    """Replaces the `spellings` of some secrets in bytes by ``***``."""

    __slots__ = ("_spellings",)

    def __init__(self, found: tuple[bytes, ...]) -> None:
        self._spellings = found

    def with_plain(self, text: str) -> "Scrubber":
        """Return a scrubber that also replaces the plain *text*."""
        return self if len(text) < _SHORTEST_SCRUBBED else Scrubber((*self._spellings, text.encode()))

    def __call__(self, data: bytes) -> bytes:
        """Return *data* scrubbed. It is the same object if nothing was found, so that ``is`` detects a change."""
        for spelling in self._spellings:
            if spelling in data:
                data = data.replace(spelling, b"***")
        return data

    def _unbroken(self, data: bytes, end: int) -> int:
        """Return the last place up to *end* where *data* can be cut without splitting a spelling."""
        before = -1
        while end != before:  # a place before one spelling may be within another
            before = end
            for spelling in self._spellings:
                place = data.find(spelling, max(0, end - len(spelling) + 1), end + len(spelling) - 1)
                if 0 <= place < end:
                    end = place
        return end

    def settled(self, data: bytes) -> int:
        """Return the last place where *data* can be cut, if more follows, without splitting a spelling."""
        end = len(data)
        for spelling in self._spellings:
            first, start = spelling[:1], max(0, len(data) - len(spelling) + 1)
            while 0 <= (start := data.find(first, start)) < end:
                if spelling.startswith(data[start:]):
                    end = start
                start += 1
        return self._unbroken(data, end)

    def fields(self, fields: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """Scrub the values of header fields. Return the same list if nothing was found."""
        joined = b"\n".join([value for _, value in fields])
        return fields if self(joined) is joined else [(name, self(value)) for name, value in fields]


_TOKEN = re.compile(r"eyJ[A-Za-z0-9_-]{10,}(?:\.[A-Za-z0-9_-]*)*|weir_[A-Za-z0-9_-]{20,}")


def without_tokens(text: str) -> str:
    """Return *text*, written by a person, without tokens and API keys that were pasted into it."""
    return _TOKEN.sub("***", text)


def without_keys(data: bytes) -> bytes:
    """Return *data* of a head without keys in its query and without text that looks like a JWT. Runs in linear time."""
    if b"?" in data:
        data = _KEYS_IN_QUERY.sub(rb"\1=***", data)
    return _WORD.sub(_hide_jwt, data) if b"eyJ" in data else data


def _hide_jwt(word: re.Match[bytes]) -> bytes:
    text = word[0]
    start = text.find(b"eyJ")
    return text if start < 0 or b"." not in text[start:] else text[:start] + b"***"
