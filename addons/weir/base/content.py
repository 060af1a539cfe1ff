"""Decode bodies within limits, parse them once and strictly, and encode them again without loss.

`decode` and `parse` raise `ContentError` for anything that two parsers could read differently: duplicate members, NaN,
infinities, several values, unlisted encodings, and truncated or padded compression. This module does not know
mitmproxy.
"""

import re
import zlib
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote_plus

import brotli
import jiter
import msgspec
import zstandard

from weir.base.bounds import current

#: Bytes that every body may decode to, regardless of `Bounds.ratio`.
FREE = 1024 * 1024
#: Maximum values in one document: a million take about 0.1 s to parse.
MAX_VALUES = 1_000_000
#: Maximum lists and objects in one document: every walk takes about a microsecond for each.
MAX_CONTAINERS = 100_000
#: The same for all lines of NDJSON together, because each line is a small document of its own.
MAX_LINE_CONTAINERS = 250_000

_CHUNK = 1 << 20
_QUOTED = re.compile(r'".*"', re.DOTALL)
_FEED = 1 << 14
#: zstd's window in bytes, as in browsers (RFC 9659).
_WINDOW = 8 << 20


class ContentError(ValueError):
    """A body cannot be read unambiguously. The text gives the reason and is safe to show."""


def decode(body: bytes, encoding: str, limit: int | None = None, *, answer: bool = False) -> bytes:
    """Decode *body* from *encoding* (the Content-Encoding value; ``""`` and ``identity`` mean none).

    Memory stays under *limit* bytes (`Bounds.decoded`, or `Bounds.answer` for the *answer* of a service) plus one chunk
    (two for brotli), regardless of the sizes that the body claims. `Bounds.ratio` applies to callers only.
    """
    bounds = current()
    if limit is None:
        limit = bounds.answer if answer else bounds.decoded
    name = encoding.strip().lower()
    if name in ("", "identity"):
        return body
    pieces = _DECODERS.get(name)
    if pieces is None:
        accepted = ", ".join(_DECODERS)
        raise ContentError(f"content encoding {encoding[:40]!r} is not accepted; send identity or {accepted}")
    output = bytearray()
    for piece in pieces(body):
        output += piece
        if len(output) > limit or (not answer and len(output) > FREE + bounds.ratio * len(body)):
            raise ContentError("the body decodes to more bytes than allowed")
    return bytes(output)


def _zlib(body: bytes, wbits: int, name: str, members: bool) -> Iterator[bytes]:
    rest = body
    while rest:
        member = zlib.decompressobj(wbits=wbits)
        try:
            while True:
                yield member.decompress(rest, _CHUNK)
                rest = member.unconsumed_tail
                if member.eof or not rest:
                    break
        except zlib.error:
            raise ContentError(f"the body is not valid {name}") from None
        if not member.eof:
            raise ContentError(f"the {name} body is truncated")
        rest = member.unused_data
        if rest and not members:
            raise ContentError(f"the {name} body continues after its end")


def _deflate(body: bytes) -> Iterator[bytes]:
    """Decode deflate with a zlib header, as the standard requires, or without, as some clients send it."""
    zlib_head = len(body) > 1 and body[0] & 0x0F == 8 and int.from_bytes(body[:2]) % 31 == 0
    return _zlib(body, 15 if zlib_head else -15, "deflate", members=False)


def _brotli(body: bytes) -> Iterator[bytes]:
    decoder = brotli.Decompressor()
    try:
        yield decoder.process(body, output_buffer_limit=_CHUNK)
        while not decoder.is_finished():
            piece = decoder.process(b"", output_buffer_limit=_CHUNK)
            if not piece and decoder.can_accept_more_data():
                raise ContentError("the br body is truncated")
            yield piece
    except brotli.error:
        raise ContentError("the body is not valid br") from None


def _zstd(body: bytes) -> Iterator[bytes]:
    decoder = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
    try:
        with decoder.stream_reader(body, read_across_frames=True) as reader:
            while piece := reader.read(_CHUNK):
                yield piece
        # The reader does not distinguish a truncated frame from a complete one.
        if not _ends_with_a_frame(body):
            raise ContentError("the zstd body is truncated")
    except zstandard.ZstdError:
        raise ContentError("the body is not valid zstd") from None


def _ends_with_a_frame(body: bytes) -> bool:
    rest = body
    while rest:
        frame = zstandard.ZstdDecompressor(max_window_size=_WINDOW).decompressobj()
        for start in range(0, len(rest), _FEED):
            frame.decompress(rest[start : start + _FEED])
            if frame.eof:
                rest = frame.unused_data + rest[start + _FEED :]
                break
        else:
            return False
    return True


#: The accepted encodings. Each function yields the decoded pieces.
_DECODERS: dict[str, Callable[[bytes], Iterator[bytes]]] = {
    "gzip": lambda body: _zlib(body, 31, "gzip", members=True),
    "br": _brotli,
    "zstd": _zstd,
    "deflate": _deflate,
}


def parse(body: bytes) -> Any:
    """Parse the single JSON value in *body*, so that every conforming parser agrees on it. Raises `ContentError`."""
    value = _value(body)
    _refuse_infinity([[value]], MAX_CONTAINERS)  # 1e400 parses to infinity
    return value


def parse_answer(body: bytes) -> Any:
    """Parse a response like `parse`, but accept numbers out of range: a response is read once and never written."""
    return _value(body)


