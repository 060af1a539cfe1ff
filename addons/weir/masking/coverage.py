"""Search recordings for values that masks have left, and compare a body before and after masking.

Masked field coverage is the share of masked values among all values recognised in recordings.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mitmproxy import exceptions, io
from mitmproxy.http import HTTPFlow, Message

from weir.base.content import ContentError, encode, parse, parse_lines
from weir.config.model import MaskSettings
from weir.masking.bodies import UnknownForm, form_of, is_lines, mask_body
from weir.masking.detectors.model import Detector
from weir.masking.masker import mask_headers, mask_target
from weir.masking.masks import Mask, View, compile_masks
from weir.masking.strategies import Tokens
from weir.masking.walk import MaskingError, Report

_ABSENT = object()


def every_detector(own: Mapping[str, tuple[Detector, ...]], keys: Iterable[bytes] = ()) -> View:
    """Return a view that redacts every recognisable value; tokens under *keys* count as masked."""
    everything = MaskSettings.model_validate({"detect": ["all"], "with": "redact"})
    return compile_masks([everything], Tokens(tuple(keys)), own=own).record("response")


@dataclass(frozen=True, slots=True)
class Left:
    """The number of unmasked values of one kind in one part of one recorded flow."""

    request_id: str
    connection: str
    part: str  # "request body", "request target", "request headers"; likewise for the response
    kind: str
    count: int


@dataclass(frozen=True, slots=True)
class Unread:
    """A part of a recorded flow that could not be searched, and the reason."""

    request_id: str
    connection: str
    part: str
    why: str


def segments(recordings: Path) -> list[Path]:
    """Return every flow file below *recordings*, the oldest first."""
    return sorted((recordings / "segments").glob("*/*/*.mitm"), key=lambda path: path.name)


def scan(path: Path, view: View) -> Iterator[Left | Unread]:
    """Yield the unmasked values in the flows of one file. An incomplete last flow ends the scan, as in every reader."""
    connection = path.parts[-3]
    with path.open("rb") as file:
        try:
            for flow in io.FlowReader(file).stream():
                if isinstance(flow, HTTPFlow):
                    yield from _flow(flow, connection, view)
        except exceptions.FlowReadException:
            return


def _flow(flow: HTTPFlow, connection: str, view: View) -> Iterator[Left | Unread]:
    report = Report()
    mask_target(view, flow.request.data.path, report)
    yield from _left(flow, connection, "request target", report)
    yield from _message(flow, connection, "request", flow.request, view)
    if flow.response is not None:
        yield from _message(flow, connection, "response", flow.response, view)


def _message(flow: HTTPFlow, connection: str, name: str, message: Message, view: View) -> Iterator[Left | Unread]:
    report = Report()
    mask_headers(view, message.data.headers.fields, report)
    yield from _left(flow, connection, f"{name} headers", report)
    body = message.data.content or b""
    if not body:
        return
    report = Report()
    try:
        mask_body(view, form_of(view, body, message.headers.get("content-type", ""), None), body, report)
    except (UnknownForm, MaskingError) as error:
        yield Unread(flow.id, connection, f"{name} body", str(error))
        return
    yield from _left(flow, connection, f"{name} body", report)


def _left(flow: HTTPFlow, connection: str, part: str, report: Report) -> Iterator[Left]:
    kinds: Counter[str] = Counter()
    for field in report.fields():
        kinds[field.kind] += field.count
    for kind, count in kinds.items():
        yield Left(flow.id, connection, part, kind, count)


# Before and after.


@dataclass(frozen=True, slots=True)
class Acted:
    """One place that a mask changed: its JSON or text before and after; *after* is None if the place was removed."""

    rule: str
    place: str
    kinds: str
    before: str
    after: str | None


def tried(masks: Iterable[Mask], view: View, body: bytes, content_type: str) -> Iterator[Acted]:
    """Yield the changes that each of *masks* makes to *body* when alone. Raises `UnknownForm`, `MaskingError`."""
    document = _document(body, content_type)
    for mask in masks:
        alone = view.only(mask)
        report = Report()
        form = form_of(alone, body, content_type, None)
        masked = mask_body(alone, form, body, report)
        kinds = ", ".join(dict.fromkeys(field.kind for field in report.fields() if field.kind))
        if masked is body:
            continue
        if document is _ABSENT:
            before_lines, after_lines = (data.decode("utf-8", "replace").splitlines() for data in (body, masked))
            lines = zip(before_lines, after_lines, strict=False)
            for number, (before, after) in enumerate(lines, 1):
                if before != after:
                    yield Acted(mask.rule, f"line {number}", kinds, before, after)
            continue
        for place, old, new in differences(document, _document(masked, content_type)):
            text = None if new is _ABSENT else encode(new).decode()
            yield Acted(mask.rule, place, kinds, encode(old).decode(), text)


def _document(body: bytes, content_type: str) -> Any:
    """Return the parsed *body*, or `_ABSENT` if it is not JSON."""
    try:
        return parse_lines(body) if is_lines(content_type, content_type) else parse(body)
    except ContentError:
        return _ABSENT


def differences(old: Any, new: Any, place: str = "$") -> Iterator[tuple[str, Any, Any]]:
    """Yield each place where a document and its masked form differ: (path, old, new)."""
    if isinstance(old, dict) and isinstance(new, dict):
        if len(old) != len(new):  # members were dropped
            pairs = [(name, value, name, new.get(name, _ABSENT)) for name, value in old.items()]
        else:  # names may have been masked
            pairs = [(*before, *after) for before, after in zip(old.items(), new.items(), strict=True)]
        for name, value, new_name, new_value in pairs:
            below = f"{place}[{encode(name).decode()}]"
            if new_name != name:
                yield f"{below} (the name)", name, new_name
            yield from differences(value, new_value, below)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for i, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from differences(before, after, f"{place}[{i}]")
    elif type(old) is not type(new) or old != new:
        yield place, old, new
