"""The table of stream shapes is consistent: a client reads the text that the service sent."""

import pytest
from tests.masking.shapes import SHAPES, StreamShape

PIECES = [
    ["Write to ", "alice.sm", "ith@exam", "ple.com or", " call +44 20 7946", " 0958 tod", "ay."],
    ["4111", " ", "1111", " 1111 ", "1111"],
    [" \n", '"', "\\", "{}", "é", "ñ\u0301", "日本", "😀", "\t\u00a0", "</b>", "7", "0042", "data: x"],
]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_a_client_reads_what_was_told(shape: StreamShape) -> None:
    for pieces in PIECES:
        units = shape.told(pieces)
        assert shape.read(units) == "".join(pieces)
        if shape.form != "messages":
            assert shape.read([b"".join(units)]) == "".join(pieces)


def test_each_shape_has_a_name_of_its_own_and_a_source() -> None:
    assert len({shape.name for shape in SHAPES}) == len(SHAPES)
    assert all(shape.source.startswith("https://") for shape in SHAPES if not shape.hostile)