def parse_lines(body: bytes) -> list[Any]:
    """Parse NDJSON: one value per line, each as strict as in `parse`.

    Raises `ContentError`, also for blank lines and bare carriage returns.
    """
    lines = body.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    values, left = [], MAX_LINE_CONTAINERS
    for number, line in enumerate(lines, 1):
        text = line[:-1] if line.endswith(b"\r") else line
        if not text.strip(b" \t") or b"\r" in text:
            raise ContentError(f"line {number} of the NDJSON body is blank or contains a carriage return")
        try:
            value = _value(text)
            left = _refuse_infinity([[value]], left, MAX_LINE_CONTAINERS)
        except ContentError as error:
            raise ContentError(f"line {number}: {error}") from None
        values.append(value)
    return values


def _value(body: bytes) -> Any:
    if len(body) > MAX_VALUES and body.count(b",") + body.count(b"[") + body.count(b"{") > MAX_VALUES:
        raise ContentError(f"the body contains more than {MAX_VALUES} values")
    try:
        return jiter.from_json(body, catch_duplicate_keys=True, allow_inf_nan=False, partial_mode=False)
    except ValueError as error:
        said = _QUOTED.sub("…", str(error))[:120]  # without the data that it quotes
        raise ContentError(f"the body is not unambiguous JSON: {_explained(body, said)}") from None


_PLACE = re.compile(r" at line (\d+) column (\d+)$")
_NOT_A_NUMBER = re.compile(rb"[-+]?(?:NaN|Infinity)\b")


def _explained(body: bytes, said: str) -> str:
    """Return what the parser *said*, or a clearer sentence for the most frequent mistakes."""
    if body.startswith(b"\xef\xbb\xbf"):
        return "it begins with a byte order mark; send UTF-8 without it (in Python, encoding='utf-8', not 'utf-8-sig')"
    if body.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\x00" in body[:4]:
        return "it is UTF-16 or UTF-32; send UTF-8"
    place = _PLACE.search(said)
    if place is not None:
        line = body.split(b"\n", int(place[1]))[int(place[1]) - 1]
        at = int(place[2])
        if any(_NOT_A_NUMBER.match(line, max(0, at - back)) for back in (1, 2, 3)):
            return f"NaN and Infinity{place[0]} are not JSON; send null or a string"
    return said


def leaf_texts(value: Any) -> list[str]:
    """Return every text in *value*, in document order. A plain text is returned itself."""
    if type(value) is str:
        return [value]
    texts: list[str] = []
    if type(value) is dict or type(value) is list:
        _collect(value, texts)
    return texts


def _collect(container: Any, texts: list[str]) -> None:
    """Add the texts in *container* to *texts*. Recurses no deeper than the parser."""
    for value in container if type(container) is list else container.values():
        kind = type(value)
        if kind is str:
            texts.append(value)
        elif kind is dict or kind is list:
            _collect(value, texts)


def parse_parameters(query: str) -> dict[str, list[str]]:
    """Parse and unescape a URL's query. Raises `ContentError` if servers could read other parameters."""
    if ";" in query or _BAD_ESCAPE.search(query):
        raise ContentError("the query can be read in two ways: escape ';' and '%'")
    found: dict[str, list[str]] = {}
    for part in query.split("&"):
        name, _, value = part.partition("=")
        if name:
            found.setdefault(unquote_plus(name), []).append(unquote_plus(value))
    return found


def _refuse_infinity(nodes: list[Any], left: int, most: int = MAX_CONTAINERS) -> int:
    """Raise `ContentError` for infinite numbers or more than *left* containers below *nodes*. Return how many remain.

    The error names *most*, the limit of the whole body.

    Walks level by level, which is fastest.
    """
    while nodes:
        values: list[Any] = []
        for node in nodes:
            values += node.values() if type(node) is dict else node
        if [v for v in values if type(v) is float and v - v != 0]:
            raise ContentError("a number in the body is out of range")
        nodes = [v for v in values if type(v) is dict or type(v) is list]
        left -= len(nodes)
        if left < 0:
            raise ContentError(f"the body contains more than {most} lists and objects")
    return left


def encode(value: Any) -> bytes:
    """Encode *value* as JSON."""
    return msgspec.json.encode(value)


def encode_lines(values: list[Any]) -> bytes:
    """Encode *values* as NDJSON."""
    return b"".join(msgspec.json.encode(value) + b"\n" for value in values)


def is_ndjson(content_type: str) -> bool:
    """True if a Content-Type means newline-delimited JSON. Accepts JSON types too, because some services do."""
    media, semicolon, parameters = content_type.lower().partition(";")
    media = re.sub(r"(?:x-)?ndjson$", "json", media.strip(" "))
    return is_json(f"{media}{semicolon}{parameters}")


def is_json(content_type: str) -> bool:
    """True if a Content-Type means JSON in UTF-8 (RFC 8259, 8.1; ``+json`` of RFC 6839), in its exact grammar.

    False if it has a parameter that only some servers read (spaces around ``=``, ``charset*``).
    """
    media, *parameters = content_type.lower().split(";")
    if not _JSON_MEDIA.fullmatch(media.strip(" ")):
        return False
    for parameter in parameters:
        match = _PARAMETER.fullmatch(parameter.strip(" "))
        if match is None or (match[1] == "charset" and match[2] not in ("utf-8", "utf8")):
            return False
    return True


_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_JSON_MEDIA = re.compile(r"application/(?:json|[a-z0-9.-]+\+json)")
_PARAMETER = re.compile(r"([a-z0-9_-]+)=\"?([a-z0-9._:/-]*)\"?")
