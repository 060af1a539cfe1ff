"""Whether an address is free, and which process uses it."""

import os
import socket

import pytest

from weir.base.ports import obstacle

IN_USE = f"Address already in use by process {os.getpid()} ("


@pytest.mark.parametrize(("taken", "asked", "free"), [
    ("127.0.0.1", "127.0.0.1", False),
    ("127.0.0.1", "localhost", False),
    ("127.0.0.1", "0.0.0.0", False),
    ("127.0.0.1", "", False),
    ("0.0.0.0", "127.0.0.1", False),
    ("127.0.0.1", "127.0.0.2", True),
    ("127.0.0.1", "::1", True),
    ("::1", "::1", False),
    ("::1", "::", False),
    ("::1", "127.0.0.1", True),
])  # fmt: skip
def test_addresses(taken: str, asked: str, free: bool) -> None:
    family = socket.AF_INET6 if ":" in taken else socket.AF_INET
    with socket.create_server((taken, 0), family=family) as server:
        why = obstacle(asked, server.getsockname()[1])
    assert why == "" if free else why.startswith(IN_USE)


def test_a_port_that_is_shared_is_free_for_those_who_share_it() -> None:
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as server:
        port = server.getsockname()[1]
        assert obstacle("127.0.0.1", port, shared=True) == ""
        assert obstacle("127.0.0.1", port).startswith(IN_USE)


def test_an_address_of_another_machine() -> None:
    assert obstacle("192.0.2.1", 8080) == "Cannot assign requested address"
