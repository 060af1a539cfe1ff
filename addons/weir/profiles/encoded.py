"""Decode texts within texts: JSON escapes, data URIs, Base64. Pure.

A model or a service decodes them, so a rule must see the decoded text. These functions only add texts: the text as
written is always read too.
"""

import base64
import binascii
import re
from urllib.parse import unquote, unquote_to_bytes

#: Maximum rounds of escapes that are decoded: JSON in a text in JSON in a text … No client writes more.
MOST_ROUNDS = 8
#: Data is text if more than this share of its bytes is UTF-8. For random bytes it is about one half.
_TEXT_SHARE = 0.8

_UNICODE = re.compile(r"\\u([0-9a-fA-F]{4})")
#: Replaces an escaped backslash during a round, so that it does not begin an escape. It is half a character, which a
#: parsed text cannot contain.
_BACKSLASH = "\udcff"
_PLAIN = (('\\"', '"'), ("\\/", "/"), ("\\b", "\b"), ("\\f", "\f"), ("\\n", "\n"), ("\\r", "\r"), ("\\t", "\t"))
#: Minimum characters of Base64 outside a data URI. A shorter text is a word; no image is so short.
_LEAST = 64
_TOO_DEEP = "it contains a text with more than 8 levels of escapes"
_DATA_URI = re.compile(r"\s*data:([^,]*),", re.IGNORECASE)
#: The head of a data URI that has only a media type, a charset and the encoding.
_HEAD = re.compile(r"(?:[a-z0-9.+-]+/[a-z0-9.+-]+)?(?:;\s*charset=[a-z0-9._-]+)?;\s*base64\s*", re.IGNORECASE)
_CHARSET = re.compile(r";\s*charset\s*=\s*\"?([a-z0-9._-]+)", re.IGNORECASE)
_MEDIA = re.compile(r"\s*(?:image/(?!svg)|audio/|video/)", re.IGNORECASE)
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")


class TooDeep(ValueError):
    """A text has more levels of escapes than are decoded."""


def located(text: str, like: str, how: str) -> str:
    """Return *text*, which was decoded from *like*, with the place of *like*, if it has one."""
    return text if type(like) is str else Located(text, getattr(like, "place", ""), how)


class Located(str):
    """A text that knows its place in a request; it equals the plain text. For explanations, not for the data path.

    ``place`` is a JSONPath or another description; ``how`` is the decoding, if any.
    """

    how: str
    place: str

    def __new__(cls, text: str, place: str, how: str = "") -> "Located":
        """Create *text* with its *place*."""
        found = super().__new__(cls, text)
        found.place, found.how = place, how
        return found


def unescaped(text: str) -> list[str]:
    """Return *text* with JSON escapes decoded, then decoded again, as long as something changes.

    The text need not be JSON: an object can be part of a sentence. Raises `TooDeep`.
    """
    if "\\" * 2**MOST_ROUNDS in text:
        raise TooDeep(_TOO_DEEP)
    found: list[str] = []
    current = str(text)
    while "\\" in current:
        changed = _unescape(current)
        if changed == current:
            break
        if len(found) == MOST_ROUNDS:
            raise TooDeep(_TOO_DEEP)
        found.append(located(changed, text, "unescaped"))
        current = changed
    return found


def _unescape(text: str) -> str:
    """Decode one round, in a few passes over the whole text, which can be long and consist of escapes only."""
    changed = text.replace("\\\\", _BACKSLASH)
    for escape, plain in _PLAIN:
        changed = changed.replace(escape, plain)
    if "\\u" in changed:
        changed = _UNICODE.sub(lambda match: chr(int(match[1], 16)), changed)
        if not changed.isascii():  # a character beyond U+FFFF is written as two escapes
            changed = changed.replace(_BACKSLASH, "\\")
            return changed.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return changed.replace(_BACKSLASH, "\\")


def is_data_uri(text: str) -> bool:
    """True if *text* as a whole is a data URI (RFC 2397)."""
    return _DATA_URI.match(text) is not None


def text_of_data(text: str) -> str | None:
    """Return the text in a data URI or in bare Base64. None for other data: images, audio, video, archives.

    Data is text by its media type, or if most of it is UTF-8. A value that is not Base64 is returned unchanged.
    """
    uri = _DATA_URI.match(text)
    if uri is None:
        data = _decoded(text) if len(text) >= _LEAST else None
        return text if data is None else _as_text(data, text, "", by_type=False)
    media, rest = uri[1], text[uri.end() :]
    if not re.search(r";\s*base64\s*$", media, re.IGNORECASE):
        return located(unquote_to_bytes(rest).decode("utf-8", "replace"), text, "decoded")
    data = _decoded(unquote(rest))
    if data is None or not _HEAD.fullmatch(media):
        return text
    kind = media.strip().lower()
    by_type = not kind or kind.startswith(("text/", ";")) or any(w in kind for w in ("json", "xml", "yaml", "script"))
    return _as_text(data, text, media, by_type=by_type and not _MEDIA.match(media))


def text_of_base64(text: str) -> str | None:
    """Decode *text*, a text in Base64. None if it is not."""
    data = _decoded(text)
    return None if data is None else _as_text(data, text, "", by_type=False)


def _decoded(text: str) -> bytes | None:
    compact = "".join(text.split())
    if not _BASE64.fullmatch(compact):
        return None
    plain = compact.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(plain + "=" * (-len(plain) % 4))
    except (binascii.Error, ValueError):
        return None


def _as_text(data: bytes, text: str, media: str, *, by_type: bool) -> str | None:
    charset = _CHARSET.search(media)
    if charset is not None:
        try:
            return located(data.decode(charset[1], "replace"), text, "decoded")
        except LookupError:
            pass
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return located(data.decode("utf-16", "replace"), text, "decoded")
    kept = data.decode("utf-8", "ignore")
    if not by_type and len(kept.encode()) < len(data) * _TEXT_SHARE:
        return None
    return located(kept.replace("\x00", ""), text, "decoded")  # zeros come from UTF-16 without a byte order mark
