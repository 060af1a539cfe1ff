"""The headers that the gateway adds to answers."""

import time

import pytest

from weir.path.exchange import Exchange
from weir.path.steps.answer import delivered


def test_a_header_is_added_once_and_replaces_that_of_the_service() -> None:
    exchange = Exchange("r", time.time(), time.perf_counter())
    exchange.add_header("X-Team", "one")
    exchange.add_header("X-Team", "two")  # the step runs again after a wait for approval
    fields = delivered(exchange, [(b"x-team", b"of the service"), (b"x-other", b"stays")])
    assert [field for field in fields if field[0].lower() in (b"x-team", b"x-other")] == [
        (b"x-other", b"stays"),
        (b"X-Team", b"two"),
    ]


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\0", "ü"])
def test_a_value_that_splits_a_head_is_not_added(value: str) -> None:
    exchange = Exchange("r", time.time(), time.perf_counter())
    with pytest.raises(ValueError, match="X-Team"):
        exchange.add_header("X-Team", value)
    assert exchange.own_headers == {}
