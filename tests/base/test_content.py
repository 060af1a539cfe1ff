"""Bodies that two parsers could read differently are refused. All others are encoded again without change."""

import gzip
import json
import tracemalloc
import zlib
from functools import partial
from typing import Any

import brotli
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from weir.base.content import ContentError, decode, encode, is_json, parse, parse_lines


@pytest.mark.smoke
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


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"\xef\xbb\xbf{}", "begins with a byte order mark"),
        ('{"a": 1}'.encode("utf-16"), "is UTF-16"),
        ('{"a": 1}'.encode("utf-16-le"), "is UTF-16"),
        (b'{"a": NaN}', "NaN and Infinity at line 1 column 7 are not JSON"),
        (b'{"a": [1,\n -Infinity]}', "NaN and Infinity at line 2 column 3 are not JSON"),
        (b'{"NaN": nope}', "expected"),
    ],
)
def test_the_reason_names_the_mistake(body: bytes, reason: str) -> None:
    with pytest.raises(ContentError, match=reason):
        parse(body)


def test_lines_may_be_more_than_the_parts_of_one_document() -> None:
    assert len(parse_lines(b'{"a":1}\n' * 220_000)) == 220_000
    with pytest.raises(ContentError, match="more than 250000 lists and objects"):
        parse_lines(b"{}\n" * 250_001)


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


@pytest.mark.parametrize(
    "encoding", ["compress", "gzip, gzip", "x-gzip", "hex", "rot13", "bz2", "identity, gzip", "br, zstd"]
)
def test_other_encodings_are_refused(encoding: str) -> None:
    with pytest.raises(ContentError, match="not accepted"):
        decode(gzip.compress(b"x"), encoding)


ENCODERS = {
    "gzip": gzip.compress,
    "br": partial(brotli.compress, quality=4),
    "zstd": zstandard.ZstdCompressor().compress,
    "deflate": zlib.compress,
}


@pytest.mark.parametrize("encoding", ENCODERS)
@given(body=st.binary(max_size=3000), times=st.integers(1, 300))
def test_encodings_are_undone(encoding: str, body: bytes, times: int) -> None:
    assert decode(ENCODERS[encoding](body * times), encoding.upper()) == body * times


def test_deflate_without_its_head_and_zstd_of_several_frames() -> None:
    raw = zlib.compressobj(wbits=-15)
    assert decode(raw.compress(b"bare") + raw.flush(), "deflate") == b"bare"
    zstd = ENCODERS["zstd"]
    assert decode(zstd(b"one ") + zstd(b"two"), "zstd") == b"one two"


@pytest.mark.parametrize("encoding", ENCODERS)
def test_damaged_encodings_are_refused(encoding: str) -> None:
    whole = ENCODERS[encoding](bytes(range(256)) * 40)
    for damaged in (whole[:-5], whole[: len(whole) // 2], b"nothing of the kind", whole + b"trailing"):
        with pytest.raises(ContentError):
            decode(damaged, encoding)


@pytest.mark.parametrize("encoding", ENCODERS)
def test_a_bomb_is_refused_before_it_fills_memory(encoding: str) -> None:
    bomb = ENCODERS[encoding](b"\0" * 200_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(ContentError, match="more bytes than allowed"):
            decode(bomb, encoding, limit=1_000_000)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


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
