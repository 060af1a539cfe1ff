"""Masking of whole bodies, targets and headers, each by one view of a connection's masks.

A body in which nothing is found is given back as the same object. Whatever cannot be looked at to its end raises
`MaskingError`: what comes out of here has been masked, or does not come out.
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
    """*body*, whose parsed form is *document*, masked; what need not change keeps its bytes.

    *known* says of texts in it which parts of longer values they have; it is given where the document is one of a
    stream. *more* are further slots in it.

    Log-probabilities show the text beside them token by token, so they are removed; in a stream, only from documents in
    which a value stands.
    """
    try:
        fired: tuple[Detector, ...] = ()
        present: list[str] | None = None
        if view.recognises:
            for text in escaped_levels(body, document):
                here, names = view.detectors.fired_and_present(text)
                fired += tuple(d for d in here if d not in fired)
                present = names if present is None else present  # names stand in the first
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
    """NDJSON: each line by itself, the ends of lines as they are."""
    lines = body.split(b"\n")
    masked = [mask_line(view, line, document, report) for line, document in zip(lines, documents, strict=False)]
    return b"\n".join([*masked, *lines[len(masked) :]])


def mask_line(view: View, line: bytes, document: Any, report: Report, known: Known | None = None) -> bytes:
    """One line of NDJSON. A path may begin with the line, ``$.a``, or with the list of all, ``$[*].a``."""
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
    """A text that has no fields: what is recognised in it is replaced."""
    if not view.recognises or not text:
        return text
    try:
        spans = view.detectors.find(text, words_of(key))
        changes = changes_of(view, text, spans, view.strategy_of, report)
    except DetectorError as error:
        raise MaskingError(str(error)) from None
    return applied(text, changes)


def mask_document(view: View, document: Any) -> Any:
    """A parsed *document*, masked into a new one; the same one where nothing is found."""
    body = encode(document)
    masked = mask_json(view, body, document, Report())
    return document if masked is body else parse(masked)


def mask_target(view: View, target: bytes, report: Report) -> bytes:
    """A request's target: named parameters, and what is recognised in values of parameters and parts of the path."""
    if not view.parameters and not view.recognises:
        return target
    path, mark, query = target.decode("utf-8", "surrogateescape").partition("?")
    if view.recognises:
        path = "/".join(_masked_part(view, part, report) for part in path.split("/"))
    if query:
        query = "&".join(_parameter(view, part, report) for part in query.split("&"))
    return f"{path}{mark}{query}".encode("utf-8", "surrogateescape")


def mask_form(view: View, body: str, report: Report) -> str:
    """A body of application/x-www-form-urlencoded, whose parameters are those of a query."""
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
    """A part of a target, in which only what is found is written anew."""
    spaced = part.replace("+", " ")
    masked = mask_text(view, spaced, report, key)
    if masked is spaced or masked == spaced:
        masked = mask_text(view, part, report, key)
        return part if masked == part else quote(masked, safe="%+!$&'()*,;:@~")
    return quote(masked, safe="%!$&'()*,;:@~").replace("%20", "+")


def _quoted(value: Any) -> str:
    return quote_plus(value if isinstance(value, str) else encode(value).decode())


#: Headers in which no person's value stands, and numbers that look like one may.
_STRUCTURAL = frozenset((
    b"host", b"content-length", b"content-type", b"content-encoding", b"transfer-encoding", b"date", b"expires",
    b"etag", b"last-modified", b"server", b"accept", b"accept-encoding", b"accept-language",
    b"accept-charset", b"cache-control", b"vary", b"age", b"connection", b"keep-alive", b"strict-transport-security",
    b"x-request-id", b"server-timing", b"retry-after", b"if-none-match", b"if-modified-since", b"traceparent",
    b"x-weir-replay-key",
))  # fmt: skip


def mask_headers(view: View, fields: Iterable[tuple[bytes, bytes]], report: Report) -> _Fields:
    """Headers by name, and what is recognised in the values of others."""
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
