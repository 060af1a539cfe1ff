"""What is said over a WebSocket, for its receiver and for the record."""

import pytest

from weir.config.model import MaskSettings
from weir.masking.masks import Masks, compile_masks
from weir.masking.messages import Messages
from weir.masking.strategies import Tokens
from weir.masking.walk import MaskingError


def masks(*entries: dict[str, object]) -> Masks:
    return compile_masks([MaskSettings.model_validate(entry) for entry in entries], Tokens([b"k" * 32]))


MAIL = {"detect": ["email"], "with": {"replace": "(mail)"}}
NAMED = {"fields": ["$.secret"], "with": {"replace": "x"}}


def messages(*entries: dict[str, object]) -> Messages:
    compiled = masks(*entries)
    return Messages(compiled.caller(frozenset()), compiled.record("response"))


@pytest.mark.parametrize(
    ("said", "passed"),
    [
        (b'{"a": "eva@example.com"}', b'{"a": "(mail)"}'),
        (b"write to eva@example.com", b"write to (mail)"),
        (b'"eva@example.com"', b'"(mail)"'),
        (b"", b""),
        (b'{"a": "\\u0065va@example.com"}', b'{"a": "(mail)"}'),
        (b'42["said", "eva@example.com"]', b'42["said", "(mail)"]'),
    ],
)
def test_what_is_recognised(said: bytes, passed: bytes) -> None:
    found = messages(MAIL).said(said, text=True)
    assert found.passed == found.recorded == [passed]
    assert sum(field.count for field in found.masked) == (said != passed)


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (b"no document", True), (b'"a value"', True), (b"", False), (b'{"secret": 1, "secret": 2}', True),
        (b'{"a": NaN}', True), (b'{"a": 1} {"a": 2}', True), (b"\x00\x01", False),
    ],
)  # fmt: skip
def test_what_has_no_fields_is_refused_where_they_are_named(said: bytes, text: bool) -> None:
    if not said:
        assert messages(NAMED).said(said, text=text).passed == [b""]
        return
    with pytest.raises(MaskingError):
        messages(NAMED).said(said, text=text)


def test_what_is_no_text_is_refused_where_values_are_recognised() -> None:
    for said, text in ((b"\x00\x01", False), (b'42["\\u0065va@example.com"]', True)):
        with pytest.raises(MaskingError):
            messages(MAIL).said(said, text=text)
    assert messages().said(b"\x00\x01", text=False).passed == [b"\x00\x01"]


def test_texts_in_deltas_are_one() -> None:
    talk = messages(MAIL)
    first = talk.said(b'{"type": "x.delta", "item_id": "i", "delta": "to eva@exam"}', text=True)
    assert b"eva" not in first.passed[0]
    second = talk.said(b'{"type": "x.delta", "item_id": "i", "delta": "ple.com now or 1"}', text=True)
    assert b"(mail) now" in second.passed[0]
    assert b'"1"' in b"".join(talk.end().passed)
    assert talk.end().passed == []


def tell(talk: Messages, texts: int, pad: bytes = b"") -> None:
    """Begin that many texts, and end none."""
    for number in range(texts):
        talk.said(b'{"type": "x.delta", "item_id": "%d", "delta": "hello wor", "pad": "%s"}' % (number, pad), text=True)


def test_texts_that_do_not_end_are_bounded() -> None:
    with pytest.raises(MaskingError, match="told at once"):
        tell(messages(MAIL), 300)
    with pytest.raises(MaskingError, match="in pieces at once"):
        tell(messages(MAIL), 200, b"x" * 100_000)
    talk = messages(MAIL)
    for number in range(1000):  # each ends
        talk.said(b'{"type": "x.delta", "item_id": "%d", "delta": "hello wor"}' % number, text=True)
        talk.said(b'{"type": "x.done", "item_id": "%d"}' % number, text=True)


def test_the_record_hides_more() -> None:
    compiled = masks(NAMED | {"hide_from": ["record"]}, MAIL)
    talk = Messages(compiled.caller(frozenset()), compiled.record("response"))
    found = talk.said(b'{"secret": "s", "a": "eva@example.com"}', text=True)
    assert found.passed == [b'{"secret": "s", "a": "(mail)"}']
    assert found.recorded == [b'{"secret": "x", "a": "(mail)"}']
