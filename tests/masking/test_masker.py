"""Values are masked at their places, and no other byte changes."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.masking.making import everything, masked_bytes, spelt, view

from weir.base.content import parse
from weir.masking import keys
from weir.masking.bodies import UnknownForm, form_of, mask_body
from weir.masking.masker import mask_headers, mask_json, mask_target
from weir.masking.spelling import Spelling
from weir.masking.strategies import Tokens
from weir.masking.walk import MaskingError, Report

ALL = {"detect": ["all"], "with": "redact"}
REDACT = {"with": "redact"}


def test_what_is_not_masked_keeps_its_bytes() -> None:
    body = b' {"a" : 1.50, "n":-0, "big": 12345678901234567890123, "e": 1E+2,\r\n "s":"\\u00e9\\/\\ud83d\\ude00", "x":"secret" }\n'
    masked, report = masked_bytes(body, {"fields": ["$.x"], **REDACT})
    assert masked == body.replace(b'"secret"', b'"[REDACTED]"') and report[0].count == 1
    assert masked_bytes(body, {"fields": ["$.none"], **REDACT}, ALL) == (body, [])


def test_a_clean_body_is_the_same_object() -> None:
    body = json.dumps({"results": [{"index": i, "relevance_score": 0.5 / (i + 1)} for i in range(50)]}).encode()
    assert mask_json(everything(), body, parse(body), Report()) is body


@pytest.mark.parametrize(
    ("body", "masked"),
    [
        ('{"a":1,"x":2,"b":3}', '{"a":1,"b":3}'),
        ('{"x":2,"b":3}', '{"b":3}'),
        ('{"a":1 , "x" : {"y":[1,{"z":2}]} }', '{"a":1 }'),
        ('{"x":1}', "{}"),
        ('{"x":1,"y":2,"a":{"x":3,"y":4}}', '{"a":{}}'),
        ('{"a":1,"x":1,"y":2}', '{"a":1}'),
        ('[{"x":1},{"a":{"y":1,"b":2,"x":3}}]', '[{},{"a":{"b":2}}]'),
    ],
)
def test_dropped_members_leave_json_behind(body: str, masked: str) -> None:
    out, _ = masked_bytes(body.encode(), {"fields": ["$..x", "$..y"], "with": "drop"})
    assert json.loads(out) == json.loads(masked) and out.decode().replace(" ", "") == masked.replace(" ", "")


def test_dropping_never_shifts_a_ranking() -> None:
    body = b'{"results":[{"index":2,"document":{"text":"a"}},{"index":0,"document":{"text":"b"}}],"scores":[0.9,0.1]}'
    out, _ = masked_bytes(body, {"fields": ["$.results[*].document", "$.scores[0]"], "with": "drop"})
    assert out == b'{"results":[{"index":2},{"index":0}],"scores":[null,0.1]}'


def test_numbers_stay_numbers() -> None:
    body = b'{"n":42,"f":1.5,"card":4111111111111111,"lat":52.520008}'
    out, _ = masked_bytes(body, {"fields": ["$.n", "$.f"], **REDACT}, ALL)
    assert out == b'{"n":0,"f":0,"card":0,"lat":0}'
    hashed, _ = masked_bytes(body, {"fields": ["$.n"], "with": "hash"})
    number = json.loads(hashed)["n"]
    assert isinstance(number, int) and 0 < number < 2**53 and number != 42
    assert masked_bytes(hashed, {"fields": ["$.n"], "with": "hash"})[0] == hashed
    assert json.loads(masked_bytes(body, {"fields": ["$.n"], "with": {"replace": -1}})[0])["n"] == -1
    assert json.loads(masked_bytes(body, {"fields": ["$.n"], "with": {"replace": None}})[0])["n"] is None


def test_a_value_within_a_text_is_masked_alone() -> None:
    body = '{"text":"Grüße an \\"bob@example.com\\" \\ud83d\\ude00 und 4111 1111 1111 1111, é\\u00e9"}'.encode()
    masked, report = masked_bytes(body, ALL)
    assert masked.decode() == '{"text":"Grüße an \\"[EMAIL]\\" \\ud83d\\ude00 und [CREDIT_CARD], é\\u00e9"}'
    assert {(f.kind, f.count, f.rule) for f in report} == {("email", 1, "masks[0]"), ("credit_card", 1, "masks[0]")}


def test_strategies_within_texts() -> None:
    body = b'{"t":"card 4111111111111111 ok"}'
    assert masked_bytes(body, {"detect": ["credit_card"], "with": "partial"})[0] == b'{"t":"card ************1111 ok"}'
    assert (
        masked_bytes(body, {"detect": ["credit_card"], "with": "partial", "keep_last": 2})[0]
        == b'{"t":"card **************11 ok"}'
    )
    assert masked_bytes(body, {"detect": ["credit_card"], "with": "drop"})[0] == b'{"t":"card  ok"}'
    assert masked_bytes(body, {"detect": ["credit_card"], "with": {"replace": "-"}})[0] == b'{"t":"card - ok"}'
    hashed = masked_bytes(body, {"detect": ["credit_card"], "with": "hash"})[0]
    assert re.fullmatch(rb'\{"t":"card hash:[\w-]{22}:[\w-]{8} ok"\}', hashed)
    assert hashed == masked_bytes(b'{"t":"card 4111111111111111 ok"}', {"detect": ["credit_card"], "with": "hash"})[0]


def test_names_of_members_are_looked_at_and_stay_apart() -> None:
    body = b'{"bob@example.com":1,"eve@example.com":2,"ok":3}'
    assert masked_bytes(body, ALL)[0] == b'{"[EMAIL]":1,"[EMAIL] 2":2,"ok":3}'


def test_detection_in_named_fields_only() -> None:
    body = b'{"content":"a bob@example.com","other":"eve@example.com"}'
    within = {"fields": ["$.content"], "detect": ["email"], **REDACT}
    assert masked_bytes(body, within)[0] == b'{"content":"a [EMAIL]","other":"eve@example.com"}'
    nested = b'{"m":{"content":[{"text":"a bob@example.com"}]},"other":"eve@example.com"}'
    assert masked_bytes(nested, {**within, "fields": ["$.m"]})[0] == nested.replace(b"bob@example.com", b"[EMAIL]")


def test_json_within_texts() -> None:
    arguments = json.dumps({"to": "bob@example.com", "n": 1})
    body = json.dumps({"tool_calls": [{"function": {"arguments": arguments}}]}).encode()
    masked = json.loads(masked_bytes(body, ALL)[0])
    assert json.loads(masked["tool_calls"][0]["function"]["arguments"]) == {"to": "[EMAIL]", "n": 1}


def test_a_value_beside_its_label() -> None:
    body = b'{"fields":[{"name":"SSN","value":"536226726"},{"name":"order","value":"536226726"}]}'
    assert masked_bytes(body, ALL)[0] == body.replace(b'"SSN","value":"536226726"', b'"SSN","value":"[US_SSN]"')


EVERYTHING = everything()
BY_STRATEGY = {
    name: view({"detect": ["all"], "with": name}, {"fields": ["$..a", "$[0]"], "with": name})
    for name in ("redact", "hash", "partial", "drop")
}
VALUES = ["alice@example.com", "4111 1111 1111 1111", "DE89370400440532013000", "529.982.247-25", "10.20.30.40"]


@settings(max_examples=300, deadline=None)
@given(
    value=st.sampled_from(VALUES),
    escaped=st.lists(st.booleans(), min_size=1, max_size=9),
    deep=st.integers(0, 3),
    key=st.booleans(),
)
def test_no_spelling_of_json_lets_a_value_through(value: str, escaped: list[bool], deep: int, key: bool) -> None:
    text = f"see {value} there"
    for _ in range(deep):
        text = json.dumps({"inner": text})
    spelling = spelt(text, escaped)
    body = f"{{{spelling}:1}}" if key else f'{{"a":[{spelling}]}}'
    masked = mask_json(EVERYTHING, body.encode(), parse(body.encode()), Report())
    shown = json.dumps(json.loads(masked), ensure_ascii=False)
    for _ in range(5):
        assert value not in shown
        shown = re.sub(r"\\u([0-9a-f]{4})", lambda m: chr(int(m[1], 16)), shown.replace("\\\\", "\\"))


documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from([*VALUES, "ssn 536-22-6726", "password: hunter22!", "plain", "é\"\\\n\u2028😀"]) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "phone", "é\"", "bob@example.com"]), inner, max_size=3),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(
    document=documents,
    strategy=st.sampled_from(sorted(BY_STRATEGY)),
    indent=st.sampled_from([None, 1]),
    ascii_only=st.booleans(),
)
def test_masking_twice_is_masking_once(document: Any, strategy: str, indent: int | None, ascii_only: bool) -> None:
    masked_by = BY_STRATEGY[strategy]
    body = json.dumps(document, indent=indent, ensure_ascii=ascii_only).encode()
    once = mask_json(masked_by, body, parse(body), Report())
    assert mask_json(masked_by, once, parse(once), Report()) == once


@settings(max_examples=200, deadline=None)
@given(document=documents, indent=st.sampled_from([None, 2]))
def test_tokens_are_those_of_the_document(document: Any, indent: int | None) -> None:
    text = json.dumps(document, indent=indent)

    def count(value: Any) -> int:
        if isinstance(value, dict):
            return 2 + sum(1 + count(v) for v in value.values())
        return 2 + sum(map(count, value)) if isinstance(value, list) else 1

    assert len(Spelling(text).spans) == count(document)


# Other forms of bodies.


@pytest.mark.parametrize(
    ("content_type", "body", "masked"),
    [
        ("text/plain", "mail bob@example.com é", "mail [EMAIL] é"),
        ("text/html; charset=utf-8", "<p>bob@example.com</p>", "<p>[EMAIL]</p>"),
        ("text/csv", "name,email\nAl,bob@example.com\n", "name,email\nAl,[EMAIL]\n"),
        ("application/x-ndjson", '{"a":"bob@example.com"}\n{"a":1.0}\n', '{"a":"[EMAIL]"}\n{"a":1.0}\n'),
        ("application/x-www-form-urlencoded", "q=bob%40example.com&n=a+b", "q=%5BEMAIL%5D&n=a+b"),
        ("text/plain", '{"a": "bob\\u0040example.com"}', '{"a": "[EMAIL]"}'),
        ("text/event-stream", 'data: {"a":"bob@example.com"}\n\n', 'data: {"a":"[EMAIL]"}\n\n'),
        ("application/csv", "name;mail\nAl;bob@example.com\n", "name;mail\nAl;[EMAIL]\n"),
        ("text/plain; charset=iso-8859-15", "€ bob@example.com", "€ [EMAIL]"),
        ("text/plain; charset=utf-16", "ä bob@example.com", "ä [EMAIL]"),
        ("text/xml; charset=shift_jis", "<a>電話 bob@example.com</a>", "<a>電話 [EMAIL]</a>"),
        (
            "application/json-seq",
            '\x1e{"a":"bob@example.com"}\n\x1e{"a":1.0}\n',
            '\x1e{"a":"[EMAIL]"}\n\x1e{"a":1.0}\n',
        ),
        ("application/problem+json", '{"detail":"no bob@example.com"}', '{"detail":"no [EMAIL]"}'),
    ],
)
def test_forms(content_type: str, body: str, masked: str) -> None:
    charset = content_type.partition("charset=")[2] or "utf-8"
    masked_by, data = everything(), body.encode(charset)
    form = form_of(masked_by, data, content_type, parse(data) if "problem+json" in content_type else None)
    assert mask_body(masked_by, form, data, Report()).decode(charset) == masked


def test_a_clean_sequence_keeps_its_bytes() -> None:
    body = b'\x1e{"a": 1}\n\x1e{"b":\t2}\n'
    assert mask_body(everything(), form_of(everything(), body, "application/json-seq", None), body, Report()) is body


def test_the_reason_why_a_body_is_not_json_is_given() -> None:
    with pytest.raises(UnknownForm, match="byte order mark"):
        form_of(everything(), b"\xef\xbb\xbf{}", "application/json", None)


@pytest.mark.parametrize(
    ("content_type", "body", "fields"),
    [
        ("image/png", b"\x89PNG", []),
        ("", b"\x00\x01", []),
        ("application/json", b'{"a":1,"a":2}', []),
        ("application/json", b'{"a":', []),
        ("text/plain; charset=utf-7", b"x", []),
        ("text/plain; charset=iso-2022-jp", b"x", []),
        ("application/json-seq", b'\x1e{"a":\n1}\n', []),
        ("application/json-seq", b'{"a":1}\n', []),
        ("application/json-seq", b'\x1e{"a":1}\x1e{"b":1}\n', []),
        ("text/plain", b"no fields here", ["$.a"]),
        ("application/x-ndjson", b"{}\n{]\n", ["$.a"]),
        ("text/plain", b'"only a text"', ["$.a"]),
        ("multipart/form-data; boundary=x", b"--x", []),
    ],
)
def test_what_cannot_be_told_apart_is_not_shown(content_type: str, body: bytes, fields: list[str]) -> None:
    masked_by = view({"fields": fields, **REDACT}) if fields else everything()
    with pytest.raises(UnknownForm):
        form_of(masked_by, body, content_type, None)


def test_text_that_is_not_in_its_charset_is_not_shown() -> None:
    masked_by = everything()
    with pytest.raises(MaskingError):
        mask_body(masked_by, form_of(masked_by, b"a\xff", "text/plain", None), b"a\xff", Report())


def test_targets() -> None:
    masked_by = view({"query": ["user"], "with": "hash"}, {"detect": ["email"], "with": "redact"})
    masked = mask_target(
        masked_by, b"/v1/users/bob%40example.com/x?user=Al&q=to+eve%40example.com&n=1%202", Report()
    ).decode()
    assert re.fullmatch(r"/v1/users/%5BEMAIL%5D/x\?user=hash%3A[\w%-]+&q=to\+%5BEMAIL%5D&n=1%202", masked)
    assert mask_target(masked_by, masked.encode(), Report()).decode() == masked
    untouched = b"/a/%2f;x=1/b?c=%zz&d&&e=%F0%9F"
    assert mask_target(masked_by, untouched, Report()) == untouched


def test_headers() -> None:
    masked_by = view({"headers": ["X-Customer"], "with": "redact"}, {"headers": ["x-drop"], "with": "drop"}, ALL)
    fields = [(b"X-Customer", b"Al"), (b"X-Drop", b"1"), (b"Location", b"/u?e=bob%40example.com"), (b"Link", b"<mailto:bob@example.com>"), (b"Date", b"Sat, 21 Nov 2026"), (b"User-Agent", b"a/1.2.3.4")]  # fmt: skip
    report = Report()
    assert mask_headers(masked_by, fields, report) == [
        (b"X-Customer", b"[REDACTED]"), (b"Location", b"/u?e=[EMAIL]"), (b"Link", b"<mailto:[EMAIL]>"), (b"Date", b"Sat, 21 Nov 2026"), (b"User-Agent", b"a/1.2.3.4"),
    ]  # fmt: skip
    assert {f.path for f in report.fields()} == {"header:x-customer", "header:x-drop", ""}


def test_a_detector_that_raises_lets_nothing_through(monkeypatch: pytest.MonkeyPatch) -> None:
    masked_by = everything()
    body = b'{"a":"bob@example.com"}'
    monkeypatch.setattr("weir.masking.walk.BUDGET", -1.0)
    with pytest.raises(MaskingError):
        mask_json(masked_by, body, parse(body), Report())


def test_keys_are_forgotten_when_they_have_been_replaced_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEIR_HOME", str(tmp_path))
    (first,) = keys.keys()
    second, *_ = keys.rotate(keep=100, now=1000.0)
    third, *_ = kept = keys.rotate(keep=100, now=1050.0)
    assert kept == [third, second, first]
    assert keys.rotate(keep=100, now=1120.0)[1:] == [third, second], "the first was replaced 120 seconds ago"
    assert len({first.secret, second.secret, third.secret}) == 3


def test_old_tokens_are_recognised_after_a_rotation() -> None:
    old, new = b"o" * 32, b"n" * 32
    token = Tokens([old]).of("Al")
    rotated = Tokens([new, old])
    assert rotated.of(token) == token and rotated.of("Al") != token
    number = Tokens([old]).of(7)
    assert rotated.of(number) == number
