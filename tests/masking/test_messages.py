"""WebSocket messages, for their receiver and for the record."""

import pytest

from weir.config.model import MaskSettings
from weir.config.profile_settings import StreamSettings
from weir.masking.masks import Masks, compile_masks
from weir.masking.messages import Messages, Said
from weir.masking.strategies import Tokens
from weir.masking.walk import MaskingError
from weir.profiles.framing import compile_framing


def masks(*entries: dict[str, object]) -> Masks:
    return compile_masks([MaskSettings.model_validate(entry) for entry in entries], Tokens([b"k" * 32]))


MAIL = {"detect": ["email"], "with": {"replace": "(mail)"}}
NAMED = {"fields": ["$.secret"], "with": {"replace": "x"}}


def messages(*entries: dict[str, object]) -> Messages:
    compiled = masks(*entries)
    return Messages(compiled.caller(frozenset()), compiled.record("response"))


def contents(*found: Said) -> tuple[list[bytes], list[bytes]]:
    """Return the messages that are passed on, and those that are recorded."""
    return [m.content for said in found for m in said.passed], [m.content for said in found for m in said.recorded]


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
    talk = messages(MAIL)
    found = talk.said(said, text=True), talk.idle()
    assert contents(*found) == ([passed], [passed])
    assert sum(field.count for one in found for field in one.masked) == (said != passed)
    assert not talk.holds


@pytest.mark.parametrize(
    ("said", "text"),
    [
        (b"no document", True), (b'"a value"', True), (b"", False), (b'{"secret": 1, "secret": 2}', True),
        (b'{"a": NaN}', True), (b'{"a": 1} {"a": 2}', True), (b"\x00\x01", False),
    ],
)  # fmt: skip
def test_what_has_no_fields_is_refused_where_they_are_named(said: bytes, text: bool) -> None:
    if not said:
        assert contents(messages(NAMED).said(said, text=text))[0] == [b""]
        return
    with pytest.raises(MaskingError):
        messages(NAMED).said(said, text=text)


def test_what_is_no_text_is_refused_where_values_are_recognised() -> None:
    for said, text in ((b"\x00\x01", False), (b'so {"a": "\\u0065va@example.com"}', True)):
        with pytest.raises(MaskingError):
            messages(MAIL).said(said, text=text)
    (passed,) = messages().said(b"\x00\x01", text=False, at=7.5).passed
    assert passed == (b"\x00\x01", False, 7.5)


def test_a_text_told_in_pieces_is_looked_at_as_one() -> None:
    talk = messages(MAIL)
    first = talk.said(b'{"type": "x.delta", "item_id": "item-1", "delta": "to eva@exam"}', text=True)
    assert first == ([], [], []) and talk.holds
    second = talk.said(b'{"type": "x.delta", "item_id": "item-1", "delta": "ple.com now or 1"}', text=True)
    assert contents(second)[0] == [b'{"type": "x.delta", "item_id": "item-1", "delta": "to (mail)"}']
    assert talk.idle() == ([], [], [])  # the text continues
    assert contents(talk.idle(long=True))[0] == [b'{"type": "x.delta", "item_id": "item-1", "delta": " now or 1"}']
    with pytest.raises(
        MaskingError, match=r"started in text of \$\.delta that was already passed on; have the profile declare"
    ):
        talk.said(b'{"type": "x.delta", "item_id": "item-1", "delta": "a@example.com "}', text=True)


def test_nothing_is_passed_on_after_a_message_that_cannot_be_masked() -> None:
    talk = messages(MAIL)
    talk.said(b'{"a": "mail m"}', text=True)
    assert contents(talk.idle())[0] == [b'{"a": "mail m"}']
    assert talk.said(b'{"a": "aria.keller"}', text=True) == ([], [], [])
    with pytest.raises(MaskingError):
        talk.said(b'{"a": "@example.org ok"}', text=True)
    assert talk.end() == ([], [], []) and not talk.holds


def test_what_a_message_before_a_value_has_is_declared() -> None:
    framing = compile_framing(StreamSettings(framing="pieces", records=["$.id"]), None)
    compiled = masks(MAIL)
    talk = Messages(compiled.caller(frozenset()), compiled.record("response"), framing)
    assert contents(talk.said(b'{"id": "a"}', text=True))[0] == [b'{"id": "a"}']
    assert talk.said(b'{"a": "eva"}', text=True) == ([], [], []) == talk.idle(long=True)
    assert contents(talk.end())[0] == [b'{"a": "eva"}']


def say_a_key(messages: Messages, count: int, pad: bytes) -> None:
    """Send a private key without an end, in *count* messages."""
    messages.said(b'{"n": "-----BEGIN PRIVATE KEY-----"}', text=True)
    for number in range(count):
        messages.said(b'{"n": "M%dQ", "pad": "%s"}' % (number, pad), text=True)


def test_a_text_that_does_not_end_is_bounded() -> None:
    with pytest.raises(MaskingError, match=r"513 documents are held for a possible value in \$\.n; .*`texts`"):
        say_a_key(messages(MAIL), 1000, b"")
    with pytest.raises(MaskingError, match=r"8\d documents are held"):
        say_a_key(messages(MAIL), 200, b"x" * 100_000)


def test_nothing_is_passed_on_before_it_is_recorded() -> None:
    compiled = masks(MAIL | {"hide_from": ["record"]})
    talk = Messages(compiled.caller(frozenset()), compiled.record("response"))
    assert talk.said(b'{"a": "to eva@exam"}', text=True) == ([], [], []) and talk.holds
    found = contents(talk.said(b'{"a": "ple.com now "}', text=True))
    assert found == ([b'{"a": "to eva@exam"}', b'{"a": "ple.com now "}'], [b'{"a": "to (mail)"}', b'{"a": " now "}'])


def test_the_record_hides_more() -> None:
    compiled = masks(NAMED | {"hide_from": ["record"]}, MAIL)
    talk = Messages(compiled.caller(frozenset()), compiled.record("response"))
    found = talk.said(b'{"secret": "s", "a": "eva@example.com"}', text=True)
    assert contents(found, talk.idle()) == (
        [b'{"secret": "s", "a": "(mail)"}'],
        [b'{"secret": "x", "a": "(mail)"}'],
    )
