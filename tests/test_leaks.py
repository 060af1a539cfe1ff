"""The search at the end of the tests finds every secret, and nothing else."""

import base64

from hypothesis import given
from hypothesis import strategies as st

from tests import leaks

NEEDLES = st.binary(min_size=4, max_size=12).map(lambda data: bytes(b"ab"[byte % 2] for byte in data))
WORDS = st.binary(max_size=40).map(lambda data: bytes(b"ab"[byte % 2] for byte in data))


@given(st.sets(NEEDLES, min_size=1, max_size=5), st.lists(WORDS, max_size=5))
def test_a_word_is_found_when_it_contains_a_needle(needles: set[bytes], words: list[bytes]) -> None:
    places = {word: word for word in words}
    assert set(leaks.find(needles, places)) == {word for word in words if any(n in word for n in needles)}


def test_a_secret_is_found_in_any_form_and_surrounding() -> None:
    token = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJlLW9mLXRoZS10b2tlbg"
    needles = leaks.forms([token, "sk-upstream-1234567890abcdef"])
    for shape in (
        token,
        token.split(".")[2],
        base64.b64encode(token.encode()).decode(),
        "sk-upstream-1234567890abcdef",
    ):
        text = f'{{"key": "Bearer {shape}", "other": "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.b3RoZXI"}}'.encode()
        assert leaks.find(needles, dict.fromkeys(leaks.words(text, needles), "place")) == ["place"]
    innocent = (
        b'{"a": "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.YW5vdGhlciBzaWduYXR1cmU", "b": "sk-upstream-1234567890abcde"}'
    )
    assert leaks.find(needles, dict.fromkeys(leaks.words(innocent, needles), "place")) == []
