"""Small HTTP/2 frames of callers are counted: floods end, but acknowledging every piece of an answer is no flood."""

import pytest

from weir.mitm.crumbs import Crumbs
from weir.mitm.frames import Frames

PREFACE = b"x" * 24


def frame(kind: int, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3) + bytes([kind, 0, 0, 0, 0, 1]) + payload


def test_a_bucket_fills_with_time_and_by_merit(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    bucket = Crumbs(10, 2, 10)
    assert bucket.takes(10) and not bucket.takes(1)
    now += 3
    assert bucket.takes(5) and not bucket.takes(1)
    bucket.earns(100)
    assert bucket.takes(10) and not bucket.takes(1)


@pytest.mark.parametrize("kind", [1, 2, 3, 4, 6, 8, 9, 10, 77, 255, 0])
def test_frames_that_say_little_are_counted(kind: int) -> None:
    """Also frames of unknown kinds, and HEADERS that begin no request."""
    frames = Frames()
    assert frames.takes(PREFACE + frame(kind) * 900)
    assert not frames.takes(frame(kind) * 200)


def test_requests_and_their_bodies_are_none() -> None:
    frames = Frames()
    assert frames.takes(PREFACE)
    for _ in range(5000):
        assert frames.takes(frame(1, b"x" * 30) + frame(0, b"x" * 100))
        frames.begins()


def test_every_piece_may_be_acknowledged_twice() -> None:
    """At any time: each piece that is sent to a caller allows two acknowledgements, not more."""
    frames = Frames()
    assert frames.takes(PREFACE)
    for _ in range(20_000):
        frames.earns(frame(0, b"x"))
    window = frame(8, b"\0\0\0\1")
    assert frames.takes(window * 40_000)
    assert not frames.takes(window * 3_000)
