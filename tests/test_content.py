"""Bodies that two parsers could read differently are refused; the rest comes back as it was."""

import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weir.content import ContentError, decode, encode, is_json, parse


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": 1, "a": 2}', b'{"a": {"b": 1, "b": 1}}', b"NaN", b"[Infinity]", b"[1e400]", b"[-1E999]", b"{} {}", b"{}x",
        b"", b"\xef\xbb\xbf{}", '{"a": 1}'.encode("utf-16"), b'"\\ud800"', b"\xff", b"[" * 100_000, b"{'a': 1}", b"[01]",
        b'{"a": 1,}', b"// c\n{}",
    ],
)  # fmt: skip
def test_ambiguous_json_is_refused(body: bytes) -> None:
    with pytest.raises(ContentError):
        parse(body)


def test_large_integers_survive() -> None:
    assert encode(parse(b"[12345678901234567890123]")) == b"[12345678901234567890123]"


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner), max_leaves=20))  # fmt: skip
def test_what_json_wrote_is_read_and_written_alike(value: Any) -> None:
    assert parse(json.dumps(value).encode()) == value
    assert json.loads(encode(parse(json.dumps(value).encode()))) == value


def test_gzip_with_several_members_is_read_whole() -> None:
    assert decode(gzip.compress(b"one ") + gzip.compress(b"two"), "GZip") == b"one two"
    assert decode(b"plain", "") == decode(b"plain", "identity") == b"plain"


@pytest.mark.parametrize("encoding", ["br", "gzip, gzip", "x-gzip", "hex", "rot13", "bz2", "identity, gzip", "deflate"])
def test_other_encodings_are_refused(encoding: str) -> None:
    with pytest.raises(ContentError, match="not accepted"):
        decode(gzip.compress(b"x"), encoding)


@pytest.mark.parametrize(
    "body", [gzip.compress(b"x" * 100, mtime=0)[:-4], b"not gzip", gzip.compress(b"x", mtime=0) + b"trailing"]
)
def test_damaged_gzip_is_refused(body: bytes) -> None:
    with pytest.raises(ContentError):
        decode(body, "gzip")


def test_a_bomb_is_refused_before_it_fills_memory() -> None:
    with pytest.raises(ContentError, match="far more than it may"):
        decode(gzip.compress(b"\0" * 200_000_000), "gzip", limit=1_000_000)


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [("application/json", True), ("Application/JSON; charset=UTF-8", True), ("application/problem+json", True),
     ("application/json; charset=utf-16", False), ("text/plain", False), ("", False), ("multipart/form-data", False),
     ("application/jsonx", False), ("text/json+x", False),
     ("application/json; charset = utf-7", False), ("application/json; charset*=utf-7", False), ("application/json;charset=\"utf-8\"", True),
     ("application/json; charset=utf-8; charset=utf-7", False), ("application/json;;", False), ("application/json; profile=x", True)],
)  # fmt: skip
def test_content_types(content_type: str, expected: bool) -> None:
    assert is_json(content_type) is expected
