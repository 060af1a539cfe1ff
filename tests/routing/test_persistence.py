"""Whether a connection stays open after a caller's request and after a service's answer."""

import pytest

from weir.routing.persistence import is_last, of_request, options


@pytest.mark.parametrize(
    ("value", "found"),
    [(b"close", [b"close"]), (b" Keep-Alive ,\tCLOSE", [b"keep-alive", b"close"]), (b",, ,", []), (b"close;x", [b"close;x"]), (b"closed", [b"closed"])],
)  # fmt: skip
def test_options_of_a_field(value: bytes, found: list[bytes]) -> None:
    assert options(value) == found


@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0", b"HTTP/1.2", b"HTTP/0.9", b"HTTP/2.0"])
@pytest.mark.parametrize("proxied", [False, True])
@pytest.mark.parametrize(
    ("fields", "wish"),
    [
        ([], None), ([(b"Connection", b"te")], None), ([(b"connection", b"Keep-Alive")], True), ([(b"Proxy-Connection", b"keep-alive")], None),
        ([(b"CONNECTION", b"CLOSE")], False), ([(b"Connection", b"keep-alive"), (b"Connection", b"close")], False), ([(b"Proxy-Connection", b"Close")], False),
    ],
)  # fmt: skip
def test_what_a_request_wants(
    version: bytes, proxied: bool, fields: list[tuple[bytes, bytes]], wish: bool | None
) -> None:
    """HTTP/1.1 stays open unless closed; HTTP/1.0 only on request, and not at a proxy; any other version is closed."""
    goes_on = {b"HTTP/1.1": wish is not False, b"HTTP/1.0": wish is True and not proxied}.get(version, False)
    found = of_request(version, fields, proxied=proxied)
    assert (found.persists, found.old) == (goes_on, version != b"HTTP/1.1")


def test_what_a_service_says() -> None:
    assert not is_last(b"HTTP/1.1", []) and not is_last(b"HTTP/2.0", [])
    assert is_last(b"HTTP/1.1", [(b"connection", b"x, Close")]) and is_last(b"HTTP/1.0", [])
    assert not is_last(b"HTTP/1.0", [(b"Connection", b"Keep-Alive")])
    assert is_last(b"HTTP/1.0", [(b"Connection", b"Keep-Alive, close")])
