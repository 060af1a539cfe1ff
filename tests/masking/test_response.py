"""A streamed answer never passes on a credential, in any spelling, wherever its chunks are cut."""

import asyncio
from typing import Any

import pytest

from weir.base.secret import Scrubber, Secret, spellings
from weir.masking.metering import Meter
from weir.masking.response import ResponseStream
from weir.masking.streams import Unmasked
from weir.masking.walk import Report
from weir.profiles.usage import NO_USAGE

CREDENTIAL = "sk-upstream-c2VjcmV0/4f9e81d0"
SCRUB = Scrubber(spellings(Secret(CREDENTIAL)))
ESCAPED = "".join(f"\\u{ord(char):04x}" for char in CREDENTIAL)


async def _silent(silence: Any) -> None:
    raise AssertionError("nothing is held")


def passed(body: bytes, size: int) -> tuple[bytes, bytes]:
    """Return what the caller and the record get of *body*, in chunks of *size* bytes."""

    async def run() -> tuple[bytes, bytes]:
        meter = Meter("text/plain", NO_USAGE, (), sizes=False)
        stream = ResponseStream(
            "text/plain", Unmasked(), None, Report(), (), meter, None, SCRUB, lambda: None, lambda error: None, _silent
        )
        out = [piece for start in range(0, len(body), size) for piece in stream(body[start : start + size])]
        return b"".join([*out, *stream(b"")]), bytes(stream.body)

    return asyncio.run(run())


@pytest.mark.parametrize("size", [1, 100, 1 << 16])
@pytest.mark.parametrize(
    "spelling", [CREDENTIAL, ESCAPED, CREDENTIAL[:9] + ESCAPED[54:]], ids=["plain", "escaped", "both"]
)
def test_a_credential_in_a_long_line(spelling: str, size: int) -> None:
    longest = max(map(len, spellings(Secret(CREDENTIAL)))) * 6
    for before in range(longest - 200, longest + 200, 41 if size == 1 else 7):
        for start in ("", "\\\\"):
            body = f"{start}{'A' * before}{spelling}{'B' * (before * 4 if size > 1 else 300)}".encode()
            for got in passed(body, size):
                assert CREDENTIAL.encode() not in got.decode().encode("ascii").decode("unicode_escape").encode()


def test_a_long_line_takes_linear_time() -> None:
    """Also with a backslash, because of which the line is held."""
    for start in (b"", b"\\\\"):
        body = start + b"x" * 200_000
        assert passed(body, 7) == (body, body)
