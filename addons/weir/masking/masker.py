"""Mask whole bodies, targets and headers with one view of a connection's masks.

A body without findings is returned as the same object. If a body cannot be searched completely, `MaskingError` is
raised. So every result of these functions is masked.
"""

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, quote_plus, unquote_plus

import re2

from weir.base.content import encode, parse
from weir.masking.detectors.engine import DetectorError, escaped_levels
from weir.masking.detectors.model import Detector
from weir.masking.masks import View
from weir.masking.spelling import SpellingError
from weir.masking.strategies import DROP
from weir.masking.walk import Known, MaskingError, Report, Walk, applied, changes_of, words_of

_Fields = list[tuple[bytes, bytes]]
_LOGPROBS = re2.compile(rb'"logprobs"\s*:\s*[\[{]')


def mask_json(
    view: View,
    body: bytes,
    document: Any,
    report: Report,
    known: Known | None = None,
    more: list[tuple[int, Any, Any]] | None = None,
) -> bytes:
    """Mask *body*; *document* is its parsed form. Parts that need no change keep their bytes.

    *known* is given for documents of a stream: for texts in the document, the parts of longer values that they contain.
    *more* are additional slots.

    Log-probabilities repeat the text beside them token by token, so they are removed; in a stream, only from documents
    that contain a value.
    """
    try:
        fired: tuple[Detector, ...] = ()
        present: list[str] | None = None
        if view.recognises:
            for text in escaped_levels(body, document):
                here, names = view.detectors.fired_and_present(text)
                fired += tuple(d for d in here if d not in fired)
                present = names if present is None else present  # the first level contains the names
        slots = [*view.slots(document, present), *(more or ())]
        parts = known is not None and any(j.parts or j.instead is not None for j in known.values())
        logprobs = known is None and view.recognises and _LOGPROBS.search(body) is not None
        if not fired and not slots and not parts and not logprobs:
            return body
        walk = Walk(view, fired, slots, report, known)
        spelling = body.decode()
        masked = walk.masked(spelling, document)
        return body if masked is spelling else masked.encode()
    except (DetectorError, SpellingError) as error:
        raise MaskingError(str(error)) from None


def mask_lines(view: View, body: bytes, documents: list[Any], report: Report) -> bytes:
    """Mask NDJSON, each line separately; line ends are kept."""
    lines = body.split(b"\n")
    masked = [mask_line(view, line, document, report) for line, document in zip(lines, documents, strict=False)]
    return b"\n".join([*masked, *lines[len(masked) :]])


def mask_line(view: View, line: bytes, document: Any, report: Report, known: Known | None = None) -> bytes:
    """Mask one line of NDJSON. A path may begin with the line, ``$.a``, or with the list of all lines, ``$[*].a``."""
    if not view.named:
        return mask_json(view, line, document, report, known)
    lines = [document]
    slots = view.slots(lines)
    for number, container, _ in slots:
        mask, path = view.named[number]
        if container is lines and not mask.kinds:  # the line itself
            report.add(mask, path.text)
            new = mask.strategy.value(document)
            return encode(None if new is DROP else new)
    return mask_json(view, line, document, report, known, slots)


def mask_text(view: View, text: str, report: Report, key: str = "") -> str:
    """Mask the values recognised in *text*, which has no fields."""
    if not view.recognises or not text:
        return text
    try:
        spans = view.detectors.find(text, words_of(key))
        changes = changes_of(view, text, spans, view.strategy_of, report)
    except DetectorError as error:
        raise MaskingError(str(error)) from None
    return applied(text, changes)


def mask_document(view: View, document: Any) -> Any:
    """Mask a parsed *document* into a new one; return the same object if nothing changes."""
    body = encode(document)
    masked = mask_json(view, body, document, Report())
    return document if masked is body else parse(masked)


def mask_target(view: View, target: bytes, report: Report) -> bytes:
    """Mask a request target: named parameters, and values recognised in parameters and in segments of the path."""
    if not view.parameters and not view.recognises:
        return target
    path, mark, query = target.decode("utf-8", "surrogateescape").partition("?")
    if view.recognises:
        path = "/".join(_masked_part(view, part, report) for part in path.split("/"))
    if query:
        query = "&".join(_parameter(view, part, report) for part in query.split("&"))
    return f"{path}{mark}{query}".encode("utf-8", "surrogateescape")


def mask_form(view: View, body: str, report: Report) -> str:
    """Mask a body of application/x-www-form-urlencoded; its parameters are treated like those of a query."""
    return "&".join(_parameter(view, part, report) for part in body.split("&"))


def _parameter(view: View, part: str, report: Report) -> str:
    name, equals, value = part.partition("=")
    plain = unquote_plus(value)
    mask = view.parameters.get(unquote_plus(name))
    if mask is not None:
        new = mask.strategy.value(plain)
        if new is DROP or new != plain:
            report.add(mask, f"query:{unquote_plus(name)}")
        return f"{name}{equals}" if new is DROP else f"{name}{equals}{_quoted(new)}"
    if not view.recognises:
        return part
    new_name = _masked_part(view, name, report)
    if not equals:
        return new_name
    return f"{new_name}={_masked_part(view, value, report, unquote_plus(name))}"


def _masked_part(view: View, part: str, report: Report, key: str = "") -> str:
    """Mask one segment or parameter; only changed text is quoted again."""
    spaced = part.replace("+", " ")
    masked = mask_text(view, spaced, report, key)
    if masked is spaced or masked == spaced:
        masked = mask_text(view, part, report, key)
        return part if masked == part else quote(masked, safe="%+!$&'()*,;:@~")
    return quote(masked, safe="%!$&'()*,;:@~").replace("%20", "+")


def _quoted(value: Any) -> str:
    return quote_plus(value if isinstance(value, str) else encode(value).decode())


#: Headers that hold no personal values, but may hold numbers that look like one.
_STRUCTURAL = frozenset((
    b"host", b"content-length", b"content-type", b"content-encoding", b"transfer-encoding", b"date", b"expires",
    b"etag", b"last-modified", b"server", b"accept", b"accept-encoding", b"accept-language",
    b"accept-charset", b"cache-control", b"vary", b"age", b"connection", b"keep-alive", b"strict-transport-security",
    b"x-request-id", b"server-timing", b"retry-after", b"if-none-match", b"if-modified-since", b"traceparent",
    b"x-weir-replay-key",
))  # fmt: skip


def mask_headers(view: View, fields: Iterable[tuple[bytes, bytes]], report: Report) -> _Fields:
    """Mask headers: those that masks name, and values recognised in the others."""
    masked: _Fields = []
    for name, value in fields:
        lower = name.lower()
        mask = view.headers.get(lower.decode("latin-1")) if view.headers else None
        if mask is not None:
            plain = value.decode("utf-8", "surrogateescape")
            new = mask.strategy.value(plain)
            if new is DROP or new != plain:
                report.add(mask, f"header:{lower.decode('latin-1')}")
            if new is not DROP:
                text = new if isinstance(new, str) else encode(new).decode()
                masked.append((name, text.encode("utf-8", "surrogateescape")))
        elif view.recognises and lower not in _STRUCTURAL:
            plain = value.decode("utf-8", "surrogateescape")
            text = mask_text(view, plain, report, lower.decode("latin-1"))
            masked.append((name, value if text is plain else text.encode("utf-8", "surrogateescape")))
        else:
            masked.append((name, value))
    return masked
