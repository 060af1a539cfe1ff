"""Secrets are never shown, and every spelling of them is found."""

import base64
import copy
import pickle
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir.base.secret import Scrubber, Secret, spellings


def test_nothing_shows_a_secret() -> None:
    secret = Secret("hunter22")
    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret!r:>10}",
        "{}".format(secret),  # noqa: UP032
        repr([secret]),
        repr({"a": secret}),
    ]
    assert not [text for text in shown if "hunter22" in text]
    for serialise in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError):
            serialise(secret)


@given(prefix=st.binary(max_size=8), suffix=st.binary(max_size=8))
def test_every_spelling_is_scrubbed(prefix: bytes, suffix: bytes) -> None:
    text = 'sk-"a/b+c=\\d é'
    scrub = Scrubber(spellings(Secret(text)))
    raw = text.encode()
    for spelling in (
        raw,
        quote(text, safe="").encode(),
        base64.b64encode(raw),
        base64.urlsafe_b64encode(b"user:" + raw + b":x"),
    ):
        assert scrub(prefix + spelling + suffix) != prefix + spelling + suffix
    inside = base64.b64encode(prefix + raw + suffix)
    assert scrub(inside) != inside


_SECRET = "abab-abc"
_NEAR = st.text("ab-c616bYW&#x", max_size=12).map(str.encode)


@given(before=_NEAR, after=_NEAR, number=st.integers(0, 100), size=st.integers(1, 9))
def test_no_cut_splits_a_spelling(before: bytes, after: bytes, number: int, size: int) -> None:
    """The text consists of parts of the secret, so that many cuts are near ones."""
    found = spellings(Secret(_SECRET))
    scrub, text = Scrubber(found), before + found[number % len(found)] + after
    rest = out = b""
    for start in range(0, len(text), size):
        rest += text[start : start + size]
        end = scrub.settled(rest)
        assert len(rest) - end < 2 * max(map(len, found))
        out, rest = out + scrub(rest[:end]), rest[end:]
    out += scrub(rest)
    assert not any(spelling in out for spelling in found)


def test_what_has_no_secret_is_the_same_object() -> None:
    data = b"nothing here"
    assert Scrubber(spellings(Secret("sk-0123456789")))(data) is data
