"""The plain form of every character, and the original place of every place in it."""

import unicodedata
from itertools import pairwise

import pytest
import re2
from hypothesis import example, given, settings
from hypothesis import strategies as st

from weir.base.normal import IGNORABLE, is_special, normal, plain_character, somewhere


def test_every_character_that_has_another_plain_form_is_read() -> None:
    """The blocks that are skipped for speed contain none. The test checks each code point of this Python's Unicode."""
    surrogates = range(0xD800, 0xE000)
    wrong = []
    for point in range(0x80, 0x110000):
        char = chr(point)
        plain = plain_character(char)
        is_mark = unicodedata.category(char)[0] == "M"
        if plain != char and point not in surrogates and not is_mark and normal(f"a{char}a").text == f"a{char}a":
            wrong.append(point)
    assert wrong == []


@pytest.mark.parametrize(("first", "last"), IGNORABLE)
def test_ignorable_characters_are_left_out_and_looked_for(first: int, last: int) -> None:
    for point in {first, last, (first + last) // 2}:
        text = f"4{chr(point)}1"
        assert normal(text).text == "41"
        assert is_special(text) and SOMEWHERE.search(text) is not None


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("٤१๑４𝟒④➃⓸⁴₄🄅", "4114444444" + "4"),
        ("⑩⓫㊿", "101150"),
        ("a\u00a0b\u2009\u3000c\u2028d", "a b c\nd"),
        ("1‐2‑3‒4–5—6−7⁻8－9", "1-2-3-4-5-6-7-8-9"),
        ("&#64;&commat;&amp;commat;&#x40 &unknown; AT&T", "@@@@ &unknown; AT&T"),
        ("%40%2540%E2%80%8B%C2%A0%zz%FF", "@@ %zz%FF"),
        ("a\\_b\\@c\\.d \\n \\\\", "a_b@c.d \\n \\\\"),
        ("e\u0301 r\u0336 4\ufe0f\u20e3 \u1112\u1161\u11ab", "é r 4 한"),
        ("ﬁ Ａ 𝐁 ⓒ", "fi A B c"),
        ("a<wbr>b<!-- -->c<br>d", "abc\nd"),
        ("पासवर्ड فارسی ภาษา 日本ー語。", "पासवर्ड فارسی ภาษา 日本ー語。"),
    ],
)
def test_plain_forms(text: str, plain: str) -> None:
    assert normal(text).text == plain


SOMEWHERE = re2.compile(somewhere())
ALPHABET = "a1@.- \n\t&;#64\\_%E2808B\u200b\u00ad\u2009\u2011\u0301\u0336é４𝟒④\u1112\u1161<br>ー。ﬁ\u0915\u094d"


@settings(max_examples=600, deadline=None)
@given(st.text(alphabet=ALPHABET, max_size=40))
def test_places_are_in_order_and_within_the_original(text: str) -> None:
    plain = normal(text)
    assert plain or plain.text == text
    spans = [plain.span(i, i + 1) for i in range(len(plain.text))]
    assert all(0 <= start < end <= len(text) for start, end in spans)
    assert all(a[0] <= b[0] and a[1] <= b[1] for a, b in pairwise(spans))
    places = [plain.place(i) for i in range(len(plain.text) + 1)]
    assert places == sorted(places) and (not places or places[-1] == (len(text) if plain.text else 0))


@settings(max_examples=400, deadline=None)
@given(st.text(alphabet=ALPHABET, max_size=30))
def test_the_first_search_finds_whatever_the_second_does(text: str) -> None:
    assert not is_special(text) or SOMEWHERE.search(text) is not None


@settings(max_examples=300, deadline=None)
@example("\u1112\xad\u1161")
@given(st.text(alphabet=ALPHABET, max_size=40))
def test_the_plain_form_is_its_own_plain_form(text: str) -> None:
    once = normal(text).text
    if "&" not in once and "%" not in once and "\\" not in once:
        assert normal(once).text == once


@pytest.mark.parametrize(
    "hostile",
    ["<wbr>\u200b" * 40_000, "a\u0301\u200b" * 60_000, "\u0301" * 200_000, "&amp;" * 60_000, "%25" * 80_000, "1\t" * 150_000, "4\u20091" * 80_000, "\\&" * 80_000, "\u200b" * 200_000, "&" * 200_000, "1\t\n" * 80_000],
)  # fmt: skip
def test_hostile_texts_take_linear_time(hostile: str) -> None:
    """The test passes if it ends: without linear time each text would take many minutes."""
    assert len(normal(hostile).text) <= len(hostile)
