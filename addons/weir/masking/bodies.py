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
    r"text/[a-z0-9.+-]+|application/(?:[a-z0-9.+-]+\+)?(?:xml|javascript|yaml|x-yaml|graphql|toml|sql|problem\+xml)|image/svg\+xml"
)
_LINES = ("application/x-jsonlines", "application/jsonl", "application/jsonlines")
_CHARSETS = {
    "": "utf-8", "utf-8": "utf-8", "utf8": "utf-8", "us-ascii": "ascii", "ascii": "ascii", "iso-8859-1": "latin-1",
    "latin1": "latin-1", "windows-1252": "cp1252",
}  # fmt: skip


class UnknownForm(Exception):
    """The values in a body cannot be separated. The message describes the body without quoting it."""


@dataclass(frozen=True, slots=True)
class Form:
    """The form of a body, with its parsed *document* (``json``, ``lines``) or its *charset* (``text``, ``form``)."""

    name: Literal["json", "lines", "events", "text", "form"]
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
    if body.lstrip()[:1] in (b"{", b"[", b'"'):
        try:
            return _of_json(view, parse_answer(body))
        except ContentError:
            pass
    if media == "application/json" or media.endswith("+json"):
        raise UnknownForm("it is not unambiguous JSON")
    if view.named:
        raise UnknownForm("masks name fields, but it is not JSON")
    if media == "application/x-www-form-urlencoded":
        return Form("form", charset=charset)
    if _TEXT.fullmatch(media):
        return Form("text", charset=charset)
    raise UnknownForm(f"{media[:60] or 'it has no content type'} is not text")


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
    if media == "text/plain" and not view.named:
        return PlainMasker(view, report, charset, framing) if view else Unmasked()
    return None


def is_lines(content_type: str, media: str) -> bool:
    """True if the type names newline-delimited JSON."""
    return media in _LINES or ("ndjson" in media and is_ndjson(content_type))
