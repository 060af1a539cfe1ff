"""Every stream shape, with values that are cut at every position: no value leaks, and only values change."""

import random
from collections.abc import Iterator
from functools import cache, partial
from typing import Any

import pytest
from tests.masking.making import everything
from tests.masking.shapes import SHAPES, StreamShape

from weir.config.profile_settings import StreamSettings
from weir.masking.detectors.engine import Detectors
from weir.masking.detectors.model import Span
from weir.masking.joining import Documents
from weir.masking.masker import mask_text
from weir.masking.streams import EventMasker, LineMasker
from weir.masking.units import between
from weir.masking.walk import MaskingError, Report
from weir.profiles.framing import UNKNOWN_FRAMING, Framing, compile_framing
from weir.profiles.profile import load_profile

ALL = everything()
VALUES = {
    "email": "maria.keller@example.org",
    "credit_card": "4242 4242 4242 4242",
    "iban": "DE89 3704 0044 0532 0130 00",
}
PLAIN = "The quick fox, as they say, jumps at 7 or 12."
#: Settings that an operator would write for services without a built-in profile, if their texts cannot be separated.
DECLARED: dict[str, dict[str, Any]] = {
    "cohere-v1-chat": {"texts": [{"path": "$.text"}], "records": ["$.response"]},
    "gemini-two-parts": {"texts": [{"path": "$.candidates[*].content.parts[*].text"}]},
    "gemini-thought": {"texts": [{"path": "$.candidates[*].content.parts[*].text", "by": "thought"}]},
    "weaviate-query-agent": {"texts": [{"path": "$.delta"}], "records": ["$.message"]},
    "ai-sdk-reasoning": {"texts": [{"path": "$.delta", "by": ["type", "id"], "until": {"type": "*-end"}}]},
}
#: Shapes that send a text twice at one path; only the event's name or a list's order shows this.
REPEATED = ("coze-chat", "langserve-log")
VENDORS = [shape for shape in SHAPES if not shape.hostile]
HOSTILE = [shape for shape in SHAPES if shape.hostile]


@pytest.fixture(autouse=True, scope="module")
def searched_once() -> Iterator[None]:
    """Search each text once: the same text occurs in most shapes, and a search depends on nothing else."""
    search, fired_and_present = cache(Detectors.find), cache(Detectors.fired_and_present)

    def find(self: Detectors, text: str, key: str = "", *others: Any) -> list[Span]:
        return list(search(self, text, key, *others))

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Detectors, "find", find)
        patched.setattr(Detectors, "fired_and_present", fired_and_present)
        yield


@cache
def framing(shape: StreamShape) -> Framing:
    """Return the framing that the shape's profile declares."""
    if shape.profile is None:
        settings = DECLARED.get(shape.name)
        return UNKNOWN_FRAMING if settings is None else compile_framing(StreamSettings.model_validate(settings), None)
    profile = load_profile(shape.profile)
    if shape.form == "messages":
        return profile.messages
    found = profile.paths.find("POST", shape.path or "")
    assert found is not None
    return found.operation.framing


#: Most shapes are of no profile, and then two tests below mask the same streams: by shape, units, framing and chunk.
_MASKED: dict[tuple[str, tuple[bytes, ...], int, int], list[bytes]] = {}


def through(shape: StreamShape, units: list[bytes], declared: Framing, chunk: int = 0) -> list[bytes]:
    """Mask the stream of *units*, in random chunks of at most *chunk* bytes; with 0, one unit after the other."""
    key = shape.name, tuple(units), id(declared), chunk
    if key not in _MASKED:
        _MASKED[key] = masked_stream(shape, units, declared, chunk)
    return _MASKED[key]


def masked_stream(shape: StreamShape, units: list[bytes], declared: Framing, chunk: int) -> list[bytes]:
    if shape.form == "messages":
        documents: Documents[bytes] = Documents(ALL, Report(), declared, lines=True)
        out = []
        for unit in units:
            documents.add(unit, partial(between, b"", unit, b""))
            out += documents.ready()
        return [*out, *documents.end()]
    masker = (EventMasker if shape.form == "events" else LineMasker)(ALL, Report(), declared)
    data, sizes = b"".join(units), random.Random(chunk)
    out, position = [], 0
    for unit in [] if chunk else units:
        out += masker.feed(unit)
    while chunk and position < len(data):
        size = sizes.randint(1, chunk)
        out += masker.feed(data[position : position + size])
        position += size
    return [b"".join([*out, *masker.end()])]


def cuts(text: str, value: str) -> Iterator[tuple[list[str], int]]:
    """Yield pieces of *text*, with *value* cut at each position or into small pieces; and the size of chunks."""
    start = text.index(value)
    for i in range(len(value) + 1):
        yield [piece for piece in (text[: start + i], text[start + i :]) if piece], 40 if i % 7 == 3 else 0
        before, after = text[:start], text[start + len(value) :]
        if i % 3 == 1:
            yield [p for p in (before[:5], before[5:], value[:i], value[i:], after[:3], after[3:]) if p], 0
    yield list(text), 0
    yield [text[i : i + 3] for i in range(0, len(text), 3)], 25


def left(value: str, text: str) -> int:
    """Return the length of the longest part of *value* that is in *text*."""
    return max(
        (n for n in range(1, len(value) + 1) for i in range(len(value) - n + 1) if value[i : i + n] in text), default=0
    )


@pytest.mark.parametrize("shape", VENDORS, ids=lambda shape: shape.name)
def test_a_client_reads_the_masked_text(shape: StreamShape) -> None:
    declared = framing(shape)
    for kind, value in VALUES.items():
        for text in (f"Write to {value} today, or not.", f"It is {value}", f"{value} it is"):
            masked = mask_text(ALL, text, Report())
            for pieces, chunk in cuts(text, value) if text[0] == "W" else [([p], 0) for p in [text]]:
                read = shape.read(through(shape, shape.told(pieces), declared, chunk))
                if shape.name in REPEATED:
                    assert f"[{kind.upper()}]" in read and left(value, read) < 4, (pieces, read)
                else:
                    assert read == masked, pieces


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_nothing_leaks_of_a_stream_that_no_profile_knows(shape: StreamShape) -> None:
    """Only the edges of the value are visible, even if it is masked together with its neighbours."""
    for value in (VALUES["email"], VALUES["credit_card"]):
        text = f"Write to {value} today, or not."
        for pieces, chunk in cuts(text, value):
            try:
                out = through(shape, shape.told(pieces), UNKNOWN_FRAMING, chunk)
            except MaskingError:
                assert shape.hostile, pieces
                continue
            read = shape.read(out)
            assert value not in read and value.encode() not in b"".join(out), pieces
            assert left(value, read) <= 6, (pieces, read)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_a_stream_without_values_keeps_its_bytes(shape: StreamShape) -> None:
    for declared in {id(d): d for d in (UNKNOWN_FRAMING, framing(shape))}.values():
        for pieces in (list(PLAIN), [PLAIN[i : i + 4] for i in range(0, len(PLAIN), 4)], PLAIN.split("k"), [PLAIN]):
            units = shape.told(pieces)
            for chunk in (0, 30):
                assert b"".join(through(shape, units, declared, chunk)) == b"".join(units)
