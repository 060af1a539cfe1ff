"""Find the form of a body, and mask a body of each form."""

import re
from dataclasses import dataclass
from typing import Any, Literal

from weir.base.content import ContentError, is_ndjson, parse_answer, parse_lines
from weir.masking.masker import mask_form, mask_json, mask_lines, mask_text
from weir.masking.masks import View
from weir.masking.streams import EventMasker, LineMasker, PieceMasker, PlainMasker, Unmasked
from weir.masking.walk import MaskingError, Report
from weir.profiles.framing import UNKNOWN_FRAMING, Framing

#: Text media types that are searched for values.
_TEXT = re.compile(
    r"text/[a-z0-9.+-]+|application/(?:[a-z0-9.+-]+\+)?(?:csv|xml|javascript|yaml|x-yaml|graphql|toml|sql|problem\+xml)|image/svg\+xml"
)
_LINES = ("application/x-jsonlines", "application/jsonl", "application/jsonlines")
_CHARSETS = {
    "": "utf-8", "utf-8": "utf-8", "utf8": "utf-8", "us-ascii": "ascii", "ascii": "ascii", "iso-8859-1": "latin-1",
    "latin1": "latin-1", **{f"iso-8859-{n}": f"iso-8859-{n}" for n in (2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16)},
    **{f"windows-{n}": f"cp{n}" for n in range(1250, 1259)}, "koi8-r": "koi8-r", "koi8-u": "koi8-u",
    "gbk": "gbk", "gb2312": "gbk", "gb18030": "gb18030", "big5": "big5",
    "euc-jp": "euc-jp", "euc-kr": "euc-kr", "shift_jis": "shift_jis",
    "utf-16": "utf-16", "utf-16le": "utf-16-le", "utf-16be": "utf-16-be", "utf-32": "utf-32",
}  # fmt: skip
#: Charsets with a mark at their start or wide units: their texts are masked whole.
_WHOLE = ("utf-16", "utf-32")
#: The start of each record of a JSON text sequence (RFC 7464).
_RECORD = b"\x1e"


class UnknownForm(Exception):
    """The values in a body cannot be separated. The message describes the body without quoting it."""


@dataclass(frozen=True, slots=True)
class Form:
    """The form of a body, with its parsed *document* (``json``, ``lines``) or its *charset* (``text``, ``form``)."""

    name: Literal["json", "lines", "sequence", "events", "text", "form"]
    document: Any = None
    charset: str = "utf-8"


def media_and_charset(content_type: str) -> tuple[str, str]:
    """Return the media type of a Content-Type, and Python's name for its charset. Raises `UnknownForm`."""
    media, *parameters = content_type.lower().split(";")
    named = [
        part.partition("=")[2].strip().strip('"') for part in parameters if part.partition("=")[0].strip() == "charset"
    ]
    charset = _CHARSETS.get(named[0] if named else "")
    if charset is None or len(named) > 1:
        raise UnknownForm("text in a charset that is not supported")
    return media.strip(), charset


def form_of(view: View, body: bytes, content_type: str, document: Any) -> Form:
    """Return the form of *body*. *document* is its parsed JSON, or None. Raises `UnknownForm`.

    A body that looks like JSON is treated as JSON, with any Content-Type, because clients sniff.
    """
    if document is not None:
        return _of_json(view, document)
    media, charset = media_and_charset(content_type)
    if media == "text/event-stream":
        return Form("events")
    if is_lines(content_type, media):
        try:
            return Form("lines", parse_lines(body))
        except ContentError as error:
            raise UnknownForm(str(error)) from None
    if media == "application/json-seq" or media.endswith("+json-seq"):
        return _sequence(body)
    if body.lstrip()[:1] in (b"{", b"[", b'"'):
        try:
            return _of_json(view, parse_answer(body))
        except ContentError:
            pass
    if media == "application/json" or media.endswith("+json"):
        raise UnknownForm(_reason(body))
    if view.named:
        raise UnknownForm("masks name fields, but it is not JSON")
    if media == "application/x-www-form-urlencoded":
        return Form("form", charset=charset)
    if _TEXT.fullmatch(media):
        return Form("text", charset=charset)
    raise UnknownForm(f"{media[:60] or 'it has no content type'} is not text")


def _reason(body: bytes) -> str:
    """Return why *body* is not JSON."""
    try:
        parse_answer(body)
    except ContentError as error:
        return str(error)
    return "its Content-Type names a charset other than UTF-8"


def _sequence(body: bytes) -> Form:
    """Return the form of a JSON text sequence with one record a line. Raises `UnknownForm`."""
    lines = body.splitlines(keepends=True)
    if not all(line.startswith(_RECORD) and line.count(_RECORD) == 1 for line in lines):
        raise UnknownForm("a record of the JSON text sequence is not on a line of its own")
    try:
        return Form("sequence", parse_lines(body.replace(_RECORD, b"")))
    except ContentError as error:
        raise UnknownForm(str(error)) from None


def _of_json(view: View, document: Any) -> Form:
    if view.named and not isinstance(document, dict | list):
        raise UnknownForm("masks name fields, but it is a JSON value without fields")
    return Form("json", document)


def mask_body(view: View, form: Form, body: bytes, report: Report, framing: Framing = UNKNOWN_FRAMING) -> bytes:
    """Mask *body*. Return the same object if nothing changes. Raises `MaskingError`.

    *framing* describes how the documents of a stream belong together.
    """
    if not view or not body:
        return body
    if form.name == "json":
        return mask_json(view, body, form.document, report)
    if form.name == "sequence":
        plain = body.replace(_RECORD, b"")
        masked = mask_body(view, Form("lines", form.document), plain, report, framing)
        return body if masked is plain else b"".join(_RECORD + line for line in masked.splitlines(keepends=True))
    if form.name == "lines" and framing.mode == "records" and not framing.texts:
        return mask_lines(view, body, form.document, report)
    if form.name in ("lines", "events"):
        masker = (EventMasker if form.name == "events" else LineMasker)(view, report, framing)
        masked = b"".join([*masker.feed(body), *masker.end()])
        return body if masked == body else masked
    try:
        text = body.decode(form.charset)
    except UnicodeDecodeError:
        raise MaskingError(f"it is not {form.charset}") from None
    masked_text = mask_form(view, text, report) if form.name == "form" else mask_text(view, text, report)
    return body if masked_text is text or masked_text == text else masked_text.encode(form.charset, "xmlcharrefreplace")


def piece_masker(view: View, content_type: str, report: Report, framing: Framing) -> PieceMasker | None:
    """Return the masker that streams a body of *content_type*; None if the body must be buffered."""
    try:
        media, charset = media_and_charset(content_type)
    except UnknownForm:
        return None
    if media == "text/event-stream" and charset == "utf-8":
        return EventMasker(view, report, framing) if view else Unmasked()
    if is_lines(content_type, media):
        return LineMasker(view, report, framing) if view else Unmasked()
    if media == "text/plain" and not view.named and not charset.startswith(_WHOLE):
        return PlainMasker(view, report, charset, framing) if view else Unmasked()
    return None


def is_lines(content_type: str, media: str) -> bool:
    """True if the type names newline-delimited JSON."""
    return media in _LINES or ("ndjson" in media and is_ndjson(content_type))
